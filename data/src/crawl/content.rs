//! What the files of a crawl hold. In: a scene, or a mishap's name. Out: [`Content`], and from it the bytes. Never a file.

use anyhow::Result;

use super::{Fate, rejected};
use crate::draw::{draw, halve};
use crate::encode::{Encoding, bomb};
use crate::random::Random;
use crate::scene::{Scene, Shape, Thing};

/// What a row's file holds.
#[derive(Clone, Debug)]
pub enum Content {
    /// A scene in an encoding; JPEGs in `quality`.
    Scene {
        /// What it shows.
        scene: Scene,
        /// The kind of file.
        encoding: Encoding,
        /// JPEG quality, 1 to 100.
        quality: i32,
    },
    /// The scene once more, at half the size, as a JPEG.
    Smaller {
        /// What it shows.
        scene: Scene,
    },
    /// The first three fifths of a JPEG.
    Truncated {
        /// What it would show.
        scene: Scene,
    },
    /// A PNG with damaged data.
    Corrupt {
        /// What it would show.
        scene: Scene,
    },
    /// Bytes of no format, from this seed.
    Noise(u64),
    /// An error page.
    Html,
    /// Nothing.
    Empty,
    /// A small PNG that says it has 900 million pixels.
    Bomb,
    /// The picture that a host shows in place of every picture it has lost.
    Placeholder,
    /// There is no file.
    Missing,
}

/// Why an image and so its row is rejected.
const fn image_rejected(reason: &'static str) -> Fate {
    Fate { reject: Some("image_rejected"), image_reject: Some(reason) }
}

/// Mishaps of files, how many of them come with 3,000 scenes, and what becomes of the row.
pub const FILE_CASES: [(&str, usize, Fate); 7] = [
    ("missing", 20, rejected("fetch_failed")),
    ("html", 14, image_rejected("not_an_image")),
    ("zero_bytes", 6, image_rejected("empty")),
    ("truncated", 12, image_rejected("truncated")),
    ("corrupt", 6, image_rejected("corrupt")),
    ("noise", 6, image_rejected("not_an_image")),
    ("bomb", 2, image_rejected("too_many_pixels")),
];

/// Sides of the bomb's picture: 900 million pixels, past PIL's hard limit of 178 million.
const BOMB_SIDE_PX: u32 = 30_000;

/// The content of a row with the mishap `case`, made from what it should have been.
pub(super) fn bad_file(case: &str, honest: Content, seed: u64) -> Content {
    let Content::Scene { scene, .. } = honest else { return honest };
    match case {
        "missing" => Content::Missing,
        "html" => Content::Html,
        "zero_bytes" => Content::Empty,
        "truncated" => Content::Truncated { scene },
        "corrupt" => Content::Corrupt { scene },
        "noise" => Content::Noise(seed),
        "bomb" => Content::Bomb,
        unknown => unreachable!("file case {unknown} is in FILE_CASES but has no arm"),
    }
}

impl Content {
    /// The scene that it shows; none if it shows none.
    pub fn scene(&self) -> Option<&Scene> {
        match self {
            Content::Scene { scene, .. } | Content::Smaller { scene } => Some(scene),
            _ => None,
        }
    }

    /// The name of its kind of file in the manifest.
    pub fn encoding(&self) -> Option<&'static str> {
        match self {
            Content::Scene { encoding, .. } => Some(encoding.name()),
            Content::Smaller { .. } | Content::Placeholder | Content::Truncated { .. } => {
                Some(Encoding::Jpeg.name())
            }
            Content::Corrupt { .. } | Content::Bomb => Some(Encoding::Png.name()),
            _ => None,
        }
    }

    /// The bytes of the file; none if there is no file.
    pub fn bytes(&self) -> Result<Option<Vec<u8>>> {
        Ok(Some(match self {
            Content::Scene { scene, encoding, quality } => {
                encoding.encode(&draw(scene), *quality)?
            }
            Content::Smaller { scene } => Encoding::JpegFull.encode(&halve(&draw(scene)), 95)?,
            Content::Truncated { scene } => {
                let mut bytes = Encoding::Jpeg.encode(&draw(scene), 90)?;
                bytes.truncate(bytes.len() * 3 / 5);
                bytes
            }
            Content::Corrupt { scene } => {
                let mut bytes = Encoding::Png.encode(&draw(scene), 90)?;
                let from = bytes.len() / 3;
                bytes[from..from + 64].iter_mut().for_each(|byte| *byte ^= 0xa5);
                bytes
            }
            Content::Noise(seed) => noise(*seed),
            Content::Html => ERROR_PAGE.as_bytes().to_vec(),
            Content::Empty => Vec::new(),
            Content::Bomb => bomb(BOMB_SIDE_PX)?,
            Content::Placeholder => Encoding::Jpeg.encode(&draw(&placeholder()), 90)?,
            Content::Missing => return Ok(None),
        }))
    }
}

const ERROR_PAGE: &str = "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>图片不存在</title></head>\n\
    <body><h1>很抱歉，您访问的图片不存在</h1></body></html>\n";

fn noise(seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed, 0);
    let mut bytes: Vec<u8> = (0..256).flat_map(|_| random.next_u64().to_le_bytes()).collect();
    bytes[0] = 0; // No format begins so with what follows.
    bytes
}

fn placeholder() -> Scene {
    let cross = Thing {
        shape: Shape::Cross,
        colour: None,
        rgb: [110; 3],
        shade: 20.0,
        x: 0.5,
        y: 0.5,
        radius: 0.45,
    };
    Scene { width_px: 120, height_px: 90, things: vec![cross], position: "中间", background: 404 }
}
