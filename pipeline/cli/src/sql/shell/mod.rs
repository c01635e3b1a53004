//! The interactive shell. In: what a person types at a terminal. Out: rows, through a pager where they do not fit. `input.rs` edits
//! lines and knows when a statement is whole.

mod input;

use std::io::{Write, stdin};
use std::time::Instant;

use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};
use tuwen_corpus::log::one_line;
use tuwen_etl::sql::{Params, QueryError, Session, Statement};

use self::input::{Input, Line};
use crate::sql::commands::{Asked, Command, HELP, asked, columns, functions, tables};
use crate::sql::run::{Showing, bounded, run, show};
use crate::sql::target::Target;

/// Exit code of what SIGTERM ended, as shells have it.
const TERMINATED: i32 = 128 + 15;

/// Files that may run each other, one within the other: one that runs itself would never end.
const MOST_FILES: usize = 16;

/// What a person has set up.
struct Shell<'a> {
    session: &'a Session,
    showing: Showing,
    /// `name=value`, as `-p` has them.
    params: Vec<String>,
    is_timed: bool,
}

/// Asks and answers until the person ends it.
///
/// # Errors
/// The terminal cannot be read. An error of a query is said, and is none.
pub(crate) async fn shell(session: &Session, showing: Showing, params: Vec<String>) -> Result<()> {
    listen()?;
    let mut input = Input::new(session).await?;
    let mut shell = Shell { session, showing, params, is_timed: false };
    say(&format!(
        "tuwen {} on {}; \\? helps, \\q ends",
        env!("CARGO_PKG_VERSION"),
        session.snapshot().corpus().shown()
    ));
    loop {
        let text = match input.read()? {
            Line::Text(text) => text,
            Line::Interrupted => continue,
            Line::End => return Ok(()),
        };
        match Box::pin(shell.answer(&text, 0)).await {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) => tracing::error!("{}", one_line(&error)),
        }
    }
}

impl Shell<'_> {
    /// Runs what `text` asks for, which stands in so many files; false if that is to end.
    async fn answer(&mut self, text: &str, n_files: usize) -> Result<bool> {
        for part in asked(text)? {
            match part {
                Asked::Statement(statement) => self.query(&statement).await?,
                Asked::Command(Command::Quit) => return Ok(false),
                Asked::Command(Command::Include(file)) => {
                    if n_files == MOST_FILES {
                        let error = format!("\\i {file}: {MOST_FILES} files run each other");
                        return Err(QueryError::new(error).into());
                    }
                    let text = std::fs::read_to_string(&file)
                        .with_context(|| format!("reading {file}"))?;
                    // `\q` in a file ends the file.
                    Box::pin(self.answer(&text, n_files + 1)).await?;
                }
                Asked::Command(command) => self.command(command).await?,
            }
        }
        Ok(true)
    }

    /// Does what `command` says.
    async fn command(&mut self, command: Command) -> Result<()> {
        match command {
            Command::Help => say(HELP),
            Command::Tables => self.print(&tables(self.session)?)?,
            Command::Columns { table, comments } => {
                // Those of `history` stand in every commit.
                let reading = Box::pin(columns(self.session, &table, comments));
                let rows = bounded(self.showing.timeout, reading).await??;
                self.print(&rows)?;
            }
            Command::Functions { name } => {
                self.print(&functions(self.session, name.as_deref())?)?;
            }
            Command::Timing => {
                self.is_timed = !self.is_timed;
                say(if self.is_timed { "queries are timed" } else { "queries are not timed" });
            }
            Command::Format(format) => self.showing.format = format,
            Command::Rows(n) => self.showing.max_rows = Some(n),
            Command::Set { name, value } => self.params.push(format!("{name}={value}")),
            Command::Include(_) | Command::Quit => unreachable!("answered by `answer`"),
        }
        Ok(())
    }

    /// Rows of a query, until all are there or Ctrl-C is pressed.
    async fn query(&self, statement: &Statement) -> Result<()> {
        let clock = Instant::now();
        let params = Params::of(self.params.iter().map(String::as_str))?;
        let preparing = Box::pin(self.session.prepare(statement, &params));
        let prepared = bounded(self.showing.timeout, preparing).await??;
        let mut target = screen();
        let shown = run(&prepared, self.showing, &mut target).await;
        // A pager waits for the person, not for the query.
        let seconds = clock.elapsed().as_secs_f64();
        let Some(shown) = target.finish(shown)? else { return Ok(()) };
        let rows = if shown.n_rows == 1 { "row" } else { "rows" };
        let more = if shown.is_cut { ", and there are more: \\rows 0 shows all" } else { "" };
        let time = match self.is_timed {
            true => format!(" in {seconds:.3} s"),
            false => String::new(),
        };
        say(&format!("{} {rows}{time}{more}", shown.n_rows));
        Ok(())
    }

    fn print(&self, rows: &RecordBatch) -> Result<()> {
        let mut target = screen();
        let written = show(rows, self.showing, &mut target);
        target.finish(written).map(|_| ())
    }
}

/// Ends the shell when SIGTERM comes, whatever it waits for, with the terminal as it was found. SIGINT does nothing of itself: a query
/// listens for it, and a pager has its own use for Ctrl-C.
fn listen() -> Result<()> {
    drop(signal(SignalKind::interrupt())?);
    let mut sigterm = signal(SignalKind::terminate())?;
    let found = tcgetattr(stdin()).ok();
    tokio::spawn(async move {
        if sigterm.recv().await.is_none() {
            return;
        }
        if let Some(found) = found {
            // There may be no terminal any more.
            let _ = tcsetattr(stdin(), OptionalActions::Now, &found);
        }
        std::process::exit(TERMINATED);
    });
    Ok(())
}

/// Where a person sees rows.
fn screen() -> Target {
    match rustix::termios::tcgetwinsize(std::io::stdout()) {
        Ok(size) if size.ws_row > 0 => Target::paged(usize::from(size.ws_row)),
        _ => Target::stdout(),
    }
}

/// Words to the person, which are no data.
fn say(text: &str) {
    // Nobody is left to be told that stderr is closed.
    let _ = writeln!(std::io::stderr(), "{text}");
}
