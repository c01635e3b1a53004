//! Bytes to pixels. In: a picture file of any format. Out: a square of RGB pixels and what the file was, or the reason why
//! not. `decode.rs` reads the header and dispatches, `jpeg.rs` and `formats/` decode, `resize.rs` scales, `hash.rs` hashes,
//! `codec.rs` writes the square down, `copy.rs` moves it, `media_type.rs` knows pictures by how they begin, `near_index.rs`
//! finds near-identical ones. Never trusts a file name, nor a decoder.

mod codec;
pub mod copy;
mod decode;
mod formats;
mod hash;
mod image;
mod jpeg;
mod media_type;
mod near_index;
mod panics;
mod resize;

pub use codec::{decode_stored, encode_stored};
pub use decode::{DecodedImage, decode_image};
pub use hash::{DHASH_BITS, THUMB_BYTES, dhash, thumb};
pub use image::{Header, RejectReason, Rejected, Rgb};
pub use media_type::media_type;
pub use near_index::{NearIndex, Thumb};
pub use resize::{mirror, resize_into, resize_rgb};
