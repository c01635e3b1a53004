//! The first picture of an AVIF that is a sequence. In: the boxes of `moov`. Out: [`Container`]. Source: ISO/IEC 14496-12.

use std::ops::Range;

use super::super::reject;
use super::boxes::{Bytes, child, find, parts};
use super::container::{Container, Property, property};
use crate::image::Rejected;

/// The first picture of the first AV1 track that belongs to no other.
pub(super) fn track(file: &[u8], moov: &Range<usize>) -> Result<Container, Rejected> {
    let mut has_alpha = false;
    let mut found = None;
    for track in parts(file, moov.clone())?.iter().filter(|part| part.name == *b"trak") {
        let is_auxiliary = child(file, &track.body, b"tref")
            .is_some_and(|references| child(file, &references, b"auxl").is_some());
        if is_auxiliary {
            has_alpha = true;
        } else if found.is_none() {
            let mut samples = Some(track.body.clone());
            for name in [b"mdia", b"minf", b"stbl"] {
                samples = samples.and_then(|body| child(file, &body, name));
            }
            found = samples.and_then(|samples| first_sample(file, &samples).transpose());
        }
    }
    let mut found = found.ok_or_else(|| reject::corrupt("no track is AV1"))??;
    found.has_alpha = has_alpha;
    found.checked()
}

fn first_sample(file: &[u8], table: &Range<usize>) -> Result<Option<Container>, Rejected> {
    let table = parts(file, table.clone())?;
    let open = |name: &[u8; 4]| find(&table, name).map(|part| part.body.clone());
    let Some(descriptions) = open(b"stsd") else { return Ok(None) };
    let entries = parts(file, (descriptions.start + 8).min(descriptions.end)..descriptions.end)?;
    let Some(entry) = find(&entries, b"av01") else { return Ok(None) };
    let mut visual = Bytes(&file[entry.body.clone()]);
    visual.take(24)?;
    let mut found = Container::default();
    let mut properties = vec![Property::Size(u32::from(visual.u16()?), u32::from(visual.u16()?))];
    // A visual sample entry has 78 bytes before its boxes.
    for part in parts(file, (entry.body.start + 78).min(entry.body.end)..entry.body.end)? {
        properties.push(property(file, &part)?);
    }
    found.apply(&properties);
    found.tile_px = u64::from(found.width) * u64::from(found.height);

    let missing = || reject::corrupt("a track without samples");
    let mut sizes = Bytes(&file[open(b"stsz").ok_or_else(missing)?]);
    sizes.version_and_flags()?;
    let same = sizes.u32()?;
    found.frames = sizes.u32()?;
    let length = if same == 0 { sizes.u32()? } else { same };
    let (chunks, bytes) = match (open(b"stco"), open(b"co64")) {
        (Some(chunks), _) => (chunks, 4),
        (None, Some(chunks)) => (chunks, 8),
        (None, None) => return Err(missing()),
    };
    let mut chunks = Bytes(&file[chunks]);
    chunks.version_and_flags()?;
    if chunks.u32()? == 0 || found.frames == 0 {
        return Err(missing());
    }
    let start = chunks.number(bytes)?;
    let end = start.saturating_add(u64::from(length));
    if end > file.len() as u64 {
        return Err(reject::truncated("the picture's data end before it does"));
    }
    found.tiles.push(std::iter::once(start as usize..end as usize).collect());
    Ok(Some(found))
}
