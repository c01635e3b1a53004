//! The threads that build batches. In: a function that builds the batch of a number. Out: the batches in the order of their
//! numbers. Never knows what a batch holds.
//!
//! Reader i of w builds batches i, i + w, i + 2w, … and puts them into its own bounded channel; the consumer takes from the
//! channels in turn, so the order is exact without a reorder buffer. Used batches go back through a shared channel, and their
//! buffers are filled again. At most w * (prefetch + 1) batches and the consumer's own exist at a time.
//!
//! Invariant: closing is the only stop signal. A consumer that goes away closes `running`, and each reader ends before its next
//! batch, while its last ones are taken back, so that no buffer is lost; a reader that fails sends its error and ends; one that
//! panics closes its channel, and the consumer asks its thread why.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use crossbeam_channel::{Receiver, Select, Sender, TryRecvError, TrySendError, bounded};

use super::clocks::{Clocks, Stopwatch};
use super::wait::WaitStats;
use crate::batch::Batch;

/// How many readers, how far ahead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lanes {
    /// Threads.
    pub(crate) readers: usize,
    /// Batches waiting per reader.
    pub(crate) prefetch: usize,
}

impl Lanes {
    /// Batches that exist at a time: one in the hands of each reader, those that wait, and two that the consumer holds.
    pub(crate) fn n_buffers(&self) -> usize {
        self.readers * (self.prefetch + 1) + 2
    }
}

/// Batches whose buffers wait to be filled again.
#[derive(Clone)]
pub(crate) struct Pool {
    give: Sender<Batch>,
    take: Receiver<Batch>,
}

impl Pool {
    /// Room for all batches of one epoch.
    pub(crate) fn new(lanes: Lanes) -> Self {
        let (give, take) = bounded(lanes.n_buffers());
        Self { give, take }
    }

    /// A used batch, or a new one.
    fn take(&self) -> Batch {
        self.take.try_recv().unwrap_or_default()
    }

    /// Keeps `batch` if there is room, and drops it otherwise.
    pub(crate) fn give(&self, batch: Batch) {
        drop(self.give.try_send(batch));
    }
}

/// The batches of an epoch, in order. Dropping it ends the readers.
pub struct Batches {
    lanes: Vec<Receiver<Result<Batch>>>,
    threads: Vec<Option<JoinHandle<()>>>,
    /// Carries nothing; the readers go on as long as it is open.
    running: Option<Sender<()>>,
    pool: Pool,
    clocks: Arc<Clocks>,
    consumer_waited: Duration,
    next: usize,
    end: usize,
}

/// Starts the readers of batches `0..n_batches`: the whole topology. `builder` makes the reader of a number its own builder,
/// which is handed a batch's number and a used batch, gives the batch back filled, and may say on the clocks what took its
/// time.
pub(crate) fn start<B>(
    lanes: Lanes,
    n_batches: usize,
    pool: &Pool,
    builder: impl Fn(usize, Arc<Clocks>) -> B,
) -> Result<Batches>
where
    B: FnMut(usize, Batch) -> Result<Batch> + Send + 'static,
{
    let n_readers = lanes.readers.min(n_batches);
    let clocks = Arc::new(Clocks::default());
    let (running, stopped) = bounded(0);
    let mut batches = Batches {
        lanes: Vec::with_capacity(n_readers),
        threads: Vec::with_capacity(n_readers),
        running: Some(running),
        pool: pool.clone(),
        clocks: Arc::clone(&clocks),
        consumer_waited: Duration::ZERO,
        next: 0,
        end: n_batches,
    };
    for reader in 0..n_readers {
        let (send, receive) = bounded(lanes.prefetch);
        let (mut build, pool, clocks) =
            (builder(reader, Arc::clone(&clocks)), pool.clone(), Arc::clone(&clocks));
        let stopped = stopped.clone();
        let run = move || {
            let stopwatch = Stopwatch::of_this_thread();
            for number in (reader..n_batches).step_by(n_readers) {
                if stopped.try_recv() == Err(TryRecvError::Disconnected) {
                    return;
                }
                let built = stopwatch.time(&clocks, || build(number, pool.take()));
                let failed = built.is_err();
                if deliver(&send, built, &clocks).is_err() || failed {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name(format!("stream-{reader}")).spawn(run);
        batches.lanes.push(receive);
        batches.threads.push(Some(thread.context("a reader's thread cannot be started")?));
    }
    Ok(batches)
}

/// The consumer is gone.
struct Closed;

/// Sends `built`, and counts the time until there was room for it.
fn deliver(
    send: &Sender<Result<Batch>>,
    built: Result<Batch>,
    clocks: &Clocks,
) -> Result<(), Closed> {
    match send.try_send(built) {
        Ok(()) => Ok(()),
        Err(TrySendError::Disconnected(_)) => Err(Closed),
        Err(TrySendError::Full(built)) => {
            let begun = Instant::now();
            let sent = send.send(built);
            clocks.blocked.add_since(begun);
            sent.map_err(|_| Closed)
        }
    }
}

impl Batches {
    /// Takes a used batch back; its buffers are filled again without being cleared or allocated. A consumer that needs
    /// page-locked memory lends its own before the epoch begins ([`Stream::lend`](crate::Stream::lend)).
    pub fn recycle(&self, batch: Batch) {
        self.pool.give(batch);
    }

    /// Who waited for whom so far.
    pub fn wait(&self) -> WaitStats {
        WaitStats {
            consumer_waited: self.consumer_waited,
            readers_busy: self.clocks.busy.read(),
            readers_asleep: self.clocks.asleep.read(),
            readers_queued: self.clocks.queued.read(),
            readers_reading: self.clocks.reading.read(),
            readers_decoding: self.clocks.decoding.read(),
            readers_augmenting: self.clocks.augmenting.read(),
            readers_blocked: self.clocks.blocked.read(),
            batches: self.next as u64,
        }
    }

    /// Waits until there is a next batch, or nothing more to come, but no longer than `timeout`: for a consumer that must look after
    /// something else meanwhile. Whether [`Iterator::next`] need not wait now.
    pub fn is_ready(&mut self, timeout: Duration) -> bool {
        if self.next >= self.end {
            return true;
        }
        let lane = &self.lanes[self.next % self.lanes.len()];
        if !lane.is_empty() {
            return true;
        }
        let begun = Instant::now();
        let mut turn = Select::new();
        turn.recv(lane);
        let is_ready = turn.ready_timeout(timeout).is_ok();
        self.consumer_waited += begun.elapsed();
        is_ready
    }

    /// Takes the next batch from the lane whose turn it is.
    fn take(&mut self, lane: usize) -> Result<Batch> {
        if let Ok(built) = self.lanes[lane].try_recv() {
            return built;
        }
        let begun = Instant::now();
        let received = self.lanes[lane].recv();
        self.consumer_waited += begun.elapsed();
        received.unwrap_or_else(|_| Err(self.why_closed(lane)))
    }

    /// Why a reader closed its channel before its last batch.
    fn why_closed(&mut self, lane: usize) -> anyhow::Error {
        let ended = self.threads[lane].take().map(JoinHandle::join);
        let message = match &ended {
            Some(Err(panic)) => panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("without a message"),
            _ => "it ended before its last batch",
        };
        anyhow!("reader {lane} of the stream panicked: {message}")
    }
}

impl Iterator for Batches {
    type Item = Result<Batch>;

    /// The next batch; after an error there is none.
    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        let lane = self.next % self.lanes.len();
        let built = self.take(lane);
        match &built {
            Ok(_) => self.next += 1,
            Err(_) => self.end = self.next,
        }
        Some(built)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Batches {}

impl Drop for Batches {
    fn drop(&mut self) {
        drop(self.running.take());
        // A lane ends when its reader has ended: every batch under way is taken back.
        for batch in self.lanes.iter().flat_map(Receiver::iter).flatten() {
            self.pool.give(batch);
        }
        for thread in self.threads.iter_mut().filter_map(Option::take) {
            // A panic that the consumer has not met by now is in a batch it did not want.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::batch::MemoryGuard;

    fn numbered(number: usize, mut batch: Batch) -> Result<Batch> {
        batch.next_position = number as u64;
        Ok(batch)
    }

    fn begin(
        readers: usize,
        prefetch: usize,
        n_batches: usize,
        build: fn(usize, Batch) -> Result<Batch>,
    ) -> Batches {
        let lanes = Lanes { readers, prefetch };
        start(lanes, n_batches, &Pool::new(lanes), |_, _| build).unwrap()
    }

    #[test]
    fn batches_come_in_order_for_any_number_of_readers() {
        for readers in 1..=7 {
            for (prefetch, n_batches) in [(1, 0), (1, 1), (2, 6), (3, 100)] {
                let mut batches = begin(readers, prefetch, n_batches, numbered);
                for expected in 0..n_batches as u64 {
                    let batch = batches.next().unwrap().unwrap();
                    assert_eq!(batch.next_position, expected);
                    batches.recycle(batch);
                }
                assert!(batches.next().is_none());
                assert_eq!(batches.wait().batches, n_batches as u64);
            }
        }
    }

    /// Many streams left at any place: a deadlock or a thread that does not end would hang here.
    #[test]
    fn a_consumer_may_stop_anywhere() {
        for round in 0..400 {
            let mut batches = begin(1 + round % 5, 1 + round % 3, 40, numbered);
            for _ in 0..round % 41 {
                batches.next().unwrap().unwrap();
            }
        }
    }

    /// Consumers that stop early, are slow, or panic, and readers that are slow, fail, or panic, at random: every thread ends,
    /// and no buffer is lost but those of failed batches. A deadlock is told from slowness by ten minutes without an end.
    #[test]
    fn no_mix_of_ends_leaves_a_thread_or_hangs() {
        let (done, ended) = bounded::<()>(0);
        let stress = std::thread::spawn(move || {
            let mut random = 7_u64;
            let mut draw = |below: u64| {
                random = crate::random::mix(random);
                random % below
            };
            for round in 0..1500 {
                let lanes = Lanes { readers: 1 + draw(6) as usize, prefetch: 1 + draw(4) as usize };
                let n_batches = draw(30) as usize;
                let (fate, victim, take) = (draw(4), draw(30) as usize, draw(35) as usize);
                let (slow_reader, slow_consumer) = (draw(8) == 0, draw(8) == 0);
                let consumer_panics = draw(5) == 0;
                let pool = Pool::new(lanes);
                let lent = lanes.n_buffers();
                for _ in 0..lent {
                    pool.give(Batch { pixels: Vec::with_capacity(64), ..Batch::default() });
                }
                let alive = Arc::new(());
                let build = |_, _| {
                    let alive = Arc::clone(&alive);
                    move |number: usize, mut batch: Batch| {
                        let _ends_with_its_thread = &alive;
                        assert!(batch.pixels.capacity() >= 64, "a buffer that was not lent");
                        if slow_reader {
                            std::thread::yield_now();
                        }
                        match fate {
                            1 if number == victim => return Err(anyhow!("failed")),
                            2 if number == victim => std::panic::resume_unwind(Box::new("torn")),
                            _ => {}
                        }
                        batch.next_position = number as u64;
                        Ok(batch)
                    }
                };
                let mut batches = start(lanes, n_batches, &pool, build).unwrap();
                let consume = std::panic::AssertUnwindSafe(|| {
                    for expected in 0..take {
                        match batches.next() {
                            Some(Ok(batch)) => {
                                assert_eq!(batch.next_position, expected as u64, "round {round}");
                                batches.recycle(batch);
                            }
                            Some(Err(_)) => {
                                assert!(fate == 1 || fate == 2);
                                assert_eq!(expected, victim, "round {round}");
                            }
                            None => assert!(expected >= n_batches.min(victim)),
                        }
                        if slow_consumer {
                            std::thread::yield_now();
                        }
                    }
                    if consumer_panics {
                        std::panic::resume_unwind(Box::new("consumer"));
                    }
                    drop(batches);
                });
                let outcome = std::panic::catch_unwind(consume);
                match outcome {
                    Ok(()) => {}
                    Err(panic) if panic.downcast_ref::<&str>() == Some(&"consumer") => {}
                    Err(panic) => std::panic::resume_unwind(panic),
                }
                assert_eq!(Arc::strong_count(&alive), 1, "round {round}: a reader lives on");
                let lost = lent - pool.take.len();
                let may_lose = usize::from(matches!(fate, 1 | 2) && victim < n_batches);
                assert!(lost <= may_lose, "round {round}: {lost} buffers are lost");
            }
            drop(done);
        });
        let timeout = ended.recv_timeout(Duration::from_secs(600));
        assert_eq!(timeout, Err(crossbeam_channel::RecvTimeoutError::Disconnected), "deadlock");
        stress.join().unwrap();
    }

    #[test]
    fn an_error_and_a_panic_reach_the_consumer_at_their_place() {
        fn failing(number: usize, batch: Batch) -> Result<Batch> {
            if number >= 5 { Err(anyhow!("disk on fire")) } else { numbered(number, batch) }
        }
        fn panicking(number: usize, batch: Batch) -> Result<Batch> {
            assert!(number < 5, "page {number} is upside down");
            numbered(number, batch)
        }
        for (build, expected) in [
            (failing as fn(usize, Batch) -> Result<Batch>, "disk on fire"),
            (panicking, "reader 1 of the stream panicked: page 5 is upside down"),
        ] {
            let mut batches = begin(2, 3, 20, build);
            for _ in 0..5 {
                batches.next().unwrap().unwrap();
            }
            assert_eq!(batches.next().unwrap().unwrap_err().to_string(), expected);
            assert!(batches.next().is_none());
        }
    }

    #[test]
    fn a_consumer_may_look_whether_a_batch_is_there() {
        let (go_on, wait) = bounded::<()>(1);
        let lanes = Lanes { readers: 1, prefetch: 1 };
        let build = move |number, batch| {
            wait.recv().unwrap();
            numbered(number, batch)
        };
        let builder = |_, _| build.clone();
        let mut batches = start(lanes, 2, &Pool::new(lanes), builder).unwrap();
        for number in 0..2 {
            assert!(!batches.is_ready(Duration::from_millis(1)));
            go_on.send(()).unwrap();
            while !batches.is_ready(Duration::from_secs(60)) {}
            assert_eq!(batches.next().unwrap().unwrap().next_position, number);
        }
        assert!(batches.is_ready(Duration::from_secs(60)), "nothing more comes");
        assert!(batches.next().is_none());
        assert!(batches.wait().consumer_waited >= Duration::from_millis(2));
    }

    #[test]
    fn what_guards_memory_ends_before_a_batch_is_freed() {
        struct Undo(Arc<AtomicBool>);
        impl Drop for Undo {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let undone = Arc::new(AtomicBool::new(false));
        let guard = MemoryGuard::new(Undo(Arc::clone(&undone)));
        let batch = Batch { guard, pixels: vec![1; 9], ..Batch::default() };
        let copy = batch.clone();
        assert_eq!(copy, batch);
        drop(copy);
        assert!(!undone.load(Ordering::Relaxed), "a copy has memory of its own");
        let pool = Pool::new(Lanes { readers: 1, prefetch: 1 });
        pool.give(batch);
        let batch = pool.take();
        assert!(!undone.load(Ordering::Relaxed) && batch.pixels.len() == 9);
        drop(batch);
        assert!(undone.load(Ordering::Relaxed));
    }

    #[test]
    fn buffers_go_round() {
        fn grow(number: usize, mut batch: Batch) -> Result<Batch> {
            batch.pixels.resize(4096, 1);
            numbered(number, batch)
        }
        let mut batches = begin(2, 2, 500, grow);
        let mut seen = std::collections::BTreeSet::new();
        while let Some(batch) = batches.next() {
            let batch = batch.unwrap();
            seen.insert(batch.pixels.as_ptr());
            batches.recycle(batch);
        }
        assert!(seen.len() <= 2 * 3 + 1, "{} buffers", seen.len());
    }

    #[test]
    fn waiting_is_counted_on_the_side_that_waits() {
        fn slow(number: usize, batch: Batch) -> Result<Batch> {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(20) {}
            numbered(number, batch)
        }
        let mut slow_readers = begin(1, 1, 10, slow);
        assert_eq!(slow_readers.by_ref().count(), 10);
        let wait = slow_readers.wait();
        // A consumer that others keep from its core does not wait meanwhile.
        assert!(wait.consumer_waited > Duration::from_millis(20), "{wait:?}");
        assert!(wait.readers_busy >= Duration::from_millis(200), "{wait:?}");
    }
}
