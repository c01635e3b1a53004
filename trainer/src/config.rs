//! The model's `config.json`, as Hugging Face writes it. In: a folder or sizes from the settings. Out: typed sizes, and
//! the same JSON again. Never invents a value: what a file leaves out has Hugging Face's default.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tuwen_settings::TrainSettings;

mod activation;
mod supported;

pub use self::activation::Activation;
use self::supported::{supported, supported_whole};
use crate::generation_file::GenerationFile;
pub use crate::generation_file::GenerationIds;
use crate::json::read_json;

/// Sizes of a ViT encoder; field names and defaults are those of transformers' `ViTConfig`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VitConfig {
    /// Always `vit`.
    pub model_type: String,
    /// Side of the square the model sees, in pixels.
    pub image_size: i64,
    /// Side of a patch in pixels.
    pub patch_size: i64,
    /// Colour channels.
    pub num_channels: i64,
    /// Width.
    pub hidden_size: i64,
    /// Layers.
    pub num_hidden_layers: i64,
    /// Attention heads.
    pub num_attention_heads: i64,
    /// Width of the hidden layer of each MLP.
    pub intermediate_size: i64,
    /// Activation of the MLPs.
    pub hidden_act: Activation,
    /// Dropout of residuals and embeddings, 0 to 1.
    pub hidden_dropout_prob: f64,
    /// Dropout of attention weights, 0 to 1.
    pub attention_probs_dropout_prob: f64,
    /// Term against division by zero in the norms.
    pub layer_norm_eps: f64,
    /// Whether query, key and value have biases.
    pub qkv_bias: bool,
    /// Standard deviation of initial weights.
    pub initializer_range: f64,
    /// Width of the pooler's output; none: the encoder's. No caption depends on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pooler_output_size: Option<i64>,
}

impl Default for VitConfig {
    fn default() -> Self {
        Self {
            model_type: "vit".to_owned(),
            image_size: 224,
            patch_size: 16,
            num_channels: 3,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: Activation::Gelu,
            hidden_dropout_prob: 0.0,
            attention_probs_dropout_prob: 0.0,
            layer_norm_eps: 1e-12,
            qkv_bias: true,
            initializer_range: 0.02,
            pooler_output_size: None,
        }
    }
}

/// Sizes of a GPT-2 decoder; field names and defaults are those of transformers' `GPT2Config`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gpt2Config {
    /// Always `gpt2`.
    pub model_type: String,
    /// Entries of the vocabulary.
    pub vocab_size: i64,
    /// Longest sequence in tokens.
    pub n_positions: i64,
    /// Width.
    pub n_embd: i64,
    /// Layers.
    pub n_layer: i64,
    /// Attention heads.
    pub n_head: i64,
    /// Width of the hidden layer of each MLP; none: four times the width.
    pub n_inner: Option<i64>,
    /// Activation of the MLPs.
    pub activation_function: Activation,
    /// Dropout of residuals, 0 to 1.
    pub resid_pdrop: f64,
    /// Dropout of embeddings, 0 to 1.
    pub embd_pdrop: f64,
    /// Dropout of attention weights, 0 to 1.
    pub attn_pdrop: f64,
    /// Term against division by zero in the norms.
    pub layer_norm_epsilon: f64,
    /// Standard deviation of initial weights.
    pub initializer_range: f64,
    /// Whether attention scores are divided by the root of the head's width.
    pub scale_attn_weights: bool,
    /// Whether they are also divided by the layer's number, from 1.
    pub scale_attn_by_inverse_layer_idx: bool,
    /// A matter of precision in 16-bit training; kept for the file, `scaled_dot_product_attention` does not need it.
    pub reorder_and_upcast_attn: bool,
    /// Whether the output layer shares the token embeddings.
    pub tie_word_embeddings: bool,
    /// Always true here.
    pub add_cross_attention: bool,
    /// Always true here.
    pub is_decoder: bool,
    /// First token of a sequence.
    pub bos_token_id: Option<i64>,
    /// Last token of a sequence.
    pub eos_token_id: Option<i64>,
    /// Fills short sequences.
    pub pad_token_id: Option<i64>,
}

impl Default for Gpt2Config {
    fn default() -> Self {
        Self {
            model_type: "gpt2".to_owned(),
            vocab_size: 50_257,
            n_positions: 1024,
            n_embd: 768,
            n_layer: 12,
            n_head: 12,
            n_inner: None,
            activation_function: Activation::GeluNew,
            resid_pdrop: 0.1,
            embd_pdrop: 0.1,
            attn_pdrop: 0.1,
            layer_norm_epsilon: 1e-5,
            initializer_range: 0.02,
            scale_attn_weights: true,
            scale_attn_by_inverse_layer_idx: false,
            reorder_and_upcast_attn: false,
            tie_word_embeddings: true,
            add_cross_attention: true,
            is_decoder: true,
            bos_token_id: None,
            eos_token_id: None,
            pad_token_id: None,
        }
    }
}

impl Gpt2Config {
    /// Whether its vocabulary has a token.
    fn has(&self, id: i64) -> bool {
        (0..self.vocab_size).contains(&id)
    }
}

/// Special tokens a model starts, ends and fills sequences with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecialIds {
    /// First input of the decoder.
    pub start: i64,
    /// Ends a caption.
    pub eos: i64,
    /// Fills short captions.
    pub pad: i64,
}

/// A whole captioning model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// The image encoder.
    pub encoder: VitConfig,
    /// The text decoder.
    pub decoder: Gpt2Config,
    /// Special tokens of the labels it is trained on.
    pub ids: SpecialIds,
    /// Special tokens of the captions it writes: mostly the same.
    pub generation: GenerationIds,
}

impl ModelConfig {
    /// The sizes the settings ask for, each half from its folder where one is given.
    ///
    /// # Errors
    /// An unreadable `config.json`, or sizes that cannot be built.
    pub fn from_settings(
        settings: &TrainSettings,
        vocab_size: i64,
        ids: SpecialIds,
    ) -> Result<Self> {
        if !settings.model.is_empty() {
            let mut config = Self::read(Path::new(&settings.model))?;
            set_image_size(&mut config.encoder, settings.encoder_image_size);
            let never_ends = !config.decoder.has(config.ids.eos);
            let mut config = config.with_ids_within(ids)?.checked_sizes()?;
            if never_ends {
                config.generation.eos = vec![config.ids.eos];
            }
            return Ok(config);
        }
        let encoder = match settings.encoder.as_str() {
            "" => encoder_from_settings(settings),
            folder => {
                let mut encoder = read_part(Path::new(folder), "vit")?;
                set_image_size(&mut encoder, settings.encoder_image_size);
                encoder
            }
        };
        let mut decoder = match settings.decoder.as_str() {
            "" => decoder_from_settings(settings, vocab_size)?,
            folder => read_part(Path::new(folder), "gpt2")?,
        };
        decoder.add_cross_attention = true;
        decoder.is_decoder = true;
        (decoder.bos_token_id, decoder.eos_token_id, decoder.pad_token_id) =
            (Some(ids.start), Some(ids.eos), Some(ids.pad));
        let generation = GenerationIds { start: ids.start, eos: vec![ids.eos] };
        Self { encoder, decoder, ids, generation }.checked_sizes()?.checked_ids()
    }

    /// Reads a `VisionEncoderDecoderModel` folder's `config.json`, and the tokens its captions begin and end with. End tokens that the
    /// vocabulary does not have, such as GPT-2's own beside a smaller one, end no caption; labels end where captions stop.
    ///
    /// # Errors
    /// A missing file, what the model cannot be (named), or special tokens that are not named.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("config.json");
        let root = read_json(&path)?;
        supported_whole(&root).with_context(|| path.display().to_string())?;
        let encoder: VitConfig = part(&root["encoder"], "vit", &path)?;
        let decoder: Gpt2Config = part(&root["decoder"], "gpt2", &path)?;
        let file = GenerationFile::read(folder)?;
        let mut generation = file.ids()?;
        let named = generation.eos.first().copied();
        generation.eos.retain(|&id| decoder.has(id));
        let said = |key: &str| root[key].as_i64().or_else(|| root[key][0].as_i64());
        // Of several end tokens labels get the first.
        let eos = match generation.eos[..] {
            [] => said("eos_token_id").or(named).or(decoder.eos_token_id),
            [first, ..] => {
                let said = said("eos_token_id").filter(|eos| generation.eos.contains(eos));
                said.or(Some(first))
            }
        };
        let eos = eos.with_context(|| format!("{}: expected `eos_token_id`", path.display()))?;
        let pad = said("pad_token_id").or(file.id("pad_token_id")?).or(decoder.pad_token_id);
        let ids = SpecialIds {
            start: said("decoder_start_token_id").unwrap_or(generation.start),
            eos,
            pad: pad.unwrap_or(eos),
        };
        Self { encoder, decoder, ids, generation }
            .checked_sizes()
            .with_context(|| path.display().to_string())
    }

    /// The same with the tokenizer's end and padding tokens in the place of those that the vocabulary does not have.
    ///
    /// # Errors
    /// A special token that the vocabulary does not have, by its key.
    pub(crate) fn with_ids_within(mut self, ids: SpecialIds) -> Result<Self> {
        if !self.decoder.has(self.ids.eos) {
            self.ids.eos = ids.eos;
        }
        if !self.decoder.has(self.ids.pad) {
            self.ids.pad = ids.pad;
        }
        self.checked_ids()
    }

    /// The `config.json` of the whole model, as transformers writes it.
    pub fn to_json(&self) -> Value {
        json!({
            "architectures": ["VisionEncoderDecoderModel"],
            "model_type": "vision-encoder-decoder",
            "is_encoder_decoder": true,
            "decoder_start_token_id": self.ids.start,
            "bos_token_id": self.ids.start,
            "eos_token_id": self.ids.eos,
            "pad_token_id": self.ids.pad,
            "tie_word_embeddings": false,
            "torch_dtype": "float32",
            "encoder": self.encoder,
            "decoder": self.decoder,
        })
    }

    /// Patches of a picture, without the class token.
    pub fn n_patches(&self) -> i64 {
        (self.encoder.image_size / self.encoder.patch_size).pow(2)
    }

    fn checked_sizes(self) -> Result<Self> {
        let (e, d) = (&self.encoder, &self.decoder);
        for (what, whole, part) in [
            ("encoder width by heads", e.hidden_size, e.num_attention_heads),
            ("decoder width by heads", d.n_embd, d.n_head),
            ("image size by patch size", e.image_size, e.patch_size),
        ] {
            if part <= 0 || whole <= 0 || whole % part != 0 {
                bail!("{what}: expected a whole number, found {whole} / {part}");
            }
        }
        if e.num_channels != 3 {
            bail!("num_channels: expected 3, found {}", e.num_channels);
        }
        Ok(self)
    }

    fn checked_ids(self) -> Result<Self> {
        for (key, id) in [
            ("decoder_start_token_id", self.ids.start),
            ("decoder_start_token_id", self.generation.start),
            ("eos_token_id", self.ids.eos),
            ("pad_token_id", self.ids.pad),
        ] {
            if !self.decoder.has(id) {
                bail!(
                    "{key}: expected an id below the vocabulary's {}, found {id}",
                    self.decoder.vocab_size
                );
            }
        }
        Ok(self)
    }
}

/// Sets another image size for a loaded encoder; 0: leaves its own.
fn set_image_size(encoder: &mut VitConfig, image_size: i64) {
    if image_size != 0 {
        encoder.image_size = image_size;
    }
}

fn encoder_from_settings(settings: &TrainSettings) -> VitConfig {
    VitConfig {
        image_size: settings.image_size,
        patch_size: settings.patch_size,
        hidden_size: settings.encoder_width,
        num_hidden_layers: settings.encoder_layers,
        num_attention_heads: settings.encoder_heads,
        intermediate_size: settings.encoder_mlp,
        hidden_dropout_prob: settings.encoder_dropout,
        attention_probs_dropout_prob: settings.encoder_dropout,
        initializer_range: settings.initializer_range,
        ..VitConfig::default()
    }
}

fn decoder_from_settings(settings: &TrainSettings, vocab_size: i64) -> Result<Gpt2Config> {
    if settings.vocab_size != 0 && settings.vocab_size < vocab_size {
        bail!(
            "train.vocab_size: expected at least the tokenizer's {vocab_size}, found {}",
            settings.vocab_size
        );
    }
    Ok(Gpt2Config {
        vocab_size: settings.vocab_size.max(vocab_size),
        n_positions: settings.decoder_positions,
        n_embd: settings.decoder_width,
        n_layer: settings.decoder_layers,
        n_head: settings.decoder_heads,
        resid_pdrop: settings.decoder_dropout,
        embd_pdrop: settings.decoder_dropout,
        attn_pdrop: settings.decoder_dropout,
        initializer_range: settings.initializer_range,
        ..Gpt2Config::default()
    })
}

/// One half's own folder, e.g. google/vit-base-patch16-224.
fn read_part<T: for<'de> Deserialize<'de>>(folder: &Path, model_type: &str) -> Result<T> {
    let path = folder.join("config.json");
    part(&read_json(&path)?, model_type, &path)
}

fn part<T: for<'de> Deserialize<'de>>(value: &Value, model_type: &str, path: &Path) -> Result<T> {
    let value = supported(value, model_type).with_context(|| path.display().to_string())?;
    T::deserialize(value).with_context(|| format!("{}: {model_type}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_config_reads_back() {
        let ids = SpecialIds { start: 1, eos: 2, pad: 0 };
        let settings = TrainSettings::preset("tiny").unwrap();
        let config = ModelConfig::from_settings(&settings, 50, ids).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), config.to_json().to_string()).unwrap();
        assert_eq!(ModelConfig::read(folder.path()).unwrap(), config);
    }

    /// A written model of 50 tokens with `root` in its `config.json`, and `generation` as its `generation_config.json`.
    fn read(root: Value, generation: Value) -> ModelConfig {
        let ids = SpecialIds { start: 1, eos: 2, pad: 0 };
        let settings = TrainSettings::preset("tiny").unwrap();
        let mut config = ModelConfig::from_settings(&settings, 50, ids).unwrap().to_json();
        config.as_object_mut().unwrap().extend(root.as_object().unwrap().clone());
        let folder = tempfile::tempdir().unwrap();
        for (name, value) in [("config.json", config), ("generation_config.json", generation)] {
            std::fs::write(folder.path().join(name), value.to_string()).unwrap();
        }
        ModelConfig::read(folder.path()).unwrap()
    }

    #[test]
    fn labels_end_where_captions_stop() {
        for (generation, labels, captions) in [
            (json!({"bos_token_id": 1}), 2, vec![]),
            (json!({"bos_token_id": 1, "eos_token_id": 7}), 7, vec![7]),
            (json!({"bos_token_id": 1, "eos_token_id": [7, 2]}), 2, vec![7, 2]),
            (json!({"bos_token_id": 1, "eos_token_id": 50_256}), 2, vec![]),
            (json!({"bos_token_id": 1, "eos_token_id": [50_256, 7]}), 7, vec![7]),
        ] {
            let config = read(json!({}), generation);
            assert_eq!((config.ids.eos, config.generation.eos), (labels, captions));
        }
    }

    #[test]
    fn tokens_beyond_the_vocabulary_are_the_tokenizers_or_named() {
        let ids = SpecialIds { start: 1, eos: 3, pad: 4 };
        let beyond = json!({"eos_token_id": 50_256, "pad_token_id": 50_256});
        let generation = json!({"bos_token_id": 1, "eos_token_id": 50_256});
        let config = read(beyond.clone(), generation.clone());
        assert_eq!(config.with_ids_within(ids).unwrap().ids, ids);
        for (key, ids) in [
            ("eos_token_id", SpecialIds { eos: 50, ..ids }),
            ("pad_token_id", SpecialIds { pad: -1, ..ids }),
        ] {
            let config = read(beyond.clone(), generation.clone());
            let error = config.with_ids_within(ids).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{key}: expected an id below")), "{error}");
        }
        let error = read(json!({"decoder_start_token_id": 99}), generation).with_ids_within(ids);
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("decoder_start_token_id: expected an id below"), "{error}");
    }

    #[test]
    fn impossible_sizes_are_refused() {
        let ids = SpecialIds { start: 1, eos: 2, pad: 0 };
        let tiny = TrainSettings::preset("tiny").unwrap();
        for (settings, vocab_size, expected) in [
            (
                TrainSettings { encoder_width: 128, encoder_heads: 5, ..tiny.clone() },
                50,
                "found 128 / 5",
            ),
            (
                TrainSettings { vocab_size: 10, ..tiny.clone() },
                50,
                "at least the tokenizer's 50, found 10",
            ),
            (tiny, 2, "below the vocabulary's 2, found 2"),
        ] {
            let error = ModelConfig::from_settings(&settings, vocab_size, ids).unwrap_err();
            assert!(format!("{error:#}").contains(expected), "{error:#}");
        }
    }
}
