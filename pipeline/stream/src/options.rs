//! What a stream is asked for. In: settings. Out: the same, checked. Never reads anything.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::random::mix;
use tuwen_settings::{OnBadImage, TrainOrder, TrainSettings};

/// More threads than this only take memory: each holds batches.
const MOST_READERS: usize = 1024;

/// More batches waiting than this are a slip of the keyboard: a channel has room for all of them from its beginning.
const MOST_PREFETCH: usize = 1 << 16;

/// Versions of the tables a stream reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// Delta version of `examples`.
    pub examples: u64,
    /// Delta version of `images`.
    pub images: u64,
    /// Delta version of `scores`; none where the predicate does not speak of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scores: Option<u64>,
}

/// In which order examples come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shuffle {
    /// A permutation of all selected examples: every order is equally likely. For local disks.
    Global,
    /// Row groups of `images` in random order, and examples shuffled among `row_groups` of them at a time, for object stores
    /// and spinning disks: the window under the readers and the next one are asked for in few large reads. Of an object store
    /// they are held in memory, mostly two windows of `row_groups` times 256 stored pictures, and an epoch begins when the
    /// first has come. An example never comes further than its window from its row group.
    Window {
        /// Row groups a window.
        row_groups: usize,
    },
    /// The order in which the images lie in their table; examples of one image by id.
    None,
}

/// A window of random size, shape and place, resized to the picture's size (bilinear): torchvision's `RandomResizedCrop`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomResizedCrop {
    /// Least and largest share of the picture's area, above 0 and up to 1; drawn evenly.
    pub scale: [f64; 2],
    /// Least and largest width by height; drawn evenly on a logarithmic scale.
    pub ratio: [f64; 2],
}

impl Default for RandomResizedCrop {
    /// torchvision's.
    fn default() -> Self {
        Self { scale: [0.08, 1.0], ratio: [3.0 / 4.0, 4.0 / 3.0] }
    }
}

impl RandomResizedCrop {
    /// Says which bound is out of range.
    fn check(&self) -> Result<()> {
        let [least, most] = self.scale;
        ensure!(
            0.0 < least && least <= most && most <= 1.0,
            "stream option `random_resized_crop.scale`: expected 0 < least <= most <= 1, found {:?}",
            self.scale
        );
        let [least, most] = self.ratio;
        ensure!(
            0.0 < least && least <= most && most.is_finite(),
            "stream option `random_resized_crop.ratio`: expected 0 < least <= most, found {:?}",
            self.ratio
        );
        Ok(())
    }
}

/// Which examples, in which order, in what batches.
///
/// Memory, whatever the size of the corpus: `readers * (prefetch + 1)` batches and those the consumer holds, each of
/// `batch_size * size_px^2 * 3` bytes and its tokens. With the corpus grows only what is kept of each row of `images`: 4 bytes,
/// 8 where its file holds JPEGs, and with `verify` 4 of its checksum. Ids and tokens of the selected examples, 29 bytes each
/// and two a token, lie in a file without a name in the folder for temporary files (`TMPDIR`; on disk, unless that folder is
/// itself in memory). For as long as it lasts, opening needs up to 80 bytes a selected example and 110 a row of `images`
/// more, and over an object store 24 of each Parquet page; there a window shuffle also holds its windows.
/// Mapped files count as memory in some tools' figures (`VmRSS`), but are the page cache's, which the kernel takes back when it
/// likes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StreamOptions {
    /// `train` or `test`.
    pub split: String,
    /// An SQL expression over the columns of `examples`, the light columns of `images`, and `loss`, `loss_without_image` and `gain` of
    /// the newest of `scores`, which are null where there is none; its rows are selected.
    pub predicate: Option<String>,
    /// The order.
    pub shuffle: Shuffle,
    /// Whether captions of like length share a batch, within every 50 batches (of all ranks) of the order. The order then
    /// depends on the batch size and the number of ranks, so a resume needs the same.
    pub group_by_length: bool,
    /// Seed of the order; with the epoch's number it fixes the order of an epoch.
    pub seed: u64,
    /// Examples a batch, of this rank.
    pub batch_size: usize,
    /// Whether the last examples of an epoch, too few for a whole batch on every rank, are left out.
    pub drop_last: bool,
    /// Which of the ranks this is, from 0. Rank r of w has the positions p of the global order with p mod w = r.
    pub rank: usize,
    /// The number of ranks.
    pub world: usize,
    /// Threads that build batches.
    pub readers: usize,
    /// Batches waiting per reader.
    pub prefetch: usize,
    /// Versions of the tables; the newest at opening if none.
    pub versions: Option<Versions>,
    /// Fills `input_ids` after a caption's end.
    pub pad_id: i64,
    /// Whether pixels are checked against their CRC-32 (column `pixels_crc32`) whenever they are read: finds every flipped bit.
    pub verify: bool,
    /// What becomes of an example whose image cannot be read.
    pub on_bad_image: OnBadImage,
    /// Probability that a picture is mirrored, 0 to 1. Never by default: captions name left and right.
    pub flip: f64,
    /// Cuts each picture to a random window; none: it stays whole. As with `flip`, seed, epoch and example decide, so other
    /// readers, ranks and resumes give the same pixels.
    pub random_resized_crop: Option<RandomResizedCrop>,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            split: "train".to_owned(),
            predicate: None,
            shuffle: Shuffle::Global,
            group_by_length: false,
            seed: 0,
            batch_size: 64,
            drop_last: false,
            rank: 0,
            world: 1,
            readers: std::thread::available_parallelism().map_or(1, usize::from).min(2),
            prefetch: 4,
            versions: None,
            pad_id: 0,
            verify: false,
            on_bad_image: OnBadImage::Fail,
            flip: 0.0,
            random_resized_crop: None,
        }
    }
}

/// The training split as the settings have it, at the newest versions.
impl From<&TrainSettings> for StreamOptions {
    fn from(settings: &TrainSettings) -> Self {
        Self {
            split: "train".to_owned(),
            predicate: Some(settings.predicate.clone()).filter(|predicate| !predicate.is_empty()),
            shuffle: match settings.order {
                TrainOrder::Global => Shuffle::Global,
                TrainOrder::Window => Shuffle::Window { row_groups: settings.window_row_groups },
            },
            group_by_length: settings.group_by_length,
            drop_last: settings.drop_last,
            seed: settings.seed,
            batch_size: settings.batch_size,
            readers: settings.readers,
            prefetch: settings.prefetch,
            verify: settings.verify,
            on_bad_image: settings.on_bad_image,
            flip: settings.flip,
            random_resized_crop: settings.random_resized_crop.then_some(RandomResizedCrop {
                scale: settings.crop_scale,
                ratio: settings.crop_ratio,
            }),
            ..Self::default()
        }
    }
}

impl StreamOptions {
    /// Says which setting is out of range.
    pub(super) fn check(&self) -> Result<()> {
        for (name, value) in [
            ("batch_size", self.batch_size),
            ("world", self.world),
            ("readers", self.readers),
            ("prefetch", self.prefetch),
        ] {
            ensure!(value > 0, "stream option `{name}`: expected at least 1, found 0");
        }
        ensure!(
            self.readers <= MOST_READERS,
            "stream option `readers`: expected at most {MOST_READERS} threads, found {}",
            self.readers
        );
        ensure!(
            self.prefetch <= MOST_PREFETCH,
            "stream option `prefetch`: expected at most {MOST_PREFETCH} batches, found {}",
            self.prefetch
        );
        ensure!(
            self.rank < self.world,
            "stream option `rank`: expected less than `world`, which is {}, found {}",
            self.world,
            self.rank
        );
        ensure!(
            self.shuffle != Shuffle::Window { row_groups: 0 },
            "stream option `shuffle`: expected a window of at least 1 row group, found 0"
        );
        ensure!(
            (0.0..=1.0).contains(&self.flip),
            "stream option `flip`: expected 0 to 1, found {}",
            self.flip
        );
        self.random_resized_crop.map_or(Ok(()), |crop| crop.check())
    }

    /// The same for the same order of the same selection, whatever the seed: a position means nothing in another one.
    pub(super) fn order_fingerprint(&self) -> u64 {
        let shuffle = match self.shuffle {
            Shuffle::Global => 0,
            Shuffle::None => 1,
            Shuffle::Window { row_groups } => 2 + row_groups as u64,
        };
        let groups = if self.group_by_length { self.global_batch() << 1 | 1 } else { 0 };
        mix(shuffle) ^ mix(groups).rotate_left(1)
    }

    /// Examples of one batch of every rank.
    pub(super) fn global_batch(&self) -> u64 {
        self.batch_size as u64 * self.world as u64
    }

    /// The first position from `position` on that is this rank's.
    pub(super) fn first_position(&self, position: u64) -> u64 {
        let (rank, world) = (self.rank as u64, self.world as u64);
        position + (rank + world - position % world) % world
    }
}
