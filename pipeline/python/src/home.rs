//! Processes that were forked: the threads of the first are not there, and what it holds must not be freed twice. In: nothing. Out:
//! whether this is the process that something was made in. Never asks the interpreter.

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
