//! Processes that were forked: the threads of the first are not there, and what it holds must not be freed twice. In: nothing. Out:
//! whether this is the process that something was made in, or any thread was started in. Never asks the interpreter.

use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Result, ensure};

/// How often someone who waits looks whether a signal came.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The process in which threads were started first.
static FIRST: OnceLock<Home> = OnceLock::new();

/// The process that something was begun in: its threads are there, and not in one that was forked from it.
#[derive(Clone, Copy)]
pub(crate) struct Home(u32);

impl Home {
    pub(crate) fn this() -> Self {
        Self(std::process::id())
    }

    pub(crate) fn is_here(self) -> bool {
        self.0 == std::process::id()
    }
}

/// To be called before threads are started. A process that was forked from one with threads has locks that nobody opens any more:
/// what is begun there may never end.
///
/// # Errors
/// This is such a process.
pub(crate) fn start_threads() -> Result<()> {
    ensure!(
        FIRST.get_or_init(Home::this).is_here(),
        "this process was forked from one in which tuwen runs, whose threads it does not have\n\
         hint: of a DataLoader num_workers=0, since a stream has threads of its own, or \
         multiprocessing_context=\"forkserver\" or \"spawn\""
    );
    Ok(())
}
