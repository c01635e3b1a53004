//! The functions on captions for SQL: `clean_caption(varchar)` and `caption_rules(varchar)`.

use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{AsArray, ListBuilder, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Field};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use serde_json::json;

use tuwen_caption::{Rule, Rules, changed_by, clean_caption};
use tuwen_settings::{CurateSettings, WrongSetting};

use crate::bound::saying;

/// The rules that `settings` switch on.
///
/// # Errors
/// [`WrongSetting`]: one of their names is none.
pub fn caption_rules(settings: &CurateSettings) -> Result<Rules> {
    match settings.clean.trim() {
        "all" => Ok(Rules::ALL),
        names => {
            let rules = names.parse::<Rules>().context("curate.clean");
            Ok(rules.map_err(WrongSetting::of)?)
        }
    }
}

/// Both functions, by `rules`: [`clean_caption`] as `clean_caption(varchar) -> varchar`, and [`changed_by`], the names of the rules
/// that change a caption, as `caption_rules(varchar) -> list<varchar>`.
pub fn caption_udfs(rules: Rules) -> [ScalarUDF; 2] {
    let cleaned = create_udf(
        "clean_caption",
        vec![DataType::Utf8],
        DataType::Utf8,
        Volatility::Immutable,
        Arc::new(move |args| {
            let arrays = ColumnarValue::values_to_arrays(args)?;
            let captions = arrays[0].as_string::<i32>().iter();
            let cleaned = captions.map(|caption| caption.map(|text| clean_caption(text, rules)));
            Ok(ColumnarValue::Array(Arc::new(cleaned.collect::<StringArray>())))
        }),
    );
    let element = Arc::new(Field::new("element", DataType::Utf8, true));
    let changing = create_udf(
        "caption_rules",
        vec![DataType::Utf8],
        DataType::List(Arc::clone(&element)),
        Volatility::Immutable,
        Arc::new(move |args| {
            let arrays = ColumnarValue::values_to_arrays(args)?;
            let mut lists = ListBuilder::new(StringBuilder::new()).with_field(Arc::clone(&element));
            for caption in arrays[0].as_string::<i32>() {
                match caption {
                    Some(text) => {
                        let changing = changed_by(text, rules).into_iter().map(Rule::name);
                        lists.append_value(changing.map(Some));
                    }
                    None => lists.append_null(),
                }
            }
            Ok(ColumnarValue::Array(Arc::new(lists.finish())))
        }),
    );
    [cleaned, changing]
        .map(|function| saying(function, move || json!({ "rules": rules.to_string() })))
}
