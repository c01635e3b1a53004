//! Draws a scene. In: a [`Scene`]. Out: its pixels, RGB. The background is a smooth random gradient
//! of low saturation with mild noise, so that no two scenes look alike to a difference hash; the
//! things are signed-distance shapes, anti-aliased over one pixel and shaded from left to right. Never
//! anything but the four basic operations and square roots, so every machine draws the same bytes.

use crate::random::Random;
use crate::scene::{Scene, Shape};

/// A picture in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Width in pixels.
    pub width_px: u32,
    /// Height in pixels.
    pub height_px: u32,
    /// `height_px * width_px * 3` bytes, RGB, row-major.
    pub rgb: Vec<u8>,
}

/// Nodes of the background's lattice along each side.
const NODES: usize = 6;
/// Levels of the noise: -3 to 3 of 255.
const NOISE_STEPS: u64 = 7;

/// Draws `scene`.
pub fn draw(scene: &Scene) -> Picture {
    let (width, height) = (scene.width_px as usize, scene.height_px as usize);
    let mut rgb = background(scene.background, width, height);
    for thing in &scene.things {
        let radius = thing.radius * width.min(height) as f32;
        let (cx, cy) = (thing.x * width as f32, thing.y * height as f32);
        let rows = span(cy, radius, height);
        for y in rows {
            for x in span(cx, radius, width) {
                let (dx, dy) = ((x as f32 + 0.5 - cx) / radius, (y as f32 + 0.5 - cy) / radius);
                let coverage = (0.5 - distance(thing.shape, dx, dy) * radius).clamp(0.0, 1.0);
                let shade = thing.shade * (dx + 1.0) * 0.5;
                let pixel = &mut rgb[(y * width + x) * 3..][..3];
                for (level, paint) in pixel.iter_mut().zip(thing.rgb) {
                    let paint = (f32::from(paint) + shade).clamp(0.0, 255.0);
                    *level = (f32::from(*level) * (1.0 - coverage) + paint * coverage + 0.5) as u8;
                }
            }
        }
    }
    Picture { width_px: scene.width_px, height_px: scene.height_px, rgb }
}

/// The picture at half its size: means of 2x2 pixels.
pub fn halve(picture: &Picture) -> Picture {
    let (width, height) = (picture.width_px as usize / 2, picture.height_px as usize / 2);
    let stride = picture.width_px as usize * 3;
    let mut rgb = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        for i in 0..width * 3 {
            let at = 2 * y * stride + (i / 3) * 6 + i % 3;
            let sum: u32 = [at, at + 3, at + stride, at + stride + 3]
                .iter()
                .map(|&k| u32::from(picture.rgb[k]))
                .sum();
            rgb.push(((sum + 2) / 4) as u8);
        }
    }
    Picture { width_px: width as u32, height_px: height as u32, rgb }
}

/// Points along each side over which [`steps`] takes a mean.
const POINTS: usize = 14;

/// Difference hash (N. Krawetz, 2013): of 9x8 means of the luma, which are lighter than their left
/// neighbour. Pictures whose hashes differ in a few bits look alike.
pub fn difference_hash(picture: &Picture) -> u64 {
    steps(picture).iter().fold(0, |hash, step| hash << 1 | u64::from(*step > 0))
}

/// How many bits of [`difference_hash`] are left to chance: steps of less than one level of 255.
pub fn faint_steps(picture: &Picture) -> usize {
    steps(picture).iter().filter(|step| step.unsigned_abs() < (POINTS * POINTS) as u64).count()
}

/// From each of 9x8 means of the luma to its right neighbour, in levels times `POINTS * POINTS`.
fn steps(picture: &Picture) -> [i64; 64] {
    let (width, height) = (picture.width_px as usize, picture.height_px as usize);
    let luma = luma(picture);
    let place = |i: usize, cells: usize, side: usize| (2 * i + 1) * side / (2 * POINTS * cells);
    let sum = |x: usize, y: usize| -> i64 {
        let rows = (0..POINTS).map(|i| place(y * POINTS + i, 8, height) * width);
        let columns = |row: usize| (0..POINTS).map(move |i| row + place(x * POINTS + i, 9, width));
        rows.flat_map(columns).map(|at| i64::from(luma[at])).sum()
    };
    std::array::from_fn(|i| sum(i % 8 + 1, i / 8) - sum(i % 8, i / 8))
}

/// Lightness of each pixel (ITU-R 601, as JPEG and PIL compute it), `height * width` bytes.
pub fn luma(picture: &Picture) -> Vec<u8> {
    let weigh = |p: &[u8]| {
        (u32::from(p[0]) * 19595 + u32::from(p[1]) * 38470 + u32::from(p[2]) * 7471 + 0x8000) >> 16
    };
    picture.rgb.chunks_exact(3).map(|p| weigh(p) as u8).collect()
}

/// The pixels that a thing at `centre` can touch along one side.
fn span(centre: f32, radius: f32, side: usize) -> std::ops::Range<usize> {
    let low = (centre - radius * 1.1 - 1.0).max(0.0) as usize;
    let high = (centre + radius * 1.1 + 2.0).max(0.0) as usize;
    low.min(side)..high.min(side)
}

/// A lattice of greyish levels, joined smoothly, plus noise.
fn background(seed: u64, width: usize, height: usize) -> Vec<u8> {
    let mut random = Random::new(seed, 0);
    let light = random.between(114.0, 156.0);
    // Never quite grey, so that a grey picture can be told from one that shows a black thing.
    let hue = random.below(3);
    let tint = [[1.0, -0.3, -0.7], [-0.7, 1.0, -0.3], [-0.3, -0.7, 1.0]][hue]
        .map(|share: f32| share * random.between(16.0, 28.0));
    let nodes: Vec<[f32; 3]> = (0..NODES * NODES)
        .map(|_| {
            let lift = random.between(-30.0, 30.0);
            tint.map(|t| light + t + lift + random.between(-7.0, 7.0))
        })
        .collect();
    // Each lattice row is stretched to the width once; every pixel row is then a blend of two of them.
    let stretched: Vec<Vec<f32>> =
        nodes.chunks_exact(NODES).map(|row| stretch(row, width)).collect();
    let mut noise = random.next_u64() | 1;
    let mut rgb = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        let (node, share) = lattice_at(y, height);
        let (above, below) = (&stretched[node], &stretched[node + 1]);
        let pixels = above.as_chunks::<3>().0.iter().zip(below.as_chunks::<3>().0);
        for (a, b) in pixels {
            // xorshift64 (Marsaglia 2003): noise needs to be fast, not good.
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            rgb.extend([0, 1, 2].map(|c| {
                let step = (((noise >> (16 * c + 16)) & 0xff) * NOISE_STEPS) >> 8;
                let level = a[c] + (b[c] - a[c]) * share;
                (level + step as f32 - (NOISE_STEPS / 2) as f32 + 0.5) as u8
            }));
        }
    }
    rgb
}

/// One row of the lattice at every pixel of the width, `width * 3` levels.
fn stretch(row: &[[f32; 3]], width: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(width * 3);
    for x in 0..width {
        let (node, share) = lattice_at(x, width);
        out.extend((0..3).map(|c| row[node][c] + (row[node + 1][c] - row[node][c]) * share));
    }
    out
}

/// The node before pixel `at` of `side` pixels, and how far towards the next one it is.
fn lattice_at(at: usize, side: usize) -> (usize, f32) {
    let place = (at as f32 + 0.5) / side as f32 * (NODES - 1) as f32;
    let node = (place as usize).min(NODES - 2);
    (node, place - node as f32)
}

/// Signed distance from the edge of `shape` of radius 1 at the origin, negative inside; y points down.
/// Star and triangle after Inigo Quilez, "2D distance functions".
fn distance(shape: Shape, x: f32, y: f32) -> f32 {
    match shape {
        Shape::Circle => length(x, y) - 1.0,
        Shape::Ring => (length(x, y) - 0.75).abs() - 0.25,
        Shape::Square => x.abs().max(y.abs()) - 0.9,
        Shape::Cross => {
            let (long, wide) = (x.abs().max(y.abs()), x.abs().min(y.abs()));
            (long - 1.0).max(wide - 0.33)
        }
        Shape::Triangle => triangle(x, 0.25 - y),
        Shape::Star => star(x, -y),
    }
}

fn length(x: f32, y: f32) -> f32 {
    (x * x + y * y).sqrt()
}

/// Equilateral, point up, half a side long 1.05; y points up.
fn triangle(x: f32, y: f32) -> f32 {
    const HALF_SIDE: f32 = 1.05;
    let k = 3.0f32.sqrt();
    let (mut x, mut y) = (x.abs() - HALF_SIDE, y + HALF_SIDE / k);
    if x + k * y > 0.0 {
        (x, y) = ((x - k * y) / 2.0, (-k * x - y) / 2.0);
    }
    x -= x.clamp(-2.0 * HALF_SIDE, 0.0);
    if y > 0.0 { -length(x, y) } else { length(x, y) }
}

/// Five points of radius 1.05, the inner corners at 0.42 of it; y points up.
fn star(x: f32, y: f32) -> f32 {
    const RADIUS: f32 = 1.05;
    const INNER: f32 = 0.42;
    const FOLD: (f32, f32) = (0.809_017, -0.587_785_25); // cos and sin of -36 degrees
    let (mut x, mut y) = (x.abs(), y);
    for fold_x in [FOLD.0, -FOLD.0] {
        let along = 2.0 * (fold_x * x + FOLD.1 * y).max(0.0);
        (x, y) = (x - along * fold_x, y - along * FOLD.1);
    }
    (x, y) = (x.abs(), y - RADIUS);
    let (bx, by) = (-INNER * FOLD.1, INNER * FOLD.0 - 1.0);
    let along = ((x * bx + y * by) / (bx * bx + by * by)).clamp(0.0, RADIUS);
    let outside = y * bx - x * by;
    let d = length(x - bx * along, y - by * along);
    if outside > 0.0 { d } else { -d }
}
