//! `tuwen verify`. In: a corpus. Out: what is wrong with it, by kind, with what mends it. It holds
//! the logs against the files, the rows against their keys and checksums, and the tables against
//! the audits. Never writes anything.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::{MemTable, TableProvider};
use datafusion::prelude::SessionContext;
use tokio_util::sync::CancellationToken;
use tuwen_schemas::table;

use super::Depth;
use super::curated::{ask, curated, tables_of};
use super::findings::{Kind, Orphans, TableState, VerifyReport};
use super::health::{Checkup, amount, check};
use super::vacuum::{KEPT, VacuumOptions, vacuum};
use super::verdict::{REPAIR, Verdict};
use crate::audits::{AUDITS, IMAGES_WITHOUT_ORIGINAL};
use crate::corpus::Corpus;
use crate::query::frame;
use crate::report::Progress;
use crate::session::spilling_session;
use crate::snapshot::Snapshot;

/// Checks the corpus.
///
/// # Errors
/// A table does not keep its contract, or the store does not answer.
pub async fn verify(corpus: &Corpus, depth: Depth) -> Result<VerifyReport> {
    let clock = Instant::now();
    let snapshot = corpus.snapshot().await?;
    let names = snapshot.present();
    let progress = Progress::start("verify", amount(&snapshot, &names, depth)?);
    let mut verdict = Verdict::default();
    let mut checkups = Vec::new();
    for name in names {
        let checkup = check(&snapshot, name, depth, &progress).await?;
        verdict.files(&checkup);
        checkups.push(checkup);
    }
    progress.finish();
    let ctx = session_of_readable(&snapshot, &checkups).await?;
    for checkup in &checkups {
        verdict.properties(&snapshot, checkup.name)?;
        verdict.keys(&ctx, checkup).await?;
    }
    verdict.lacking(&snapshot);
    verdict.audits(&snapshot, &ctx, &checkups).await?;
    verdict.orphaned_images(&ctx, &checkups).await?;
    let orphans = verdict.orphans(corpus).await;
    let tables = checkups.iter().map(|checkup| TableState {
        table: checkup.name,
        version: snapshot.version(checkup.name).unwrap_or(-1),
        files: checkup.files.len() as u64,
        bytes: checkup.files.iter().map(|health| health.file.bytes).sum(),
        rows: checkup.n_rows(),
    });
    Ok(VerifyReport {
        whole: verdict.findings.is_empty(),
        full: depth == Depth::Pages,
        tables: tables.collect(),
        findings: verdict.findings,
        notes: verdict.notes,
        orphans,
        seconds: clock.elapsed().as_secs_f64(),
    })
}

/// A session with all tables, without the files that cannot be read.
pub(crate) async fn session_of_readable(
    snapshot: &Snapshot,
    checkups: &[Checkup],
) -> Result<SessionContext> {
    let ctx = spilling_session(snapshot.n_rows("pairs", None)?)?;
    snapshot.register(&ctx).await?;
    for checkup in checkups.iter().filter(|checkup| !checkup.is_readable()) {
        let readable = checkup.files.iter().filter(|health| !health.loses_rows());
        let paths: BTreeSet<String> = readable.map(|health| health.file.path.clone()).collect();
        let name = checkup.name;
        let provider: Arc<dyn TableProvider> = match paths.is_empty() {
            true => {
                let schema = Arc::clone(&table(name).schema);
                Arc::new(MemTable::try_new(schema, vec![Vec::new()])?)
            }
            false => snapshot.provider(name, Some(&paths), &ctx).await?,
        };
        ctx.deregister_table(name)?;
        ctx.register_table(name, provider)?;
    }
    Ok(ctx)
}

impl Verdict {
    /// What `tuwen vacuum` would delete.
    async fn orphans(&mut self, corpus: &Corpus) -> Vec<Orphans> {
        let options = VacuumOptions { older_than: KEPT, pins: Vec::new(), dry_run: true };
        match Box::pin(vacuum(corpus, &options, &CancellationToken::new())).await {
            Ok(report) => {
                let tables = report.tables.into_iter().filter(|(_, table)| table.files > 0);
                let orphans = tables.map(|(name, table)| Orphans {
                    table: name,
                    files: table.paths,
                    bytes: table.bytes,
                });
                orphans.collect()
            }
            Err(error) => {
                let what = format!("files that no version has were not looked for: {error:#}");
                self.note("all", what, "");
                Vec::new()
            }
        }
    }

    /// Images whose picture files were lost: nothing is wrong with them.
    async fn orphaned_images(&mut self, ctx: &SessionContext, checkups: &[Checkup]) -> Result<()> {
        let (name, text) = IMAGES_WITHOUT_ORIGINAL;
        if !checkups.iter().filter(|c| tables_of(text).contains(&c.name)).all(Checkup::is_readable)
        {
            return Ok(());
        }
        let n = match frame(ctx, name, text, []).await?.count().await {
            Ok(n) => n,
            Err(error) => return self.unreadable("images", error.into()),
        };
        if n > 0 {
            let what = format!("{n} images have no picture file in originals any more");
            let hint =
                "tuwen fetch gets them again; tuwen repair --drop-orphaned-images drops the images";
            self.note("images", what, hint);
        }
        Ok(())
    }

    /// Asks the audits that can be asked.
    async fn audits(
        &mut self,
        snapshot: &Snapshot,
        ctx: &SessionContext,
        checkups: &[Checkup],
    ) -> Result<()> {
        let runs = checkups.iter().find(|checkup| checkup.name == "runs");
        let last = match runs.is_some_and(Checkup::is_readable) {
            true => snapshot.last_run("curate").await?,
            false => None,
        };
        let curated = curated(snapshot, last.as_ref()).await?;
        let (mut not_asked, mut not_readable) = (Vec::new(), Vec::new());
        for (name, text) in AUDITS {
            let tables = tables_of(text);
            if !checkups.iter().filter(|c| tables.contains(&c.name)).all(Checkup::is_readable) {
                not_readable.push(name);
                continue;
            }
            if !curated.can_ask(&tables) {
                not_asked.push(name);
                continue;
            }
            let asked = ask(ctx, (name, text), last.as_ref()).await?;
            let first = match asked.clone().limit(0, Some(1))?.collect().await {
                Ok(first) => first,
                Err(error) => {
                    self.unreadable(tables[0], error.into())?;
                    continue;
                }
            };
            let Some(first) = first.iter().find(|batch| batch.num_rows() > 0) else { continue };
            let n = asked.count().await? as u64;
            let hint = match tables.contains(&"examples") {
                true => "tuwen repair, then tuwen run makes examples anew",
                false => REPAIR,
            };
            let what = format!("audit {name}: {n} rows, the first: {}", shown(first)?);
            self.found(Kind::FailedAudit, tables[0], n, what, hint);
        }
        if !not_asked.is_empty() {
            let what = format!(
                "not up to date with the other tables, so these audits were not asked: {}",
                not_asked.join(", ")
            );
            self.note("examples", what, "tuwen run");
        }
        if !not_readable.is_empty() {
            let what = format!(
                "audits that read what cannot be read were not asked: {}",
                not_readable.join(", ")
            );
            self.note("all", what, REPAIR);
        }
        Ok(())
    }
}

/// The first row of `batch`: `column = value, …`.
fn shown(batch: &arrow::array::RecordBatch) -> Result<String> {
    let options = FormatOptions::default().with_null("null");
    let mut cells = Vec::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let cell = ArrayFormatter::try_new(column, &options)?;
        cells.push(format!("{} = {}", field.name(), cell.value(0)));
    }
    Ok(cells.join(", "))
}
