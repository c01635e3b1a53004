//! URLs as crawls bring them. In: the text of a column. Out: the address that is meant. Never decides whether it is one.

/// Characters without width: they come along when a URL is copied from a page, and mean nothing in one.
const INVISIBLE: [char; 10] = [
    '\u{ad}', '\u{200b}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202c}', '\u{202d}', '\u{2060}',
    '\u{feff}', '\u{fffc}',
];

/// How `&` is written in HTML.
const AMPERSANDS: [&str; 4] = ["&amp;", "&#38;", "&#038;", "&#x26;"];

/// `url` without blanks around it and characters without width, `&amp;` undone, and with https where it begins with `//`; none if
/// nothing is left.
pub(super) fn clean_url(url: &str) -> Option<String> {
    let is_around =
        |c: char| c.is_whitespace() || c.is_control() || matches!(c, '\u{200c}' | '\u{200d}');
    let visible: String = url.chars().filter(|c| !INVISIBLE.contains(c)).collect();
    let mut url = visible.trim_matches(is_around).to_owned();
    // Escaped twice it is `&amp;amp;`.
    while let Some((at, length)) = ampersand(&url) {
        url.replace_range(at..at + length, "&");
    }
    if url.starts_with("//") {
        url.insert_str(0, "https:");
    }
    (!url.is_empty()).then_some(url)
}

/// The place and the length of the first written-out ampersand.
fn ampersand(url: &str) -> Option<(usize, usize)> {
    url.match_indices('&').find_map(|(at, _)| {
        let is_next = |written: &&&str| {
            let found = url.as_bytes().get(at..at + written.len());
            found.is_some_and(|found| found.eq_ignore_ascii_case(written.as_bytes()))
        };
        AMPERSANDS.iter().find(is_next).map(|written| (at, written.len()))
    })
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
}
