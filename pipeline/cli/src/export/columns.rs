//! The columns of an export. In: rows of sql/export_rows.sql with their pictures. Out: the batch that Parquet has, each column with its
//! comment; what Hugging Face's `datasets` wants to know of it. The picture is the last column but one, its hash the last.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, BinaryArray, RecordBatch, StringArray, StructArray};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use serde_json::{Map, Value, json};
use tuwen_schemas::COMMENT;

use super::options::{Format, Pictures};
use super::picture::Picture;

/// The column of pictures.
pub(crate) const IMAGE: &str = "image";

/// The column of their hashes.
pub(crate) const SHA256: &str = "sha256";

/// Columns in their order; of most, where in schemas/ they are told of.
pub(crate) const COLUMNS: [(&str, &str); 14] = [
    ("example_id", "examples.example_id"),
    ("image_id", "examples.image_id"),
    ("split", "examples.split"),
    ("text", "examples.text"),
    ("raw_text", "pairs.text"),
    ("url", "pairs.url"),
    ("filename", "pairs.filename"),
    ("source", "pairs.source"),
    ("source_line", "pairs.source_line"),
    ("width", "images.width"),
    ("height", "images.height"),
    ("format", "images.format"),
    ("n_tokens", "examples.n_tokens"),
    (SHA256, ""),
];

/// What a column means.
pub(crate) fn comment(name: &str, pictures: Pictures) -> String {
    let of = COLUMNS.iter().find(|(column, _)| *column == name).map_or("", |(_, of)| of);
    if let Some((table, column)) = of.split_once('.') {
        let schema = tuwen_schemas::schema(table);
        let field = schema.field_with_name(column).ok();
        return field.and_then(|field| field.metadata().get(COMMENT).cloned()).unwrap_or_default();
    }
    match (name, pictures) {
        (SHA256, _) => "SHA-256 of the picture file in this export, hex".to_owned(),
        (_, Pictures::Original) => "the picture file as it was fetched, unchanged".to_owned(),
        (_, Pictures::Decoded) => "the decoded square, RGB, as lossless PNG".to_owned(),
    }
}

/// How batches of an export are made.
pub(crate) struct Layout {
    schema: SchemaRef,
    format: Format,
}

impl Layout {
    /// The columns called `names`, all if there are none, of rows of the schema `rows`.
    pub(crate) fn new(
        format: Format,
        pictures: Pictures,
        names: &[String],
        rows: &Schema,
    ) -> Result<Self> {
        let mut fields = Vec::new();
        for (name, _) in COLUMNS {
            if !names.is_empty() && !names.iter().any(|asked| asked == name) {
                continue;
            }
            // The split of a data set of the hub is not a column of it.
            if format == Format::Huggingface && name == "split" && names.is_empty() {
                continue;
            }
            let data_type = match name {
                SHA256 => DataType::Utf8,
                name => rows.field_with_name(name)?.data_type().clone(),
            };
            fields.push(Field::new(name, data_type, true));
        }
        let image = match format {
            Format::Huggingface => DataType::Struct(image_fields()),
            _ => DataType::Binary,
        };
        fields.insert(0, Field::new(IMAGE, image, false));
        let with_comment = |field: Field| {
            let comment = comment(field.name(), pictures);
            field.with_metadata(HashMap::from([(COMMENT.to_owned(), comment)]))
        };
        let fields: Fields = fields.into_iter().map(with_comment).collect();
        Ok(Self { schema: Arc::new(Schema::new(fields)), format })
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// `rows` with their pictures.
    pub(crate) fn batch(&self, rows: &RecordBatch, pictures: &[Picture]) -> Result<RecordBatch> {
        let column = |field: &Arc<Field>| -> Result<ArrayRef> {
            Ok(match field.name().as_str() {
                IMAGE => self.images(rows, pictures)?,
                SHA256 => Arc::new(StringArray::from_iter_values(
                    pictures.iter().map(|picture| picture.sha256.as_str()),
                )),
                name => Arc::clone(rows.column_by_name(name).context("rows lack a column")?),
            })
        };
        let columns = self.schema.fields().iter().map(column).collect::<Result<_>>()?;
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    fn images(&self, rows: &RecordBatch, pictures: &[Picture]) -> Result<ArrayRef> {
        let bytes = pictures.iter().map(|picture| picture.file.as_slice());
        let bytes = Arc::new(BinaryArray::from_iter_values(bytes));
        if self.format != Format::Huggingface {
            return Ok(bytes);
        }
        let ids = text(rows, "image_id")?;
        let names = ids.iter().zip(pictures);
        let names = names.map(|(id, p)| format!("{}.{}", id.unwrap_or_default(), p.extension));
        let paths = Arc::new(StringArray::from_iter_values(names));
        Ok(Arc::new(StructArray::try_new(image_fields(), vec![bytes, paths], None)?))
    }

    /// `{"info": {"features": …}}`, by which `datasets` knows that a column is of pictures.
    pub(crate) fn features(&self) -> String {
        let features = self.schema.fields().iter().map(|field| {
            let feature = match dtype(field) {
                IMAGE => json!({"_type": "Image"}),
                dtype => json!({"dtype": dtype, "_type": "Value"}),
            };
            (field.name().clone(), feature)
        });
        let features: Map<String, Value> = features.collect();
        json!({"info": {"features": features}}).to_string()
    }
}

/// A column of text of sql/export_rows.sql.
pub(crate) fn text<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a StringArray> {
    let column = rows.column_by_name(name);
    let texts = column.and_then(|column| column.as_any().downcast_ref::<StringArray>());
    texts.with_context(|| format!("expected texts in the column `{name}` of an export's rows"))
}

/// The type of a column as `datasets` calls it.
pub(crate) fn dtype(field: &Field) -> &'static str {
    match field.data_type() {
        DataType::Struct(_) => IMAGE,
        DataType::Int32 => "int32",
        DataType::Int64 => "int64",
        DataType::Binary => "binary",
        _ => "string",
    }
}

fn image_fields() -> Fields {
    let bytes = Field::new("bytes", DataType::Binary, true);
    Fields::from(vec![bytes, Field::new("path", DataType::Utf8, true)])
}
