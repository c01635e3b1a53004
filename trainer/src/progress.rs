//! What a person sees of a run. In: figures. Out: a progress line on a terminal, plain lines on stderr otherwise, and the
//! same figures as JSON lines in `log.jsonl`. Never writes to stdout.

use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tuwen::stream::Skipped;

use crate::evaluate::Evaluation;

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
    log: File,
    started: Instant,
    first: u64,
    steps: u64,
}

impl Progress {
    /// Progress from step `first` to `steps`; the log goes to `out/log.jsonl`, after what is there.
    pub(crate) fn new(out: &Path, first: u64, steps: u64) -> Result<Self> {
        let path = out.join("log.jsonl");
        let log = OpenOptions::new().create(true).append(true).open(&path);
        let log = log.with_context(|| format!("opening {}", path.display()))?;
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}  eta {eta}");
            let bar = ProgressBar::new(steps).with_position(first);
            bar.set_style(style.expect("the template is well formed"));
            bar
        });
        Ok(Self { bar, log, started: Instant::now(), first, steps })
    }

    /// A line that stays.
    pub(crate) fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => eprintln!("{line}"),
        }
    }

    /// The figures of a window of steps.
    pub(crate) fn steps(&mut self, w: &Window) -> Result<()> {
        let figures = format!(
            "epoch {:.2}  loss {:.4}  lr {:.1e}  grad {:.2}  {:.0} images/s  data_wait {:.1} %",
            w.epoch, w.loss, w.lr, w.grad_norm, w.images_per_s, w.data_wait_percent
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
                eprintln!("step {}/{}  {figures}  eta {}", w.step, self.steps, HumanDuration(left));
            }
        }
        self.write(json!({
            "step": w.step, "epoch": w.epoch, "loss": w.loss, "lr": w.lr, "grad_norm": w.grad_norm,
            "images_per_s": w.images_per_s, "data_wait_percent": w.data_wait_percent, "skipped": w.skipped,
        }))
    }

    /// Examples that were left out of the batches before `step`: the first in words, each in the log.
    pub(crate) fn skipped(&mut self, step: u64, skipped: &[Skipped]) -> Result<()> {
        let Some((first, rest)) = skipped.split_first() else { return Ok(()) };
        let more =
            if rest.is_empty() { String::new() } else { format!(" (and {} more)", rest.len()) };
        self.say(&format!(
            "step {step}: skipped example {}: {}{more}",
            first.example_id, first.why
        ));
        skipped.iter().try_for_each(|example| {
            self.write(json!({
                "step": step, "skipped_example": example.example_id.to_string(), "why": example.why,
            }))
        })
    }

    /// The figures of an evaluation.
    pub(crate) fn evaluation(&mut self, step: u64, e: &Evaluation) -> Result<()> {
        self.say(&format!("step {step}: {}", describe(e)));
        self.write(json!({
            "step": step, "eval_loss": e.loss, "eval_perplexity": e.perplexity, "eval_examples": e.examples,
            "exact_match": e.exact_match, "captions": e.captions, "seconds": e.seconds,
        }))
    }

    fn write(&mut self, value: Value) -> Result<()> {
        writeln!(self.log, "{value}").context("writing log.jsonl")
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// An evaluation in words.
pub(crate) fn describe(e: &Evaluation) -> String {
    let exact = e.exact_match.map_or(String::new(), |share| {
        format!(", {:.1} % of {} captions exact", 100.0 * share, e.captions)
    });
    format!(
        "test loss {:.4}, perplexity {:.3} on {} examples{exact} ({:.1} s)",
        e.loss, e.perplexity, e.examples, e.seconds
    )
}
