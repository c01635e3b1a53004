//! `n_chars(text)` and `cjk_ratio(text)`.

use std::sync::Arc;

use arrow::array::{AsArray, Float64Array, Int64Array};
use arrow::datatypes::DataType;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use tuwen_caption::cjk_ratio;

/// Both.
pub(super) fn text_udfs() -> [ScalarUDF; 2] {
    let n_chars = create_udf(
        "n_chars",
        vec![DataType::Utf8],
        DataType::Int64,
        Volatility::Immutable,
        Arc::new(|args| {
            let arrays = ColumnarValue::values_to_arrays(args)?;
            let texts = arrays[0].as_string::<i32>().iter();
            let counts = texts.map(|text| text.map(|text| text.chars().count() as i64));
            Ok(ColumnarValue::Array(Arc::new(counts.collect::<Int64Array>())))
        }),
    );
    let cjk_ratio = create_udf(
        "cjk_ratio",
        vec![DataType::Utf8],
        DataType::Float64,
        Volatility::Immutable,
        Arc::new(|args| {
            let arrays = ColumnarValue::values_to_arrays(args)?;
            let ratios = arrays[0].as_string::<i32>().iter().map(|text| text.map(cjk_ratio));
            Ok(ColumnarValue::Array(Arc::new(ratios.collect::<Float64Array>())))
        }),
    );
    [n_chars, cjk_ratio]
}
