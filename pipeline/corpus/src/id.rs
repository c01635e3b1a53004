//! Identities. In: bytes. Out: the first 128 bits of their SHA-256, and those as the tables hold them.

use sha2::{Digest, Sha256};

/// First 128 bits of a SHA-256: a pair's or image's identity.
pub type Id = [u8; 16];

/// The identity of `bytes`.
pub fn id_of(bytes: &[u8]) -> Id {
    let digest = Sha256::digest(bytes);
    let mut id = Id::default();
    id.copy_from_slice(&digest[..16]);
    id
}

/// An identity as the tables hold it: 32 hexadecimal digits.
pub fn hex(id: Id) -> String {
    format!("{:032x}", u128::from_be_bytes(id))
}
