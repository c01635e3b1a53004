//! Byte ranges of one data file. In: ranges, and how long the file is. Out: near ones as one, and what is wrong with a range or a
//! length. Never reads.

use std::ops::Range;

use anyhow::{Result, ensure};

/// Most bytes of one request for several ranges: large against a store's latency, small enough for several to come at once.
const SPAN_BYTES: u64 = 8 << 20;

/// Bytes between two wanted ranges that are fetched too rather than asked around: a store sends them in less time than it takes
/// to answer.
const GAP_BYTES: u64 = 256 << 10;

/// `ranges`, ascending, those near each other as one of at most [`SPAN_BYTES`].
pub(super) fn joined(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.end <= last.end => {}
            Some(last)
                if range.start <= last.end + GAP_BYTES && range.end <= last.start + SPAN_BYTES =>
            {
                last.end = range.end;
            }
            _ => joined.push(range.clone()),
        }
    }
    joined
}

/// Says whether `range` lies within a file of `length` bytes.
pub(super) fn check_range(range: &Range<u64>, length: u64) -> Result<()> {
    ensure!(
        range.start <= range.end && range.end <= length,
        "it has {length} bytes, and its footer points to {range:?}"
    );
    Ok(())
}

/// Says whether a file is as long as the Delta log says.
pub(super) fn expect_length(expected: u64, found: u64) -> Result<()> {
    ensure!(found == expected, "expected {expected} bytes (Delta log), found {found}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_ranges_are_asked_for_together() {
        const GAP: u64 = GAP_BYTES;
        const SPAN: u64 = SPAN_BYTES;
        type Pairs = &'static [(u64, u64)];
        let cases: [(Pairs, Pairs); 7] = [
            (&[], &[]),
            (&[(0, 5), (5, 9)], &[(0, 9)]),
            (
                &[(0, 5), (5 + GAP, 9 + GAP), (10 + 2 * GAP, 11 + 2 * GAP)],
                &[(0, 9 + GAP), (10 + 2 * GAP, 11 + 2 * GAP)],
            ),
            (
                &[(7, SPAN), (SPAN, SPAN + 7), (SPAN + 7, SPAN + 8)],
                &[(7, SPAN + 7), (SPAN + 7, SPAN + 8)],
            ),
            (
                &[(0, 3 * SPAN), (3 * SPAN, 3 * SPAN + 1)],
                &[(0, 3 * SPAN), (3 * SPAN, 3 * SPAN + 1)],
            ),
            (&[(4, 9), (4, 9)], &[(4, 9)]),
            (&[(0, 3 * SPAN), (7, 2 * SPAN)], &[(0, 3 * SPAN)]),
        ];
        for (ranges, expected) in cases {
            let ranges: Vec<_> = ranges.iter().map(|&(start, end)| start..end).collect();
            let joined = joined(&ranges).into_iter().map(|range| (range.start, range.end));
            assert_eq!(joined.collect::<Vec<_>>(), expected);
        }
    }
}
