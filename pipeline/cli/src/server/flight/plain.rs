//! Rows as clients can read them. In: types and batches as DataFusion has them. Out: the same values in types that every client knows:
//! no views, no dictionaries, no runs, no decimals of fewer than 128 bits; each column has a name of its own.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use tuwen_schemas::COMMENT;

use crate::sql::output::unique;

/// The key under which Flight SQL has a column's comment.
const REMARKS: &str = "ARROW:FLIGHT:SQL:REMARKS";

/// The schema of rows that are sent. Any column may be null: what a plan says of that is not always so.
pub(super) fn plain_schema(schema: &SchemaRef) -> SchemaRef {
    let schema = unique(schema);
    let fields =
        schema.fields().iter().map(|field| remarked(&plain_field(field)).with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The columns of a table, with what each means as clients look for it.
pub(super) fn remarked_schema(schema: &Schema) -> Schema {
    Schema::new(schema.fields().iter().map(|field| remarked(field)).collect::<Vec<_>>())
}

fn remarked(field: &Field) -> Field {
    let mut metadata = field.metadata().clone();
    if let Some(comment) = metadata.get(COMMENT).cloned() {
        metadata.insert(REMARKS.to_owned(), comment);
    }
    field.clone().with_metadata(metadata)
}

/// The rows of `batch` under `schema`, which is the plain one of its own.
///
/// # Errors
/// A value does not fit the plain type, such as texts of more than 2 GiB together.
pub(super) fn plain_batch(
    batch: &RecordBatch,
    schema: &SchemaRef,
) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| match column.data_type() == field.data_type() {
        true => Ok(Arc::clone(column)),
        false => cast(column, field.data_type()),
    });
    let columns = columns.collect::<Result<Vec<ArrayRef>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

fn plain_field(field: &FieldRef) -> Field {
    Field::clone(field).with_data_type(plain_type(field.data_type()))
}

fn plain_type(data_type: &DataType) -> DataType {
    let plain = |field: &FieldRef| Arc::new(plain_field(field));
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, values) => plain_type(values),
        DataType::RunEndEncoded(_, values) => plain_type(values.data_type()),
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::List(item) | DataType::ListView(item) => DataType::List(plain(item)),
        DataType::LargeList(item) | DataType::LargeListView(item) => {
            DataType::LargeList(plain(item))
        }
        DataType::FixedSizeList(item, n) => DataType::FixedSizeList(plain(item), *n),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain).collect()),
        DataType::Map(entries, sorted) => DataType::Map(plain(entries), *sorted),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, DictionaryArray, ListArray, StringViewArray};
    use arrow::datatypes::{Int8Type, Int32Type};

    #[test]
    fn views_and_dictionaries_become_plain() {
        let views: ArrayRef = Arc::new(StringViewArray::from(vec![Some("图"), None]));
        let words: ArrayRef = Arc::new(DictionaryArray::<Int8Type>::from_iter(["a", "a"]));
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([
            Some(vec![Some(1)]),
            None,
        ]));
        let columns = [("a", views), ("a", words), ("list", Arc::clone(&lists))];
        let columns = columns.map(|(name, column)| (name, column, true));
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        let schema = plain_schema(&batch.schema());
        let plain = plain_batch(&batch, &schema).unwrap();
        let types: Vec<&DataType> =
            plain.columns().iter().map(|column| column.data_type()).collect();
        assert_eq!(types, [&DataType::Utf8, &DataType::Utf8, lists.data_type()]);
        assert_eq!(schema.field(1).name(), "a_2");
        assert!(plain.column(0).is_null(1));
    }
}
