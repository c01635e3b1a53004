//! From stored bytes to what the encoder sees. In: u8 pixels `[b, side, side, 3]`. Out: a normalised tensor
//! `[b, 3, size, size]` on the device. Never keeps floats on the host: bytes travel, the device does the rest.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use crate::config::read_json;

/// Mean and standard deviation by channel, as shares of 255.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalise {
    mean: [f64; 3],
    std: [f64; 3],
}

impl Default for Normalise {
    /// (x / 255 - 0.5) / 0.5, as google/vit-base-patch16-224.
    fn default() -> Self {
        Self { mean: [0.5; 3], std: [0.5; 3] }
    }
}

impl Normalise {
    /// What a model's `preprocessor_config.json` says; the default where there is none.
    ///
    /// # Errors
    /// A file that is not one.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("preprocessor_config.json");
        if !path.exists() {
            return Ok(Self::default());
        }
        let root = read_json(&path)?;
        let three = |key: &str| -> Result<[f64; 3]> {
            let numbers: Option<Vec<f64>> =
                root[key].as_array().and_then(|a| a.iter().map(Value::as_f64).collect());
            let numbers = numbers.and_then(|numbers| <[f64; 3]>::try_from(numbers).ok());
            numbers.with_context(|| format!("{}: expected three numbers `{key}`", path.display()))
        };
        Ok(Self { mean: three("image_mean")?, std: three("image_std")? })
    }

    /// The `preprocessor_config.json` of a model that sees pictures of `size` pixels.
    pub fn to_json(&self, size: i64) -> Value {
        const BILINEAR: u8 = 2;
        json!({
            "image_processor_type": "ViTImageProcessor",
            "do_resize": true,
            "size": {"height": size, "width": size},
            "resample": BILINEAR,
            "do_rescale": true,
            "rescale_factor": 1.0 / 255.0,
            "do_normalize": true,
            "image_mean": self.mean,
            "image_std": self.std,
        })
    }

    /// Uploads, resizes (bilinear, antialiased, rounded to whole levels as PIL does) and normalises `b` pictures of
    /// `side` pixels.
    ///
    /// # Panics
    /// If `pixels` does not hold `b * side * side * 3` bytes.
    pub fn pixels(
        &self,
        pixels: &[u8],
        b: usize,
        side: usize,
        size: i64,
        device: Device,
    ) -> Tensor {
        assert_eq!(pixels.len(), b * side * side * 3, "{b} pictures of {side} px");
        let (b, side) = (b as i64, side as i64);
        let x = Tensor::from_slice(pixels)
            .view([b, side, side, 3])
            .to_device(device)
            .permute([0, 3, 1, 2]); // [b, 3, side, side]
        let x = match (side == size, device) {
            (true, _) => x,
            (false, Device::Cpu) => {
                x.internal_upsample_bilinear2d_aa([size, size], false, None::<f64>, None::<f64>)
            }
            (false, _) => x
                .to_kind(Kind::Float)
                .internal_upsample_bilinear2d_aa([size, size], false, None::<f64>, None::<f64>)
                .round(),
        };
        let channel = |values: [f64; 3]| {
            Tensor::from_slice(&values.map(|v| v as f32)).view([3, 1, 1]).to_device(device)
        };
        let scale = channel([0, 1, 2].map(|c| 1.0 / (255.0 * self.std[c])));
        let shift = channel([0, 1, 2].map(|c| -self.mean[c] / self.std[c]));
        x.to_kind(Kind::Float) * scale + shift // [b, 3, size, size]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_become_minus_one_to_one() {
        let x = Normalise::default().pixels(&[0, 51, 255], 1, 1, 1, Device::Cpu);
        let x = Vec::<f32>::try_from(x.flatten(0, -1)).unwrap();
        assert!(
            x.iter().zip([-1.0, -0.6, 1.0]).all(|(x, e): (&f32, f32)| (x - e).abs() < 1e-6),
            "{x:?}"
        );
    }

    #[test]
    fn an_even_picture_stays_even_when_resized() {
        let x = Normalise::default().pixels(&[200; 2 * 32 * 32 * 3], 2, 32, 8, Device::Cpu);
        assert_eq!(x.size(), [2, 3, 8, 8]);
        assert_eq!((x.max() - x.min()).double_value(&[]), 0.0);
    }
}
