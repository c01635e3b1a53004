//! Windows ahead of the readers. In: where the readers stand in a window shuffle. Out: the windows under them and the next one,
//! asked for in few large reads before the first of their rows is needed: from an object store into memory, from a disk into
//! the page cache. Never changes what a batch holds: a row that did not come ahead is read as any other.
//!
//! Memory: the windows from the slowest reader's to the one after the fastest's, mostly two, of `row_groups` row groups each;
//! for files of this machine none.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use anyhow::{Result, anyhow};
use futures::StreamExt;
use futures::stream;
use tokio::task::AbortHandle;

use super::Inner;
use super::files::Lookahead;
use super::order::{Order, Windows};
use super::source::{REQUESTS, Span};

/// The windows of one epoch.
pub(super) struct Ahead {
    inner: Arc<Inner>,
    order: Arc<Order>,
    state: Mutex<State>,
}

struct State {
    /// The first window that each reader still needs.
    readers: Vec<usize>,
    windows: BTreeMap<usize, Window>,
}

/// A window that was asked for. Dropping it gives its memory back.
struct Window {
    _spans: Vec<Span>,
    fetching: Option<AbortHandle>,
}

impl Drop for Window {
    fn drop(&mut self) {
        if let Some(fetching) = &self.fetching {
            fetching.abort();
        }
    }
}

/// One reader's place among the windows.
pub(super) struct Place {
    ahead: Arc<Ahead>,
    reader: usize,
}

impl Ahead {
    /// For `readers` readers that begin at `position`; none unless `order` has windows.
    pub(super) fn new(
        inner: &Arc<Inner>,
        order: &Arc<Order>,
        position: u64,
        readers: usize,
    ) -> Option<Arc<Self>> {
        let window = order.windows()?.of(position);
        let state = Mutex::new(State { readers: vec![window; readers], windows: BTreeMap::new() });
        Some(Arc::new(Self { inner: Arc::clone(inner), order: Arc::clone(order), state }))
    }

    /// The place of reader number `reader`.
    pub(super) fn place(self: &Arc<Self>, reader: usize) -> Place {
        Place { ahead: Arc::clone(self), reader }
    }

    /// Asks for the rows of this rank in `window`.
    fn ask(&self, windows: &Windows, window: usize) -> Result<Window> {
        let options = &self.inner.options;
        let positions = windows.positions(window);
        let first = options.first_position(positions.start);
        let rows = (first..positions.end).step_by(options.world);
        let rows = rows.filter_map(|position| {
            let row = self.inner.selection.row(windows.row(position) as usize)?;
            Some(self.inner.files.pick(row, 0))
        });
        let Lookahead { spans, requests } = self.inner.files.look_ahead(rows.collect())?;
        let fetching =
            self.inner.runtime.as_ref().filter(|_| !requests.is_empty()).map(|runtime| {
                let fetch = stream::iter(requests).for_each_concurrent(REQUESTS, |request| request);
                runtime.spawn(fetch).abort_handle()
            });
        Ok(Window { _spans: spans, fetching })
    }
}

impl Place {
    /// Goes to the batch of `positions`: asks for the windows that they lie in and for the next, and lets go of those that no
    /// reader needs any more.
    pub(super) fn go_to(&self, positions: Range<u64>) -> Result<()> {
        let Some(windows) = self.ahead.order.windows().filter(|_| !positions.is_empty()) else {
            return Ok(());
        };
        let (first, last) = (windows.of(positions.start), windows.of(positions.end - 1));
        let mut state = self.ahead.state.lock().map_err(|_| panicked())?;
        state.readers[self.reader] = first;
        let needed_from = state.readers.iter().copied().min().unwrap_or(first);
        state.windows = state.windows.split_off(&needed_from);
        for window in first..=(last + 1).min(windows.count() - 1) {
            if let Entry::Vacant(vacant) = state.windows.entry(window) {
                vacant.insert(self.ahead.ask(windows, window)?);
            }
        }
        Ok(())
    }
}

fn panicked() -> anyhow::Error {
    anyhow!("another reader panicked while it asked for a window")
}
