//! How many bytes: `512M`, `2G`. In: what a person writes. Out: a number.

/// Units, by their letter in bytes; a power of 1024 each, as `ls -h` and `dd` have them.
const UNITS: [(char, u64); 4] = [('k', 1 << 10), ('M', 1 << 20), ('G', 1 << 30), ('T', 1 << 40)];

/// The number of bytes that `text` says: a whole number, and a unit or none.
///
/// # Errors
/// Anything else; the message says what is expected.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let expected = || {
        format!(
            "expected a whole number of bytes, or with k, M, G or T, such as 512M, found `{text}`"
        )
    };
    let unit = UNITS
        .iter()
        .find(|(letter, _)| text.ends_with(*letter) || text.ends_with(letter.to_ascii_uppercase()));
    let (number, size) = match unit {
        Some((_, size)) => (&text[..text.len() - 1], *size),
        None => (text, 1),
    };
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(expected());
    }
    number.parse().ok().and_then(|number: u64| number.checked_mul(size)).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_a_number_and_perhaps_a_unit() {
        for (text, bytes) in [
            ("0", 0),
            ("1000", 1000),
            ("4k", 4096),
            ("4K", 4096),
            ("512M", 512 << 20),
            ("2G", 2 << 30),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "M", "1.5G", "-1", "+1", "1 G", "1GB", "1g", "99999999999T", "图"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }
}
