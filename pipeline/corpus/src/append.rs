//! Appending to a table that others may append to as well. In: rows that its snapshot did not have. Out: those of them committed
//! that no other run has committed meanwhile; nothing is there twice.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use datafusion::functions_aggregate::expr_fn::max;
use datafusion::prelude::{DataFrame, JoinType, col};
use tuwen_schemas::table;

use crate::commit::{Author, Change, Committed};
use crate::engine::{Here, collect};
use crate::session::Rows;
use crate::snapshot::Snapshot;
use crate::table_files::Files;

/// What became of rows that were to be appended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Rows committed.
    pub n_rows: u64,
    /// Those of them that are not good, by reason.
    pub rejected: BTreeMap<String, u64>,
    /// Rows that another run had committed first.
    pub n_lost: u64,
    /// Whether another run committed to the table since the snapshot: what else was to do may be done.
    pub overtaken: bool,
}

impl Snapshot {
    /// Appends the rows of `frame`, whose keys table `name` did not have at the last refresh, and moves the snapshot to the version
    /// that has them. If another run was first, its rows win: of the files already written those rows are kept whose keys are
    /// new, and committed against the version that is newest then.
    ///
    /// # Errors
    /// The rows cannot be computed or written; nothing is committed then.
    pub async fn append(
        &mut self,
        name: &str,
        frame: DataFrame,
        author: &Author,
    ) -> Result<Appended> {
        self.make_if_lacking(name).await?;
        let first = self.next_number(name).await?;
        let files = self.write_rows(name, frame, Some(first), &Here).await?;
        self.append_files(name, files, author).await
    }

    /// As [`Snapshot::append`], of rows that are computed and written by the corpus's engine. Where the table numbers its rows, they bring
    /// their numbers: after all that are there, each once.
    ///
    /// # Errors
    /// As [`Snapshot::append`].
    pub async fn append_computed(
        &mut self,
        name: &str,
        frame: DataFrame,
        author: &Author,
    ) -> Result<Appended> {
        self.make_if_lacking(name).await?;
        let files = self.write_rows(name, frame, None, self.engine()).await?;
        self.append_files(name, files, author).await
    }

    async fn append_files(
        &mut self,
        name: &str,
        mut files: Files,
        author: &Author,
    ) -> Result<Appended> {
        let mut appended = Appended { n_rows: files.n_rows, ..Appended::default() };
        if self.is_overtaken(name) {
            appended.overtaken = true;
            files = self.without_known(name, files).await?;
        }
        while files.n_rows > 0 {
            let change = Change { adds: files.adds.clone(), ..Change::default() };
            if self.commit(name, change, author).await? == Committed::Yes {
                break;
            }
            appended.overtaken = true;
            self.overtake(name).await?;
            files = self.without_known(name, files).await?;
        }
        appended.n_lost = appended.n_rows - files.n_rows;
        appended.n_rows = files.n_rows;
        appended.rejected = files.rejected;
        Ok(appended)
    }

    /// The rows of `files` whose keys this snapshot of table `name` does not have, in files of their own; `files` are gone then.
    async fn without_known(&self, name: &str, files: Files) -> Result<Files> {
        let ctx = self.session(Rows::Heavy).await?;
        let rows =
            self.read_files(&ctx, name, files.adds.iter().map(|add| add.path.as_str())).await?;
        let key: Vec<&str> = table(name).key.iter().map(String::as_str).collect();
        let known = ctx.table(name).await?.select_columns(&key)?;
        let new = rows.join(known, JoinType::LeftAnti, &key, &key, None)?;
        let first = self.next_number(name).await?;
        let kept = self.write_files(name, new, first).await?;
        self.discard(name, &files.adds).await;
        Ok(kept)
    }

    /// The number after the last in the identity column of table `name`; 0 if it has none.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn next_number(&self, name: &str) -> Result<i64> {
        let Some(identity) = table(name).identity.as_deref() else { return Ok(0) };
        let ctx = self.session(Rows::Light).await?;
        let last = ctx.table(name).await?.aggregate(vec![], vec![max(col(identity))])?;
        let batches = collect(self.engine(), last).await?;
        let row = batches.first().context("an aggregate has a row")?.column(0);
        let numbers = row.as_primitive::<Int64Type>();
        Ok(numbers.iter().next().flatten().map_or(0, |last| last + 1))
    }

    async fn make_if_lacking(&mut self, name: &str) -> Result<()> {
        if self.version(name).is_some() {
            return Ok(());
        }
        let delta = self
            .corpus()
            .create(table(name))
            .await
            .with_context(|| format!("cannot make table `{name}`"))?;
        let has_commits = delta.version() > Some(0);
        self.replace(name, delta);
        if has_commits {
            // Another run has made it, and has committed to it what this snapshot did not see.
            self.set_overtaken(name);
        }
        Ok(())
    }
}
