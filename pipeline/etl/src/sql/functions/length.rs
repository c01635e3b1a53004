//! `octet_length(value)`: bytes of a text, as DataFusion has it, and of a binary value, which it refuses.

use arrow::compute::cast;
use arrow::compute::kernels::length::length;
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// `octet_length(any) -> bigint`.
pub(super) fn octet_length_udf() -> ScalarUDF {
    ScalarUDF::new_from_impl(OctetLength { signature: Signature::any(1, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OctetLength {
    signature: Signature,
}

impl ScalarUDFImpl for OctetLength {
    fn name(&self) -> &str {
        "octet_length"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let values = args.args[0].to_array(args.number_rows)?;
        let is_bytes = values.data_type().is_binary() || values.data_type().is_string();
        let values = if is_bytes { values } else { cast(&values, &DataType::Utf8)? };
        Ok(ColumnarValue::Array(cast(&length(&values)?, &DataType::Int64)?))
    }
}
