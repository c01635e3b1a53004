//! Captions. In: a text as crawled. Out: what a person would have written (`clean/`), and its token ids (`literal.rs`;
//! `characters.rs`, which is faster). Pure functions of text, compiled for speed: they run once for each of millions of captions.
//! Never knows a table.

mod characters;
mod clean;
mod literal;

pub use characters::Characters;
pub use clean::{Rule, Rules, changed_by, clean_caption};
pub use literal::Literal;
