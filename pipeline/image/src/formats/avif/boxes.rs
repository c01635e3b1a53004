//! The container of an AVIF, ISO base media boxes. In: bytes of a file. Out: where the coded pictures lie, their size and what is
//! said of their colours. Never copies; what is counted in the file is looked for in the file. Sources: ISO/IEC 14496-12 and
//! 23008-12, AVIF 1.2, and what libavif forgives.

use std::ops::Range;

use crate::image::{RejectReason, Rejected};

/// Pictures of which a grid may be made.
const MAX_TILES: usize = 4096;

/// Bytes that describe a grid, at most.
const GRID_BYTES: usize = 12;

/// Boxes at one level, items and what is said of them: more of either, and reading the file is not worth its time.
const MAX_ENTRIES: usize = 1 << 16;

/// Parts of a file that make one coded picture together.
pub(super) type Extents = Vec<Range<usize>>;

/// What a file holds, before any of it is decoded.
#[derive(Debug, Default)]
pub(super) struct Container {
    /// Width in pixels, before any rotation.
    pub(super) width: u32,
    /// Height in pixels, before any rotation.
    pub(super) height: u32,
    /// Columns and rows of the grid; (1, 1) if there is none.
    pub(super) grid: (u32, u32),
    /// Largest width x height of a tile by its own property.
    pub(super) tile_px: u64,
    /// The AV1 data of each tile, row by row: its parts in the file.
    pub(super) tiles: Vec<Extents>,
    /// The same of how opaque the picture is, if its colours were multiplied with that.
    pub(super) alpha_tiles: Vec<Extents>,
    /// Operating point to decode (`a1op`).
    pub(super) operating_point: u8,
    /// Matrix coefficients and whether all levels are used (`colr` of type `nclx`), before what the AV1 data say.
    pub(super) nclx: Option<(u16, bool)>,
    /// Whether there is only luma.
    pub(super) is_grey: bool,
    /// Whether another picture says how opaque this one is.
    pub(super) has_alpha: bool,
    /// As EXIF says it, from `irot` and `imir`.
    pub(super) orientation: u8,
    /// Pictures of a sequence.
    pub(super) frames: u32,
}

fn corrupt(detail: &str) -> Rejected {
    Rejected::new(RejectReason::Corrupt, detail)
}

fn truncated(detail: &str) -> Rejected {
    Rejected::new(RejectReason::Truncated, detail)
}

/// Bytes that are read from their start; beyond their end they are corrupt.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Rejected> {
        let (head, rest) =
            self.0.split_at_checked(length).ok_or_else(|| corrupt("a box ends too early"))?;
        self.0 = rest;
        Ok(head)
    }

    /// A big-endian number of `length` bytes, at most 8.
    fn number(&mut self, length: usize) -> Result<u64, Rejected> {
        Ok(self.take(length)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn u8(&mut self) -> Result<u8, Rejected> {
        Ok(self.number(1)? as u8)
    }

    fn u16(&mut self) -> Result<u16, Rejected> {
        Ok(self.number(2)? as u16)
    }

    fn u32(&mut self) -> Result<u32, Rejected> {
        Ok(self.number(4)? as u32)
    }

    /// Version and flags of a full box.
    fn version_and_flags(&mut self) -> Result<(u8, u32), Rejected> {
        let word = self.u32()?;
        Ok(((word >> 24) as u8, word & 0xff_ffff))
    }
}

/// A box: its name, and its body's place in the file.
struct Part {
    name: [u8; 4],
    body: Range<usize>,
}

/// The boxes in `range` of the file. At the outermost level one may end beyond the file (its body is then cut); inside another none may.
fn parts(file: &[u8], range: Range<usize>) -> Result<Vec<Part>, Rejected> {
    let mut parts = Vec::new();
    let mut at = range.start;
    let is_outermost = range.start == 0 && range.end == file.len();
    while at < range.end {
        let mut head = Bytes(&file[at..range.end]);
        let (Ok(length), Ok(name)) = (head.u32(), head.number(4)) else {
            if is_outermost {
                break;
            }
            return Err(corrupt("a box ends within its header"));
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
            return Err(truncated("a box ends behind the file"));
        }
        if end < start || end > range.end && !is_outermost {
            return Err(corrupt("a box is longer than the one around it"));
        }
        if parts.len() == MAX_ENTRIES {
            return Err(corrupt("too many boxes"));
        }
        let end = end.min(range.end);
        parts.push(Part { name: (name as u32).to_be_bytes(), body: start.min(end)..end });
        at = end;
    }
    Ok(parts)
}

fn find<'a>(parts: &'a [Part], name: &[u8; 4]) -> Option<&'a Part> {
    parts.iter().find(|part| part.name == *name)
}

fn child(file: &[u8], range: &Range<usize>, name: &[u8; 4]) -> Option<Range<usize>> {
    let parts = parts(file, range.clone()).ok()?;
    find(&parts, name).map(|part| part.body.clone())
}

/// Reads the boxes.
///
/// # Errors
/// They contradict themselves, end early, or hold no AV1.
pub(super) fn container(file: &[u8]) -> Result<Container, Rejected> {
    let outer = parts(file, 0..file.len())?;
    let brand = find(&outer, b"ftyp").and_then(|part| file.get(part.body.start..)?.first_chunk());
    let tracks = find(&outer, b"moov").map(|part| part.body.clone());
    let meta = find(&outer, b"meta").map(|part| part.body.clone());
    // As libavif: the major brand says which of both is meant.
    match (tracks, meta) {
        (Some(moov), meta) if brand != Some(b"avif") || meta.is_none() => track(file, &moov),
        (_, Some(meta)) => primary_item(file, &meta),
        _ => Err(truncated("neither a picture nor a sequence is described")),
    }
}

/// A property of a picture that matters here.
#[derive(Clone, Copy)]
enum Property {
    Size(u32, u32),
    Grey(bool),
    Nclx(u16, bool),
    Rotation(u8),
    Mirror(u8),
    OperatingPoint(u8),
    Alpha,
    Other,
}

fn property(file: &[u8], part: &Part) -> Result<Property, Rejected> {
    let mut body = Bytes(&file[part.body.clone()]);
    Ok(match &part.name {
        b"ispe" => {
            body.version_and_flags()?;
            Property::Size(body.u32()?, body.u32()?)
        }
        b"av1C" => Property::Grey(body.take(4)?[2] & 0x10 != 0),
        b"colr" => match body.take(4)? {
            b"nclx" => {
                body.take(4)?;
                Property::Nclx(body.u16()?, body.u8()? & 0x80 != 0)
            }
            _ => Property::Other,
        },
        b"irot" => Property::Rotation(body.u8()? & 3),
        b"imir" => Property::Mirror(body.u8()? & 1),
        b"a1op" => Property::OperatingPoint(body.u8()?),
        b"auxC" => {
            body.version_and_flags()?;
            let urn = body.0.split(|byte| *byte == 0).next().unwrap_or_default();
            let names: [&[u8]; 2] = [
                b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha",
                b"urn:mpeg:hevc:2015:auxid:1",
            ];
            if names.contains(&urn) { Property::Alpha } else { Property::Other }
        }
        _ => Property::Other,
    })
}

impl Container {
    fn apply(&mut self, properties: &[Property]) {
        let mut rotation = 0;
        let mut mirror = None;
        for property in properties {
            match *property {
                Property::Size(width, height) => (self.width, self.height) = (width, height),
                Property::Grey(is_grey) => self.is_grey = is_grey,
                Property::Nclx(matrix, is_full) => self.nclx = Some((matrix, is_full)),
                Property::Rotation(quarters) => rotation = quarters,
                Property::Mirror(axis) => mirror = Some(axis),
                Property::OperatingPoint(point) => self.operating_point = point,
                Property::Alpha | Property::Other => {}
            }
        }
        // First turned against the clock, then mirrored (axis 0: top to bottom, 1: left to right), as PIL puts it to EXIF.
        self.orientation = match (rotation, mirror) {
            (0, None) => 1,
            (0, Some(0)) => 4,
            (0, Some(_)) => 2,
            (1, None) => 8,
            (1, Some(0)) => 5,
            (1, Some(_)) => 7,
            (2, None) => 3,
            (2, Some(0)) => 2,
            (2, Some(_)) => 4,
            (_, None) => 6,
            (_, Some(0)) => 7,
            (_, Some(_)) => 5,
        };
    }
}

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
        if found.is_empty() { Err(corrupt("an item has no place")) } else { Ok(found) }
    }

    fn place(&self, extent: &Extent) -> Result<Range<usize>, Rejected> {
        let Extent { method, offset, length, .. } = *extent;
        let within = match (method, &self.data) {
            (0, _) => 0..self.file.len(),
            (1, Some(data)) => data.clone(),
            _ => return Err(corrupt("an item lies nowhere")),
        };
        let length = if length == 0 { (within.len() as u64).saturating_sub(offset) } else { length };
        let end = offset.saturating_add(length);
        if end > within.len() as u64 {
            return Err(truncated("the picture's data end before it does"));
        }
        Ok(within.start + offset as usize..within.start + end as usize)
    }
}

fn items<'a>(file: &'a [u8], meta: &Range<usize>) -> Result<(u32, Items<'a>), Rejected> {
    // A full box: version and flags come before its children.
    let parts = parts(file, (meta.start + 4).min(meta.end)..meta.end)?;
    let missing = || match meta.end == file.len() {
        true => truncated("the description ends early"),
        false => corrupt("a box is missing"),
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
    for info in self::parts(file, (infos.start + 4 + count_bytes).min(infos.end)..infos.end)? {
        let mut entry = open(info.body);
        let (version, _) = entry.version_and_flags()?;
        if info.name == *b"infe" && version >= 2 {
            let id = entry.number(if version == 2 { 2 } else { 4 })? as u32;
            entry.u16()?;
            items.kinds.push((id, entry.u32()?.to_be_bytes()));
        }
    }
    let properties = body(b"iprp").ok_or_else(missing)?;
    for part in self::parts(file, properties)? {
        match &part.name {
            b"ipco" => {
                for part in self::parts(file, part.body)? {
                    items.properties.push(property(file, &part)?);
                }
            }
            b"ipma" => associations(open(part.body), &mut items.associations)?,
            _ => {}
        }
    }
    if let Some(references) = body(b"iref") {
        let id_bytes = if open(references.clone()).version_and_flags()?.0 == 0 { 2 } else { 4 };
        for part in self::parts(file, (references.start + 4).min(references.end)..references.end)? {
            let mut entry = open(part.body);
            let from = entry.number(id_bytes)? as u32;
            for _ in 0..entry.u16()? {
                items.references.push((part.name, from, entry.number(id_bytes)? as u32));
                if items.references.len() > MAX_ENTRIES {
                    return Err(corrupt("too many references"));
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
        return Err(corrupt("an item's place is no number"));
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
                return Err(corrupt("too many items"));
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
            let index = if flags & 1 == 0 { u16::from(body.u8()? & 0x7f) } else { body.u16()? & 0x7fff };
            if let Some(index) = usize::from(index).checked_sub(1) {
                out.push((item, index));
            }
            if out.len() > MAX_ENTRIES {
                return Err(corrupt("too many properties"));
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
            let tiles = items.references.iter().filter(|(kind, from, _)| kind == b"dimg" && *from == item);
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
                return Err(corrupt("a grid has not as many tiles as it says"));
            }
            (tiles, Some([columns, rows, width, height]))
        }
        Some(kind) => {
            let detail = format!("AVIF whose picture is coded as `{}`, not as AV1", kind.escape_ascii());
            return Err(Rejected::new(RejectReason::UnsupportedFormat, detail));
        }
        None => return Err(corrupt("the primary picture is not described")),
    };
    if tiles.iter().any(|tile| items.kind(*tile) != Some(*b"av01")) {
        return Err(Rejected::new(RejectReason::UnsupportedFormat, "AVIF with a tile that is not AV1"));
    }
    Ok((tiles, grid))
}

fn primary_item(file: &[u8], meta: &Range<usize>) -> Result<Container, Rejected> {
    let (primary, items) = items(file, meta)?;
    let (tiles, grid) = coded(&items, primary)?;
    let mut found = Container { grid: (1, 1), frames: 1, ..Container::default() };
    for tile in &tiles {
        found.apply(&items.properties(*tile));
        found.tile_px = found.tile_px.max(u64::from(found.width) * u64::from(found.height));
        found.tiles.push(items.extents(*tile)?);
    }
    found.apply(&items.properties(primary));
    if let Some([columns, rows, width, height]) = grid {
        found.grid = (columns, rows);
        (found.width, found.height) = (width, height);
    }
    let mut auxiliary = items.references.iter().filter(|(kind, _, to)| kind == b"auxl" && *to == primary);
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
    checked(found)
}

fn checked(found: Container) -> Result<Container, Rejected> {
    if found.width == 0 || found.height == 0 {
        return Err(corrupt("the picture has no size"));
    }
    Ok(found)
}

/// The first picture of the first AV1 track that belongs to no other.
fn track(file: &[u8], moov: &Range<usize>) -> Result<Container, Rejected> {
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
    let mut found = found.ok_or_else(|| corrupt("no track is AV1"))??;
    found.has_alpha = has_alpha;
    checked(found)
}

fn first_sample(file: &[u8], table: &Range<usize>) -> Result<Option<Container>, Rejected> {
    let table = parts(file, table.clone())?;
    let open = |name: &[u8; 4]| find(&table, name).map(|part| part.body.clone());
    let Some(descriptions) = open(b"stsd") else { return Ok(None) };
    let entries = parts(file, (descriptions.start + 8).min(descriptions.end)..descriptions.end)?;
    let Some(entry) = find(&entries, b"av01") else { return Ok(None) };
    let mut visual = Bytes(&file[entry.body.clone()]);
    visual.take(24)?;
    let mut found = Container { grid: (1, 1), ..Container::default() };
    let mut properties = vec![Property::Size(u32::from(visual.u16()?), u32::from(visual.u16()?))];
    // A visual sample entry has 78 bytes before its boxes.
    for part in parts(file, (entry.body.start + 78).min(entry.body.end)..entry.body.end)? {
        properties.push(property(file, &part)?);
    }
    found.apply(&properties);
    found.tile_px = u64::from(found.width) * u64::from(found.height);

    let missing = || corrupt("a track without samples");
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
        return Err(truncated("the picture's data end before it does"));
    }
    found.tiles.push(vec![start as usize..end as usize]);
    Ok(Some(found))
}
