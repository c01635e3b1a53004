//! What a change concerns. In: the snapshot of the last curation and the one of now, under the same rules. Out: the rows of
//! examples that are others now, in files, and the files that held them.
//!
//! A row depends on its pair, on what its locators answered, on its image, on the other pairs of that image (placeholders and
//! repeated captions), and on the images near it (leaks). So the rules run on the pairs of those images alone which something
//! new touches; a row that is near an image which came into a split held out, or left it, only turns into a leak or back.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use datafusion::datasource::MemTable;
use datafusion::prelude::{DataFrame, SessionContext, col};
use tuwen_corpus::query::{frame, tally};
use tuwen_corpus::{
    Change, Engine, NewFiles, Scratch, Snapshot, seeking_session, spilling_session,
};
use tuwen_schemas::schema;

use crate::curate::rules::{HeldOut, Rules};
use crate::replace::{FILE_COLUMN, replace};

macro_rules! change_sql {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../../sql/change/", $name, ".sql")))
    };
}

/// What a change comes to.
pub(super) struct Changed {
    /// The files that come and go.
    pub(super) change: Change,
    /// Pairs that were judged anew.
    pub(super) n_judged: u64,
    /// Examples that are new or others, by reason; "" for those in a split.
    pub(super) reasons: BTreeMap<String, u64>,
    /// All examples by reason, as they are to be.
    pub(super) all_reasons: BTreeMap<String, u64>,
    /// A session for the audits, with the concerned rows of pairs, images and examples under those names.
    pub(super) concerned: SessionContext,
}

/// The sessions of a change: one with the whole tables, one in which pairs, originals and images are those concerned.
struct Sessions<'a> {
    all: SessionContext,
    concerned: SessionContext,
    scratch: &'a Scratch,
}

/// Works out what the rows of `new` change in `examples`.
pub(super) async fn change(
    snapshot: &Snapshot,
    new: &NewFiles,
    rules: &Rules<'_>,
    scratch: &Scratch,
) -> Result<Changed> {
    let (all, concerned) = (seeking_session()?, spilling_session(0)?);
    let sessions = Sessions { all, concerned, scratch };
    snapshot.register(&sessions.all).await?;
    rules.register(&sessions.all);
    rules.register(&sessions.concerned);
    for name in ["pairs", "originals", "images"] {
        snapshot.register_files(&sessions.all, name, &new[name], &format!("new_{name}")).await?;
    }
    let n_judged = sessions.concerned_rows(rules).await?;
    sessions.judge(rules).await?;
    sessions.changed_examples(snapshot).await?;
    let rewritten = change_sql!("rewritten");
    let change =
        replace(snapshot, &sessions.all, "examples", "changed_examples", rewritten).await?;
    let reasons =
        tally(snapshot.engine(), &sessions.all, "changed_examples", "reject_reason").await?;
    let all_reasons = sessions.all_reasons(snapshot.engine(), &reasons).await?;
    sessions.share("originals", "originals").await?;
    sessions.share("made", "examples").await?;
    Ok(Changed { change, n_judged, reasons, all_reasons, concerned: sessions.concerned })
}

impl Sessions<'_> {
    async fn frame(&self, (name, text): (&str, &str)) -> Result<DataFrame> {
        frame(&self.all, name, text, []).await
    }

    /// Computes a step from the whole tables, for both sessions; returns its number of rows.
    async fn step(&self, sql: (&str, &str)) -> Result<u64> {
        let rows = self.frame(sql).await?;
        let n_rows = self.scratch.hold(&self.all, sql.0, rows).await?;
        self.share(sql.0, sql.0).await?;
        Ok(n_rows)
    }

    /// Makes `name` of the session of whole tables known to the other, as `alias`.
    async fn share(&self, name: &str, alias: &str) -> Result<()> {
        let table = self.all.table_provider(name).await?;
        self.concerned.deregister_table(alias)?;
        self.concerned.register_table(alias, table)?;
        Ok(())
    }

    /// The other way round.
    async fn share_back(&self, name: &str) -> Result<()> {
        let table = self.concerned.table_provider(name).await?;
        self.all.deregister_table(name)?;
        self.all.register_table(name, table)?;
        Ok(())
    }

    /// Registers a table without rows.
    fn empty(&self, table: &str, alias: &str) -> Result<()> {
        let none = MemTable::try_new(schema(table), vec![Vec::new()])?;
        self.all.register_table(alias, Arc::new(none))?;
        Ok(())
    }

    /// Finds the pairs that are to be judged anew, and registers them with their originals and images as `pairs`, `originals` and
    /// `images` of the session of concerned rows.
    async fn concerned_rows(&self, rules: &Rules<'_>) -> Result<u64> {
        let n_touched = self.step(change_sql!("touched_pairs")).await?;
        self.rows_at_hand("touched_pairs").await?;
        // Only which images they are is asked here, not what became of them.
        self.share("new_images", "images").await?;
        rules.pair_images(&self.concerned, self.scratch).await?;
        self.share_back("pair_images").await?;
        self.step(change_sql!("concerned_images")).await?;
        let n_concerned = self.step(change_sql!("concerned_pairs")).await?;
        if n_concerned > n_touched {
            self.rows_at_hand("concerned_pairs").await?;
        }
        self.step(change_sql!("image_rows")).await?;
        self.share("image_rows", "images").await?;
        Ok(n_concerned)
    }

    /// Registers pairs and their originals with the session of concerned rows.
    async fn rows_at_hand(&self, pairs: &str) -> Result<()> {
        self.all.deregister_table("pairs_at_hand")?;
        self.all.register_table("pairs_at_hand", self.all.table_provider(pairs).await?)?;
        self.step(change_sql!("pair_rows")).await?;
        self.share("pair_rows", "pairs").await?;
        self.step(change_sql!("originals_of_rows")).await?;
        self.share("originals_of_rows", "originals").await
    }

    /// The rules over the concerned rows: `made` has their examples, `flipped` those near a change of the splits held out.
    async fn judge(&self, rules: &Rules<'_>) -> Result<()> {
        rules.pair_images(&self.concerned, self.scratch).await?;
        rules.clean_captions(&self.concerned, self.scratch).await?;
        rules.used_images(&self.concerned).await?;
        self.share_back("used_images").await?;
        self.empty("images", "near_changes")?;
        self.near_images(rules).await?;
        let changes = self.frame(change_sql!("held_out_changes")).await?;
        let held = (&self.all, self.scratch, "near_change");
        let changes = rules.near_images(changes, held).await?;
        if !changes.is_empty() {
            self.all.register_udf(changes.function("near_change"));
            if self.step(change_sql!("near_changes")).await? > 0 {
                self.near_images(rules).await?;
            }
        }
        let held_out = self.held_out(rules).await?;
        for ctx in [&self.all, &self.concerned] {
            held_out.register(ctx);
        }
        rules.leaks(&self.concerned, self.scratch).await?;
        rules.near_groups(&self.concerned).await?;
        let made = rules.examples(&self.concerned).await?;
        self.scratch.hold(&self.concerned, "made", made).await?;
        self.share_back("made").await?;
        self.step(change_sql!("flipped")).await?;
        Ok(())
    }

    /// `near_images`, those with thumbnails near the ones at hand, and `near_used`, what they are used for: of all other images none is
    /// near. Most are told apart by their thumbnails, without reading their looks.
    async fn near_images(&self, rules: &Rules<'_>) -> Result<()> {
        let at_hand = self.frame(change_sql!("at_hand")).await?;
        let held = (&self.all, self.scratch, "near_at_hand");
        let at_hand = rules.near_images(at_hand, held).await?;
        self.all.register_udf(at_hand.function("near_thumb"));
        self.step(change_sql!("near_images")).await?;
        self.step(change_sql!("near_examples")).await?;
        self.step(change_sql!("used_before")).await?;
        self.step(change_sql!("near_used")).await?;
        Ok(())
    }

    /// The images of the splits held out, as far as one at hand may be near.
    async fn held_out(&self, rules: &Rules<'_>) -> Result<HeldOut> {
        let ctx = spilling_session(0)?;
        for (name, alias) in [("near_images", "images"), ("near_used", "used_images")] {
            ctx.register_table(alias, self.all.table_provider(name).await?)?;
        }
        let held_out = rules.near_sources(&ctx, self.scratch).await?;
        let images = ctx.table_provider("held_out_images").await?;
        self.concerned.deregister_table("held_out_images")?;
        self.concerned.register_table("held_out_images", images)?;
        Ok(held_out)
    }

    /// `changed_examples`: of what was made anew, what is other than it was.
    async fn changed_examples(&self, snapshot: &Snapshot) -> Result<()> {
        let in_files = snapshot.table_of_files("examples", None, Some(FILE_COLUMN))?;
        self.all.register_table("examples_in_files", in_files)?;
        self.step(change_sql!("old_examples")).await?;
        self.step(change_sql!("changed_examples")).await?;
        Ok(())
    }

    /// All examples by reason: those that are, less those that go, and those that come.
    async fn all_reasons(
        &self,
        engine: &dyn Engine,
        coming: &BTreeMap<String, u64>,
    ) -> Result<BTreeMap<String, u64>> {
        let mut all = tally(engine, &self.all, "examples", "reject_reason").await?;
        let old =
            self.all.table("changed_examples").await?.filter(col(FILE_COLUMN).is_not_null())?;
        self.all.register_table("replaced_examples", old.into_view())?;
        for (reason, n) in tally(engine, &self.all, "replaced_examples", "old_reason").await? {
            let count = all.entry(reason).or_default();
            *count = count.saturating_sub(n);
        }
        for (reason, n) in coming {
            *all.entry(reason.clone()).or_default() += n;
        }
        all.retain(|_, n| *n > 0);
        Ok(all)
    }
}
