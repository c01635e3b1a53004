//! Tables and views: what a row is, what each column means, how many rows, bytes and files, and which commits there were. In: a
//! session. Out: a page of which each name leads to the box of SQL.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{Array, AsArray};
use axum::extract::State;
use axum::response::Html;
use indicatif::{BinaryBytes, HumanCount};
use maud::{Markup, html};
use tuwen_corpus::TableSize;
use tuwen_etl::sql::Session;
use tuwen_schemas::TABLES;

use super::answers::{Answer, Answers};
use super::fault::Fault;
use super::lang::Lang;
use super::layout::{Tab, page};
use super::links::to_sql;
use crate::sql::commands::columns;

const CHANGES: &str = include_str!("../../../../../sql/page/last_changes.sql");
const COMMITS: &str = include_str!("../../../../../sql/page/last_commits.sql");
const RUNS: &str = include_str!("../../../../../sql/report/recent_runs.sql");
const ALL_COMMITS: &str = include_str!("../../../../../sql/queries/commits.sql");
const ALL_RUNS: &str = include_str!("../../../../../sql/queries/history.sql");

/// A table or view as the page shows it.
struct Shown {
    name: &'static str,
    comment: String,
    /// None for a view, or a table that is not there yet.
    version: Option<i64>,
    is_table: bool,
    size: TableSize,
    last_change: String,
    columns: Vec<Column>,
}

struct Column {
    name: String,
    data_type: String,
    /// `key`, `not null`, or nothing.
    mark: String,
    meaning: String,
}

/// `/tables`.
pub(super) async fn tables(
    State(answers): State<Arc<Answers>>,
    lang: Lang,
) -> Result<Html<String>, Fault> {
    let session = answers.session().await?;
    let changes = answers.answer(CHANGES).await?;
    let mut all = Vec::new();
    for name in Session::tables() {
        all.push(shown(&session, name, &changes).await?);
    }
    let (commits, runs) = (answers.answer(COMMITS).await?, answers.answer(RUNS).await?);
    let body = html! {
        (overview(&all, lang))
        @for table in &all { (of_table(table, lang)) }
        section id="commits" {
            h2 { (lang.say("Commits", "提交")) }
            p {
                (lang.say("The last 30. Each version can be read: ", "最近 30 次。每个版本都可读取：")) code { "images@v3" } " · "
                a href=(to_sql(ALL_COMMITS)) { (lang.say("all of them", "全部")) }
            }
            div.scroll { (of_commits(&commits)) }
        }
        section id="runs" {
            h2 { (lang.say("Runs", "运行")) }
            p { (lang.say("The last 20.", "最近 20 次。")) " " a href=(to_sql(ALL_RUNS)) { (lang.say("all of them", "全部")) } }
            div.scroll { (of_runs(&runs)) }
        }
    };
    Ok(page(lang, Tab::Tables, lang.say("Tables", "数据表"), &body))
}

async fn shown(session: &Session, name: &'static str, changes: &Answer) -> Result<Shown> {
    let is_table = TABLES.iter().any(|table| table.name == name);
    let snapshot = session.snapshot();
    let size = if is_table { snapshot.size(name)? } else { None };
    let described = Box::pin(columns(session, name, true)).await?;
    let text = |column: usize, row: usize| {
        let texts = described.column(column).as_string::<i32>();
        if texts.is_null(row) { String::new() } else { texts.value(row).to_owned() }
    };
    let columns = (0..described.num_rows()).map(|row| Column {
        name: text(0, row),
        data_type: text(1, row),
        mark: text(2, row),
        meaning: text(3, row),
    });
    let change = changes.rows.iter().find(|row| changes.text(row, "table_name") == name);
    Ok(Shown {
        name,
        comment: Session::comment(name).unwrap_or_default(),
        version: if is_table { snapshot.version(name) } else { None },
        is_table,
        size: size.unwrap_or_default(),
        last_change: change.map_or_else(String::new, |row| time(changes.text(row, "committed"))),
        columns: columns.collect(),
    })
}

fn overview(all: &[Shown], lang: Lang) -> Markup {
    let (files, bytes) = all
        .iter()
        .fold((0, 0), |(files, bytes), table| (files + table.size.files, bytes + table.size.bytes));
    html! {
        div.scroll {
            table {
                thead { tr {
                    th scope="col" { (lang.say("name", "名称")) }
                    th scope="col" { (lang.say("a row is", "一行是什么")) }
                    th.number scope="col" { (lang.say("rows", "行数")) }
                    th.number scope="col" { (lang.say("bytes", "字节")) }
                    th.number scope="col" { (lang.say("files", "文件")) }
                    th.number scope="col" { (lang.say("version", "版本")) }
                    th scope="col" { (lang.say("last change, UTC", "最近改动，UTC")) }
                } }
                tbody {
                    @for table in all {
                        tr {
                            th scope="row" { a href={ "#" (table.name) } { code { (table.name) } } }
                            td { (first_sentence(&table.comment)) }
                            @match table.version {
                                Some(version) => {
                                    td.number { (HumanCount(table.size.rows)) }
                                    td.number { (BinaryBytes(table.size.bytes)) }
                                    td.number { (HumanCount(table.size.files)) }
                                    td.number { (version) }
                                    td { (table.last_change) }
                                }
                                None => td colspan="5" { (if table.is_table { lang.say("not there yet", "尚未创建") } else { lang.say("view", "视图") }) }
                            }
                        }
                    }
                }
                tfoot { tr {
                    th scope="row" colspan="3" { (lang.say("all tables", "合计")) }
                    td.number { (BinaryBytes(bytes)) } td.number { (HumanCount(files)) } td colspan="2" {}
                } }
            }
        }
    }
}

fn of_table(table: &Shown, lang: Lang) -> Markup {
    // Whole pictures are many bytes; their ids lead to them.
    let light: Vec<&str> = table
        .columns
        .iter()
        .filter(|column| column.data_type != "binary")
        .map(|column| column.name.as_str())
        .collect();
    let some = match light.len() == table.columns.len() {
        true => format!("select *\nfrom {}\nlimit 100", table.name),
        false => format!("select {}\nfrom {}\nlimit 100", light.join(", "), table.name),
    };
    html! {
        section.schema id=(table.name) {
            h2 { code { (table.name) } }
            p { (table.comment) }
            p { a href=(to_sql(&some)) { (lang.say("Look at rows", "看看各行")) } }
            div.scroll {
                table {
                    thead { tr {
                        th scope="col" { (lang.say("column", "列")) }
                        th scope="col" { (lang.say("type", "类型")) }
                        th scope="col" { span.faint.small { (lang.say("key, null", "键、空值")) } }
                        th scope="col" { (lang.say("meaning", "含义")) }
                    } }
                    tbody {
                        @for column in &table.columns {
                            tr {
                                th scope="row" { code { (column.name) } }
                                td { code { (column.data_type) } }
                                td.faint.small { (column.mark) }
                                td { (column.meaning) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn of_commits(answer: &Answer) -> Markup {
    html! {
        table {
            thead { tr {
                th scope="col" { "table" } th.number scope="col" { "version" } th scope="col" { "committed, UTC" }
                th scope="col" { "operation" } th scope="col" { "stage" }
                th.number scope="col" { "rows in" } th.number scope="col" { "rows out" } th scope="col" { "run" }
            } }
            tbody {
                @for row in &answer.rows {
                    @let (name, version) = (answer.text(row, "table_name"), answer.text(row, "version"));
                    tr {
                        td { code { (name) } }
                        td.number { a href=(to_sql(&format!("select count(*) as rows\nfrom {name}@v{version}"))) { (version) } }
                        td { (time(answer.text(row, "committed_utc"))) }
                        td { (answer.text(row, "operation")) }
                        td { (answer.text(row, "stage")) }
                        td.number { (with_commas(answer.text(row, "rows_in"))) }
                        td.number { (with_commas(answer.text(row, "rows_out"))) }
                        td { code { (answer.text(row, "run_id").get(..13).unwrap_or_default()) } }
                    }
                }
            }
        }
    }
}

fn of_runs(answer: &Answer) -> Markup {
    html! {
        table {
            thead { tr {
                th scope="col" { "stage" } th scope="col" { "started, UTC" } th.number scope="col" { "seconds" } th scope="col" { "outcome" }
                th.number scope="col" { "rows in" } th.number scope="col" { "rows out" } th scope="col" { "error" }
            } }
            tbody {
                @for row in &answer.rows {
                    tr {
                        td { (answer.text(row, "stage")) }
                        td { (time(answer.text(row, "started_utc"))) }
                        td.number { (answer.text(row, "seconds")) }
                        td { (answer.text(row, "outcome")) }
                        td.number { (with_commas(answer.text(row, "rows_in"))) }
                        td.number { (with_commas(answer.text(row, "rows_out"))) }
                        td { (answer.text(row, "error")) }
                    }
                }
            }
        }
    }
}

/// What comes before the first full stop that ends a sentence.
fn first_sentence(text: &str) -> &str {
    text.split_once(". ").map_or(text, |(first, _)| first).trim_end_matches('.')
}

/// `2026-11-30T08:00:00Z` as `2026-11-30 08:00:00`.
fn time(text: &str) -> String {
    text.replace('T', " ").trim_end_matches('Z').to_owned()
}

/// A whole number with commas; what is none as it is.
fn with_commas(text: &str) -> String {
    text.parse().map_or_else(|_| text.to_owned(), |n| HumanCount(n).to_string())
}
