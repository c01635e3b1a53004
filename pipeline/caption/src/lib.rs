//! Captions. In: a text as crawled. Out: what a person would have written (`clean.rs`), and its token ids (`characters.rs`). Pure
//! functions of text, compiled for speed: they run once for each of millions of captions. Never knows a table.

mod characters;
mod clean;

pub use characters::Characters;
pub use clean::clean_caption;
