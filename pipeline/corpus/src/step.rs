//! Points at which a test may hold a run, so that two of them can be led through every order of reads and commits. Outside of
//! such a test a point is nothing.

use std::sync::Arc;

use futures::future::BoxFuture;

/// What is done at a point: it gets the point's name, and the run goes on when it is ready.
pub type Hold = Arc<dyn Fn(&'static str) -> BoxFuture<'static, ()> + Send + Sync>;

tokio::task_local! {
    /// How the task at hand is held.
    pub static HOLD: Hold;
}

pub(crate) async fn reach(point: &'static str) {
    if let Ok(hold) = HOLD.try_with(Arc::clone) {
        hold(point).await;
    }
}
