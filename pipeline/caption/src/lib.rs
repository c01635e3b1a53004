//! Captions. In: a text as crawled. Out: what a person would have written (`clean/`), its token ids (`literal.rs`;
//! `characters.rs`, which is faster), by a tokenizer out of its files (`file.rs`), whose special tokens are known (`special.rs`), and in
//! which letters it is written (`cjk.rs`). Compiled for speed: they run once for each of millions of captions. Never knows a table.

mod characters;
mod cjk;
mod clean;
mod file;
mod literal;
mod spaces;
mod special;

pub use characters::Characters;
pub use cjk::cjk_ratio;
pub use clean::{Rule, Rules, changed_by, clean_caption};
pub use file::TokenizerFile;
pub use literal::Literal;
pub use spaces::remove_cjk_spaces;
pub use special::{SpecialToken, SpecialTokens, end_ids};
