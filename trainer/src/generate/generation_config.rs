//! A model's own defaults of how captions are generated. In: a model's folder, or settings. Out: settings, or a
//! `generation_config.json` as transformers writes it. Never drops in silence what would change a caption.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use tuwen_settings::TrainSettings;

use super::options::check;
use crate::config::ModelConfig;
use crate::generation_file::{FILE, GenerationFile};
use crate::json::write_json;

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

/// What `generate` does where nothing says otherwise: 20 tokens after the start token, the likeliest each time. The rest of its
/// defaults are the settings' own.
fn defaults_of_generate() -> TrainSettings {
    TrainSettings { num_beams: 1, generate_max_length: 1 + 20, ..TrainSettings::default() }
}

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
pub(crate) fn write(folder: &Path, settings: &TrainSettings, config: &ModelConfig) -> Result<()> {
    let generation = &config.generation;
    let eos = match generation.eos[..] {
        [eos] => json!(eos),
        _ => json!(generation.eos),
    };
    let mut root = Map::new();
    for (key, id) in [
        ("bos_token_id", json!(generation.start)),
        ("decoder_start_token_id", json!(generation.start)),
        ("eos_token_id", eos),
        ("pad_token_id", json!(config.ids.pad)),
    ] {
        root.insert(key.to_owned(), id);
    }
    root.extend(options_to_json(settings));
    write_json(&folder.join(FILE), &Value::Object(root))
}

/// What applies where a model's files say nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// The settings: the model was trained by this program.
    Settings,
    /// The defaults of transformers' `generate`.
    Generate,
}

/// Overrides settings with what a model's folder says, and where it says nothing with what `otherwise` says; but not those that the
/// user gave: `is_given` gets a setting's name in `train`.
///
/// # Errors
/// An unreadable file, a value no caption can be written with, or one that asks for what is not supported.
pub fn apply(
    folder: &Path,
    settings: &mut TrainSettings,
    otherwise: Otherwise,
    is_given: impl Fn(&str) -> bool,
) -> Result<()> {
    apply_supported(folder, settings, otherwise, is_given)?.check_supported(settings.do_sample)
}

/// The same of what is supported. Out: the file, which may ask for more.
///
/// # Errors
/// An unreadable file, a value no caption can be written with.
pub(crate) fn apply_supported(
    folder: &Path,
    settings: &mut TrainSettings,
    otherwise: Otherwise,
    is_given: impl Fn(&str) -> bool,
) -> Result<GenerationFile> {
    let GenerationFile { path, mut values } = GenerationFile::read(folder)?;
    // As transformers: new tokens come after the start token, and have precedence.
    for (new, all) in [("max_new_tokens", "max_length"), ("min_new_tokens", "min_length")] {
        if let Some(n) = values.get(new).and_then(Value::as_u64) {
            values.insert(all.to_owned(), json!(n + 1));
        }
    }
    let defaults = json!(defaults_of_generate());
    let mut all = json!(settings);
    for (theirs, ours) in KEYS.iter().filter(|(_, ours)| !is_given(ours)) {
        // A temperature of 0, say, is no mistake where nothing is drawn.
        if ["temperature", "top_k", "top_p"].contains(theirs) && all["do_sample"] != true {
            continue;
        }
        match (values.get(*theirs), otherwise) {
            (Some(value), _) => all[ours] = value.clone(),
            (None, Otherwise::Generate) => all[ours] = defaults[ours].clone(),
            (None, Otherwise::Settings) => {}
        }
    }
    *settings = serde_json::from_value(all).with_context(|| path.display().to_string())?;
    check(settings).with_context(|| path.display().to_string())?;
    Ok(GenerationFile { path, values })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SpecialIds;
    use tuwen_settings::EarlyStopping;

    fn applied(file: &Value, otherwise: Otherwise, given: &[&str]) -> Result<TrainSettings> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), file.to_string()).unwrap();
        let mut settings = TrainSettings { num_beams: 7, ..TrainSettings::default() };
        apply(folder.path(), &mut settings, otherwise, |key| given.contains(&key))?;
        Ok(settings)
    }

    #[test]
    fn the_file_applies_to_settings_that_were_not_given() {
        let file = json!({
            "num_beams": 3, "max_new_tokens": 9, "max_length": 5, "early_stopping": "never", "length_penalty": 2,
            "top_k": null, "eos_token_id": 2, "typical_p": 0.9, "use_cache": true, "something": 2,
        });
        let settings = applied(&file, Otherwise::Settings, &[]).unwrap();
        assert_eq!((settings.num_beams, settings.generate_max_length), (3, 10));
        assert_eq!((settings.early_stopping, settings.length_penalty), (EarlyStopping::Never, 2.0));
        assert_eq!((settings.top_k, settings.top_p), (50, 1.0));
        assert_eq!(applied(&file, Otherwise::Generate, &["num_beams"]).unwrap().num_beams, 7);
    }

    #[test]
    fn what_the_file_does_not_say_is_as_generate_has_it() {
        for (otherwise, expected) in
            [(Otherwise::Generate, (1, 21)), (Otherwise::Settings, (7, 16))]
        {
            let settings = applied(&json!({}), otherwise, &[]).unwrap();
            assert_eq!((settings.num_beams, settings.generate_max_length), expected);
        }
    }

    #[test]
    fn a_value_that_cannot_be_is_named() {
        for (file, expected) in [
            (
                json!({"do_sample": true, "temperature": -1.0}),
                "train.temperature: expected a number above 0, found -1",
            ),
            (json!({"early_stopping": "soon"}), "expected true, false or never, found `soon`"),
            (json!({"do_sample": true, "min_p": 0.1}), "not supported: min_p = 0.1"),
            (json!([]), "expected a JSON object"),
        ] {
            let error = format!("{:#}", applied(&file, Otherwise::Settings, &[]).unwrap_err());
            assert!(
                error.contains("generation_config.json") && error.contains(expected),
                "{error}"
            );
        }
    }

    #[test]
    fn what_is_supported_applies_beside_what_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = json!({"num_beams": 3, "suppress_tokens": [5]});
        std::fs::write(folder.path().join(FILE), file.to_string()).unwrap();
        let mut settings = TrainSettings::default();
        let otherwise = Otherwise::Generate;
        let file = apply_supported(folder.path(), &mut settings, otherwise, |_| false).unwrap();
        assert_eq!((settings.num_beams, file.check_supported(false).is_err()), (3, true));
        assert!(apply(folder.path(), &mut settings, otherwise, |_| false).is_err());
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
        let ids = SpecialIds { start: 1, eos: 2, pad: 0 };
        let mut config = ModelConfig::from_settings(&TrainSettings::default(), 50, ids).unwrap();
        for eos in [vec![2], vec![2, 7], vec![]] {
            config.generation.eos = eos;
            write(folder.path(), &settings, &config).unwrap();
            let mut read = TrainSettings::default();
            apply(folder.path(), &mut read, Otherwise::Generate, |_| false).unwrap();
            assert_eq!(read, settings);
            let ids = GenerationFile::read(folder.path()).unwrap().ids().unwrap();
            assert_eq!(ids, config.generation);
        }
    }
}
