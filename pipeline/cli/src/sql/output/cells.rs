//! Values as text. In: a batch. Out: a cell for each of its values, none for NULL; bytes in hexadecimal or by their number, also
//! within structs and lists.

use std::borrow::Cow;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{
    Array, ArrayRef, AsArray, GenericListArray, MapArray, OffsetSizeTrait, RecordBatch,
    StringArray, StructArray,
};
use arrow::compute::cast;
use arrow::compute::kernels::length::length;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Int64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// How bytes are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bytes {
    /// In hexadecimal.
    Hex,
    /// `<150528 bytes>`.
    Number,
}

/// The values of a column as text.
enum Column<'a> {
    /// They are texts.
    Text(&'a StringArray),
    /// As arrow shows them.
    Shown(ArrayFormatter<'a>),
}

impl Column<'_> {
    fn cell(&self, row: usize) -> Result<Cow<'_, str>> {
        Ok(match self {
            Self::Text(texts) => texts.value(row).into(),
            Self::Shown(values) => values.value(row).try_to_string()?.into(),
        })
    }
}

/// Calls `row` with the cells of each row of `batch`.
pub(crate) fn for_each_row(
    batch: &RecordBatch,
    bytes: Bytes,
    mut row: impl FnMut(&[Option<Cow<'_, str>>]) -> Result<()>,
) -> Result<()> {
    // NULL is that of a list with nulls in it; a value that cannot be shown is an error, not the text of a cell.
    let options = FormatOptions::default().with_null("NULL").with_display_error(false);
    let shown: Vec<ArrayRef> = match bytes {
        Bytes::Hex => batch.columns().to_vec(),
        Bytes::Number => batch.columns().iter().map(by_number).collect::<Result<_>>()?,
    };
    let columns: Vec<Column<'_>> = shown
        .iter()
        .map(|column| {
            Ok(match column.as_string_opt::<i32>() {
                Some(texts) => Column::Text(texts),
                None => Column::Shown(ArrayFormatter::try_new(column, &options)?),
            })
        })
        .collect::<Result<_>>()?;
    let nulls: Vec<_> = shown.iter().map(|column| column.logical_nulls()).collect();
    let mut cells = Vec::with_capacity(columns.len());
    for i in 0..batch.num_rows() {
        cells.clear();
        for (column, nulls) in columns.iter().zip(&nulls) {
            let is_null = nulls.as_ref().is_some_and(|nulls| nulls.is_null(i));
            cells.push(if is_null { None } else { Some(column.cell(i)?) });
        }
        row(&cells)?;
    }
    Ok(())
}

/// `values` with the number of bytes, as text, in the place of each binary value, however deep it lies.
fn by_number(values: &ArrayRef) -> Result<ArrayRef> {
    if !holds_bytes(values.data_type()) {
        return Ok(ArrayRef::clone(values));
    }
    Ok(match values.data_type() {
        data_type if data_type.is_binary() => {
            let lengths = cast(&length(values)?, &DataType::Int64)?;
            let lengths = lengths.as_primitive::<Int64Type>().iter();
            let texts = lengths.map(|n| n.map(|n| format!("<{n} bytes>")));
            Arc::new(texts.collect::<StringArray>())
        }
        DataType::Struct(_) => Arc::new(struct_by_number(values.as_struct())?),
        DataType::List(field) => list_by_number::<i32>(field, values)?,
        DataType::LargeList(field) => list_by_number::<i64>(field, values)?,
        DataType::Map(field, is_sorted) => {
            let map = values.as_map();
            let entries = struct_by_number(map.entries())?;
            let field = Arc::new(Field::clone(field).with_data_type(entries.data_type().clone()));
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            Arc::new(MapArray::try_new(field, offsets, entries, nulls, *is_sorted)?)
        }
        _ => ArrayRef::clone(values),
    })
}

/// Whether [`by_number`] finds bytes in it.
fn holds_bytes(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(fields) => fields.iter().any(|field| holds_bytes(field.data_type())),
        DataType::List(field) | DataType::LargeList(field) | DataType::Map(field, _) => {
            holds_bytes(field.data_type())
        }
        data_type => data_type.is_binary(),
    }
}

fn struct_by_number(values: &StructArray) -> Result<StructArray> {
    let columns = values.columns().iter().map(by_number).collect::<Result<Vec<_>>>()?;
    let fields = values.fields().iter().zip(&columns);
    let fields: Fields = fields.map(|(field, column)| field_of(field, column)).collect();
    let nulls = values.nulls().cloned();
    Ok(StructArray::try_new_with_length(fields, columns, nulls, values.len())?)
}

fn list_by_number<O: OffsetSizeTrait>(field: &FieldRef, values: &ArrayRef) -> Result<ArrayRef> {
    let list = values.as_list::<O>();
    let inner = by_number(list.values())?;
    let field = field_of(field, &inner);
    let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
    Ok(Arc::new(GenericListArray::try_new(field, offsets, inner, nulls)?))
}

/// `field` of the type that `values` have.
fn field_of(field: &FieldRef, values: &ArrayRef) -> FieldRef {
    Arc::new(Field::clone(field).with_data_type(values.data_type().clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::prelude::SessionContext;

    #[tokio::test]
    async fn bytes_are_shown_by_their_number_however_deep_they_lie() {
        for (value, expected) in [
            ("x'00ff'", "<2 bytes>"),
            ("cast(null as bytea)", "NULL"),
            ("named_struct('b', x'00', 't', '图')", "{b: <1 bytes>, t: 图}"),
            ("make_array(x'00', cast(null as bytea), x'')", "[<1 bytes>, NULL, <0 bytes>]"),
            ("map(['k'], [named_struct('b', [x'0000'])])", "{k: {b: [<2 bytes>]}}"),
            ("named_struct('n', 1, 'l', make_array(2, null))", "{n: 1, l: [2, NULL]}"),
        ] {
            let rows = SessionContext::new().sql(&format!("select {value} as v")).await.unwrap();
            let batch = rows.collect().await.unwrap().remove(0);
            let mut found = Vec::new();
            for_each_row(&batch, Bytes::Number, |cells| {
                found.push(cells[0].as_deref().unwrap_or("NULL").to_owned());
                Ok(())
            })
            .unwrap();
            assert_eq!(found, [expected], "{value}");
        }
    }
}
