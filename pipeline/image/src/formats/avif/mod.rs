//! AVIF. In: bytes. Out: header, or full-size RGB as PIL's libavif makes it. `boxes.rs`, `container.rs`, `items.rs` and
//! `track.rs` find the coded pictures, `av1.rs` decodes them, `yuv.rs` makes them RGB. Rotation is recorded and not applied; alpha is
//! dropped, the margin that `clap` would cut stays, and gain maps are left alone, all as PIL does.

mod av1;
mod boxes;
mod container;
mod items;
mod track;
mod yuv;

use container::{Container, Extents};
use yuv::Planes;

use super::reject;
use crate::image::{Header, Rejected, Rgb};

/// By how much a tile's area may exceed the whole picture's, for padding.
const TILE_SLACK_PX: u64 = 1 << 16;

pub(super) fn header(bytes: &[u8]) -> Result<Header, Rejected> {
    let found = container(bytes)?;
    Ok(Header {
        width: found.width,
        height: found.height,
        format: "avif",
        color: match (found.is_grey, found.has_alpha) {
            (_, true) => "rgba",
            (true, false) => "l",
            (false, false) => "rgb",
        },
        orientation: found.orientation,
        frames: found.frames,
    })
}

pub(super) fn pixels(bytes: &[u8]) -> Result<Rgb, Rejected> {
    let found = container(bytes)?;
    let mut planes = planes(bytes, &found, &found.tiles)?;
    // What the container says goes before what the data say.
    if let Some((matrix, is_full)) = found.nclx {
        (planes.matrix, planes.is_full) = (matrix, is_full);
    }
    let mut pixels = planes.rgb(found.has_alpha)?;
    if !found.alpha_tiles.is_empty() {
        let alpha = self::planes(bytes, &found, &found.alpha_tiles)?;
        if (alpha.width, alpha.height) != (planes.width, planes.height) {
            return Err(reject::corrupt("alpha of another size"));
        }
        alpha.divide(&mut pixels);
    }
    Ok(Rgb { width: planes.width as u32, height: planes.height as u32, pixels })
}

/// What the file says of its picture. As libavif: the major brand tells whether the sequence or the single picture is meant.
fn container(file: &[u8]) -> Result<Container, Rejected> {
    let outer = boxes::parts(file, 0..file.len())?;
    let brand =
        boxes::find(&outer, b"ftyp").and_then(|part| file.get(part.body.start..)?.first_chunk());
    let tracks = boxes::find(&outer, b"moov").map(|part| part.body.clone());
    let meta = boxes::find(&outer, b"meta").map(|part| part.body.clone());
    match (tracks, meta) {
        (Some(moov), meta) if brand != Some(b"avif") || meta.is_none() => track::track(file, &moov),
        (_, Some(meta)) => items::primary_item(file, &meta),
        _ => Err(reject::truncated("neither a picture nor a sequence is described")),
    }
}

fn planes(bytes: &[u8], found: &Container, tiles: &[Extents]) -> Result<Planes, Rejected> {
    match (found.grid, tiles) {
        (Some((columns, rows)), _) => grid(bytes, found, tiles, (columns as usize, rows as usize)),
        (None, [tile]) => self::tile(bytes, found, tile),
        (None, _) => Err(reject::corrupt("alpha of tiles")),
    }
}

fn tile(bytes: &[u8], found: &Container, tile: &Extents) -> Result<Planes, Rejected> {
    let area_px = u64::from(found.width) * u64::from(found.height);
    let max_px = found.tile_px.min(area_px * 2 + TILE_SLACK_PX);
    let data: Vec<&[u8]> = tile.iter().filter_map(|extent| bytes.get(extent.clone())).collect();
    av1::decode(&data, found.operating_point, u32::try_from(max_px).unwrap_or(u32::MAX))
}

fn grid(
    bytes: &[u8],
    found: &Container,
    tiles: &[Extents],
    (columns, rows): (usize, usize),
) -> Result<Planes, Rejected> {
    let (width, height) = (found.width as usize, found.height as usize);
    let all = tiles.first().filter(|_| tiles.len() == columns * rows);
    let all = all.ok_or_else(|| reject::corrupt("alpha of another grid"))?;
    let first = tile(bytes, found, all)?;
    let fits = |tiles: usize, tile: usize, whole: usize| {
        (tiles - 1) * tile < whole && whole <= tiles * tile
    };
    if !fits(columns, first.width, width) || !fits(rows, first.height, height) {
        return Err(reject::corrupt("the tiles do not make the picture"));
    }
    let mut whole = Planes::new(width, height, first.layout, first.bits);
    (whole.matrix, whole.primaries, whole.is_full) = (first.matrix, first.primaries, first.is_full);
    for (index, next) in tiles.iter().enumerate() {
        let next = tile(bytes, found, next)?;
        if (next.width, next.height, next.bits) != (first.width, first.height, first.bits)
            || next.layout != first.layout
        {
            return Err(reject::corrupt("the tiles of a grid differ"));
        }
        whole.paste(&next, index % columns * first.width, index / columns * first.height);
    }
    Ok(whole)
}
