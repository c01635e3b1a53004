//! AVIF. In: bytes. Out: header, or full-size RGB as PIL's libavif makes it. `boxes.rs` finds the coded pictures, `av1.rs` decodes
//! them, `yuv.rs` makes them RGB. Rotation is recorded and not applied; alpha is dropped, the margin that `clap` would cut stays,
//! and gain maps are left alone, all as PIL does.

mod av1;
mod boxes;
mod yuv;

use boxes::{Container, Extents};
use yuv::Planes;

use crate::image::{Header, RejectReason, Rejected, Rgb};

/// By how much a tile's area may exceed the whole picture's, for padding.
const TILE_SLACK_PX: u64 = 1 << 16;

pub(crate) fn header(bytes: &[u8]) -> Result<Header, Rejected> {
    let found = boxes::container(bytes)?;
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

pub(crate) fn pixels(bytes: &[u8]) -> Result<Rgb, Rejected> {
    let found = boxes::container(bytes)?;
    let mut planes = planes(bytes, &found, &found.tiles)?;
    // What the container says goes before what the data say.
    if let Some((matrix, is_full)) = found.nclx {
        (planes.matrix, planes.is_full) = (matrix, is_full);
    }
    let mut pixels = planes.rgb(found.has_alpha)?;
    if !found.alpha_tiles.is_empty() {
        let alpha = self::planes(bytes, &found, &found.alpha_tiles)?;
        if (alpha.width, alpha.height) != (planes.width, planes.height) {
            return Err(Rejected::new(RejectReason::Corrupt, "alpha of another size"));
        }
        alpha.divide(&mut pixels);
    }
    Ok(Rgb { width: planes.width as u32, height: planes.height as u32, pixels })
}

fn planes(bytes: &[u8], found: &Container, tiles: &[Extents]) -> Result<Planes, Rejected> {
    match tiles {
        [tile] => self::tile(bytes, found, tile),
        tiles => grid(bytes, found, tiles),
    }
}

fn tile(bytes: &[u8], found: &Container, tile: &Extents) -> Result<Planes, Rejected> {
    let area_px = u64::from(found.width) * u64::from(found.height);
    let max_px = found.tile_px.min(area_px * 2 + TILE_SLACK_PX);
    let data: Vec<&[u8]> = tile.iter().filter_map(|extent| bytes.get(extent.clone())).collect();
    av1::decode(&data, found.operating_point, u32::try_from(max_px).unwrap_or(u32::MAX))
}

fn grid(bytes: &[u8], found: &Container, tiles: &[Extents]) -> Result<Planes, Rejected> {
    let (columns, rows) = (found.grid.0 as usize, found.grid.1 as usize);
    let (width, height) = (found.width as usize, found.height as usize);
    let all = tiles.first().filter(|_| tiles.len() == columns * rows);
    let all = all.ok_or_else(|| Rejected::new(RejectReason::Corrupt, "alpha of another grid"))?;
    let first = tile(bytes, found, all)?;
    let fits = |tiles: usize, tile: usize, whole: usize| {
        (tiles - 1) * tile < whole && whole <= tiles * tile
    };
    if !fits(columns, first.width, width) || !fits(rows, first.height, height) {
        return Err(Rejected::new(RejectReason::Corrupt, "the tiles do not make the picture"));
    }
    let mut whole = Planes::new(width, height, first.layout, first.bits);
    (whole.matrix, whole.primaries, whole.is_full) = (first.matrix, first.primaries, first.is_full);
    for (index, next) in tiles.iter().enumerate() {
        let next = tile(bytes, found, next)?;
        if (next.width, next.height, next.bits) != (first.width, first.height, first.bits)
            || next.layout != first.layout
        {
            return Err(Rejected::new(RejectReason::Corrupt, "the tiles of a grid differ"));
        }
        whole.paste(&next, index % columns * first.width, index / columns * first.height);
    }
    Ok(whole)
}
