//! The rule that puts pairs into splits. In: the settings, and the rule of the corpus's last curation. Out: the rule in force, and a
//! function for SQL that applies it. A rule looks at one pair and its image alone, so what comes later moves no pair to another split.
//! Never decides about leaks.

use std::fmt;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::TreeNode;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarUDF, Volatility, create_udf};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::prelude::{SessionContext, col, lit};
use serde_json::{Value, json};
use tuwen_corpus::{LastRun, Rows, bare_session};
use tuwen_settings::{CurateSettings, Shares, Split, WrongSetting};

use crate::bound::saying;
use crate::named_split::split_named;

/// What a rule may look at, in the order of the function's arguments; `image_id` is null where nothing was got.
const COLUMNS: [(&str, DataType); 7] = [
    ("text", DataType::Utf8),
    ("url", DataType::Utf8),
    ("filename", DataType::Utf8),
    ("split_hint", DataType::Utf8),
    ("source", DataType::Utf8),
    ("source_line", DataType::Int64),
    ("image_id", DataType::Utf8),
];

/// Hex digits of an image's id that say where it lies between 0 and 1.
const HASH_DIGITS: usize = 8;

/// A rule.
#[derive(Clone, Debug, PartialEq)]
pub struct SplitRule {
    kind: Kind,
    shares: Shares,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// As the source's name says, else as the file's name says, else by the hash of the image.
    Auto,
    /// As the source's name says, else train.
    Source,
    /// The original's: train if the file name (the URL where there is none) contains "train", else test.
    Filename,
    /// By the hash of the image.
    Hash,
    /// An SQL expression.
    Sql(String),
}

impl SplitRule {
    /// The rule that `settings` say; of what they leave open, that of `last`, the corpus's last curation. A corpus that was curated
    /// before there was a choice has the original's.
    ///
    /// # Errors
    /// [`WrongSetting`]: an SQL expression does not plan, or gives something else the next time.
    pub fn of(settings: &CurateSettings, last: Option<&LastRun>) -> Result<Self> {
        Ok(Self::told(settings, last).map_err(WrongSetting::of)?)
    }

    fn told(settings: &CurateSettings, last: Option<&LastRun>) -> Result<Self> {
        let new = Self { kind: Kind::Auto, shares: Shares::default() };
        let mut rule = last.and_then(recorded).unwrap_or(new);
        if settings.split != "kept" {
            rule.kind = Kind::of(&settings.split)?;
        }
        if !settings.split_shares.is_empty() {
            if settings.split == "kept" && !rule.kind.has_shares() {
                bail!(
                    "curate.split_shares: expected a rule with shares (auto or hash), found {rule}, the corpus's own\n\
                     hint: --split hash"
                );
            }
            rule.shares = Shares::parse(&settings.split_shares).with_context(|| {
                format!("curate.split_shares: expected shares, found {}", settings.split_shares)
            })?;
        }
        if let Kind::Sql(expression) = &rule.kind {
            planned(expression)?;
        }
        Ok(rule)
    }

    /// What a person is to be told whose corpus was last curated by another rule, in `last`, or with other shares.
    pub(super) fn change_since(&self, last: &LastRun) -> Option<String> {
        let before = recorded(last).filter(|before| before.to_string() != self.to_string())?;
        let may = "pairs may change their split";
        Some(match before.kind == self.kind {
            true => format!(
                "curate.split_shares: the corpus was split with {}, from now on it is with {}: {may}",
                before.shares, self.shares
            ),
            false => format!(
                "curate.split: the corpus was split by {before}, from now on it is by {self}: {may}"
            ),
        })
    }

    /// `settings` with this rule in the place of what was said, as it is recorded with a run.
    pub(super) fn recorded_in(&self, settings: CurateSettings) -> CurateSettings {
        let split_shares = self.shares.to_string();
        CurateSettings { split: self.kind.name(), split_shares, ..settings }
    }

    /// `split_of(text, url, filename, split_hint, source, source_line, image_id) -> varchar`.
    ///
    /// # Errors
    /// As [`SplitRule::of`].
    pub fn udf(&self) -> Result<ScalarUDF> {
        let types = COLUMNS.map(|(_, data_type)| data_type).to_vec();
        let (rule, planned) = (self.clone(), self.planned()?);
        let said = (self.kind.name(), self.shares.to_string());
        let function = create_udf(
            "split_of",
            types,
            DataType::Utf8,
            Volatility::Immutable,
            Arc::new(move |args| {
                let arrays = ColumnarValue::values_to_arrays(args)?;
                let splits = match &planned {
                    Some(planned) => evaluate(planned.as_ref(), arrays)?,
                    None => Arc::new(rule.apply(&arrays)),
                };
                Ok(ColumnarValue::Array(splits))
            }),
        );
        Ok(saying(function, move || json!({ "split": said })))
    }

    fn planned(&self) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        match &self.kind {
            Kind::Sql(expression) => planned(expression).map(Some),
            _ => Ok(None),
        }
    }

    fn apply(&self, columns: &[ArrayRef]) -> StringArray {
        let texts = |i: usize| columns[i].as_string::<i32>().iter();
        let rows = texts(1).zip(texts(2)).zip(texts(4)).zip(texts(6));
        rows.map(|(((url, filename), source), image)| {
            Some(self.split(url, filename, source, image).name())
        })
        .collect()
    }

    /// The split of a pair.
    fn split(
        &self,
        url: Option<&str>,
        filename: Option<&str>,
        source: Option<&str>,
        image_id: Option<&str>,
    ) -> Split {
        let said = |name: Option<&str>| name.and_then(split_named);
        let hashed = || image_id.map_or(Split::Train, |id| split_by_hash(id, self.shares));
        match self.kind {
            Kind::Source => said(source).unwrap_or(Split::Train),
            Kind::Hash => hashed(),
            Kind::Filename if filename.or(url).is_some_and(|name| name.contains("train")) => {
                Split::Train
            }
            Kind::Filename => Split::Test,
            Kind::Auto | Kind::Sql(_) => said(source).or(said(filename)).unwrap_or_else(hashed),
        }
    }

    /// Checks that each faultless pair has a split; only an expression may have given something else.
    ///
    /// # Errors
    /// One has not.
    pub(super) async fn check(&self, ctx: &SessionContext) -> Result<()> {
        if !matches!(self.kind, Kind::Sql(_)) {
            return Ok(());
        }
        let splits = Split::ALL.map(|split| lit(split.name())).to_vec();
        let is_none = col("split").is_null().or(col("split").in_list(splits, true));
        let found = ctx
            .table("clean_captions")
            .await?
            .filter(col("fault").is_null().and(is_none))?
            .select_columns(&["source", "source_line", "split"])?
            .limit(0, Some(1))?
            .collect()
            .await?;
        let Some(row) = found.iter().find(|batch| batch.num_rows() > 0) else { return Ok(()) };
        let text = |i: usize| -> Result<String> {
            let column = cast(row.column(i), &DataType::Utf8)?;
            Ok(column.as_string::<i32>().iter().next().flatten().unwrap_or("null").to_owned())
        };
        bail!(
            "curate.split: expected train, validation or test for every pair, found `{}` for {} line {}\n\
             hint: sql: case when … then 'test' else 'train' end",
            text(2)?,
            text(0)?,
            text(1)?
        )
    }
}

/// Name and shares, where it has some.
impl fmt::Display for SplitRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind.name())?;
        if self.kind.has_shares() {
            write!(f, " ({})", self.shares)?;
        }
        Ok(())
    }
}

impl Kind {
    fn of(name: &str) -> Result<Self> {
        Ok(match name {
            "auto" => Self::Auto,
            "source" => Self::Source,
            "filename" => Self::Filename,
            "hash" => Self::Hash,
            other => {
                let expression = other.strip_prefix("sql:");
                let expression = expression
                    .with_context(|| format!("curate.split: expected a rule, found {other}"))?;
                Self::Sql(expression.trim().to_owned())
            }
        })
    }

    fn has_shares(&self) -> bool {
        matches!(self, Self::Auto | Self::Hash)
    }

    fn name(&self) -> String {
        match self {
            Self::Auto => "auto".to_owned(),
            Self::Source => "source".to_owned(),
            Self::Filename => "filename".to_owned(),
            Self::Hash => "hash".to_owned(),
            Self::Sql(expression) => format!("sql: {expression}"),
        }
    }
}

/// The rule that a run of curate recorded.
fn recorded(last: &LastRun) -> Option<SplitRule> {
    let all: Value = serde_json::from_str(&last.settings).ok()?;
    let settings = all.get("settings")?;
    let text = |name: &str| settings.get(name).and_then(Value::as_str);
    let shares = text("split_shares").and_then(Shares::parse).unwrap_or_default();
    let kind = text("split").map_or(Some(Kind::Filename), |name| Kind::of(name).ok())?;
    Some(SplitRule { kind, shares })
}

/// The split of an image by the first 32 bits of its id, which is a hash of its bytes.
fn split_by_hash(image_id: &str, shares: Shares) -> Split {
    let digits =
        image_id.get(..HASH_DIGITS).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let Some(place) = digits else { return Split::Train };
    let place = f64::from(place) / (f64::from(u32::MAX) + 1.0);
    if place < shares.test {
        Split::Test
    } else if place < shares.test + shares.validation || shares.train == 0.0 {
        Split::Validation
    } else {
        Split::Train
    }
}

/// The columns as a schema.
fn schema() -> Schema {
    let fields = COLUMNS.map(|(name, data_type)| Field::new(name, data_type, true));
    Schema::new(fields.to_vec())
}

/// An SQL expression over the columns, ready to be evaluated.
fn planned(expression: &str) -> Result<Arc<dyn PhysicalExpr>> {
    let ctx = bare_session(Rows::Light)?;
    let schema = DFSchema::try_from(schema())?;
    let what = || format!("curate.split: expected an SQL expression, found `{expression}`");
    // DataFusion's error says what its sources say again.
    let wrong = |error: DataFusionError| anyhow!("{}: {error}", what());
    let expr = ctx.parse_sql_expr(expression, &schema).map_err(wrong)?;
    let is_other_each_time = expr.exists(|part| {
        Ok(match part {
            Expr::ScalarFunction(call) => call.func.signature().volatility != Volatility::Immutable,
            _ => false,
        })
    })?;
    if is_other_each_time {
        bail!("{}, which gives another split the next time", what());
    }
    ctx.create_physical_expr(expr, &schema).map_err(wrong)
}

fn evaluate(
    expression: &dyn PhysicalExpr,
    columns: Vec<ArrayRef>,
) -> datafusion::common::Result<ArrayRef> {
    let n_rows = columns.first().map_or(0, |column| column.len());
    let batch = RecordBatch::try_new(Arc::new(schema()), columns)?;
    let values = expression.evaluate(&batch)?.into_array(n_rows)?;
    Ok(cast(&values, &DataType::Utf8)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(split: &str, split_shares: &str) -> CurateSettings {
        CurateSettings {
            split: split.to_owned(),
            split_shares: split_shares.to_owned(),
            ..CurateSettings::default()
        }
    }

    fn last(settings: &str) -> LastRun {
        LastRun { settings: settings.to_owned(), started_us: 0, versions: Default::default() }
    }

    const QUARTERS: &str = "train=0.5,validation=0.25,test=0.25";

    /// Pairs (source, file name, URL, image id) and their splits by the rules in turn: auto, source, filename, hash; the shares of test
    /// and validation are a quarter each.
    #[test]
    fn splits() {
        let rules = ["auto", "source", "filename", "hash"]
            .map(|rule| SplitRule::of(&settings(rule, QUARTERS), None).unwrap());
        let (test, validation, train) = ("3fffffff", "7fffffff", "80000000");
        for (source, filename, url, image, expected) in [
            ("train.csv", Some("0000.jpg"), None, test, "train train test test"),
            ("test.csv", Some("test/train_station.jpg"), None, train, "test test train train"),
            ("val2017.tsv", Some("a.jpg"), None, train, "validation validation test train"),
            (
                "Validation_GCC-1.1.0-Validation.tsv",
                None,
                Some("u"),
                train,
                "validation validation test train",
            ),
            ("wukong_test.csv", None, Some("u"), validation, "test test test validation"),
            ("dev.jsonl", None, Some("u"), test, "validation validation test test"),
            ("crawl.csv", Some("train-1.jpg"), None, test, "train train train test"),
            ("crawl.csv", Some("test/train_station.jpg"), None, train, "test train train train"),
            ("crawl.csv", Some("a/val/1.jpg"), Some("train"), train, "validation train test train"),
            ("crawl.csv", Some("latest.jpg"), None, validation, "validation train test validation"),
            (
                "contest.csv",
                None,
                Some("http://trains.cn/test.jpg"),
                train,
                "train train train train",
            ),
            ("测试.csv", Some("图.jpg"), None, "00000000", "test train test test"),
            ("淘宝train.csv", Some("图.jpg"), None, test, "train train test test"),
            ("crawl.csv", Some("château-bréval.jpg"), None, train, "train train test train"),
            ("val集.csv", Some("图.jpg"), None, train, "validation validation test train"),
            ("测试集.csv", Some("图.jpg"), None, train, "test test test train"),
            ("crawl.csv", None, None, "40000000", "validation train test validation"),
            ("crawl.csv", None, None, "不是十六进制数字吧", "train train test train"),
        ] {
            let found = rules
                .each_ref()
                .map(|rule| rule.split(url, filename, Some(source), Some(image)).name());
            assert_eq!(found.join(" "), expected, "{source} {filename:?} {url:?}");
        }
    }

    #[test]
    fn a_share_of_all_is_all() {
        for (shares, expected) in
            [("train=1", "train"), ("validation=1", "validation"), ("test=1", "test")]
        {
            let shares = Shares::parse(shares).unwrap();
            for id in ["00000000", "7fffffff", "ffffffff"] {
                assert_eq!(split_by_hash(id, shares).name(), expected);
            }
        }
    }

    #[test]
    fn what_is_not_said_is_kept() {
        let before = last("{\"settings\":{\"min_chars\":2}}");
        let hash = last(&format!(
            "{{\"settings\":{{\"split\":\"hash\",\"split_shares\":\"{QUARTERS}\"}}}}"
        ));
        let default = "train=0.98,validation=0.01,test=0.01";
        for (split, shares, last, expected) in [
            ("kept", "", None, format!("auto ({default})")),
            ("kept", "", Some(&before), "filename".to_owned()),
            ("kept", "", Some(&hash), format!("hash ({QUARTERS})")),
            ("hash", "", Some(&hash), format!("hash ({QUARTERS})")),
            ("auto", "train=1", Some(&hash), "auto (train=1,validation=0,test=0)".to_owned()),
            ("hash", "", None, format!("hash ({default})")),
            ("sql: 'train'", "", Some(&before), "sql: 'train'".to_owned()),
        ] {
            let rule = SplitRule::of(&settings(split, shares), last).unwrap();
            assert_eq!(rule.to_string(), expected);
            // As it is recorded it is kept.
            let recorded = rule.recorded_in(CurateSettings::default());
            let json = serde_json::json!({ "settings": recorded }).to_string();
            let kept = SplitRule::of(&settings("kept", ""), Some(&self::last(&json))).unwrap();
            assert_eq!(kept, rule);
        }
    }

    #[test]
    fn one_thing_is_said_of_a_change() {
        let before = last("{\"settings\":{\"min_chars\":2}}");
        let hash = last(&format!(
            "{{\"settings\":{{\"split\":\"hash\",\"split_shares\":\"{QUARTERS}\"}}}}"
        ));
        let changed = |split: &str, shares: &str, last: &LastRun| {
            SplitRule::of(&settings(split, shares), Some(last)).unwrap().change_since(last)
        };
        assert_eq!(changed("kept", "", &hash), None);
        assert_eq!(changed("hash", QUARTERS, &hash), None);
        // The rule does not look at them.
        assert_eq!(changed("filename", "train=1", &before), None);
        assert_eq!(
            changed("kept", "train=1", &hash).unwrap(),
            format!(
                "curate.split_shares: the corpus was split with {QUARTERS}, from now on it is with \
                 train=1,validation=0,test=0: pairs may change their split"
            )
        );
        let by_name = changed("source", "", &hash).unwrap();
        assert!(by_name.starts_with("curate.split: the corpus was split by hash ("), "{by_name}");
        assert!(by_name.contains(", from now on it is by source: "), "{by_name}");
        let refused = SplitRule::of(&settings("kept", "train=1"), Some(&before)).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "curate.split_shares: expected a rule with shares (auto or hash), found filename, the corpus's own\n\
             hint: --split hash"
        );
    }

    #[test]
    fn expressions_that_do_not_hold_are_refused() {
        for (expression, expected) in [
            ("case when", "curate.split: expected an SQL expression, found `case when`"),
            ("no_such_column", "curate.split: expected an SQL expression"),
            ("count(text)", "curate.split: expected an SQL expression"),
            ("(select 'train')", "curate.split: expected an SQL expression"),
            (
                "case when random() < 0.5 then 'train' else 'test' end",
                "another split the next time",
            ),
            ("cast(now() as varchar)", "another split the next time"),
        ] {
            let rule = SplitRule::of(&settings(&format!("sql: {expression}"), ""), None);
            let error =
                format!("{:#}", rule.err().unwrap_or_else(|| anyhow!("none: {expression}")));
            assert!(error.contains(expected), "{error}");
        }
    }
}
