//! Header Retry-After (RFC 9110, 10.2.3). In: its value. Out: how long to wait.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::HeaderValue;

/// The longest wait that is believed: a week.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Seconds, or a date; a date that is past is no wait.
pub(super) fn retry_after(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(secs) => Duration::from_secs(secs),
        Err(_) => {
            let date = DateTime::parse_from_rfc2822(text).ok()?.with_timezone(&Utc);
            (date - Utc::now()).to_std().unwrap_or(Duration::ZERO)
        }
    };
    Some(wait.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates() {
        let of = |text: &str| retry_after(&HeaderValue::from_str(text).unwrap());
        assert_eq!(of("120"), Some(Duration::from_secs(120)));
        assert_eq!(of(" 0 "), Some(Duration::ZERO));
        assert_eq!(of("18446744073709551615"), Some(LONGEST));
        assert_eq!(of("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        let future = (Utc::now() + Duration::from_secs(3600)).to_rfc2822();
        let wait = of(&future).unwrap();
        assert!((3590..=3600).contains(&wait.as_secs()), "{wait:?}");
        for nothing in ["", "-1", "soon", "1.5"] {
            assert_eq!(of(nothing), None, "{nothing}");
        }
    }
}
