//! What is selected. In: the tables at their versions, a split, a predicate. Out: the selected examples, their tokens, and the
//! numbers of their images' rows, in an order that no epoch changes, on disk. Never touches pixels.
//!
//! [`tables`] pins versions and lists files, [`asked`] makes the query, [`selection`] runs it and joins the examples with
//! [`image_rows`], one of the [`buckets`] after the other. Each is kept as a [`record`], all of them in a [`spill`].

mod asked;
mod buckets;
mod image_rows;
mod record;
mod selection;
mod spill;
mod tables;

pub use self::asked::asked_examples;
pub(crate) use self::image_rows::ImageRows;
pub(crate) use self::selection::{Selection, find};
pub(crate) use self::tables::PinnedTable;
