//! Jobs that are under way. In: a job's id. Out: its end. One that nobody waits for any more is cancelled, and the program does not end
//! before the scheduler was told.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::client::{Client, LAST_WORD};

/// How many are under way, or are being cancelled.
static UNDER_WAY: Mutex<usize> = Mutex::new(0);

/// That there is one less.
static ENDED: Condvar = Condvar::new();

fn under_way() -> MutexGuard<'static, usize> {
    UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts one as long as it lives.
struct Counted;

impl Counted {
    fn new() -> Self {
        *under_way() += 1;
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        *under_way() -= 1;
        ENDED.notify_all();
    }
}

/// A job, from before it is handed in until it has ended. Dropped before, it is cancelled.
pub(crate) struct Job {
    client: Client,
    id: Option<String>,
    counted: Option<Counted>,
}

impl Job {
    /// One that is not handed in yet.
    pub(crate) fn new(client: &Client) -> Self {
        Self { client: client.clone(), id: None, counted: Some(Counted::new()) }
    }

    /// It was handed in, and is called `id`.
    pub(crate) fn began(mut self, id: String) -> Self {
        self.id = Some(id);
        self
    }

    /// Its id, once it was handed in.
    pub(crate) fn id(&self) -> &str {
        self.id.as_deref().unwrap_or_default()
    }

    /// It has ended, whichever way, and is not to be cancelled.
    pub(crate) fn ended(mut self) {
        self.id = None;
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        let (client, counted) = (self.client.clone(), self.counted.take());
        // A thread and a runtime of its own: that of the caller may be at its end.
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            if let Ok(runtime) = runtime {
                runtime.block_on(client.cancel(id));
            }
            drop(counted);
        });
    }
}

/// Waits, for a moment, until no job is under way: with the program, the threads end that cancel jobs.
pub(crate) fn settle() {
    drop(ENDED.wait_timeout_while(under_way(), LAST_WORD, |n| *n > 0));
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_job_that_nobody_waits_for_is_cancelled_although_its_runtime_has_ended() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (begun, waits) = tokio::sync::oneshot::channel();
        runtime.spawn(async move {
            let client = Client::new("127.0.0.1".to_owned(), address.port()).unwrap();
            Job::new(&client).ended();
            let _job = Job::new(&client).began("a".to_owned());
            begun.send(()).unwrap();
            std::future::pending::<()>().await;
        });
        runtime.block_on(waits).unwrap();
        assert_eq!(*under_way(), 1);
        runtime.shutdown_background();
        // The scheduler is told: HTTP/2 begins so.
        let (mut stream, _) = listener.accept().unwrap();
        let mut preface = [0; 3];
        stream.read_exact(&mut preface).unwrap();
        assert_eq!(&preface, b"PRI");
        drop((stream, listener));
        // A busy machine may need more than a moment.
        for _ in 0..20 {
            settle();
        }
        assert_eq!(*under_way(), 0);
    }
}
