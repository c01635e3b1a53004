//! Captions as text. In: a `tokenizer.json`, token ids. Out: the special tokens' ids, a caption for people, and the
//! tokenizer's files of a checkpoint. Never tokenises: the corpus holds token ids.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde_json::{Map, Value, json};
use tokenizers::Tokenizer;
use tuwen_caption::remove_cjk_spaces;

use crate::config::{SpecialIds, read_json};

/// A tokenizer and its special tokens.
pub struct Text {
    tokenizer: Tokenizer,
    /// The bytes of `tokenizer.json`, since the file may be deleted with its checkpoint during the run.
    file: Vec<u8>,
    special: Map<String, Value>,
    /// Start, end and padding.
    pub ids: SpecialIds,
}

impl Text {
    /// Opens a `tokenizer.json`. Special tokens are those the `tokenizer_config.json` beside it names, else the ones BERT,
    /// GPT-2 and T5 are known by; a tokenizer without padding pads with its end token.
    ///
    /// # Errors
    /// A file that is no tokenizer, or one without a start or an end token.
    pub fn open(path: &Path) -> Result<Self> {
        let file = std::fs::read(path).with_context(|| {
            format!("{}: expected a tokenizer.json, cannot read it", path.display())
        })?;
        let tokenizer = Tokenizer::from_bytes(&file)
            .map_err(|error| anyhow!("{}: expected a tokenizer.json: {error}", path.display()))?;
        let config = match path.with_file_name("tokenizer_config.json") {
            beside if beside.exists() => read_json(&beside)?,
            _ => Value::Null,
        };
        let find = |keys: &[&str], known: &[&str]| -> Option<(String, i64)> {
            let named = keys
                .iter()
                .filter_map(|key| config[key].as_str().or(config[key]["content"].as_str()));
            let id_of =
                |token: &str| Some((token.to_owned(), i64::from(tokenizer.token_to_id(token)?)));
            named.chain(known.iter().copied()).find_map(id_of)
        };
        let needed = |what: &str, found: Option<(String, i64)>| {
            found.with_context(|| {
                format!(
                    "{}: expected a token for the {what} of a caption, found none",
                    path.display()
                )
            })
        };
        let start =
            needed("start", find(&["bos_token", "cls_token"], &["[CLS]", "<s>", "<|endoftext|>"]))?;
        let eos =
            needed("end", find(&["eos_token", "sep_token"], &["[SEP]", "</s>", "<|endoftext|>"]))?;
        let pad = find(&["pad_token"], &["[PAD]", "<pad>"]).unwrap_or_else(|| eos.clone());

        let mut special = Map::new();
        for (key, token) in [
            ("bos_token", &start),
            ("cls_token", &start),
            ("eos_token", &eos),
            ("sep_token", &eos),
            ("pad_token", &pad),
        ] {
            special.insert(key.to_owned(), json!(token.0));
        }
        for (key, known) in
            [("unk_token", ["[UNK]", "<unk>"]), ("mask_token", ["[MASK]", "<mask>"])]
        {
            if let Some((token, _)) = find(&[key], &known) {
                special.insert(key.to_owned(), json!(token));
            }
        }
        let ids = SpecialIds { start: start.1, eos: eos.1, pad: pad.1 };
        Ok(Self { tokenizer, file, special, ids })
    }

    /// The bytes of the tokenizer's file.
    pub(crate) fn file(&self) -> &[u8] {
        &self.file
    }

    /// Entries of the vocabulary, added tokens included: one more than the highest id.
    pub fn vocab_size(&self) -> i64 {
        let highest = self.tokenizer.get_vocab(true).into_values().max();
        highest.map_or(0, |id| i64::from(id) + 1)
    }

    /// The caption of token ids, without special tokens and without spaces beside Chinese characters.
    ///
    /// # Errors
    /// Ids the tokenizer's decoder refuses.
    pub fn decode(&self, ids: &[i64]) -> Result<String> {
        let ids: Vec<u32> = ids.iter().filter_map(|&id| u32::try_from(id).ok()).collect();
        let text = self
            .tokenizer
            .decode(&ids, true)
            .map_err(|error| anyhow!("decoding a caption: {error}"))?;
        Ok(remove_cjk_spaces(&text))
    }

    /// Writes `tokenizer.json`, `tokenizer_config.json` and `special_tokens_map.json` into a checkpoint's folder.
    ///
    /// # Errors
    /// An I/O error, with its path.
    pub fn write(&self, folder: &Path, max_length: usize) -> Result<()> {
        let target = folder.join("tokenizer.json");
        std::fs::write(&target, &self.file)
            .with_context(|| format!("writing {}", target.display()))?;
        let mut config = self.special.clone();
        config.insert("tokenizer_class".to_owned(), json!("PreTrainedTokenizerFast"));
        config.insert("model_max_length".to_owned(), json!(max_length));
        config.insert("clean_up_tokenization_spaces".to_owned(), json!(false));
        write_json(&folder.join("tokenizer_config.json"), &Value::Object(config))?;
        write_json(&folder.join("special_tokens_map.json"), &Value::Object(self.special.clone()))
    }
}

pub(crate) fn write_json(path: &Path, value: &Value) -> Result<()> {
    let text = format!("{value:#}\n");
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
