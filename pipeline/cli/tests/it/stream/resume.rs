//! Orders under a random change of everything that may change at a resume.

use tuwen_stream::{Stream, StreamOptions};

use super::{DIRECT, SHUFFLES, assert_same, drain, interleave, open, options};

/// Numbers that are the same in every run (Steele, Lea, Flood 2014: SplitMix64).
struct Draws(u64);

impl Draws {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }
}

/// From any position, with any ranks, readers, prefetch and batch size, dividing or not, dropping the last or not: the ranks'
/// batches laid together are the uninterrupted order, id for id and pixel for pixel.
#[test]
fn any_resume_is_the_rest_of_the_uninterrupted_order() {
    let mut draws = Draws(2026);
    for case in 0..28 {
        let shuffle = SHUFFLES[case % SHUFFLES.len()];
        let (seed, epoch) = (draws.below(1000) as u64, draws.below(1000) as u64);
        let whole = open(StreamOptions { shuffle, seed, ..options() });
        let n = whole.len();
        let uninterrupted = drain(whole.epoch(epoch, 0).unwrap());
        let position = draws.below(n + 1);
        let state = whole.state(epoch, position as u64);
        let (world, drop_last) = (1 + draws.below(8), draws.below(2) == 0);
        let changed = StreamOptions {
            shuffle,
            seed,
            world,
            drop_last,
            batch_size: 1 + draws.below(70),
            readers: 1 + draws.below(7),
            prefetch: 1 + draws.below(4),
            ..options()
        };
        let global_batch = changed.batch_size * world;
        let of_rank = |rank| {
            let options = StreamOptions { rank, ..changed.clone() };
            let stream = Stream::open(DIRECT.location(), options).unwrap();
            drain(stream.resume(&state).unwrap())
        };
        let rows = interleave((0..world).map(of_rank).collect(), position);
        let left = n - position;
        let given = if drop_last { left / global_batch * global_batch } else { left };
        let expected = &uninterrupted[position..position + given];
        assert_same(&rows, expected, &format!("case {case}: {changed:?} from {position}"));
    }
}
