//! What a host lets robots do. In: its robots.txt (RFC 9309), the header X-Robots-Tag of an answer. Out: whether a URL may be asked for,
//! whether an answer may be kept. Never asks anything itself.

use std::time::{Duration, Instant};

use texting_robots::Robot;

/// Bytes of a robots.txt that are read; the RFC wants 500 KiB at least.
pub(super) const MOST_ROBOTS_BYTES: u64 = 512 << 10;

/// The longest delay between requests that is kept to.
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// Lines with `*` or `$` that are read: each becomes a regular expression, which is large.
const MOST_PATTERNS: usize = 1_000;

/// Characters of such a line; a longer one is none that a person wrote.
const MOST_PATTERN_CHARS: usize = 1_000;

/// What a rule takes in memory, of its bytes in the text.
const MEMORY_PER_BYTE: usize = 20;

/// What there is to remember of a host that has none.
const LEAST_WEIGHT: u32 = 200;

/// What a robots.txt says to us.
pub(super) enum Robots {
    /// There is none, or it cannot be understood.
    AllAllowed,
    /// It answers 5xx, so that nobody knows.
    Unavailable { detail: String, since: Instant },
    /// What it says, and the length of its text.
    Rules(Box<Robot>, usize),
}

impl Robots {
    /// Of the text; `product` is how its rules call us.
    pub(super) fn parse(product: &str, text: &[u8]) -> Self {
        // A byte-order mark would hide the first line.
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let mut n_patterns = 0;
        let is_read = |line: &&[u8]| {
            let is_pattern = line.contains(&b'*') || line.contains(&b'$');
            n_patterns += usize::from(is_pattern);
            !is_pattern || (line.len() <= MOST_PATTERN_CHARS && n_patterns <= MOST_PATTERNS)
        };
        let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').filter(is_read).collect();
        let text = lines.join(&b'\n');
        let robot = Robot::new(product, &text);
        robot.map_or(Self::AllAllowed, |robot| Self::Rules(Box::new(robot), text.len()))
    }

    pub(super) fn unavailable(detail: String) -> Self {
        Self::Unavailable { detail, since: Instant::now() }
    }

    /// Bytes of memory that it takes, roughly.
    pub(super) fn weight(&self) -> u32 {
        let Self::Rules(_, n_bytes) = self else { return LEAST_WEIGHT };
        u32::try_from(n_bytes * MEMORY_PER_BYTE).unwrap_or(u32::MAX).saturating_add(LEAST_WEIGHT)
    }

    /// Whether `url` may be asked for.
    pub(super) fn allow(&self, url: &str) -> bool {
        match self {
            Self::AllAllowed => true,
            Self::Unavailable { .. } => false,
            Self::Rules(robot, _) => robot.allowed(url),
        }
    }

    /// How long to wait between two requests.
    pub(super) fn delay(&self) -> Option<Duration> {
        let Self::Rules(robot, _) = self else { return None };
        let delay = Duration::try_from_secs_f32(robot.delay?).ok()?;
        Some(delay.min(LONGEST_DELAY))
    }
}

/// These have a colon too, but no robot before it.
const DIRECTIVES_WITH_VALUE: [&str; 4] =
    ["unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"];

/// Directives that forbid to keep a picture; those of img2dataset.
const DISALLOWED: [&str; 4] = ["noai", "noimageai", "noindex", "noimageindex"];

/// The directive of `headers` (X-Robots-Tag, each `[robot:] directive, …`) that forbids to keep a picture, is for all robots or for
/// `product`, and is none of `ignored` (divided by commas), if there is one. As img2dataset reads it.
pub(super) fn disallowed_directive<'a>(
    headers: impl Iterator<Item = &'a str>,
    ignored: &str,
    product: &str,
) -> Option<String> {
    let is_disallowed = |directive: &str| {
        let is_same = |name: &str| name.trim().eq_ignore_ascii_case(directive);
        DISALLOWED.into_iter().any(is_same) && !ignored.split(',').any(is_same)
    };
    for header in headers {
        let mut is_for_us = true;
        for part in header.split(',') {
            let mut directive = part.trim();
            if let Some((robot, rest)) = directive.split_once(':') {
                if DIRECTIVES_WITH_VALUE.iter().any(|name| name.eq_ignore_ascii_case(robot.trim()))
                {
                    continue;
                }
                is_for_us = robot.trim().eq_ignore_ascii_case(product);
                directive = rest.trim();
            }
            if is_for_us && !directive.is_empty() && is_disallowed(directive) {
                return Some(directive.to_ascii_lowercase());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_those_of_rfc_9309() {
        let text = b"\xef\xbb\xbfUser-agent: *\nDisallow: /private/\nAllow: /private/open\nCrawl-delay: 2\n\n\
                     User-Agent: tuwen\nDisallow: /*.gif$\n";
        let robots = Robots::parse("tuwen", text);
        assert!(robots.allow("http://h/private/a.jpg"));
        assert!(!robots.allow("http://h/a.gif"));
        let others = Robots::parse("other", text);
        assert!(!others.allow("http://h/private/a.jpg"));
        assert!(others.allow("http://h/private/open.jpg"));
        assert_eq!(others.delay(), Some(Duration::from_secs(2)));
        let long =
            format!("User-agent: *\nDisallow: /{}$\nDisallow: /private/\n", "a".repeat(60_000));
        assert!(!Robots::parse("tuwen", long.as_bytes()).allow("http://h/private/a.jpg"));
        for nothing in [&b""[..], b"<html>404</html>", b"\xff\xfe\0\0"] {
            assert!(Robots::parse("tuwen", nothing).allow("http://h/private/a.jpg"));
        }
    }

    #[test]
    fn directives_are_for_all_or_for_one() {
        for (header, expected) in [
            ("noai", Some("noai")),
            ("nofollow, NOAI", Some("noai")),
            ("tuwen: noimageai", Some("noimageai")),
            ("otherbot: noai, noimageai", None),
            ("otherbot: noai, tuwen: noai", Some("noai")),
            ("unavailable_after: 25 Jun 2030 15:00:00 PST", None),
            ("max-image-preview: large, noai", Some("noai")),
            ("all", None),
            ("", None),
        ] {
            let found = disallowed_directive([header].into_iter(), "noindex", "tuwen");
            assert_eq!(found.as_deref(), expected, "{header}");
        }
        let ignored = "noai, noIndex";
        assert_eq!(disallowed_directive(["noai,noindex"].into_iter(), ignored, "tuwen"), None);
    }
}
