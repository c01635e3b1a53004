//! Functions on texts for SQL: `clean_caption(varchar)`, `id128(varchar)`.

use std::sync::Arc;

use arrow::array::{AsArray, Decimal128Array, StringArray};
use arrow::datatypes::DataType;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use tuwen_corpus::id::id_of;

use crate::curate::clean_caption;

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

/// `id128(varchar) -> decimal(38, 0)`: the first 128 bits of the SHA-256, as a number to join and group by in 16 bytes. It is
/// not for printing: some have more than 38 digits.
pub fn id128_udf() -> ScalarUDF {
    let number = DataType::Decimal128(38, 0);
    create_udf(
        "id128",
        vec![DataType::Utf8],
        number.clone(),
        Volatility::Immutable,
        Arc::new(move |args| {
            let arrays = ColumnarValue::values_to_arrays(args)?;
            let texts = arrays[0].as_string::<i32>().iter();
            let ids =
                texts.map(|text| text.map(|text| i128::from_le_bytes(id_of(text.as_bytes()))));
            let ids = ids.collect::<Decimal128Array>().with_data_type(number.clone());
            Ok(ColumnarValue::Array(Arc::new(ids)))
        }),
    )
}
