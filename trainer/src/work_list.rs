//! What a stage with a model still has to do. In: the images that a query asked for, or whose examples it did. Out: portions of
//! them, in the order of the table; what the run's report says of the others. Never knows a model.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use anyhow::{Result, bail};
use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use datafusion::datasource::MemTable;
use datafusion::prelude::{DataFrame, Expr, cast};
use tuwen_corpus::report::StageReport;
use tuwen_corpus::{Rows, bare_session};
use tuwen_etl::driver::{Chunk, RedGate};

/// Why nothing can be said of an image whose pixels are damaged, or whose file is.
pub(crate) const UNREADABLE: &str = "unreadable_pixels";

/// Why an example has no score: the model's losses are no numbers.
pub(crate) const NOT_FINITE: &str = "loss_not_finite";

/// What is not rejected, among reasons.
const OK: &str = "ok";

/// What is not to be done of what was asked for.
#[derive(Default)]
pub(crate) struct LeftOut {
    /// Done already by the same author, as it is.
    pub(crate) n_known: u64,
    /// By reason.
    pub(crate) rejected: BTreeMap<String, u64>,
}

/// What is still to do.
#[derive(Default)]
pub(crate) struct WorkList {
    /// Row of the image in `images`, and id of the image or example, in the order of that table.
    todo: VecDeque<(u32, String)>,
    /// How many were still to do when another run was first.
    n_overtaken: Option<usize>,
    /// Ids of what was rejected in this run.
    rejected: BTreeSet<String>,
    /// All that was asked for, by the reason why it is rejected, or `ok`.
    asked: BTreeMap<String, u64>,
}

impl WorkList {
    /// Whether this run has not rejected `id`.
    pub(crate) fn is_good(&self, id: &str) -> bool {
        !self.rejected.contains(id)
    }

    /// Begins with `rows` and their `ids`, and reports what was `left_out`: once a run, however often another run is first.
    pub(crate) fn begin(
        &mut self,
        rows: Vec<u32>,
        ids: Vec<String>,
        left_out: LeftOut,
        report: &mut StageReport,
    ) -> Option<u64> {
        let mut todo: Vec<(u32, String)> = rows.into_iter().zip(ids).collect();
        todo.sort_unstable();
        todo.dedup();
        match self.n_overtaken.take() {
            None => {
                report.known += left_out.n_known;
                self.asked.clone_from(&left_out.rejected);
                self.asked.insert(OK.to_owned(), left_out.n_known + todo.len() as u64);
                report.rejected.extend(left_out.rejected);
                report.rows_in = todo.len() as u64 + report.n_rejected();
            }
            Some(n) => report.known += n.saturating_sub(todo.len()) as u64,
        }
        self.todo = todo.into();
        (!self.todo.is_empty()).then_some(self.todo.len() as u64)
    }

    /// The next of them, `n` at most.
    pub(crate) fn take(&mut self, n: usize) -> Vec<(u32, String)> {
        self.todo.drain(..n.min(self.todo.len())).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.todo.is_empty()
    }

    /// Reports the `what` of these ids as rejected, each with why.
    pub(crate) fn reject(
        &mut self,
        what: &str,
        reason: &str,
        ids: Vec<(String, String)>,
        report: &mut StageReport,
    ) {
        for (id, why) in ids {
            tracing::warn!("{what} {id}: {why}");
            *report.rejected.entry(reason.to_owned()).or_default() += 1;
            *self.asked.entry(reason.to_owned()).or_default() += 1;
            let n_ok = self.asked.entry(OK.to_owned()).or_default();
            *n_ok = n_ok.saturating_sub(1);
            self.rejected.insert(id);
        }
    }

    /// Judges how much is rejected of all that was asked for, so that asking again for a corpus with a few bad images ends as the first
    /// time; `what` is what it is called.
    ///
    /// # Errors
    /// [`RedGate`].
    pub(crate) fn judge(&self, what: &str, max_rejected_percent: f64) -> Result<()> {
        RedGate::of_rejected(&format!("{what} asked for"), &self.asked, max_rejected_percent)
    }

    /// Another run was first: what is left is asked for anew.
    pub(crate) fn overtaken(&mut self) {
        self.n_overtaken = Some(self.todo.len());
        self.stop();
    }

    pub(crate) fn stop(&mut self) {
        self.todo.clear();
    }
}

/// The column `name` of a person's query of `what`; of several (a join of `select *`) the first.
pub(crate) fn id_column(frame: DataFrame, name: &str, what: &str) -> Result<DataFrame> {
    let columns = frame.schema().columns();
    let Some(column) = columns.iter().find(|column| column.name == name) else {
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        bail!(
            "the query of {what}: expected a column `{name}`, found {}\n\
             hint: select {name} from {what} where …",
            names.join(", ")
        );
    };
    let id = cast(Expr::Column(column.clone()), DataType::Utf8).alias(name);
    Ok(frame.select(vec![id])?)
}

/// Rows to be committed.
pub(crate) fn chunk(rows: RecordBatch) -> Result<Chunk> {
    let table = MemTable::try_new(rows.schema(), vec![vec![rows]])?;
    Ok(Chunk::Rows(bare_session(Rows::Light)?.read_table(Arc::new(table))?))
}
