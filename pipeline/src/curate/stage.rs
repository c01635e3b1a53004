//! The curate stage. In: a corpus whose pairs, originals or images, or whose rules changed. Out: examples, replaced in one
//! commit once the audits passed; nothing when nothing changed.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::AsArray;
use datafusion::datasource::MemTable;
use datafusion::prelude::{DataFrame, SessionContext};
use serde::Serialize;

use crate::corpus::{Corpus, Rows};
use crate::curate::{CaptionTokenizer, audit, clean_caption_udf, near_udfs, tokenize_udf};
use crate::ingest::{hex, id_of};
use crate::query::{frame, tally};
use crate::report::StageReport;
use crate::runs::Run;
use crate::settings::CurateSettings;

const PAIR_IMAGES: &str = include_str!("../../../sql/pair_images.sql");
const CLEAN_CAPTIONS: &str = include_str!("../../../sql/clean_captions.sql");
const LEAKS: &str = include_str!("../../../sql/leaks.sql");
const EXAMPLES: &str = include_str!("../../../sql/examples.sql");

/// What `examples` depends on besides the tables; recorded with the run, compared with the last one.
#[derive(Serialize)]
struct Rules<'a> {
    settings: &'a CurateSettings,
    tokenizer_id: &'a str,
    sql_id: String,
}

/// Rebuilds `examples` if anything it depends on changed.
///
/// # Errors
/// The tokenizer is none, the corpus cannot be read or written, or an audit found rows; `examples` stays as it was then.
pub async fn curate(corpus: &Corpus, settings: &CurateSettings) -> Result<StageReport> {
    let tokenizer = CaptionTokenizer::open(Path::new(&settings.tokenizer), settings.max_length)?;
    let run = Run::start(corpus).await?;
    let mut report = StageReport::new("curate");
    let ctx = corpus.session(Rows::Light).await?;
    report.rows_in = ctx.table("pairs").await?.count().await? as u64;
    let sql_id = hex(id_of(
        [PAIR_IMAGES, CLEAN_CAPTIONS, LEAKS, EXAMPLES, env!("CARGO_PKG_VERSION")]
            .concat()
            .as_bytes(),
    ));
    let tokenizer_id = tokenizer.file_id.clone();
    let rules = Rules { settings, tokenizer_id: &tokenizer_id, sql_id };
    if report.rows_in == 0 || is_current(&ctx, &run, &rules).await? {
        report.known = report.rows_in;
        report.rows_in = 0;
        return run.finish(corpus, report, &rules).await;
    }

    register_functions(&ctx, tokenizer);
    let examples = build(&ctx, settings).await?;
    replace(&ctx, "examples", examples).await?;
    audit(&ctx, settings.max_length).await?;
    corpus.overwrite("examples", ctx.table("examples").await?).await?;
    report.commits = 1;
    report.rejected = tally(&ctx, "examples", "reject_reason").await?;
    report.rows_out = report.rejected.remove("").unwrap_or(0);
    if report.rejected.contains_key("not_fetched") {
        report.hints.push(
            "not_fetched pairs have a file name and no URL, or were not asked for yet: `tuwen fetch --image-dir DIR` \
             reads files that are at hand"
                .to_owned(),
        );
    }
    run.finish(corpus, report, &rules).await
}

/// The functions the curation's SQL uses.
fn register_functions(ctx: &SessionContext, tokenizer: CaptionTokenizer) {
    ctx.register_udf(clean_caption_udf());
    ctx.register_udf(tokenize_udf(tokenizer));
    for udf in near_udfs() {
        ctx.register_udf(udf);
    }
}

/// Each step is computed once and held: the next ones read it several times.
async fn build(ctx: &SessionContext, settings: &CurateSettings) -> Result<DataFrame> {
    let pair_images = frame(ctx, "pair_images", PAIR_IMAGES, []).await?;
    replace(ctx, "pair_images", pair_images).await?;
    let params = [
        ("min_chars", (settings.min_chars as i64).into()),
        ("max_chars", (settings.max_chars as i64).into()),
        ("placeholder_captions", (settings.placeholder_captions as i64).into()),
    ];
    let captions = frame(ctx, "clean_captions", CLEAN_CAPTIONS, params).await?;
    replace(ctx, "clean_captions", captions).await?;
    ctx.deregister_table("pair_images")?;
    let params = [
        ("near_bits", (settings.near_bits as i64).into()),
        ("near_levels", settings.near_levels.into()),
    ];
    let leaks = frame(ctx, "leaks", LEAKS, params).await?;
    replace(ctx, "leaks", leaks).await?;
    frame(ctx, "examples", EXAMPLES, []).await
}

/// Computes `frame` and registers its rows under `name`, in the place of what stood there.
async fn replace(ctx: &SessionContext, name: &str, frame: DataFrame) -> Result<()> {
    let schema = Arc::new(frame.schema().as_arrow().clone());
    let partitions = frame.collect_partitioned().await?;
    ctx.deregister_table(name)?;
    ctx.register_table(name, Arc::new(MemTable::try_new(schema, partitions)?))?;
    Ok(())
}

/// Whether the last curation read the same versions under the same rules, and nobody wrote `examples` since.
async fn is_current(ctx: &SessionContext, run: &Run, rules: &Rules<'_>) -> Result<bool> {
    let text = include_str!("../../../sql/last_curation.sql");
    let last = frame(ctx, "last_curation", text, []).await?.collect().await?;
    let Some(row) = last.iter().find(|batch| batch.num_rows() > 0) else { return Ok(false) };
    let seen = |column: usize| row.column(column).as_string::<i32>().value(0).to_owned();
    let now = |table: &str| run.versions_read().get(table).map_or_else(String::new, i64::to_string);
    Ok(seen(0) == serde_json::to_string(rules)?
        && ["pairs", "originals", "images", "examples"]
            .into_iter()
            .zip(1..)
            .all(|(table, i)| seen(i) == now(table)))
}
