//! Near-identical images for SQL. In: images that others are compared with. Out: a function `(thumb, look) -> boolean` that says
//! whether one of them is near, and one of the thumbnail alone; the functions `hash_distance`, `thumb_distance` and `near_difference` for
//! people.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use datafusion::prelude::DataFrame;
use futures::TryStreamExt;

use tuwen_image::{Look, NearIndex, Row, Thumb, near_difference, near_groups};

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
        push_rows(&mut rows, batch.column(0), batch.column(1))?;
    }
    Ok(NearIndex::new(limit, rows))
}

fn push_rows(rows: &mut Vec<Row>, thumbs: &ArrayRef, looks: &ArrayRef) -> Result<()> {
    for (thumb, look) in thumbs.as_binary::<i32>().iter().zip(looks.as_binary::<i32>()) {
        let Some(thumb) = thumb else { continue };
        let thumb: &Thumb = checked("thumb", thumb).map_err(anyhow::Error::msg)?;
        let look: Option<&Look> =
            look.map(|look| checked("look", look)).transpose().map_err(anyhow::Error::msg)?;
        rows.push((*thumb, look.map(|look| Box::new(*look))));
    }
    Ok(())
}

/// The groups of the rows of `images`, which are (image_id, thumb, look) in the order of their ids and have thumbnails, as
/// [`grouped_of`] has them. Memory as [`collect`].
///
/// # Errors
/// As [`collect`].
pub(super) async fn grouped(limit: f64, images: DataFrame) -> Result<RecordBatch> {
    let (mut ids, mut rows) = (Vec::new(), Vec::new());
    let mut stream = images.execute_stream().await?;
    while let Some(batch) = stream.try_next().await? {
        let column = batch.column(0).as_string::<i32>();
        ids.extend(column.iter().map(|id| id.unwrap_or_default().to_owned()));
        push_rows(&mut rows, batch.column(1), batch.column(2))?;
    }
    let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
    let groups = tokio::task::spawn_blocking(move || near_groups(limit, rows, n_threads)).await?;
    grouped_of(&ids, &groups)
}

/// A table (image_id, near_group) of the images that have near ones: `groups` has the place of the first of each one's group.
pub(super) fn grouped_of(ids: &[String], groups: &[u32]) -> Result<RecordBatch> {
    let mut sizes = vec![0_u32; groups.len()];
    groups.iter().for_each(|group| sizes[*group as usize] += 1);
    let several = || ids.iter().zip(groups).filter(|(_, group)| sizes[**group as usize] > 1);
    let images: StringArray = several().map(|(id, _)| Some(id.as_str())).collect();
    let firsts: StringArray =
        several().map(|(_, group)| Some(ids[*group as usize].as_str())).collect();
    let columns: [(&str, ArrayRef); 2] =
        [("image_id", Arc::new(images)), ("near_group", Arc::new(firsts))];
    let schema = Schema::new(
        columns.each_ref().map(|(name, _)| Field::new(*name, DataType::Utf8, true)).to_vec(),
    );
    Ok(RecordBatch::try_new(Arc::new(schema), columns.map(|(_, column)| column).to_vec())?)
}

fn checked<'a, const N: usize>(column: &str, bytes: &'a [u8]) -> Result<&'a [u8; N], String> {
    let n_bytes = bytes.len();
    bytes.try_into().map_err(|_| {
        format!("images.{column}: expected {N} bytes, found {n_bytes}\nhint: tuwen verify")
    })
}

/// Where a function gets its index.
pub(super) type Index = Arc<dyn Fn() -> Result<Arc<NearIndex>, DataFusionError> + Send + Sync>;

/// `NAME(thumb, look) -> boolean`: whether an image of `index` is near; false for nulls, but a look may be null.
pub(super) fn near_udf(name: &str, index: Index) -> ScalarUDF {
    create_udf(
        name,
        vec![DataType::Binary; 2],
        DataType::Boolean,
        Volatility::Immutable,
        Arc::new(move |args| {
            let index = index()?;
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
pub(super) fn near_thumb_udf(name: &str, index: Index) -> ScalarUDF {
    create_udf(
        name,
        vec![DataType::Binary],
        DataType::Boolean,
        Volatility::Immutable,
        Arc::new(move |args| {
            let index = index()?;
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
