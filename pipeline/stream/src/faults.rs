//! Faults of images: files that are gone, cut short, or damaged. In: rows of one file that could not be read together. Out:
//! which of them cannot be read alone, and why; and a batch without them. Never takes a store that does not answer for a
//! fault of its rows.

use std::iter::Peekable;

use anyhow::{Result, ensure};

use super::files::{ImageFile, ImageFiles};
use super::slots::{Pick, Slots};
use super::{Batch, Skipped};

/// An example of a batch whose image cannot be read.
#[derive(Debug)]
pub(super) struct Bad {
    /// Its place in the batch.
    pub(super) slot: u32,
    /// Why, and where.
    pub(super) why: String,
}

/// Says whether `pixels`, as the file holds them, are those that were written.
pub(super) fn check_crc(pixels: &[u8], expected: u32) -> Result<()> {
    let found = crc32fast::hash(pixels);
    ensure!(
        found == expected,
        "expected pixels with the CRC-32 {expected:08x} (column `pixels_crc32`), found {found:08x}"
    );
    Ok(())
}

impl ImageFiles {
    /// Reads each row of `picks`, which lie in one file and are sorted by row, alone; those that cannot be read go to `bad`.
    ///
    /// # Errors
    /// The store does not answer.
    pub(super) fn read_singly(
        &self,
        file: &ImageFile,
        picks: &[Pick],
        slots: &mut Slots<'_>,
        bad: &mut Vec<Bad>,
    ) -> Result<()> {
        file.source.answers()?;
        for same_row in picks.chunk_by(|a, b| a.row == b.row) {
            let Err(error) = self.read_rows(file, same_row, slots) else { continue };
            file.source.answers()?;
            let why = format!("{:#}", error.context(self.place_of_row(file, same_row[0].row)));
            bad.extend(same_row.iter().map(|pick| Bad { slot: pick.slot, why: why.clone() }));
        }
        Ok(())
    }
}

/// Takes the examples of `bad` out of `batch`, whose pixels, ids and lengths are complete, and out of `tokens`, which stand one
/// caption after the other.
pub(super) fn leave_out(
    mut bad: Vec<Bad>,
    batch: &mut Batch,
    tokens: &mut Vec<i64>,
    pixel_bytes: usize,
) {
    bad.sort_unstable_by_key(|bad| bad.slot);
    let mut bad = bad.into_iter().peekable();
    let (mut kept, mut token, mut tokens_kept) = (0, 0, 0);
    for slot in 0..batch.len() {
        let length = batch.lengths[slot] as usize;
        match take(&mut bad, slot) {
            Some(Bad { why, .. }) => {
                let example_id = batch.example_ids[slot];
                batch.skipped.push(Skipped { place: slot as u32, example_id, why });
            }
            None => {
                batch.example_ids[kept] = batch.example_ids[slot];
                batch.lengths[kept] = batch.lengths[slot];
                let pixels = slot * pixel_bytes..(slot + 1) * pixel_bytes;
                batch.pixels.copy_within(pixels, kept * pixel_bytes);
                tokens.copy_within(token..token + length, tokens_kept);
                kept += 1;
                tokens_kept += length;
            }
        }
        token += length;
    }
    batch.example_ids.truncate(kept);
    batch.lengths.truncate(kept);
    batch.pixels.truncate(kept * pixel_bytes);
    tokens.truncate(tokens_kept);
}

/// What is bad about `slot`.
fn take(bad: &mut Peekable<impl Iterator<Item = Bad>>, slot: usize) -> Option<Bad> {
    bad.next_if(|bad| bad.slot as usize == slot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ExampleId;

    #[test]
    fn what_is_left_keeps_its_order_pixels_and_tokens() {
        for n in 0..7_u32 {
            for mask in 0..1_u32 << n {
                let is_bad = |slot: &u32| mask >> slot & 1 == 1;
                let (mut batch, mut tokens) = (Batch::default(), Vec::new());
                let (mut expected, mut expected_tokens) = (Batch::default(), Vec::new());
                for slot in 0..n {
                    let add = |batch: &mut Batch, tokens: &mut Vec<i64>| {
                        batch.example_ids.push(ExampleId(slot.into()));
                        batch.lengths.push(slot % 3);
                        batch.pixels.extend([slot as u8; 5]);
                        tokens.extend((0..slot % 3).map(|place| i64::from(slot * 10 + place)));
                    };
                    add(&mut batch, &mut tokens);
                    if is_bad(&slot) {
                        let (example_id, why) = (ExampleId(slot.into()), "torn".to_owned());
                        expected.skipped.push(Skipped { place: slot, example_id, why });
                    } else {
                        add(&mut expected, &mut expected_tokens);
                    }
                }
                let bad = (0..n).rev().filter(is_bad);
                let bad = bad.map(|slot| Bad { slot, why: "torn".to_owned() }).collect();
                leave_out(bad, &mut batch, &mut tokens, 5);
                assert_eq!((batch, tokens), (expected, expected_tokens), "{mask:b} of {n}");
            }
        }
    }

    /// The figure is Python's `zlib.crc32(b"123456789")`, the check value of CRC-32/ISO-HDLC.
    #[test]
    fn a_flipped_bit_is_found() {
        check_crc(b"123456789", 0xcbf4_3926).unwrap();
        let error = check_crc(b"123456788", 0xcbf4_3926).unwrap_err().to_string();
        assert!(error.starts_with("expected pixels with the CRC-32 cbf43926"), "{error}");
    }
}
