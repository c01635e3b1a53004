//! Boxes, of which an ISO media file is made. In: bytes of a file. Out: which boxes lie where, and the numbers in them. Never copies.
//! Source: ISO/IEC 14496-12.

use std::ops::Range;

use super::super::reject;
use crate::image::Rejected;

/// Boxes at one level, items and what is said of them: more of either, and reading the file is not worth its time.
pub(super) const MAX_ENTRIES: usize = 1 << 16;

/// Bytes that are read from their start; beyond their end they are corrupt.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Rejected> {
        let (head, rest) = self
            .0
            .split_at_checked(length)
            .ok_or_else(|| reject::corrupt("a box ends too early"))?;
        self.0 = rest;
        Ok(head)
    }

    /// A big-endian number of `length` bytes, at most 8.
    pub(super) fn number(&mut self, length: usize) -> Result<u64, Rejected> {
        Ok(self.take(length)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    pub(super) fn u8(&mut self) -> Result<u8, Rejected> {
        Ok(self.number(1)? as u8)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Rejected> {
        Ok(self.number(2)? as u16)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Rejected> {
        Ok(self.number(4)? as u32)
    }

    /// Version and flags of a full box.
    pub(super) fn version_and_flags(&mut self) -> Result<(u8, u32), Rejected> {
        let word = self.u32()?;
        Ok(((word >> 24) as u8, word & 0xff_ffff))
    }
}

/// A box: its name, and its body's place in the file.
pub(super) struct Part {
    pub(super) name: [u8; 4],
    pub(super) body: Range<usize>,
}

/// The boxes in `range` of the file. At the outermost level one may end beyond the file (its body is then cut); inside another none may.
pub(super) fn parts(file: &[u8], range: Range<usize>) -> Result<Vec<Part>, Rejected> {
    let mut parts = Vec::new();
    let mut at = range.start;
    let is_outermost = range.start == 0 && range.end == file.len();
    while at < range.end {
        let mut head = Bytes(&file[at..range.end]);
        let (Ok(length), Ok(name)) = (head.u32(), head.number(4)) else {
            if is_outermost {
                break;
            }
            return Err(reject::corrupt("a box ends within its header"));
        };
        let (start, length) = match length {
            0 => (at + 8, range.end - at),
            1 => match head.number(8) {
                Ok(length) => (at + 16, usize::try_from(length).unwrap_or(usize::MAX)),
                Err(_) if is_outermost => break,
                Err(error) => return Err(error),
            },
            length => (at + 8, length as usize),
        };
        let end = at.saturating_add(length);
        if end > file.len() && !is_outermost {
            return Err(reject::truncated("a box ends behind the file"));
        }
        if end < start || end > range.end && !is_outermost {
            return Err(reject::corrupt("a box is longer than the one around it"));
        }
        if parts.len() == MAX_ENTRIES {
            return Err(reject::corrupt("too many boxes"));
        }
        let end = end.min(range.end);
        parts.push(Part { name: (name as u32).to_be_bytes(), body: start.min(end)..end });
        at = end;
    }
    Ok(parts)
}

pub(super) fn find<'a>(parts: &'a [Part], name: &[u8; 4]) -> Option<&'a Part> {
    parts.iter().find(|part| part.name == *name)
}

pub(super) fn child(file: &[u8], range: &Range<usize>, name: &[u8; 4]) -> Option<Range<usize>> {
    let parts = parts(file, range.clone()).ok()?;
    find(&parts, name).map(|part| part.body.clone())
}
