//! Pairs and images to examples. In: pairs, originals' and images' light columns. Out: examples, brought up to date in one commit
//! after the audits passed and the gates were green. The rules are SQL (`sql/answers`, `pair_images`, `clean_captions`,
//! `used_images`, `leaks`, `examples`) and run in that order (`rules.rs`), on all rows (`rebuild.rs`) or on those that a change
//! concerns (`change.rs`). `split.rs`, `text_udf.rs`, `tokenize.rs` and `near.rs` are the functions missing from SQL. Never reads pixels.

mod change;
mod gates;
mod near;
mod near_rows;
mod rebuild;
mod rules;
mod split;
mod stage;
mod text_udf;
mod tokenize;

pub use near::{distance_udfs, hash_distance, thumb_distance};
pub use near_rows::NearRows;
pub use split::SplitRule;
pub use stage::{Gates, curate};
pub use text_udf::{caption_rules, caption_udfs};
pub(crate) use tokenize::tokenize_udf_by;
pub use tokenize::{CaptionTokenizer, TokenizerParts, tokenize_udf};
