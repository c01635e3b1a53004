//! What this machine can do. In: a folder, or a corpus. Out: figures, and which settings they speak for. Never changes a
//! corpus, and leaves nothing behind.
//!
//! [`scratch`] is the file that is read past the page cache, `storage` reads it in the patterns of a stream, `choice` makes a
//! recommendation of that; `stream` measures the stream itself on a corpus, beside plain copies of memory; `photo` draws
//! pictures that compress as photos do.

mod choice;
mod measure;
mod pattern;
mod photo;
mod scratch;
mod storage;
mod stream;

pub use choice::{Expected, Recommendation};
pub use pattern::{Pattern, Rate};
pub use photo::photo;
pub use storage::{Storage, StorageOptions, storage};
pub use stream::{StreamFigure, StreamFigures, StreamMeasure, stream};
