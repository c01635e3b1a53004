//! What the corpus says of a stream's images. In: the beginning of an epoch. Out: its images in the order in which they first
//! come, each with all captions that its split has of it, of the version the stream is pinned to. Never touches pixels.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use datafusion::datasource::MemTable;
use futures::TryStreamExt;

use super::opened::OpenedCorpus;
use super::select::PinnedTable;
use super::stream::Stream;
use tuwen_corpus::query::frame;
use tuwen_corpus::{Rows, bare_session};

/// Rows of a batch of sampled ids.
const BATCH_ROWS: u64 = 8_192;

/// An image and what people say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageReferences {
    /// Where in the epoch's global order the image first comes.
    pub position: u64,
    /// The image.
    pub image_id: String,
    /// The clean captions of its examples in the split, at least one, by example id.
    pub references: Vec<String>,
}

impl Stream {
    /// The images of the first `n_examples` of `epoch`, at most `n_images` of them, with their references, by position. Blocks,
    /// and may be called anywhere. A predicate chooses the examples, not the references. Memory: 60 bytes an example
    /// while it asks, and the references.
    ///
    /// # Errors
    /// The table cannot be read; a caption is missing; the stream is grouped by length.
    pub fn references(
        &self,
        epoch: u64,
        n_examples: usize,
        n_images: usize,
    ) -> Result<Vec<ImageReferences>> {
        ensure!(
            !self.corpus.options.group_by_length,
            "references: expected a stream in its order, found one that is grouped by length"
        );
        if n_examples == 0 || n_images == 0 {
            return Ok(Vec::new());
        }
        let runtime = self.corpus.runtime.as_ref().expect("an opened stream has its runtime");
        let asked = std::thread::scope(|scope| {
            let ask = || runtime.block_on(self.corpus.references(epoch, n_examples, n_images));
            scope.spawn(ask).join()
        });
        let location = &self.corpus.location;
        asked.map_err(|_| anyhow!("corpus `{location}`: asking for references panicked"))?
    }
}

impl OpenedCorpus {
    async fn references(
        &self,
        epoch: u64,
        n_examples: usize,
        n_images: usize,
    ) -> Result<Vec<ImageReferences>> {
        let examples =
            PinnedTable::open(&self.location, "examples", Some(self.versions.examples)).await?;
        let label = examples.label();
        let ctx = bare_session(Rows::Light)?;
        examples.register(&ctx).await?;
        ctx.register_table("sampled", Arc::new(self.sampled(epoch, n_examples)?))?;
        let params = [
            ("split", self.options.split.as_str().into()),
            ("n_images", i64::try_from(n_images).unwrap_or(i64::MAX).into()),
        ];
        let sql = include_str!("../../../sql/references.sql");
        let mut batches = frame(&ctx, "references", sql, params).await?.execute_stream().await?;
        let mut images: Vec<ImageReferences> = Vec::new();
        while let Some(batch) = batches.try_next().await.with_context(|| label.clone())? {
            collect(&batch, &mut images).with_context(|| label.clone())?;
        }
        Ok(images)
    }

    /// The ids of the first `n_examples` of `epoch` and their positions, as a table.
    fn sampled(&self, epoch: u64, n_examples: usize) -> Result<MemTable> {
        let order = self.order(epoch);
        let n = n_examples.min(self.selection.len()) as u64;
        let schema = Arc::new(Schema::new(vec![
            Field::new("example_id", DataType::Utf8, false),
            Field::new("position", DataType::Int64, false),
        ]));
        let mut tokens = Vec::new();
        let mut batches = Vec::new();
        for begin in (0..n).step_by(BATCH_ROWS as usize) {
            let positions = begin..(begin + BATCH_ROWS).min(n);
            let ids = positions.clone().map(|position| {
                tokens.clear();
                let id = self.selection.read(order.row(position) as usize, &mut tokens);
                id.to_string()
            });
            let ids: StringArray = ids.map(Some).collect();
            let positions: Int64Array = positions.map(|position| position as i64).collect();
            let columns: Vec<Arc<dyn Array>> = vec![Arc::new(ids), Arc::new(positions)];
            batches.push(RecordBatch::try_new(Arc::clone(&schema), columns)?);
        }
        Ok(MemTable::try_new(schema, vec![batches])?)
    }
}

/// Adds the rows of a batch, which are sorted by position.
fn collect(batch: &RecordBatch, images: &mut Vec<ImageReferences>) -> Result<()> {
    let text = |name: &str| -> Result<_> {
        let column = batch.column_by_name(name).with_context(|| format!("no column `{name}`"))?;
        Ok(cast(column, &DataType::Utf8)?)
    };
    let positions = batch.column_by_name("position").context("no column `position`")?;
    let positions = positions.as_primitive::<Int64Type>().values();
    let (image_ids, example_ids, texts) = (text("image_id")?, text("example_id")?, text("text")?);
    let (image_ids, example_ids, texts) =
        (image_ids.as_string::<i32>(), example_ids.as_string::<i32>(), texts.as_string::<i32>());
    for (row, &position) in positions.iter().enumerate() {
        anyhow::ensure!(
            texts.is_valid(row),
            "example {}: expected a text in an example of a split, found null",
            example_ids.value(row)
        );
        let position = position as u64;
        if images.last().is_none_or(|image| image.position != position) {
            let image_id = image_ids.value(row).to_owned();
            images.push(ImageReferences { position, image_id, references: Vec::new() });
        }
        let image = images.last_mut().expect("one was pushed");
        image.references.push(texts.value(row).to_owned());
    }
    Ok(())
}
