//! URLs as crawls bring them. In: the text of a column. Out: the address that is meant. Never decides whether it is one.

/// Characters without width: they come along when a URL is copied from a page, and mean nothing in one.
const INVISIBLE: [char; 10] = [
    '\u{ad}', '\u{200b}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202c}', '\u{202d}', '\u{2060}',
    '\u{feff}', '\u{fffc}',
];

/// What stands behind `&` where it is written out as in HTML.
const AMPERSANDS: [&str; 4] = ["amp;", "#38;", "#038;", "#x26;"];

/// `url` without blanks around it and characters without width, `&amp;` undone, and with https where it begins with `//`; none if
/// nothing is left.
pub(super) fn clean_url(url: &str) -> Option<String> {
    let is_around =
        |c: char| c.is_whitespace() || c.is_control() || matches!(c, '\u{200c}' | '\u{200d}');
    let visible: String = url.chars().filter(|c| !INVISIBLE.contains(c)).collect();
    let mut url = with_ampersands(visible.trim_matches(is_around));
    if url.starts_with("//") {
        url.insert_str(0, "https:");
    }
    (!url.is_empty()).then_some(url)
}

/// `url` with each ampersand that is written out as one.
fn with_ampersands(url: &str) -> String {
    let mut clean = String::with_capacity(url.len());
    let mut rest = url;
    while let Some(at) = rest.find('&') {
        clean.push_str(&rest[..=at]);
        rest = &rest[at + 1..];
        // Escaped twice it is `&amp;amp;`.
        while let Some(length) = written_ampersand(rest) {
            rest = &rest[length..];
        }
    }
    clean + rest
}

/// How long what `rest` begins with is, if that makes the `&` before it a written-out one.
fn written_ampersand(rest: &str) -> Option<usize> {
    let is_next = |written: &&&str| {
        let found = rest.as_bytes().get(..written.len());
        found.is_some_and(|found| found.eq_ignore_ascii_case(written.as_bytes()))
    };
    AMPERSANDS.iter().find(is_next).map(|written| written.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (url, expected) in [
            ("http://a/b?c=1&d=2", Some("http://a/b?c=1&d=2")),
            (" \t\u{3000}http://a/b\u{a0}\r", Some("http://a/b")),
            ("\u{feff}\u{200b}http://a/\u{200b}b\u{200d}", Some("http://a/b")),
            ("http://a/?b=1&amp;c=2&AMP;d=3&#38;e&#x26;f", Some("http://a/?b=1&c=2&d=3&e&f")),
            ("http://a/?b=1&amp;amp;c=2", Some("http://a/?b=1&c=2")),
            ("http://a/?b=1&#38;AMP;&amp;c", Some("http://a/?b=1&&c")),
            ("http://a/?b=1&amp", Some("http://a/?b=1&amp")),
            ("//img.a.cn/b.jpg", Some("https://img.a.cn/b.jpg")),
            ("http://a//b", Some("http://a//b")),
            ("http://a/图 片.jpg", Some("http://a/图 片.jpg")),
            ("http://a/&copy;", Some("http://a/&copy;")),
            ("http://a/&", Some("http://a/&")),
            (" \u{200b} ", None),
            ("", None),
        ] {
            assert_eq!(clean_url(url).as_deref(), expected, "{url:?}");
            let again = expected.and_then(clean_url);
            assert_eq!(again.as_deref(), expected, "cleaning twice is cleaning once");
        }
    }

    #[test]
    fn as_many_ampersands_as_a_field_has_room_for() {
        let cleaned = clean_url(&format!("u?{}{}", "&".repeat(1 << 20), "&amp;".repeat(3 << 20)));
        assert_eq!(cleaned.unwrap().len(), 2 + (4 << 20));
    }
}
