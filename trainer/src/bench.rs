//! How fast this machine trains. In: a model's settings, and a corpus or none. Out: the figures of the computation alone, of
//! the loader alone, and of both together. Never writes anything.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use tch::{Device, Tensor};
use tuwen_settings::TrainSettings;
use tuwen_stream::Batch;

use crate::feed::Feed;
use crate::generate::{GenerateOptions, generate};
use crate::libtorch;
use crate::model::Model;
use crate::optimizer::AdamW;
use crate::pixels::{Crop, splitmix};
use crate::ranks::Ranks;
use crate::step::{BatchSource, Learner};

/// Rounds of each measurement; the median counts.
const ROUNDS: usize = 5;

/// What is measured, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct BenchOptions {
    /// Optimizer steps of a round.
    pub steps: u64,
    /// Steps before the first round.
    pub warmup: u64,
    /// Tokens of a made-up caption; used without a corpus.
    pub tokens: usize,
    /// Pictures captioned in a round; 0: captioning is not measured.
    pub captions: usize,
}

/// The figures.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Where it ran.
    pub device: String,
    /// CPU threads of libtorch.
    pub threads: i32,
    /// Parameters of the model.
    pub parameters: i64,
    /// Milliseconds of an optimizer step on batches that are in memory already.
    pub step_ms: f64,
    /// The same in images a second.
    pub compute_images_per_s: f64,
    /// Batches read and given back, nothing computed; images a second.
    pub loader_images_per_s: Option<f64>,
    /// Training on batches as they come; images a second.
    pub together_images_per_s: Option<f64>,
    /// Share of that time spent waiting for batches.
    pub data_wait_percent: Option<f64>,
    /// Pictures captioned a second.
    pub caption_images_per_s: Option<f64>,
    /// Largest memory the process had, MiB.
    pub peak_memory_mib: f64,
    /// Memory it has on the CUDA device, MiB, as the driver counts it.
    pub cuda_memory_mib: Option<f64>,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} parameters on {} ({} CPU threads), medians of {ROUNDS} rounds",
            self.parameters, self.device, self.threads
        )?;
        let mut line = |name: &str, value: Option<f64>, unit: &str| match value {
            Some(value) => writeln!(f, "  {name:<18} {value:>10.1} {unit}"),
            None => Ok(()),
        };
        line("step", Some(self.step_ms), "ms")?;
        line("computation alone", Some(self.compute_images_per_s), "images/s")?;
        line("loader alone", self.loader_images_per_s, "images/s")?;
        line("together", self.together_images_per_s, "images/s")?;
        line("data_wait", self.data_wait_percent, "%")?;
        line("captioning", self.caption_images_per_s, "images/s")?;
        line("CUDA memory", self.cuda_memory_mib, "MiB")?;
        write!(f, "  {:<18} {:>10.1} MiB", "peak memory", self.peak_memory_mib)
    }
}

/// Measures; `corpus` none: random pictures and captions.
///
/// # Errors
/// As training; a corpus without a training split.
pub fn bench(
    corpus: Option<&str>,
    settings: &TrainSettings,
    tokenizer: &str,
    options: &BenchOptions,
) -> Result<Figures> {
    if options.steps == 0 {
        bail!("--steps: expected at least 1, found 0");
    }
    libtorch::set_threads(settings.threads);
    let device = libtorch::device(&settings.device, 0)?;
    let (model, _) = Model::start(settings, tokenizer, device)?;
    let pad = model.captioner.config.ids.pad;
    let parameters = model.captioner.layout.len();
    // A short batch would spoil the comparison.
    let whole_batches = TrainSettings { drop_last: true, ..settings.clone() };
    let open = |corpus| Feed::open(corpus, &whole_batches, &Ranks::alone(), pad, None);
    let mut feed = corpus.map(open).transpose()?;
    let side = match &feed {
        Some(feed) => feed.stream().size_px(),
        None => model.captioner.config.encoder.image_size as usize,
    };
    let kept = match &mut feed {
        Some(feed) => (0..KEPT_BATCHES).map(|_| feed.next_batch()).collect::<Result<_>>()?,
        None => VecDeque::from([random_batch(&model, settings.batch_size, side, options.tokens)]),
    };
    let caption_images_per_s =
        (options.captions > 0).then(|| captioning(&model, settings, side, options));

    let optimizer = AdamW::new(&model.flat, &model.captioner.layout, settings, &Ranks::alone());
    let mut learner = Learner::new(model, optimizer, None, None, settings);
    let mut number = 0;
    let mut kept = RepeatedBatches { batches: kept, images: 0 };
    steps(&mut learner, settings, side, &mut number, options.warmup, &mut kept)?;
    let compute = median_rate(|| {
        let begun = (Instant::now(), kept.images);
        steps(&mut learner, settings, side, &mut number, options.steps, &mut kept)?;
        Ok((begun.0.elapsed(), kept.images - begun.1))
    })?;

    let (mut loader, mut together, mut data_wait_percent) = (None, None, None);
    if let Some(feed) = &mut feed {
        let images_wanted = (options.steps as usize) * settings.batch_size;
        loader = Some(median_rate(|| {
            let (begun, mut images) = (Instant::now(), 0);
            while images < images_wanted.max(LOADER_IMAGES) {
                let batch = feed.next_batch()?;
                images += batch.len();
                feed.recycle(batch);
            }
            Ok((begun.elapsed(), images))
        })?);
        let (waited, mut spent) = (feed.wait().consumer_waited, Duration::ZERO);
        together = Some(median_rate(|| {
            let mut source = StreamedBatches { feed: &mut *feed, images: 0 };
            let begun = Instant::now();
            steps(&mut learner, settings, side, &mut number, options.steps, &mut source)?;
            spent += begun.elapsed();
            Ok((begun.elapsed(), source.images))
        })?);
        let waited = (feed.wait().consumer_waited - waited).as_secs_f64();
        data_wait_percent = Some(100.0 * waited / spent.as_secs_f64());
    }
    let images_per_step = (settings.batch_size * settings.grad_accumulation.max(1)) as f64;
    Ok(Figures {
        device: format!("{device:?}"),
        threads: tch::get_num_threads(),
        parameters,
        step_ms: 1e3 * images_per_step / compute,
        compute_images_per_s: compute,
        loader_images_per_s: loader,
        together_images_per_s: together,
        data_wait_percent,
        caption_images_per_s,
        peak_memory_mib: peak_memory_mib()?,
        cuda_memory_mib: cuda_memory_mib(device),
    })
}

/// Images the loader reads at least in a round: a few steps' worth would measure its prefetched batches.
const LOADER_IMAGES: usize = 4096;

/// Batches of a corpus that are computed on without its loader: a single one's captions could be longer or shorter than most.
const KEPT_BATCHES: usize = 8;

/// The same batches over and over, without the loader.
struct RepeatedBatches {
    batches: VecDeque<Batch>,
    images: usize,
}

impl BatchSource for RepeatedBatches {
    fn next(&mut self) -> Result<Batch> {
        self.batches.pop_front().context("no batch was given back")
    }

    fn done(&mut self, batch: Batch, _: Tensor, _: usize) {
        self.images += batch.len();
        self.batches.push_back(batch);
    }
}

/// Batches of the loader, as they come.
struct StreamedBatches<'a> {
    feed: &'a mut Feed,
    images: usize,
}

impl BatchSource for StreamedBatches<'_> {
    fn next(&mut self) -> Result<Batch> {
        self.feed.next_batch()
    }

    fn done(&mut self, batch: Batch, _: Tensor, _: usize) {
        self.images += batch.len();
        self.feed.recycle(batch);
    }
}

/// `n` optimizer steps, until the device has computed them.
fn steps(
    learner: &mut Learner,
    settings: &TrainSettings,
    side: usize,
    number: &mut u64,
    n: u64,
    source: &mut impl BatchSource,
) -> Result<()> {
    for _ in 0..n {
        learner.step(settings, &Ranks::alone(), *number, settings.lr, side, source)?;
        *number += 1;
    }
    // Asking for a value waits for the device.
    let _ = learner.model.flat.get(0).double_value(&[]);
    Ok(())
}

fn captioning(model: &Model, settings: &TrainSettings, side: usize, options: &BenchOptions) -> f64 {
    let pictures = random_pixels(options.captions, side);
    let pixels = model.pixels(&pictures, options.captions, side, Crop::whole(side));
    let (views, how) = (model.views(), GenerateOptions::from(settings));
    let once = || {
        let begun = Instant::now();
        let captions = generate(&model.captioner, &views, &pixels, &how);
        captions.len() as f64 / begun.elapsed().as_secs_f64()
    };
    once();
    median((0..ROUNDS).map(|_| once()).collect())
}

/// Images a second: the median of the rounds.
fn median_rate(mut round: impl FnMut() -> Result<(Duration, usize)>) -> Result<f64> {
    let rates = (0..ROUNDS).map(|_| {
        let (took, images) = round()?;
        Ok(images as f64 / took.as_secs_f64())
    });
    Ok(median(rates.collect::<Result<_>>()?))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn random_batch(model: &Model, b: usize, side: usize, tokens: usize) -> Batch {
    let vocab = model.captioner.config.decoder.vocab_size as u64;
    let mut input_ids: Vec<i64> =
        (0..(b * tokens) as u64).map(|i| (splitmix(i) % vocab) as i64).collect();
    // Captions that do not end would get one token more.
    input_ids.chunks_mut(tokens).for_each(|ids| ids[tokens - 1] = model.captioner.config.ids.eos);
    Batch {
        example_ids: vec![Default::default(); b],
        pixels: random_pixels(b, side),
        input_ids,
        lengths: vec![tokens as u32; b],
        width_tokens: tokens,
        ..Batch::default()
    }
}

fn random_pixels(b: usize, side: usize) -> Vec<u8> {
    (0..(b * side * side * 3) as u64).map(|i| splitmix(i) as u8).collect()
}

fn peak_memory_mib() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    Ok(kib.context("/proc/self/status: expected VmHWM")? / 1024.0)
}

/// What `nvidia-smi` reports; none without a CUDA device or without the tool.
fn cuda_memory_mib(device: Device) -> Option<f64> {
    let Device::Cuda(_) = device else { return None };
    let query = ["--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"];
    let output = std::process::Command::new("nvidia-smi").args(query).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let own = std::process::id().to_string();
    text.lines().find_map(|line| {
        line.split_once(',').filter(|(pid, _)| pid.trim() == own)?.1.trim().parse().ok()
    })
}
