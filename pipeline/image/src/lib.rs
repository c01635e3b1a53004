//! Bytes to pixels. In: a picture file of any format. Out: a square of RGB pixels and what the file was, or the reason why
//! not. `image.rs` reads the header and dispatches, `jpeg.rs` and `other.rs` decode, `resize.rs` scales, `hash.rs` hashes,
//! `codec.rs` writes the square down. Never trusts a file name.

mod codec;
mod hash;
mod image;
mod jpeg;
mod other;
mod resize;

pub use codec::{decode_stored, encode_stored};
pub use hash::{DHASH_BITS, THUMB_BYTES, dhash, thumb};
pub use image::{DecodedImage, Header, RejectReason, Rejected, decode_image};
pub use resize::{resize_into, resize_rgb};
