//! Keys to join and group by, in 16 bytes instead of a text. In: locators, captions, ids. Out: numbers of 128 bits, by two functions of
//! SQL. They are not for printing: some have more digits than the type says.

use std::sync::Arc;

use arrow::array::{AsArray, Decimal128Array};
use arrow::datatypes::DataType;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};

use crate::id::id_of;

/// `id128(varchar) -> decimal(38, 0)`: the first 128 bits of the SHA-256 of any text.
pub(crate) fn id128_udf() -> ScalarUDF {
    key_udf("id128", of_text)
}

/// `id_key(varchar) -> decimal(38, 0)`: the number that an id of 32 hexadecimal digits is. Another text, which is none of ours, has the
/// key that `id128` gives; so a text that somebody else has chosen must not come here.
pub(crate) fn id_key_udf() -> ScalarUDF {
    key_udf("id_key", key_of_id)
}

fn key_udf(name: &str, key: fn(&str) -> i128) -> ScalarUDF {
    let number = DataType::Decimal128(38, 0);
    create_udf(
        name,
        vec![DataType::Utf8],
        number.clone(),
        Volatility::Immutable,
        Arc::new(move |args| {
            let arrays = ColumnarValue::values_to_arrays(args)?;
            let keys = arrays[0].as_string::<i32>().iter().map(|text| text.map(key));
            let keys = keys.collect::<Decimal128Array>().with_data_type(number.clone());
            Ok(ColumnarValue::Array(Arc::new(keys)))
        }),
    )
}

fn of_text(text: &str) -> i128 {
    i128::from_le_bytes(id_of(text.as_bytes()))
}

/// The number that `id_key` gives for `id`.
pub(crate) fn key_of_id(id: &str) -> i128 {
    // `from_str_radix` takes a sign as well.
    let digits = Some(id).filter(|id| id.len() == 32 && id.as_bytes()[0].is_ascii_hexdigit());
    let number = digits.and_then(|digits| u128::from_str_radix(digits, 16).ok());
    number.map_or_else(|| of_text(id), u128::cast_signed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_its_own_key_and_another_text_has_that_of_its_hash() {
        assert_eq!(key_of_id("000000000000000000000000000000ff"), 255);
        assert_eq!(key_of_id("ffffffffffffffffffffffffffffffff"), -1);
        for text in
            ["", "图", "+0000000000000000000000000000000", "00", "g0000000000000000000000000000000"]
        {
            assert_eq!(key_of_id(text), of_text(text));
        }
    }
}
