//! Lines of a person. In: keys. Out: a command, or statements up to a semicolon, over several lines; the history of earlier ones is
//! kept in the user's folder for such.

use std::path::PathBuf;

use anyhow::{Context, Result};
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Editor, Helper};
use tuwen_etl::sql::{Session, is_whole};

use crate::sql::words::Words;

/// Entries of the history that are kept.
const HISTORY_ENTRIES: usize = 10_000;

/// What was typed.
pub(super) enum Line {
    Text(String),
    /// Ctrl-C: what was begun is forgotten.
    Interrupted,
    /// Ctrl-D.
    End,
}

/// An editor of lines.
pub(super) struct Input {
    editor: Editor<Knowing, FileHistory>,
    history: Option<PathBuf>,
}

impl Input {
    /// One that completes the names of `session`.
    pub(super) async fn new(session: &Session) -> Result<Self> {
        let words = Words::of(session).await?;
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .max_history_size(HISTORY_ENTRIES)?
            .history_ignore_space(true)
            .build();
        let mut editor = Editor::with_config(config).context("the terminal cannot be read")?;
        editor.set_helper(Some(Knowing(words)));
        let history = history_file();
        if let Some(file) = &history {
            // The first time there is none.
            let _ = editor.load_history(file);
        }
        Ok(Self { editor, history })
    }

    /// Asks for the next.
    pub(super) fn read(&mut self) -> Result<Line> {
        let text = match self.editor.readline("tuwen> ") {
            Ok(text) => text,
            Err(ReadlineError::Interrupted) => return Ok(Line::Interrupted),
            Err(ReadlineError::Eof) => return Ok(Line::End),
            Err(error) => return Err(error).context("reading the terminal"),
        };
        if !text.trim().is_empty() {
            self.editor.add_history_entry(text.trim_end())?;
            if let Some(file) = &self.history {
                // That a line is not remembered is no reason not to answer it.
                let _ = self.editor.append_history(file);
            }
        }
        Ok(Line::Text(text))
    }
}

/// `$XDG_STATE_HOME/tuwen/sql_history`; none without a home.
fn history_file() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state"));
    let folder = state.or_else(home)?.join("tuwen");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("sql_history"))
}

/// What the editor knows of SQL.
struct Knowing(Words);

impl Helper for Knowing {}
impl Highlighter for Knowing {}

impl Hinter for Knowing {
    type Hint = String;
}

impl Validator for Knowing {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let text = context.input();
        let is_done = text.trim().is_empty() || text.trim_start().starts_with('\\');
        Ok(match is_done || is_whole(text) {
            true => ValidationResult::Valid(None),
            false => ValidationResult::Incomplete,
        })
    }
}

impl Completer for Knowing {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _context: &rustyline::Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, words) = self.0.complete(&line[..at]);
        let pairs = words.into_iter().map(|word| Pair { display: word.clone(), replacement: word });
        Ok((start, pairs.collect()))
    }
}
