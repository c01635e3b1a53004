//! How much a decoder may allocate, and what its error means. In: errors of the format crates. Out: [`Rejected`].

use std::fmt::Display;
use std::io::{Error, ErrorKind};

use image::ImageError;

use crate::image::{RejectReason, Rejected};

/// Bytes a decoder may allocate for a pixel of the header's size: 16 for RGBA f32, twice for its own work.
pub(super) const ALLOC_BYTES_PER_PX: u64 = 32;

/// Bytes a decoder may allocate for tables and palettes whatever the size.
pub(super) const ALLOC_BYTES_FIXED: u64 = 64 << 20;

pub(super) fn of_image(error: ImageError) -> Rejected {
    let reason = match &error {
        ImageError::Unsupported(_) => RejectReason::UnsupportedFormat,
        ImageError::Limits(_) => RejectReason::OutOfMemory,
        ImageError::IoError(io) => of_io(io, &error).reason,
        _ => reason_of_text(&error.to_string()),
    };
    Rejected::new(reason, error)
}

/// `said`: the error that wraps `io`, whose text says more.
pub(super) fn of_io(io: &Error, said: &impl Display) -> Rejected {
    let reason = match io.kind() {
        ErrorKind::UnexpectedEof => RejectReason::Truncated,
        _ => reason_of_text(&said.to_string()),
    };
    Rejected::new(reason, said)
}

pub(super) fn of_text(error: &impl Display) -> Rejected {
    Rejected::new(reason_of_text(&error.to_string()), error)
}

pub(super) fn corrupt(detail: impl Display) -> Rejected {
    Rejected::new(RejectReason::Corrupt, detail)
}

pub(super) fn truncated(detail: impl Display) -> Rejected {
    Rejected::new(RejectReason::Truncated, detail)
}

pub(super) fn unsupported(detail: impl Display) -> Rejected {
    Rejected::new(RejectReason::UnsupportedFormat, detail)
}

/// The decoders wrap an early end of the file in texts of their own.
fn reason_of_text(text: &str) -> RejectReason {
    let text = text.to_lowercase();
    let ends_early =
        ["unexpected end", "unexpected eof", "failed to fill whole buffer", "eof", "not enough"];
    if ends_early.iter().any(|phrase| text.contains(phrase)) {
        RejectReason::Truncated
    } else {
        RejectReason::Corrupt
    }
}
