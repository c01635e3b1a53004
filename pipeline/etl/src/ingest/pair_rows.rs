//! Rows of a source as rows of `pairs`. In: rows as they stand. Out: a batch with their ids. Never reads a file.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, Int64Builder, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use tuwen_corpus::id::{Id, hex, id_of};
use tuwen_schemas::schema;

use crate::ingest::clean_url::clean_url;
use crate::ingest::row::Row;
use crate::named_split::split_named;

/// The columns of `pairs`, and the id of a row whose content a source for another split had first.
fn incoming_schema() -> SchemaRef {
    let columns = schema("pairs").fields().iter().cloned().collect::<Vec<_>>();
    let split_pair_id = Arc::new(Field::new("split_pair_id", DataType::Utf8, false));
    Arc::new(Schema::new([columns, vec![split_pair_id]].concat()))
}

/// Rows of `pairs` being built.
#[derive(Default)]
pub(super) struct PairRows {
    pub(super) n_rows: u64,
    /// Bytes of their texts.
    pub(super) n_bytes: usize,
    texts: [StringBuilder; 8],
    lines: Int64Builder,
}

impl PairRows {
    /// `seen` counts how often each content stood in this source before.
    pub(super) fn push(&mut self, row: Row, source: &str, seen: &mut HashMap<Id, u32>) {
        let (fields, malformed) = match row.fields {
            Ok(fields) => (Some(fields), None),
            Err(wrong) => (None, Some(wrong)),
        };
        let text = fields.as_ref().map(|f| f.text.as_str());
        let url = fields.as_ref().and_then(|f| f.url.as_deref());
        let filename = fields.as_ref().and_then(|f| f.filename.as_deref());
        // 0x1f, the unit separator, keeps ("a", "b") and ("ab", "") apart.
        let content =
            [text, url, filename, malformed.as_deref()].map(Option::unwrap_or_default).join("\x1f");
        let nth = seen.entry(id_of(content.as_bytes())).or_default();
        let pair_id = hex(id_of(format!("{content}\x1f{nth}").as_bytes()));
        let named = split_named(source).map_or("", |split| split.name());
        let split_pair_id = hex(id_of(format!("{pair_id}\x1f{named}").as_bytes()));
        *nth += 1;
        // The seed's rule: "train" if the path contains it, else "test".
        let split = if filename.or(url).is_some_and(|name| name.contains("train")) {
            "train"
        } else {
            "test"
        };
        // What is fetched; the id is that of the row as it stands.
        let url = url.and_then(clean_url);
        let values = [
            Some(pair_id.as_str()),
            text,
            url.as_deref(),
            filename,
            Some(split),
            Some(source),
            malformed.as_deref(),
            Some(split_pair_id.as_str()),
        ];
        for (builder, value) in self.texts.iter_mut().zip(values) {
            builder.append_option(value);
            self.n_bytes += value.map_or(0, str::len);
        }
        self.lines.append_value(row.line as i64);
        self.n_rows += 1;
    }

    pub(super) fn finish(self) -> Result<RecordBatch> {
        let [pair_id, text, url, filename, split, source, malformed, split_pair_id] =
            self.texts.map(|mut builder| Arc::new(builder.finish()) as ArrayRef);
        let mut lines = self.lines;
        let columns = vec![
            pair_id,
            text,
            url,
            filename,
            split,
            source,
            Arc::new(lines.finish()) as _,
            malformed,
            split_pair_id,
        ];
        Ok(RecordBatch::try_new(incoming_schema(), columns)?)
    }
}
