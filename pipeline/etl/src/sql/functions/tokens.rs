//! `tokenize(text)` and `detokenize(ids)`, by the tokenizer that `curate.tokenizer` names. It is read when the first of them is called,
//! so a session does not wait for it.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, AsArray, StringArray};
use arrow::datatypes::{DataType, Field, Int32Type};
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use serde_json::json;
use tuwen_settings::CurateSettings;

use crate::bound::saying;
use crate::curate::{CaptionTokenizer, tokenize_udf_by};
use crate::sql::error::QueryError;

/// A tokenizer that is read when it is first asked for.
struct Later {
    path: String,
    max_length: usize,
    tokenizer: OnceLock<std::result::Result<CaptionTokenizer, QueryError>>,
}

impl Later {
    fn get(&self) -> Result<&CaptionTokenizer> {
        let opened = self.tokenizer.get_or_init(|| {
            if self.path.is_empty() {
                let error = QueryError::new("tokenize and detokenize need a tokenizer");
                return Err(error.hint("--set curate.tokenizer=FILE, or in tuwen.toml"));
            }
            CaptionTokenizer::open(&PathBuf::from(&self.path), self.max_length)
                .map_err(|error| QueryError::new(error.to_string()))
        });
        Ok(opened.as_ref().map_err(QueryError::clone)?)
    }
}

/// Both, by the tokenizer of `settings`.
pub(super) fn token_udfs(settings: &CurateSettings) -> [ScalarUDF; 2] {
    udfs(Later {
        path: settings.tokenizer.clone(),
        max_length: settings.max_length,
        tokenizer: OnceLock::new(),
    })
}

/// Both, by `tokenizer`.
pub(crate) fn token_udfs_of(tokenizer: CaptionTokenizer) -> [ScalarUDF; 2] {
    udfs(Later { path: String::new(), max_length: 0, tokenizer: OnceLock::from(Ok(tokenizer)) })
}

fn udfs(later: Later) -> [ScalarUDF; 2] {
    let later = Arc::new(later);
    let (said, tokenizer) = (Arc::clone(&later), Arc::clone(&later));
    let tokenize =
        tokenize_udf_by(move |text| Ok(tokenizer.get()?.encode(text).map_err(failed)?));
    let ids = DataType::List(Arc::new(Field::new("element", DataType::Int32, true)));
    let detokenize = create_udf(
        "detokenize",
        vec![ids],
        DataType::Utf8,
        Volatility::Immutable,
        Arc::new(move |args| {
            let arrays = ColumnarValue::values_to_arrays(args)?;
            let lists = arrays[0].as_list::<i32>();
            let text = |row: usize| -> Result<Option<String>> {
                if lists.is_null(row) {
                    return Ok(None);
                }
                let ids = lists.value(row);
                let ids: Vec<u32> =
                    ids.as_primitive::<Int32Type>().iter().flatten().map(|id| id as u32).collect();
                Ok(Some(later.get()?.decode(&ids).map_err(failed)?))
            };
            let texts: StringArray = (0..lists.len()).map(text).collect::<Result<_>>()?;
            Ok(ColumnarValue::Array(Arc::new(texts)))
        }),
    );
    // Where the file cannot be read, nobody else can either.
    [tokenize, detokenize].map(|function| {
        let said = Arc::clone(&said);
        let parts = move || said.get().ok().and_then(|tokenizer| tokenizer.parts().ok());
        saying(function, move || json!({ "tokenizer": parts() }))
    })
}

fn failed(error: anyhow::Error) -> QueryError {
    QueryError::new(format!("{error:#}"))
}
