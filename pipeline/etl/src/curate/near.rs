//! Near-identical images for SQL. In: images that others are compared with. Out: a function `(dhash, thumb) -> boolean` that says
//! whether one of them is near, and one of the hash alone; the functions `hash_distance` and `thumb_distance` for people.

use std::sync::Arc;

use anyhow::{Result, bail};
use arrow::array::{ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use datafusion::prelude::DataFrame;
use futures::TryStreamExt;

use tuwen_image::{NearIndex, THUMB_BYTES, Thumb};

/// Bits in which two hashes differ.
pub fn hash_distance(a: i64, b: i64) -> u32 {
    (a ^ b).count_ones()
}

/// Mean absolute difference of two thumbnails, in levels of 255.
pub fn thumb_distance(a: &[u8], b: &[u8]) -> f64 {
    let sum: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.len().max(1) as f64
}

/// The index of the rows of `images`, which are (dhash, thumb). Memory: some 250 bytes a row.
///
/// # Errors
/// The rows cannot be computed, or a thumbnail is none.
pub(super) async fn collect(
    near_bits: u32,
    near_levels: f64,
    images: DataFrame,
) -> Result<NearIndex> {
    let mut stream = images.execute_stream().await?;
    let mut rows = Vec::new();
    while let Some(batch) = stream.try_next().await? {
        let hashes = batch.column(0).as_primitive::<Int64Type>();
        let thumbs = batch.column(1).as_binary::<i32>();
        for (hash, thumb) in hashes.iter().zip(thumbs) {
            let (Some(hash), Some(thumb)) = (hash, thumb) else { continue };
            match checked(thumb) {
                Ok(thumb) => rows.push((hash, *thumb)),
                Err(found) => bail!(found),
            }
        }
    }
    Ok(NearIndex::new(near_bits, near_levels, rows))
}

fn checked(thumb: &[u8]) -> Result<&Thumb, String> {
    let n_bytes = thumb.len();
    thumb.try_into().map_err(|_| {
        format!("images.thumb: expected {THUMB_BYTES} bytes, found {n_bytes}\nhint: tuwen verify")
    })
}

/// `NAME(dhash, thumb) -> boolean`: whether an image of `index` is near; false for nulls.
pub(super) fn near_udf(name: &str, index: Arc<NearIndex>) -> ScalarUDF {
    create_udf(
        name,
        vec![DataType::Int64, DataType::Binary],
        DataType::Boolean,
        Volatility::Immutable,
        Arc::new(move |args| {
            let arrays = ColumnarValue::values_to_arrays(args)?;
            let hashes = arrays[0].as_primitive::<Int64Type>().iter();
            let thumbs = arrays[1].as_binary::<i32>().iter();
            let near = hashes.zip(thumbs).map(|row| match row {
                (Some(hash), Some(thumb)) => {
                    let thumb = checked(thumb).map_err(DataFusionError::Execution)?;
                    Ok(Some(index.any(hash, thumb)))
                }
                _ => Ok(Some(false)),
            });
            let near: BooleanArray = near.collect::<datafusion::common::Result<_>>()?;
            Ok(ColumnarValue::Array(Arc::new(near)))
        }),
    )
}

/// `NAME(dhash) -> boolean`: whether an image of `index` has a near hash; false for nulls.
pub(super) fn near_hash_udf(name: &str, index: Arc<NearIndex>) -> ScalarUDF {
    create_udf(
        name,
        vec![DataType::Int64],
        DataType::Boolean,
        Volatility::Immutable,
        Arc::new(move |args| {
            over_rows(args, |arrays| {
                let hashes = arrays[0].as_primitive::<Int64Type>().iter();
                let near = hashes.map(|hash| Some(hash.is_some_and(|hash| index.any_hash(hash))));
                Arc::new(near.collect::<BooleanArray>())
            })
        }),
    )
}

/// The functions for people.
pub fn distance_udfs() -> [ScalarUDF; 2] {
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
                    Arc::new(distances.collect::<Int64Array>())
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
                    Arc::new(distances.collect::<Float64Array>())
                })
            }),
        ),
    ]
}

fn over_rows(
    args: &[ColumnarValue],
    kernel: impl Fn(&[ArrayRef]) -> ArrayRef,
) -> datafusion::common::Result<ColumnarValue> {
    let arrays = ColumnarValue::values_to_arrays(args)?;
    Ok(ColumnarValue::Array(kernel(&arrays)))
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
