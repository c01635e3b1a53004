//! The function on texts for SQL: `clean_caption(varchar)`.

use std::sync::Arc;

use arrow::array::{AsArray, StringArray};
use arrow::datatypes::DataType;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};

use tuwen_caption::clean_caption;

/// `clean_caption(varchar) -> varchar`; see [`clean_caption`].
pub fn clean_caption_udf() -> ScalarUDF {
    create_udf(
        "clean_caption",
        vec![DataType::Utf8],
        DataType::Utf8,
        Volatility::Immutable,
        Arc::new(|args| {
            let arrays = ColumnarValue::values_to_arrays(args)?;
            let cleaned =
                arrays[0].as_string::<i32>().iter().map(|caption| caption.map(clean_caption));
            Ok(ColumnarValue::Array(Arc::new(cleaned.collect::<StringArray>())))
        }),
    )
}
