//! Near-identical images for SQL. In: images that others are compared with. Out: a function `(thumb, look) -> boolean` that says
//! whether one of them is near, and one of the thumbnail alone; the functions `hash_distance`, `thumb_distance` and `near_difference` for
//! people.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use datafusion::prelude::DataFrame;
use futures::TryStreamExt;

use tuwen_image::{Look, NearIndex, Thumb, near_difference};

/// Bits in which two hashes differ.
pub fn hash_distance(a: i64, b: i64) -> u32 {
    (a ^ b).count_ones()
}

/// Mean absolute difference of two thumbnails, in levels of 255.
pub fn thumb_distance(a: &[u8], b: &[u8]) -> f64 {
    let sum: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.len().max(1) as f64
}

/// The index of the rows of `images`, which are (thumb, look). Memory: some 3 kB a row.
///
/// # Errors
/// The rows cannot be computed, or a thumbnail or a look is none.
pub(super) async fn collect(limit: f64, images: DataFrame) -> Result<NearIndex> {
    let mut stream = images.execute_stream().await?;
    let mut rows = Vec::new();
    while let Some(batch) = stream.try_next().await? {
        let [thumbs, looks] = [0, 1].map(|i| batch.column(i).as_binary::<i32>());
        for (thumb, look) in thumbs.iter().zip(looks) {
            let Some(thumb) = thumb else { continue };
            let thumb: &Thumb = checked("thumb", thumb).map_err(anyhow::Error::msg)?;
            let look: Option<&Look> =
                look.map(|look| checked("look", look)).transpose().map_err(anyhow::Error::msg)?;
            rows.push((*thumb, look.map(|look| Box::new(*look))));
        }
    }
    Ok(NearIndex::new(limit, rows))
}

fn checked<'a, const N: usize>(column: &str, bytes: &'a [u8]) -> Result<&'a [u8; N], String> {
    let n_bytes = bytes.len();
    bytes.try_into().map_err(|_| {
        format!("images.{column}: expected {N} bytes, found {n_bytes}\nhint: tuwen verify")
    })
}

/// `NAME(thumb, look) -> boolean`: whether an image of `index` is near; false for nulls, but a look may be null.
pub(super) fn near_udf(name: &str, index: Arc<NearIndex>) -> ScalarUDF {
    create_udf(
        name,
        vec![DataType::Binary; 2],
        DataType::Boolean,
        Volatility::Immutable,
        Arc::new(move |args| {
            over_rows(args, |arrays| {
                let [thumbs, looks] = [0, 1].map(|i| arrays[i].as_binary::<i32>());
                let near = thumbs.iter().zip(looks).map(|(thumb, look)| -> Result<bool, String> {
                    let Some(thumb) = thumb else { return Ok(false) };
                    let look = look.map(|look| checked("look", look)).transpose()?;
                    Ok(index.any(checked("thumb", thumb)?, look))
                });
                Ok(Arc::new(booleans(near)?))
            })
        }),
    )
}

/// `NAME(thumb) -> boolean`: whether an image of `index` may be near, whatever the looks are; false for nulls.
pub(super) fn near_thumb_udf(name: &str, index: Arc<NearIndex>) -> ScalarUDF {
    create_udf(
        name,
        vec![DataType::Binary],
        DataType::Boolean,
        Volatility::Immutable,
        Arc::new(move |args| {
            over_rows(args, |arrays| {
                let near =
                    arrays[0].as_binary::<i32>().iter().map(|thumb| -> Result<bool, String> {
                        let Some(thumb) = thumb else { return Ok(false) };
                        Ok(index.any_thumb(checked("thumb", thumb)?))
                    });
                Ok(Arc::new(booleans(near)?))
            })
        }),
    )
}

fn booleans(rows: impl Iterator<Item = Result<bool, String>>) -> Result<BooleanArray, String> {
    rows.map(|row| row.map(Some)).collect()
}

/// The functions for people.
pub fn distance_udfs() -> [ScalarUDF; 3] {
    [
        create_udf(
            "hash_distance",
            vec![DataType::Int64; 2],
            DataType::Int64,
            Volatility::Immutable,
            Arc::new(|args| {
                over_rows(args, |arrays| {
                    let [a, b] = [0, 1].map(|i| arrays[i].as_primitive::<Int64Type>());
                    let distances =
                        a.iter().zip(b).map(|(a, b)| Some(i64::from(hash_distance(a?, b?))));
                    Ok(Arc::new(distances.collect::<Int64Array>()))
                })
            }),
        ),
        create_udf(
            "thumb_distance",
            vec![DataType::Binary; 2],
            DataType::Float64,
            Volatility::Immutable,
            Arc::new(|args| {
                over_rows(args, |arrays| {
                    let [a, b] = [0, 1].map(|i| arrays[i].as_binary::<i32>());
                    let distances = a.iter().zip(b).map(|(a, b)| Some(thumb_distance(a?, b?)));
                    Ok(Arc::new(distances.collect::<Float64Array>()))
                })
            }),
        ),
        create_udf(
            "near_difference",
            vec![DataType::Binary; 4],
            DataType::Float64,
            Volatility::Immutable,
            Arc::new(|args| over_rows(args, |arrays| Ok(Arc::new(differences(arrays)?)))),
        ),
    ]
}

/// `near_difference(thumb, look, thumb, look) -> double`: what `curate.near_difference` limits; null if the thumbnails show that the
/// images are not near.
fn differences(arrays: &[ArrayRef]) -> Result<Float64Array, String> {
    let columns = [0, 1, 2, 3].map(|i| arrays[i].as_binary::<i32>());
    let n_rows = columns[0].len();
    let value =
        |column: usize, row| columns[column].is_valid(row).then(|| columns[column].value(row));
    let image = |column: usize, row| -> Result<Option<(&Thumb, Option<&Look>)>, String> {
        let Some(thumb) = value(column, row) else { return Ok(None) };
        let look = value(column + 1, row).map(|look| checked("look", look)).transpose()?;
        Ok(Some((checked("thumb", thumb)?, look)))
    };
    let difference = |row| -> Result<Option<f64>, String> {
        let (Some(a), Some(b)) = (image(0, row)?, image(2, row)?) else { return Ok(None) };
        Ok(near_difference(a, b).map(f64::from))
    };
    (0..n_rows).map(difference).collect()
}

/// Calls `kernel` with the arguments as arrays of the batch's length.
fn over_rows(
    args: &[ColumnarValue],
    kernel: impl Fn(&[ArrayRef]) -> Result<ArrayRef, String>,
) -> datafusion::common::Result<ColumnarValue> {
    let arrays = ColumnarValue::values_to_arrays(args)?;
    Ok(ColumnarValue::Array(kernel(&arrays).map_err(DataFusionError::Execution)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thumbs() {
        for (a, b, expected) in [([0u8, 10, 255], [0u8, 10, 255], 0.0), ([0, 0, 0], [3, 6, 0], 3.0)]
        {
            assert_eq!(thumb_distance(&a, &b), expected);
        }
    }
}
