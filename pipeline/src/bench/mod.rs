//! What this machine can do. In: a folder, or a corpus. Out: figures, and which settings they speak for. Never changes a
//! corpus, and leaves nothing behind.
//!
//! [`scratch`] is the file that is read past the page cache, `storage` reads it in the patterns of a stream, `choice` makes a
//! recommendation of that; `stream` measures the stream itself on a corpus, beside plain copies of memory; `photo` draws
//! pictures that compress as photos do.

mod choice;
mod photo;
mod scratch;
mod storage;
mod stream;

pub use choice::{Expected, Recommendation};
pub use photo::photo;
pub use storage::{Pattern, Rate, Storage, StorageOptions, storage};
pub use stream::{StreamFigure, StreamFigures, StreamMeasure, stream};

/// 1, 2, 4, … below `most`, and `most`.
fn doublings(most: usize) -> Vec<usize> {
    let mut counts: Vec<usize> =
        std::iter::successors(Some(1), |n| Some(n * 2)).take_while(|n| *n < most).collect();
    counts.push(most.max(1));
    counts
}

#[cfg(test)]
mod tests {
    use super::doublings;

    #[test]
    fn counts_end_with_the_most() {
        for (most, expected) in [(1, vec![1]), (2, vec![1, 2]), (6, vec![1, 2, 4, 6])] {
            assert_eq!(doublings(most), expected);
        }
    }
}
