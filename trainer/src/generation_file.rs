//! What a model's folder says of generating captions. In: a folder. Out: the values of its `generation_config.json`, or, where there
//! is none, those that its `config.json` has at its top or for its decoder: the same that transformers (version 5) takes, key by
//! key. Never changes a setting.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use crate::json::read_json;

/// The file's name.
pub(crate) const FILE: &str = "generation_config.json";

/// What the trainer has settings or ids for, by transformers' names.
const KNOWN: [&str; 17] = [
    "num_beams",
    "max_length",
    "max_new_tokens",
    "min_length",
    "min_new_tokens",
    "length_penalty",
    "early_stopping",
    "no_repeat_ngram_size",
    "repetition_penalty",
    "do_sample",
    "temperature",
    "top_k",
    "top_p",
    "bos_token_id",
    "decoder_start_token_id",
    "eos_token_id",
    "pad_token_id",
];

/// What the trainer cannot do, and the value at which it does nothing; without one, it does something whenever it is there. Keys of
/// transformers that are neither here nor in [`KNOWN`] change no caption of a picture: those of caches, outputs and assistants,
/// and the penalties for the tokens of an encoder that reads text.
const UNSUPPORTED: [(&str, Option<f64>); 19] = [
    ("bad_words_ids", None),
    ("begin_suppress_tokens", None),
    ("constraints", None),
    ("diversity_penalty", Some(0.0)),
    ("dola_layers", None),
    ("exponential_decay_length_penalty", None),
    ("force_words_ids", None),
    ("forced_bos_token_id", None),
    ("forced_eos_token_id", None),
    ("guidance_scale", Some(1.0)),
    ("max_time", None),
    ("num_beam_groups", Some(1.0)),
    ("penalty_alpha", Some(0.0)),
    ("prompt_lookup_num_tokens", None),
    ("renormalize_logits", None),
    ("sequence_bias", None),
    ("stop_strings", None),
    ("suppress_tokens", None),
    ("watermarking_config", None),
];

/// The same of drawing: they do nothing where captions are not drawn.
const UNSUPPORTED_DRAWS: [(&str, Option<f64>); 5] = [
    ("epsilon_cutoff", Some(0.0)),
    ("eta_cutoff", Some(0.0)),
    ("min_p", Some(0.0)),
    ("top_h", None),
    ("typical_p", Some(1.0)),
];

/// The tokens that a generated caption begins and ends with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerationIds {
    /// First input of the decoder.
    pub start: i64,
    /// Each ends a caption; none: a caption goes on to its greatest length.
    pub eos: Vec<i64>,
}

/// The values, without those that are null.
pub(crate) struct GenerationFile {
    /// Where they stand.
    pub(crate) path: PathBuf,
    pub(crate) values: Map<String, Value>,
}

impl GenerationFile {
    /// Reads `generation_config.json`, or `config.json` without one.
    ///
    /// # Errors
    /// A file that is no JSON object, or cannot be read.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        if path.exists() {
            let mut values = object(&path)?;
            values.retain(|_, value| !value.is_null());
            return Ok(Self { path, values });
        }
        let path = folder.join("config.json");
        let root = object(&path)?;
        let mut values = Map::new();
        let unsupported = UNSUPPORTED.iter().chain(&UNSUPPORTED_DRAWS).map(|(key, _)| *key);
        for key in KNOWN.into_iter().chain(unsupported) {
            let places = [root.get(key), root.get("decoder").and_then(|decoder| decoder.get(key))];
            if let Some(value) = places.into_iter().flatten().find(|value| !value.is_null()) {
                values.insert(key.to_owned(), value.clone());
            }
        }
        Ok(Self { path, values })
    }

    /// The tokens that captions begin and end with.
    ///
    /// # Errors
    /// No start token: neither `decoder_start_token_id` nor `bos_token_id`; what is no id.
    pub(crate) fn ids(&self) -> Result<GenerationIds> {
        let start = self.id("decoder_start_token_id")?;
        let start = start.map_or_else(|| self.id("bos_token_id"), |start| Ok(Some(start)))?;
        let start = start.with_context(|| {
            format!(
                "{}: expected `decoder_start_token_id` or `bos_token_id`, found neither",
                self.path.display()
            )
        })?;
        let eos = match self.values.get("eos_token_id") {
            Some(Value::Array(all)) => {
                let ids = all.iter().map(Value::as_i64).collect::<Option<Vec<i64>>>();
                ids.with_context(|| {
                    format!("{}: eos_token_id: expected ids, found {all:?}", self.path.display())
                })?
            }
            _ => self.id("eos_token_id")?.into_iter().collect(),
        };
        Ok(GenerationIds { start, eos })
    }

    /// The id that `key` has, if it has one.
    ///
    /// # Errors
    /// A value that is none.
    pub(crate) fn id(&self, key: &str) -> Result<Option<i64>> {
        let Some(value) = self.values.get(key) else { return Ok(None) };
        let id = value.as_i64().with_context(|| {
            format!("{}: {key}: expected an id, found {value}", self.path.display())
        })?;
        Ok(Some(id))
    }

    /// Refuses what would change captions in ways that the trainer has not.
    ///
    /// # Errors
    /// All such values, by name.
    pub(crate) fn check_supported(&self, do_sample: bool) -> Result<()> {
        let draws = UNSUPPORTED_DRAWS.iter().filter(|_| do_sample);
        let does_something = |(key, neutral): &&(&str, Option<f64>)| match self.values.get(*key) {
            None | Some(Value::Bool(false)) => false,
            Some(Value::Array(all)) if all.is_empty() => false,
            Some(value) => neutral.is_none() || value.as_f64() != *neutral,
        };
        let found: Vec<String> = UNSUPPORTED
            .iter()
            .chain(draws)
            .filter(does_something)
            .map(|(key, _)| format!("{key} = {}", self.values[*key]))
            .collect();
        if !found.is_empty() {
            bail!(
                "{}: not supported: {}\nhint: without it in a copy of the file, captions are written without it",
                self.path.display(),
                found.join(", ")
            );
        }
        Ok(())
    }
}

fn object(path: &Path) -> Result<Map<String, Value>> {
    match read_json(path)? {
        Value::Object(object) => Ok(object),
        _ => bail!("{}: expected a JSON object", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(files: &[(&str, Value)]) -> GenerationFile {
        let folder = tempfile::tempdir().unwrap();
        for (name, value) in files {
            std::fs::write(folder.path().join(name), value.to_string()).unwrap();
        }
        GenerationFile::read(folder.path()).unwrap()
    }

    #[test]
    fn config_json_is_asked_only_where_there_is_no_other_file() {
        let config = json!({"eos_token_id": 5, "bos_token_id": null, "max_length": 20, "vocab_size": 9,
            "decoder": {"eos_token_id": 6, "bos_token_id": 4, "num_beams": 3, "n_embd": 8}});
        let alone = read(&[("config.json", config.clone())]);
        assert_eq!(alone.ids().unwrap(), GenerationIds { start: 4, eos: vec![5] });
        let mut keys: Vec<_> = alone.values.keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["bos_token_id", "eos_token_id", "max_length", "num_beams"]);

        let file = json!({"decoder_start_token_id": 1, "eos_token_id": [2, 3], "max_length": null});
        let both = read(&[("config.json", config), (FILE, file)]);
        assert_eq!(both.ids().unwrap(), GenerationIds { start: 1, eos: vec![2, 3] });
        assert!(both.values.get("max_length").is_none());
    }

    #[test]
    fn what_cannot_be_done_is_named() {
        let file = json!({"bos_token_id": 1, "typical_p": 0.9, "diversity_penalty": 0.0, "num_beam_groups": 1,
            "suppress_tokens": [], "forced_eos_token_id": 2, "renormalize_logits": false, "use_cache": false});
        let file = read(&[(FILE, file)]);
        let error = file.check_supported(false).unwrap_err().to_string();
        assert!(error.contains("not supported: forced_eos_token_id = 2\n"), "{error}");
        let error = file.check_supported(true).unwrap_err().to_string();
        assert!(error.contains("forced_eos_token_id = 2, typical_p = 0.9\n"), "{error}");
        assert!(read(&[(FILE, json!({"eos_token_id": "x"}))]).ids().is_err());
    }
}
