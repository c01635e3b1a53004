//! How long ago: `30d`, `12h`. In: what a person writes. Out: a duration.

use std::time::Duration;

/// Units, by their letter in seconds.
const UNITS: [(char, u64); 5] =
    [('s', 1), ('m', 60), ('h', 3600), ('d', 24 * 3600), ('w', 7 * 24 * 3600)];

/// The longest that is understood, in days: more is a slip of the keyboard, and too much for dates.
const MOST_DAYS: u64 = 36_500;

/// The duration that `text` says: a whole number and a unit.
///
/// # Errors
/// Anything else; the message says what is expected.
pub(super) fn parse_age(text: &str) -> Result<Duration, String> {
    let expected = || {
        format!("expected a whole number and s, m, h, d or w, such as 30d or 12h, found `{text}`")
    };
    let unit = text.chars().next_back().ok_or_else(expected)?;
    let (_, secs) = UNITS.iter().find(|(letter, _)| *letter == unit).ok_or_else(expected)?;
    let number = text.strip_suffix(unit).unwrap_or_default();
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(expected());
    }
    let number: u64 = number.parse().map_err(|_| expected())?;
    let secs = number.checked_mul(*secs).filter(|secs| *secs <= MOST_DAYS * 24 * 3600);
    secs.map(Duration::from_secs)
        .ok_or_else(|| format!("expected at most {MOST_DAYS}d, found `{text}`"))
}

/// `age` in its largest unit that says it exactly.
pub(crate) fn age_text(age: Duration) -> String {
    let secs = age.as_secs();
    let (unit, length) = UNITS
        .iter()
        .rfind(|(unit, length)| *unit != 'w' && secs.is_multiple_of(*length))
        .copied()
        .unwrap_or(('s', 1));
    format!("{}{unit}", secs / length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_a_number_and_a_unit() {
        for (text, secs) in [
            ("0s", 0),
            ("90s", 90),
            ("5m", 300),
            ("12h", 43_200),
            ("30d", 2_592_000),
            ("2w", 1_209_600),
            ("007d", 604_800),
        ] {
            assert_eq!(parse_age(text), Ok(Duration::from_secs(secs)), "{text}");
        }
        for text in ["", "d", "30", "3.5d", "-1d", "+1d", "30 d", "30D", "1d12h", "三d", "30天"] {
            let error = parse_age(text).unwrap_err();
            assert!(error.ends_with(&format!("such as 30d or 12h, found `{text}`")), "{error}");
        }
        for text in ["36501d", "99999999999999999999s", "18446744073709551615w"] {
            assert!(parse_age(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ages_are_said_in_their_largest_unit() {
        for text in ["90s", "5m", "12h", "30d", "36h"] {
            assert_eq!(age_text(parse_age(text).unwrap()), text);
        }
        assert_eq!(age_text(parse_age("24h").unwrap()), "1d");
        assert_eq!(age_text(parse_age("2w").unwrap()), "14d");
    }
}
