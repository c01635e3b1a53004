//! The training loop. In: a corpus and settings. Out: checkpoints, and a summary. Never prints to stdout.
//!
//! A step is a function of the settings, the parameters, the optimizer's two moments and the step's number: the order of the
//! examples and dropout are seeded by it. So a resumed run continues bit for bit like one that was never stopped.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde::Serialize;
use tch::{Device, Tensor};
use tuwen_settings::TrainSettings;
use tuwen_stream::{Batch, Skipped, WaitStats};

use crate::best::Best;
use crate::checkpoint::{self, RunState};
use crate::encoder_cache::EncoderCache;
use crate::evaluate::{EvalSet, Evaluation, evaluate};
use crate::feed::Feed;
use crate::generate::generation_config;
use crate::losses::Losses;
use crate::model::{Model, resolve_hub_ids};
use crate::optimizer::AdamW;
use crate::progress::{Progress, Window};
use crate::ranks::Ranks;
use crate::schedule::Schedule;
use crate::step::{BatchSource, Learner};
use crate::{hub, libtorch};

/// A loss scale below this one means that no scale helps.
const SMALLEST_SCALE: f64 = 1.0 / 65_536.0;

/// How a run ended.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Which of the ranks this is.
    #[serde(skip)]
    pub rank: usize,
    /// Optimizer steps done, those before a resume included.
    pub steps: u64,
    /// Steps the whole run has.
    pub steps_planned: u64,
    /// Examples the training split has.
    pub train_examples: usize,
    /// Mean training loss of the last log window, nats a token.
    pub train_loss: f64,
    /// The last evaluation; none without a test split.
    pub evaluation: Option<Evaluation>,
    /// Images a second while training, evaluation and saving left out.
    pub train_images_per_s: f64,
    /// Share of that time the trainer waited for batches.
    pub data_wait_percent: f64,
    /// Advice on making it wait less.
    pub data_wait_advice: String,
    /// How long the consumer and the readers waited, and what the readers did.
    pub data_wait: WaitStats,
    /// Examples left out because their images cannot be read, those of each epoch counted.
    pub skipped_examples: u64,
    /// Seconds of the whole run.
    pub seconds: f64,
    /// The last checkpoint.
    pub checkpoint: PathBuf,
    /// Steps skipped because a gradient was not finite; only in precision f16.
    pub skipped_steps: u64,
    /// The best one; none if none is asked for.
    pub best: Option<Best>,
    /// Whether the run was stopped early.
    pub stopped: bool,
}

/// Trains a model on the corpus's training split; `tokenizer` as for [`Model::start`]. What the folder of a whole model that a run
/// starts from says of writing captions overrides the settings that the user did not give: `is_given` gets a setting's name in `train`.
///
/// # Errors
/// Anything missing or unfit; a loss that is not finite.
pub fn train(
    corpus: &str,
    settings: &TrainSettings,
    tokenizer: &str,
    is_given: impl Fn(&str) -> bool,
) -> Result<Summary> {
    let started = Instant::now();
    let stop = stop_flag();
    libtorch::set_threads(settings.threads);
    let ranks = &Ranks::join(Duration::from_secs(settings.ranks_timeout_s))?;
    if ranks.local_world > 1 && settings.device.starts_with("cuda:") {
        bail!(
            "train.device: expected cuda or auto, which gives each rank of a machine its own, found `{}`\nhint: --device cuda",
            settings.device
        );
    }
    let device = libtorch::device(&settings.device, ranks.local_rank)?;
    let mut settings = settings.clone();
    let begun = start_or_resume(&mut settings, ranks, tokenizer, device, is_given)?;
    let (model, optimizer, resumed) = begun;
    let settings = &settings;
    let out = Path::new(&settings.out);
    let pad = model.captioner.config.ids.pad;
    let first = resumed.as_ref().map_or(0, |state| state.step);
    let from = resumed.as_ref().map(|state| &state.stream);
    let mut feed = Feed::open(corpus, settings, ranks, pad, from)?;
    let versions = feed.stream().versions();
    let test = EvalSet::open(corpus, "test", settings, ranks, pad, Some(versions))?;
    Best::check(settings, &test)?;
    let mut best =
        resumed.as_ref().and_then(|state| checkpoint::resumed_best(out, state, settings));
    let side = feed.stream().size_px();
    let per_epoch = feed.stream().batches_per_epoch() as u64;
    let accumulation = settings.grad_accumulation.max(1) as u64;
    let a_step = ranks.world as u64 * settings.batch_size as u64 * accumulation;
    let steps = match &resumed {
        _ if settings.steps > 0 => settings.steps,
        Some(state) => {
            let left = feed.stream().batches_left(state.stream.position) as u64;
            state.steps_for(settings, a_step, per_epoch, left)
        }
        None => (settings.epochs * per_epoch / accumulation).max(1),
    };
    let shared = [steps, per_epoch, accumulation, settings.batch_size as u64, settings.seed];
    ranks.check_same("steps, batches an epoch, batches a step, examples a batch, seed", &shared)?;
    feed.set_batches_left(steps.saturating_sub(first) * accumulation);
    let schedule = Schedule::new(settings, steps);
    std::fs::create_dir_all(out).with_context(|| format!("creating {}", out.display()))?;
    let mut progress = Progress::new(out, ranks, first, steps)?;
    if ranks.is_first() {
        progress.report(&describe_run(&model, &feed, &test, ranks, steps, settings));
    }
    feed.stream().unreadable().iter().for_each(|why| progress.report(&format!("skipping {why}")));

    let loss_scale = resumed.and_then(|state| state.loss_scale);
    let cache = EncoderCache::open(&model, settings, ranks, steps)?;
    let mut learner = Learner::new(model, optimizer, loss_scale, cache, settings);
    let mut clock = Clock::default();
    let mut losses = Losses::default();
    let (mut window_loss, mut evaluation, mut saved, mut step) = (f64::NAN, None, None, first);
    let (mut n_skipped, mut n_empty) = (0, 0);
    while step < steps {
        let begun = Instant::now();
        let lr = schedule.lr_at(step);
        let mut source =
            FeedSource { feed: &mut feed, losses: &mut losses, clock: &mut clock, step: step + 1 };
        let stepped = learner.step(settings, ranks, step, lr, side, &mut source)?;
        step += 1;
        n_empty = if stepped.empty { n_empty + 1 } else { 0 };
        if n_empty * accumulation > per_epoch {
            bail!("step {step}: none of the images of an epoch can be read");
        }
        if let Some(loss_scale) = learner.loss_scale.filter(|_| stepped.skipped) {
            let scale = loss_scale.scale;
            progress.report(&format!(
                "step {step}: skipped, a gradient was not finite; the loss scale is now {scale}"
            ));
            if scale < SMALLEST_SCALE {
                bail!("step {step}: no loss scale gives finite gradients\n  {}", last_good(out));
            }
        }

        let stopping = any_stopping(stop, ranks)?;
        let log = due(step, settings.log_every) || step == steps || stopping;
        let evaluating =
            !test.is_empty() && !stopping && (due(step, settings.eval_every) || step == steps);
        let saving = due(step, settings.save_every) || step == steps || stopping;
        let settling = log || evaluating || saving || losses.is_full();
        if settling {
            // Waits for the device, so that the clock is right, and nothing is saved after a loss that is not finite.
            losses
                .check_finite(learner.loss_scale.is_some())
                .map_err(|error| anyhow!("{error}\n  {}", last_good(out)))?;
            let norm = stepped.grad_norm.double_value(&[]);
            if !stepped.skipped && !norm.is_finite() {
                bail!(
                    "step {step}: expected finite gradients, found norm {norm}\n  {}",
                    last_good(out)
                );
            }
        }
        clock.add(begun.elapsed(), feed.wait().consumer_waited);
        if settling || ranks.world == 1 {
            let skipped = skipped_by_all(ranks, feed.take_skipped())?;
            n_skipped += skipped.len() as u64;
            progress.skipped(step, &skipped)?;
        }
        if log {
            window_loss = losses.mean(ranks)?;
            let (images_per_s, data_wait_percent) = of_all(ranks, clock.window())?;
            let (epoch, grad_norm) = (feed.epochs_done(), stepped.grad_norm.double_value(&[]));
            progress.steps(&Window {
                step,
                epoch,
                loss: window_loss,
                lr,
                grad_norm,
                images_per_s,
                data_wait_percent,
                skipped: n_skipped,
            })?;
        }
        let mut improved = false;
        if evaluating {
            let figures =
                evaluate(&learner.model, &test, settings, ranks, |prediction, picture| {
                    progress.prediction(step, prediction, picture, test.size_px())
                })?;
            progress.evaluation(step, &figures)?;
            let folder = checkpoint::folder_name(step);
            let candidate = Best::of(settings.metric_for_best_model, folder, &figures);
            if let Some(candidate) = candidate.filter(|new| new.beats(best.as_ref())) {
                (best, improved) = (Some(candidate), true);
            }
            evaluation = Some(figures);
        }
        // An evaluation takes long, so the flag is read again after one; without one, the losses may not have been checked.
        let stopping = if evaluating { any_stopping(stop, ranks)? } else { stopping };
        if saving || stopping || improved {
            let state = RunState {
                step,
                steps,
                a_step,
                optimizer_steps: learner.optimizer.steps,
                loss_scale: learner.loss_scale,
                best: best.clone(),
                stream: feed.state(),
                settings: settings.clone(),
            };
            let moments = learner.optimizer.moments(ranks)?;
            if ranks.is_first() {
                let folder = checkpoint::save(out, &learner.model, &moments, &state)?;
                progress.report(&format!("step {step}: saved {}", folder.display()));
            }
            saved = Some(out.join(checkpoint::folder_name(step)));
        }
        if stopping {
            break;
        }
    }
    if step == steps && ranks.is_first() {
        EncoderCache::remove(out)?;
    }
    // Waits for the others: the first rank serves them until their last step is saved.
    let (train_images_per_s, data_wait_percent) = of_all(ranks, clock.total())?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let wait = feed.wait();
    let data_wait_advice = wait.advice(clock.training, settings.readers, settings.prefetch, cores);
    if ranks.is_first() {
        progress.report(&wait.to_string());
        progress.report(&data_wait_advice);
    }
    let saved = saved.map_or_else(|| checkpoint::find(out), Ok).context("nothing left to train")?;
    Ok(Summary {
        rank: ranks.rank,
        steps: step,
        steps_planned: steps,
        train_examples: feed.stream().len(),
        train_loss: window_loss,
        evaluation,
        train_images_per_s,
        data_wait_percent,
        data_wait_advice,
        data_wait: wait,
        skipped_examples: n_skipped,
        seconds: started.elapsed().as_secs_f64(),
        checkpoint: saved,
        skipped_steps: learner.loss_scale.map_or(0, |loss_scale| loss_scale.skipped),
        best,
        stopped: step < steps,
    })
}

/// Model and optimizer, new or of the checkpoint to resume from: the first rank's, for all of them.
fn start_or_resume(
    settings: &mut TrainSettings,
    ranks: &Ranks,
    tokenizer: &str,
    device: Device,
    is_given: impl Fn(&str) -> bool,
) -> Result<(Model, AdamW, Option<RunState>)> {
    let folder = if ranks.is_first() { checkpoint::to_resume(settings)? } else { None };
    let folder = folder.map_or(String::new(), |folder| folder.display().to_string());
    let folder = PathBuf::from(ranks.gather(folder)?.swap_remove(0));
    if folder.as_os_str().is_empty() {
        // One rank of a machine downloads what is not there yet.
        let named = settings.clone();
        ranks.in_one_of_each_machine(move || resolve_hub_ids(&named).map(drop))?;
        if !settings.model.is_empty() {
            let folder = hub::folder(&settings.model)?;
            let otherwise = checkpoint::otherwise(&folder);
            let file = generation_config::apply_supported(&folder, settings, otherwise, is_given)?;
            if let Err(error) = file.check_supported(settings.do_sample)
                && ranks.is_first()
            {
                tracing::warn!("evaluations write captions as they can: {error:#}");
            }
        }
        let (mut model, notes) = Model::start(settings, tokenizer, device)?;
        notes.iter().filter(|_| ranks.is_first()).for_each(|note| tracing::info!("{note}"));
        if !ranks.is_first() {
            model.flat = model.flat.zeros_like();
        }
        model.flat = ranks.sum(model.flat)?;
        let optimizer = AdamW::new(&model.flat, &model.captioner.layout, settings, ranks);
        return Ok((model, optimizer, None));
    }
    let model = Model::open(&folder, settings.precision, device)?;
    let mut optimizer = AdamW::new(&model.flat, &model.captioner.layout, settings, ranks);
    let state = checkpoint::resume(&folder, &mut optimizer)?;
    if ranks.is_first() {
        tracing::info!("resuming from {}", folder.display());
    }
    Ok((model, optimizer, Some(state)))
}

/// The feed as the batches of a step; their losses and images are counted.
struct FeedSource<'a> {
    feed: &'a mut Feed,
    losses: &'a mut Losses,
    clock: &'a mut Clock,
    step: u64,
}

impl BatchSource for FeedSource<'_> {
    fn next(&mut self) -> Result<Batch> {
        self.feed.next_batch()
    }

    fn done(&mut self, batch: Batch, loss: Tensor, tokens: usize) {
        self.losses.add(self.step, &batch.example_ids, loss, tokens);
        self.clock.images += batch.len();
        self.feed.recycle(batch);
    }
}

/// The last lines of the error of a run that diverged.
fn last_good(out: &Path) -> String {
    let folder = match checkpoint::newest(out) {
        Ok(Some(folder)) => folder.display().to_string(),
        Ok(None) => "none yet".to_owned(),
        Err(error) => format!("{error:#}"),
    };
    format!(
        "last good checkpoint: {folder}\nhint: a lower train.lr, more warm-up, or train.precision = \"f32\""
    )
}

/// The examples that all ranks have left out, and why.
fn skipped_by_all(ranks: &Ranks, own: Vec<Skipped>) -> Result<Vec<(String, String)>> {
    let own: Vec<_> = own.into_iter().map(|s| (s.example_id.to_string(), s.why)).collect();
    let all = ranks.gather(serde_json::to_string(&own)?)?;
    let all = all.iter().map(|text| serde_json::from_str::<Vec<(String, String)>>(text));
    Ok(all.collect::<Result<Vec<_>, _>>()?.concat())
}

/// Whether any rank was told to stop.
fn any_stopping(stop: &AtomicBool, ranks: &Ranks) -> Result<bool> {
    let [stopping] = ranks.sums([f64::from(stop.load(Ordering::Relaxed))])?;
    Ok(stopping > 0.0)
}

/// Images a second of all ranks together, and their mean share of waiting, from this rank's.
fn of_all(ranks: &Ranks, (images_per_s, data_wait_percent): (f64, f64)) -> Result<(f64, f64)> {
    let [images_per_s, waiting] = ranks.sums([images_per_s, data_wait_percent])?;
    Ok((images_per_s, waiting / ranks.world as f64))
}

fn due(step: u64, every: u64) -> bool {
    every > 0 && step.is_multiple_of(every)
}

/// The first line of a run's report: sizes of model, data and schedule.
fn describe_run(
    model: &Model,
    feed: &Feed,
    test: &EvalSet,
    ranks: &Ranks,
    steps: u64,
    settings: &TrainSettings,
) -> String {
    let config = &model.captioner.config;
    let of_ranks = match ranks.world {
        1 => String::new(),
        world => format!(" on each of {world} ranks"),
    };
    format!(
        "{} parameters, {} px in {} patches, on {:?}: {} training and {} test examples, {steps} steps of {} x {}{of_ranks}",
        model.captioner.layout.len(),
        config.encoder.image_size,
        config.n_patches(),
        model.device,
        feed.stream().len(),
        test.len(),
        settings.batch_size,
        settings.grad_accumulation.max(1),
    )
}

/// Set by Ctrl-C or SIGTERM: the current step is finished, a checkpoint saved, and the run ends without error. A second one kills.
fn stop_flag() -> &'static AtomicBool {
    static STOP: AtomicBool = AtomicBool::new(false);
    static HANDLER: OnceLock<()> = OnceLock::new();
    HANDLER.get_or_init(|| {
        let handler = ctrlc::set_handler(|| {
            if STOP.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
        });
        if let Err(error) = handler {
            tracing::warn!("Ctrl-C will not save: {error}");
        }
    });
    &STOP
}

/// Time spent in training steps, and how much of it waiting for data.
#[derive(Default)]
struct Clock {
    images: usize,
    training: Duration,
    waited: Duration,
    logged: (usize, Duration, Duration),
}

impl Clock {
    fn add(&mut self, training: Duration, waited: Duration) {
        self.training += training;
        self.waited = waited;
    }

    /// Images a second and share of waiting (percent) since the last call.
    fn window(&mut self) -> (f64, f64) {
        let (images, training, waited) = self.logged;
        self.logged = (self.images, self.training, self.waited);
        rates(self.images - images, self.training - training, self.waited - waited)
    }

    /// The same of the whole run.
    fn total(&self) -> (f64, f64) {
        rates(self.images, self.training, self.waited)
    }
}

fn rates(images: usize, training: Duration, waited: Duration) -> (f64, f64) {
    let seconds = training.as_secs_f64().max(1e-9);
    (images as f64 / seconds, 100.0 * waited.as_secs_f64() / seconds)
}
