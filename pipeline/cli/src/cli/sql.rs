//! `tuwen sql`: statements that only read, from an argument, files, stdin or a person.

use std::io::{IsTerminal, Read, stdin, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use clap::Args;
use tuwen_corpus::{Corpus, engine_at};
use tuwen_etl::exit_code::INTERRUPTED;
use tuwen_etl::sql::{Params, Prepared, QueryError, Session, default_memory_bytes};
use tuwen_settings::WrongSetting;

use crate::cli::age::parse_age;
use crate::cli::bytes::parse_bytes;
use crate::cli::cluster::ClusterFlags;
use crate::cli::flags::CorpusFlags;
use crate::sql::commands::{Asked, Command, HELP, asked, columns, functions, tables};
use crate::sql::output::Format;
use crate::sql::run::{Interrupted, Showing, bounded, run, show};
use crate::sql::shell::shell;
use crate::sql::target::Target;

/// Query the tables and views of a corpus, at any version; without a query a shell
#[derive(Args)]
#[command(after_help = "Examples:
  tuwen sql
  tuwen sql \"select split, count(*) from examples group by split\"
  tuwen sql \"select reason, count(*) as n from rejects group by reason order by n desc\" --format csv
  tuwen sql -f sql/queries/formats.sql
  tuwen sql \"select * from examples where split = \\$split limit 9\" -p split=test
  tuwen sql \"select image_id, text from examples\" -o captions.parquet
  tuwen sql \"select count(*) from images@v3\"
  tuwen sql \"select * from runs as of '2026-11-30 08:00'\"
  tuwen sql \"select * from examples tablesample (1 percent)\"
  tuwen sql '\\d+ images'
  cat report.sql | tuwen sql --format markdown --timeout 5m --memory-limit 4G")]
pub(super) struct Sql {
    /// Statements, parted by semicolons, and commands such as `\d`, each on a line of its own; they may begin with a comment
    #[arg(allow_hyphen_values = true, value_parser = query)]
    query: Option<String>,
    /// Read statements from a file; `-` is stdin
    #[arg(short, long = "file", value_name = "FILE", conflicts_with = "query")]
    file: Vec<PathBuf>,
    /// Give the parameter $NAME a value, of the type that the query asks for
    #[arg(short, long = "param", value_name = "NAME=VALUE")]
    param: Vec<String>,
    /// Write to a file, whose name says the format; it is there when it is whole
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How rows are written [default: table, or by the name of --output]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Rows of a query that are shown, or written; 0 for all [default: 100 of a table at a terminal, otherwise all]
    #[arg(long, value_name = "N")]
    max_rows: Option<usize>,
    /// Columns of text that a table may take; 0 for all it needs [default: those of the terminal]
    #[arg(long, value_name = "N")]
    max_width: Option<usize>,
    /// Memory that a query may use before it spills to disk, or fails [default: half of the machine's]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    memory_limit: Option<u64>,
    /// How long a query may take, what its reader makes it wait not counted: 30s, 5m [default: as long as it needs]
    #[arg(long, value_name = "DURATION", value_parser = parse_timeout)]
    timeout: Option<Duration>,
    #[command(flatten)]
    cluster: ClusterFlags,
    #[command(flatten)]
    corpus: CorpusFlags,
}

impl Sql {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let settings = self.corpus.settings(vec![self.cluster.setting()])?;
        // Before stdin is read: another program may take over.
        let engine = engine_at(&settings.cluster, settings.cluster_least_bytes)?;
        let showing = self.showing()?;
        let texts = self.texts()?;
        let params = Params::of(self.param.iter().map(String::as_str)).map_err(wrong_usage)?;
        let (_, snapshot) = Corpus::open_snapshot(&settings.corpus).await?;
        let snapshot = snapshot.on(engine);
        let memory_bytes = match self.memory_limit {
            Some(bytes) => usize::try_from(bytes)?,
            None => default_memory_bytes(),
        };
        let session = Session::new(snapshot, &settings, memory_bytes)?;
        let Some(texts) = texts else {
            Box::pin(shell(&session, showing, self.param)).await?;
            return Ok(ExitCode::SUCCESS);
        };
        let mut target = match &self.output {
            Some(name) => Target::file(name)?,
            None => Target::stdout(),
        };
        let answered = Box::pin(answer(&session, &texts, &params, showing, &mut target)).await;
        match target.finish(answered) {
            Err(error) if error.is::<Interrupted>() => Ok(ExitCode::from(INTERRUPTED)),
            // A reader that has seen enough (`| head`) is no failure.
            ended => ended.map(|_| ExitCode::SUCCESS),
        }
    }

    fn showing(&self) -> Result<Showing> {
        let is_terminal = self.output.is_none() && stdout().is_terminal();
        let by_name = self.output.as_ref().map(|name| {
            Format::of_file(&name.to_string_lossy()).ok_or_else(|| {
                wrong_usage(
                    QueryError::new(format!(
                        "-o {}: expected a name that ends in .csv, .tsv, .json, .ndjson, .parquet, .md or .txt",
                        name.display()
                    ))
                    .hint("--format says it as well"),
                )
            })
        });
        let format = match (self.format, by_name) {
            (Some(format), _) => format,
            (None, Some(format)) => format?,
            (None, None) => Format::Table,
        };
        if format == Format::Parquet && is_terminal {
            let error = QueryError::new("--format parquet: a terminal cannot show it");
            return Err(wrong_usage(error.hint("-o FILE.parquet")));
        }
        let width = || is_terminal.then(terminal_width).flatten();
        Ok(Showing {
            format,
            max_rows: self.max_rows,
            is_terminal,
            max_width: match self.max_width {
                Some(n) => Some(n).filter(|n| *n > 0),
                None => width(),
            },
            timeout: self.timeout,
        })
    }

    /// The texts of SQL that were given; none if a person is to be asked.
    fn texts(&self) -> Result<Option<Vec<String>>> {
        if let Some(query) = &self.query {
            return Ok(Some(vec![query.clone()]));
        }
        if self.file.is_empty() {
            let is_person = stdin().is_terminal() && self.output.is_none();
            return if is_person { Ok(None) } else { Ok(Some(vec![read_stdin()?])) };
        }
        let texts = self.file.iter().map(|file| match file.as_os_str() == "-" {
            true => read_stdin(),
            false => std::fs::read_to_string(file)
                .with_context(|| format!("-f {}: cannot read it", file.display())),
        });
        Ok(Some(texts.collect::<Result<_>>()?))
    }
}

/// A query may begin with a comment; a word that begins so is an option that there is not.
fn query(text: &str) -> Result<String, String> {
    if text.starts_with('-') && !text.contains(char::is_whitespace) {
        return Err(format!("unexpected argument '{text}'"));
    }
    Ok(text.to_owned())
}

/// A duration in which something can be done.
fn parse_timeout(text: &str) -> Result<Duration, String> {
    let timeout = parse_age(text)?;
    if timeout.is_zero() {
        Err(format!("expected more than 0s, found `{text}`"))
    } else {
        Ok(timeout)
    }
}

fn read_stdin() -> Result<String> {
    let mut text = String::new();
    stdin().read_to_string(&mut text).context("reading stdin")?;
    Ok(text)
}

/// Columns of the terminal, as indicatif's progress bars know them.
fn terminal_width() -> Option<usize> {
    rustix::termios::tcgetwinsize(stdout()).ok().map(|size| usize::from(size.ws_col))
}

/// Exit code 2.
fn wrong_usage(error: QueryError) -> anyhow::Error {
    WrongSetting(error.to_string()).into()
}

/// What is to be written.
enum Answer {
    /// The rows of a query, which took that long to plan.
    Query(Box<Prepared>, Duration),
    Rows(RecordBatch),
    Help,
}

/// Plans all statements, so that what is wrong is said before anything is written, then runs one after the other.
async fn answer(
    session: &Session,
    texts: &[String],
    params: &Params,
    showing: Showing,
    target: &mut Target,
) -> Result<()> {
    let mut all: Vec<Asked> = Vec::new();
    for text in texts {
        all.extend(asked(text)?);
    }
    if all.is_empty() {
        return Err(QueryError::new("expected a query, found none").into());
    }
    if all.len() > 1 && !showing.format.holds_several() {
        let format = format!("{:?}", showing.format).to_lowercase();
        let error = format!("--format {format}: expected one query, found {}", all.len());
        return Err(QueryError::new(error)
            .hint("csv, tsv, ndjson, markdown and table take several")
            .into());
    }
    let mut answers: Vec<Answer> = Vec::new();
    for asked in all {
        answers.push(match asked {
            Asked::Command(command) => {
                let answering = Box::pin(answer_of(session, command));
                bounded(showing.timeout, answering).await??
            }
            Asked::Statement(statement) => {
                let clock = Instant::now();
                let preparing = Box::pin(session.prepare(&statement, params));
                let prepared = bounded(showing.timeout, preparing).await??;
                Answer::Query(Box::new(prepared), clock.elapsed())
            }
        });
    }
    let has = |answer: &Answer, name: &str| match answer {
        Answer::Query(prepared, _) => prepared.params.contains(name),
        Answer::Rows(_) | Answer::Help => false,
    };
    let is_used = |name: &str| answers.iter().any(|answer| has(answer, name));
    if let Some(unused) = params.names().find(|name| !is_used(name)) {
        let error = QueryError::new(format!("-p {unused}: no query has a parameter `${unused}`"));
        return Err(wrong_usage(error));
    }
    for (number, answer) in answers.iter().enumerate() {
        if number > 0 && matches!(showing.format, Format::Table | Format::Markdown) {
            writeln!(target.out()?)?;
        }
        let (prepared, planning) = match answer {
            Answer::Query(prepared, planning) => (prepared, planning),
            Answer::Rows(rows) => {
                show(rows, showing, target)?;
                continue;
            }
            Answer::Help => {
                writeln!(target.out()?, "{HELP}")?;
                continue;
            }
        };
        let clock = Instant::now();
        let shown = run(prepared, showing, target).await?;
        let seconds = (clock.elapsed() + *planning).as_secs_f64();
        tracing::debug!(seconds, rows = shown.n_rows, "query {}: {seconds:.4} s", number + 1);
        if shown.is_cut {
            tracing::warn!(
                "only the first {} rows are shown: --max-rows 0 shows all",
                shown.n_rows
            );
        }
    }
    Ok(())
}

/// What a command that is not of the shell alone is answered with.
async fn answer_of(session: &Session, command: Command) -> Result<Answer> {
    let rows = match command {
        Command::Tables => tables(session)?,
        Command::Columns { table, comments } => columns(session, &table, comments).await?,
        Command::Functions { name } => functions(session, name.as_deref())?,
        Command::Help => return Ok(Answer::Help),
        _ => {
            let error = QueryError::new(
                "expected a query, \\d, \\d+ or \\df, found a command of the shell",
            );
            return Err(error.hint("tuwen sql, without a query, is the shell").into());
        }
    };
    Ok(Answer::Rows(rows))
}
