//! Captions as text. In: a tokenizer's files, token ids. Out: the special tokens' ids, a caption for people, and the
//! tokenizer's files of a checkpoint. Never tokenises: the corpus holds token ids.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde_json::{Map, Value, json};
use tokenizers::Tokenizer;
use tuwen_caption::{SpecialToken, TokenizerFile, remove_cjk_spaces};

use crate::config::SpecialIds;
use crate::json::write_json;

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
    /// Opens a tokenizer's file or folder. A tokenizer without padding pads with its end token.
    ///
    /// # Errors
    /// A file that is no tokenizer, or one without a start or an end token.
    pub fn open(path: &Path) -> Result<Self> {
        Self::made_of(path, TokenizerFile::open(path)?)
    }

    /// The same of a model whose start and end tokens are known, should the tokenizer's files not name them.
    ///
    /// # Errors
    /// A file that is no tokenizer, or one that does not have those tokens.
    pub fn open_of_model(path: &Path, ids: SpecialIds) -> Result<Self> {
        let mut file = TokenizerFile::open(path)?;
        let token = |id: i64| {
            let id = u32::try_from(id).ok()?;
            Some(SpecialToken { content: file.tokenizer.id_to_token(id)?, id })
        };
        let (start, end) = (token(ids.start), token(ids.eos));
        file.special.start = file.special.start.or(start);
        file.special.end = file.special.end.or(end);
        Self::made_of(path, file)
    }

    fn made_of(path: &Path, file: TokenizerFile) -> Result<Self> {
        let TokenizerFile { tokenizer, special, json } = file;
        let needed = |what: &str, found: Option<SpecialToken>| {
            found.with_context(|| {
                format!(
                    "{}: expected a token for the {what} of a caption, found none",
                    path.display()
                )
            })
        };
        let start = needed("start", special.start)?;
        let end = needed("end", special.end)?;
        let pad = special.pad.unwrap_or_else(|| end.clone());
        let id = |token: &SpecialToken| i64::from(token.id);
        let ids = SpecialIds { start: id(&start), eos: id(&end), pad: id(&pad) };
        let named = [
            ("bos_token", Some(&start)),
            ("cls_token", Some(&start)),
            ("eos_token", Some(&end)),
            ("sep_token", Some(&end)),
            ("pad_token", Some(&pad)),
            ("unk_token", special.unknown.as_ref()),
            ("mask_token", special.mask.as_ref()),
        ];
        let special = named
            .into_iter()
            .filter_map(|(key, token)| Some((key.to_owned(), json!(token?.content))))
            .collect();
        Ok(Self { tokenizer, file: json, special, ids })
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
