//! The last attempts, by the table `originals`. In: a snapshot. Out: which hosts answered last, and how each locator's last attempt ended.

use std::collections::BTreeMap;

use anyhow::Result;
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use tuwen_corpus::query::frame;
use tuwen_corpus::{Snapshot, collect, spilling_session};

/// Whose hosts answered last, if somebody asks.
#[derive(Clone, Copy)]
pub(super) enum Answered<'a> {
    /// The log of attempts says.
    Table(&'a Snapshot),
    /// These were told.
    Told(&'a [String]),
}

impl Answered<'_> {
    /// The last locators whose hosts answered.
    pub(super) async fn locators(self) -> Result<Vec<String>> {
        match self {
            Self::Table(snapshot) => answered(snapshot).await,
            Self::Told(locators) => Ok(locators.to_vec()),
        }
    }
}

/// The last locators whose hosts answered.
pub(super) async fn answered(snapshot: &Snapshot) -> Result<Vec<String>> {
    let ctx = spilling_session(snapshot.n_rows("originals", None)?)?;
    snapshot.register(&ctx).await?;
    let text = include_str!("../../../../sql/fetch_answered.sql");
    let rows = frame(&ctx, "fetch_answered", text, []).await?;
    let batches = collect(snapshot.engine(), rows).await?;
    let locators = batches.iter().flat_map(|batch| batch.column(0).as_string::<i32>().iter());
    Ok(locators.flatten().map(str::to_owned).collect())
}

/// Locators by the outcome of their last attempt, of those from `first_seq` on.
pub(super) async fn outcomes(snapshot: &Snapshot, first_seq: i64) -> Result<BTreeMap<String, u64>> {
    let ctx = spilling_session(snapshot.n_rows("pairs", None)?)?;
    snapshot.register(&ctx).await?;
    let text = include_str!("../../../../sql/fetch_outcomes.sql");
    let params = [("first_seq", first_seq.into())];
    let mut outcomes = BTreeMap::new();
    for batch in frame(&ctx, "fetch_outcomes", text, params).await?.collect().await? {
        let names = batch.column(0).as_string::<i32>().iter().flatten();
        let counts = batch.column(1).as_primitive::<Int64Type>().values();
        outcomes.extend(names.zip(counts).map(|(name, n)| (name.to_owned(), *n as u64)));
    }
    Ok(outcomes)
}
