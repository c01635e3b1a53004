//! The one loop that all stages run in. In: a stage, which says what is to do and does it chunk by chunk. Out: its report. The
//! driver reads the snapshot, commits each chunk against it, begins again where another run was first, stops when it is told
//! to, and writes the row of `runs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use anyhow::Result;
use datafusion::prelude::DataFrame;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tuwen_corpus::report::{Outcome, Progress, StageReport};
use tuwen_corpus::{Cancelled, Change, Committed, Corpus, LastRun, NewFiles, Run, Snapshot};

/// What a chunk of work comes to.
pub enum Chunk {
    /// Rows that the stage's table does not have, to be appended.
    Rows(DataFrame),
    /// The same, computed and written by the corpus's engine; where the table numbers its rows, they bring their numbers.
    Computed(DataFrame),
    /// Files that are written already, and files that they replace.
    Files(Change),
}

/// A stage: what is to do, in SQL, and the work on a bounded chunk of it.
#[expect(async_fn_in_trait, reason = "stages are known to the driver by type, never boxed")]
pub trait Stage {
    /// Its name in `runs`, reports and progress.
    const NAME: &'static str;

    /// The table it commits to.
    const TABLE: &'static str;

    /// The tables it reads to find what is to do: while nothing is new in them or its own since its last run, and it is told the
    /// same, nothing is. Empty if that depends on more.
    const SOURCES: &'static [&'static str];

    /// New rows of a table up to which they are looked for one by one in the whole tables; beyond, asking all rows costs less.
    const SOUGHT_ROWS: u64 = 4_000_000;

    /// What it was told, for `runs`.
    fn settings(&self) -> Value;

    /// Whether it is to be asked for [`Stage::todo`] whatever its last run left.
    fn always(&self) -> bool {
        Self::SOURCES.is_empty()
    }

    /// Whether something that `last` left has become due since; asked before [`Stage::todo`] is asked for what is new.
    async fn is_due(&mut self, _snapshot: &Snapshot, _last: &LastRun) -> Result<bool> {
        Ok(false)
    }

    /// Asks what is to do in `snapshot`, and gets ready to do it: the number of rows, 0 where that is not known before; none if
    /// nothing is. All that was to do before the files of `new` is done; none if that is not known. Commits nothing, and is dropped
    /// where it is when the run is told to stop.
    async fn todo(
        &mut self,
        run: &Run,
        snapshot: &Snapshot,
        new: Option<&NewFiles>,
        report: &mut StageReport,
    ) -> Result<Option<u64>>;

    /// Does the next chunk; none after the last.
    async fn next_chunk(
        &mut self,
        snapshot: &Snapshot,
        progress: &Progress,
        report: &mut StageReport,
    ) -> Result<Option<Chunk>>;

    /// Whether what came out of the chunks leaves something to do, so that [`Stage::todo`] is to be asked again.
    fn again(&self) -> bool {
        false
    }

    /// Another run has committed to the table: begins nothing more, since it may be done, and is asked for [`Stage::todo`] again.
    fn overtaken(&mut self) {
        self.stop();
    }

    /// Begins nothing more of what is to do; what is under way still comes out of [`Stage::next_chunk`].
    fn stop(&mut self);

    /// Judges the gates of what is committed, after a run that was not interrupted.
    ///
    /// # Errors
    /// [`RedGate`].
    async fn judge(&mut self, _snapshot: &Snapshot) -> Result<()> {
        Ok(())
    }

    /// Completes the report after the last chunk.
    async fn finish(&mut self, _snapshot: &Snapshot, _report: &mut StageReport) -> Result<()> {
        Ok(())
    }
}

/// A stage that failed, with its report.
#[derive(Debug)]
pub struct StageFailed {
    /// What it did until then.
    pub report: Box<StageReport>,
    source: anyhow::Error,
}

impl StageFailed {
    /// What made it fail.
    pub fn cause(&self) -> &anyhow::Error {
        &self.source
    }
}

impl fmt::Display for StageFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The error is the message; that it has a report is for callers that look.
        self.source.fmt(f)
    }
}

impl std::error::Error for StageFailed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.source()
    }
}

/// A red gate, which is judged again whenever the stage is run.
#[derive(Debug)]
pub struct RedGate(pub String);

impl fmt::Display for RedGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RedGate {}

impl RedGate {
    /// Judges rows by reason ("" or "ok": good) against `max_rejected_percent`; `rows` is what they are called.
    ///
    /// # Errors
    /// [`RedGate`]: more are rejected.
    pub fn of_rejected(
        rows: &str,
        reasons: &BTreeMap<String, u64>,
        max_rejected_percent: f64,
    ) -> Result<()> {
        let n_rows: u64 = reasons.values().sum();
        let mut rejected: Vec<(&String, &u64)> =
            reasons.iter().filter(|(reason, _)| !["", "ok"].contains(&reason.as_str())).collect();
        let n_rejected: u64 = rejected.iter().map(|(_, n)| **n).sum();
        let percent = 100.0 * n_rejected as f64 / n_rows.max(1) as f64;
        if percent <= max_rejected_percent {
            return Ok(());
        }
        rejected.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        let most: Vec<String> =
            rejected.iter().take(3).map(|(reason, n)| format!("{reason} {n}")).collect();
        Err(Self(format!(
            "max_rejected_percent: expected at most {max_rejected_percent} % of {n_rows} {rows} rejected, found {percent:.1} % ({})",
            most.join(", ")
        ))
        .into())
    }
}

/// Runs `stage` on `corpus` until nothing is left to do, or `stop` is cancelled: then the chunk under way is finished and
/// committed, and the report says that the run was interrupted. A stage that could not be made is a run that failed.
///
/// # Errors
/// [`StageFailed`]: the corpus cannot be read or written, or what the stage itself finds wrong. Chunks committed by then stay.
pub async fn run<S: Stage>(
    corpus: &Corpus,
    stage: Result<S>,
    stop: &CancellationToken,
) -> Result<StageReport> {
    let mut snapshot = corpus.snapshot().await?;
    corpus.engine().stop_with(stop);
    let run = Run::start(S::NAME, &snapshot);
    let mut report = StageReport::new(S::NAME);
    let (ended, settings) = match stage {
        Ok(mut stage) => {
            let ended = Box::pin(chunks(&mut stage, &run, &mut snapshot, &mut report, stop)).await;
            // A job on a cluster is not waited for; what was committed before it stays.
            let ended = match ended {
                Err(error) if error.is::<Cancelled>() => Ok(Outcome::Interrupted),
                ended => ended,
            };
            (ended, stage.settings())
        }
        Err(error) => (Err(error), Value::Null),
    };
    let error = match ended {
        Ok(outcome) => {
            report.outcome = outcome;
            None
        }
        Err(error) => {
            report.outcome = if error.is::<RedGate>() { Outcome::Gate } else { Outcome::Failed };
            report.error = Some(format!("{error:#}"));
            Some(error)
        }
    };
    let recorded = Box::pin(run.finish(&mut snapshot, report.clone(), &settings)).await;
    match (error, recorded) {
        (None, recorded) => recorded,
        // A run that failed because nothing can be written cannot be recorded either.
        (Some(source), recorded) => {
            Err(StageFailed { report: Box::new(recorded.unwrap_or(report)), source }.into())
        }
    }
}

async fn chunks<S: Stage>(
    stage: &mut S,
    run: &Run,
    snapshot: &mut Snapshot,
    report: &mut StageReport,
    stop: &CancellationToken,
) -> Result<Outcome> {
    snapshot.corpus().check_own(S::TABLE)?;
    let last = last_run_told_the_same(stage, snapshot).await?;
    let tables = [S::SOURCES, &[S::TABLE]].concat();
    loop {
        let new = match &last {
            Some(last) => snapshot.files_since(&last.versions, &tables).await?,
            None => None,
        };
        if let (Some(new), Some(last)) = (&new, &last) {
            let is_due = Box::pin(stage.is_due(snapshot, last));
            let Some(is_due) = stop.run_until_cancelled(is_due).await.transpose()? else { break };
            if !is_due && new.values().all(BTreeSet::is_empty) {
                break;
            }
        }
        let new = few_rows::<S>(new, snapshot)?;
        // It commits nothing, so nothing is lost with it when the run is to stop.
        let todo = Box::pin(stage.todo(run, snapshot, new.as_ref(), report));
        let todo = stop.run_until_cancelled(todo).await.transpose()?;
        let Some(n_rows) = todo.flatten() else { break };
        let progress = Progress::start(S::NAME, n_rows);
        snapshot.engine().show_on(Arc::new(progress.clone()));
        let overtaken = work(stage, run, snapshot, report, stop, &progress).await;
        progress.finish();
        let overtaken = overtaken?;
        if stop.is_cancelled() {
            break;
        }
        match overtaken {
            true => snapshot.refresh().await?,
            false if !stage.again() => break,
            false => {}
        }
    }
    stage.finish(snapshot, report).await?;
    if stop.is_cancelled() {
        return Ok(Outcome::Interrupted);
    }
    Box::pin(stage.judge(snapshot)).await?;
    Ok(Outcome::Ok)
}

/// Does what is to do and commits it chunk by chunk; whether others had done some of it first.
async fn work<S: Stage>(
    stage: &mut S,
    run: &Run,
    snapshot: &mut Snapshot,
    report: &mut StageReport,
    stop: &CancellationToken,
    progress: &Progress,
) -> Result<bool> {
    let n_before = report.n_handled();
    let mut overtaken = false;
    if stop.is_cancelled() {
        stage.stop();
    }
    while let Some(chunk) = Box::pin(stage.next_chunk(snapshot, progress, report)).await? {
        if Box::pin(commit::<S>(chunk, run, snapshot, report)).await? {
            overtaken = true;
            stage.overtaken();
        }
        // On a cluster nobody has counted them one by one.
        progress.reach(report.n_handled().saturating_sub(n_before));
        if stop.is_cancelled() {
            stage.stop();
        }
    }
    Ok(overtaken)
}

/// `new`, unless its rows are more than are looked for one by one in large tables.
fn few_rows<S: Stage>(new: Option<NewFiles>, snapshot: &Snapshot) -> Result<Option<NewFiles>> {
    let Some(new) = new else { return Ok(None) };
    for (name, paths) in &new {
        if snapshot.n_rows(name, Some(paths))? > S::SOUGHT_ROWS {
            return Ok(None);
        }
    }
    Ok(Some(new))
}

async fn last_run_told_the_same<S: Stage>(
    stage: &S,
    snapshot: &Snapshot,
) -> Result<Option<LastRun>> {
    if stage.always() {
        return Ok(None);
    }
    let (last, settings) = (snapshot.last_run(S::NAME).await?, stage.settings().to_string());
    Ok(last.filter(|last| last.settings == settings))
}

/// Commits a chunk and counts it; whether another run was first.
async fn commit<S: Stage>(
    chunk: Chunk,
    run: &Run,
    snapshot: &mut Snapshot,
    report: &mut StageReport,
) -> Result<bool> {
    let appended = match chunk {
        Chunk::Rows(frame) => snapshot.append(S::TABLE, frame, run.author()).await?,
        Chunk::Computed(frame) => snapshot.append_computed(S::TABLE, frame, run.author()).await?,
        Chunk::Files(change) => {
            let adds = change.adds.clone();
            return match snapshot.commit(S::TABLE, change, run.author()).await? {
                Committed::Yes => {
                    report.commits += 1;
                    Ok(false)
                }
                Committed::Conflict => {
                    snapshot.discard(S::TABLE, &adds).await;
                    Ok(true)
                }
            };
        }
    };
    let n_rejected: u64 = appended.rejected.values().sum();
    report.rows_out += appended.n_rows - n_rejected;
    report.known += appended.n_lost;
    for (reason, n) in appended.rejected {
        *report.rejected.entry(reason).or_default() += n;
    }
    report.commits += u64::from(appended.n_rows > 0);
    Ok(appended.overtaken)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stage that is told to stop while it asks what is to do, for ever.
    struct Asking<'a> {
        stop: &'a CancellationToken,
    }

    impl Stage for Asking<'_> {
        const NAME: &'static str = "fetch";
        const TABLE: &'static str = "originals";
        const SOURCES: &'static [&'static str] = &[];

        fn settings(&self) -> Value {
            Value::Null
        }

        async fn todo(
            &mut self,
            _run: &Run,
            _snapshot: &Snapshot,
            _new: Option<&NewFiles>,
            _report: &mut StageReport,
        ) -> Result<Option<u64>> {
            self.stop.cancel();
            std::future::pending().await
        }

        async fn next_chunk(
            &mut self,
            _snapshot: &Snapshot,
            _progress: &Progress,
            _report: &mut StageReport,
        ) -> Result<Option<Chunk>> {
            Ok(None)
        }

        fn stop(&mut self) {}
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_stage_that_still_asks_what_is_to_do_ends_when_it_is_told_to_stop() {
        let folder = tempfile::tempdir().unwrap();
        let location = folder.path().display().to_string();
        let corpus = Corpus::open_or_create(&location).await.unwrap();
        let stop = CancellationToken::new();
        let report = run(&corpus, Ok(Asking { stop: &stop }), &stop).await.unwrap();
        assert_eq!((report.outcome, report.commits), (Outcome::Interrupted, 0));
    }
}
