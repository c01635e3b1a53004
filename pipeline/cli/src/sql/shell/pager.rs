//! What does not fit on the screen. In: nothing. Out: a target that is a pager: the one that `PAGER` names, or less, which ends by
//! itself if all fits; stdout if there is none.

use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use crate::sql::target::Target;

/// less: ends if all fits on one screen, cuts long lines, shows colours, and leaves what it showed.
const LESS: [&str; 2] = ["less", "-FSRX"];

/// A pager under way.
pub(super) struct Pager(Option<Child>);

impl Pager {
    /// Starts it.
    pub(super) fn start() -> Self {
        let named = std::env::var("PAGER").ok();
        let words: Vec<&str> = match &named {
            Some(named) => named.split_whitespace().collect(),
            None => LESS.to_vec(),
        };
        let Some((program, flags)) = words.split_first() else { return Self(None) };
        Self(Command::new(program).args(flags).stdin(Stdio::piped()).spawn().ok())
    }

    /// What it shows.
    pub(super) fn target(&mut self) -> Target {
        match self.0.as_mut().and_then(|child| child.stdin.take()) {
            Some(stdin) => Target::pipe(std::fs::File::from(OwnedFd::from(stdin))),
            None => Target::stdout(),
        }
    }

    /// Waits until the person has seen enough.
    pub(super) fn wait(self) {
        if let Some(mut child) = self.0 {
            // How it ended is between it and the person.
            let _ = child.wait();
        }
    }
}
