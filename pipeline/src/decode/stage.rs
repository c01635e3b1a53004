//! The decode stage. In: originals that images does not have yet. Out: their rows in images, committed chunk by chunk; the
//! work is one SQL statement (sql/images.sql) over all cores. Never decodes an image twice.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::Int64Type;
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;

use crate::corpus::{Corpus, Rows};
use crate::decode::decode_udf;
use crate::query::{frame, growth, tally};
use crate::report::{Progress, StageReport};
use crate::runs::Run;
use crate::settings::DecodeSettings;

/// Decodes every distinct original that has no row in `images`.
///
/// # Errors
/// The corpus cannot be read or written, or holds images of another size or codec.
pub async fn decode(corpus: &Corpus, settings: &DecodeSettings) -> Result<StageReport> {
    let run = Run::start(corpus).await?;
    let mut report = StageReport::new("decode");
    let light = corpus.session(Rows::Light).await?;
    check_stored(&light, settings).await?;
    let todo =
        frame(&light, "decode_todo", include_str!("../../../sql/decode_todo.sql"), []).await?;
    let todo = concat_batches(&Arc::new(todo.schema().as_arrow().clone()), &todo.collect().await?)?;
    report.rows_in = todo.num_rows() as u64;
    if todo.num_rows() == 0 {
        return run.finish(corpus, report, settings).await;
    }

    let before = tally(&light, "images", "reject_reason").await?;
    let heavy = corpus.session(Rows::Heavy).await?;
    let progress = Progress::start("decode", report.rows_in);
    heavy.register_udf(decode_udf(settings.clone(), progress.clone()));
    for start in (0..todo.num_rows()).step_by(settings.chunk_images) {
        let chunk = todo.slice(start, settings.chunk_images.min(todo.num_rows() - start));
        decode_chunk(corpus, &heavy, chunk, settings.size).await?;
        report.commits += 1;
    }
    progress.finish();

    let after = tally(&corpus.session(Rows::Light).await?, "images", "reject_reason").await?;
    report.rejected = growth(&before, after);
    report.rows_out = report.rejected.remove("").unwrap_or(0);
    run.finish(corpus, report, settings).await
}

async fn decode_chunk(
    corpus: &Corpus,
    ctx: &SessionContext,
    chunk: RecordBatch,
    size_px: u32,
) -> Result<()> {
    let seqs = chunk.column(0).as_primitive::<Int64Type>();
    let first = *seqs.values().first().context("a chunk has rows")?;
    let last = *seqs.values().last().context("a chunk has rows")?;
    ctx.deregister_table("decode_chunk")?;
    let table = MemTable::try_new(chunk.schema(), vec![vec![chunk]])?;
    ctx.register_table("decode_chunk", Arc::new(table))?;
    let params = [
        ("first_seq", ScalarValue::from(first)),
        ("last_seq", ScalarValue::from(last)),
        ("size_px", ScalarValue::from(size_px as i32)),
    ];
    let images = frame(ctx, "images", include_str!("../../../sql/images.sql"), params).await?;
    corpus.append("images", images).await?;
    Ok(())
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
