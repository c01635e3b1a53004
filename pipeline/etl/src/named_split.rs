//! The split that a name says: of a source, or of a file. In: a name. Out: the split; the same as a function for SQL. Never decides which
//! split a pair is in: the rule in force does, which may not look at names at all.

use std::sync::Arc;

use arrow::array::{AsArray, StringArray};
use arrow::datatypes::DataType;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use tuwen_settings::Split;

/// Words of a name that say which split it is for.
const WORDS: [(&str, Split); 14] = [
    ("train", Split::Train),
    ("training", Split::Train),
    ("trainset", Split::Train),
    ("test", Split::Test),
    ("testing", Split::Test),
    ("testset", Split::Test),
    ("validation", Split::Validation),
    ("validate", Split::Validation),
    ("valid", Split::Validation),
    ("validset", Split::Validation),
    ("valset", Split::Validation),
    ("val", Split::Validation),
    ("dev", Split::Validation),
    ("devset", Split::Validation),
];

/// The split that the first word of [`WORDS`] in `name` says.
pub(crate) fn split_named(name: &str) -> Option<Split> {
    let words = name.split(|c: char| !c.is_alphabetic());
    words.into_iter().find_map(|word| {
        let is_word = |(known, _): &&(&str, Split)| known.eq_ignore_ascii_case(word);
        WORDS.iter().find(is_word).map(|(_, split)| *split)
    })
}

/// `split_named(varchar) -> varchar`: null where a name says none.
pub fn split_named_udf() -> ScalarUDF {
    create_udf(
        "split_named",
        vec![DataType::Utf8],
        DataType::Utf8,
        Volatility::Immutable,
        Arc::new(|args| {
            let arrays = ColumnarValue::values_to_arrays(args)?;
            let names = arrays[0].as_string::<i32>().iter();
            let splits = names.map(|name| name.and_then(split_named).map(|split| split.name()));
            Ok(ColumnarValue::Array(Arc::new(splits.collect::<StringArray>())))
        }),
    )
}
