//! The sample corpus: simple scenes whose Chinese captions can only be said by looking, with everything mixed in that a
//! crawl brings. In: a seed and a number of scenes. Out: CSV files, picture files, a tokenizer and the truth about every
//! row; and an HTTP server for the pictures. Never: a dependency on `tuwen`, which meets the corpus as a user's crawl.
//!
//! The modules are in the order in which a row is made: a [`scene`] is thought up, [`draw`]n, [`encode`]d; a [`crawl`]
//! puts scenes and mishaps into rows; [`corpus`] writes them down, with a [`tokenizer`] beside; [`serve`] answers for them.

pub mod corpus;
pub mod crawl;
pub mod draw;
pub mod encode;
pub mod random;
pub mod scene;
pub mod serve;
pub mod tokenizer;
