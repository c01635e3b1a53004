//! Pictures that compress as photos do, without a photo at hand. In: a size and a seed. Out: RGB pixels. Never random: the same
//! seed draws the same.

use tuwen_stream::mix;

/// Waves drawn over each other, from the width of the picture down to a few pixels.
const WAVES: usize = 12;

/// Levels of grain, as a sensor leaves them; with it a picture of 224 px has about 14.5 kB as JPEG of quality 90.
const GRAIN_LEVELS: f64 = 11.5;

/// `[size_px, size_px, 3]` u8 RGB.
pub fn photo(size_px: usize, seed: u64) -> Vec<u8> {
    let mut state = mix(seed);
    let mut draw = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        (mix(state) >> 11) as f64 / (1_u64 << 53) as f64 // 0 to 1
    };
    // Amplitudes fall with the frequency, as they do in nature (Field 1987).
    let waves: Vec<[f64; 6]> = (1..=WAVES)
        .map(|wave| {
            let turn = draw() * std::f64::consts::TAU;
            let cycles = wave as f64 * (0.5 + draw());
            let phase = draw() * std::f64::consts::TAU;
            let amplitude = 70.0 / wave as f64;
            let shade = || amplitude * (0.6 + 0.4 * (turn * 3.0).sin());
            [cycles * turn.cos(), cycles * turn.sin(), phase, amplitude, shade(), amplitude * 0.7]
        })
        .collect();
    let mut pixels = Vec::with_capacity(size_px * size_px * 3);
    for y in 0..size_px {
        for x in 0..size_px {
            let (u, v) = (x as f64 / size_px as f64, y as f64 / size_px as f64);
            let mut levels = [128.0 + GRAIN_LEVELS * (draw() + draw() - 1.0); 3];
            for [across, down, phase, red, green, blue] in &waves {
                let height = (std::f64::consts::TAU * (across * u + down * v) + phase).sin();
                for (level, share) in levels.iter_mut().zip([red, green, blue]) {
                    *level += height * share;
                }
            }
            pixels.extend(levels.map(|level| level.clamp(0.0, 255.0) as u8));
        }
    }
    pixels
}

#[cfg(test)]
mod tests {
    use super::*;
    use tuwen_image::encode_stored;
    use tuwen_settings::{DecodeSettings, PixelCodec};

    #[test]
    fn photos_differ_and_compress_as_photos_do() {
        let settings = DecodeSettings { codec: PixelCodec::Jpeg, ..DecodeSettings::default() };
        assert!(photo(32, 1) == photo(32, 1) && photo(32, 1) != photo(32, 2));
        for seed in 0..8 {
            let pixels = photo(224, seed);
            assert_eq!(pixels.len(), 224 * 224 * 3);
            let jpeg_bytes = encode_stored(&pixels, &settings).unwrap().len();
            assert!((11_000..19_000).contains(&jpeg_bytes), "{jpeg_bytes} bytes");
        }
    }
}
