//! The files of sql/ on rows that are written out: every `.slt` of tests/slt runs in a session with empty tables of the
//! contracts' shape, the project's functions, and each SQL file as a view, its parameters set to small values.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;
use tuwen::corpus::{Rows, bare_session};
use tuwen::curate::{AUDITS, CaptionTokenizer, clean_caption_udf, near_udfs, tokenize_udf};
use tuwen::decode::decode_udf;
use tuwen::report::Progress;
use tuwen::settings::DecodeSettings;
use tuwen_schemas::{TABLES, schema};

/// The views, in the order in which they read each other; a file that fills a table of its own name ends in `_sql`.
const VIEWS: [(&str, &str); 16] = [
    ("pairs_sql", include_str!("../../../sql/pairs.sql")),
    ("fetch_urls", include_str!("../../../sql/fetch_urls.sql")),
    ("fetch_files", include_str!("../../../sql/fetch_files.sql")),
    ("decode_todo", include_str!("../../../sql/decode_todo.sql")),
    ("images_sql", include_str!("../../../sql/images.sql")),
    ("pair_images", include_str!("../../../sql/pair_images.sql")),
    ("clean_captions", include_str!("../../../sql/clean_captions.sql")),
    ("leaks", include_str!("../../../sql/leaks.sql")),
    ("examples_sql", include_str!("../../../sql/examples.sql")),
    ("rejects", include_str!("../../../sql/rejects.sql")),
    ("stream_split", include_str!("../../../sql/stream_split.sql")),
    ("stream_selection", include_str!("../../../sql/stream_selection.sql")),
    ("references_sql", include_str!("../../../sql/references.sql")),
    ("last_curation", include_str!("../../../sql/last_curation.sql")),
    ("captions_asked", include_str!("../../../sql/captions_asked.sql")),
    ("beside_human_captions", include_str!("../../../sql/queries/beside_human_captions.sql")),
];

fn params() -> Vec<(&'static str, ScalarValue)> {
    vec![
        ("retry_failed", false.into()),
        ("attempts", 2i32.into()),
        ("first_seq", 0i64.into()),
        ("last_seq", 9i64.into()),
        ("size_px", 224i32.into()),
        ("min_chars", 2i64.into()),
        ("max_chars", 5i64.into()),
        ("placeholder_captions", 2i64.into()),
        ("near_bits", 3i64.into()),
        ("near_levels", 6.0f64.into()),
        ("max_length", 4i64.into()),
        ("split", "train".into()),
        ("model_id", "m1".into()),
        ("settings", "{}".into()),
        ("n_images", 2i64.into()),
    ]
}

struct Session(SessionContext);

impl Session {
    async fn new() -> anyhow::Result<Self> {
        let ctx = bare_session(Rows::Light)?;
        let empty = |name: &str| MemTable::try_new(schema(name), vec![Vec::new()]);
        for table in TABLES.iter() {
            ctx.register_table(table.name, Arc::new(empty(table.name)?))?;
        }
        ctx.register_table("incoming", Arc::new(empty("pairs")?))?;
        ctx.sql("create table decode_chunk (seq bigint)").await?.collect().await?;
        ctx.sql("create table asked_images (image_id varchar)").await?.collect().await?;
        let sampled = "create table sampled (example_id varchar, position bigint)";
        ctx.sql(sampled).await?.collect().await?;
        let folder = tempfile::TempDir::new()?;
        let tokenizer = CaptionTokenizer::open(&crate::corpus::tokenizer(folder.path()), 4)?;
        ctx.register_udf(tokenize_udf(tokenizer));
        ctx.register_udf(clean_caption_udf());
        ctx.register_udf(decode_udf(DecodeSettings::default(), Progress::hidden()));
        near_udfs().into_iter().for_each(|udf| ctx.register_udf(udf));
        for (name, text) in VIEWS.into_iter().chain(AUDITS) {
            let used = params().into_iter().filter(|(name, _)| text.contains(&format!("${name}")));
            let view = ctx.sql(text).await?.with_param_values(used.collect::<Vec<_>>())?;
            ctx.register_table(name, view.into_view())?;
        }
        Ok(Self(ctx))
    }
}

impl Session {
    /// The rows of `sql`, a line each; cells parted by blanks, NULL and (empty) written out.
    async fn rows(&self, sql: &str) -> anyhow::Result<Vec<String>> {
        let options = FormatOptions::default().with_null("NULL");
        let mut rows = Vec::new();
        for batch in &self.0.sql(sql).await?.collect().await? {
            let cells: Result<Vec<_>, _> = batch
                .columns()
                .iter()
                .map(|column| ArrayFormatter::try_new(column, &options))
                .collect();
            let cells = cells?;
            rows.extend((0..batch.num_rows()).map(|i| {
                let texts = cells.iter().map(|cell| match cell.value(i).to_string() {
                    text if text.is_empty() => "(empty)".to_owned(),
                    text => text,
                });
                texts.collect::<Vec<_>>().join(" ")
            }));
        }
        Ok(rows)
    }
}

/// Runs the records of a file, which are parted by empty lines: `statement ok` and a statement, or `query TYPES [rowsort]`,
/// a query, `----` and its rows. (The crate `sqllogictest` switches on features of DataFusion's dependencies, and everything
/// would be compiled a second time for the tests.)
async fn run_file(text: &str) -> anyhow::Result<()> {
    let session = Session::new().await?;
    for record in text.split("\n\n") {
        let record: Vec<&str> = record.lines().filter(|line| !line.starts_with('#')).collect();
        let Some((head, body)) = record.split_first() else { continue };
        if head.trim().is_empty() {
            continue;
        }
        if *head == "statement ok" {
            session.rows(&body.join("\n")).await.with_context(|| body.join("\n"))?;
            continue;
        }
        anyhow::ensure!(
            head.starts_with("query "),
            "expected `statement ok` or `query …`, found `{head}`"
        );
        let (query, expected) =
            body.split_at(body.iter().position(|line| *line == "----").context("no ----")?);
        let mut found = session.rows(&query.join("\n")).await.with_context(|| query.join("\n"))?;
        let mut expected: Vec<&str> = expected[1..].to_vec();
        if head.ends_with("rowsort") {
            found.sort();
            expected.sort_unstable();
        }
        anyhow::ensure!(
            found == expected,
            "{}\nexpected {expected:#?}\nfound {found:#?}",
            query.join("\n")
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sql_file_has_an_slt_and_passes_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt");
    let (mut texts, mut failed) = (String::new(), Vec::new());
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        if let Err(error) = run_file(&text).await {
            failed.push(format!("{}: {error:#}", path.display()));
        }
        texts.push_str(&text);
    }
    for (name, _) in VIEWS.into_iter().chain(AUDITS) {
        assert!(texts.contains(&format!("from {name}")), "no .slt reads {name}");
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
