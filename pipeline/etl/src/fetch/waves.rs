//! A crawl on a cluster, in waves: each is one job, whose parts ask until there is nothing left or their time is over, and one commit. In:
//! the scratch table of what is to be asked for. Out: a frame whose rows are the attempts of a wave, and what a wave has left.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};
use chrono::Utc;
use datafusion::common::runtime::SpawnedTask;
use datafusion::execution::FunctionRegistry;
use datafusion::functions::expr_fn::{coalesce, md5, substring};
use datafusion::prelude::{DataFrame, SessionContext, cast, col, lit};
use datafusion::scalar::ScalarValue;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tuwen_corpus::query::frame;
use tuwen_corpus::report::Progress;
use tuwen_corpus::{Mark, Rows, Scratch, Snapshot, collect};
use tuwen_settings::FetchSettings;

use crate::fetch::FetchOutcome;
use crate::fetch::ask_exec::{AskPlan, SHARD, SHARD_DIGITS};
use crate::fetch::ask_table::AskTable;
use crate::fetch::last_attempts::answered;
use crate::fetch::origin::Origin;
use crate::fetch::outage::SUSPICIOUS_HOSTS;
use crate::fetch::tally::Tally;
use crate::fetch::todo::left_alone;

/// The file that lets a wave go on.
const GO: &str = "go";

/// How long a wave that was told to stop may take until what it got is committed.
const GRACE: Duration = Duration::from_secs(60);

/// How often the driver says that it lives.
const RENEW_EVERY: Duration = Duration::from_secs(20);

/// A wave whose job runs.
struct UnderWay {
    /// Where in the log its attempts begin.
    first_seq: i64,
    /// How many it is to make.
    n_rows: u64,
    began: Instant,
}

/// The waves of a run.
pub(super) struct Waves {
    origin: Origin,
    settings: FetchSettings,
    /// What is to be asked for now.
    wave: Option<DataFrame>,
    under_way: Option<UnderWay>,
    tally: Arc<Tally>,
    /// Tells the parts that a run was told to stop, so that what they got is committed; and ends them if that takes long.
    ending: Option<SpawnedTask<()>>,
    /// Whether a wave ended before all was asked for.
    pub(super) is_left: bool,
    /// The latest time, within what a run waits for, at which something is to be tried again.
    pub(super) next_pass: Option<Instant>,
}

impl Waves {
    pub(super) fn new(origin: Origin, settings: &FetchSettings, tally: Arc<Tally>) -> Self {
        Self {
            origin,
            settings: settings.clone(),
            wave: None,
            under_way: None,
            tally,
            ending: None,
            is_left: false,
            next_pass: None,
        }
    }

    /// Makes a wave of the `n_rows` rows of `todo` in `ctx`.
    pub(super) async fn begin(
        &mut self,
        snapshot: &Snapshot,
        ctx: &SessionContext,
        scratch: &Scratch,
        n_rows: u64,
        stop: &CancellationToken,
    ) -> Result<()> {
        let go = scratch.mark(GO).await?;
        self.ending = Some(end_by(stop, snapshot, go.clone()));
        // All that one owner has is one shard; of a folder nothing is to be spared.
        let owner = match self.origin {
            Origin::Http => {
                let domain = ctx.udf("registered_domain")?.call(vec![col("locator")]);
                coalesce(vec![domain, lit("")])
            }
            Origin::Folder(_) => col("locator"),
        };
        let shard = substring(md5(owner), lit(1_i64), lit(SHARD_DIGITS as i64));
        let todo = ctx.table("todo").await?.with_column(SHARD, cast(shard, DataType::Utf8))?;
        let shards = todo.clone().select_columns(&[SHARD])?.distinct()?;
        let n_shards = shards.limit(0, Some(SUSPICIOUS_HOSTS))?.count().await?;
        let first_number = snapshot.next_number("originals").await?;
        let plan = AskPlan {
            origin: self.origin.clone(),
            settings: self.settings.clone(),
            answered: answered(snapshot).await?,
            left_alone: left_alone(snapshot).await?,
            is_part: n_shards >= SUSPICIOUS_HOSTS,
            first_number,
            n_rows,
            go_file: go.url.to_string(),
            byte_budget: self.settings.byte_budget.saturating_sub(self.tally.brought_bytes()),
        };
        let (_, todo) = todo.into_parts();
        self.wave = Some(ctx.read_table(Arc::new(AskTable { todo, plan }))?);
        self.under_way = Some(UnderWay { first_seq: first_number, n_rows, began: Instant::now() });
        self.is_left = false;
        Ok(())
    }

    /// The attempts of the wave at hand; none after it: then it is committed, and what it has left is found out.
    pub(super) async fn next(
        &mut self,
        snapshot: &Snapshot,
        progress: &Progress,
        stop: &CancellationToken,
    ) -> Result<Option<DataFrame>> {
        if let Some(wave) = self.wave.take() {
            return Ok(Some(wave));
        }
        let Some(UnderWay { first_seq, n_rows, began }) = self.under_way.take() else {
            return Ok(None);
        };
        let longest_wait = Duration::from_secs(self.settings.longest_wait_secs);
        let until = Utc::now().timestamp_micros() + i64::try_from(longest_wait.as_micros())?;
        let ctx = snapshot.session(Rows::Light).await?;
        let params = [
            ("first_seq", first_seq.into()),
            ("attempts", self.settings.attempts.into()),
            ("until", ScalarValue::TimestampMicrosecond(Some(until), Some("UTC".into()))),
        ];
        let text = include_str!("../../../../sql/fetch_wave.sql");
        let rows = frame(&ctx, "fetch_wave", text, params).await?;
        let (mut n_attempts, mut next_try_us) = (0, None);
        for batch in collect(snapshot.engine(), rows).await? {
            let number = |column: usize, row: usize| {
                batch.column(column).as_primitive::<Int64Type>().value(row) as u64
            };
            let outcomes = batch.column(0).as_string::<i32>();
            let next_tries = batch.column(4).as_primitive::<TimestampMicrosecondType>();
            for row in 0..batch.num_rows() {
                n_attempts += number(1, row);
                next_try_us =
                    next_try_us.max(next_tries.is_valid(row).then(|| next_tries.value(row)));
                let named = |outcome: &FetchOutcome| outcome.name() == outcomes.value(row);
                if let Some(outcome) = FetchOutcome::ALL.iter().copied().find(named) {
                    self.tally.add(outcome, number(1, row), number(2, row), number(3, row));
                }
            }
        }
        progress.add(n_attempts);
        progress.say(|| self.tally.figures());
        let budget = self.settings.byte_budget;
        if budget > 0 && self.tally.brought_bytes() >= budget && !stop.is_cancelled() {
            tracing::warn!("fetch.byte_budget is spent: stopping");
            stop.cancel();
        }
        if n_attempts == 0 && !stop.is_cancelled() {
            let secs = self.settings.wave_secs;
            if began.elapsed() >= Duration::from_secs(secs) {
                bail!(
                    "fetch.wave_secs: expected time enough for a request, found {secs} s, in which none of {n_rows} ended\n\
                     hint: longer waves, or hosts that answer; the executors' logs say more"
                );
            }
            bail!(
                "no host answers any more: {n_rows} URLs were asked for, and no part of the crawl got an answer\n\
                 hint: run the command again when the network is there; the executors' logs say more"
            );
        }
        self.is_left = n_attempts < n_rows;
        if let Some(next_try_us) = next_try_us.filter(|_| !longest_wait.is_zero()) {
            let wait = u64::try_from(next_try_us - Utc::now().timestamp_micros()).unwrap_or(0);
            self.next_pass = Some(Instant::now() + Duration::from_micros(wait));
        }
        Ok(None)
    }

    /// Begins no wave.
    pub(super) fn stop(&mut self) {
        self.wave = None;
        self.under_way = None;
    }
}

/// Ends a wave when `stop` is cancelled, after which its job has [`GRACE`] for what is under way.
/// Until then its parts are told that somebody waits for them.
fn end_by(stop: &CancellationToken, snapshot: &Snapshot, go: Mark) -> SpawnedTask<()> {
    let (stop, at_last) = (stop.clone(), CancellationToken::new());
    snapshot.engine().stop_with(&at_last);
    SpawnedTask::spawn(async move {
        while timeout(RENEW_EVERY, stop.cancelled()).await.is_err() {
            if let Err(error) = go.renew().await {
                tracing::warn!("the parts of the crawl may take this run for dead: {error:#}");
            }
        }
        if let Err(error) = go.remove().await {
            tracing::warn!("the parts of the crawl cannot be told to stop: {error:#}");
        }
        sleep(GRACE).await;
        at_last.cancel();
    })
}
