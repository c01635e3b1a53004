//! Windows ahead of the readers. In: where the readers stand in a window shuffle. Out: the windows under them and the next one,
//! asked for in few large reads before the first of their rows is needed: from an object store into memory, from a disk into
//! the page cache. Never changes what a batch holds: a row that did not come ahead is read as any other.
//!
//! Memory: the windows from the slowest reader's to the one after the fastest's, mostly two, of `row_groups` row groups each;
//! with captions grouped by length, those of a whole pool of batches and one more; for files of this machine none.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::{Result, anyhow};
use futures::future::join_all;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use crate::opened::OpenedCorpus;
use crate::order::{Order, Windows};
use crate::read::{Lookahead, REQUESTS, Span};

/// The windows of one epoch.
pub(crate) struct Ahead {
    corpus: Arc<OpenedCorpus>,
    order: Arc<Order>,
    /// Where in the order the epoch begins.
    from: u64,
    /// To send requests. They are given in the order in which they are waited for, so a window comes before the next.
    permits: Arc<Semaphore>,
    state: Mutex<State>,
}

struct State {
    /// The first window that each reader still needs.
    readers: Vec<usize>,
    windows: BTreeMap<usize, AskedWindow>,
}

/// A window that was asked for, or is about to be. Dropping it gives its memory back.
#[derive(Default)]
struct AskedWindow {
    _spans: Vec<Span>,
    fetching: Option<AbortHandle>,
}

impl Drop for AskedWindow {
    fn drop(&mut self) {
        if let Some(fetching) = &self.fetching {
            fetching.abort();
        }
    }
}

/// One reader, on its way through the windows.
pub(crate) struct Reader {
    ahead: Arc<Ahead>,
    number: usize,
}

impl Ahead {
    /// For `readers` readers that begin at position `from`; none unless `order` has windows.
    pub(crate) fn new(
        corpus: &Arc<OpenedCorpus>,
        order: &Arc<Order>,
        from: u64,
        readers: usize,
    ) -> Option<Arc<Self>> {
        let window = order.windows()?.of(from);
        let state = Mutex::new(State { readers: vec![window; readers], windows: BTreeMap::new() });
        let (corpus, order) = (Arc::clone(corpus), Arc::clone(order));
        let permits = Arc::new(Semaphore::new(REQUESTS));
        Some(Arc::new(Self { corpus, order, from, permits, state }))
    }

    /// Reader number `number`.
    pub(crate) fn reader(self: &Arc<Self>, number: usize) -> Reader {
        Reader { ahead: Arc::clone(self), number }
    }

    /// Asks for the rows of this rank in `window`.
    fn ask(&self, windows: &Windows, window: usize) -> AskedWindow {
        let options = &self.corpus.options;
        let positions = windows.positions(window);
        // A resumed epoch does not need what it had before, unless a pool that is grouped by length mixes it in again.
        let from = if options.group_by_length { 0 } else { self.from };
        let first = options.first_position(positions.start.max(from));
        let rows = (first..positions.end).step_by(options.world);
        let rows = rows.filter_map(|position| {
            let row = self.corpus.selection.row(windows.row(position) as usize)?;
            Some(self.corpus.files.pick(row, 0))
        });
        let Lookahead { spans, requests } = self.corpus.files.look_ahead(rows.collect());
        let fetching =
            self.corpus.runtime.as_ref().filter(|_| !requests.is_empty()).map(|runtime| {
                let permits = Arc::clone(&self.permits);
                let requests = requests.into_iter().map(move |request| {
                    let permits = Arc::clone(&permits);
                    async move {
                        let _permit = permits.acquire().await;
                        request.await;
                    }
                });
                runtime.spawn(join_all(requests)).abort_handle()
            });
        AskedWindow { _spans: spans, fetching }
    }
}

impl Reader {
    /// Goes to the batch of `positions`: asks for the windows that they lie in and for the next, and lets go of those that no
    /// reader needs any more.
    pub(super) fn go_to(&self, positions: Range<u64>) -> Result<()> {
        let Some(windows) = self.ahead.order.windows().filter(|_| !positions.is_empty()) else {
            return Ok(());
        };
        let (first, last) = (windows.of(positions.start), windows.of(positions.end - 1));
        for window in first..=(last + 1).min(windows.count() - 1) {
            if self.claim(first, window)? {
                let asked = self.ahead.ask(windows, window);
                // If it was let go of meanwhile, what was asked for is too.
                self.state()?.windows.entry(window).and_modify(|window| *window = asked);
            }
        }
        Ok(())
    }

    /// Whether `window` is this reader's to ask for, who stands in window `first`. Others go on meanwhile, and read themselves
    /// what they need of it.
    fn claim(&self, first: usize, window: usize) -> Result<bool> {
        let mut state = self.state()?;
        state.readers[self.number] = first;
        let needed_from = state.readers.iter().copied().min().unwrap_or(first);
        state.windows = state.windows.split_off(&needed_from);
        Ok(match state.windows.entry(window) {
            Entry::Occupied(_) => false,
            Entry::Vacant(vacant) => {
                vacant.insert(AskedWindow::default());
                true
            }
        })
    }

    fn state(&self) -> Result<MutexGuard<'_, State>> {
        self.ahead.state.lock().map_err(|_| anyhow!("another reader panicked among the windows"))
    }
}
