//! The files of sql/ on rows that are written out: every `.slt` of tests/slt runs in a session with empty tables of the
//! contracts' shape, the project's functions, and each SQL file as one view or several, with parameters of its own. Files of
//! sql/queries are run as they are, for a view has no order.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use anyhow::{Context, Result};
use arrow::array::{Array, AsArray, BooleanArray};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::MemTable;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;
use tuwen_corpus::{AUDITS, Rows, bare_session};
use tuwen_etl::curate::{SplitRule, thumb_distance};
use tuwen_etl::named_split::split_named_udf;
use tuwen_etl::sql::register_functions;
use tuwen_schemas::{TABLES, schema};
use tuwen_settings::{CurateSettings, Settings};

/// Tokens of a caption, special tokens included.
const MAX_LENGTH: usize = 4;

/// Levels of 255 by which thumbnails and looks of near images may differ here on average.
const NEAR_LEVELS: f64 = 6.0;

/// What a change is worked out from besides the tables. `touched_pair_images` stands for `pair_images` of the touched pairs,
/// `judged_images` for `used_images` of the concerned ones, `made` for the examples of the concerned pairs, `images_at_hand` for
/// `at_hand` once the near changes are at hand, too.
const CHANGE_INPUTS: [&str; 4] = [
    "create table images_at_hand as select thumb, look from images",
    "create table touched_pair_images as select * from pair_images",
    "create table judged_images as select * from used_images",
    "create view examples_in_files as
     select *, 'part-' || coalesce(split, 'rejected') || '.parquet' as file from examples",
];

/// When the views of fetch are asked: at 2026-01-03T00:00:00Z.
const FETCH_NOW_US: i64 = 1_767_398_400_000_000;

const DAY_US: i64 = 86_400_000_000;

/// An SQL file as a view of the session.
struct View {
    name: &'static str,
    /// The file, without `sql/` and `.sql`.
    file: String,
    params: Vec<(&'static str, ScalarValue)>,
    /// Names in the file that stand for another table of the session, and that table.
    reads: Vec<(&'static str, &'static str)>,
    /// Functions in the file that say whether an image is near one of a view's, and that view.
    near: Vec<(&'static str, &'static str)>,
}

fn view(name: &'static str, file: impl Into<String>) -> View {
    View { name, file: file.into(), params: Vec::new(), reads: Vec::new(), near: Vec::new() }
}

impl View {
    fn param(mut self, name: &'static str, value: impl Into<ScalarValue>) -> Self {
        self.params.push((name, value.into()));
        self
    }

    fn reads(mut self, name: &'static str, table: &'static str) -> Self {
        self.reads.push((name, table));
        self
    }

    fn near(mut self, function: &'static str, view: &'static str) -> Self {
        self.near.push((function, view));
        self
    }
}

/// A list parameter.
fn texts(values: &[&str]) -> ScalarValue {
    let values: Vec<ScalarValue> = values.iter().map(|value| ScalarValue::from(*value)).collect();
    ScalarValue::List(ScalarValue::new_list_nullable(&values, &DataType::Utf8))
}

/// A timestamp parameter, in microseconds since 1970.
fn utc(us: Option<i64>) -> ScalarValue {
    ScalarValue::TimestampMicrosecond(us, Some("UTC".into()))
}

/// The views of the stages, in the order in which they read each other; a file that fills a table of its own name ends in
/// `_sql`.
fn stage_views() -> Vec<View> {
    let fetch_todo = |name, from_files: bool, retry: &[&str], asked_before: Option<i64>| {
        view(name, "fetch_todo")
            .param("from_files", from_files)
            .param("now", utc(Some(FETCH_NOW_US)))
            .param("due_since", utc(Some(0)))
            .param("may_pass", texts(&["timeout", "connect", "broken", "rate_limited"]))
            .param("uncounted", texts(&["rate_limited"]))
            .param("attempts", 3i64)
            .param("retry_all", retry.contains(&"all"))
            .param("retry", texts(retry))
            .param("refresh", retry.contains(&"refresh"))
            .param("asked_before", utc(asked_before))
            .param("first_seq", 1000i64)
    };
    vec![
        view("pairs_sql", "pairs"),
        fetch_todo("fetch_urls", false, &[], None),
        fetch_todo("fetch_files", true, &[], None),
        fetch_todo("fetch_urls_again", false, &["all"], None),
        fetch_todo("fetch_urls_404", false, &["http_status"], None),
        fetch_todo("fetch_urls_old_404", false, &["http_status"], Some(FETCH_NOW_US - DAY_US)),
        fetch_todo("fetch_urls_refreshed", false, &["refresh"], Some(FETCH_NOW_US - DAY_US)),
        view("fetch_due", "fetch_due")
            .param("now", utc(Some(FETCH_NOW_US)))
            .param("due_since", utc(Some(FETCH_NOW_US - 3 * DAY_US)))
            .param("may_pass", texts(&["timeout", "rate_limited"])),
        view("fetch_answered", "fetch_answered"),
        view("fetch_left_alone", "fetch_left_alone").param("now", utc(Some(FETCH_NOW_US))),
        view("fetch_outcomes", "fetch_outcomes").param("first_seq", 4i64),
        view("fetch_wave", "fetch_wave")
            .param("first_seq", 11i64)
            .param("attempts", 3i32)
            .param("until", utc(Some(FETCH_NOW_US + 1_000_000))),
        view("decode_todo", "decode_todo"),
        view("images_sql", "images")
            .param("first_seq", 0i64)
            .param("last_seq", 9i64)
            .param("size_px", 224i32)
            .param("filter", "bilinear")
            .param("speed", "exact")
            .param("oriented", false),
        view("decode_again", "decode_again").param("reasons", texts(&["corrupt", "truncated"])),
        view("changed_images", "changed_images"),
        view("rewritten_images", "rewritten_images")
            .reads("rewritten_files", "rewritten_image_files"),
        view("last_run", "last_run").param("stage", "curate"),
        view("answers", "answers"),
        view("pair_images", "pair_images"),
        view("shared_images", "shared_images"),
        view("placeholder_images", "placeholder_images").param("placeholder_captions", 2i64),
        view("clean_captions", "clean_captions").param("min_chars", 2i64).param("max_chars", 5i64),
        view("repeated_captions", "repeated_captions"),
        view("used_images", "used_images"),
        view("held_out_images", "held_out_images"),
        view("near_sources", "near_sources").param("split", "test"),
        view("near_sources_validation", "near_sources").param("split", "validation"),
        view("leaks", "leaks")
            .near("near_test_thumb", "near_sources")
            .near("near_test", "near_sources")
            .near("near_validation_thumb", "near_sources_validation")
            .near("near_validation", "near_sources_validation"),
        view("grouped_images", "grouped_images"),
        view("examples_sql", "examples"),
        view("rejects", "rejects"),
        view("hosts", "hosts"),
    ]
}

/// The views of sql/change.
fn change_views() -> Vec<View> {
    vec![
        view("touched_pairs", "change/touched_pairs"),
        view("touched_rows", "change/pair_rows").reads("pairs_at_hand", "touched_pairs"),
        view("originals_of_rows", "change/originals_of_rows").reads("pair_rows", "touched_rows"),
        view("concerned_images", "change/concerned_images")
            .reads("pair_images", "touched_pair_images"),
        view("concerned_pairs", "change/concerned_pairs"),
        view("concerned_rows", "change/pair_rows").reads("pairs_at_hand", "concerned_pairs"),
        view("image_rows", "change/image_rows"),
        view("near_images", "change/near_images").near("near_thumb", "images_at_hand"),
        view("near_examples", "change/near_examples"),
        view("used_before", "change/used_before"),
        view("held_out_changes", "change/held_out_changes").reads("used_images", "judged_images"),
        view("near_used", "change/near_used").reads("used_images", "judged_images"),
        view("held_out_images_now", "held_out_images").reads("used_images", "near_used"),
        view("near_sources_now", "near_sources")
            .param("split", "test")
            .reads("images", "near_images")
            .reads("held_out_images", "held_out_images_now"),
        view("near_validation_now", "near_sources")
            .param("split", "validation")
            .reads("images", "near_images")
            .reads("held_out_images", "held_out_images_now"),
        view("near_changes", "change/near_changes").near("near_change", "held_out_changes"),
        view("at_hand", "change/at_hand"),
        view("flipped", "change/flipped")
            .near("near_test", "near_sources_now")
            .near("near_validation", "near_validation_now"),
        view("old_examples", "change/old_examples"),
        view("changed_examples", "change/changed_examples"),
        view("rewritten", "change/rewritten"),
    ]
}

/// The views of those who read a corpus.
fn reader_views() -> Vec<View> {
    let mut views = vec![
        view("stream_split", "stream_split").param("split", "train"),
        view("stream_selection", "stream_selection").param("split", "train"),
        view("stream_scored", "stream_scored"),
        view("references_sql", "references").param("split", "train").param("n_images", 2i64),
        view("export_selection", "export_selection").param("splits", texts(&["train", "test"])),
        view("export_rows", "export_rows"),
        view("images_without_original", "images_without_original"),
        view("captions_asked", "captions_asked").param("model_id", "m1").param("settings", "{}"),
        view("scores_asked", "scores_asked").param("model_id", "m1").param("settings", "{}"),
        view("examples_to_score", "examples_to_score"),
        view("kept_pairs", "report/kept_pairs").param("shown", 2i64),
        view("rejected_pairs", "report/rejected_pairs").param("shown", 2i64),
        view("near_pictures", "report/near_pictures").param("groups", 1i64).param("shown", 2i64),
    ];
    views.extend(page_views());
    views.extend(AUDITS.map(|(name, _)| match name {
        "examples_have_tokens" => {
            view(name, format!("audits/{name}")).param("max_length", MAX_LENGTH as i64)
        }
        _ => view(name, format!("audits/{name}")),
    }));
    views
}

/// The views of the web page.
fn page_views() -> Vec<View> {
    let of_a = |name, file: &str| view(name, format!("page/{file}")).param("image_id", "a");
    let like = |name, pattern: &str| view(name, "page/captions_like").param("pattern", pattern);
    vec![
        like("page_captions_like", "%红%"),
        like("page_captions_like_red", "%rED 100\\%"),
        of_a("page_picture", "picture"),
        of_a("page_pairs", "picture_pairs").param("shown", 9i64),
        view("page_pair", "page/pair").param("example_id", "4"),
        of_a("page_attempts", "attempts")
            .param("locators", texts(&["http://a.cn/1", "file:f.jpg"]))
            .param("shown", 9i64),
        of_a("page_captions", "picture_captions"),
        of_a("page_scores", "picture_scores"),
        of_a("page_near", "near_candidates")
            .param("dhash", 0i64)
            .param("bits", 2i64)
            .param("shown", 9i64),
        of_a("page_differences", "near_differences").param("others", texts(&["b", "e", "d"])),
        of_a("page_original", "original"),
    ]
}

fn sql_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sql")
}

/// The text of a file of sql/.
fn sql_text(file: &str) -> Result<String> {
    let path = sql_folder().join(file).with_extension("sql");
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// The files of sql/, as [`View::file`] has them.
fn sql_files() -> Result<BTreeSet<String>> {
    let root = sql_folder();
    let (mut folders, mut files) = (vec![root.clone()], BTreeSet::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "sql") {
                let file = path.with_extension("");
                files.insert(file.strip_prefix(&root)?.display().to_string());
            }
        }
    }
    Ok(files)
}

/// Thumbnail and look of some images.
type Images = Arc<RwLock<Vec<[Option<Vec<u8>>; 2]>>>;

/// The images that a function of SQL compares others with: the rows of view `source`.
struct Near {
    source: &'static str,
    images: Images,
}

/// `name(thumb)` or `name(thumb, look) -> boolean`: whether all of that is nearly equal in one of `images`, by looking at each. The
/// rule is a simple one, for pictures of one pixel; that of tuwen_image wants whole thumbnails.
fn near_udf(name: &str, n_columns: usize, images: Images) -> ScalarUDF {
    create_udf(
        name,
        vec![DataType::Binary; n_columns],
        DataType::Boolean,
        Volatility::Volatile,
        Arc::new(move |args| {
            let arrays = ColumnarValue::values_to_arrays(args)?;
            let columns: Vec<_> = arrays.iter().map(|array| array.as_binary::<i32>()).collect();
            let images = images.read().unwrap();
            let is_equal = |a: Option<&[u8]>, b: Option<&[u8]>| match (a, b) {
                (Some(a), Some(b)) => thumb_distance(a, b) <= NEAR_LEVELS,
                (a, b) => a == b,
            };
            let is_near = |row: usize| {
                columns[0].is_valid(row)
                    && images.iter().any(|image| {
                        columns.iter().zip(image).all(|(column, other)| {
                            let value = column.is_valid(row).then(|| column.value(row));
                            is_equal(value, other.as_deref())
                        })
                    })
            };
            let near = (0..columns[0].len()).map(|row| Some(is_near(row)));
            Ok(ColumnarValue::Array(Arc::new(near.collect::<BooleanArray>())))
        }),
    )
}

/// `split_of` by a rule of which the `.slt` say what it gives.
fn split_udf() -> Result<ScalarUDF> {
    let split = "sql: split_hint".to_owned();
    SplitRule::of(&CurateSettings { split, ..CurateSettings::default() }, None)?.udf()
}

struct Session {
    ctx: SessionContext,
    near: Vec<Near>,
    /// Where the tokenizer lies.
    _tokenizer: tempfile::TempDir,
}

impl Session {
    async fn new() -> Result<Self> {
        let ctx = bare_session(Rows::Light)?;
        let empty = |name: &str| MemTable::try_new(schema(name), vec![Vec::new()]);
        for table in TABLES.iter() {
            ctx.register_table(table.name, Arc::new(empty(table.name)?))?;
        }
        for (name, table) in [
            ("new_pairs", "pairs"),
            ("new_originals", "originals"),
            ("new_images", "images"),
            ("made", "examples"),
            ("rewritten_files", "examples"),
            ("tried_images", "images"),
            ("rewritten_image_files", "images"),
        ] {
            ctx.register_table(name, Arc::new(empty(table)?))?;
        }
        for table in [
            "create table decode_chunk (seq bigint)",
            "create table near_groups (image_id varchar, near_group varchar)",
            "create table images_in_files (image_id varchar, reject_reason varchar, file varchar)",
            "create table asked_images (image_id varchar)",
            "create table asked_examples (example_id varchar)",
            "create table chunk_examples (example_id varchar)",
            "create table sampled (example_id varchar, position bigint)",
            "create table export_places (image_key decimal(38, 0), place bigint, bytes_len bigint)",
            "create table incoming as select *, pair_id as split_pair_id from pairs",
            "create table history (table_name varchar, version bigint, committed timestamp, operation varchar, stage varchar, run_id varchar)",
        ] {
            ctx.sql(table).await?.collect().await?;
        }
        let folder = tempfile::TempDir::new()?;
        let mut settings = Settings::default();
        settings.curate.tokenizer = crate::corpus::tokenizer(folder.path()).display().to_string();
        settings.curate.max_length = MAX_LENGTH;
        register_functions(&ctx, &settings)?;
        ctx.register_udf(split_udf()?);
        ctx.register_udf(split_named_udf());

        let mut session = Self { ctx, near: Vec::new(), _tokenizer: folder };
        session.register(stage_views()).await?;
        for input in CHANGE_INPUTS {
            session.rows(input).await.context(input)?;
        }
        session.register(change_views()).await?;
        session.register(reader_views()).await?;
        Ok(session)
    }

    async fn register(&mut self, views: Vec<View>) -> Result<()> {
        for view in views {
            let context = format!("sql/{}.sql as view `{}`", view.file, view.name);
            self.register_view(view).await.context(context)?;
        }
        Ok(())
    }

    async fn register_view(&mut self, view: View) -> Result<()> {
        for (function, source) in view.near {
            let near = Near { source, images: Images::default() };
            let n_columns = if function.ends_with("_thumb") { 1 } else { 2 };
            self.ctx.register_udf(near_udf(function, n_columns, Arc::clone(&near.images)));
            self.near.push(near);
        }
        let mut hidden = Vec::new();
        for (name, table) in view.reads {
            let table = self.ctx.table_provider(table).await?;
            hidden.push((name, self.ctx.deregister_table(name)?));
            self.ctx.register_table(name, table)?;
        }
        let rows = self.ctx.sql(&sql_text(&view.file)?).await?.with_param_values(view.params)?;
        for (name, table) in hidden {
            self.ctx.deregister_table(name)?;
            if let Some(table) = table {
                self.ctx.register_table(name, table)?;
            }
        }
        self.ctx.register_table(view.name, rows.into_view())?;
        Ok(())
    }

    /// Has the functions that look for near images compare with the rows that are there now.
    async fn look_at_near_images(&self) -> Result<()> {
        for near in &self.near {
            let sql = format!("select thumb, look from {}", near.source);
            let mut images = Vec::new();
            for batch in self.ctx.sql(&sql).await?.collect().await? {
                let columns = [0, 1].map(|i| batch.column(i).as_binary::<i32>());
                images.extend((0..batch.num_rows()).map(|row| {
                    columns.map(|column| column.is_valid(row).then(|| column.value(row).to_vec()))
                }));
            }
            *near.images.write().unwrap() = images;
        }
        Ok(())
    }

    /// The rows of `sql`, a line each; cells parted by blanks, NULL and (empty) written out.
    async fn rows(&self, sql: &str) -> Result<Vec<String>> {
        let options = FormatOptions::default().with_null("NULL");
        let mut rows = Vec::new();
        for batch in &self.ctx.sql(sql).await?.collect().await? {
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
/// a query or the name of its file, `----` and its rows. (The crate `sqllogictest` switches on features of DataFusion's
/// dependencies, and everything would be compiled a second time for the tests.)
async fn run_file(text: &str) -> Result<()> {
    let session = Session::new().await?;
    for record in text.split("\n\n") {
        let record: Vec<&str> = record.lines().filter(|line| !line.starts_with('#')).collect();
        let Some((head, body)) = record.split_first() else { continue };
        if head.trim().is_empty() {
            continue;
        }
        if *head == "statement ok" {
            session.rows(&body.join("\n")).await.with_context(|| body.join("\n"))?;
            session.look_at_near_images().await.with_context(|| body.join("\n"))?;
            continue;
        }
        anyhow::ensure!(
            head.starts_with("query "),
            "expected `statement ok` or `query …`, found `{head}`"
        );
        let end = body.iter().position(|line| *line == "----").context("no ----")?;
        let query = body[..end].join("\n");
        let mut found = match query_file(&query) {
            Some(file) => session.rows(&sql_text(file)?).await,
            None => session.rows(&query).await,
        }
        .with_context(|| query.clone())?;
        let mut expected: Vec<&str> = body[end + 1..].to_vec();
        if head.ends_with("rowsort") {
            found.sort();
            expected.sort_unstable();
        }
        anyhow::ensure!(found == expected, "{query}\nexpected {expected:#?}\nfound {found:#?}");
    }
    Ok(())
}

/// The file that a record names in the place of a query, as [`sql_files`] has it.
fn query_file(query: &str) -> Option<&str> {
    query.strip_prefix("sql/")?.strip_suffix(".sql")
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
    assert!(failed.is_empty(), "{}", failed.join("\n"));

    let mut run: BTreeSet<String> =
        texts.lines().filter_map(query_file).map(str::to_owned).collect();
    let words: Vec<&str> = texts.split_whitespace().collect();
    for view in [stage_views(), change_views(), reader_views()].into_iter().flatten() {
        let is_read = words.windows(2).any(|words| words == ["from", view.name]);
        assert!(is_read, "no .slt reads {}", view.name);
        run.insert(view.file);
    }
    let not_run: Vec<String> = sql_files().unwrap().difference(&run).cloned().collect();
    assert!(not_run.is_empty(), "files of sql/ that no .slt runs: {not_run:?}");
}
