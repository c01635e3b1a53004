//! Captions. In: a text as crawled. Out: what a person would have written (`clean/`), and its token ids (`literal.rs`;
//! `characters.rs`, which is faster), by a tokenizer out of its files (`file.rs`), whose special tokens are known (`special.rs`).
//! Compiled for speed: they run once for each of millions of captions. Never knows a table.

mod characters;
mod clean;
mod file;
mod literal;
mod special;

pub use characters::Characters;
pub use clean::{Rule, Rules, changed_by, clean_caption};
pub use file::TokenizerFile;
pub use literal::Literal;
pub use special::{SpecialToken, SpecialTokens, end_ids};
