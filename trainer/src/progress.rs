//! Reports the progress of a run. In: figures, some generated captions. Out: a progress line on a terminal, events of `tracing`
//! otherwise; the same figures as JSON lines in `log.jsonl` and, the captions too, as TensorBoard's events in `runs/`.
//! Never writes to stdout.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};
use tuwen_corpus::log::BARS;
use tuwen_corpus::report::rate;

use crate::evaluate::{Evaluation, Prediction};
use crate::ranks::Ranks;
use crate::tensorboard::{self, EventWriter};

/// Where in the run's folder the event files are.
const EVENTS_FOLDER: &str = "runs";

/// Pictures of an evaluation that are shown with their captions: a screenful.
const SHOWN_PICTURES: usize = 8;

/// What figures of an evaluation begin with in `log.jsonl`.
const EVALUATION_PREFIX: &str = "eval_";

/// Figures of the steps since the last line.
pub(crate) struct Window {
    pub(crate) step: u64,
    pub(crate) epoch: f64,
    pub(crate) loss: f64,
    pub(crate) lr: f64,
    pub(crate) grad_norm: f64,
    pub(crate) images_per_s: f64,
    pub(crate) data_wait_percent: f64,
    /// Examples skipped since the run began.
    pub(crate) skipped: u64,
}

/// The progress of one run.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    /// The first rank's alone.
    files: Option<(File, EventWriter)>,
    /// What begins the printed lines of the other ranks.
    prefix: String,
    /// Captions of the current evaluation, a row of a table each.
    shown: Vec<String>,
    pictures_written: bool,
    started: Instant,
    first: u64,
    steps: u64,
}

impl Progress {
    /// Progress from step `first` to `steps`; the log goes to `out/log.jsonl`, after what is there, and to a new event file. Ranks
    /// but the first print what only they know, and write nothing.
    pub(crate) fn new(out: &Path, ranks: &Ranks, first: u64, steps: u64) -> Result<Self> {
        let (shown, pictures_written) = (Vec::new(), false);
        let started = Instant::now();
        if !ranks.is_first() {
            let (bar, files, prefix) = (None, None, format!("rank {}: ", ranks.rank));
            return Ok(Self { bar, files, prefix, shown, pictures_written, started, first, steps });
        }
        let path = out.join("log.jsonl");
        let log = OpenOptions::new().create(true).append(true).open(&path);
        let log = log.with_context(|| format!("opening {}", path.display()))?;
        let bar = (!BARS.is_hidden()).then(|| {
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}  eta {eta}");
            let bar = BARS.add(ProgressBar::new(steps).with_position(first));
            bar.set_style(style.expect("the template is well formed"));
            bar
        });
        // Step `first` is done; the events that a killed run wrote of later steps are replaced.
        let resumed_at = if first > 0 { first + 1 } else { 0 };
        let events = EventWriter::create(&out.join(EVENTS_FOLDER), resumed_at)?;
        let (files, prefix) = (Some((log, events)), String::new());
        Ok(Self { bar, files, prefix, shown, pictures_written, started, first, steps })
    }

    /// Prints a line that stays, above the progress bar if there is one.
    pub(crate) fn report(&self, line: &str) {
        tracing::info!("{}{line}", self.prefix);
    }

    /// The figures of a window of steps.
    pub(crate) fn steps(&mut self, w: &Window) -> Result<()> {
        if self.files.is_none() {
            return Ok(());
        }
        let figures = format!(
            "epoch {:.2}  loss {:.4}  lr {:.1e}  grad {:.2}  {} images/s  data_wait {:.1} %",
            w.epoch,
            w.loss,
            w.lr,
            w.grad_norm,
            rate(w.images_per_s),
            w.data_wait_percent
        );
        let figures = match w.skipped {
            0 => figures,
            skipped => format!("{figures}  skipped {skipped}"),
        };
        match &self.bar {
            Some(bar) => {
                bar.set_position(w.step);
                bar.set_message(figures);
            }
            None => {
                let left = self
                    .started
                    .elapsed()
                    .mul_f64((self.steps - w.step) as f64 / (w.step - self.first).max(1) as f64);
                let (step, steps) = (w.step, self.steps);
                tracing::info!("step {step}/{steps}  {figures}  eta {}", HumanDuration(left));
            }
        }
        self.write(json!({
            "step": w.step, "epoch": w.epoch, "loss": w.loss, "lr": w.lr, "grad_norm": w.grad_norm,
            "images_per_s": w.images_per_s, "data_wait_percent": w.data_wait_percent, "skipped": w.skipped,
        }))
    }

    /// Examples that were left out of the batches before `step`: the first in a printed line, each in the log.
    pub(crate) fn skipped(&mut self, step: u64, skipped: &[(String, String)]) -> Result<()> {
        let Some(((first, why), rest)) = skipped.split_first() else { return Ok(()) };
        if self.files.is_none() {
            return Ok(());
        }
        let more =
            if rest.is_empty() { String::new() } else { format!(" (and {} more)", rest.len()) };
        self.report(&format!("step {step}: skipped example {first}: {why}{more}"));
        skipped.iter().try_for_each(|(example, why)| {
            self.write(json!({ "step": step, "skipped_example": example, "why": why }))
        })
    }

    /// The figures of an evaluation.
    pub(crate) fn evaluation(&mut self, step: u64, e: &Evaluation) -> Result<()> {
        if self.files.is_none() {
            return Ok(());
        }
        self.report(&format!("step {step}: {}", describe(e)));
        let mut line = Map::from_iter([("step".to_owned(), json!(step))]);
        if let Value::Object(figures) = serde_json::to_value(e)? {
            line.extend(figures.into_iter().map(|(k, v)| (format!("{EVALUATION_PREFIX}{k}"), v)));
        }
        if !self.shown.is_empty() {
            let table =
                format!("picture | caption | references\n---|---|---\n{}", self.shown.join("\n"));
            let text = ("eval/samples".to_owned(), tensorboard::Value::Text(&table));
            self.events(step, &[text])?;
            self.shown.clear();
            self.pictures_written = true;
        }
        self.write(Value::Object(line))
    }

    /// A caption of the current evaluation; the first few are kept for [`Progress::evaluation`], their pictures written
    /// once a run.
    pub(crate) fn prediction(
        &mut self,
        step: u64,
        prediction: &Prediction,
        rgb: &[u8],
        side: usize,
    ) -> Result<()> {
        let number = self.shown.len() + 1;
        if number > SHOWN_PICTURES {
            return Ok(());
        }
        let references: Vec<_> = prediction.references.iter().map(|r| escaped(r)).collect();
        let (caption, references) = (escaped(&prediction.caption), references.join("; "));
        self.shown.push(format!("{number} | {caption} | {references}"));
        if !self.pictures_written {
            let picture = tensorboard::Value::Picture { rgb, side };
            self.events(step, &[(format!("eval/picture_{number}"), picture)])?;
        }
        Ok(())
    }

    /// A line of the log, and its figures as scalars: `loss` is `train/loss`, `eval_loss` is `eval/loss`.
    fn write(&mut self, line: Value) -> Result<()> {
        let Some((log, _)) = &mut self.files else { return Ok(()) };
        writeln!(log, "{line}").context("writing log.jsonl")?;
        let (Some(step), Some(figures)) = (line["step"].as_u64(), line.as_object()) else {
            return Ok(());
        };
        let scalar = |(key, value): (&String, &Value)| {
            let tag = match key.strip_prefix(EVALUATION_PREFIX) {
                Some(name) => format!("eval/{name}"),
                None => format!("train/{key}"),
            };
            Some((tag, tensorboard::Value::Scalar(value.as_f64()?)))
        };
        let scalars: Vec<_> =
            figures.iter().filter(|(key, _)| *key != "step").filter_map(scalar).collect();
        self.events(step, &scalars)
    }

    fn events(&mut self, step: u64, values: &[(String, tensorboard::Value<'_>)]) -> Result<()> {
        self.files.as_mut().map_or(Ok(()), |(_, events)| events.write(step, values))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A caption as a cell of a Markdown table, its special characters escaped.
fn escaped(caption: &str) -> String {
    let mut escaped = String::with_capacity(caption.len());
    for c in caption.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' => escaped.extend(['\\', c]),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

/// An evaluation in one printed line.
pub(crate) fn describe(e: &Evaluation) -> String {
    let scores = e.scores.as_ref().map_or(String::new(), |s| {
        format!(
            "; on {} images BLEU-4 {:.3}, ROUGE-L {:.3}, CIDEr-D {:.3}, {:.1} % exact",
            e.captions,
            s.bleu_4,
            s.rouge_l,
            s.cider,
            100.0 * s.exact_match
        )
    });
    format!(
        "test loss {:.4}, perplexity {:.3} on {} examples{scores} ({:.1} s)",
        e.loss, e.perplexity, e.examples, e.seconds
    )
}
