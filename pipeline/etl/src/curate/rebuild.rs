//! All examples made anew. In: a snapshot. Out: files of `examples` that replace all that are there.

use std::sync::Arc;

use anyhow::Result;
use tuwen_corpus::{Files, Scratch, Snapshot, spilling_session};

use crate::curate::near::near_udf;
use crate::curate::rules::Rules;

/// The files with the rows of all pairs.
pub(super) async fn rebuild(
    snapshot: &Snapshot,
    rules: &Rules<'_>,
    scratch: &Scratch,
) -> Result<Files> {
    let ctx = spilling_session(snapshot.n_rows("pairs", None)?)?;
    snapshot.register(&ctx).await?;
    rules.register(&ctx);
    rules.clean_captions(&ctx, scratch).await?;
    scratch.release(&ctx, "answers")?;
    scratch.release(&ctx, "pair_images")?;
    rules.used_images(&ctx, scratch).await?;
    let near_test = rules.near_sources(&ctx).await?;
    ctx.register_udf(near_udf("near_test", Arc::new(near_test)));
    rules.leaks(&ctx, scratch).await?;
    let examples = rules.examples(&ctx).await?;
    snapshot.write_files("examples", examples, 0).await
}
