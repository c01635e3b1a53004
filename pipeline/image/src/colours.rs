//! Whether what stands out has another colour. In: thumbnails. Out: yes or no. Pictures of one thing on a plain ground differ little as
//! a whole if only the thing's colour is another; so the colours that differ from the ground's are summed up, and their hue and
//! strength are compared. A sum stays the same wherever a thing lies on the grid. Pictures of many colours are not judged.

use crate::hash::{THUMB_SIDE, Thumb};

/// Chroma (Cb, Cr of BT.601), in levels of 255.
type Chroma = [f32; 2];

/// Difference from the ground from which a cell stands out.
const LEAST_CHROMA: f32 = 3.0;

/// Sum of chroma below which there is no colour.
const LEAST_SUM: f32 = 12.0;

/// Part of the summed lengths that the length of the sum must be, or there are many colours.
const LEAST_COHERENCE: f32 = 0.75;

/// A weaker sum than this part of the other is another colour: copies are cropped and less or more in contrast.
const LEAST_RATIO: f32 = 0.5;

/// Cosine of the largest angle between the hues of copies, 14 degrees.
const LEAST_COSINE: f32 = 0.97;

/// Whether the colours that stand out of two pictures are others.
pub(crate) fn are_others(a: &Thumb, b: &Thumb) -> bool {
    let ([a_sum, b_sum], [a_lengths, b_lengths]) = {
        let (a, b) = (outstanding(a), outstanding(b));
        ([a.0, b.0], [a.1, b.1])
    };
    let (a, b) = (length(a_sum), length(b_sum));
    let (weak, strong) = (a.min(b), a.max(b));
    if strong < LEAST_SUM || a < LEAST_COHERENCE * a_lengths || b < LEAST_COHERENCE * b_lengths {
        return false;
    }
    let dot = a_sum[0] * b_sum[0] + a_sum[1] * b_sum[1];
    weak < LEAST_RATIO * strong || dot < LEAST_COSINE * (a * b)
}

/// The sum of the chroma that differs from the ground's, and that of its lengths.
fn outstanding(thumb: &Thumb) -> (Chroma, f32) {
    let cells = thumb.as_chunks::<3>().0;
    let mut chroma = [[0.0; 2]; THUMB_SIDE * THUMB_SIDE];
    for (chroma, rgb) in chroma.iter_mut().zip(cells) {
        let [r, g, b] = rgb.map(f32::from);
        *chroma = [-0.1687 * r - 0.3313 * g + 0.5 * b, 0.5 * r - 0.4187 * g - 0.0813 * b];
    }
    let ground = [0, 1].map(|part| median_of_border(&chroma, part));
    let (mut sum, mut lengths) = ([0.0; 2], 0.0);
    for chroma in chroma {
        let difference = [chroma[0] - ground[0], chroma[1] - ground[1]];
        let far = length(difference);
        if far >= LEAST_CHROMA {
            sum = [sum[0] + difference[0], sum[1] + difference[1]];
            lengths += far;
        }
    }
    (sum, lengths)
}

fn median_of_border(chroma: &[Chroma; THUMB_SIDE * THUMB_SIDE], part: usize) -> f32 {
    let last = THUMB_SIDE - 1;
    let mut border = [0.0; 4 * (THUMB_SIDE - 1)];
    let places = (0..THUMB_SIDE * THUMB_SIDE).filter(|place| {
        let (x, y) = (place % THUMB_SIDE, place / THUMB_SIDE);
        x == 0 || y == 0 || x == last || y == last
    });
    for (value, place) in border.iter_mut().zip(places) {
        *value = chroma[place][part];
    }
    border.sort_unstable_by(f32::total_cmp);
    border[border.len() / 2]
}

fn length([x, y]: Chroma) -> f32 {
    (x * x + y * y).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disc of `radius` at `center`, of 96 px.
    fn disc(ground: [u8; 3], color: [u8; 3], center: i32, radius: i32) -> Thumb {
        let mut pixels = Vec::new();
        for y in 0..96 {
            for x in 0..96 {
                let far = (x - center).pow(2) + (y - center).pow(2);
                pixels.extend(if far < radius * radius { color } else { ground });
            }
        }
        crate::thumb(&pixels, 96)
    }

    const WHITE: [u8; 3] = [255; 3];
    const BLACK: [u8; 3] = [0; 3];

    #[test]
    fn another_colour_on_a_plain_ground_is_another() {
        for (ground, one, other) in [
            (WHITE, [220, 40, 30], [230, 120, 20]),
            (WHITE, [130, 80, 40], [220, 40, 30]),
            (WHITE, [130, 80, 40], [128, 128, 128]),
            (WHITE, [220, 40, 30], [40, 60, 220]),
            (WHITE, [16, 16, 16], [10, 10, 90]),
            (BLACK, [240, 150, 20], [240, 220, 30]),
            (BLACK, [220, 30, 30], [220, 30, 120]),
            ([200; 3], [30, 60, 200], [200, 60, 30]),
        ] {
            for radius in [8, 20, 40] {
                let [a, b] = [one, other].map(|color| disc(ground, color, 48, radius));
                assert!(are_others(&a, &b), "{one:?} and {other:?} on {ground:?}, {radius}");
                assert!(are_others(&b, &a));
            }
        }
    }

    #[test]
    fn a_copy_has_the_same_colours() {
        for color in [[220, 40, 30], [230, 120, 20], [130, 80, 40], [60, 60, 60], [10, 10, 90]] {
            for radius in [8, 20, 40] {
                let original = disc(WHITE, color, 48, radius);
                assert!(!are_others(&original, &original));
                // Moved, larger, darker, and lighter.
                let moved = disc(WHITE, color, 52, radius + radius / 10);
                let dark =
                    disc([230; 3], color.map(|level| (f32::from(level) * 0.9) as u8), 48, radius);
                for copy in [moved, dark] {
                    assert!(!are_others(&original, &copy), "{color:?}, {radius}");
                }
            }
        }
    }
}
