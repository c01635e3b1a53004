//! Settings of `tuwen train`, `tuwen evaluate` and `tuwen caption`, and their presets. In: nothing. Out: plain values.
//! Never looks at files or devices: the trainer checks what only it can know.

use serde::{Deserialize, Serialize};

use crate::stream::{OnBadImage, ReadPath};

/// Names [`TrainSettings::preset`] knows.
pub const PRESETS: [&str; 2] = ["seed", "tiny"];

/// How the learning rate goes on after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LrSchedule {
    /// Half a cosine down to zero at the last step.
    Cosine,
    /// A straight line down to zero at the last step.
    Linear,
    /// Stays.
    Constant,
}

/// Number format of the forward and backward passes; parameters and optimizer are always 32-bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32-bit floats.
    F32,
    /// bfloat16, for devices that are fast at it.
    Bf16,
    /// 16-bit floats with dynamic loss scaling, for devices that know no bfloat16.
    F16,
}

/// Order of the training examples within an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainOrder {
    /// One permutation of all examples; for local disks.
    Global,
    /// Whole row groups, shuffled within a window of [`TrainSettings::window_row_groups`] that is fetched ahead; for object
    /// stores and spinning disks.
    Window,
}

impl TrainOrder {
    /// As settings have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Window => "window",
        }
    }
}

/// When beam search may end before the longest caption; written `true`, `false` or `"never"`, as transformers has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BoolOrWord", into = "BoolOrWord")]
pub enum EarlyStopping {
    /// `true`: as soon as there are as many finished captions as beams.
    Yes,
    /// `false`: when a heuristic says that no running beam gets better.
    No,
    /// `never`: only when no running beam can get better.
    Never,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum BoolOrWord {
    Bool(bool),
    Word(String),
}

impl TryFrom<BoolOrWord> for EarlyStopping {
    type Error = String;

    fn try_from(value: BoolOrWord) -> Result<Self, String> {
        match value {
            BoolOrWord::Bool(true) => Ok(Self::Yes),
            BoolOrWord::Bool(false) => Ok(Self::No),
            BoolOrWord::Word(word) if word == "never" => Ok(Self::Never),
            BoolOrWord::Word(word) => {
                Err(format!("early_stopping: expected true, false or never, found `{word}`"))
            }
        }
    }
}

impl From<EarlyStopping> for BoolOrWord {
    fn from(value: EarlyStopping) -> Self {
        match value {
            EarlyStopping::Yes => Self::Bool(true),
            EarlyStopping::No => Self::Bool(false),
            EarlyStopping::Never => Self::Word("never".to_owned()),
        }
    }
}

/// What says which checkpoint is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BestMetric {
    /// Nothing: no checkpoint is kept for being good.
    None,
    /// The lowest loss on the test split.
    Loss,
    /// The highest CIDEr-D of generated captions.
    Cider,
}

/// Settings of the trainer. An empty string or a zero means "not given" where the field says so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainSettings {
    /// The preset all other values of this section start from: seed or tiny.
    pub preset: String,

    /// Folder or Hugging Face id of a whole model to start from (`VisionEncoderDecoderModel`); empty: none.
    pub model: String,
    /// Folder or Hugging Face id of a ViT encoder to start from; empty: a fresh one of the sizes below.
    pub encoder: String,
    /// Folder or Hugging Face id of a GPT-2 decoder to start from; empty: a fresh one of the sizes below.
    pub decoder: String,
    /// Side in pixels that a loaded encoder is to see; its position embeddings are interpolated; 0: as its config says.
    pub encoder_image_size: i64,
    /// The `tokenizer.json`; empty: that of the model's or decoder's folder, else `curate.tokenizer`.
    pub tokenizer: String,
    /// Folder the checkpoints are written to, as `checkpoint-STEP`.
    pub out: String,
    /// Where to go on from: `auto` (the newest checkpoint of `out`, if any), a checkpoint's folder, or empty: a new run.
    pub resume: String,

    /// cpu, cuda, cuda:N, or auto: the first CUDA device, else the CPU.
    pub device: String,
    /// Number format of the forward and backward passes.
    pub precision: Precision,
    /// CPU threads of libtorch; 0: its own choice.
    pub threads: usize,
    /// Seed of initialisation, order and dropout.
    pub seed: u64,

    /// Passes over the training split.
    pub epochs: u64,
    /// Optimizer steps; 0: as many as the epochs have.
    pub steps: u64,
    /// Examples of one forward pass.
    pub batch_size: usize,
    /// Forward passes of one optimizer step.
    pub grad_accumulation: usize,
    /// SQL condition on the training examples; empty: all.
    pub predicate: String,
    /// Order of the training examples.
    pub order: TrainOrder,
    /// Whether captions of like length share a batch, so that little is padded: within every 50 batches of the order, as
    /// transformers' `group_by_length`.
    pub group_by_length: bool,
    /// Whether an epoch's last examples are left out where they are too few for a batch; transformers'
    /// `dataloader_drop_last`.
    pub drop_last: bool,
    /// Row groups (256 pictures each) of one window of order `window`; an object store's are held in memory, two windows at
    /// a time.
    pub window_row_groups: usize,
    /// Share of the side, 0 to 1, by which training pictures may be cut to a random window, one a batch; 0: never. Small
    /// ones teach that a thing stays the same when it moves a little.
    pub crop: f64,
    /// Probability, 0 to 1, that a training picture is mirrored; 0: never, for captions that name left and right.
    pub flip: f64,
    /// Whether each training picture is cut to a random window of its own (torchvision's `RandomResizedCrop`); the same
    /// epoch and example always give the same one.
    pub random_resized_crop: bool,
    /// Least and largest share of the picture's area in such a window.
    pub crop_scale: [f64; 2],
    /// Least and largest width by height of such a window.
    pub crop_ratio: [f64; 2],
    /// Threads that read batches.
    pub readers: usize,
    /// Batches waiting per reader thread.
    pub prefetch: usize,
    /// How the readers read: fastest (maps local files), pread (calls; for disks on which files may be cut short under the run),
    /// ranges (the object store's requests, also on local files), general (decodes Parquet).
    pub read_path: ReadPath,
    /// Whether pixels are checked against their CRC-32 whenever they are read.
    pub verify: bool,
    /// What becomes of an example whose image cannot be read: fail (the run ends), or skip (it is left out, told and counted).
    pub on_bad_image: OnBadImage,

    /// Highest learning rate.
    pub lr: f64,
    /// What follows the warm-up.
    pub schedule: LrSchedule,
    /// Steps over which the rate rises from zero; 0: see `warmup_ratio`.
    pub warmup_steps: u64,
    /// The same as a share of all steps, 0 to 1.
    pub warmup_ratio: f64,
    /// AdamW's decoupled weight decay, not on biases and norms.
    pub weight_decay: f64,
    /// AdamW's decay of the first moment.
    pub beta1: f64,
    /// AdamW's decay of the second moment.
    pub beta2: f64,
    /// AdamW's term against division by zero.
    pub adam_epsilon: f64,
    /// Largest 2-norm of all gradients together; larger ones are scaled down to it; 0: never.
    pub max_grad_norm: f64,
    /// Steps at the beginning in which the encoder does not change, while a fresh decoder learns to look.
    pub freeze_encoder_steps: u64,
    /// Whether layers are computed again in the backward pass instead of kept: memory of one layer instead of all, for a
    /// third more time.
    pub gradient_checkpointing: bool,
    /// Share of the target's probability spread over the vocabulary, 0 to 1.
    pub label_smoothing: f64,
    /// Whether padding up to `max_length` counts in the loss, as it did in the original.
    pub count_padding_in_loss: bool,
    /// Tokens of a caption, special ones included; longer ones are cut.
    pub max_length: usize,

    /// Steps between two evaluations on the test split; 0: only at the end.
    pub eval_every: u64,
    /// Examples of one evaluation, up to a whole batch; 0: the whole test split.
    pub eval_examples: usize,
    /// Images of these whose caption is generated, once each, and compared with all that the split says of it; 0: none.
    pub eval_captions: usize,
    /// Examples of one forward pass of an evaluation.
    pub eval_batch_size: usize,
    /// Steps between two checkpoints; 0: only at the end.
    pub save_every: u64,
    /// Newest checkpoints kept; 0: all.
    pub save_total_limit: usize,
    /// What makes an evaluation the best so far: none, loss (the lowest) or cider (the highest). Its step is saved at once and
    /// kept beyond `save_total_limit`; the link `best` in `out` leads to it.
    pub metric_for_best_model: BestMetric,
    /// Steps between two log lines.
    pub log_every: u64,

    /// Side of the square the encoder sees, in pixels; stored pixels of another size are resized on the device.
    pub image_size: i64,
    /// Side of a patch in pixels.
    pub patch_size: i64,
    /// Width of the encoder.
    pub encoder_width: i64,
    /// Layers of the encoder.
    pub encoder_layers: i64,
    /// Attention heads of the encoder.
    pub encoder_heads: i64,
    /// Width of the encoder's hidden layers.
    pub encoder_mlp: i64,
    /// Dropout of the encoder, attention included, 0 to 1.
    pub encoder_dropout: f64,
    /// Width of the decoder; its hidden layers have four times that.
    pub decoder_width: i64,
    /// Layers of the decoder.
    pub decoder_layers: i64,
    /// Attention heads of the decoder.
    pub decoder_heads: i64,
    /// Longest sequence the decoder can hold, in tokens.
    pub decoder_positions: i64,
    /// Dropout of the decoder (embeddings, attention, residuals), 0 to 1.
    pub decoder_dropout: f64,
    /// Entries of the decoder's vocabulary; 0: as many as the tokenizer has.
    pub vocab_size: i64,
    /// Standard deviation of fresh weights.
    pub initializer_range: f64,
    /// Amplitude of the sine-cosine grid fresh position embeddings of the encoder start from; 0: random ones.
    pub position_sincos: f64,

    /// Beams of generated captions; 1: greedy.
    pub num_beams: usize,
    /// Longest generated caption in tokens, special ones included.
    pub generate_max_length: usize,
    /// Exponent of the length a beam's score is divided by.
    pub length_penalty: f64,
    /// Tokens, the start token included, before which a generated caption may not end; 0: it may at once.
    pub generate_min_length: usize,
    /// Whether beam search ends with as many finished captions as beams (true), when none is likely to get better (false),
    /// or when none can (never).
    pub early_stopping: EarlyStopping,
    /// Length of the token sequences that may occur only once in a generated caption; 0: any may repeat.
    pub no_repeat_ngram_size: usize,
    /// What the scores of tokens a caption has already are divided by (multiplied with, where negative); 1: nothing.
    pub repetition_penalty: f64,
    /// Whether captions are drawn at random instead of searched for.
    pub do_sample: bool,
    /// What logits are divided by before a draw; below 1 likely tokens become likelier.
    pub temperature: f64,
    /// Likeliest tokens a draw is made from; 0: all.
    pub top_k: usize,
    /// Share of the probability, 0 to 1, that the likeliest tokens a draw is made from must have together; 1: all tokens.
    pub top_p: f64,
    /// Seed of the draws; with the picture it decides the caption, whatever other pictures are captioned beside it.
    pub sample_seed: u64,
    /// Captions written between two commits of `tuwen caption --from-sql`; what a killed run loses at most.
    pub caption_chunk: usize,
}

impl Default for TrainSettings {
    fn default() -> Self {
        Self::seed()
    }
}

impl TrainSettings {
    /// The settings of that name, or none.
    pub fn preset(name: &str) -> Option<Self> {
        match name {
            "seed" => Some(Self::seed()),
            "tiny" => Some(Self::tiny()),
            _ => None,
        }
    }

    /// The original's settings: ViT-B/16 at 224 px and GPT-2 base, 384 examples a step, one epoch.
    fn seed() -> Self {
        Self {
            preset: "seed".to_owned(),
            model: String::new(),
            encoder: String::new(),
            decoder: String::new(),
            encoder_image_size: 0,
            tokenizer: String::new(),
            out: "model".to_owned(),
            resume: String::new(),
            device: "auto".to_owned(),
            precision: Precision::F32,
            threads: 0,
            seed: 0,
            epochs: 1,
            steps: 0,
            batch_size: 48,
            grad_accumulation: 8,
            predicate: String::new(),
            order: TrainOrder::Global,
            group_by_length: false,
            drop_last: false,
            window_row_groups: 16,
            crop: 0.0,
            flip: 0.0,
            random_resized_crop: false,
            crop_scale: [0.08, 1.0],
            crop_ratio: [3.0 / 4.0, 4.0 / 3.0],
            readers: 2,
            prefetch: 4,
            read_path: ReadPath::Fastest,
            verify: true,
            on_bad_image: OnBadImage::Fail,
            lr: 5e-4,
            schedule: LrSchedule::Cosine,
            warmup_steps: 0,
            warmup_ratio: 0.0,
            weight_decay: 0.1,
            beta1: 0.9,
            beta2: 0.999,
            adam_epsilon: 1e-8,
            max_grad_norm: 1.0,
            freeze_encoder_steps: 0,
            gradient_checkpointing: false,
            label_smoothing: 0.0,
            count_padding_in_loss: false,
            max_length: 100,
            eval_every: 400,
            eval_examples: 0,
            eval_captions: 128,
            eval_batch_size: 32,
            save_every: 400,
            save_total_limit: 4,
            metric_for_best_model: BestMetric::None,
            log_every: 10,
            image_size: 224,
            patch_size: 16,
            encoder_width: 768,
            encoder_layers: 12,
            encoder_heads: 12,
            encoder_mlp: 3072,
            encoder_dropout: 0.0,
            decoder_width: 768,
            decoder_layers: 12,
            decoder_heads: 12,
            decoder_positions: 1024,
            decoder_dropout: 0.1,
            vocab_size: 21_129,
            initializer_range: 0.02,
            position_sincos: 0.0,
            num_beams: 4,
            generate_max_length: 16,
            length_penalty: 1.0,
            generate_min_length: 0,
            early_stopping: EarlyStopping::No,
            no_repeat_ngram_size: 0,
            repetition_penalty: 1.0,
            do_sample: false,
            temperature: 1.0,
            top_k: 50,
            top_p: 1.0,
            sample_seed: 0,
            caption_chunk: 2048,
        }
    }

    /// A small model of small pictures that learns to name simple scenes on two CPU cores in minutes.
    fn tiny() -> Self {
        Self {
            preset: "tiny".to_owned(),
            epochs: 24,
            batch_size: 32,
            grad_accumulation: 1,
            crop: 0.0,
            lr: 1e-3,
            warmup_ratio: 0.1,
            weight_decay: 0.05,
            eval_every: 0,
            eval_captions: 256,
            eval_batch_size: 64,
            save_every: 0,
            save_total_limit: 2,
            image_size: 64,
            patch_size: 16,
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
            ..Self::seed()
        }
    }
}
