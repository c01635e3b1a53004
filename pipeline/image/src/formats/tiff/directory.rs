//! What a TIFF says of its pages. In: bytes of a file, also of a BigTIFF. Out: the values of the first page's tags, and how many
//! pages there are. Sources: TIFF 6.0, section 2; the BigTIFF design.

use super::super::reject;
use crate::image::Rejected;

/// Values of a tag, pages and tags of a page: more of them, and reading is not worth its time.
const MAX_ENTRIES: u64 = 1 << 20;

#[derive(Clone, Copy)]
struct Format {
    is_little: bool,
    is_big_tiff: bool,
}

impl Format {
    fn number(self, bytes: &[u8]) -> u64 {
        let shift = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        if self.is_little { bytes.iter().rev().fold(0, shift) } else { bytes.iter().fold(0, shift) }
    }
}

struct Entry {
    tag: u16,
    kind: u16,
    count: u64,
    /// Where the values are.
    at: u64,
}

/// The tags of a page.
pub(super) struct Directory<'a> {
    file: &'a [u8],
    format: Format,
    entries: Vec<Entry>,
}

fn slice(file: &[u8], at: u64, length: u64) -> Result<&[u8], Rejected> {
    let end = at.checked_add(length).filter(|end| *end <= file.len() as u64);
    let end = end.ok_or_else(|| reject::truncated("the TIFF points beyond its end"))?;
    Ok(&file[at as usize..end as usize])
}

/// The first page's tags.
pub(super) fn first(file: &[u8]) -> Result<Directory<'_>, Rejected> {
    let (format, at) = start(file)?;
    read(file, format, at)
}

/// Pages, as far as they can be followed.
pub(super) fn pages(file: &[u8]) -> u32 {
    let Ok((format, mut next)) = start(file) else { return 1 };
    let mut seen = Vec::new();
    // Each page has tags of its own, so that they are no more than the file has room for.
    while next != 0 && !seen.contains(&next) && seen.len() < 4096 {
        match following(file, format, next) {
            Ok(after) => {
                seen.push(next);
                next = after;
            }
            Err(_) => break,
        }
    }
    seen.len().max(1) as u32
}

fn start(file: &[u8]) -> Result<(Format, u64), Rejected> {
    let is_little = file.starts_with(b"II");
    let is_big_tiff = file.get(2..4).is_some_and(|magic| magic.contains(&43));
    let format = Format { is_little, is_big_tiff };
    let at = if is_big_tiff { slice(file, 8, 8)? } else { slice(file, 4, 4)? };
    Ok((format, format.number(at)))
}

/// Entries, where they begin, bytes of each.
fn extent(file: &[u8], format: Format, at: u64) -> Result<(u64, u64, u64), Rejected> {
    let (count_bytes, entry_bytes) = if format.is_big_tiff { (8, 20) } else { (2, 12) };
    let count = format.number(slice(file, at, count_bytes)?);
    if count > MAX_ENTRIES {
        return Err(reject::corrupt("too many tags"));
    }
    Ok((count, at + count_bytes, entry_bytes))
}

fn following(file: &[u8], format: Format, at: u64) -> Result<u64, Rejected> {
    let (count, at, entry_bytes) = extent(file, format, at)?;
    let pointer_bytes = if format.is_big_tiff { 8 } else { 4 };
    slice(file, at + count * entry_bytes, pointer_bytes).map(|bytes| format.number(bytes))
}

fn read(file: &[u8], format: Format, at: u64) -> Result<Directory<'_>, Rejected> {
    let (count, at, entry_bytes) = extent(file, format, at)?;
    let mut entries = Vec::new();
    for index in 0..count {
        let at = at + index * entry_bytes;
        let entry = match slice(file, at, entry_bytes) {
            Ok(entry) => entry,
            // The tags that matter come first, so that the others may be missing.
            Err(_) if index > 0 => break,
            Err(rejected) => return Err(rejected),
        };
        let (count, value) = entry[4..].split_at(if format.is_big_tiff { 8 } else { 4 });
        let kind = format.number(&entry[2..4]) as u16;
        let count = format.number(count);
        let is_inline = count.saturating_mul(size_bytes(kind)) <= value.len() as u64;
        let value_at = at + entry_bytes - value.len() as u64;
        let at = if is_inline { value_at } else { format.number(value) };
        entries.push(Entry { tag: format.number(&entry[..2]) as u16, kind, count, at });
    }
    Ok(Directory { file, format, entries })
}

/// Bytes of a value of a kind.
fn size_bytes(kind: u16) -> u64 {
    match kind {
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16 | 17 | 18 => 8,
        _ => 1,
    }
}

impl Directory<'_> {
    pub(super) fn is_little(&self) -> bool {
        self.format.is_little
    }

    /// A tag's values as they lie in the file; none if the tag is not there.
    pub(super) fn bytes(&self, tag: u16) -> Result<Option<&[u8]>, Rejected> {
        let Some(entry) = self.entries.iter().find(|entry| entry.tag == tag) else {
            return Ok(None);
        };
        slice(self.file, entry.at, entry.count.saturating_mul(size_bytes(entry.kind))).map(Some)
    }

    /// A tag's whole numbers; none if the tag is not there.
    pub(super) fn numbers(&self, tag: u16) -> Result<Option<Vec<u64>>, Rejected> {
        let Some(entry) = self.entries.iter().find(|entry| entry.tag == tag) else {
            return Ok(None);
        };
        if entry.count > MAX_ENTRIES {
            return Err(reject::corrupt(format!("tag {tag} has {} values", entry.count)));
        }
        let bytes = self.bytes(tag)?.unwrap_or_default();
        let each = bytes.chunks_exact(size_bytes(entry.kind) as usize);
        Ok(Some(each.map(|bytes| self.format.number(bytes)).collect()))
    }

    /// A tag's first number, or what it is if the tag is not there.
    pub(super) fn number(&self, tag: u16, default: u64) -> Result<u64, Rejected> {
        Ok(self.numbers(tag)?.and_then(|numbers| numbers.first().copied()).unwrap_or(default))
    }
}
