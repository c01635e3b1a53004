//! Captions to token ids. In: a `tokenizer.json`. Out: ids, special tokens as the tokenizer's own post-processor puts them, none of
//! them from a text, truncated; as SQL function `tokenize(text)`.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use arrow::array::{AsArray, Int32Builder, ListBuilder};
use arrow::datatypes::{DataType, Field};
use datafusion::common::DataFusionError;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use tokenizers::{PostProcessor, Tokenizer, TruncationParams};

use tuwen_corpus::id::{hex, id_of};

use tuwen_caption::{Characters, Literal};

/// A tokenizer set up for captions.
#[derive(Clone)]
pub struct CaptionTokenizer {
    tokenizer: Arc<Literal>,
    /// For BERT's tokenizers, to which each Chinese character is a word.
    characters: Option<Arc<Characters>>,
    /// Identity of the file, so that another tokenizer is seen as a change.
    pub file_id: String,
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
        let bytes = std::fs::read(path).map_err(|error| {
            anyhow!("{shown}: expected a tokenizer.json, cannot read it: {error}")
        })?;
        let mut tokenizer = Tokenizer::from_bytes(&bytes).map_err(|error| {
            anyhow!("{shown}: expected a tokenizer.json of the tokenizers library, found: {error}")
        })?;
        let characters = Characters::of(&tokenizer, max_length)?.map(Arc::new);
        let truncation = TruncationParams { max_length, ..TruncationParams::default() };
        tokenizer
            .with_truncation(Some(truncation))
            .map_err(|error| anyhow!("curate.max_length = {max_length}: {error}"))?;
        let n_special = tokenizer.get_post_processor().map_or(0, |added| added.added_tokens(false));
        if max_length <= n_special {
            bail!(
                "curate.max_length: expected more than the {n_special} special tokens that {shown} adds, found {max_length}"
            );
        }
        let tokenizer = Arc::new(Literal::of(&tokenizer)?);
        Ok(Self { tokenizer, characters, file_id: hex(id_of(&bytes)) })
    }

    /// The ids of `text`.
    ///
    /// # Errors
    /// The tokenizer's model cannot say the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        match &self.characters {
            Some(characters) => characters.encode(text),
            None => self.tokenizer.ids(text, true),
        }
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
    tokenize_udf_by(move |text| {
        tokenizer.encode(text).map_err(|error| DataFusionError::Execution(error.to_string()))
    })
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
