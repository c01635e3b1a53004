//! Which pairs are exported, in which order, in which shards. In: a session over one snapshot, options. Out: the rows of each shard in a
//! file of its own, without pictures. The order is that in which the pictures lie, so that files are read from their beginning to their end.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use datafusion::datasource::MemTable;
use datafusion::prelude::{DataFrame, SessionContext};
use datafusion::scalar::ScalarValue;
use futures::TryStreamExt;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use tuwen_corpus::query::frame;
use tuwen_corpus::{PictureFiles, Snapshot, spilling_session};
use tuwen_etl::sql::{matching, register_functions};
use tuwen_schemas::TABLES;
use tuwen_settings::Settings;

use super::columns::text;
use super::options::Options;
use super::shard::Shard;

/// What is exported.
pub(super) struct Selected {
    /// Those of a split one after the other.
    pub(super) shards: Vec<Shard>,
    /// Rows by split.
    pub(super) rows: BTreeMap<String, u64>,
    /// Rows that were selected and have no picture.
    pub(super) without_picture: u64,
    /// Of the rows of every shard.
    pub(super) schema: SchemaRef,
}

/// A session with the tables of `snapshot` and all functions, whose sorts and joins spill.
pub(super) async fn session(snapshot: &Snapshot, settings: &Settings) -> Result<SessionContext> {
    let mut most = 0;
    for table in TABLES.iter() {
        most = most.max(snapshot.n_rows(table.name, None)?);
    }
    let ctx = spilling_session(most)?;
    ctx.state_ref().write().config_mut().options_mut().sql_parser.collect_spans = true;
    register_functions(&ctx, settings)?;
    snapshot.register(&ctx).await?;
    Ok(ctx)
}

/// The examples that are asked for.
///
/// # Errors
/// The condition is wrong.
pub(super) async fn selection(ctx: &SessionContext, options: &Options) -> Result<DataFrame> {
    let splits = options.splits.iter().map(|split| ScalarValue::from(split.name()));
    let splits: Vec<ScalarValue> = splits.collect();
    let splits = ScalarValue::List(ScalarValue::new_list_nullable(&splits, &DataType::Utf8));
    let sql = include_str!("../../../../sql/export_selection.sql");
    let selection = frame(ctx, "export_selection", sql, [("splits", splits)]).await?;
    Ok(match &options.predicate {
        Some(predicate) => matching(ctx, selection, predicate)?,
        None => selection,
    })
}

/// Parts `selection` into shards, whose rows are put into files of the folder `rows`.
pub(super) async fn shards(
    ctx: &SessionContext,
    selection: DataFrame,
    pictures: &PictureFiles,
    options: &Options,
    rows: PathBuf,
) -> Result<Selected> {
    let places = vec![pictures.places().await?];
    let places = MemTable::try_new(PictureFiles::places_schema(), places)?;
    ctx.register_table("export_places", Arc::new(places))?;
    ctx.register_table("export_selection", selection.into_view())?;
    let sql = include_str!("../../../../sql/export_rows.sql");
    let sorted = frame(ctx, "export_rows", sql, []).await?;
    let mut batches = sorted.execute_stream().await?;
    std::fs::create_dir_all(&rows).with_context(|| rows.display().to_string())?;
    let mut cutter = Cutter::new(options, rows, batches.schema());
    while let Some(batch) = batches.try_next().await? {
        cutter.take(&batch)?;
    }
    cutter.finish()
}

/// Parts rows into shards as they come.
struct Cutter<'a> {
    options: &'a Options,
    folder: PathBuf,
    writer: Option<ArrowWriter<File>>,
    /// Bytes of the pictures of the last shard.
    bytes: u64,
    selected: Selected,
}

impl<'a> Cutter<'a> {
    fn new(options: &'a Options, folder: PathBuf, schema: SchemaRef) -> Self {
        let (shards, rows) = (Vec::new(), BTreeMap::new());
        let selected = Selected { shards, rows, without_picture: 0, schema };
        Self { options, folder, writer: None, bytes: 0, selected }
    }

    fn take(&mut self, batch: &RecordBatch) -> Result<()> {
        let splits = text(batch, "split")?;
        let number = |name: &str| batch.column_by_name(name).context("rows of an export have it");
        let places = number("place")?.as_primitive::<Int64Type>();
        let lengths = number("bytes_len")?.as_primitive::<Int64Type>();
        let mut start = 0;
        for row in 0..batch.num_rows() {
            if places.is_null(row) {
                self.write(batch, start..row)?;
                start = row + 1;
                self.selected.without_picture += 1;
                continue;
            }
            let length = u64::try_from(lengths.value(row)).unwrap_or(0);
            if self.is_full(splits.value(row), length) {
                self.write(batch, start..row)?;
                start = row;
                self.open(splits.value(row))?;
            }
            self.bytes += length;
            let shard = self.selected.shards.last_mut().context("a shard was opened")?;
            shard.n_rows += 1;
        }
        self.write(batch, start..batch.num_rows())
    }

    /// Whether a row of `split`, with a picture of `length` bytes, begins a shard.
    fn is_full(&self, split: &str, length: u64) -> bool {
        self.selected.shards.last().is_none_or(|shard| {
            shard.split != split
                || shard.n_rows >= self.options.shard_rows
                || self.bytes + length > self.options.shard_bytes
        })
    }

    fn open(&mut self, split: &str) -> Result<()> {
        self.close()?;
        // It becomes part of a file's name.
        let is_known = self.options.splits.iter().any(|known| known.name() == split);
        ensure!(is_known, "expected a split that was asked for, found `{split}`");
        let shards = &mut self.selected.shards;
        let number = shards.last().filter(|last| last.split == split).map_or(0, |s| s.number + 1);
        let rows = self.folder.join(format!("{}.parquet", shards.len()));
        let file = File::create(&rows).with_context(|| rows.display().to_string())?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::LZ4_RAW)
            .set_dictionary_enabled(false)
            .build();
        let schema = SchemaRef::clone(&self.selected.schema);
        self.writer = Some(ArrowWriter::try_new(file, schema, Some(properties))?);
        self.bytes = 0;
        shards.push(Shard { split: split.to_owned(), number, of: 0, n_rows: 0, rows });
        Ok(())
    }

    fn write(&mut self, batch: &RecordBatch, rows: std::ops::Range<usize>) -> Result<()> {
        if let Some(writer) = self.writer.as_mut().filter(|_| !rows.is_empty()) {
            let written = writer.write(&batch.slice(rows.start, rows.len()));
            written.with_context(|| self.folder.display().to_string())?;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        if let Some(writer) = self.writer.take() {
            writer.close().with_context(|| self.folder.display().to_string())?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Selected> {
        self.close()?;
        let mut selected = self.selected;
        let mut of: BTreeMap<String, usize> = BTreeMap::new();
        for shard in &selected.shards {
            *of.entry(shard.split.clone()).or_default() += 1;
            *selected.rows.entry(shard.split.clone()).or_default() += shard.n_rows;
        }
        for shard in &mut selected.shards {
            shard.of = of[&shard.split];
        }
        Ok(selected)
    }
}
