//! How far jobs are. In: the jobs that run, as a scheduler has them. Out: how many parts of all their stages have ended, and how many there
//! are. What a lost executor had has not ended any more.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ballista_core::JobId;
use ballista_core::serde::protobuf::task_status::Status;
use ballista_scheduler::state::execution_stage::ExecutionStage;
use ballista_scheduler::state::task_manager::JobInfoCache;
use tuwen_corpus::Parts;

/// What `/jobs` says: how far each job is that runs, by its id.
pub(crate) type Jobs = BTreeMap<String, Parts>;

/// How far each of `running` is.
pub(crate) async fn jobs(running: &HashMap<JobId, JobInfoCache>) -> Jobs {
    let sorted: BTreeMap<&JobId, &JobInfoCache> = running.iter().collect();
    let mut jobs = Jobs::new();
    for (id, job) in sorted {
        let graph = job.execution_graph.read().await;
        jobs.insert(id.to_string(), parts(graph.stages()));
    }
    jobs
}

fn parts(stages: &HashMap<usize, ExecutionStage>) -> Parts {
    let n_done = stages.values().map(n_done).sum();
    let n_total = stages.values().map(n_total).sum();
    Parts { n_done, n_total }
}

fn n_done(stage: &ExecutionStage) -> u64 {
    match stage {
        ExecutionStage::Successful(_) => n_total(stage),
        ExecutionStage::Running(running) => {
            let tasks = running.task_infos.iter();
            let ended = tasks.filter(|task| matches!(task.task_status, Status::Successful(_)));
            // What was computed again is one part still.
            let parts: BTreeSet<usize> =
                ended.flat_map(|task| task.global_input_partition_ids.iter().copied()).collect();
            parts.len() as u64
        }
        _ => 0,
    }
}

/// A stage that waits for others has its parts already: those of what is below the operator that writes its rows.
fn n_total(stage: &ExecutionStage) -> u64 {
    let inputs = stage.plan().children().into_iter();
    let parts = inputs.map(|input| input.properties().output_partitioning().partition_count());
    parts.sum::<usize>().max(1) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use arrow::datatypes::Schema;
    use ballista_core::serde::protobuf::{FailedTask, SuccessfulTask};
    use ballista_scheduler::state::execution_stage::{ResolvedStage, TaskInfo};
    use datafusion::physical_plan::ExecutionPlan;
    use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
    use datafusion::physical_plan::empty::EmptyExec;
    use datafusion::prelude::SessionConfig;

    use super::*;

    fn task(part: usize, task_status: Status) -> TaskInfo {
        TaskInfo {
            task_id: 0,
            scheduled_time: 0,
            launch_time: 0,
            start_exec_time: 0,
            end_exec_time: 0,
            finish_time: 0,
            task_status,
            global_input_partition_ids: vec![part],
            vcores_consumed: 1,
        }
    }

    #[test]
    fn a_part_counts_once_and_if_it_has_ended() {
        let below = EmptyExec::new(Arc::new(Schema::empty())).with_partitions(3);
        let plan: Arc<dyn ExecutionPlan> = Arc::new(CoalescePartitionsExec::new(Arc::new(below)));
        let config = Arc::new(SessionConfig::new());
        let waits = ResolvedStage::new(1, 0, plan, vec![], HashMap::new(), HashSet::new(), config);
        let mut runs = waits.to_running();
        let ended = || Status::Successful(SuccessfulTask::default());
        runs.task_infos = vec![
            task(0, ended()),
            task(1, Status::Failed(FailedTask::default())),
            task(2, ended()),
            task(2, ended()),
        ];
        let stages = [ExecutionStage::Resolved(waits), ExecutionStage::Running(runs)];
        let stages = stages.into_iter().enumerate().collect();
        assert_eq!(parts(&stages), Parts { n_done: 2, n_total: 6 });
    }
}
