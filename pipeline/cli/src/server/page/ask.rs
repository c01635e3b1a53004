//! The queries of `sql/page` that look for few rows in large tables. In: a query's name and parameters. Out: its rows; and the same
//! query as somebody may type it, with the values in it. They run on the rows that have to do with what they ask of, which stand at
//! known places (`places.rs`): the tables of the queries' sessions hold no others.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use arrow::array::{AsArray, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;
use moka::future::Cache;
use tuwen_corpus::TableVersions;
use tuwen_etl::sql::Session;

use super::fault::Fault;
use super::gallery::key_of;
use super::links;
use super::places::{Places, keys_in};
use crate::server::Served;

/// What the queries read of each table.
const EXAMPLES: [&str; 7] =
    ["example_id", "image_id", "split", "text", "n_tokens", "reject_reason", "near_group"];
const PAIRS: [&str; 7] =
    ["pair_id", "text", "url", "filename", "source", "source_line", "malformed"];
const IMAGES: [&str; 18] = [
    "image_id",
    "width",
    "height",
    "format",
    "color",
    "orientation",
    "frames",
    "dhash",
    "thumb",
    "look",
    "size_px",
    "codec",
    "pixels_crc32",
    "reject_reason",
    "detail",
    "filter",
    "speed",
    "oriented",
];
const ORIGINALS: [&str; 14] = [
    "seq",
    "locator",
    "image_id",
    "media_type",
    "outcome",
    "http_status",
    "detail",
    "attempt",
    "elapsed_ms",
    "bytes_len",
    "fetched_at",
    "next_try_at",
    "final_url",
    "address",
];
const CAPTIONS: [&str; 7] =
    ["image_id", "caption", "score", "model", "model_id", "settings", "captioned_at"];
const SCORES: [&str; 9] = [
    "image_id",
    "example_id",
    "text",
    "loss",
    "loss_without_image",
    "model",
    "model_id",
    "settings",
    "scored_at",
];

/// Near-identical images that are compared closely.
pub(super) const MOST_NEAR: usize = 24;

/// A query of a file, with values for its parameters.
pub(super) struct Query {
    pub(super) name: &'static str,
    pub(super) text: &'static str,
    pub(super) params: Vec<(&'static str, ScalarValue)>,
}

macro_rules! query {
    ($name:literal $(, $param:ident = $value:expr)* $(,)?) => {
        $crate::server::page::ask::Query {
            name: $name,
            text: include_str!(concat!("../../../../../../sql/page/", $name, ".sql")),
            params: vec![$((stringify!($param), datafusion::scalar::ScalarValue::from($value))),*],
        }
    };
}
pub(super) use query;

/// A row; what is null is not there.
pub(super) struct Row(BTreeMap<String, String>);

impl Row {
    pub(super) fn get(&self, column: &str) -> Option<&str> {
        self.0.get(column).map(String::as_str)
    }

    /// What is not null, and empty where it is.
    pub(super) fn text(&self, column: &str) -> &str {
        self.get(column).unwrap_or_default()
    }
}

/// The tables of a snapshot, in which few rows are found without asking all.
pub(super) struct Tables {
    session: Arc<Session>,
    examples: Places,
    pairs: Places,
    images: Places,
    originals: Places,
    captions: Places,
    scores: Places,
}

/// The tables of the newest snapshot, opened once.
pub(super) struct Seeker {
    served: Arc<Served>,
    opened: Cache<TableVersions, Arc<Tables>>,
    newest: Mutex<Option<Arc<Tables>>>,
}

impl Seeker {
    pub(super) fn new(served: Arc<Served>) -> Self {
        Self { served, opened: Cache::new(1), newest: Mutex::default() }
    }

    /// The tables of the newest snapshot.
    ///
    /// # Errors
    /// A table cannot be read.
    pub(super) async fn open(&self) -> Result<Arc<Tables>, Fault> {
        let session = self.served.session().await?;
        let snapshot = session.snapshot();
        let opened = self.opened.try_get_with(snapshot.versions(), async {
            let before = self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let before = before.as_deref();
            macro_rules! places {
                ($table:ident, $($column:literal),+) => {{
                    let before = before.map(|tables| &tables.$table);
                    Places::open(snapshot, stringify!($table), &[$($column),+], before).await?
                }};
            }
            let tables = Arc::new(Tables {
                session: Arc::clone(&session),
                examples: places!(examples, "image_id", "example_id"),
                pairs: places!(pairs, "pair_id"),
                images: places!(images, "image_id", "dhash"),
                originals: places!(originals, "image_id", "locator"),
                captions: places!(captions, "image_id"),
                scores: places!(scores, "image_id"),
            });
            *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&tables));
            anyhow::Ok(tables)
        });
        opened.await.map_err(|error| Fault::from(error.as_ref()))
    }
}

impl Tables {
    /// A session whose tables hold the rows that have to do with an image, and with the [`MOST_NEAR`] images whose hash differs least, by
    /// at most `near_bits`.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) async fn around_image(
        &self,
        image_id: &str,
        near_bits: u32,
    ) -> Result<SessionContext> {
        let key = key_of(image_id);
        let of_image = |column: usize, other: u64| column == 0 && other == key;
        let examples = self.examples.rows(&EXAMPLES, of_image).await?;
        let mut places = self.images.find(of_image);
        if let Some(own) = places.first() {
            let dhash = self.images.key(*own, 1);
            places.extend(self.images.nearest(1, dhash, near_bits, MOST_NEAR, &places));
        }
        let images = self.images.read(&IMAGES, places).await?;
        let captions = self.captions.rows(&CAPTIONS, of_image).await?;
        let scores = self.scores.rows(&SCORES, of_image).await?;
        let ids = keys_in(&examples, "example_id");
        let ctx = self.around_pairs(examples, &ids, Some(key)).await?;
        for (name, rows) in [("images", images), ("captions", captions), ("scores", scores)] {
            ctx.register_batch(name, rows)?;
        }
        Ok(ctx)
    }

    /// A session whose tables hold the rows that have to do with a pair.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) async fn around_pair(&self, example_id: &str) -> Result<SessionContext> {
        let key = key_of(example_id);
        let examples = self.examples.rows(&EXAMPLES, |column, other| column == 1 && other == key);
        self.around_pairs(examples.await?, &HashSet::from([key]), None).await
    }

    /// A session with the file of an image in the table `originals`.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) async fn file_of(&self, image_id: &str) -> Result<SessionContext> {
        let key = key_of(image_id);
        let shown = ["seq", "image_id", "bytes", "media_type"];
        let rows = self.originals.rows(&shown, |column, other| column == 0 && other == key);
        let ctx = self.ctx()?;
        ctx.register_batch("originals", rows.await?)?;
        Ok(ctx)
    }

    async fn around_pairs(
        &self,
        examples: RecordBatch,
        ids: &HashSet<u64>,
        image: Option<u64>,
    ) -> Result<SessionContext> {
        let pairs = self.pairs.rows(&PAIRS, |_, key| ids.contains(&key)).await?;
        let mut locators = keys_in(&pairs, "url");
        let names = pairs.column_by_name("filename").map(|names| names.as_string::<i32>());
        let names = names.into_iter().flatten().flatten();
        locators.extend(names.map(|name| key_of(&format!("file:{name}"))));
        let originals = self.originals.rows(&ORIGINALS, |column, key| match column {
            0 => image == Some(key),
            _ => locators.contains(&key),
        });
        let originals = originals.await?;
        let ctx = self.ctx()?;
        for (name, rows) in [("examples", examples), ("pairs", pairs), ("originals", originals)] {
            ctx.register_batch(name, rows)?;
        }
        Ok(ctx)
    }

    /// A session with the functions of the other, and tables of its own.
    fn ctx(&self) -> Result<SessionContext> {
        let apart = self.session.over(self.session.snapshot().clone())?;
        Ok(SessionContext::new_with_state(apart.state()))
    }
}

impl Query {
    /// Its rows.
    ///
    /// # Errors
    /// The query fails.
    pub(super) async fn rows(&self, ctx: &SessionContext) -> Result<Vec<Row>> {
        let context = || format!("sql/page/{}.sql", self.name);
        let frame = ctx.sql(self.text).await.with_context(context)?;
        let frame = frame.with_param_values(self.params.clone()).with_context(context)?;
        let options = FormatOptions::default();
        let mut rows = Vec::new();
        for batch in Box::pin(frame.collect()).await.with_context(context)? {
            let schema = batch.schema();
            let cells =
                batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options));
            let cells = cells.collect::<Result<Vec<_>, _>>()?;
            for i in 0..batch.num_rows() {
                let columns = schema.fields().iter().zip(batch.columns()).zip(&cells);
                let there = columns.filter(|((_, column), _)| column.is_valid(i));
                let row = there
                    .map(|((field, _), cell)| (field.name().clone(), cell.value(i).to_string()));
                rows.push(Row(row.collect()));
            }
        }
        Ok(rows)
    }

    /// As it may be typed.
    pub(super) fn typed(&self) -> String {
        let lines = self.text.lines().filter(|line| !line.starts_with("--"));
        let mut text = lines.collect::<Vec<_>>().join("\n");
        for (name, value) in &self.params {
            text = text.replace(&format!("${name}"), &literal(value));
        }
        text.push(';');
        text
    }
}

fn literal(value: &ScalarValue) -> String {
    match value {
        value if value.is_null() => "null".to_owned(),
        ScalarValue::Utf8(Some(text)) => links::literal(text),
        ScalarValue::List(list) => {
            let values =
                (0..list.value(0).len()).map(|i| ScalarValue::try_from_array(&list.value(0), i));
            let values: Vec<String> = values.flatten().map(|value| literal(&value)).collect();
            format!("make_array({})", values.join(", "))
        }
        value => value.to_string(),
    }
}

/// A list of texts as a parameter.
pub(super) fn texts(values: &[String]) -> ScalarValue {
    let values: Vec<ScalarValue> =
        values.iter().map(|value| ScalarValue::from(value.as_str())).collect();
    ScalarValue::List(ScalarValue::new_list_nullable(&values, &arrow::datatypes::DataType::Utf8))
}

#[cfg(test)]
mod tests {
    use tuwen_schemas::schema;

    use super::*;

    #[test]
    fn all_of_a_picture_is_read_but_its_pixels() {
        let images = schema("images");
        let names = images.fields().iter().map(|field| field.name().as_str());
        let expected: Vec<&str> = names.filter(|name| *name != "pixels").collect();
        assert_eq!(IMAGES.to_vec(), expected);
    }
}
