//! The decode stage. In: originals without a row in images. Out: their rows, pixels or the reason why not. `udf.rs` makes a SQL
//! function of `tuwen_image`, `stage.rs` runs it over a corpus.

mod stage;
mod udf;

pub use stage::decode;
pub use udf::decode_udf;
