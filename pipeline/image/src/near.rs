//! Whether two images are nearly the same. In: their box means, 8x8 in colour and 48x48 in grey (`hash.rs`). Out: a number, 0 for
//! equal ones. A pure function of the two, the same whichever comes first. Never reads pixels.
//!
//! A copy may be written anew, resized, stretched, cropped by up to a twentieth on each side, a little lighter or darker, or have a
//! mark on it. So one picture is laid on the other (`overlay.rs`), and what still differs is set against what there is to see: in
//! grey, and with less weight in the few pixels that have colours. That takes 20 to 60 us. Four cheaper tests come first, each of
//! which nearly all copies pass: outlines (`outline.rs`), the plain difference of the 8x8 means, the colours that stand out
//! (`colours.rs`), and the means laid on each other.

use std::cell::LazyCell;

use crate::colours;
use crate::hash::{LOOK_SIDE, Look, THUMB_BYTES, THUMB_SIDE, Thumb};
use crate::outline::Outline;
use crate::overlay::{Laid, Planes, Shifts, planes};

/// Largest difference of the thumbnails of copies, aligned; that of their looks is a setting.
const THUMB_LIMIT: f32 = 0.1;

/// Largest differences of the looks of copies at half their size, and at their size before the last steps.
const HALVES_LIMIT: f32 = 0.25;
const LOOK_LIMIT: f32 = 0.16;

/// Largest part of what there is to see that differs between copies' thumbnails before they are aligned, and of what rises or falls
/// evenly, which only contrast and size change.
const DETAIL_LIMIT: f32 = 0.5;
const RAMP_LIMIT: f32 = 0.1;

/// Mean square that is added to what there is to see in a thumbnail, in levels of 255, so that noise is not all there is.
const DETAIL_FLOOR: f32 = 4.0;

/// Difference of looks at half their size below which nothing may have been moved: of a copy that is not cropped.
const ALIKE: f32 = 0.1;

/// What the difference of colours, which thumbnails alone have, counts beside that of looks.
const THUMB_WEIGHT: f32 = 0.5;

/// An image as it is compared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) outline: &'a Outline,
    pub(crate) thumb: &'a Thumb,
    pub(crate) look: Option<&'a Look>,
}

/// Whether the thumbnails are those of copies, as far as they say.
pub(crate) fn thumbs_may_be_near(a: Seen<'_>, b: Seen<'_>) -> bool {
    thumbs_are_near(a, b, THUMB_LIMIT)
}

fn thumbs_are_near(a: Seen<'_>, b: Seen<'_>, limit: f32) -> bool {
    a.outline.may_be_near(b.outline)
        && raw_difference_is_small(a, b)
        && !colours::are_others(a.thumb, b.thumb)
        && thumb_difference(a, b, limit) <= limit
}

/// Whether two images differ by at most `limit`. Where one has no look, being of an older corpus, thumbnails decide.
pub(crate) fn is_near(a: Seen<'_>, b: Seen<'_>, limit: f32) -> bool {
    let (Some(_), Some(_)) = (a.look, b.look) else {
        return thumbs_are_near(a, b, limit.min(THUMB_LIMIT));
    };
    thumbs_are_near(a, b, THUMB_LIMIT) && fine_difference(a, b, limit) <= limit
}

/// How much two images, each a thumbnail and a look, differ: 0 if not at all; none if their thumbnails show that neither is a copy
/// of the other.
pub fn near_difference(a: (&Thumb, Option<&Look>), b: (&Thumb, Option<&Look>)) -> Option<f32> {
    let outlines = [a, b].map(|(thumb, _)| Outline::of(thumb));
    let a = Seen { outline: &outlines[0], thumb: a.0, look: a.1 };
    let b = Seen { outline: &outlines[1], thumb: b.0, look: b.1 };
    thumbs_may_be_near(a, b).then(|| fine_difference(a, b, 0.0))
}

/// The smallest difference found; the search ends at `enough`. Where the edges lie is found on small pictures first: on large ones
/// a step sees no farther than a pixel.
fn fine_difference(a: Seen<'_>, b: Seen<'_>, enough: f32) -> f32 {
    let (a, b) = ordered(a, b);
    let (Some(a_look), Some(b_look)) = (a.look, b.look) else {
        return thumb_difference(a, b, enough);
    };
    let thumbs = [a, b].map(|seen| planes::<THUMB_SIDE, 3>(seen.thumb));
    let halves = [a_look, b_look].map(halves);
    let looks = LazyCell::new(|| [a_look, b_look].map(|look| planes::<LOOK_SIDE, 1>(look)));
    let look_with = |shifts: &Shifts| {
        let laid = Laid::new(&looks[0], &looks[1], shifts);
        let of_thumbs = Laid::new(&thumbs[0], &thumbs[1], shifts).difference();
        let difference = laid.difference().max(THUMB_WEIGHT * of_thumbs);
        (laid, difference)
    };

    let mut shifts = Shifts::default();
    let unmoved = Laid::new(&halves[0], &halves[1], &shifts).difference();
    let mut best = (unmoved, shifts);
    let mut smallest = f32::INFINITY;
    if unmoved <= ALIKE {
        smallest = look_with(&shifts).1;
        if smallest <= enough {
            return smallest;
        }
    }
    for _ in 0..2 {
        shifts.improve(&Laid::new(&thumbs[0], &thumbs[1], &shifts));
    }
    for _ in 0..2 {
        let laid = Laid::new(&halves[0], &halves[1], &shifts);
        let difference = laid.difference();
        if difference < best.0 {
            best = (difference, shifts);
        }
        shifts.improve(&laid);
    }
    if best.0 > HALVES_LIMIT {
        return best.0;
    }
    // Where nothing is gained by moving it stays as it was.
    if best.1 == Shifts::default() && smallest < f32::INFINITY {
        return smallest;
    }
    shifts = best.1;
    for _ in 0..3 {
        let (laid, difference) = look_with(&shifts);
        smallest = smallest.min(difference);
        if smallest <= enough || smallest > LOOK_LIMIT {
            break;
        }
        shifts.improve(&laid);
    }
    smallest
}

/// The smallest difference found of thumbnails; the search ends at `enough`.
fn thumb_difference(a: Seen<'_>, b: Seen<'_>, enough: f32) -> f32 {
    let (a, b) = ordered(a, b);
    let (a, b) = (planes::<THUMB_SIDE, 3>(a.thumb), planes::<THUMB_SIDE, 3>(b.thumb));
    let mut shifts = Shifts::default();
    let mut smallest = f32::INFINITY;
    for _ in 0..3 {
        let laid = Laid::new(&a, &b, &shifts);
        smallest = smallest.min(laid.difference());
        if smallest <= enough {
            break;
        }
        shifts.improve(&laid);
    }
    smallest
}

/// The same order whichever comes first.
fn ordered<'a>(a: Seen<'a>, b: Seen<'a>) -> (Seen<'a>, Seen<'a>) {
    if (a.thumb, a.look) <= (b.thumb, b.look) { (a, b) } else { (b, a) }
}

fn raw_difference_is_small(a: Seen<'_>, b: Seen<'_>) -> bool {
    let squares: i32 = a
        .thumb
        .iter()
        .zip(b.thumb)
        .map(|(&a, &b)| {
            let difference = i16::from(a) - i16::from(b);
            i32::from(difference) * i32::from(difference)
        })
        .sum();
    let of_means: i32 =
        a.outline.sums.iter().zip(b.outline.sums).map(|(a, b)| (a - b).pow(2)).sum();
    let detail = a.outline.detail.min(b.outline.detail) + DETAIL_FLOOR * THUMB_BYTES as f32;
    let ramp = a.outline.ramp.min(b.outline.ramp);
    squares as f32 - of_means as f32 / 64.0 <= DETAIL_LIMIT * detail + RAMP_LIMIT * ramp
}

/// A look of half the side: means of 2x2 pixels.
fn halves(look: &Look) -> Planes<{ LOOK_SIDE / 2 }, 1> {
    let rows = look.as_chunks::<LOOK_SIDE>().0;
    [std::array::from_fn(|y| {
        let (above, below) = (&rows[2 * y], &rows[2 * y + 1]);
        std::array::from_fn(|x| {
            let four = [above[2 * x], above[2 * x + 1], below[2 * x], below[2 * x + 1]];
            f32::from(four.map(u16::from).iter().sum::<u16>()) / 4.0
        })
    })]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::{look, thumb};

    const LIMIT: f32 = 0.035;
    const SIDE: usize = 224;
    const RED: [u8; 3] = [222, 32, 38];
    const BLUE: [u8; 3] = [28, 72, 226];
    const WHITE: [u8; 3] = [255; 3];

    #[derive(Clone, Copy, PartialEq)]
    enum Shape {
        Disc,
        Square,
        Ring,
    }

    /// A thing of this half extent around a place, in parts of the side.
    #[derive(Clone, Copy)]
    struct Thing {
        shape: Shape,
        rgb: [u8; 3],
        place: [f32; 2],
        extent: f32,
    }

    const THING: Thing = Thing { shape: Shape::Disc, rgb: RED, place: [0.5, 0.5], extent: 0.1 };

    /// `[224, 224, 3]` u8 of what `paint` gives a place.
    fn drawn(paint: impl Fn(f32, f32) -> [u8; 3]) -> Vec<u8> {
        let place = |i: usize| (i as f32 + 0.5) / SIDE as f32;
        (0..SIDE * SIDE).flat_map(|i| paint(place(i % SIDE), place(i / SIDE))).collect()
    }

    /// What things on a ground look like at a place.
    fn scene(
        ground: impl Fn(f32, f32) -> [u8; 3],
        things: &[Thing],
    ) -> impl Fn(f32, f32) -> [u8; 3] {
        move |x, y| {
            let is_there = |thing: &&Thing| {
                let [dx, dy] = [x - thing.place[0], y - thing.place[1]].map(f32::abs);
                let distance = dx.hypot(dy);
                match thing.shape {
                    Shape::Disc => distance <= thing.extent,
                    Shape::Ring => distance <= thing.extent && distance >= 0.6 * thing.extent,
                    Shape::Square => dx.max(dy) <= thing.extent,
                }
            };
            things.iter().rev().find(is_there).map_or_else(|| ground(x, y), |thing| thing.rgb)
        }
    }

    fn difference(a: &[u8], b: &[u8]) -> f32 {
        let [a, b] = [a, b].map(|pixels| (thumb(pixels, SIDE), look(pixels, SIDE)));
        let there = near_difference((&a.0, Some(&a.1)), (&b.0, Some(&b.1)));
        let back = near_difference((&b.0, Some(&b.1)), (&a.0, Some(&a.1)));
        assert_eq!(there, back, "the same whichever comes first");
        there.unwrap_or(f32::INFINITY)
    }

    type Paint<'a> = Box<dyn Fn(f32, f32) -> [u8; 3] + 'a>;

    /// A rough ground, such as a photo has: waves of some lengths.
    fn rough(x: f32, y: f32) -> [u8; 3] {
        let wave = |a: f32, b: f32| (a * x + b * y).sin();
        [0.0, 0.7, 1.9].map(|phase| {
            let sum = wave(7.0, 3.0 + phase) + wave(-11.0, 19.0) + wave(31.0 + phase, 5.0);
            (128.0 + 35.0 * sum) as u8
        })
    }

    #[test]
    fn copies_are_near() {
        let disc = [THING];
        let ring = [Thing { shape: Shape::Ring, rgb: BLUE, place: [0.6, 0.35], extent: 0.2 }];
        let fading = |_: f32, y: f32| [(90.0 + 120.0 * y) as u8; 3];
        let scenes: [Paint<'_>; 5] = [
            Box::new(scene(|_, _| WHITE, &disc)),
            Box::new(scene(|_, _| [0; 3], &ring)),
            Box::new(scene(|_, _| [128; 3], &disc)),
            Box::new(scene(fading, &ring)),
            Box::new(rough),
        ];
        for (i, paint) in scenes.iter().enumerate() {
            let original = drawn(paint);
            assert_eq!(difference(&original, &original), 0.0);
            let cropped = |left: f32, right: f32, top: f32, bottom: f32| {
                drawn(|x, y| paint(left + x * (1.0 - left - right), top + y * (1.0 - top - bottom)))
            };
            let changed = |change: &dyn Fn(usize, f32) -> f32| -> Vec<u8> {
                let bytes = original.iter().enumerate();
                bytes
                    .map(|(i, &value)| change(i, f32::from(value)).clamp(0.0, 255.0) as u8)
                    .collect()
            };
            let copies = [
                ("cropped", cropped(0.03, 0.03, 0.03, 0.03)),
                ("cropped on the left", cropped(0.04, 0.0, 0.0, 0.0)),
                ("cropped unevenly", cropped(0.0, 0.045, 0.02, 0.01)),
                ("darker", changed(&|_, value| value * 0.95)),
                ("less contrast", changed(&|_, value| 128.0 + (value - 128.0) * 0.93)),
                // As JPEG at a low quality leaves it.
                ("noisy", changed(&|i, value| value + ((i * 7919) % 13) as f32 - 6.0)),
                // Thin lines at the lower edge.
                (
                    "marked",
                    changed(&|i, value| match i / 3 / SIDE {
                        y @ 205.. if y % 4 == 0 => value * 0.6 + 51.0,
                        _ => value,
                    }),
                ),
            ];
            for (name, copy) in copies {
                let difference = difference(&original, &copy);
                assert!(difference <= LIMIT, "scene {i}, {name}: {difference}");
            }
        }
    }

    #[test]
    fn other_pictures_on_the_same_ground_are_not_near() {
        let fading = |x: f32, _: f32| [(60.0 + 150.0 * x) as u8; 3];
        let grounds: [(&str, Paint<'_>); 4] = [
            ("white", Box::new(|_, _| WHITE)),
            ("black", Box::new(|_, _| [0; 3])),
            ("grey", Box::new(|_, _| [128; 3])),
            ("fading", Box::new(fading)),
        ];
        for (name, ground) in grounds {
            let others = [
                ("colour", vec![Thing { rgb: BLUE, ..THING }]),
                ("shape", vec![Thing { shape: Shape::Square, ..THING }]),
                ("a hole", vec![Thing { shape: Shape::Ring, ..THING }]),
                ("place", vec![Thing { place: [0.62, 0.5], ..THING }]),
                ("size", vec![Thing { extent: 0.14, ..THING }]),
                ("one more", vec![THING, Thing { rgb: BLUE, place: [0.2, 0.25], ..THING }]),
                ("nothing", vec![]),
            ];
            let original = drawn(scene(&ground, &[THING]));
            for (what, things) in others {
                let difference = difference(&original, &drawn(scene(&ground, &things)));
                assert!(difference > LIMIT, "{name}, {what}: {difference}");
            }
        }
    }

    #[test]
    fn without_a_look_the_thumbnails_decide() {
        let [disc, square, blue] = [
            THING,
            Thing { shape: Shape::Square, extent: 0.3, ..THING },
            Thing { rgb: BLUE, ..THING },
        ]
        .map(|thing| drawn(scene(|_, _| WHITE, &[thing])));
        let of = |a: &[u8], b: &[u8]| {
            let [a, b] = [a, b].map(|pixels| (thumb(pixels, SIDE), look(pixels, SIDE)));
            near_difference((&a.0, Some(&a.1)), (&b.0, None))
        };
        assert_eq!(of(&disc, &disc), Some(0.0));
        for other in [square, blue] {
            assert!(of(&disc, &other).is_none_or(|difference| difference > LIMIT));
        }
    }
}
