//! A fault that a test puts into the decoder, so that a whole run meets a file on which it panics. Outside of such a test it is nothing:
//! no setting, flag or variable reaches it.

use std::sync::OnceLock;

/// What is done with the bytes of each file before they are decoded, in all of the process.
pub static FAULT: OnceLock<fn(&[u8])> = OnceLock::new();

pub(crate) fn meet(bytes: &[u8]) {
    if let Some(fault) = FAULT.get() {
        fault(bytes);
    }
}
