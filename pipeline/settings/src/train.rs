//! Settings of `tuwen train`, `evaluate`, `caption` and `score`, and their presets. Never looks
//! at files or devices: the trainer checks what only it can know.

use serde::{Deserialize, Serialize};

use crate::allowed::Allowed::{Bool, Device, FilledText, Interval, OneOf, Text};
use crate::allowed::{above, at_least, number, number_below, whole};
use crate::key::settings;
use crate::train_choices::{
    BestMetric, EarlyStopping, LrSchedule, OnBadImage, Precision, ReadPath, TrainOrder,
};

/// Names that [`TrainSettings::preset`] knows.
pub const PRESETS: [&str; 3] = ["scratch", "seed", "tiny"];

/// The preset of those that ask for none.
pub(crate) const DEFAULT_PRESET: &str = "scratch";

/// More examples or steps than anybody has; products of two such numbers are still far from 64
/// bits' end.
const MANY: i64 = 1_000_000_000;

settings! {
    /// Settings of the trainer; the defaults (preset scratch) are the original's sizes and schedule
    /// with fresh weights: ViT-B/16 at 224 px and GPT-2 base, 384 examples a step, one epoch. An
    /// empty text or a zero means "not given" where the field says so.
    pub struct TrainSettings("train.", settings => settings.train) {
        /// Preset of the train settings. The others start from its values. Scratch: fresh weights;
        /// seed: the original's recipe, which starts from two models of the Hugging Face hub; tiny:
        /// a small model for a CPU.
        preset: String = DEFAULT_PRESET.to_owned(), OneOf(&PRESETS);

        /// Whole model to start from; empty: none. A folder or Hugging Face id of a
        /// `VisionEncoderDecoderModel`.
        model: String = String::new(), Text;
        /// ViT encoder to start from; empty: a fresh one. A folder or Hugging Face id.
        encoder: String = String::new(), Text;
        /// GPT-2 decoder to start from; empty: a fresh one. A folder or Hugging Face id.
        decoder: String = String::new(), Text;
        /// Side in pixels for a loaded encoder; 0: its own. Its position embeddings are
        /// interpolated.
        encoder_image_size: i64 = 0, whole(0..=4_096);
        /// The `tokenizer.json`; empty: the model's. Where the model's or decoder's folder has
        /// none: `curate.tokenizer`.
        tokenizer: String = String::new(), Text;
        /// Folder of the checkpoints. They are written as `checkpoint-STEP`.
        out: String = "model".to_owned(), FilledText;
        /// Where to resume; empty: a new run. `auto` (the newest checkpoint of `out`, if any) or a
        /// checkpoint's folder.
        resume: String = String::new(), Text;

        /// Device; auto: the first CUDA one, else the CPU.
        device: String = "auto".to_owned(), Device;
        /// Number format of the passes. Forward and backward; parameters and optimizer are always
        /// 32-bit.
        precision: Precision = Precision::F32, OneOf(Precision::NAMES);
        /// CPU threads of libtorch; 0: its own choice.
        threads: usize = 0, whole(0..=1_024);
        /// Seed of fresh weights, order and dropout.
        seed: u64 = 0, whole(0..=i64::MAX);

        /// Passes over the training split.
        epochs: u64 = 1, whole(1..=1_000_000);
        /// Optimizer steps; 0: as the epochs have.
        steps: u64 = 0, whole(0..=MANY);
        /// Examples of one forward pass.
        batch_size: usize = 48, whole(1..=65_536);
        /// Forward passes of one optimizer step.
        grad_accumulation: usize = 8, whole(1..=65_536);
        /// SQL condition on examples; empty: all. Those of the training split for which it holds
        /// are trained on.
        predicate: String = String::new(), Text;
        /// Order of the training examples. Global: one permutation of all, for local disks; window:
        /// shuffled within windows that are fetched ahead, for object stores and spinning disks.
        order: TrainOrder = TrainOrder::Global, OneOf(TrainOrder::NAMES);
        /// Whether captions of like length share a batch. So that little is padded: within every 50
        /// batches of the order, as transformers' `group_by_length`.
        group_by_length: bool = false, Bool;
        /// Whether an epoch's short last batch is left out. As transformers'
        /// `dataloader_drop_last`.
        drop_last: bool = false, Bool;
        /// Row groups of one window of order window. Each has 256 pictures; an object store's are
        /// held in memory, two windows at a time.
        window_row_groups: usize = 16, whole(1..=1_000_000);
        /// Share of the side cut off at random; 0: none. One window a batch, smaller than the
        /// pictures by at most this share; small ones teach that a thing stays the same when it
        /// moves a little.
        crop: f64 = 0.0, number(0.0..=0.9);
        /// Probability that a picture is mirrored. Training pictures only; 0: never, for captions
        /// that name left and right.
        flip: f64 = 0.0, number(0.0..=1.0);
        /// Whether each picture is cropped at random. As torchvision's `RandomResizedCrop`,
        /// training pictures only; the same epoch and example always give the same window.
        random_resized_crop: bool = false, Bool;
        /// Share of the area of random_resized_crop.
        crop_scale: [f64; 2] = [0.08, 1.0], Interval { most: 1.0 };
        /// Width by height of random_resized_crop.
        crop_ratio: [f64; 2] = [3.0 / 4.0, 4.0 / 3.0], Interval { most: f64::INFINITY };
        /// Threads that read batches.
        readers: usize = 2, whole(1..=1_024);
        /// Batches waiting per reader thread.
        prefetch: usize = 4, whole(1..=65_536);
        /// How pixels are read. Fastest: maps local files; pread: read calls, for disks on which
        /// files may be cut short under the run; ranges: the object store's requests, also for
        /// local files; general: decodes Parquet.
        read_path: ReadPath = ReadPath::Fastest, OneOf(ReadPath::NAMES);
        /// Whether pixels are checked when they are read. Against their CRC-32.
        verify: bool = true, Bool;
        /// What to do without an example's image. Fail: the run ends; skip: the example is left
        /// out, reported and counted.
        on_bad_image: OnBadImage = OnBadImage::Fail, OneOf(OnBadImage::NAMES);

        /// Highest learning rate.
        lr: f64 = 5e-4, at_least(0.0);
        /// Rate after the warm-up. Half a cosine or a straight line down to zero, or constant.
        schedule: LrSchedule = LrSchedule::Cosine, OneOf(LrSchedule::NAMES);
        /// Steps of the warm-up; 0: see warmup_ratio. Over them the learning rate rises from zero.
        warmup_steps: u64 = 0, whole(0..=MANY);
        /// Steps of the warm-up as a share of all steps.
        warmup_ratio: f64 = 0.0, number(0.0..=1.0);
        /// AdamW's decoupled weight decay. Not on biases and norms.
        weight_decay: f64 = 0.1, at_least(0.0);
        /// AdamW's decay of the first moment.
        beta1: f64 = 0.9, number_below(0.0..1.0);
        /// AdamW's decay of the second moment.
        beta2: f64 = 0.999, number_below(0.0..1.0);
        /// AdamW's term against division by zero.
        adam_epsilon: f64 = 1e-8, above(0.0);
        /// Largest 2-norm of all gradients; 0: any. Larger ones are scaled down to it.
        max_grad_norm: f64 = 1.0, at_least(0.0);
        /// First steps with a frozen encoder. While a fresh decoder learns to look.
        freeze_encoder_steps: u64 = 0, whole(0..=MANY);
        /// Whether a frozen encoder's states are kept on disk. From the first pass on, as f16, in
        /// train.out: later epochs cost the decoder alone. Nothing random may touch the pixels.
        cache_encoder: bool = false, Bool;
        /// Whether the ranks divide AdamW's state. ZeRO stage 1: 8 bytes a parameter
        /// become as many times fewer as there are ranks, for one more exchange of them a step.
        shard_optimizer: bool = false, Bool;
        /// Longest that ranks wait for each other, seconds. Of a run on several devices or machines:
        /// one that ended or hangs then ends the others. Saving a checkpoint must take less.
        ranks_timeout_s: u64 = 600, whole(1..=86_400);
        /// Whether layers are computed again, not kept. In the backward pass: memory of one layer
        /// instead of all, for a third more time.
        gradient_checkpointing: bool = false, Bool;
        /// Share of the probability spread over all tokens. In the target of the loss.
        label_smoothing: f64 = 0.0, number(0.0..=1.0);
        /// Whether padding counts in the loss. Up to `max_length`, as it did in the original.
        count_padding_in_loss: bool = false, Bool;
        /// Tokens of a caption, special ones included. Longer captions are cut.
        max_length: usize = 100, whole(1..=65_536);

        /// Steps between evaluations; 0: only at the end. On the test split.
        eval_every: u64 = 400, whole(0..=MANY);
        /// Examples of one evaluation; 0: all.
        eval_examples: usize = 0, whole(0..=MANY);
        /// Images to caption in one evaluation; 0: none. Once each, to compare with all that the
        /// split says of them.
        eval_captions: usize = 128, whole(0..=MANY);
        /// Examples of one forward pass of an evaluation.
        eval_batch_size: usize = 32, whole(1..=65_536);
        /// Steps between checkpoints; 0: only at the end.
        save_every: u64 = 400, whole(0..=MANY);
        /// Newest checkpoints kept; 0: all.
        save_total_limit: usize = 4, whole(0..=MANY);
        /// What makes a checkpoint the best. None, the lowest loss, or the highest cider; the best
        /// is saved at once and kept beyond `save_total_limit`, and the link `best` in `out` leads
        /// to it.
        metric_for_best_model: BestMetric = BestMetric::None, OneOf(BestMetric::NAMES);
        /// Steps between log lines; 0: only at the end.
        log_every: u64 = 10, whole(0..=MANY);

        /// Side of what a fresh encoder sees, in pixels. Stored pixels of another size are resized
        /// on the device.
        image_size: i64 = 224, whole(1..=4_096);
        /// Side of a patch in pixels.
        patch_size: i64 = 16, whole(1..=4_096);
        /// Width of the encoder.
        encoder_width: i64 = 768, whole(1..=65_536);
        /// Layers of the encoder.
        encoder_layers: i64 = 12, whole(1..=1_000);
        /// Attention heads of the encoder.
        encoder_heads: i64 = 12, whole(1..=1_024);
        /// Width of the encoder's hidden layers.
        encoder_mlp: i64 = 3072, whole(1..=1_000_000);
        /// Dropout of the encoder, attention included.
        encoder_dropout: f64 = 0.0, number_below(0.0..1.0);
        /// Width of the decoder. Its hidden layers have four times that.
        decoder_width: i64 = 768, whole(1..=65_536);
        /// Layers of the decoder.
        decoder_layers: i64 = 12, whole(1..=1_000);
        /// Attention heads of the decoder.
        decoder_heads: i64 = 12, whole(1..=1_024);
        /// Longest sequence of the decoder, in tokens.
        decoder_positions: i64 = 1024, whole(1..=1_000_000);
        /// Dropout of the decoder. Of embeddings, attention and residuals.
        decoder_dropout: f64 = 0.1, number_below(0.0..1.0);
        /// Entries of the vocabulary; 0: the tokenizer's.
        vocab_size: i64 = 21_129, whole(0..=10_000_000);
        /// Standard deviation of fresh weights.
        initializer_range: f64 = 0.02, at_least(0.0);
        /// Amplitude of sine-cosine positions; 0: random ones. What fresh position embeddings of
        /// the encoder start from.
        position_sincos: f64 = 0.0, at_least(0.0);

        /// Beams of generated captions; 1: greedy.
        num_beams: usize = 4, whole(1..=1_024);
        /// Longest generated caption in tokens. Special ones included.
        generate_max_length: usize = 16, whole(2..=65_536);
        /// Exponent of the length that a score is divided by.
        length_penalty: f64 = 1.0, number(-10.0..=10.0);
        /// Fewest tokens of a generated caption; 0: any. The start token included.
        generate_min_length: usize = 0, whole(0..=65_536);
        /// When beam search may end early. As soon as there are as many finished captions as beams
        /// (true), when none is likely to get better (false), or when none can (never).
        early_stopping: EarlyStopping = EarlyStopping::No, OneOf(EarlyStopping::NAMES);
        /// Tokens that may not repeat in a row; 0: all may. A sequence of that many tokens occurs
        /// once in a caption.
        no_repeat_ngram_size: usize = 0, whole(0..=65_536);
        /// Divides the scores of tokens said before. Negative scores are multiplied with it; 1:
        /// nothing.
        repetition_penalty: f64 = 1.0, above(0.0);
        /// Whether captions are drawn, not searched for.
        do_sample: bool = false, Bool;
        /// Divides logits before a draw. Below 1 likely tokens become likelier.
        temperature: f64 = 1.0, above(0.0);
        /// Likeliest tokens a draw is made from; 0: all.
        top_k: usize = 50, whole(0..=10_000_000);
        /// Probability of the tokens a draw is made from. They are the likeliest that have it
        /// together; 1: all tokens.
        top_p: f64 = 1.0, number(0.0..=1.0);
        /// Seed of the draws. With the picture it decides the caption, whatever is captioned beside
        /// it.
        sample_seed: u64 = 0, whole(0..=i64::MAX);
        /// Captions in one commit. Of `tuwen caption --from-sql`; a killed run loses at most these.
        caption_chunk: usize = 2048, whole(1..=1_000_000);
        /// Scores in one commit. Of `tuwen score`; a killed run loses at most these. Captions of
        /// like length are sought among them.
        score_chunk: usize = 8192, whole(1..=1_000_000);
    }
}

impl TrainSettings {
    /// The settings of that name, or none.
    pub fn preset(name: &str) -> Option<Self> {
        match name {
            "scratch" => Some(Self::default()),
            "seed" => Some(Self::seed()),
            "tiny" => Some(Self::tiny()),
            _ => None,
        }
    }

    /// What the original did: it fine-tuned two published models, in 16-bit floats with a scaled
    /// loss, and counted the padding of every caption up to `max_length`. The rest of it are the
    /// defaults.
    fn seed() -> Self {
        Self {
            preset: "seed".to_owned(),
            encoder: "google/vit-base-patch16-224".to_owned(),
            decoder: "yuanzhoulvpi/gpt2_chinese".to_owned(),
            precision: Precision::F16,
            count_padding_in_loss: true,
            ..Self::default()
        }
    }

    /// A small model of small pictures that learns to name simple scenes on two CPU cores in
    /// minutes.
    fn tiny() -> Self {
        Self {
            preset: "tiny".to_owned(),
            epochs: 24,
            batch_size: 32,
            grad_accumulation: 1,
            lr: 1e-3,
            warmup_ratio: 0.1,
            weight_decay: 0.05,
            eval_every: 0,
            eval_captions: 256,
            eval_batch_size: 64,
            save_every: 0,
            save_total_limit: 2,
            image_size: 64,
            encoder_width: 128,
            encoder_layers: 4,
            encoder_heads: 4,
            encoder_mlp: 512,
            decoder_width: 128,
            decoder_layers: 2,
            decoder_heads: 4,
            decoder_positions: 128,
            decoder_dropout: 0.0,
            vocab_size: 0,
            initializer_range: 0.05,
            position_sincos: 0.5,
            ..Self::default()
        }
    }
}
