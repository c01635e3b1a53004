//! The picture that an AVIF names as its primary one. In: the boxes of `meta`. Out: [`Container`]. What is counted in the file is
//! looked for in the file. Source: ISO/IEC 23008-12.

use std::ops::Range;

use super::super::reject;
use super::boxes::{self, Bytes, MAX_ENTRIES, find};
use super::container::{Container, Extents, Property, property};
use crate::image::Rejected;

/// Pictures of which a grid may be made.
const MAX_TILES: usize = 4096;

/// Bytes that describe a grid, at most.
const GRID_BYTES: usize = 12;

/// A part of an item's data.
struct Extent {
    item: u32,
    /// 0: `offset` counts from the file's start; 1: from that of `idat`.
    method: u16,
    offset: u64,
    /// 0: to the end.
    length: u64,
}

/// What `meta` says of its items.
struct Items<'a> {
    file: &'a [u8],
    /// Of all items.
    extents: Vec<Extent>,
    /// Body of `idat`.
    data: Option<Range<usize>>,
    /// Item and its four letters.
    kinds: Vec<(u32, [u8; 4])>,
    properties: Vec<Property>,
    /// Item and the index of a property of it.
    associations: Vec<(u32, usize)>,
    /// Kind of reference, from, to.
    references: Vec<([u8; 4], u32, u32)>,
}

impl Items<'_> {
    fn kind(&self, item: u32) -> Option<[u8; 4]> {
        self.kinds.iter().find(|(id, _)| *id == item).map(|(_, kind)| *kind)
    }

    fn properties(&self, item: u32) -> Vec<Property> {
        let of_item = self.associations.iter().filter(|(id, _)| *id == item);
        of_item.filter_map(|(_, at)| self.properties.get(*at).copied()).collect()
    }

    /// The parts of an item's data in the file.
    fn extents(&self, item: u32) -> Result<Extents, Rejected> {
        let of_item = self.extents.iter().filter(|extent| extent.item == item);
        let found = of_item.map(|extent| self.place(extent)).collect::<Result<Vec<_>, _>>()?;
        // Parts that overlap could make much of a small file.
        if found.is_empty()
            || found.iter().map(ExactSizeIterator::len).sum::<usize>() > self.file.len()
        {
            return Err(reject::corrupt("an item has no place"));
        }
        Ok(found)
    }

    fn place(&self, extent: &Extent) -> Result<Range<usize>, Rejected> {
        let Extent { method, offset, length, .. } = *extent;
        let within = match (method, &self.data) {
            (0, _) => 0..self.file.len(),
            (1, Some(data)) => data.clone(),
            _ => return Err(reject::corrupt("an item lies nowhere")),
        };
        let length =
            if length == 0 { (within.len() as u64).saturating_sub(offset) } else { length };
        let end = offset.saturating_add(length);
        if end > within.len() as u64 {
            return Err(reject::truncated("the picture's data end before it does"));
        }
        Ok(within.start + offset as usize..within.start + end as usize)
    }
}

fn items<'a>(file: &'a [u8], meta: &Range<usize>) -> Result<(u32, Items<'a>), Rejected> {
    // A full box: version and flags come before its children.
    let parts = boxes::parts(file, (meta.start + 4).min(meta.end)..meta.end)?;
    let missing = || {
        if meta.end == file.len() {
            reject::truncated("the description ends early")
        } else {
            reject::corrupt("a box is missing")
        }
    };
    let body = |name: &[u8; 4]| find(&parts, name).map(|part| part.body.clone());
    let open = |range: Range<usize>| Bytes(&file[range]);

    let mut primary = open(body(b"pitm").ok_or_else(missing)?);
    let id_bytes = if primary.version_and_flags()?.0 == 0 { 2 } else { 4 };
    let primary = primary.number(id_bytes)? as u32;

    let mut items = Items {
        file,
        extents: extents(open(body(b"iloc").ok_or_else(missing)?))?,
        data: body(b"idat"),
        kinds: Vec::new(),
        properties: Vec::new(),
        associations: Vec::new(),
        references: Vec::new(),
    };
    let infos = body(b"iinf").ok_or_else(missing)?;
    let count_bytes = if open(infos.clone()).version_and_flags()?.0 == 0 { 2 } else { 4 };
    for info in boxes::parts(file, (infos.start + 4 + count_bytes).min(infos.end)..infos.end)? {
        let mut entry = open(info.body);
        let (version, _) = entry.version_and_flags()?;
        if info.name == *b"infe" && version >= 2 {
            let id = entry.number(if version == 2 { 2 } else { 4 })? as u32;
            entry.u16()?;
            items.kinds.push((id, entry.u32()?.to_be_bytes()));
        }
    }
    let properties = body(b"iprp").ok_or_else(missing)?;
    for part in boxes::parts(file, properties)? {
        match &part.name {
            b"ipco" => {
                for part in boxes::parts(file, part.body)? {
                    items.properties.push(property(file, &part)?);
                }
            }
            b"ipma" => associations(open(part.body), &mut items.associations)?,
            _ => {}
        }
    }
    if let Some(references) = body(b"iref") {
        let id_bytes = if open(references.clone()).version_and_flags()?.0 == 0 { 2 } else { 4 };
        for part in boxes::parts(file, (references.start + 4).min(references.end)..references.end)?
        {
            let mut entry = open(part.body);
            let from = entry.number(id_bytes)? as u32;
            for _ in 0..entry.u16()? {
                items.references.push((part.name, from, entry.number(id_bytes)? as u32));
                if items.references.len() > MAX_ENTRIES {
                    return Err(reject::corrupt("too many references"));
                }
            }
        }
    }
    Ok((primary, items))
}

fn extents(mut body: Bytes<'_>) -> Result<Vec<Extent>, Rejected> {
    let (version, _) = body.version_and_flags()?;
    let sizes = body.u16()?;
    let nibble = |shift: u32| usize::from(sizes >> shift & 15);
    let (offset_bytes, length_bytes, base_bytes) = (nibble(12), nibble(8), nibble(4));
    let index_bytes = if version == 0 { 0 } else { nibble(0) };
    if [offset_bytes, length_bytes, base_bytes, index_bytes].iter().any(|n| *n > 8) {
        return Err(reject::corrupt("an item's place is no number"));
    }
    let mut found = Vec::new();
    let id_bytes = if version < 2 { 2 } else { 4 };
    for _ in 0..body.number(id_bytes)? {
        let item = body.number(id_bytes)? as u32;
        let method = if version == 0 { 0 } else { body.u16()? & 15 };
        body.u16()?;
        let base = body.number(base_bytes)?;
        for _ in 0..body.u16()? {
            body.take(index_bytes)?;
            let offset = body.number(offset_bytes)?.saturating_add(base);
            let length = body.number(length_bytes)?;
            found.push(Extent { item, method, offset, length });
            if found.len() > MAX_ENTRIES {
                return Err(reject::corrupt("too many items"));
            }
        }
    }
    Ok(found)
}

fn associations(mut body: Bytes<'_>, out: &mut Vec<(u32, usize)>) -> Result<(), Rejected> {
    let (version, flags) = body.version_and_flags()?;
    for _ in 0..body.u32()? {
        let item = body.number(if version == 0 { 2 } else { 4 })? as u32;
        for _ in 0..body.u8()? {
            // The highest bit says that the property must be understood.
            let index =
                if flags & 1 == 0 { u16::from(body.u8()? & 0x7f) } else { body.u16()? & 0x7fff };
            if let Some(index) = usize::from(index).checked_sub(1) {
                out.push((item, index));
            }
            if out.len() > MAX_ENTRIES {
                return Err(reject::corrupt("too many properties"));
            }
        }
    }
    Ok(())
}

/// The coded pictures of which an item is made, and the columns, rows, width and height of its grid, if it is one.
fn coded(items: &Items<'_>, item: u32) -> Result<(Vec<u32>, Option<[u32; 4]>), Rejected> {
    let (tiles, grid) = match items.kind(item).as_ref() {
        Some(b"av01") => (vec![item], None),
        Some(b"grid") => {
            let tiles =
                items.references.iter().filter(|(kind, from, _)| kind == b"dimg" && *from == item);
            let tiles: Vec<u32> = tiles.map(|(_, _, to)| *to).collect();
            let mut data = Vec::new();
            for extent in items.extents(item)? {
                data.extend(items.file[extent].iter().take(GRID_BYTES));
            }
            let mut data = Bytes(&data);
            let (_, flags) = (data.u8()?, data.u8()?);
            let rows = u32::from(data.u8()?) + 1;
            let columns = u32::from(data.u8()?) + 1;
            let bytes = if flags & 1 == 0 { 2 } else { 4 };
            let (width, height) = (data.number(bytes)? as u32, data.number(bytes)? as u32);
            if tiles.len() != (columns * rows) as usize || tiles.len() > MAX_TILES {
                return Err(reject::corrupt("a grid has not as many tiles as it says"));
            }
            (tiles, Some([columns, rows, width, height]))
        }
        Some(kind) => {
            let detail =
                format!("AVIF whose picture is coded as `{}`, not as AV1", kind.escape_ascii());
            return Err(reject::unsupported(detail));
        }
        None => return Err(reject::corrupt("the primary picture is not described")),
    };
    if tiles.iter().any(|tile| items.kind(*tile) != Some(*b"av01")) {
        return Err(reject::unsupported("AVIF with a tile that is not AV1"));
    }
    Ok((tiles, grid))
}

/// The primary picture.
///
/// # Errors
/// The boxes contradict each other or end early, or the picture is not AV1.
pub(super) fn primary_item(file: &[u8], meta: &Range<usize>) -> Result<Container, Rejected> {
    let (primary, items) = items(file, meta)?;
    let (tiles, grid) = coded(&items, primary)?;
    let mut found = Container { frames: 1, ..Container::default() };
    for tile in &tiles {
        found.apply(&items.properties(*tile));
        found.tile_px = found.tile_px.max(u64::from(found.width) * u64::from(found.height));
        found.tiles.push(items.extents(*tile)?);
    }
    found.apply(&items.properties(primary));
    if let Some([columns, rows, width, height]) = grid {
        found.grid = Some((columns, rows));
        (found.width, found.height) = (width, height);
    }
    let mut auxiliary =
        items.references.iter().filter(|(kind, _, to)| kind == b"auxl" && *to == primary);
    let alpha = auxiliary.find(|(_, from, _)| {
        items.properties(*from).iter().any(|property| matches!(property, Property::Alpha))
    });
    if let Some((_, alpha, _)) = alpha {
        found.has_alpha = true;
        if items.references.contains(&(*b"prem", primary, *alpha)) {
            for tile in coded(&items, *alpha)?.0 {
                found.alpha_tiles.push(items.extents(tile)?);
            }
        }
    }
    found.checked()
}
