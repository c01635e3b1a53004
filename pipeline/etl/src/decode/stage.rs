//! The decode stage. In: originals that images does not have yet. Out: their rows in images, committed chunk by chunk; the
//! work is one SQL statement (sql/images.sql) over all cores. Never decodes an image twice.

use std::collections::VecDeque;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use datafusion::datasource::MemTable;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;
use futures::TryStreamExt;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tuwen_corpus::query::{frame, tally};
use tuwen_corpus::report::{Progress, StageReport};
use tuwen_corpus::{Corpus, NewFiles, Rows, Run, Scratch, Snapshot, spilling_session};
use tuwen_settings::DecodeSettings;

use crate::decode::decode_udf;
use crate::driver::{self, Chunk, RedGate, Stage};

/// Decodes every distinct original that has no row in `images`. If more of all images are rejected in the end than
/// `max_rejected_percent`, the gate is red; what was decoded is committed all the same.
///
/// # Errors
/// The corpus cannot be read or written, or holds images of another size or codec; the gate is red.
pub async fn decode(
    corpus: &Corpus,
    settings: &DecodeSettings,
    max_rejected_percent: Option<f64>,
    stop: &CancellationToken,
) -> Result<StageReport> {
    let settings = settings.clone();
    let stage = Scratch::new();
    let stage = stage.map(|scratch| Decode { settings, max_rejected_percent, scratch, todo: None });
    driver::run(corpus, stage, stop).await
}

struct Decode {
    settings: DecodeSettings,
    max_rejected_percent: Option<f64>,
    scratch: Scratch,
    todo: Option<Todo>,
}

impl Stage for Decode {
    const NAME: &'static str = "decode";
    const TABLE: &'static str = "images";
    const SOURCES: &'static [&'static str] = &["originals"];

    fn settings(&self) -> Value {
        serde_json::json!(self.settings)
    }

    async fn todo(
        &mut self,
        _run: &Run,
        snapshot: &Snapshot,
        new: Option<&NewFiles>,
        report: &mut StageReport,
    ) -> Result<Option<u64>> {
        let asked = new.map(|new| &new["originals"]);
        let ctx = spilling_session(snapshot.n_rows("originals", asked)?)?;
        snapshot.register(&ctx).await?;
        // The last run was told the same, so what was there then is as it should be.
        if new.is_none_or(|new| !new["images"].is_empty()) {
            check_stored(&ctx, &self.settings).await?;
        }
        if let Some(paths) = asked {
            snapshot.register_files(&ctx, "originals", paths, "originals").await?;
        }
        let text = include_str!("../../../../sql/decode_todo.sql");
        let todo = frame(&ctx, "decode_todo", text, []).await?;
        let n_rows = self.scratch.hold(&ctx, "todo", todo).await?;
        if n_rows == 0 {
            return Ok(None);
        }
        report.rows_in = report.rows_in.max(n_rows);
        let sorted = ctx.table("todo").await?.sort_by(vec![datafusion::prelude::col("seq")])?;
        self.todo = Some(Todo { rows: sorted.execute_stream().await?, seqs: VecDeque::new() });
        Ok(Some(n_rows))
    }

    async fn next_chunk(
        &mut self,
        snapshot: &Snapshot,
        progress: &Progress,
        _report: &mut StageReport,
    ) -> Result<Option<Chunk>> {
        let Some(todo) = &mut self.todo else { return Ok(None) };
        let seqs = todo.take(self.settings.chunk_images).await?;
        let (Some(first), Some(last)) = (seqs.first().copied(), seqs.last().copied()) else {
            return Ok(None);
        };
        let ctx = snapshot.session(Rows::Heavy).await?;
        ctx.register_udf(decode_udf(self.settings.clone(), progress.clone()));
        let schema = Arc::new(Schema::new(vec![Field::new("seq", DataType::Int64, false)]));
        let batch =
            RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int64Array::from(seqs))])?;
        let table = MemTable::try_new(schema, vec![vec![batch]])?;
        ctx.register_table("decode_chunk", Arc::new(table))?;
        let params = [
            ("first_seq", ScalarValue::from(first)),
            ("last_seq", ScalarValue::from(last)),
            ("size_px", ScalarValue::from(self.settings.size as i32)),
        ];
        let text = include_str!("../../../../sql/images.sql");
        Ok(Some(Chunk::Rows(frame(&ctx, "images", text, params).await?)))
    }

    async fn judge(&mut self, snapshot: &Snapshot) -> Result<()> {
        let Some(most) = self.max_rejected_percent.filter(|most| *most < 100.0) else {
            return Ok(());
        };
        let ctx = snapshot.session(Rows::Light).await?;
        RedGate::of_rejected("images", &tally(&ctx, "images", "reject_reason").await?, most)
    }

    fn stop(&mut self) {
        self.todo = None;
    }
}

/// What is to decode, by its place in the log of originals, in that order.
struct Todo {
    rows: SendableRecordBatchStream,
    seqs: VecDeque<i64>,
}

impl Todo {
    /// The next `n`, fewer at the end.
    async fn take(&mut self, n: usize) -> Result<Vec<i64>> {
        while self.seqs.len() < n {
            let Some(batch) = self.rows.try_next().await? else { break };
            let seqs = batch.column_by_name("seq").context("sql/decode_todo.sql has seq")?;
            self.seqs.extend(seqs.as_primitive::<Int64Type>().values());
        }
        Ok(self.seqs.drain(..n.min(self.seqs.len())).collect())
    }
}

/// A corpus holds images of one size, or a batch of them could not be built, and of one codec, so that one disk is chosen for.
async fn check_stored(ctx: &SessionContext, settings: &DecodeSettings) -> Result<()> {
    let size_px = settings.size.to_string();
    let asked = [
        ("size_px", "decode.size", size_px.as_str(), " px"),
        ("codec", "decode.codec", settings.codec.name(), ""),
    ];
    for (column, key, wanted, unit) in asked {
        let stored = tally(ctx, "images", column).await?;
        // A rejected image has no codec.
        if let Some(found) = stored.keys().find(|found| !found.is_empty() && *found != wanted) {
            bail!(
                "table `images` holds images of {column} {found}{unit}, {key} is {wanted}\n\
                 hint: set {key} = {found}, or decode into a new corpus"
            );
        }
    }
    Ok(())
}
