//! Pairs and images to examples. In: pairs, originals' and images' light columns. Out: examples, replaced as a whole in one
//! commit after the audits passed. The rules are SQL (sql/pair_images, clean_captions, leaks, examples); `clean.rs`, `near.rs` and
//! `tokenize.rs` are the functions SQL has not, `audits.rs` runs sql/audits, `stage.rs` is the order of it all. Never reads
//! pixels.

mod audits;
mod clean;
mod near;
mod stage;
mod text_udf;
mod tokenize;

pub use audits::{AUDITS, audit};
pub use clean::clean_caption;
pub use near::{hash_distance, near_keys, near_udfs, thumb_distance};
pub use stage::curate;
pub use text_udf::clean_caption_udf;
pub use tokenize::{CaptionTokenizer, tokenize_udf};
