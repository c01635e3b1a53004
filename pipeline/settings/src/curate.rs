//! Settings of `tuwen curate`.

use serde::{Deserialize, Serialize};

use crate::allowed::Allowed::Text;
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
        /// Largest difference of near-identical images. That of two copies laid on each other, as
        /// part of what there is to see; 0 if they are equal.
        near_difference: f64 = 0.035, number(0.0..=0.3);
        /// Folder with audits of your own; empty: none. Each is an SQL file that must return no
        /// row.
        audits: String = String::new(), Text;
        /// Fewest examples in splits. Fewer is a red gate: the command ends with exit code 3.
        min_examples: u64 = 0, whole(0..=1_000_000_000_000);
    }
}
