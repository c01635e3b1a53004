//! A model's fingerprint. In: a model. Out: an id that is the same for the same weights, whatever files or number format
//! they were read from. Never depends on the device.

use anyhow::Result;
use tch::Tensor;
use tuwen_corpus::id::{Id, hex, id_of};

use crate::checkpoint::bytes_of;
use crate::config::GenerationIds;
use crate::model::Model;

/// Parameters copied to the host and hashed at a time.
const CHUNK: i64 = 1 << 24;

/// The model's id: a SHA-256 of the SHA-256s of its weights, sizes, normalisation, tokenizer and, where they are not those of the
/// labels, the tokens its captions begin and end with; 128 bits, 32 hex digits.
///
/// # Errors
/// The tokenizer's file is gone.
pub fn fingerprint(model: &Model) -> Result<String> {
    let config = &model.captioner.config;
    let mut parts = weights(&model.flat);
    parts.extend(id_of(config.to_json().to_string().as_bytes()));
    parts.extend(id_of(model.normalise.to_json(config.encoder.image_size).to_string().as_bytes()));
    parts.extend(id_of(model.text.file()));
    let GenerationIds { start, eos } = &config.generation;
    if (*start, &eos[..]) != (config.ids.start, &[config.ids.eos]) {
        parts.extend(id_of(format!("captions from {start} to {eos:?}").as_bytes()));
    }
    Ok(hex(id_of(&parts)))
}

/// The id of what the encoder's states depend on but pixels: its weights, sizes, normalisation, number format.
pub(crate) fn encoder_id(model: &Model) -> Id {
    let config = &model.captioner.config.encoder;
    let ranges = model.captioner.layout.ranges("encoder.").into_iter();
    let mut parts: Vec<u8> = ranges
        .filter(|(.., is_encoder)| *is_encoder)
        .flat_map(|(start, len, _)| weights(&model.flat.narrow(0, start, len)))
        .collect();
    let normalise = model.normalise.to_json(config.image_size);
    parts.extend(format!("{config:?} {normalise} {:?}", model.precision).into_bytes());
    id_of(&parts)
}

/// The SHA-256s of the values, a part after the other.
fn weights(flat: &Tensor) -> Vec<u8> {
    flat.split(CHUNK, 0).iter().flat_map(|chunk| id_of(&bytes_of(chunk))).collect()
}
