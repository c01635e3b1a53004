//! The decode stage. In: originals that images does not have yet. Out: their rows in images, committed chunk by chunk; the
//! work is one SQL statement (sql/images.sql) over all cores. Never decodes an image twice.

use std::collections::VecDeque;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use datafusion::datasource::MemTable;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::{LogicalPlan, Union};
use datafusion::prelude::{DataFrame, SessionContext, col};
use datafusion::scalar::ScalarValue;
use futures::TryStreamExt;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tuwen_corpus::query::{frame, tally};
use tuwen_corpus::report::{Progress, StageReport};
use tuwen_corpus::{Change, Corpus, NewFiles, Rows, Run, Scratch, Snapshot, spilling_session};
use tuwen_image::RejectReason;
use tuwen_settings::{DecodeSettings, PixelCodec};

use crate::decode::decode_udf;
use crate::driver::{self, Chunk, RedGate, Stage};
use crate::replace::{FILE_COLUMN, replace};

/// Decodes every distinct original that has no row in `images`, then tries those again that were rejected for the reasons of
/// `again`: the rows of those that come to something else now take the places of the old ones. If more of all images are rejected in the end than
/// `max_rejected_percent`, the gate is red; what was decoded is committed all the same.
///
/// # Errors
/// The corpus cannot be read or written, or holds images of another size, or made otherwise; the gate is red.
pub async fn decode(
    corpus: &Corpus,
    settings: &DecodeSettings,
    again: &[RejectReason],
    max_rejected_percent: Option<f64>,
    stop: &CancellationToken,
) -> Result<StageReport> {
    let stage = Scratch::of(corpus).await.map(|scratch| Decode {
        settings: settings.clone(),
        again,
        max_rejected_percent,
        scratch,
        todo: None,
    });
    driver::run(corpus, stage, stop).await
}

struct Decode<'a> {
    settings: DecodeSettings,
    /// The reasons for which what was rejected is tried again.
    again: &'a [RejectReason],
    max_rejected_percent: Option<f64>,
    scratch: Scratch,
    todo: Option<Todo>,
}

impl Stage for Decode<'_> {
    const NAME: &'static str = "decode";
    const TABLE: &'static str = "images";
    const SOURCES: &'static [&'static str] = &["originals"];

    fn settings(&self) -> Value {
        serde_json::json!(self.settings)
    }

    fn always(&self) -> bool {
        !self.again.is_empty()
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
            check_stored(&ctx, snapshot, &self.settings).await?;
        }
        if let Some(paths) = asked {
            snapshot.register_files(&ctx, "originals", paths, "originals").await?;
        }
        let text = include_str!("../../../../sql/decode_todo.sql");
        let todo = frame(&ctx, "decode_todo", text, []).await?;
        let n_new = self.scratch.hold(&ctx, "todo", todo).await?;
        let new = Seqs::of(&ctx, "todo").await?;
        let names: Vec<ScalarValue> =
            self.again.iter().map(|reason| reason.name().into()).collect();
        let names = ScalarValue::List(ScalarValue::new_list_nullable(&names, &DataType::Utf8));
        let text = include_str!("../../../../sql/decode_again.sql");
        let again = frame(&ctx, "decode_again", text, [("reasons", names)]).await?;
        let n_again = self.scratch.hold(&ctx, "again", again).await?;
        let again = Seqs::of(&ctx, "again").await?;
        if n_new + n_again == 0 {
            return Ok(None);
        }
        report.rows_in = report.rows_in.max(n_new + n_again);
        self.todo = Some(Todo { new, again });
        Ok(Some(n_new + n_again))
    }

    async fn next_chunk(
        &mut self,
        snapshot: &Snapshot,
        progress: &Progress,
        report: &mut StageReport,
    ) -> Result<Option<Chunk>> {
        let n_parts = snapshot.engine().n_parts().await?;
        let n = self.settings.chunk_images.saturating_mul(n_parts);
        while let Some(todo) = &mut self.todo {
            let seqs = todo.new.take(n).await?;
            if !seqs.is_empty() {
                let ctx = snapshot.session(Rows::Heavy).await?;
                let images = self.images(&ctx, &seqs, n_parts, progress).await?;
                return Ok(Some(Chunk::Computed(images)));
            }
            let seqs = todo.again.take(n).await?;
            if seqs.is_empty() {
                break;
            }
            let ctx = snapshot.session(Rows::Heavy).await?;
            let n_tried = seqs.len() as u64;
            let tried = self.images(&ctx, &seqs, n_parts, progress).await?;
            let changed = changed(snapshot, &ctx, &self.scratch, tried).await?;
            let reasons = tally(snapshot.engine(), &ctx, "changed_images", "reject_reason").await?;
            report.known += n_tried - reasons.values().sum::<u64>();
            for (reason, n) in reasons {
                match reason.as_str() {
                    "" => report.rows_out += n,
                    _ => *report.rejected.entry(reason).or_default() += n,
                }
            }
            if let Some(change) = changed {
                return Ok(Some(Chunk::Files(change)));
            }
        }
        Ok(None)
    }

    async fn judge(&mut self, snapshot: &Snapshot) -> Result<()> {
        let Some(most) = self.max_rejected_percent.filter(|most| *most < 100.0) else {
            return Ok(());
        };
        let ctx = snapshot.session(Rows::Light).await?;
        RedGate::of_rejected(
            "images",
            &tally(snapshot.engine(), &ctx, "images", "reject_reason").await?,
            most,
        )
    }

    fn stop(&mut self) {
        self.todo = None;
    }
}

impl Decode<'_> {
    /// The originals at `seqs`, decoded in `n_parts` parts of as many each.
    async fn images(
        &self,
        ctx: &SessionContext,
        seqs: &[i64],
        n_parts: usize,
        progress: &Progress,
    ) -> Result<DataFrame> {
        ctx.register_udf(decode_udf(self.settings.clone(), progress.clone()));
        let mut parts = Vec::new();
        for seqs in seqs.chunks(seqs.len().div_ceil(n_parts).max(1)) {
            parts.push(Arc::new(self.part(ctx, seqs).await?.into_unoptimized_plan()));
        }
        let plan = match parts.len() {
            1 => parts.remove(0).as_ref().clone(),
            _ => LogicalPlan::Union(Union::try_new(parts)?),
        };
        Ok(DataFrame::new(ctx.state(), plan))
    }

    /// The originals at `seqs`, decoded.
    async fn part(&self, ctx: &SessionContext, seqs: &[i64]) -> Result<DataFrame> {
        let first = seqs.first().copied();
        let last = seqs.last().copied();
        let schema = Arc::new(Schema::new(vec![Field::new("seq", DataType::Int64, false)]));
        let column = Arc::new(Int64Array::from(seqs.to_vec()));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column])?;
        let table = MemTable::try_new(schema, vec![vec![batch]])?;
        ctx.deregister_table("decode_chunk")?;
        ctx.register_table("decode_chunk", Arc::new(table))?;
        let params = [
            ("first_seq", ScalarValue::from(first)),
            ("last_seq", ScalarValue::from(last)),
            ("size_px", ScalarValue::from(self.settings.size as i32)),
            ("filter", ScalarValue::from(self.settings.filter.name())),
            ("speed", ScalarValue::from(self.settings.speed.name())),
            ("oriented", ScalarValue::from(self.settings.apply_orientation)),
        ];
        let text = include_str!("../../../../sql/images.sql");
        frame(ctx, "images", text, params).await
    }
}

/// Those of `tried` that come to something else than what is there, as `changed_images` of `ctx`, and in the places of the old
/// rows; none if all come to the same.
async fn changed(
    snapshot: &Snapshot,
    ctx: &SessionContext,
    scratch: &Scratch,
    tried: DataFrame,
) -> Result<Option<Change>> {
    scratch.hold(ctx, "tried_images", tried).await?;
    let in_files = snapshot.table_of_files("images", None, Some(FILE_COLUMN))?;
    ctx.register_table("images_in_files", in_files)?;
    let text = include_str!("../../../../sql/changed_images.sql");
    let changed = frame(ctx, "changed_images", text, []).await?;
    if scratch.hold(ctx, "changed_images", changed).await? == 0 {
        return Ok(None);
    }
    let sql = ("rewritten_images", include_str!("../../../../sql/rewritten_images.sql"));
    Ok(Some(replace(snapshot, ctx, "images", "changed_images", sql).await?))
}

/// What is to do.
struct Todo {
    /// Without a row in images.
    new: Seqs,
    /// Rejected, to be tried again.
    again: Seqs,
}

/// Originals by their places in the log, in that order.
struct Seqs {
    rows: SendableRecordBatchStream,
    seqs: VecDeque<i64>,
}

impl Seqs {
    async fn of(ctx: &SessionContext, table: &str) -> Result<Self> {
        let sorted = ctx.table(table).await?.sort_by(vec![col("seq")])?;
        Ok(Self { rows: sorted.execute_stream().await?, seqs: VecDeque::new() })
    }

    /// The next `n`, fewer at the end.
    async fn take(&mut self, n: usize) -> Result<Vec<i64>> {
        while self.seqs.len() < n {
            let Some(batch) = self.rows.try_next().await? else { break };
            let seqs = batch.column_by_name("seq").context("what is to decode has a seq")?;
            self.seqs.extend(seqs.as_primitive::<Int64Type>().values());
        }
        Ok(self.seqs.drain(..n.min(self.seqs.len())).collect())
    }
}

/// A corpus holds images of one size, or a batch of them could not be built, of one codec, so that one disk is chosen for, and made
/// in one way, or a model would see the difference. The quality of JPEG is no column: it is that of the last run.
async fn check_stored(
    ctx: &SessionContext,
    snapshot: &Snapshot,
    settings: &DecodeSettings,
) -> Result<()> {
    let size_px = settings.size.to_string();
    let oriented = settings.apply_orientation.to_string();
    let asked = [
        ("size_px", "decode.size", size_px.as_str(), " px"),
        ("codec", "decode.codec", settings.codec.name(), ""),
        ("filter", "decode.filter", settings.filter.name(), ""),
        ("speed", "decode.speed", settings.speed.name(), ""),
        ("oriented", "decode.apply_orientation", oriented.as_str(), ""),
    ];
    let (mut differ, mut as_stored, mut as_asked, mut names) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut compare = |name: &str, key: &str, found: &str, wanted: &str, unit: &str| {
        if found != wanted {
            differ.push(format!("of {name} {found}{unit}, {key} is {wanted}"));
            as_stored.push(format!("--set {key}={found}"));
            as_asked.push(format!("--set {key}={wanted}"));
            names.push(wanted.to_owned());
        }
    };
    // A rejected image has no pixels that could differ.
    let stored = ctx.table("images").await?.filter(col("reject_reason").is_null())?;
    ctx.register_table("stored_images", stored.into_view())?;
    for (column, key, wanted, unit) in asked {
        let stored = tally(snapshot.engine(), ctx, "stored_images", column).await?;
        // One of an older tuwen does not say how it was made.
        let other = stored.keys().find(|found| !found.is_empty() && *found != wanted);
        compare(column, key, other.map_or(wanted, String::as_str), wanted, unit);
    }
    if settings.codec == PixelCodec::Jpeg
        && let Some(quality) = last_jpeg_quality(snapshot).await?
    {
        let wanted = settings.jpeg_quality.to_string();
        compare("jpeg_quality", "decode.jpeg_quality", &quality.to_string(), &wanted, "");
    }
    if differ.is_empty() {
        return Ok(());
    }
    let here = snapshot.corpus().shown();
    bail!(
        "table `images` holds images {}\n\
         hint: {}, or into a corpus of its own that shares what was fetched: \
         tuwen decode --originals-of '{here}' --corpus '{here}-{}' {}",
        differ.join("; "),
        as_stored.join(" "),
        names.join("-"),
        as_asked.join(" ")
    )
}

/// The quality of the JPEGs of the last run that made some.
async fn last_jpeg_quality(snapshot: &Snapshot) -> Result<Option<u64>> {
    let Some(last) = snapshot.last_run(Decode::NAME).await? else { return Ok(None) };
    let settings: Value = serde_json::from_str(&last.settings)?;
    let is_jpeg = settings["codec"] == PixelCodec::Jpeg.name();
    Ok(settings["jpeg_quality"].as_u64().filter(|_| is_jpeg))
}
