//! The curate stage. In: a corpus whose pairs, originals or images, or whose rules changed. Out: examples brought up to date in
//! one commit, once the audits passed and the gates are green; nothing when nothing changed.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use datafusion::prelude::SessionContext;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tuwen_corpus::query::tally;
use tuwen_corpus::report::{Progress, StageReport};
use tuwen_corpus::{
    Change, Corpus, LastRun, NewFiles, Rows, Run, Scratch, Snapshot, audit, spilling_session,
};
use tuwen_settings::Settings;

use crate::curate::change::change;
use crate::curate::rebuild::rebuild;
use crate::curate::rules::Rules;
use crate::curate::{CaptionTokenizer, SplitRule, gates};
use crate::driver::{self, Chunk, RedGate, Stage};

/// Whether gates that are red hold up the commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gates {
    /// They do.
    Judge,
    /// They are not asked.
    Force,
}

/// Brings `examples` up to date with what it depends on.
///
/// # Errors
/// The tokenizer is none, the corpus cannot be read or written, an audit found rows, or a gate is red; `examples` stays as it
/// was then.
pub async fn curate(
    corpus: &Corpus,
    settings: &Settings,
    gates: Gates,
    stop: &CancellationToken,
) -> Result<StageReport> {
    let last = corpus.snapshot().await?.last_run(Curate::NAME).await?;
    let stage = match Scratch::of(corpus).await {
        Ok(scratch) => Curate::new(settings, last.as_ref(), gates, scratch, stop),
        Err(error) => Err(error),
    };
    driver::run(corpus, stage, stop).await
}

struct Curate<'a> {
    settings: &'a Settings,
    gates: Gates,
    rules: Rules<'a>,
    scratch: Scratch,
    todo: Option<Todo>,
    /// What to say when rows are committed by another rule of splitting than the last.
    split_change: Option<String>,
    /// Whether the gates were asked of what is to be committed.
    has_judged: bool,
    stop: &'a CancellationToken,
}

/// How `examples` is brought up to date.
enum Todo {
    /// All rows are made anew.
    Rebuild,
    /// Those rows that the new files concern.
    Change(NewFiles),
}

impl Stage for Curate<'_> {
    const NAME: &'static str = "curate";
    const TABLE: &'static str = "examples";
    const SOURCES: &'static [&'static str] = &["pairs", "originals", "images"];
    /// What is near a change is looked for in an index of the images at hand, some 3 kB each.
    const SOUGHT_ROWS: u64 = 200_000;

    fn settings(&self) -> Value {
        self.rules.identity()
    }

    async fn todo(
        &mut self,
        _run: &Run,
        snapshot: &Snapshot,
        new: Option<&NewFiles>,
        report: &mut StageReport,
    ) -> Result<Option<u64>> {
        let ctx = snapshot.session(Rows::Light).await?;
        let n_pairs = ctx.table("pairs").await?.count().await? as u64;
        if n_pairs == 0 {
            return Ok(None);
        }
        report.rows_in = n_pairs;
        // Where somebody else wrote examples, what came since does not say which of them are right.
        let new = new.filter(|new| new[Self::TABLE].is_empty() && !self.rules.depend_on_all());
        self.todo = Some(new.cloned().map_or(Todo::Rebuild, Todo::Change));
        Ok(Some(n_pairs))
    }

    async fn next_chunk(
        &mut self,
        snapshot: &Snapshot,
        _progress: &Progress,
        report: &mut StageReport,
    ) -> Result<Option<Chunk>> {
        let Some(todo) = self.todo.take() else { return Ok(None) };
        self.has_judged = true;
        let stop = self.stop.clone();
        let work = async {
            match todo {
                Todo::Rebuild => self.rebuild(snapshot, report).await,
                Todo::Change(new) => self.change(snapshot, &new, report).await,
            }
        };
        // Nothing of it is committed before the end, so there is no chunk to finish when it is to stop.
        tokio::select! {
            // What is new may concern no row, such as one more try that failed.
            made = work => Ok(Some(made?).filter(|change| !change.is_empty()).map(Chunk::Files)),
            () = stop.cancelled() => Ok(None),
        }
    }

    fn stop(&mut self) {
        self.todo = None;
    }

    /// What was committed now was judged before; what earlier runs left may be red under the gates of this one.
    async fn judge(&mut self, snapshot: &Snapshot) -> Result<()> {
        if self.gates == Gates::Force || self.has_judged {
            return Ok(());
        }
        let ctx = snapshot.session(Rows::Light).await?;
        let reasons = tally(snapshot.engine(), &ctx, "examples", "reject_reason").await?;
        let judged = gates::judge(snapshot.engine(), &ctx, self.settings, &reasons).await;
        judged.map_err(|error| with_hint(error, "nothing was new"))
    }
}

impl<'a> Curate<'a> {
    fn new(
        settings: &'a Settings,
        last: Option<&LastRun>,
        gates: Gates,
        scratch: Scratch,
        stop: &'a CancellationToken,
    ) -> Result<Self> {
        let tokenizer = Path::new(&settings.curate.tokenizer);
        let tokenizer = CaptionTokenizer::open(tokenizer, settings.curate.max_length)?;
        let split = SplitRule::of(&settings.curate, last)?;
        let split_change = last.and_then(|last| split.change_since(last));
        Ok(Self {
            settings,
            gates,
            rules: Rules::new(&settings.curate, tokenizer, split)?,
            scratch,
            todo: None,
            split_change,
            has_judged: false,
            stop,
        })
    }

    async fn rebuild(&self, snapshot: &Snapshot, report: &mut StageReport) -> Result<Change> {
        let files = rebuild(snapshot, &self.rules, &self.scratch).await?;
        let removes = snapshot.removes("examples", None)?;
        let change = Change { adds: files.adds, removes, ..Change::default() };
        let ctx = self.as_it_is_to_be(snapshot, &change).await?;
        let reasons = tally(snapshot.engine(), &ctx, "examples", "reject_reason").await?;
        report.rejected = reasons.clone();
        report.rows_out = report.rejected.remove("").unwrap_or(0);
        let passed = async {
            audit(snapshot.engine(), &ctx, self.settings.curate.max_length).await?;
            self.judge_new(snapshot, &ctx, &reasons).await
        };
        self.keep(passed.await, snapshot, change, report).await
    }

    async fn change(
        &self,
        snapshot: &Snapshot,
        new: &NewFiles,
        report: &mut StageReport,
    ) -> Result<Change> {
        let changed = change(snapshot, new, &self.rules, &self.scratch).await?;
        report.known = report.rows_in.saturating_sub(changed.n_judged);
        report.rows_in = changed.n_judged;
        report.rejected = changed.reasons;
        report.rows_out = report.rejected.remove("").unwrap_or(0);
        let passed = async {
            audit(snapshot.engine(), &changed.concerned, self.settings.curate.max_length).await?;
            let ctx = self.as_it_is_to_be(snapshot, &changed.change).await?;
            self.judge_new(snapshot, &ctx, &changed.all_reasons).await
        };
        self.keep(passed.await, snapshot, changed.change, report).await
    }

    /// `change` if everything passed; otherwise its files go.
    async fn keep(
        &self,
        passed: Result<()>,
        snapshot: &Snapshot,
        change: Change,
        report: &mut StageReport,
    ) -> Result<Change> {
        if let Err(error) = passed {
            snapshot.discard("examples", &change.adds).await;
            return Err(error);
        }
        if let Some(change) = &self.split_change {
            tracing::warn!("{change}");
        }
        if report.rejected.contains_key("not_fetched") {
            report.hints.push(
                "not_fetched pairs have a file name and no URL, or were not asked for yet: `tuwen fetch --image-dir DIR` \
                 reads files that are at hand"
                    .to_owned(),
            );
        }
        Ok(change)
    }

    /// Judges what is to be committed.
    async fn judge_new(
        &self,
        snapshot: &Snapshot,
        ctx: &SessionContext,
        reasons: &BTreeMap<String, u64>,
    ) -> Result<()> {
        if self.gates == Gates::Force {
            return Ok(());
        }
        let judged = gates::judge(snapshot.engine(), ctx, self.settings, reasons).await;
        judged.map_err(|error| with_hint(error, "examples stays as it was"))
    }

    /// A session in which `examples` has the rows it would have with `change`.
    async fn as_it_is_to_be(&self, snapshot: &Snapshot, change: &Change) -> Result<SessionContext> {
        let ctx = spilling_session(snapshot.n_rows("pairs", None)?)?;
        snapshot.register(&ctx).await?;
        let mut staying = snapshot.file_paths("examples")?;
        for remove in &change.removes {
            staying.remove(&remove.path);
        }
        let mut rows = None;
        if !staying.is_empty() {
            let table = snapshot.table_of_files("examples", Some(&staying), None)?;
            rows = Some(ctx.read_table(table)?);
        }
        if !change.adds.is_empty() {
            let paths = change.adds.iter().map(|add| add.path.as_str());
            let coming = snapshot.read_files(&ctx, "examples", paths).await?;
            rows = Some(match rows {
                Some(rows) => rows.union(coming)?,
                None => coming,
            });
        }
        if let Some(rows) = rows {
            ctx.deregister_table("examples")?;
            ctx.register_table("examples", rows.into_view())?;
        }
        Ok(ctx)
    }
}

/// A red gate with what became of the table.
fn with_hint(error: anyhow::Error, became: &str) -> anyhow::Error {
    match error.downcast::<RedGate>() {
        Ok(RedGate(what)) => RedGate(format!(
            "{what}\n{became}\nhint: --force commits all the same; `tuwen config` shows the gates"
        ))
        .into(),
        Err(error) => error,
    }
}
