//! `tuwen repair`. In: a corpus. Out: the same corpus without rows that are there twice, that
//! cannot be read, or that are not what was written: the next run of the stages gets or decodes
//! them again. All other rows stay as they are. Each table is mended in commits of its own, which
//! are whole or not there; a repair that is killed is completed by the next.
//!
//! Delta refuses to take rows away from a table with the property `delta.appendOnly`. It is set to
//! false before, and back to true at the end; where a repair was killed, the next sets it back.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Result;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::Depth;
use super::curated::{ask, curated, tables_of};
use super::delta_log::APPEND_ONLY;
use super::health::{Checkup, amount, check};
use super::keys::{new_numbers, rows_with, surplus_rows};
use super::repair_report::{RepairReport, RepairedTable, as_mended, stage_report};
use super::repair_rows::{Plan, reason};
use super::rewrite::{Source, rewrite};
use super::verify::session_of_readable;
use crate::audits::{AUDITS, IMAGES_WITHOUT_ORIGINAL};
use crate::commit::{Author, Change, Committed};
use crate::corpus::{Corpus, is_append_only};
use crate::query::frame;
use crate::report::{Outcome, Progress};
use crate::runs::Run;
use crate::snapshot::Snapshot;

/// The audit whose rows are images that are to go, so that they are decoded again.
const CODEC_AUDIT: &str = "decoded_have_codec";

/// What is to be repaired.
#[derive(Clone, Copy, Debug)]
pub struct Repairs {
    /// How thoroughly to look.
    pub depth: Depth,
    /// Whether images go whose picture files were lost.
    pub drop_orphaned_images: bool,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// Mends the corpus.
///
/// # Errors
/// The corpus cannot be read or written, or another run commits to it meanwhile. What is committed
/// by then is mended.
pub async fn repair(
    corpus: &Corpus,
    repairs: Repairs,
    stop: &CancellationToken,
) -> Result<RepairReport> {
    let clock = Instant::now();
    let snapshot = corpus.snapshot().await?;
    let run = Run::start("repair", &snapshot);
    let mut work = Work::new(snapshot, repairs, run.author().clone())?;
    let mended = Box::pin(work.mend(stop)).await;
    // Also after an error, or the next run of a stage would find tables that it may not rely on.
    let closed = Box::pin(work.close()).await;
    let outcome = match (&mended, &closed) {
        (Ok(outcome), Ok(())) => *outcome,
        _ => Outcome::Failed,
    };
    let error = mended.and(closed).err();
    let mut report = RepairReport {
        dry_run: repairs.dry_run,
        outcome,
        run_id: String::new(),
        commits: work.commits,
        seconds: clock.elapsed().as_secs_f64(),
        tables: work.tables,
    };
    if !repairs.dry_run {
        let stage = stage_report(&report, error.as_ref());
        let settings = json!({ "all_pages": repairs.depth == Depth::Pages });
        let recorded = Box::pin(run.finish(&mut work.snapshot, stage, &settings)).await;
        if error.is_none() {
            let recorded = recorded?;
            report.run_id = if report.commits > 0 { recorded.run_id } else { String::new() };
        }
    }
    match error {
        Some(error) => Err(error),
        None => Ok(report),
    }
}

/// What is mended after the files.
#[derive(Clone, Copy)]
enum Step {
    Duplicates,
    Images,
    Examples,
}

struct Work {
    snapshot: Snapshot,
    names: Vec<&'static str>,
    repairs: Repairs,
    author: Author,
    tables: BTreeMap<&'static str, RepairedTable>,
    commits: u64,
}

impl Work {
    fn new(snapshot: Snapshot, repairs: Repairs, author: Author) -> Result<Self> {
        let names = snapshot.present();
        let mut tables = BTreeMap::new();
        for name in &names {
            let rows_before = n_rows(&snapshot, name)?;
            tables.insert(*name, RepairedTable { rows_before, ..RepairedTable::default() });
        }
        Ok(Self { snapshot, names, repairs, author, tables, commits: 0 })
    }

    /// The steps, each on what the one before has left.
    async fn mend(&mut self, stop: &CancellationToken) -> Result<Outcome> {
        for name in self.names.clone() {
            let is_changed = self.is_property_changed(name);
            self.table(name).append_only = is_changed;
        }
        let mut checkups = tokio::select! {
            checkups = self.check(self.repairs.depth) => checkups?,
            () = stop.cancelled() => return Ok(Outcome::Interrupted),
        };
        for checkup in &checkups {
            if stop.is_cancelled() {
                return Ok(Outcome::Interrupted);
            }
            self.apply(checkup.name, Plan::damage(checkup)).await?;
        }
        for step in [Step::Duplicates, Step::Images, Step::Examples] {
            if stop.is_cancelled() {
                return Ok(Outcome::Interrupted);
            }
            if !self.repairs.dry_run {
                checkups = self.check(Depth::Footers).await?;
            }
            match step {
                Step::Duplicates => Box::pin(self.duplicates(&checkups)).await?,
                Step::Images => Box::pin(self.images(&checkups)).await?,
                Step::Examples => Box::pin(self.examples(&checkups)).await?,
            }
        }
        Ok(Outcome::Ok)
    }

    async fn check(&self, depth: Depth) -> Result<Vec<Checkup>> {
        let progress = match depth {
            Depth::Pages => Progress::start("repair", amount(&self.snapshot, &self.names, depth)?),
            Depth::Footers => Progress::hidden(),
        };
        let mut checkups = Vec::new();
        for name in &self.names {
            checkups.push(check(&self.snapshot, name, depth, &progress).await?);
        }
        progress.finish();
        Ok(checkups)
    }

    /// One row a key, one number a row.
    async fn duplicates(&mut self, checkups: &[Checkup]) -> Result<()> {
        let ctx = session_of_readable(&self.snapshot, checkups).await?;
        for checkup in checkups {
            let (name, files) = (checkup.name, &checkup.files);
            let surplus = surplus_rows(&ctx, name, files).await?;
            let next = match self.repairs.dry_run {
                true => 0,
                false => self.snapshot.next_number(name).await?,
            };
            let numbers = new_numbers(&ctx, name, files, &surplus, next).await?;
            self.apply(name, Plan::duplicates(checkup, surplus, numbers)).await?;
        }
        Ok(())
    }

    /// Images that must be decoded again.
    async fn images(&mut self, checkups: &[Checkup]) -> Result<()> {
        let Some(images) = checkups.iter().find(|checkup| checkup.name == "images") else {
            return Ok(());
        };
        let ctx = session_of_readable(&self.snapshot, checkups).await?;
        let mut plan = Plan::default();
        let codec = AUDITS.iter().find(|(name, _)| *name == CODEC_AUDIT);
        let mut wrong = vec![(codec.expect("it is one of the audits"), reason::NO_CODEC)];
        if self.repairs.drop_orphaned_images {
            wrong.push((&IMAGES_WITHOUT_ORIGINAL, reason::NO_ORIGINAL));
        }
        for ((name, text), why) in wrong {
            let found = frame(&ctx, name, text, []).await?.select_columns(&["image_id"])?;
            let rows = rows_with("images", "image_id", found, &images.files).await?;
            plan.take_away(images, why, rows);
        }
        self.apply("images", plan).await
    }

    /// If an audit of `examples` is red that curate once passed, a file of it is written anew, rows
    /// as they are: curate makes the whole table anew where somebody else has written to it.
    async fn examples(&mut self, checkups: &[Checkup]) -> Result<()> {
        let ctx = session_of_readable(&self.snapshot, checkups).await?;
        // A dry run does not know what the last curate did if that cannot be read.
        let runs = checkups.iter().find(|checkup| checkup.name == "runs");
        let last = match runs.is_some_and(Checkup::is_readable) {
            true => self.snapshot.last_run("curate").await?,
            false => None,
        };
        let curated = curated(&self.snapshot, last.as_ref()).await?;
        let curated = as_mended(curated, &self.tables);
        for (name, text) in AUDITS {
            let tables = tables_of(text);
            if !tables.contains(&"examples") || !curated.can_ask(&tables) {
                continue;
            }
            let found = ask(&ctx, (name, text), last.as_ref()).await?;
            if found.limit(0, Some(1))?.count().await? == 0 {
                continue;
            }
            let checkup = checkups.iter().find(|checkup| checkup.name == "examples");
            let source = checkup.and_then(|c| Source::of(c.files.first()?));
            self.table("examples").outdated = true;
            let mut plan = Plan::default();
            plan.leaving.extend(source.iter().map(|source| source.path.clone()));
            plan.sources.extend(source);
            return self.apply("examples", plan).await;
        }
        Ok(())
    }

    /// Does what `plan` says, in one commit.
    async fn apply(&mut self, name: &'static str, plan: Plan) -> Result<()> {
        if plan.is_empty() {
            return Ok(());
        }
        let table = self.table(name);
        table.files += plan.leaving.len() as u64;
        table.renumbered += plan.renumbered;
        for (why, n) in &plan.dropped {
            *table.dropped.entry(*why).or_default() += n;
        }
        if self.repairs.dry_run {
            return Ok(());
        }
        if self.append_only(name) {
            self.set_append_only(name, false).await?;
        }
        let mut adds = Vec::new();
        for source in &plan.sources {
            let source = std::slice::from_ref(source);
            adds.extend(rewrite(&self.snapshot, name, source, &Progress::hidden()).await?);
        }
        let removes = self.snapshot.removes(name, Some(&plan.leaving))?;
        let change = Change { adds: adds.clone(), removes, only_rearranged: false };
        let committed = self.snapshot.commit(name, change, &self.author).await?;
        if committed == Committed::Conflict {
            self.snapshot.discard(name, &adds).await;
        }
        committed.or_overtaken(name)?;
        self.commits += 1;
        Ok(())
    }

    /// Makes properties what they were made to be, and counts what is there now.
    async fn close(&mut self) -> Result<()> {
        for name in self.names.clone() {
            if self.is_property_changed(name) && !self.repairs.dry_run {
                self.set_append_only(name, is_append_only(name)).await?;
            }
            let n = n_rows(&self.snapshot, name)?;
            let is_dry = self.repairs.dry_run;
            let table = self.table(name);
            let n_dropped: u64 = table.dropped.values().sum();
            table.rows_after = if is_dry { n.saturating_sub(n_dropped) } else { n };
        }
        Ok(())
    }

    fn table(&mut self, name: &'static str) -> &mut RepairedTable {
        self.tables.entry(name).or_default()
    }

    fn append_only(&self, name: &str) -> bool {
        self.snapshot.property(name, APPEND_ONLY).as_deref() == Some("true")
    }

    fn is_property_changed(&self, name: &str) -> bool {
        self.append_only(name) != is_append_only(name)
    }

    async fn set_append_only(&mut self, name: &'static str, value: bool) -> Result<()> {
        let value = [(APPEND_ONLY, value.to_string())];
        self.snapshot.set_properties(name, &value, &self.author).await?;
        self.commits += 1;
        Ok(())
    }
}

fn n_rows(snapshot: &Snapshot, name: &str) -> Result<u64> {
    Ok(snapshot.plain_files(name)?.iter().filter_map(|file| file.n_rows).sum())
}
