//! Captions to token ids. In: a `tokenizer.json`. Out: ids, special tokens as the tokenizer's own post-processor puts them, none of
//! them from a text, truncated, and always an end token; as SQL function `tokenize(text)`.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use arrow::array::{AsArray, Int32Builder, ListBuilder};
use arrow::datatypes::{DataType, Field};
use base64::Engine as _;
use datafusion::common::DataFusionError;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokenizers::{PostProcessor, Tokenizer, TruncationParams};

use tuwen_corpus::id::{hex, id_of};

use crate::bound::saying;
use tuwen_caption::{Characters, Literal, TokenizerFile, end_ids};

/// A tokenizer set up for captions.
#[derive(Clone)]
pub struct CaptionTokenizer {
    tokenizer: Arc<Literal>,
    /// As its file has it.
    whole: Arc<Tokenizer>,
    /// For BERT's tokenizers, to which each Chinese character is a word.
    characters: Option<Arc<Characters>>,
    /// The end token, where the post-processor puts none: a model that never sees captions end never ends one.
    end: Option<u32>,
    /// Special tokens that each caption gets.
    n_special: usize,
    max_length: usize,
    /// Identity of file and end token, so that others are seen as a change.
    pub file_id: String,
}

/// A tokenizer on its way to another process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TokenizerParts {
    /// Its `tokenizer.json`, with the special tokens marked: zstd, then base 64.
    json_zstd: String,
    end: Option<u32>,
    max_length: usize,
}

impl CaptionTokenizer {
    /// Reads `path`; captions are cut to `max_length` tokens, special tokens included.
    ///
    /// # Errors
    /// No such file, or not a tokenizer.
    pub fn open(path: &Path, max_length: usize) -> Result<Self> {
        let shown = path.display();
        if path.as_os_str().is_empty() {
            bail!(
                "curate.tokenizer: expected the path of a tokenizer.json, found nothing\nhint: --tokenizer FILE"
            );
        }
        let TokenizerFile { tokenizer, special, json } = TokenizerFile::open(path)?;
        let this = Self::new(tokenizer, max_length, |literal| {
            Ok(if literal.ends_texts()? { None } else { special.end.map(|end| end.id) })
        })?;
        let n_special = this.n_special;
        if max_length <= n_special {
            bail!(
                "curate.max_length: expected more than the {n_special} special tokens that {shown} adds, found {max_length}"
            );
        }
        let mut identity = json;
        if let Some(end) = this.end {
            identity.extend(format!("ends with {end}").bytes());
        }
        Ok(Self { file_id: hex(id_of(&identity)), ..this })
    }

    /// The tokenizer of which `parts` were taken in another process.
    ///
    /// # Errors
    /// They are none of a tokenizer.
    pub fn of(parts: TokenizerParts) -> Result<Self> {
        let json = base64::prelude::BASE64_STANDARD.decode(parts.json_zstd)?;
        let tokenizer = Tokenizer::from_bytes(zstd::decode_all(json.as_slice())?);
        let tokenizer = tokenizer.map_err(|error| anyhow!("a tokenizer of a plan: {error}"))?;
        Self::new(tokenizer, parts.max_length, |_| Ok(parts.end))
    }

    /// What makes it in another process.
    pub(crate) fn parts(&self) -> Result<TokenizerParts> {
        let json = self.whole.to_string(false).map_err(|error| anyhow!("{error}"))?;
        let json_zstd = zstd::encode_all(json.as_bytes(), 0)?;
        Ok(TokenizerParts {
            json_zstd: base64::prelude::BASE64_STANDARD.encode(json_zstd),
            end: self.end,
            max_length: self.max_length,
        })
    }

    fn new(
        mut tokenizer: Tokenizer,
        max_length: usize,
        end: impl FnOnce(&Literal) -> Result<Option<u32>>,
    ) -> Result<Self> {
        let characters = Characters::of(&tokenizer, max_length)?.map(Arc::new);
        let truncation = TruncationParams { max_length, ..TruncationParams::default() };
        tokenizer
            .with_truncation(Some(truncation))
            .map_err(|error| anyhow!("curate.max_length = {max_length}: {error}"))?;
        let literal = Literal::of(&tokenizer)?;
        let end = end(&literal)?;
        let n_special = tokenizer.get_post_processor().map_or(0, |added| added.added_tokens(false))
            + usize::from(end.is_some());
        Ok(Self {
            tokenizer: Arc::new(literal),
            whole: Arc::new(tokenizer),
            characters,
            end,
            n_special,
            max_length,
            file_id: String::new(),
        })
    }

    /// The ids of `text`.
    ///
    /// # Errors
    /// The tokenizer's model cannot say the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = match &self.characters {
            Some(characters) => characters.encode(text)?,
            None => self.tokenizer.ids(text, true)?,
        };
        if let Some(end) = self.end {
            end_ids(&mut ids, end, self.max_length);
        }
        Ok(ids)
    }

    /// The text of `ids`, special tokens left out.
    ///
    /// # Errors
    /// The tokenizer's decoder cannot say them.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.tokenizer.text(ids)
    }
}

/// `tokenize(varchar) -> list<int>`.
pub fn tokenize_udf(tokenizer: CaptionTokenizer) -> ScalarUDF {
    let said = tokenizer.clone();
    let function = tokenize_udf_by(move |text| {
        tokenizer.encode(text).map_err(|error| DataFusionError::Execution(error.to_string()))
    });
    // What was read as a tokenizer can be written as one.
    saying(function, move || json!({ "tokenizer": said.parts().ok() }))
}

/// [`tokenize_udf`] by any function from a text to its ids.
pub(crate) fn tokenize_udf_by(
    encode: impl Fn(&str) -> Result<Vec<u32>, DataFusionError> + Send + Sync + 'static,
) -> ScalarUDF {
    let element = Arc::new(Field::new("element", DataType::Int32, true));
    let ids = DataType::List(Arc::clone(&element));
    create_udf(
        "tokenize",
        vec![DataType::Utf8],
        ids,
        Volatility::Immutable,
        Arc::new(move |args| {
            let arrays = ColumnarValue::values_to_arrays(args)?;
            let mut lists = ListBuilder::new(Int32Builder::new()).with_field(Arc::clone(&element));
            for text in arrays[0].as_string::<i32>() {
                match text {
                    Some(text) => {
                        lists.append_value(encode(text)?.into_iter().map(|id| Some(id as i32)));
                    }
                    None => lists.append_null(),
                }
            }
            Ok(ColumnarValue::Array(Arc::new(lists.finish())))
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    use serde_json::{Value, json};

    /// GPT-2's kind: its post-processor adds nothing, and its end token is the only special one.
    fn byte_level(folder: &Path, end: &str) -> std::path::PathBuf {
        let special = json!({ "id": 2, "content": end, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true });
        let byte_level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
        let json = json!({ "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "added_tokens": [special],
            "pre_tokenizer": byte_level, "post_processor": null, "decoder": byte_level,
            "model": { "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                "vocab": { "a": 0, "b": 1, end: 2 }, "merges": [] } });
        let path = folder.join("tokenizer.json");
        std::fs::write(&path, json.to_string()).unwrap();
        path
    }

    #[test]
    fn captions_end_where_the_tokenizer_adds_no_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = byte_level(folder.path(), "<|endoftext|>");
        let tokenizer = CaptionTokenizer::open(&path, 4).unwrap();
        for (text, expected) in [("ab", vec![0, 1, 2]), ("ababab", vec![0, 1, 0, 2]), ("", vec![2])]
        {
            assert_eq!(tokenizer.encode(text).unwrap(), expected, "{text}");
        }
        let json: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_ne!(tokenizer.file_id, hex(id_of(json.to_string().as_bytes())), "no change is seen");
        assert!(CaptionTokenizer::open(&path, 1).is_err(), "room for an end alone");

        // A name that only the file beside it tells.
        let path = byte_level(folder.path(), "<stop>");
        assert_eq!(CaptionTokenizer::open(&path, 4).unwrap().encode("ab").unwrap(), [0, 1]);
        let beside = json!({ "eos_token": { "content": "<stop>" } });
        std::fs::write(folder.path().join("special_tokens_map.json"), beside.to_string()).unwrap();
        assert_eq!(CaptionTokenizer::open(&path, 4).unwrap().encode("ab").unwrap(), [0, 1, 2]);
    }
}
