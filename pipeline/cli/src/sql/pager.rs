//! What does not fit on the screen. In: bytes. Out: the same on stdout if they fit, otherwise in a pager: the one that `PAGER` names,
//! or less. It is started with the first line too many, so that a query that is still computed has none.

use std::io::{self, Write, stdout};
use std::process::{Child, Command, Stdio};

/// less: cuts long lines, shows colours, and leaves on the screen what it showed.
const LESS: [&str; 2] = ["less", "-SRX"];

/// Lines of the screen that are not for rows: what was asked, what is said of the rows, the next prompt.
const OTHER_LINES: usize = 4;

/// A screen, and a pager once that is full.
pub(crate) struct Pager {
    waiting: Vec<u8>,
    n_lines: usize,
    /// Lines from which on there is a pager.
    most_lines: usize,
    child: Option<Child>,
}

impl Pager {
    /// For a screen of `height` lines.
    pub(crate) fn new(height: usize) -> Self {
        let most_lines = height.saturating_sub(OTHER_LINES);
        Self { waiting: Vec::new(), n_lines: 0, most_lines, child: None }
    }

    /// Starts the pager with what has waited; without one that goes to stdout, as what comes later does.
    fn start(&mut self) -> io::Result<()> {
        let named = std::env::var("PAGER").ok();
        let words: Vec<&str> = match &named {
            Some(named) => named.split_whitespace().collect(),
            None => LESS.to_vec(),
        };
        if let Some((program, flags)) = words.split_first() {
            self.child = Command::new(program).args(flags).stdin(Stdio::piped()).spawn().ok();
        }
        let waiting = std::mem::take(&mut self.waiting);
        match self.child.as_mut().and_then(|child| child.stdin.as_mut()) {
            Some(stdin) => stdin.write_all(&waiting),
            None => stdout().write_all(&waiting),
        }
    }

    /// Shows what has waited, and waits until the person has seen enough.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        let mut out = stdout();
        out.write_all(&self.waiting)?;
        out.flush()?;
        if let Some(child) = &mut self.child {
            // It waits for the end of what it reads.
            drop(child.stdin.take());
            child.wait()?;
        }
        Ok(())
    }
}

impl Write for Pager {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(stdin) = self.child.as_mut().and_then(|child| child.stdin.as_mut()) {
            return stdin.write(bytes);
        }
        self.waiting.extend_from_slice(bytes);
        self.n_lines += bytes.iter().filter(|byte| **byte == b'\n').count();
        if self.n_lines > self.most_lines {
            self.start()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
