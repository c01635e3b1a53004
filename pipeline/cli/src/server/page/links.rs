//! Where pages lead to each other. In: values of anybody. Out: paths in which these are values and nothing else.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What need not be escaped in a value of a query string.
const VALUE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'*');

/// `text` as a value in a query string.
pub(super) fn value(text: &str) -> String {
    utf8_percent_encode(text, VALUE).to_string()
}

/// `path?name=value&…`.
pub(super) fn with_values<'a>(
    path: &str,
    values: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> String {
    let values = values.into_iter().map(|(name, text)| format!("{}={}", value(name), value(text)));
    format!("{path}?{}", values.collect::<Vec<_>>().join("&"))
}

/// The box of SQL with `query` in it, and its rows.
pub(super) fn to_sql(query: &str) -> String {
    with_values("/sql", [("q", query)])
}

/// The pictures of a split.
pub(super) fn to_split(split: &str) -> String {
    with_values("/", [("split", split)])
}

/// The pictures, or what stands for them, of pairs rejected for `reason`.
pub(super) fn to_reason(reason: &str) -> String {
    with_values("/", [("reason", reason)])
}

/// The page of one picture.
pub(super) fn to_picture(image_id: &str) -> String {
    format!("/pictures/{}", value(image_id))
}

/// `text` as SQL has it.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_values() {
        assert_eq!(to_reason("a&b=c#d '\"<红"), "/?reason=a%26b%3Dc%23d%20%27%22%3C%E7%BA%A2");
        assert_eq!(to_sql("select 1+1"), "/sql?q=select%201%2B1");
        assert_eq!(to_picture("../x"), "/pictures/..%2Fx");
        assert_eq!(literal("a'b"), "'a''b'");
    }
}
