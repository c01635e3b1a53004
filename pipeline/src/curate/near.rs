//! Near-identical images. In: difference hashes and thumbnails. Out: keys to join on, distances to judge by; as SQL
//! functions `near_keys`, `hash_distance`, `thumb_distance`.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, Int64Builder, ListBuilder};
use arrow::datatypes::{DataType, Field, Int64Type};
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};

/// Bits of a quarter of a hash.
const QUARTER_BITS: u32 = 16;

/// Keys that near hashes share: the hash itself, and each quarter that tells something. A quarter of nearly all zeros or ones
/// is that of an even area, which a tenth of all pictures have.
pub fn near_keys(dhash: i64) -> Vec<i64> {
    let hash = dhash as u64;
    let quarters = (0..4u64).filter_map(|i| {
        let quarter = hash >> (i * u64::from(QUARTER_BITS)) & 0xffff;
        let ones = quarter.count_ones();
        (ones > 1 && ones < QUARTER_BITS - 1).then_some((i << QUARTER_BITS | quarter) as i64)
    });
    // A mixed whole hash is no quarter key: those are below 2^18.
    let whole = (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 << 62) as i64;
    quarters.chain([whole]).collect()
}

/// Bits in which two hashes differ.
pub fn hash_distance(a: i64, b: i64) -> u32 {
    (a ^ b).count_ones()
}

/// Mean absolute difference of two thumbnails, in levels of 255.
pub fn thumb_distance(a: &[u8], b: &[u8]) -> f64 {
    let sum: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.len().max(1) as f64
}

/// The SQL functions.
pub fn near_udfs() -> [ScalarUDF; 3] {
    let keys = DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true)));
    let volatility = Volatility::Immutable;
    [
        create_udf(
            "near_keys",
            vec![DataType::Int64],
            keys,
            volatility,
            Arc::new(|args| {
                over_rows(args, |arrays| {
                    let mut lists = ListBuilder::new(Int64Builder::new());
                    for hash in arrays[0].as_primitive::<Int64Type>() {
                        lists.append_option(hash.map(|hash| near_keys(hash).into_iter().map(Some)));
                    }
                    Arc::new(lists.finish())
                })
            }),
        ),
        create_udf(
            "hash_distance",
            vec![DataType::Int64; 2],
            DataType::Int64,
            volatility,
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
            volatility,
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
) -> Result<ColumnarValue> {
    let arrays = ColumnarValue::values_to_arrays(args)?;
    Ok(ColumnarValue::Array(kernel(&arrays)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_three_bits_apart_share_a_key() {
        let hash = 0x1234_5678_9abc_def1_u64 as i64;
        for bits in [[0, 1, 2], [0, 16, 32], [15, 31, 63], [5, 20, 40]] {
            let near = bits.iter().fold(hash, |hash, bit| hash ^ (1 << bit));
            assert_eq!(hash_distance(hash, near), 3);
            let keys = near_keys(near);
            assert!(near_keys(hash).iter().any(|key| keys.contains(key)));
        }
    }

    #[test]
    fn even_quarters_are_no_keys() {
        assert_eq!(near_keys(0).len(), 1);
        assert_eq!(near_keys(-1).len(), 1);
        assert_eq!(near_keys(0x0001_fffe_0003_7fff).len(), 2);
    }

    #[test]
    fn thumbs() {
        for (a, b, expected) in [([0u8, 10, 255], [0u8, 10, 255], 0.0), ([0, 0, 0], [3, 6, 0], 3.0)]
        {
            assert_eq!(thumb_distance(&a, &b), expected);
        }
    }
}
