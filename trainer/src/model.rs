//! A model ready to use: sizes, values on a device, tokenizer, normalisation. In: settings or a checkpoint's folder.
//! Out: a [`Model`]. Never trains and never writes.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tch::{Device, Kind, Tensor, no_grad};
use tuwen_caption::TokenizerFile;
use tuwen_settings::{Precision, TrainSettings};

use crate::captioner::{Captioner, Input};
use crate::config::ModelConfig;
use crate::names::Part;
use crate::params::{Leaves, Views, put};
use crate::pixels::{Crop, Normalise};
use crate::recompute::{self, Pass};
use crate::text::Text;
use crate::vit::{POSITIONS, sincos_positions};
use crate::weights::Resize;
use crate::{hub, weights};

/// A captioning model with its values.
pub struct Model {
    /// The computation.
    pub captioner: Captioner,
    /// All parameters, f32, `[captioner.layout.len()]`.
    pub flat: Tensor,
    /// The tokenizer.
    pub text: Text,
    /// How pixels are normalised before the encoder.
    pub normalise: Normalise,
    /// Where the parameters are.
    pub device: Device,
    /// Number format of forward passes.
    pub precision: Precision,
}

impl Model {
    /// The model training starts from: newly initialised, or with weights of the folders or hub ids the settings name.
    /// `tokenizer` is used where neither the settings nor the folders have one. Gives also notes on the weights to report, a line
    /// each.
    ///
    /// # Errors
    /// Unreadable folders, weights that do not fit, no tokenizer.
    pub fn start(
        settings: &TrainSettings,
        tokenizer: &str,
        device: Device,
    ) -> Result<(Self, Vec<String>)> {
        let settings = &resolve_hub_ids(settings)?;
        let folders = [settings.model.as_str(), settings.decoder.as_str()];
        let tokenizer = match settings.tokenizer.as_str() {
            "" => tokenizer_path(&folders, &[tokenizer])?,
            given => PathBuf::from(given),
        };
        let text = match settings.model.as_str() {
            "" => Text::open(&tokenizer)?,
            folder => Text::open_of_model(&tokenizer, ModelConfig::read(Path::new(folder))?.ids)?,
        };
        let config = ModelConfig::from_settings(settings, text.vocab_size(), text.ids)?;
        if config.decoder.vocab_size < text.vocab_size() {
            bail!(
                "the tokenizer has {} entries, the model's vocabulary only {}",
                text.vocab_size(),
                config.decoder.vocab_size
            );
        }
        let captioner = Captioner::new(&config);
        let flat = captioner.layout.init(settings.seed as i64);
        if settings.position_sincos != 0.0 {
            init_positions(&captioner, &flat, settings.position_sincos)?;
        }
        let mut notes = Vec::new();
        if device == Device::Cpu && settings.precision == Precision::F16 {
            notes.push(
                "train.precision: f16 is slow on a CPU\nhint: --set train.precision=f32".to_owned(),
            );
        }
        let mut normalise = Normalise::default();
        let parts = [
            (&settings.model, Part::Whole),
            (&settings.encoder, Part::Encoder),
            (&settings.decoder, Part::Decoder),
        ];
        for (folder, part) in parts.into_iter().filter(|(folder, _)| !folder.is_empty()) {
            let folder = Path::new(folder);
            let loaded = weights::load(
                folder,
                part,
                &captioner.layout,
                &flat,
                config.decoder.tie_word_embeddings,
                match settings.encoder_image_size {
                    0 => Resize::Nothing,
                    _ => Resize::Positions,
                },
            )?;
            notes.extend(note(folder, "fresh, not in the file", &loaded.missing));
            notes.extend(note(folder, "in the file, not used", &loaded.unused));
            match part {
                Part::Whole => {
                    let has_own_size = settings.encoder_image_size == 0;
                    let size = has_own_size.then_some(config.encoder.image_size);
                    normalise = Normalise::read(folder, size)?;
                }
                Part::Encoder => normalise = Normalise::read_levels(folder)?,
                Part::Decoder => {}
            }
        }
        let flat = flat.to_device(device);
        Ok((
            Self { captioner, flat, text, normalise, device, precision: settings.precision },
            notes,
        ))
    }

    /// The model in `folder`, which is a checkpoint's or a Hugging Face model's.
    ///
    /// # Errors
    /// Missing or unreadable files, weights that do not fit.
    pub fn open(folder: &Path, precision: Precision, device: Device) -> Result<Self> {
        Self::open_with(folder, &[], precision, device)
    }

    /// The same with the first tokenizer of `tokenizers` that is not empty where the folder has none.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn open_with(
        folder: &Path,
        tokenizers: &[&str],
        precision: Precision,
        device: Device,
    ) -> Result<Self> {
        let config = ModelConfig::read(folder)?;
        let normalise = Normalise::read(folder, Some(config.encoder.image_size))?;
        let tokenizer = tokenizer_path(&[&folder.to_string_lossy()], tokenizers)?;
        let text = Text::open_of_model(&tokenizer, config.ids)?;
        let config = config.with_ids_within(text.ids);
        let config = config.with_context(|| folder.display().to_string())?;
        let captioner = Captioner::new(&config);
        let flat = captioner.layout.init(0);
        weights::load(
            folder,
            Part::Whole,
            &captioner.layout,
            &flat,
            config.decoder.tie_word_embeddings,
            Resize::Nothing,
        )?;
        Ok(Self { captioner, flat: flat.to_device(device), text, normalise, device, precision })
    }

    /// The parameters for a forward pass, in its number format.
    pub fn views(&self) -> Views {
        self.captioner.layout.views(&self.values())
    }

    /// The parameters' values in the number format of forward passes, `[captioner.layout.len()]`.
    pub fn values(&self) -> Tensor {
        no_grad(|| self.flat.to_kind(self.kind()))
    }

    /// Forward and backward pass: gives the loss, a scalar summed over the labels, and adds the gradients of the multiplied loss to
    /// those of `leaves`, which are the parameters.
    ///
    /// # Errors
    /// An error of libtorch; states of an encoder that is not frozen.
    pub fn backward(
        &self,
        leaves: &Leaves,
        input: &Input,
        labels: &Tensor,
        pass: &Pass,
    ) -> Result<Tensor> {
        if pass.gradient_checkpointing {
            return recompute::backward(&self.captioner, leaves, input, labels, pass);
        }
        let (model, p) = (&self.captioner, &leaves.views);
        let loss = match input {
            _ if pass.freeze_encoder => {
                model.loss_with_frozen_encoder(p, input, labels, pass.label_smoothing)
            }
            Input::Pixels(pixels) => model.loss(p, pixels, labels, pass.label_smoothing, true),
            Input::States(_) => bail!("expected pixels for an encoder that is trained"),
        };
        (&loss * pass.scale).f_backward().context("the backward pass")?;
        Ok(loss.detach())
    }

    /// The same window of `b` stored pictures of `side` pixels, ready for the encoder: `[b, 3, size, size]`.
    pub fn pixels(&self, stored: &[u8], b: usize, side: usize, crop: Crop) -> Tensor {
        let size = self.captioner.config.encoder.image_size;
        self.normalise.pixels(stored, b, side, crop, size, self.device).to_kind(self.kind())
    }

    /// The number format of forward passes.
    pub(crate) fn kind(&self) -> Kind {
        match self.precision {
            Precision::F32 => Kind::Float,
            Precision::Bf16 => Kind::BFloat16,
            Precision::F16 => Kind::Half,
        }
    }
}

/// The settings with folders in the place of the hub's ids; what is not there yet is downloaded.
///
/// # Errors
/// As [`hub::folder`].
pub(crate) fn resolve_hub_ids(settings: &TrainSettings) -> Result<TrainSettings> {
    let mut settings = settings.clone();
    for name in [&mut settings.model, &mut settings.encoder, &mut settings.decoder] {
        if !name.is_empty() {
            *name = hub::folder(name)?.display().to_string();
        }
    }
    Ok(settings)
}

/// The first of `folders` that has a tokenizer, else the first of `others` that is named.
fn tokenizer_path(folders: &[&str], others: &[&str]) -> Result<PathBuf> {
    let folders = folders.iter().filter(|folder| TokenizerFile::is_in(Path::new(folder)));
    let others = others.iter().filter(|file| !file.is_empty());
    folders.chain(others).next().map(PathBuf::from).context(
        "expected a tokenizer (tokenizer.json, vocab.json and merges.txt, or vocab.txt), found none\n\
         hint: train.tokenizer (--tokenizer FILE) names one: that which the corpus was curated with",
    )
}

fn init_positions(captioner: &Captioner, flat: &Tensor, amplitude: f64) -> Result<()> {
    let width = captioner.config.encoder.hidden_size;
    if width % 4 != 0 {
        bail!(
            "train.position_sincos: expected an encoder width that is a multiple of 4, found {width}"
        );
    }
    let positions = captioner.layout.named().into_iter().find(|named| named.name == POSITIONS);
    let positions = positions.expect("every model has position embeddings");
    put(flat, &positions, &sincos_positions(&captioner.config.encoder, amplitude));
    Ok(())
}

fn note(folder: &Path, what: &str, names: &[String]) -> Option<String> {
    (!names.is_empty()).then(|| {
        format!("{}: {} tensors {what}: {}", folder.display(), names.len(), names.join(", "))
    })
}
