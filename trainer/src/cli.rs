//! The command line of `tuwen train`, `evaluate`, `caption` and `score`, and of `tuwen-trainer bench`. In: arguments. Out: an exit
//! code: 0 fine, 1 failed, 2 wrong usage or pictures that could not be read, 3 too many images or examples of a corpus without a
//! caption or score, 130 interrupted. Never computes: each command calls one module.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use tuwen_corpus::log::LogFlags;
use tuwen_corpus::report::rate;
use tuwen_etl::stop::INTERRUPTED;

use crate::bench::{BenchOptions, bench};
use crate::caption::{Format, caption};
use crate::caption_corpus::caption_corpus;
use crate::evaluate::{EvalSet, evaluate};
use crate::libtorch;
use crate::progress::describe;
use crate::ranks::Ranks;
use crate::train::{Summary, train};

mod flags;
mod opened;
mod score;
mod summary;

use self::flags::{TrainerFlags, resumed_settings};
use self::opened::{Opened, open};
use self::score::ScoreArgs;
use self::summary::summary;

/// Trains and uses image captioning models.
#[derive(Parser)]
#[command(name = "tuwen", bin_name = "tuwen", version, about)]
pub struct Cli {
    #[command(flatten)]
    log: LogFlags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Train(TrainArgs),
    Evaluate(EvaluateArgs),
    Caption(CaptionArgs),
    Score(ScoreArgs),
    Bench(BenchArgs),
}

/// Train a captioning model on a corpus's training split
#[derive(Args)]
#[command(after_help = "Examples:
  tuwen train --preset tiny --tokenizer tokenizer.json --out model
  tuwen train --preset seed --device cuda:0
  tuwen train --encoder google/vit-base-patch16-224 --decoder yuanzhoulvpi/gpt2_chinese --device cuda:0
  tuwen train --where \"gain > 0.1\"   # without pairs that `tuwen score` found doubtful
  tuwen train --resume auto
  torchrun --no-python --nproc-per-node 4 tuwen-trainer train --corpus corpus --encoder google/vit-base-patch16-224")]
struct TrainArgs {
    /// Folder or URL of the corpus
    #[arg(long)]
    corpus: Option<String>,
    /// scratch (fresh weights), seed (the original's recipe, from two models of the hub) or tiny (minutes on a CPU)
    #[arg(long)]
    preset: Option<String>,
    /// Folder or Hugging Face id of a whole model to start from
    #[arg(long, value_name = "DIR", conflicts_with_all = ["encoder", "decoder"])]
    model: Option<String>,
    /// Folder or Hugging Face id of a ViT to start from
    #[arg(long, value_name = "DIR")]
    encoder: Option<String>,
    /// Folder or Hugging Face id of a GPT-2 to start from
    #[arg(long, value_name = "DIR")]
    decoder: Option<String>,
    /// The tokenizer.json the corpus was curated with
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<String>,
    /// Folder for the checkpoints
    #[arg(long, value_name = "DIR")]
    out: Option<String>,
    /// auto (the newest checkpoint of --out, if any) or a checkpoint's folder; its settings hold but for what is given now
    #[arg(long)]
    resume: Option<String>,
    /// Train on the examples for which this SQL condition holds [setting: train.predicate]
    #[arg(long = "where", value_name = "SQL", allow_hyphen_values = true)]
    predicate: Option<String>,
    /// Optimizer steps
    #[arg(long)]
    steps: Option<u64>,
    /// Passes over the training split
    #[arg(long)]
    epochs: Option<u64>,
    #[command(flatten)]
    flags: TrainerFlags,
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
    /// A checkpoint, a Hugging Face id, or a folder of checkpoints (the newest counts; its `best` is a checkpoint too)
    /// [default: train.out]
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
    /// Where to write every generated caption: image_id, references, caption, score, a JSON object a line
    #[arg(long, value_name = "FILE")]
    predictions: Option<PathBuf>,
    #[command(flatten)]
    flags: TrainerFlags,
    #[command(flatten)]
    generate: GenerateArgs,
}

/// Describe pictures, one line each, or images of a corpus, into its table `captions`
#[derive(Args)]
#[command(after_help = "Examples:
  tuwen caption photo.jpg
  tuwen caption --model model --json *.jpg *.png
  tuwen caption --do-sample --top-p 0.9 --seed 7 photo.jpg
  tuwen caption --corpus corpus --from-sql \"select image_id from examples where split = 'test'\"
  tuwen sql \"select text, caption from captions join examples using (image_id)\"")]
struct CaptionArgs {
    /// Picture files
    #[arg(required_unless_present = "from_sql", conflicts_with = "from_sql", value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// Caption the corpus's images whose image_id the rows of this query have; those that the model has captioned with the
    /// same settings are left out
    #[arg(long, value_name = "QUERY", allow_hyphen_values = true)]
    from_sql: Option<String>,
    /// Folder or URL of the corpus, with --from-sql
    #[arg(long)]
    corpus: Option<String>,
    /// A checkpoint, a Hugging Face id, or a folder of checkpoints (the newest counts; its `best` is a checkpoint too)
    /// [default: train.out]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    #[command(flatten)]
    flags: TrainerFlags,
    #[command(flatten)]
    generate: GenerateArgs,
}

/// How fast this machine trains: the computation alone, the loader alone, both together
#[derive(Args)]
#[command(
    override_usage = "tuwen-trainer bench [OPTIONS]",
    after_help = "Examples:
  tuwen-trainer bench --corpus corpus --preset tiny
  tuwen-trainer bench --synthetic --model vit-gpt2 --captions 64 --set train.batch_size=16 --json"
)]
struct BenchArgs {
    /// Folder or URL of the corpus
    #[arg(long, conflicts_with = "synthetic")]
    corpus: Option<String>,
    /// Random pictures and captions instead of a corpus: the computation alone
    #[arg(long)]
    synthetic: bool,
    /// scratch, seed or tiny
    #[arg(long)]
    preset: Option<String>,
    /// Folder or Hugging Face id of a whole model
    #[arg(long, value_name = "DIR")]
    model: Option<String>,
    /// The tokenizer.json
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<String>,
    /// Optimizer steps of a round; five rounds are measured, and the median counts
    #[arg(long, default_value_t = 10)]
    steps: u64,
    /// Steps before the first round
    #[arg(long, default_value_t = 3)]
    warmup: u64,
    /// Tokens of a made-up caption
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    tokens: u16,
    /// Pictures captioned in a round; 0: none
    #[arg(long, default_value_t = 0)]
    captions: usize,
    #[command(flatten)]
    flags: TrainerFlags,
}

/// How captions are written; what is not given is as the model's generation_config.json says, else as the settings.
#[derive(Args)]
#[command(
    next_help_heading = "How captions are written [default: the model's generation_config.json]"
)]
struct GenerateArgs {
    /// Beams; 1: one sequence, token by token
    #[arg(long, value_name = "N")]
    num_beams: Option<u64>,
    /// Longest caption in tokens, special ones included
    #[arg(long, value_name = "N")]
    max_length: Option<u64>,
    /// Tokens, the start token included, before which a caption may not end
    #[arg(long, value_name = "N")]
    min_length: Option<u64>,
    /// Exponent of the length a beam's score is divided by
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    length_penalty: Option<f64>,
    /// When beam search may stop: true, false or never
    #[arg(long, value_name = "WHEN")]
    early_stopping: Option<String>,
    /// Length of the token sequences that may occur only once; 0: any may repeat
    #[arg(long, value_name = "N")]
    no_repeat_ngram_size: Option<u64>,
    /// What scores of tokens that a caption has already are divided by; 1: nothing
    #[arg(long, value_name = "X")]
    repetition_penalty: Option<f64>,
    /// Draw captions at random
    #[arg(long)]
    do_sample: bool,
    /// What logits are divided by before a draw
    #[arg(long, value_name = "X")]
    temperature: Option<f64>,
    /// Likeliest tokens a draw is made from; 0: all
    #[arg(long, value_name = "N")]
    top_k: Option<u64>,
    /// Probability, 0 to 1, that the tokens a draw is made from have together
    #[arg(long, value_name = "X")]
    top_p: Option<f64>,
    /// Seed of the draws
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

impl GenerateArgs {
    fn named(&self) -> [(&'static str, Option<String>); 12] {
        [
            ("train.num_beams", text(self.num_beams)),
            ("train.generate_max_length", text(self.max_length)),
            ("train.generate_min_length", text(self.min_length)),
            ("train.length_penalty", text(self.length_penalty)),
            ("train.early_stopping", self.early_stopping.clone()),
            ("train.no_repeat_ngram_size", text(self.no_repeat_ngram_size)),
            ("train.repetition_penalty", text(self.repetition_penalty)),
            ("train.do_sample", self.do_sample.then(|| "true".to_owned())),
            ("train.temperature", text(self.temperature)),
            ("train.top_k", text(self.top_k)),
            ("train.top_p", text(self.top_p)),
            ("train.sample_seed", text(self.seed)),
        ]
    }
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// A run that failed.
    pub fn run(self) -> Result<ExitCode> {
        self.log.init();
        libtorch::use_passive_wait_policy()?;
        libtorch::keep_freed_memory();
        match self.command {
            Command::Train(args) => args.run(),
            Command::Evaluate(args) => args.run(),
            Command::Caption(args) => args.run(),
            Command::Score(args) => args.run(),
            Command::Bench(args) => args.run(),
        }
    }
}

fn text(number: Option<impl ToString>) -> Option<String> {
    number.map(|number| number.to_string())
}

impl TrainArgs {
    fn run(self) -> Result<ExitCode> {
        let settings = self.flags.resolve(&[
            ("corpus", self.corpus),
            ("train.preset", self.preset),
            ("train.model", self.model),
            ("train.encoder", self.encoder),
            ("train.decoder", self.decoder),
            ("train.tokenizer", self.tokenizer),
            ("train.out", self.out),
            ("train.resume", self.resume),
            ("train.predicate", self.predicate),
            ("train.steps", text(self.steps)),
            ("train.epochs", text(self.epochs)),
        ])?;
        let settings = resumed_settings(settings)?;
        let summary = train(&settings.corpus, &settings.train, &settings.curate.tokenizer)?;
        // What one rank prints is true of all.
        if summary.rank == 0 {
            summary.print(self.flags.json)?;
        }
        if summary.stopped {
            tracing::warn!(
                "interrupted: the checkpoint is saved\nhint: --resume auto resumes from it"
            );
            return Ok(ExitCode::from(INTERRUPTED));
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Summary {
    /// A line for people, and for programs a JSON object.
    fn print(&self, json: bool) -> Result<()> {
        eprintln!(
            "{} of {} steps in {:.0} s, {} images/s, data_wait {:.1} %: {}",
            self.steps,
            self.steps_planned,
            self.seconds,
            rate(self.train_images_per_s),
            self.data_wait_percent,
            self.checkpoint.display()
        );
        if json {
            writeln!(std::io::stdout(), "{}", serde_json::to_string(self)?)
                .context("writing to stdout")?;
        }
        Ok(())
    }
}

impl EvaluateArgs {
    fn run(self) -> Result<ExitCode> {
        let mut named = Vec::from(self.generate.named());
        named.extend([
            ("corpus", self.corpus),
            ("train.eval_examples", text(self.examples)),
            ("train.eval_captions", text(self.captions)),
        ]);
        let Opened { model, settings, .. } =
            open(self.model.as_deref(), self.flags.resolve(&named)?)?;
        let ranks = Ranks::alone();
        let set = EvalSet::open(
            &settings.corpus,
            &self.split,
            &settings.train,
            &ranks,
            model.captioner.config.ids.pad,
            None,
        )?;
        let mut file = match &self.predictions {
            Some(path) => Some(std::io::BufWriter::new(
                std::fs::File::create(path)
                    .with_context(|| format!("creating {}", path.display()))?,
            )),
            None => None,
        };
        let figures =
            evaluate(&model, &set, &settings.train, &ranks, |prediction, _| match &mut file {
                Some(file) => writeln!(file, "{}", serde_json::to_string(prediction)?)
                    .context("writing predictions"),
                None => Ok(()),
            })
            .with_context(|| format!("corpus {}, split {}", settings.corpus, self.split))?;
        if let Some(mut file) = file {
            file.flush().context("writing predictions")?;
        }
        let line =
            if self.flags.json { serde_json::to_string(&figures)? } else { describe(&figures) };
        writeln!(std::io::stdout(), "{line}").context("writing to stdout")?;
        Ok(ExitCode::SUCCESS)
    }
}

impl CaptionArgs {
    fn run(self) -> Result<ExitCode> {
        let mut named = Vec::from(self.generate.named());
        named.push(("corpus", self.corpus));
        let Opened { model, settings, folder } =
            open(self.model.as_deref(), self.flags.resolve(&named)?)?;
        if let Some(query) = &self.from_sql {
            let reported = caption_corpus(&model, &folder.display().to_string(), query, &settings);
            let what = "images asked for were not captioned";
            return summary(reported, what, self.flags.json, settings.max_rejected_percent);
        }
        let format = if self.flags.json { Format::Json } else { Format::Lines };
        let mut out = std::io::stdout().lock();
        let unreadable =
            caption(&model, &self.images, &settings.decode, &settings.train, format, &mut out)?;
        Ok(if unreadable == 0 { ExitCode::SUCCESS } else { ExitCode::from(2) })
    }
}

impl BenchArgs {
    fn run(self) -> Result<ExitCode> {
        let settings = self.flags.resolve(&[
            ("corpus", self.corpus),
            ("train.preset", self.preset),
            ("train.model", self.model),
            ("train.tokenizer", self.tokenizer),
        ])?;
        let settings = settings.settings;
        let options = BenchOptions {
            steps: self.steps,
            warmup: self.warmup,
            tokens: self.tokens.into(),
            captions: self.captions,
        };
        let corpus = (!self.synthetic).then_some(settings.corpus.as_str());
        let figures = bench(corpus, &settings.train, &settings.curate.tokenizer, &options)?;
        let text =
            if self.flags.json { serde_json::to_string(&figures)? } else { figures.to_string() };
        writeln!(std::io::stdout(), "{text}").context("writing to stdout")?;
        Ok(ExitCode::SUCCESS)
    }
}
