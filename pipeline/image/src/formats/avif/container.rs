//! What an AVIF says of its picture. In: boxes with properties. Out: [`Container`]. Sources: ISO/IEC 23008-12, AVIF 1.2, and what
//! libavif forgives.

use std::ops::Range;

use super::super::reject;
use super::boxes::{Bytes, Part};
use crate::image::Rejected;

/// Parts of a file that make one coded picture together.
pub(super) type Extents = Vec<Range<usize>>;

/// What a file holds, before any of it is decoded.
#[derive(Debug, Default)]
pub(super) struct Container {
    /// Width in pixels, before any rotation.
    pub(super) width: u32,
    /// Height in pixels, before any rotation.
    pub(super) height: u32,
    /// Columns and rows, if the picture is put together of tiles.
    pub(super) grid: Option<(u32, u32)>,
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

/// A property of a picture that matters here.
#[derive(Clone, Copy)]
pub(super) enum Property {
    Size(u32, u32),
    Grey(bool),
    Nclx(u16, bool),
    Rotation(u8),
    Mirror(u8),
    OperatingPoint(u8),
    Alpha,
    Other,
}

pub(super) fn property(file: &[u8], part: &Part) -> Result<Property, Rejected> {
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
            let names: [&[u8]; 2] =
                [b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1"];
            if names.contains(&urn) { Property::Alpha } else { Property::Other }
        }
        _ => Property::Other,
    })
}

impl Container {
    pub(super) fn apply(&mut self, properties: &[Property]) {
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

    /// The container, if it has a picture.
    pub(super) fn checked(self) -> Result<Self, Rejected> {
        if self.width == 0 || self.height == 0 || self.tile_px == 0 {
            return Err(reject::corrupt("the picture has no size"));
        }
        Ok(self)
    }
}
