//! Functions of pictures: `image_format`, `dhash`, `hamming`, `resize`, `to_png`, `thumbnail`. A picture is a file of any format, or
//! the pixels of a square as `images.pixels` has them; what is neither, or is damaged, gives null, and `decode_image` says why.

use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, Int64Array, StringArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Int64Type};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use tuwen_image::{Rgb, decode_image, encode_stored, hamming, media_type, resize_rgb};
use tuwen_settings::{DecodeSettings, PixelCodec};

use crate::sql::error::QueryError;

/// Side of a thumbnail in pixels.
const THUMBNAIL_PX: u32 = 96;

/// Quality of its JPEG: some 3 kB.
const THUMBNAIL_QUALITY: u8 = 80;

/// Largest side that `resize` makes.
const LARGEST_PX: i64 = 4096;

/// Smallest side of a square of pixels, unless `decode.size` is smaller: fewer bytes are sooner a text than a picture.
const SMALLEST_PX: u32 = 8;

/// Bytes that a function makes of one batch. No pool counts them, and twice as many are more than an array holds.
pub(super) const MOST_BYTES: usize = 1 << 30;

/// A square of pixels.
struct Square {
    size: u32,
    /// `[size, size, 3]` u8, RGB, row-major.
    pixels: Vec<u8>,
}

impl Square {
    /// Of pixels, or of a file, which becomes a square of `size`.
    fn of(bytes: &[u8], size: u32, settings: &DecodeSettings) -> Option<Self> {
        let is_file = media_type(bytes).is_some();
        if is_file {
            let settings = DecodeSettings { size, ..settings.clone() };
            if let Ok(decoded) = decode_image(bytes, &settings) {
                return Some(Self { size, pixels: decoded.pixels });
            }
        }
        // Pixels may begin as a file does, of which the rest is then damaged.
        let side = (bytes.len() / 3).isqrt();
        let is_square = side > 0 && side * side * 3 == bytes.len();
        let side = side as u32;
        let is_pixels = side == settings.size || (side >= SMALLEST_PX && !is_file);
        (is_square && is_pixels).then(|| Self { size: side, pixels: bytes.to_vec() })
    }

    fn resized(self, size: u32, settings: &DecodeSettings) -> Option<Self> {
        if self.size == size {
            return Some(self);
        }
        let rgb = Rgb { width: self.size, height: self.size, pixels: self.pixels };
        Some(Self { size, pixels: resize_rgb(&rgb, size, settings.filter).ok()? })
    }

    fn png(&self) -> Option<Vec<u8>> {
        let mut file = Cursor::new(Vec::new());
        let encoder = PngEncoder::new(&mut file);
        encoder.write_image(&self.pixels, self.size, self.size, ExtendedColorType::Rgb8).ok()?;
        Some(file.into_inner())
    }

    fn data_uri(&self) -> Option<String> {
        let settings = DecodeSettings {
            size: self.size,
            codec: PixelCodec::Jpeg,
            jpeg_quality: THUMBNAIL_QUALITY,
            ..DecodeSettings::default()
        };
        let jpeg = encode_stored(&self.pixels, &settings).ok()?;
        Some(format!("data:image/jpeg;base64,{}", STANDARD.encode(jpeg)))
    }
}

/// The thumbnail of a square of `size` pixels a side, `[size, size, 3]` u8: a JPEG as a data URI; none if it is no such square.
pub fn thumbnail(pixels: &[u8], size: u32) -> Option<String> {
    let square = Square { size, pixels: pixels.to_vec() };
    square.resized(THUMBNAIL_PX, &DecodeSettings::default())?.data_uri()
}

/// The same of a picture, which is a file of any format or the pixels of a square; none if it is neither.
pub fn thumbnail_of(picture: &[u8], settings: &DecodeSettings) -> Option<String> {
    let square = Square::of(picture, THUMBNAIL_PX, settings)?;
    square.resized(THUMBNAIL_PX, settings)?.data_uri()
}

/// All of them, by the settings of `decode`.
pub(crate) fn picture_udfs(settings: &DecodeSettings) -> [ScalarUDF; 6] {
    let with = || settings.clone();
    let (of_dhash, of_png, of_thumbnail, of_resize) = (with(), with(), with(), with());
    [
        of_bytes("image_format", DataType::Utf8, |files| {
            Ok(Arc::new(files.map(|file| file.and_then(format)).collect::<StringArray>()))
        }),
        of_bytes("dhash", DataType::Int64, move |pictures| {
            let hash = |picture: &[u8]| {
                let square = Square::of(picture, of_dhash.size, &of_dhash)?;
                Some(tuwen_image::dhash(&square.pixels, square.size as usize))
            };
            Ok(Arc::new(pictures.map(|picture| hash(picture?)).collect::<Int64Array>()))
        }),
        of_bytes("to_png", DataType::Binary, move |pictures| {
            let png = |picture: &[u8]| Square::of(picture, of_png.size, &of_png)?.png();
            Ok(Arc::new(column("to_png", pictures.map(|picture| Ok(picture.and_then(png))))?))
        }),
        of_bytes("thumbnail", DataType::Utf8, move |pictures| {
            let uri = |picture: &[u8]| thumbnail_of(picture, &of_thumbnail);
            Ok(Arc::new(pictures.map(|picture| uri(picture?)).collect::<StringArray>()))
        }),
        hamming_udf(),
        resize_udf(of_resize),
    ]
}

/// A function of one binary column.
fn of_bytes(
    name: &str,
    returns: DataType,
    kernel: impl Fn(arrow::array::ArrayIter<&BinaryArray>) -> Result<ArrayRef> + Send + Sync + 'static,
) -> ScalarUDF {
    create_udf(
        name,
        vec![DataType::Binary],
        returns,
        Volatility::Immutable,
        Arc::new(move |args| {
            let arrays = ColumnarValue::values_to_arrays(args)?;
            Ok(ColumnarValue::Array(kernel(arrays[0].as_binary::<i32>().iter())?))
        }),
    )
}

/// The pictures that `function` makes of one batch, as a column.
///
/// # Errors
/// They take more than [`MOST_BYTES`], or one of them is an error.
fn column(
    function: &str,
    pictures: impl Iterator<Item = Result<Option<Vec<u8>>>>,
) -> Result<BinaryArray> {
    let mut column = BinaryBuilder::new();
    for picture in pictures {
        let picture = picture?;
        let n_bytes = column.values_slice().len() + picture.as_ref().map_or(0, Vec::len);
        if n_bytes > MOST_BYTES {
            let error = format!("{function}: the pictures of one batch take more than 1 GiB");
            let hint = "smaller ones need less, and so does a limit in a subquery";
            return Err(QueryError::new(error).hint(hint).into());
        }
        column.append_option(picture);
    }
    Ok(column.finish())
}

/// As in `images.format`: the media type without what is the same in all.
fn format(file: &[u8]) -> Option<String> {
    let media_type = media_type(file)?;
    let name = media_type.rsplit('/').next()?.trim_start_matches("x-");
    Some(match name {
        "icon" => "ico".to_owned(),
        "targa" => "tga".to_owned(),
        "portable-anymap" => "pnm".to_owned(),
        name => name.trim_end_matches("+xml").to_owned(),
    })
}

fn hamming_udf() -> ScalarUDF {
    create_udf(
        "hamming",
        vec![DataType::Int64; 2],
        DataType::Int64,
        Volatility::Immutable,
        Arc::new(|args| {
            let arrays = ColumnarValue::values_to_arrays(args)?;
            let [a, b] = [0, 1].map(|i| arrays[i].as_primitive::<Int64Type>());
            let distances = hamming(a.values(), b.values());
            let nulls = NullBuffer::union(a.nulls(), b.nulls());
            Ok(ColumnarValue::Array(Arc::new(Int64Array::new(distances.into(), nulls))))
        }),
    )
}

fn resize_udf(settings: DecodeSettings) -> ScalarUDF {
    create_udf(
        "resize",
        vec![DataType::Binary, DataType::Int64],
        DataType::Binary,
        Volatility::Immutable,
        Arc::new(move |args| {
            let arrays = ColumnarValue::values_to_arrays(args)?;
            let pictures = arrays[0].as_binary::<i32>();
            let sizes = arrays[1].as_primitive::<Int64Type>();
            let resized = |row: usize| -> Result<Option<Vec<u8>>> {
                if pictures.is_null(row) || sizes.is_null(row) {
                    return Ok(None);
                }
                let size = sizes.value(row);
                if !(1..=LARGEST_PX).contains(&size) {
                    let error =
                        format!("resize: expected a size of 1 to {LARGEST_PX}, found {size}");
                    return Err(QueryError::new(error).into());
                }
                let size = size as u32;
                let square = Square::of(pictures.value(row), size, &settings);
                let square = square.and_then(|square| square.resized(size, &settings));
                Ok(square.map(|square| square.pixels))
            };
            let resized = column("resize", (0..pictures.len()).map(resized))?;
            Ok(ColumnarValue::Array(Arc::new(resized)))
        }),
    )
}
