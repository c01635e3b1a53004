//! All examples made anew. In: a snapshot. Out: files of `examples` that replace all that are there.

use anyhow::Result;
use tuwen_corpus::{Files, Scratch, Snapshot, seeking_session, spilling_session};

use crate::curate::rules::Rules;

/// The files with the rows of all pairs.
pub(super) async fn rebuild(
    snapshot: &Snapshot,
    rules: &Rules<'_>,
    scratch: &Scratch,
) -> Result<Files> {
    // A pair may have two locators, that of a file and a URL.
    let n_rows = snapshot.n_rows("pairs", None)?.max(snapshot.n_rows("originals", None)?);
    let all = spilling_session(n_rows)?;
    snapshot.register(&all).await?;
    rules.register(&all);
    rules.pair_images(&all, scratch).await?;
    scratch.release(&all, "answers").await?;
    // From here on one side of each join is small.
    let ctx = spilling_session(0)?;
    snapshot.register(&ctx).await?;
    rules.register(&ctx);
    ctx.register_table("pair_images", all.table_provider("pair_images").await?)?;
    rules.clean_captions(&ctx, scratch).await?;
    scratch.release(&ctx, "pair_images").await?;
    rules.used_images(&ctx).await?;
    let held_out = rules.near_sources(&ctx, scratch).await?;
    // Of most images the thumbnail alone is decoded.
    let seeking = seeking_session()?;
    snapshot.register(&seeking).await?;
    for name in ["used_images", "held_out_images"] {
        seeking.register_table(name, ctx.table_provider(name).await?)?;
    }
    held_out.register(&seeking);
    rules.leaks(&seeking, scratch).await?;
    ctx.register_table("leaks", seeking.table_provider("leaks").await?)?;
    rules.near_groups(&ctx).await?;
    let examples = rules.examples(&ctx).await?;
    snapshot.write_files("examples", examples, 0).await
}
