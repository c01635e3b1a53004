//! Which files are joined. In: the files of a table in their order. Out: runs of neighbours, each of
//! which is written as one file. Only neighbours are joined, so that rows stay in their order.

use std::ops::Range;

/// A file smaller than the table's file size divided by this is small.
const SMALL_PART: u64 = 4;

/// So many small files may stay: joining them would cost more than reading them.
const SMALL_FILES_THAT_MAY_STAY: usize = 4;

/// A file that may be joined with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Its size.
    pub(crate) bytes: u64,
    /// Whether it does not lie as its table's files do, and is written anew whatever its size.
    pub(crate) is_foreign: bool,
}

/// The runs of `files` to be joined, where a table's files have `file_bytes` at most. What comes out
/// of joining them gives no runs again.
pub(crate) fn bins(files: &[Candidate], file_bytes: u64) -> Vec<Range<usize>> {
    let is_small = |file: &Candidate| file.bytes < file_bytes / SMALL_PART;
    let n_small = files.iter().filter(|file| is_small(file)).count();
    let joins_small = n_small > SMALL_FILES_THAT_MAY_STAY;
    let mut bins = Vec::new();
    let mut bin = 0..0;
    let mut bytes = 0;
    for (i, file) in files.iter().enumerate() {
        let is_wanted = file.is_foreign || (joins_small && is_small(file));
        if is_wanted && bin.end == i && !bin.is_empty() && bytes + file.bytes <= file_bytes {
            bin.end = i + 1;
            bytes += file.bytes;
            continue;
        }
        bins.push(std::mem::replace(&mut bin, if is_wanted { i..i + 1 } else { 0..0 }));
        bytes = file.bytes;
    }
    bins.push(bin);
    bins.retain(|bin| bin.len() > 1 || files[bin.clone()].iter().any(|file| file.is_foreign));
    bins
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE_BYTES: u64 = 100;

    fn check(sizes: &[u64], foreign: &[usize], expected: &[Range<usize>]) {
        let files: Vec<Candidate> = (0..)
            .zip(sizes)
            .map(|(i, &bytes)| Candidate { bytes, is_foreign: foreign.contains(&i) })
            .collect();
        assert_eq!(bins(&files, FILE_BYTES), expected, "{sizes:?} {foreign:?}");
    }

    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "a list of one run of files")]
    fn neighbours_are_joined_up_to_the_size_of_a_file() {
        check(&[], &[], &[]);
        // Few small files stay.
        check(&[1, 1, 1, 1], &[], &[]);
        check(&[1, 1, 1, 1, 1], &[], &[0..5]);
        check(&[24, 24, 24, 24, 24, 24], &[], &[0..4, 4..6]);
        // A large one parts them; one alone stays.
        check(&[1, 1, 90, 1, 1, 90, 1], &[], &[0..2, 3..5]);
        // Those that another program wrote are written anew, alone or with their neighbours.
        check(&[90, 90], &[1], &[1..2]);
        check(&[90, 30, 30, 5], &[1, 2], &[1..3]);
        check(&[5, 5, 5, 5, 30, 5], &[4], &[0..6]);
    }

    #[test]
    fn what_was_joined_stays() {
        for seed in 1..200_u64 {
            let sizes: Vec<u64> = (1..40).map(|i| (i * i * seed) % 60).collect();
            let files: Vec<Candidate> =
                sizes.iter().map(|&bytes| Candidate { bytes, is_foreign: false }).collect();
            let mut joined = files.clone();
            for bin in bins(&files, FILE_BYTES).into_iter().rev() {
                let bytes = files[bin.clone()].iter().map(|file| file.bytes).sum();
                joined.splice(bin, [Candidate { bytes, is_foreign: false }]);
            }
            assert!(bins(&joined, FILE_BYTES).is_empty(), "{sizes:?}");
        }
    }
}
