//! Ids of 128 bits. In: 32 hex digits as the tables hold them. Out: 16 bytes, and the same digits again.

use std::fmt;

use anyhow::{Result, bail};

/// An example's id: 16 bytes in memory, shown as the 32 hex digits that the table holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExampleId(pub(super) u128);

impl fmt::Display for ExampleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Value of each byte as a lower-case hex digit, 255 for bytes that are none.
static DIGITS: [u8; 256] = {
    let mut digits = [u8::MAX; 256];
    let mut value = 0;
    while value < 16 {
        digits[b"0123456789abcdef"[value] as usize] = value as u8;
        value += 1;
    }
    digits
};

/// Reads 32 lower-case hex digits.
pub(super) fn parse_id(text: &str) -> Result<u128> {
    let mut id = 0_u128;
    let mut seen = 0_u8;
    for &byte in text.as_bytes() {
        let digit = DIGITS[usize::from(byte)];
        seen |= digit;
        id = id << 4 | u128::from(digit & 15);
    }
    if text.len() != 32 || seen > 15 {
        bail!("expected an id of 32 lower-case hex digits, found `{text}`");
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_shown_as_it_was_read() {
        for text in [
            "000102030405060708090a0b0c0d0e0f",
            "ffffffffffffffffffffffffffffffff",
            &"0".repeat(32),
        ] {
            assert_eq!(ExampleId(parse_id(text).unwrap()).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in
            ["", "abc", &"g".repeat(32), &"A".repeat(32), &"0".repeat(33), &"0".repeat(31), "é"]
        {
            assert!(parse_id(text).is_err(), "{text}");
        }
    }
}
