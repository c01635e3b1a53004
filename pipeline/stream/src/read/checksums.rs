//! Damage that no length shows. In: the CRC-32 of each row's pixels in one file. Out: whether pixels are those that were written.
//! Never reads a file.

use anyhow::{Result, ensure};

/// CRC-32 of each row's pixels in one file; empty if they are not checked.
pub(super) struct Checksums(Vec<u32>);

impl Checksums {
    /// The checksums by row.
    pub(super) fn new(crcs: Vec<u32>) -> Self {
        Self(crcs)
    }

    /// Checks the pixels of `row`, as the file holds them, if that is asked for.
    pub(super) fn verify(&self, row: u32, pixels: &[u8]) -> Result<()> {
        match self.0.get(row as usize) {
            Some(&crc) => check_crc(pixels, crc),
            None => Ok(()),
        }
    }
}

/// Says whether `pixels`, as the file holds them, are those that were written.
fn check_crc(pixels: &[u8], expected: u32) -> Result<()> {
    let found = crc32fast::hash(pixels);
    ensure!(
        found == expected,
        "expected pixels with the CRC-32 {expected:08x} (column `pixels_crc32`), found {found:08x}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The figure is Python's `zlib.crc32(b"123456789")`, the check value of CRC-32/ISO-HDLC.
    #[test]
    fn a_flipped_bit_is_found() {
        check_crc(b"123456789", 0xcbf4_3926).unwrap();
        let error = check_crc(b"123456788", 0xcbf4_3926).unwrap_err().to_string();
        assert!(error.starts_with("expected pixels with the CRC-32 cbf43926"), "{error}");
    }
}
