//! Captions. In: a text as crawled. Out: what a person would have written (`clean/`), its token ids (`literal.rs`;
//! `characters.rs`, which is faster), and in which letters it is written (`cjk.rs`). Pure functions of text, compiled for speed: they run once for each of millions of captions.
//! Never knows a table.

mod characters;
mod cjk;
mod clean;
mod literal;
mod spaces;

pub use characters::Characters;
pub use cjk::cjk_ratio;
pub use clean::{Rule, Rules, changed_by, clean_caption};
pub use literal::Literal;
pub use spaces::remove_cjk_spaces;
