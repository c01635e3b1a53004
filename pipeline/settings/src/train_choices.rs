//! The words that settings of the trainer can be.

use serde::{Deserialize, Serialize};

use crate::key::choices;

choices! {
    /// How the learning rate goes on after the warm-up.
    pub enum LrSchedule {
        /// Half a cosine down to zero at the last step.
        Cosine = "cosine",
        /// A straight line down to zero at the last step.
        Linear = "linear",
        /// Stays.
        Constant = "constant",
    }
}

choices! {
    /// Number format of the forward and backward passes; parameters and optimizer are always
    /// 32-bit.
    pub enum Precision {
        /// 32-bit floats.
        F32 = "f32",
        /// bfloat16, for devices that are fast at it.
        Bf16 = "bf16",
        /// 16-bit floats with dynamic loss scaling, for devices without bfloat16.
        F16 = "f16",
    }
}

choices! {
    /// Order of the training examples within an epoch.
    pub enum TrainOrder {
        /// One permutation of all examples; for local disks.
        Global = "global",
        /// Whole row groups, shuffled within a window of `train.window_row_groups` that is fetched
        /// ahead; for object stores and spinning disks.
        Window = "window",
    }
}

choices! {
    /// How pixels are read. Every path gives the same bytes.
    #[derive(Default)]
    pub enum ReadPath {
        /// Copies from the mapped file where it is on this machine and its layout allows it,
        /// otherwise the next that can. A file that someone cuts short within the copy of a row, or
        /// whose disk fails in it, ends the process (SIGBUS).
        #[default]
        Fastest = "fastest",
        /// Read calls where the file is on this machine. Nothing is mapped, so a file that is cut
        /// short, and a disk that fails, is an error at any moment. For network file systems.
        Pread = "pread",
        /// Range requests through the object store, also for files of this machine (network file
        /// systems, for which mapping is slow or unsafe).
        Ranges = "ranges",
        /// Decoding by the parquet crate, whatever the layout.
        General = "general",
    }
}

choices! {
    /// What becomes of an example whose image cannot be read: its file is gone, cut short, or
    /// damaged. Of flipped bits within an image `train.verify` finds every one; without it those
    /// are found that make a length wrong or a JPEG's data end too early.
    #[derive(Default)]
    pub enum OnBadImage {
        /// An error that names the example, the table's version, the file, row group and row; the
        /// epoch ends there.
        #[default]
        Fail = "fail",
        /// The example is left out of its batch, which says so. The others stay where they are:
        /// positions count left-out examples too, so order, ranks and resuming are as without the
        /// damage (under order `global`; orders that follow the table put examples last whose whole
        /// file is gone, and a run stopped before that does not resume after it). A store that does
        /// not answer is an error all the same: that is no fault of an image.
        Skip = "skip",
    }
}

choices! {
    /// What says which checkpoint is the best.
    pub enum BestMetric {
        /// Nothing: no checkpoint is kept for being good.
        None = "none",
        /// The lowest loss on the test split.
        Loss = "loss",
        /// The highest CIDEr-D of generated captions.
        Cider = "cider",
    }
}

/// When beam search may end before the longest caption; written `true`, `false` or `"never"`, as
/// transformers has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BoolOrWord", into = "BoolOrWord")]
pub enum EarlyStopping {
    /// `true`: as soon as there are as many finished captions as beams.
    Yes,
    /// `false`: when a heuristic says that no running beam gets better.
    No,
    /// `never`: only when no running beam can get better.
    Never,
}

impl EarlyStopping {
    /// Their names in settings.
    pub const NAMES: &[&str] = &["true", "false", "never"];
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum BoolOrWord {
    Bool(bool),
    Word(String),
}

impl TryFrom<BoolOrWord> for EarlyStopping {
    type Error = String;

    fn try_from(value: BoolOrWord) -> Result<Self, String> {
        let word = match value {
            BoolOrWord::Bool(bool) => bool.to_string(),
            BoolOrWord::Word(word) => word,
        };
        match word.as_str() {
            "true" => Ok(Self::Yes),
            "false" => Ok(Self::No),
            "never" => Ok(Self::Never),
            _ => Err(format!("early_stopping: expected true, false or never, found `{word}`")),
        }
    }
}

impl From<EarlyStopping> for BoolOrWord {
    fn from(value: EarlyStopping) -> Self {
        match value {
            EarlyStopping::Yes => Self::Bool(true),
            EarlyStopping::No => Self::Bool(false),
            EarlyStopping::Never => Self::Word("never".to_owned()),
        }
    }
}
