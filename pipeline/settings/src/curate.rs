//! Settings of `tuwen curate`.

use serde::{Deserialize, Serialize};

use crate::allowed::Allowed::{Bool, Shares, SplitRule, Text};
use crate::allowed::{number, whole};
use crate::key::settings;

settings! {
    /// Settings of `tuwen curate`.
    pub struct CurateSettings("curate.", settings => settings.curate) {
        /// The `tokenizer.json` that captions are tokenised with.
        tokenizer: String = String::new(), Text;
        /// Tokens kept of a caption, special tokens included.
        max_length: usize = 100, whole(1..=65_536);
        /// Rules by which captions are cleaned. `all`, or some of tags, entities, invisible, urls,
        /// nfkc, sizes, files and blanks, divided by commas; empty: captions stay as crawled. The
        /// query `sql/queries/caption_rules.sql` shows what each changes.
        clean: String = "all".to_owned(), Text;
        /// Fewest characters of a clean caption.
        min_chars: u64 = 2, whole(0..=1_000_000);
        /// Most characters of a clean caption.
        max_chars: u64 = 200, whole(1..=1_000_000);
        /// Most different captions of one image. One with more counts as a placeholder.
        placeholder_captions: u64 = 10, whole(1..=1_000_000_000);
        /// Rule that puts pairs into splits. Kept: that of the corpus's last curation, of a new
        /// corpus auto. Auto: train, validation or test as the name of the source says, else that
        /// of the file, else by hash. Source: as the name of the source says, else train.
        /// Filename: train if the file name (the URL where there is none) contains "train", else
        /// test, as the original does. Hash: by the hash of the image, with split_shares. Or sql:
        /// and an expression over the columns of pairs and image_id, such as sql: case when source
        /// = 'held.csv' then 'test' else 'train' end.
        split: String = "kept".to_owned(), SplitRule;
        /// Shares of the splits by hash. Such as train=0.98,validation=0.01,test=0.01; empty:
        /// those of the corpus's last curation, of a new corpus these.
        split_shares: String = String::new(), Shares;
        /// Largest difference of near-identical images. That of two copies laid on each other, as
        /// part of what there is to see; 0 if they are equal.
        near_difference: f64 = 0.035, number(0.0..=0.3);
        /// Whether near-identical images of train are grouped. The column `near_group` of examples
        /// names their group, so that `train.predicate` can take one of each. Every run makes all
        /// rows anew then, and compares all images of train with each other.
        group_near: bool = false, Bool;
        /// Folder with audits of your own; empty: none. Each is an SQL file that must return no
        /// row.
        audits: String = String::new(), Text;
        /// Fewest examples in splits. Fewer is a red gate: the command ends with exit code 3.
        min_examples: u64 = 0, whole(0..=1_000_000_000_000);
    }
}
