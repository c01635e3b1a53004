//! The whole model: ViT encoder, GPT-2 decoder, and a projection between them where their widths differ; equal to
//! transformers' `VisionEncoderDecoderModel`. In: normalised pixels and labels. Out: logits or a loss.
//! Never holds parameter values: they come as [`Views`] of one flat tensor.

use tch::{Kind, Reduction, Tensor, no_grad};

use crate::config::ModelConfig;
use crate::gpt2::{Gpt2, KeyValue, KvCache};
use crate::layers::Linear;
use crate::params::{Builder, Layout, Views};
use crate::vit::Vit;

/// Labels of this value do not count in the loss: PyTorch's `ignore_index`.
pub const IGNORED: i64 = -100;

/// What a forward pass begins with.
pub enum Input {
    /// Normalised pixels `[b, 3, size, size]`.
    Pixels(Tensor),
    /// The states of a frozen encoder, in its own width: `[b, 1 + patches, encoder width]`.
    States(Tensor),
}

/// The captioning model.
pub struct Captioner {
    /// Its sizes and special tokens.
    pub config: ModelConfig,
    /// Where its parameters lie in the flat tensor.
    pub layout: Layout,
    pub(crate) encoder: Vit,
    pub(crate) enc_to_dec_proj: Option<Linear>,
    pub(crate) decoder: Gpt2,
}

impl Captioner {
    /// Declares the model; the values are made by `layout.init` or read from files.
    pub fn new(config: &ModelConfig) -> Self {
        let mut builder = Builder::default();
        let encoder = Vit::new(&mut builder, &config.encoder);
        let decoder = Gpt2::new(&mut builder, &config.decoder);
        let (from, to) = (config.encoder.hidden_size, config.decoder.n_embd);
        let enc_to_dec_proj = (from != to).then(|| {
            Linear::new(&mut builder, "enc_to_dec_proj", from, to, config.decoder.initializer_range)
        });
        Self { config: config.clone(), layout: builder.build(), encoder, enc_to_dec_proj, decoder }
    }

    /// The encoder's states in the decoder's width, which its cross-attention reads: pixels `[b, 3, size, size]` to states
    /// `[b, 1 + patches, decoder width]`.
    pub fn encode(&self, p: &Views, pixels: &Tensor, train: bool) -> Tensor {
        self.project(p, self.encoder.forward(p, pixels, train))
    }

    /// The encoder's states in the decoder's width.
    pub(crate) fn project(&self, p: &Views, states: Tensor) -> Tensor {
        match &self.enc_to_dec_proj {
            Some(projection) => projection.forward(p, &states),
            None => states,
        }
    }

    /// Logits `[b, t, vocabulary]` for labels `[b, t]`: position i is predicted from the start token and labels before i.
    /// In the number format of the parameters.
    pub fn logits(&self, p: &Views, pixels: &Tensor, labels: &Tensor, train: bool) -> Tensor {
        self.logits_of(p, &self.encode(p, pixels, train), labels, train)
    }

    fn logits_of(&self, p: &Views, states: &Tensor, labels: &Tensor, train: bool) -> Tensor {
        let cross_cache = self.decoder.cross_attention_cache(p, states);
        self.decoder.forward(p, &self.shift_right(labels), &cross_cache, None, train)
    }

    /// Cross-entropy in nats, summed over the labels that are not [`IGNORED`]; a scalar.
    pub fn loss(
        &self,
        p: &Views,
        pixels: &Tensor,
        labels: &Tensor,
        label_smoothing: f64,
        train: bool,
    ) -> Tensor {
        cross_entropy(&self.logits(p, pixels, labels, train), labels, label_smoothing)
    }

    /// The same in training with a frozen encoder, whose forward runs without a graph: it saves no tensors and gets no gradient.
    pub fn loss_with_frozen_encoder(
        &self,
        p: &Views,
        input: &Input,
        labels: &Tensor,
        label_smoothing: f64,
    ) -> Tensor {
        let states = match input {
            Input::Pixels(pixels) => no_grad(|| self.encoder.forward(p, pixels, true)),
            Input::States(states) => states.shallow_clone(),
        };
        let states = self.project(p, states);
        cross_entropy(&self.logits_of(p, &states, labels, true), labels, label_smoothing)
    }

    /// Cross-attention's keys and values for pixels `[b, 3, size, size]`, one pair a layer.
    pub(crate) fn cross_attention_cache(&self, p: &Views, pixels: &Tensor) -> Vec<KeyValue> {
        self.decoder.cross_attention_cache(p, &self.encode(p, pixels, false))
    }

    pub(crate) fn new_cache(&self) -> KvCache {
        self.decoder.new_cache()
    }

    /// Logits `[rows, vocabulary]`, f32, of the token after `last` `[rows]`, the rows' newest tokens.
    pub(crate) fn next_logits(
        &self,
        p: &Views,
        last: &Tensor,
        cross_cache: &[KeyValue],
        cache: &mut KvCache,
    ) -> Tensor {
        let logits = self.decoder.forward(p, &last.unsqueeze(1), cross_cache, Some(cache), false); // [rows, 1, v]
        logits.squeeze_dim(1).to_kind(Kind::Float)
    }

    /// The decoder's inputs for given labels, as transformers' `shift_tokens_right`.
    pub(crate) fn shift_right(&self, labels: &Tensor) -> Tensor {
        let ids = self.config.ids;
        let start = Tensor::full([labels.size()[0], 1], ids.start, (Kind::Int64, labels.device()));
        let shifted = Tensor::cat(&[start, labels.narrow(1, 0, labels.size()[1] - 1)], 1);
        shifted.masked_fill(&shifted.eq(IGNORED), ids.pad)
    }
}

/// Cross-entropy in nats of logits `[b, t, v]`, summed over the labels `[b, t]` that are not [`IGNORED`]; a scalar, f32. Equal to
/// PyTorch's `cross_entropy(reduction="sum")`; 16-bit logits are made longer within the log-softmax where libtorch can do so.
pub(crate) fn cross_entropy(logits: &Tensor, labels: &Tensor, label_smoothing: f64) -> Tensor {
    let log_p = logits.flatten(0, 1).log_softmax(-1, Kind::Float); // [b * t, v]
    let labels = labels.flatten(0, 1);
    let loss = log_p.g_nll_loss(&labels, None::<&Tensor>, Reduction::Sum, IGNORED);
    if label_smoothing == 0.0 {
        return loss;
    }
    let counted = labels.not_equal(IGNORED).to_kind(Kind::Float);
    let of_all = -(log_p.mean_dim(-1, false, Kind::Float) * counted).sum(Kind::Float);
    loss * (1.0 - label_smoothing) + of_all * label_smoothing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SpecialIds;
    use tuwen_settings::TrainSettings;

    #[test]
    fn the_seeds_model_has_the_seeds_parameters() {
        let settings = TrainSettings::preset("scratch").unwrap();
        let ids = SpecialIds { start: 101, eos: 102, pad: 0 };
        let config = ModelConfig::from_settings(&settings, 21_128, ids).unwrap();
        assert_eq!(Captioner::new(&config).layout.len(), 216_825_600);
    }

    #[test]
    fn labels_are_shifted_right() {
        let settings = TrainSettings::preset("tiny").unwrap();
        let config =
            ModelConfig::from_settings(&settings, 50, SpecialIds { start: 1, eos: 2, pad: 0 })
                .unwrap();
        let labels = Tensor::from_slice(&[1i64, 7, 2, 1, 2, IGNORED]).view([2, 3]);
        let shifted = Captioner::new(&config).shift_right(&labels);
        assert_eq!(Vec::<i64>::try_from(shifted.flatten(0, 1)).unwrap(), [1, 1, 7, 1, 1, 2]);
    }

    /// `F.cross_entropy(logits, labels, ignore_index=-100, reduction="sum", label_smoothing=…)` as libtorch has it.
    #[test]
    fn the_loss_is_libtorchs_cross_entropy() {
        let logits = Tensor::randn([2, 3, 7], (Kind::Float, tch::Device::Cpu)) * 3.0;
        let labels = Tensor::from_slice(&[1i64, 6, IGNORED, 0, IGNORED, IGNORED]).view([2, 3]);
        for smoothing in [0.0, 0.1] {
            let theirs = logits.flatten(0, 1).cross_entropy_loss(
                &labels.flatten(0, 1),
                None::<&Tensor>,
                Reduction::Sum,
                IGNORED,
                smoothing,
            );
            let [ours, theirs] = [cross_entropy(&logits, &labels, smoothing), theirs]
                .map(|loss| loss.double_value(&[]));
            assert!((ours - theirs).abs() < 1e-5 * theirs, "{ours} against {theirs}");
        }
    }
}
