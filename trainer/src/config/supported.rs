//! What of a `config.json` the model can be. In: the JSON of a whole model or of one half. Out: the half's JSON in the one form that
//! is read, or a refusal that names the key. Never fills in a value.

use anyhow::{Result, bail};
use serde::Deserialize;
use serde_json::Value;

use super::activation::Activation;

/// Other names of transformers for the same sizes (`GPT2Config.attribute_map`).
const ALIASES: [(&str, &str); 4] = [
    ("hidden_size", "n_embd"),
    ("max_position_embeddings", "n_positions"),
    ("num_attention_heads", "n_head"),
    ("num_hidden_layers", "n_layer"),
];

/// Sizes of pictures that may be `[height, width]`.
const SIDES: [&str; 2] = ["image_size", "patch_size"];

/// Refuses a whole model that is not a `VisionEncoderDecoderModel` of plain weights whose decoder looks at the encoder's states.
pub(super) fn supported_whole(root: &Value) -> Result<()> {
    expect_type(root, "vision-encoder-decoder")?;
    if !root["quantization_config"].is_null() {
        bail!("quantization_config: expected plain weights, found quantised ones");
    }
    let decoder = &root["decoder"];
    if decoder["add_cross_attention"] != true && decoder["model_type"] == "gpt2" {
        bail!(
            "decoder.add_cross_attention: expected true, found {}",
            found(&decoder["add_cross_attention"])
        );
    }
    let projected = &decoder["cross_attention_hidden_size"];
    if !projected.is_null() && *projected != decoder["n_embd"] {
        bail!("decoder.cross_attention_hidden_size: expected n_embd or nothing, found {projected}");
    }
    Ok(())
}

/// The JSON of a `vit` or a `gpt2` as it is read: without nulls, under one name a size, sides and end tokens as numbers.
pub(super) fn supported(value: &Value, model_type: &str) -> Result<Value> {
    expect_type(value, model_type)?;
    let mut part = value.clone();
    let Some(object) = part.as_object_mut() else { bail!("expected an object, found {value}") };
    object.retain(|_, value| !value.is_null());
    if model_type == "gpt2" {
        for (alias, name) in ALIASES {
            if let Some(size) = object.remove(alias) {
                object.entry(name).or_insert(size);
            }
        }
    }
    if object.get("pooler_output_size") == object.get("hidden_size") {
        object.remove("pooler_output_size");
    }
    for key in SIDES {
        if let Some(Value::Array(sides)) = object.get(key) {
            let [height, width] = &sides[..] else {
                bail!("{key}: expected a side, found {sides:?}")
            };
            if height != width {
                bail!("{model_type}.{key}: expected a square, found {height} x {width}");
            }
            let side = height.clone();
            object.insert(key.to_owned(), side);
        }
    }
    if let Some(Value::Array(ends)) = object.get("eos_token_id") {
        let first = ends.first().cloned().unwrap_or_default();
        object.insert("eos_token_id".to_owned(), first);
    }
    for key in ["hidden_act", "activation_function"] {
        if let Some(Err(error)) = object.get(key).map(Activation::deserialize) {
            bail!("{model_type}.{key}: not supported: {error}");
        }
    }
    let pruned = object.get("pruned_heads").and_then(Value::as_object);
    if pruned.is_some_and(|layers| !layers.is_empty()) {
        bail!("{model_type}.pruned_heads: expected none, found {}", object["pruned_heads"]);
    }
    Ok(part)
}

fn expect_type(value: &Value, model_type: &str) -> Result<()> {
    let found = value["model_type"].as_str().unwrap_or("nothing");
    if found != model_type {
        bail!("expected model_type {model_type}, found {found}");
    }
    Ok(())
}

fn found(value: &Value) -> String {
    if value.is_null() { "nothing".to_owned() } else { value.to_string() }
}
