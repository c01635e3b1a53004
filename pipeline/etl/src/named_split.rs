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

/// The same in Chinese, which has no blanks between words.
const CHINESE_WORDS: [(&str, Split); 3] =
    [("训练集", Split::Train), ("测试集", Split::Test), ("验证集", Split::Validation)];

/// Letters of Chinese, Japanese and Korean begin here; before are those of alphabets.
const FIRST_CJK: char = '\u{2e80}';

/// The split that the first word of [`WORDS`] in `name` says, or, if there is none, one of [`CHINESE_WORDS`].
pub(crate) fn split_named(name: &str) -> Option<Split> {
    // Chinese letters stand right beside Latin ones: 淘宝train.csv.
    let mut words = name.split(|c: char| !c.is_alphabetic() || c >= FIRST_CJK);
    let known =
        words.find_map(|word| WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)));
    let known = known.or_else(|| CHINESE_WORDS.iter().find(|(word, _)| name.contains(word)));
    known.map(|(_, split)| *split)
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
