//! What the program says while it works, its own words and those of the libraries below. In: events of the crate `tracing`. Out:
//! lines on stderr, for people or as JSON; a progress bar stays below them. stdout is never written to.

use std::fmt;
use std::io::{self, Write};
use std::sync::LazyLock;

use indicatif::MultiProgress;
use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// All progress bars; lines are written above them.
pub static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line: time, level, target, message, and the event's fields.
    Json,
}

/// What is said, and how.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct LogFlags {
    /// Say more; twice: also what the libraries below say, and the plans of queries with their metrics
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
    /// Say less: only warnings and errors; twice: only errors. No progress
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    quiet: u8,
    /// How stderr is written
    #[arg(
        id = "log_format",
        long = "log",
        value_name = "FORMAT",
        value_enum,
        default_value = "text",
        global = true
    )]
    format: Format,
}

impl LogFlags {
    /// The same as arguments, for a command that this one becomes.
    pub fn arguments(self) -> Vec<String> {
        let format = (self.format == Format::Json).then_some(["--log", "json"]);
        let counted = |flag: &str, n: u8| (0..n).map(|_| flag.to_owned()).collect::<Vec<_>>();
        let format = format.into_iter().flatten().map(str::to_owned);
        [counted("-v", self.verbose), counted("-q", self.quiet), format.collect()].concat()
    }

    /// Sends events to stderr from now on. A second call changes nothing.
    pub fn init(self) {
        let (own, others) = match i16::from(self.verbose) - i16::from(self.quiet) {
            ..=-2 => (LevelFilter::ERROR, LevelFilter::ERROR),
            -1 => (LevelFilter::WARN, LevelFilter::WARN),
            0 => (LevelFilter::INFO, LevelFilter::WARN),
            1 => (LevelFilter::DEBUG, LevelFilter::WARN),
            2.. => (LevelFilter::TRACE, LevelFilter::INFO),
        };
        let mut targets = Targets::new().with_default(others).with_target("tuwen", own);
        if self.verbose < 2 {
            // Another run was first: that is no failure here, and is said in our own words.
            targets = targets.with_target("deltalake_core::kernel::transaction", LevelFilter::OFF);
            // That files of this size may take memory while they are uploaded, of which there is one at a time.
            targets = targets.with_target("deltalake_core::datafile::writer", LevelFilter::ERROR);
        }
        if self.quiet > 0 || self.format == Format::Json {
            BARS.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        }
        let lines = Lines { format: self.format, echoes: self.verbose >= 2 };
        // The filter of all layers, not of this one: a library that asks whether something is enabled leaves the state of such a
        // filter behind, and the next event of that thread would be lost.
        let _ = tracing_subscriber::registry().with(targets).with(lines).try_init();
    }
}

struct Lines {
    format: Format,
    /// Whether errors that a function below has returned are said too: whoever called it says what became of them.
    echoes: bool,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        // `#[instrument(err)]` writes no message, the field `error` alone.
        if said.message.is_empty() && !self.echoes {
            return;
        }
        let line = match self.format {
            Format::Text => said.text(event),
            Format::Json => said.json(event),
        };
        // Nobody is left to be told that stderr is closed.
        let _ = BARS.suspend(|| writeln!(io::stderr(), "{line}"));
    }
}

/// The message and the fields of an event.
#[derive(Default)]
struct Said {
    message: String,
    fields: Map<String, Value>,
}

impl Said {
    /// Our own messages say it all; those of libraries mean their fields to be read.
    fn text(&self, event: &Event<'_>) -> String {
        let mut line = match *event.metadata().level() {
            Level::ERROR => format!("error: {}", self.message),
            Level::WARN => format!("warning: {}", self.message),
            _ => self.message.clone(),
        };
        if !event.metadata().target().starts_with("tuwen") {
            for (name, value) in &self.fields {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                line += &format!(" {name}={value}");
            }
        }
        line
    }

    fn json(self, event: &Event<'_>) -> String {
        let mut object = Map::from_iter([
            ("time".to_owned(), json!(chrono::Utc::now().to_rfc3339())),
            ("level".to_owned(), json!(event.metadata().level().as_str().to_lowercase())),
            ("target".to_owned(), json!(event.metadata().target())),
            ("message".to_owned(), json!(self.message)),
        ]);
        object.extend(self.fields);
        Value::Object(object).to_string()
    }
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let value = format!("{value:?}");
        match field.name() {
            "message" => self.message = value,
            name => drop(self.fields.insert(name.to_owned(), json!(value))),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = value.to_owned(),
            name => drop(self.fields.insert(name.to_owned(), json!(value))),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fields.insert(field.name().to_owned(), json!(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.fields.insert(field.name().to_owned(), json!(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.fields.insert(field.name().to_owned(), json!(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.fields.insert(field.name().to_owned(), json!(value));
    }
}

/// An error with its causes on one line; `hint:` lines stay lines of their own.
pub fn one_line(error: &anyhow::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string();
        // Libraries repeat a cause in their own text.
        if !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
    }
    parts.join(": ")
}
