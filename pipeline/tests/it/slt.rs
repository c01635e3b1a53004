//! The files of sql/ on rows that are written out: every `.slt` of tests/slt runs in a session with empty tables of the
//! contracts' shape, the project's functions, and each SQL file as a view, its parameters set to small values.

use std::path::Path;
use std::sync::Arc;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};
use tuwen::corpus::{Rows, bare_session};
use tuwen::curate::{AUDITS, CaptionTokenizer, clean_caption_udf, near_udfs, tokenize_udf};
use tuwen::decode::decode_udf;
use tuwen::report::Progress;
use tuwen::settings::DecodeSettings;
use tuwen_schemas::{TABLES, schema};

/// The views, in the order in which they read each other. `replace` makes `examples_sql` of the file that fills a table.
const VIEWS: [(&str, &str); 11] = [
    ("pairs_sql", include_str!("../../../sql/pairs.sql")),
    ("fetch_urls", include_str!("../../../sql/fetch_urls.sql")),
    ("fetch_files", include_str!("../../../sql/fetch_files.sql")),
    ("decode_todo", include_str!("../../../sql/decode_todo.sql")),
    ("images_sql", include_str!("../../../sql/images.sql")),
    ("pair_images", include_str!("../../../sql/pair_images.sql")),
    ("captions", include_str!("../../../sql/captions.sql")),
    ("leaks", include_str!("../../../sql/leaks.sql")),
    ("examples_sql", include_str!("../../../sql/examples.sql")),
    ("rejects", include_str!("../../../sql/rejects.sql")),
    ("last_curation", include_str!("../../../sql/last_curation.sql")),
];

fn params() -> Vec<(&'static str, ScalarValue)> {
    vec![
        ("retry_failed", false.into()),
        ("first_seq", 0i64.into()),
        ("last_seq", 9i64.into()),
        ("size_px", 224i32.into()),
        ("min_chars", 2i64.into()),
        ("max_chars", 5i64.into()),
        ("placeholder_captions", 2i64.into()),
        ("near_bits", 3i64.into()),
        ("near_levels", 6.0f64.into()),
        ("max_length", 4i64.into()),
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
        let folder = tempfile::TempDir::new()?;
        let tokenizer = CaptionTokenizer::open(&crate::corpus::tokenizer(folder.path()), 4)?;
        ctx.register_udf(tokenize_udf(tokenizer));
        ctx.register_udf(clean_caption_udf());
        ctx.register_udf(decode_udf(DecodeSettings::default(), Progress::hidden()));
        near_udfs().into_iter().for_each(|udf| ctx.register_udf(udf));
        let audits = AUDITS.map(|(name, text)| (name, text));
        for (name, text) in VIEWS.into_iter().chain(audits) {
            let used = params().into_iter().filter(|(name, _)| text.contains(&format!("${name}")));
            let view = ctx.sql(text).await?.with_param_values(used.collect::<Vec<_>>())?;
            ctx.register_table(name, view.into_view())?;
        }
        Ok(Self(ctx))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failed(String);

#[async_trait::async_trait]
impl AsyncDB for Session {
    type Error = Failed;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failed> {
        let failed = |error: &dyn std::fmt::Display| Failed(error.to_string());
        let frame = self.0.sql(sql).await.map_err(|e| failed(&e))?;
        let types = vec![DefaultColumnType::Any; frame.schema().fields().len()];
        let batches = frame.collect().await.map_err(|e| failed(&e))?;
        let options = FormatOptions::default().with_null("NULL");
        let mut rows = Vec::new();
        for batch in &batches {
            let formatters: Vec<_> =
                batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
            for i in 0..batch.num_rows() {
                let cell = |f: &ArrayFormatter<'_>| match f.value(i).to_string() {
                    text if text.is_empty() => "(empty)".to_owned(),
                    text => text,
                };
                rows.push(formatters.iter().map(cell).collect());
            }
        }
        let is_insert = sql.trim_start().to_lowercase().starts_with("insert");
        Ok(match is_insert {
            true => DBOutput::StatementComplete(0),
            false => DBOutput::Rows { types, rows },
        })
    }

    async fn shutdown(&mut self) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sql_file_has_an_slt_and_passes_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt");
    let mut texts = String::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        texts.push_str(&std::fs::read_to_string(&path).unwrap());
        let mut runner = Runner::new(|| async { Session::new().await.map_err(|e| Failed(format!("{e:#}"))) });
        if let Err(error) = runner.run_file_async(&path).await {
            panic!("{}: {error}", path.display());
        }
    }
    for (name, _) in VIEWS.into_iter().chain(AUDITS) {
        assert!(texts.contains(&format!("from {name}")), "no .slt reads {name}");
    }
}
