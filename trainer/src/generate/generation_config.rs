//! `generation_config.json`, as transformers reads and writes it: a model's own defaults of how captions are generated.
//! In: a checkpoint's folder, or settings. Out: settings, or the file's JSON. Never drops a key in silence.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use tuwen_settings::TrainSettings;

use super::options::check;
use crate::config::{SpecialIds, read_json};

const FILE: &str = "generation_config.json";

/// Transformers' names, and those of the settings `train.…`.
const KEYS: [(&str, &str); 11] = [
    ("num_beams", "num_beams"),
    ("max_length", "generate_max_length"),
    ("min_length", "generate_min_length"),
    ("length_penalty", "length_penalty"),
    ("early_stopping", "early_stopping"),
    ("no_repeat_ngram_size", "no_repeat_ngram_size"),
    ("repetition_penalty", "repetition_penalty"),
    ("do_sample", "do_sample"),
    ("temperature", "temperature"),
    ("top_k", "top_k"),
    ("top_p", "top_p"),
];

/// Keys of the file that do not change a caption, or that `config.json` has as well.
const WITHOUT_EFFECT: [&str; 11] = [
    "_from_model_config",
    "transformers_version",
    "bos_token_id",
    "decoder_start_token_id",
    "eos_token_id",
    "pad_token_id",
    "use_cache",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "return_dict_in_generate",
];

/// The options as transformers names them; those that are off are left out, as are the sampling's without `do_sample`.
pub fn options_to_json(settings: &TrainSettings) -> Map<String, Value> {
    let off = |ours: &str| match ours {
        "generate_min_length" => settings.generate_min_length == 0,
        "early_stopping" => settings.num_beams == 1,
        "no_repeat_ngram_size" => settings.no_repeat_ngram_size == 0,
        "repetition_penalty" => settings.repetition_penalty == 1.0,
        "do_sample" | "temperature" | "top_k" | "top_p" => !settings.do_sample,
        _ => false,
    };
    let all = json!(settings);
    let on = KEYS.iter().filter(|(_, ours)| !off(ours));
    on.map(|(theirs, ours)| ((*theirs).to_owned(), all[ours].clone())).collect()
}

/// Writes the file into a checkpoint's folder.
///
/// # Errors
/// An I/O error, with its path.
pub(crate) fn write(folder: &Path, settings: &TrainSettings, ids: SpecialIds) -> Result<()> {
    let mut root = Map::new();
    for (key, id) in [
        ("bos_token_id", ids.start),
        ("decoder_start_token_id", ids.start),
        ("eos_token_id", ids.eos),
        ("pad_token_id", ids.pad),
    ] {
        root.insert(key.to_owned(), json!(id));
    }
    root.extend(options_to_json(settings));
    crate::text::write_json(&folder.join(FILE), &Value::Object(root))
}

/// Overrides settings with the values of the file in a checkpoint's folder, except those that the user gave: `is_given` gets a
/// setting's name in `train`. A setting that the file does not have, or all if there is no file, stays as it is. Gives a line
/// that reports unknown keys, if there are any.
///
/// # Errors
/// An unreadable file, or a value no caption can be written with.
pub fn apply(
    folder: &Path,
    settings: &mut TrainSettings,
    is_given: impl Fn(&str) -> bool,
) -> Result<Option<String>> {
    let path = folder.join(FILE);
    if !path.exists() {
        return Ok(None);
    }
    let mut root = read_json(&path)?;
    let root = root
        .as_object_mut()
        .with_context(|| format!("{}: expected a JSON object", path.display()))?;
    root.retain(|_, value| !value.is_null());
    // As transformers: new tokens come after the start token, and have precedence.
    if let Some(n) = root.remove("max_new_tokens").and_then(|n| n.as_u64()) {
        root.insert("max_length".to_owned(), json!(n + 1));
    }
    let mut all = json!(settings);
    for (theirs, ours) in KEYS {
        if let Some(value) = root.remove(theirs).filter(|_| !is_given(ours)) {
            all[ours] = value;
        }
    }
    *settings = serde_json::from_value(all).with_context(|| path.display().to_string())?;
    check(settings).with_context(|| path.display().to_string())?;
    root.retain(|key, value| !WITHOUT_EFFECT.contains(&key.as_str()) && *value != json!(false));
    let mut unknown: Vec<&str> = root.keys().map(String::as_str).collect();
    unknown.sort_unstable();
    Ok((!unknown.is_empty())
        .then(|| format!("{}: not applied: {}", path.display(), unknown.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tuwen_settings::EarlyStopping;

    fn applied(file: &Value, given: &[&str]) -> Result<(TrainSettings, Option<String>)> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), file.to_string()).unwrap();
        let mut settings = TrainSettings { num_beams: 7, ..TrainSettings::default() };
        let note = apply(folder.path(), &mut settings, |key| given.contains(&key))?;
        Ok((settings, note.map(|note| note.rsplit("json: ").next().unwrap().to_owned())))
    }

    #[test]
    fn the_file_applies_to_settings_that_were_not_given() {
        let file = json!({
            "num_beams": 3, "max_new_tokens": 9, "max_length": 5, "early_stopping": "never", "length_penalty": 2,
            "top_k": null, "eos_token_id": 2, "typical_p": 0.9, "use_cache": true, "forced_eos_token_id": 2,
        });
        let (settings, note) = applied(&file, &[]).unwrap();
        assert_eq!((settings.num_beams, settings.generate_max_length), (3, 10));
        assert_eq!((settings.early_stopping, settings.length_penalty), (EarlyStopping::Never, 2.0));
        assert_eq!((settings.top_k, settings.top_p), (50, 1.0));
        assert_eq!(note.unwrap(), "not applied: forced_eos_token_id, typical_p");
        assert_eq!(applied(&file, &["num_beams"]).unwrap().0.num_beams, 7);
    }

    #[test]
    fn a_value_that_cannot_be_is_named() {
        for (file, expected) in [
            (
                json!({"temperature": -1.0}),
                "train.temperature: expected a number above 0, found -1",
            ),
            (json!({"early_stopping": "soon"}), "expected true, false or never, found `soon`"),
            (json!([]), "expected a JSON object"),
        ] {
            let error = format!("{:#}", applied(&file, &[]).unwrap_err());
            assert!(
                error.contains("generation_config.json") && error.contains(expected),
                "{error}"
            );
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let settings = TrainSettings {
            generate_min_length: 4,
            early_stopping: EarlyStopping::Yes,
            no_repeat_ngram_size: 2,
            repetition_penalty: 1.5,
            do_sample: true,
            temperature: 0.7,
            top_k: 0,
            top_p: 0.9,
            ..TrainSettings::default()
        };
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &settings, SpecialIds { start: 1, eos: 2, pad: 0 }).unwrap();
        let mut read = TrainSettings::default();
        assert_eq!(apply(folder.path(), &mut read, |_| false).unwrap(), None);
        assert_eq!(read, settings);
    }
}
