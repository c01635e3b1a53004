//! The framing of TFRecord files: length, checksum of the length, bytes, checksum of the bytes; little-endian. In: bytes.
//! Out: a record. Never compresses. Source: tensorflow/core/lib/io/record_writer.h.

use crc::{CRC_32_ISCSI, Crc};

/// CRC-32C, which the catalogue of checksums has under the name of its first user, iSCSI.
static CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// A record that holds `bytes`.
pub(super) fn framed(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(bytes.len() + 16);
    record.extend_from_slice(&length);
    record.extend_from_slice(&masked_crc(&length).to_le_bytes());
    record.extend_from_slice(bytes);
    record.extend_from_slice(&masked_crc(bytes).to_le_bytes());
    record
}

/// The checksum, rotated and shifted, so that records within records do not look like their own checksum.
fn masked_crc(bytes: &[u8]) -> u32 {
    CRC32C.checksum(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::CRC32C;

    #[test]
    fn the_checksum_is_that_of_rfc_3720() {
        // Appendix B.4.
        for (bytes, expected) in [([0u8; 32], 0x8a91_36aa_u32), ([0xff; 32], 0x62a8_ab43)] {
            assert_eq!(CRC32C.checksum(&bytes), expected);
        }
    }
}
