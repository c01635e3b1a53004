//! Why a part of a job failed, on its way from an executor to a driver: there it is one sentence among the names of errors that it was
//! wrapped in, and their quotes. In: an error. Out: one that the sentence can be found in again, and that is tried again if a store or a
//! disk failed.

use std::error::Error;
use std::fmt::{self, Display};
use std::io;
use std::sync::Arc;

use ballista_core::JobId;
use ballista_core::error::BallistaError;
use ballista_core::serde::protobuf::{
    RuntimeStatsReport, ShuffleWritePartition, TaskColumnStats, WindowStateReport,
};
use ballista_executor::execution_engine::{ExecutionEngine, QueryStageExecutor};
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::prelude::SessionConfig;
use tuwen_corpus::log::one_line;

/// What stands around the sentence, whose bytes are hexadecimal, so that no quoting changes them.
const BEGIN: &str = "tuwen says <";
const END: char = '>';

/// An engine of an executor whose errors say why.
pub(crate) struct Telling<E>(pub(crate) E);

impl<E: ExecutionEngine> ExecutionEngine for Telling<E> {
    fn create_query_stage_exec(
        &self,
        job_id: JobId,
        stage_id: usize,
        task_id: usize,
        global_output_partition_ids: Vec<usize>,
        plan: Arc<dyn ExecutionPlan>,
        work_dir: &str,
        config: &SessionConfig,
    ) -> Result<Arc<dyn QueryStageExecutor>> {
        let stage = self.0.create_query_stage_exec(
            job_id,
            stage_id,
            task_id,
            global_output_partition_ids,
            plan,
            work_dir,
            config,
        )?;
        Ok(Arc::new(TellingStage(stage)))
    }
}

struct TellingStage(Arc<dyn QueryStageExecutor>);

impl fmt::Debug for TellingStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Display for TellingStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.0, f)
    }
}

#[async_trait::async_trait]
impl QueryStageExecutor for TellingStage {
    async fn execute_query_stage(
        &self,
        task_id: usize,
        context: Arc<TaskContext>,
    ) -> Result<Vec<ShuffleWritePartition>> {
        self.0.execute_query_stage(task_id, context).await.map_err(telling)
    }

    /// None: the parts of a stage may have different operators (a union's part has no use for the other branches), and a scheduler that
    /// is told of different numbers of them takes the part for one that has not ended, for ever.
    fn collect_plan_metrics(&self) -> Vec<MetricsSet> {
        Vec::new()
    }

    fn collect_runtime_stats_reports(&self) -> Vec<RuntimeStatsReport> {
        self.0.collect_runtime_stats_reports()
    }

    fn collect_window_state_reports(&self) -> Result<Vec<WindowStateReport>> {
        self.0.collect_window_state_reports()
    }

    fn collect_column_stats(&self) -> Vec<TaskColumnStats> {
        self.0.collect_column_stats()
    }
}

/// `error`, and what is below it, however it is wrapped.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&cause| match cause.downcast_ref::<BallistaError>() {
        // Ballista's own error does not say what is below it.
        Some(BallistaError::DataFusionError(error)) => Some(&**error as &(dyn Error + 'static)),
        Some(BallistaError::IoError(error)) => Some(error as &(dyn Error + 'static)),
        _ => cause.source(),
    })
}

/// What Ballista has to see by an error of its own: the results of a lost executor are computed again, and what was cancelled is left
/// alone.
fn theirs(cause: &(dyn Error + 'static)) -> Option<BallistaError> {
    match cause.downcast_ref::<BallistaError>()? {
        BallistaError::FetchFailed(executor, stage, part, why) => {
            Some(BallistaError::FetchFailed(executor.clone(), *stage, *part, why.clone()))
        }
        BallistaError::Cancelled => Some(BallistaError::Cancelled),
        _ => None,
    }
}

/// Whether a store or a disk has failed. Where DataFusion reads a footer, it keeps the text of the store's error alone.
fn is_io(cause: &(dyn Error + 'static)) -> bool {
    cause.is::<io::Error>()
        || cause.is::<object_store::Error>()
        || cause.to_string().contains("Object Store error:")
}

/// `error`, in which the sentence stands; an IO error where what is below it is one, since only those are tried again.
fn telling(error: DataFusionError) -> DataFusionError {
    if let Some(theirs) = causes(&error).find_map(theirs) {
        return theirs.into_datafusion();
    }
    let is_io = causes(&error).any(is_io);
    let sentence = one_line(&anyhow::Error::from(error));
    let hex: String = sentence.bytes().map(|byte| format!("{byte:02x}")).collect();
    let marked = format!("{BEGIN}{hex}{END}");
    match is_io {
        true => DataFusionError::IoError(io::Error::other(marked)),
        false => DataFusionError::Execution(marked),
    }
}

/// What `error`, of a job, says: the sentence in it, or else all of it, in one line.
pub(crate) fn told(error: &str) -> String {
    let sentence = || {
        let (_, rest) = error.split_once(BEGIN)?;
        let (hex, _) = rest.split_once(END)?;
        let bytes: Option<Vec<u8>> = (0..hex.len() / 2)
            .map(|i| u8::from_str_radix(hex.get(2 * i..2 * i + 2)?, 16).ok())
            .collect();
        String::from_utf8(bytes?).ok()
    };
    sentence().unwrap_or_else(|| error.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_survives_the_names_around_it() {
        let error = anyhow::anyhow!("store \"s3\": 403\nhint: look").context("writing `images`");
        let failed = telling(DataFusionError::External(error.into()));
        assert!(!matches!(failed, DataFusionError::IoError(_)));
        let said = told(&format!("Job x failed: {:?}", format!("{failed:?}")));
        assert!(said.starts_with("External error: writing `images`"), "{said}");
        assert!(said.contains("store \"s3\": 403"), "{said}");
        assert_eq!(told("Job x\n failed"), "Job x failed");
    }

    #[test]
    fn what_a_store_or_a_disk_does_is_tried_again() {
        let disk = anyhow::Error::from(io::Error::other("full")).context("writing");
        let store = object_store::Error::Generic { store: "s3", source: "503".into() };
        for error in
            [DataFusionError::External(disk.into()), DataFusionError::ObjectStore(Box::new(store))]
        {
            assert!(matches!(telling(error), DataFusionError::IoError(_)));
        }
    }

    #[test]
    fn a_lost_executor_is_told_to_ballista_from_below_whatever() {
        let lost = || BallistaError::FetchFailed("a".to_owned(), 1, 2, "gone".to_owned());
        let plain = lost().into_datafusion();
        let ours = tuwen_corpus::as_datafusion(anyhow::Error::from(lost()));
        let read = anyhow::Error::from(lost().into_datafusion()).context("reading what is to do");
        let boxed = DataFusionError::External(read.into());
        let theirs = BallistaError::DataFusionError(Box::new(lost().into_datafusion()));
        for error in [plain, ours, boxed, theirs.into_datafusion()] {
            let told = telling(error);
            let DataFusionError::External(inner) = &told else { panic!("{told:?}") };
            let inner = inner.downcast_ref::<BallistaError>();
            assert!(matches!(inner, Some(BallistaError::FetchFailed(_, 1, 2, _))), "{inner:?}");
        }
    }
}
