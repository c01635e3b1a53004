//! A batch without the examples whose images cannot be read. In: a batch that is otherwise complete, and which of its slots could
//! not be filled. Out: the batch without them. Never asks why.

use std::iter::Peekable;

use crate::batch::{Batch, Skipped};
use crate::read::Bad;

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
    use crate::id::ExampleId;

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
}
