//! What is to be asked for, by the tables. In: a session with them, and what is to be tried again. Out: locators in the order in which
//! they are asked for. Never asks for any.

use anyhow::Result;
use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimestampMicrosecondType};
use chrono::Utc;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::prelude::{SessionContext, col};
use datafusion::scalar::ScalarValue;
use futures::{Stream, TryStreamExt};
use tuwen_corpus::query::frame;
use tuwen_corpus::{Rows, Scratch, Snapshot, bare_session, spilling_session};
use tuwen_settings::FetchSettings;

use crate::fetch::FetchOutcome;
use crate::fetch::attempt::{Ask, Validators};
use crate::fetch::retry::Retry;
use crate::fetch::shard::Shard;

/// What decides which locators are asked for now.
pub(super) struct TodoQuery<'a> {
    pub(super) from_files: bool,
    pub(super) retry: &'a Retry,
    pub(super) settings: &'a FetchSettings,
    /// From when on the times of next tries are looked at, besides the pairs at hand.
    pub(super) due_since_us: Option<i64>,
    /// Where in the log of attempts those of this run begin.
    pub(super) first_seq: Option<i64>,
}

impl TodoQuery<'_> {
    /// Holds in `todo` the locators of `ctx`'s `pairs`; how many there are.
    pub(super) async fn hold(&self, ctx: &SessionContext, scratch: &Scratch) -> Result<u64> {
        let retry = self.retry;
        let asked_before = retry.older_than.map(|age| {
            Utc::now().timestamp_micros() - i64::try_from(age.as_micros()).unwrap_or(i64::MAX)
        });
        let params = [
            ("from_files", self.from_files.into()),
            ("now", timestamp(Some(Utc::now().timestamp_micros()))),
            ("due_since", timestamp(self.due_since_us)),
            ("may_pass", names(FetchOutcome::may_pass())),
            ("uncounted", names(FetchOutcome::uncounted())),
            ("attempts", ScalarValue::Int64(Some(self.settings.attempts.into()))),
            ("retry_all", retry.all.into()),
            ("retry", names(retry.outcomes.iter().copied())),
            ("refresh", retry.refresh.into()),
            ("first_seq", self.first_seq.into()),
            ("asked_before", timestamp(asked_before)),
        ];
        let text = include_str!("../../../../sql/fetch_todo.sql");
        let mut todo = frame(ctx, "fetch_todo", text, params).await?;
        if let Some(shard) = Shard::of(&self.settings.shard)? {
            todo = todo.filter(shard.has(col("locator")))?;
        }
        scratch.hold(ctx, "todo", todo).await
    }
}

/// Whether the time of a next try has come since `due_since_us`.
pub(super) async fn is_due(snapshot: &Snapshot, due_since_us: Option<i64>) -> Result<bool> {
    let ctx = bare_session(Rows::Light)?;
    snapshot.register(&ctx).await?;
    let text = include_str!("../../../../sql/fetch_due.sql");
    let params = [
        ("now", timestamp(Some(Utc::now().timestamp_micros()))),
        ("due_since", timestamp(due_since_us)),
        ("may_pass", names(FetchOutcome::may_pass())),
    ];
    let due = frame(&ctx, "fetch_due", text, params).await?.collect().await?;
    let counts = due
        .iter()
        .flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().iter().copied());
    Ok(counts.sum::<i64>() > 0)
}

/// Hosts that said that they want to be left alone, and until when, in microseconds since 1970.
pub(super) async fn left_alone(snapshot: &Snapshot) -> Result<Vec<(String, i64)>> {
    let ctx = spilling_session(snapshot.n_rows("originals", None)?)?;
    snapshot.register(&ctx).await?;
    let text = include_str!("../../../../sql/fetch_left_alone.sql");
    let params = [("now", timestamp(Some(Utc::now().timestamp_micros())))];
    let mut left_alone = Vec::new();
    for batch in frame(&ctx, "fetch_left_alone", text, params).await?.collect().await? {
        let hosts = batch.column(0).as_string::<i32>();
        let ends = batch.column(1).as_primitive::<TimestampMicrosecondType>().values();
        left_alone.extend(hosts.iter().flatten().map(str::to_owned).zip(ends.iter().copied()));
    }
    Ok(left_alone)
}

/// What each row asks for.
pub(super) fn asks(
    batches: SendableRecordBatchStream,
) -> impl Stream<Item = Result<Ask>> + Send + Unpin {
    let rows = batches.map_err(anyhow::Error::from).map_ok(|batch| {
        let text = |column: usize, row: usize| {
            let texts = batch.column(column).as_string::<i32>();
            texts.is_valid(row).then(|| texts.value(row).to_owned())
        };
        let next = |column: usize, row: usize| {
            batch.column(column).as_primitive::<Int32Type>().value(row) + 1
        };
        let rows: Vec<_> = (0..batch.num_rows())
            .map(|row| {
                let known = Validators { etag: text(3, row), last_modified: text(4, row) };
                let locator = text(0, row).unwrap_or_default();
                Ok(Ask { locator, attempt: next(1, row), n_tries: next(2, row), known })
            })
            .collect();
        futures::stream::iter(rows)
    });
    Box::pin(rows.try_flatten())
}

fn names(outcomes: impl Iterator<Item = FetchOutcome>) -> ScalarValue {
    let names: Vec<ScalarValue> = outcomes.map(|outcome| outcome.name().into()).collect();
    ScalarValue::List(ScalarValue::new_list_nullable(&names, &DataType::Utf8))
}

fn timestamp(us: Option<i64>) -> ScalarValue {
    ScalarValue::TimestampMicrosecond(us, Some("UTC".into()))
}
