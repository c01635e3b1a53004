//! Bytes to pixels. In: a picture file of any format. Out: a square of RGB pixels and what the file was, or the reason why
//! not. `decode.rs` reads the header and dispatches, `jpeg.rs` (by `libjpeg.rs`) and `formats/` decode, `resize.rs` scales (by
//! `weights.rs`), `hash.rs` hashes, `codec.rs` writes the square down, `copy.rs` moves it, `media_type.rs` knows pictures by how they
//! begin, `near.rs` says which are near-identical (by `outline.rs`, `colours.rs` and `overlay.rs`), `near_index.rs` and
//! `near_groups.rs` find them. Never trusts a file name, nor a decoder, whose panics `panics.rs` catches; `fault.rs` lets a test cause one.

mod codec;
mod colours;
pub mod copy;
mod decode;
pub mod fault;
mod formats;
mod hash;
mod image;
mod jpeg;
mod libjpeg;
mod media_type;
mod near;
mod near_groups;
mod near_index;
mod outline;
mod overlay;
mod panics;
mod resize;
mod weights;

pub use codec::{decode_stored, encode_stored};
pub use decode::{DecodedImage, decode_image};
pub use hash::{LOOK_BYTES, Look, THUMB_BYTES, Thumb, dhash, hamming, look, thumb};
pub use image::{Header, RejectReason, Rejected, Rgb};
pub use media_type::media_type;
pub use near::near_difference;
pub use near_groups::near_groups;
pub use near_index::{NearIndex, Row};
pub use resize::{mirror, resize_into, resize_rgb};
