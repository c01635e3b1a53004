//! The command line of `tuwen train`, `tuwen evaluate` and `tuwen caption`. In: arguments. Out: an exit code: 0 fine,
//! 1 failed, 2 finished but some pictures could not be read. Never computes: each command calls one module.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use tuwen::settings::{self, Settings};

use crate::caption::{Format, caption};
use crate::evaluate::{EvalSet, evaluate};
use crate::libtorch;
use crate::model::Model;
use crate::progress::describe;
use crate::train::train;

/// Trains and uses image captioning models.
#[derive(Parser)]
#[command(name = "tuwen", bin_name = "tuwen", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Train(TrainArgs),
    Evaluate(EvaluateArgs),
    Caption(CaptionArgs),
}

/// What every command takes.
#[derive(Args)]
struct Common {
    /// Settings file [default: tuwen.toml, if it is there]
    #[arg(long, value_name = "FILE", env = "TUWEN_CONFIG")]
    config: Option<PathBuf>,
    /// Any setting, e.g. train.lr=1e-4; `tuwen config` lists them
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// cpu, cuda, cuda:N, or auto
    #[arg(long)]
    device: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Train a captioning model on a corpus's training split
#[derive(Args)]
#[command(after_help = "Examples:
  tuwen train --corpus corpus --preset tiny --out model
  tuwen train --encoder vit-base-patch16-224 --decoder gpt2_chinese --device cuda:0 --set train.precision=bf16
  tuwen train --resume auto")]
struct TrainArgs {
    /// Folder or URL of the corpus
    #[arg(long)]
    corpus: Option<String>,
    /// seed (the original's settings) or tiny (minutes on a CPU)
    #[arg(long)]
    preset: Option<String>,
    /// Folder of a whole model to start from
    #[arg(long, value_name = "DIR", conflicts_with_all = ["encoder", "decoder"])]
    model: Option<String>,
    /// Folder of a ViT to start from
    #[arg(long, value_name = "DIR")]
    encoder: Option<String>,
    /// Folder of a GPT-2 to start from
    #[arg(long, value_name = "DIR")]
    decoder: Option<String>,
    /// The tokenizer.json the corpus was curated with
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<String>,
    /// Folder for the checkpoints
    #[arg(long, value_name = "DIR")]
    out: Option<String>,
    /// auto (the newest checkpoint of --out, if any) or a checkpoint's folder
    #[arg(long)]
    resume: Option<String>,
    /// Optimizer steps
    #[arg(long)]
    steps: Option<u64>,
    /// Passes over the training split
    #[arg(long)]
    epochs: Option<u64>,
    #[command(flatten)]
    common: Common,
}

/// Loss and perplexity on a split; BLEU, ROUGE-L, CIDEr-D and exact matches of generated captions
#[derive(Args)]
#[command(after_help = "Examples:
  tuwen evaluate --corpus corpus --model model
  tuwen evaluate --corpus corpus --model model/best --num-beams 1
  tuwen evaluate --examples 500 --captions 500 --predictions predictions.jsonl --json")]
struct EvaluateArgs {
    /// Folder or URL of the corpus
    #[arg(long)]
    corpus: Option<String>,
    /// A checkpoint, or a folder of checkpoints (the newest counts; its `best` is a checkpoint too) [default: train.out]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// The split
    #[arg(long, default_value = "test")]
    split: String,
    /// Examples; 0: all
    #[arg(long)]
    examples: Option<u64>,
    /// Images to caption, once each, and to compare with all captions the split has of them
    #[arg(long)]
    captions: Option<u64>,
    /// Beams; 1: greedy
    #[arg(long)]
    num_beams: Option<u64>,
    /// Longest caption in tokens
    #[arg(long)]
    max_length: Option<u64>,
    /// Where to write every generated caption: image_id, references, caption, score, a JSON object a line
    #[arg(long, value_name = "FILE")]
    predictions: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// Describe pictures, one line each
#[derive(Args)]
#[command(after_help = "Examples:
  tuwen caption photo.jpg
  tuwen caption --model model --json *.jpg *.png")]
struct CaptionArgs {
    /// Picture files
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// A checkpoint, or a folder of checkpoints (the newest counts; its `best` is a checkpoint too) [default: train.out]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Beams; 1: greedy [default: 4]
    #[arg(long)]
    num_beams: Option<u64>,
    /// Longest caption in tokens, special ones included [default: 16]
    #[arg(long)]
    max_length: Option<u64>,
    #[command(flatten)]
    common: Common,
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// A run that failed.
    pub fn run(self) -> Result<ExitCode> {
        match self.command {
            Command::Train(args) => args.run(),
            Command::Evaluate(args) => args.run(),
            Command::Caption(args) => args.run(),
        }
    }
}

impl Common {
    /// Settings with `named` flags and `--set` on top of them; device and sizes are flags as any other.
    fn settings(&self, named: &[(&str, Option<String>)]) -> Result<Settings> {
        let mut flags: Vec<(String, String)> = Vec::new();
        for (key, value) in named.iter().chain(&[("train.device", self.device.clone())]) {
            flags.extend(value.clone().map(|value| ((*key).to_owned(), value)));
        }
        for pair in &self.set {
            let Some((key, value)) = pair.split_once('=') else {
                bail!("--set: expected KEY=VALUE, found `{pair}`");
            };
            flags.push((key.trim().to_owned(), value.trim().to_owned()));
        }
        let settings = settings::load(self.config.as_deref(), &flags)?;
        let t = &settings.train;
        for (key, value) in [
            ("batch_size", t.batch_size),
            ("eval_batch_size", t.eval_batch_size),
            ("num_beams", t.num_beams),
            ("max_length", t.max_length),
        ] {
            if value == 0 {
                bail!("train.{key}: expected at least 1, found 0");
            }
        }
        if t.generate_max_length < 2 {
            bail!(
                "train.generate_max_length: expected at least 2, found {}",
                t.generate_max_length
            );
        }
        Ok(settings)
    }
}

fn text(number: Option<u64>) -> Option<String> {
    number.map(|number| number.to_string())
}

impl TrainArgs {
    fn run(self) -> Result<ExitCode> {
        let settings = self.common.settings(&[
            ("corpus", self.corpus),
            ("train.preset", self.preset),
            ("train.model", self.model),
            ("train.encoder", self.encoder),
            ("train.decoder", self.decoder),
            ("train.tokenizer", self.tokenizer),
            ("train.out", self.out),
            ("train.resume", self.resume),
            ("train.steps", text(self.steps)),
            ("train.epochs", text(self.epochs)),
        ])?;
        let summary = train(&settings.corpus, &settings.train, &settings.curate.tokenizer)?;
        eprintln!(
            "{} of {} steps in {:.0} s, {:.0} images/s, data_wait {:.1} %: {}",
            summary.steps,
            summary.steps_planned,
            summary.seconds,
            summary.train_images_per_s,
            summary.data_wait_percent,
            summary.checkpoint.display()
        );
        if self.common.json {
            writeln!(std::io::stdout(), "{}", serde_json::to_string(&summary)?)
                .context("writing to stdout")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl EvaluateArgs {
    fn run(self) -> Result<ExitCode> {
        let settings = self.common.settings(&[
            ("corpus", self.corpus),
            ("train.eval_examples", text(self.examples)),
            ("train.eval_captions", text(self.captions)),
            ("train.num_beams", text(self.num_beams)),
            ("train.generate_max_length", text(self.max_length)),
        ])?;
        let model = open(self.model.as_deref(), &settings)?;
        let set = EvalSet::open(
            &settings.corpus,
            &self.split,
            &settings.train,
            model.captioner.config.ids.pad,
        )?;
        let mut file = match &self.predictions {
            Some(path) => Some(std::io::BufWriter::new(
                std::fs::File::create(path)
                    .with_context(|| format!("creating {}", path.display()))?,
            )),
            None => None,
        };
        let figures = evaluate(&model, &set, &settings.train, |prediction, _| match &mut file {
            Some(file) => writeln!(file, "{}", serde_json::to_string(prediction)?)
                .context("writing predictions"),
            None => Ok(()),
        })
        .with_context(|| format!("corpus {}, split {}", settings.corpus, self.split))?;
        if let Some(mut file) = file {
            file.flush().context("writing predictions")?;
        }
        let line =
            if self.common.json { serde_json::to_string(&figures)? } else { describe(&figures) };
        writeln!(std::io::stdout(), "{line}").context("writing to stdout")?;
        Ok(ExitCode::SUCCESS)
    }
}

impl CaptionArgs {
    fn run(self) -> Result<ExitCode> {
        let settings = self.common.settings(&[
            ("train.num_beams", text(self.num_beams)),
            ("train.generate_max_length", text(self.max_length)),
        ])?;
        let model = open(self.model.as_deref(), &settings)?;
        let format = if self.common.json { Format::Json } else { Format::Lines };
        let mut out = std::io::stdout().lock();
        let unreadable =
            caption(&model, &self.images, &settings.decode, &settings.train, format, &mut out)?;
        Ok(if unreadable == 0 { ExitCode::SUCCESS } else { ExitCode::from(2) })
    }
}

fn open(model: Option<&Path>, settings: &Settings) -> Result<Model> {
    libtorch::set_threads(settings.train.threads);
    let device = libtorch::device(&settings.train.device)?;
    let folder = model.unwrap_or(Path::new(&settings.train.out));
    Model::open(folder, settings.train.precision, device)
}
