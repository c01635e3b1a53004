//! `tuwen sql` behind its flags. In: texts of SQL, or a person at a terminal. Out: rows in one of the formats of `output/`. `run.rs`
//! runs a statement within its bounds (`rows.rs`, `stoppable.rs`), `target.rs` is where rows go, `commands.rs` knows the commands that
//! begin with a backslash, `words.rs` completes names, `shell/` talks to a person, through `pager.rs`. Never writes to a corpus.

pub(crate) mod commands;
pub(crate) mod output;
mod pager;
pub(crate) mod rows;
pub(crate) mod run;
pub(crate) mod shell;
mod stoppable;
pub(crate) mod target;
pub(crate) mod words;
