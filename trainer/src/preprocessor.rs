//! A model's `preprocessor_config.json`. In: a model's folder. Out: how its pictures are resized and their levels normalised, as
//! transformers' `ViTImageProcessor` does both, and the file again. Never touches a picture.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};
use tuwen_settings::ResizeFilter;

use crate::json::read_json;

/// Filters by the numbers that PIL has for them.
const FILTERS: [(i64, ResizeFilter); 3] =
    [(1, ResizeFilter::Lanczos), (2, ResizeFilter::Bilinear), (3, ResizeFilter::Bicubic)];

/// Classes of transformers that make pictures ready as `ViTImageProcessor` does.
const PROCESSORS: [&str; 4] =
    ["ViTImageProcessor", "ViTImageProcessorFast", "ViTImageProcessorPil", "ViTFeatureExtractor"];

/// Side of the pictures where a file names none.
const DEFAULT_SIZE: i64 = 224;

const DEFAULT_FACTOR: f64 = 1.0 / 255.0;
const HALF: [f64; 3] = [0.5; 3];

/// How a model's pictures are made ready for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalise {
    /// Filter of the resize to the model's size.
    pub filter: ResizeFilter,
    /// What levels of 0 to 255 are multiplied with; none: they stay.
    rescale_factor: Option<f64>,
    /// What is taken from each channel, and what it is then divided by; none: neither.
    mean_std: Option<([f64; 3], [f64; 3])>,
}

impl Default for Normalise {
    /// (x / 255 - 0.5) / 0.5, as google/vit-base-patch16-224.
    fn default() -> Self {
        Self {
            filter: ResizeFilter::Bilinear,
            rescale_factor: Some(DEFAULT_FACTOR),
            mean_std: Some((HALF, HALF)),
        }
    }
}

impl Normalise {
    /// Reads the file of a whole model that sees pictures of `size` pixels, or, if none is given, of another size than the file's; the
    /// default where there is none.
    ///
    /// # Errors
    /// A file that is not one, or that asks for what is not supported (by name).
    pub fn read(folder: &Path, size: Option<i64>) -> Result<Self> {
        let Some(file) = ProcessorFile::read(folder)? else { return Ok(Self::default()) };
        let read = || -> Result<Self> { Ok(Self { filter: file.filter(size)?, ..file.levels()? }) };
        read().with_context(|| file.path.display().to_string())
    }

    /// Reads the file of an encoder whose pictures come resized already: what it says of their levels alone counts.
    ///
    /// # Errors
    /// A file that is not one.
    pub fn read_levels(folder: &Path) -> Result<Self> {
        let Some(file) = ProcessorFile::read(folder)? else { return Ok(Self::default()) };
        file.levels().with_context(|| file.path.display().to_string())
    }

    /// The `preprocessor_config.json` of a model with an image size of `size` pixels.
    pub fn to_json(&self, size: i64) -> Value {
        let resample = FILTERS.iter().find(|(_, filter)| *filter == self.filter);
        let (mean, std) = self.mean_std.unwrap_or((HALF, HALF));
        json!({
            "image_processor_type": "ViTImageProcessor",
            "do_resize": true,
            "size": {"height": size, "width": size},
            "resample": resample.map(|(code, _)| code),
            "do_rescale": self.rescale_factor.is_some(),
            "rescale_factor": self.rescale_factor.unwrap_or(DEFAULT_FACTOR),
            "do_normalize": self.mean_std.is_some(),
            "image_mean": mean,
            "image_std": std,
        })
    }

    /// What a level of each channel is multiplied with, and what is then added.
    pub(crate) fn scale_shift(&self) -> ([f64; 3], [f64; 3]) {
        let factor = self.rescale_factor.unwrap_or(1.0);
        let (mean, std) = self.mean_std.unwrap_or(([0.0; 3], [1.0; 3]));
        ([0, 1, 2].map(|c| factor / std[c]), [0, 1, 2].map(|c| -mean[c] / std[c]))
    }
}

/// What is in the file, without nulls.
struct ProcessorFile {
    path: PathBuf,
    values: Map<String, Value>,
}

impl ProcessorFile {
    /// `preprocessor_config.json`, or the part of `processor_config.json` that newer versions of transformers write instead.
    fn read(folder: &Path) -> Result<Option<Self>> {
        let (newer, path) =
            (folder.join("processor_config.json"), folder.join("preprocessor_config.json"));
        let nested =
            if newer.exists() { read_json(&newer)?["image_processor"].take() } else { Value::Null };
        let (path, value) = match nested {
            Value::Null if path.exists() => (path.clone(), read_json(&path)?),
            Value::Null => return Ok(None),
            nested => (newer, nested),
        };
        let Value::Object(mut values) = value else {
            bail!("{}: expected a JSON object", path.display());
        };
        values.retain(|_, value| !value.is_null());
        Ok(Some(Self { path, values }))
    }

    /// Factor, mean and standard deviation; the filter is the default one.
    fn levels(&self) -> Result<Normalise> {
        let mut levels = Normalise { rescale_factor: None, mean_std: None, ..Normalise::default() };
        if self.flag("do_rescale", true)? {
            let factor = self.values.get("rescale_factor");
            let factor = factor.map_or(Some(DEFAULT_FACTOR), Value::as_f64);
            levels.rescale_factor = Some(factor.context("rescale_factor: expected a number")?);
        }
        if self.flag("do_normalize", true)? {
            let (mean, std) = (self.channels("image_mean")?, self.channels("image_std")?);
            if std.contains(&0.0) {
                bail!("image_std: expected numbers above 0, found 0");
            }
            levels.mean_std = Some((mean, std));
        }
        Ok(levels)
    }

    /// The filter of the resize of whole pictures to a square of `size` pixels, or of any; refuses any other way to it.
    fn filter(&self, size: Option<i64>) -> Result<ResizeFilter> {
        for key in ["image_processor_type", "feature_extractor_type"] {
            let kind = self.values.get(key).and_then(Value::as_str);
            if let Some(kind) = kind.filter(|kind| !PROCESSORS.contains(kind)) {
                bail!("{key}: expected ViTImageProcessor, found {kind}");
            }
        }
        if !self.flag("do_resize", true)? {
            bail!("do_resize: expected true, found false");
        }
        let found = side(self.values.get("size"), "size")?.unwrap_or(DEFAULT_SIZE);
        let size = size.unwrap_or(found);
        if found != size {
            bail!("size: expected {size}, as the encoder's image_size, found {found}");
        }
        if self.flag("do_center_crop", false)? {
            let found = side(self.values.get("crop_size"), "crop_size")?;
            if found != Some(size) {
                bail!(
                    "do_center_crop: expected false, or the whole picture, found a crop of {found:?}"
                );
            }
        }
        if self.flag("do_pad", false)? {
            bail!("do_pad: expected false, found true");
        }
        let resample = self.values.get("resample").map_or(Some(2), Value::as_i64);
        match FILTERS.iter().find(|(code, _)| Some(*code) == resample) {
            Some((_, filter)) => Ok(*filter),
            None => bail!(
                "resample: expected 1 (Lanczos), 2 (bilinear) or 3 (bicubic), found {}",
                self.values["resample"]
            ),
        }
    }

    fn flag(&self, key: &str, default: bool) -> Result<bool> {
        let Some(value) = self.values.get(key) else { return Ok(default) };
        value.as_bool().with_context(|| format!("{key}: expected true or false, found {value}"))
    }

    /// Three numbers, or one for all three channels.
    fn channels(&self, key: &str) -> Result<[f64; 3]> {
        let Some(value) = self.values.get(key) else { return Ok(HALF) };
        if let Some(number) = value.as_f64() {
            return Ok([number; 3]);
        }
        let numbers: Option<Vec<f64>> =
            value.as_array().and_then(|all| all.iter().map(Value::as_f64).collect());
        let numbers = numbers.and_then(|numbers| <[f64; 3]>::try_from(numbers).ok());
        numbers.with_context(|| format!("{key}: expected three numbers, found {value}"))
    }
}

/// The side of a square: a number, `[height, width]` or `{"height", "width"}`.
fn side(value: Option<&Value>, key: &str) -> Result<Option<i64>> {
    let Some(value) = value else { return Ok(None) };
    let (height, width) = match value {
        Value::Array(_) => (&value[0], &value[1]),
        Value::Object(_) => (&value["height"], &value["width"]),
        _ => (value, value),
    };
    match (height.as_i64(), width.as_i64()) {
        (Some(height), Some(width)) if height == width => Ok(Some(height)),
        _ => bail!("{key}: expected the height and width of a square, found {value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &Value) -> Result<Normalise> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("preprocessor_config.json"), value.to_string()).unwrap();
        Normalise::read(folder.path(), Some(224))
    }

    #[test]
    fn what_is_written_reads_back() {
        let all = [
            json!({}),
            json!({"resample": 3, "do_normalize": false, "size": 224}),
            json!({"resample": 1, "do_rescale": false, "image_mean": 127.5, "image_std": [127, 126, 125]}),
            json!({"rescale_factor": 1.0, "size": [224, 224], "image_mean": null}),
        ];
        for value in all {
            let normalise = read(&value).unwrap();
            assert_eq!(read(&normalise.to_json(224)).unwrap(), normalise, "{value}");
        }
        assert_eq!(read(&json!({})).unwrap(), Normalise::default());
    }

    #[test]
    fn levels_are_scaled_as_the_file_says() {
        // By hand: what levels 0 and 100 become in the first channel.
        for (value, expected) in [
            (json!({}), [-1.0, 100.0 / 127.5 - 1.0]),
            (json!({"do_normalize": false}), [0.0, 100.0 / 255.0]),
            (json!({"do_normalize": false, "rescale_factor": 2}), [0.0, 200.0]),
            (json!({"do_rescale": false, "image_mean": 50, "image_std": 25}), [-2.0, 2.0]),
            (json!({"do_rescale": false, "do_normalize": false}), [0.0, 100.0]),
        ] {
            let (scale, shift) = read(&value).unwrap().scale_shift();
            let found = [0.0, 100.0].map(|level| level * scale[0] + shift[0]);
            assert!(
                found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12),
                "{value}: {found:?}"
            );
        }
    }

    #[test]
    fn pictures_of_another_size_keep_the_filter() {
        let folder = tempfile::tempdir().unwrap();
        let file = json!({"resample": 3, "size": 224, "image_mean": 0.4}).to_string();
        std::fs::write(folder.path().join("preprocessor_config.json"), file).unwrap();
        assert!(Normalise::read(folder.path(), Some(96)).is_err());
        let normalise = Normalise::read(folder.path(), None).unwrap();
        assert_eq!(normalise.filter, ResizeFilter::Bicubic);
        assert_eq!(normalise, Normalise::read(folder.path(), Some(224)).unwrap());
    }

    #[test]
    fn what_cannot_be_done_is_named() {
        for (value, expected) in [
            (
                json!({"resample": 0}),
                "resample: expected 1 (Lanczos), 2 (bilinear) or 3 (bicubic), found 0",
            ),
            (
                json!({"size": {"shortest_edge": 224}}),
                "size: expected the height and width of a square",
            ),
            (json!({"size": {"height": 224, "width": 200}}), "size: expected the height and width"),
            (json!({"size": 256}), "size: expected 224"),
            (json!({"do_resize": false}), "do_resize"),
            (json!({"do_center_crop": true, "crop_size": 200}), "do_center_crop"),
            (json!({"image_processor_type": "CLIPImageProcessor"}), "found CLIPImageProcessor"),
            (json!({"image_processor_type": "ViTHybridImageProcessor"}), "found ViTHybridImage"),
            (json!({"image_std": 0}), "image_std"),
            (json!({"image_mean": [1, 2]}), "image_mean: expected three numbers, found [1,2]"),
            (json!([]), "expected a JSON object"),
        ] {
            let error = format!("{:#}", read(&value).unwrap_err());
            let is_named = error.contains(expected) && error.contains("preprocessor_config.json: ");
            assert!(is_named, "{error}");
        }
    }
}
