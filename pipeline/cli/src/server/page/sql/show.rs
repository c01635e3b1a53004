//! The page of the box. In: what was asked, and what it came to. Out: the box, the rows with their drawing, or the error with its
//! place. All that a query may have brought is text.

use anyhow::Result;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use indicatif::HumanCount;
use maud::{Markup, html};
use tuwen_etl::sql::{QueryError, Session};

use super::super::assets::SQL_SCRIPT;
use super::super::fault::Fault;
use super::super::lang::Lang;
use super::super::layout::{Tab, page_with_scripts};
use super::super::links::{to_picture, to_sql};
use super::answer::{Answered, Cell, MOST_DRAWN, Points, Table, one_statement};
use super::ask::{Ask, Drawn, Kind, N_ROWS, param_field};
use super::download::FORMATS;
use super::saved::SAVED;
use crate::plot::{Axis, Bar, Chart, Mark, Scale, Series, bars, chart};

/// Digits of an image's id.
const ID_DIGITS: usize = 32;

/// Bars that are drawn.
const MOST_BARS: usize = 100;

/// Letters of the name of a bar.
const BAR_LETTERS: usize = 60;

/// The page, with the status that says whether the query was right.
pub(super) fn show(ask: &Ask, answered: &Result<Answered>, lang: Lang) -> Response {
    let (status, below) = match answered {
        Err(error) => return Fault::from(error).into_response(),
        Ok(Answered::Wrong(error)) => (StatusCode::BAD_REQUEST, wrong(error)),
        Ok(Answered::Nothing) => (StatusCode::OK, beginning(lang)),
        Ok(Answered::Held) => (
            StatusCode::OK,
            notice(lang.say(
                "A link of another site brought this query. Read it, then run it if you want to.",
                "这条查询来自其他网站的链接。请先阅读，确认后再运行。",
            )),
        ),
        Ok(Answered::Missing) => (
            StatusCode::OK,
            notice(lang.say(
                "The query has parameters: give them values above, then run it.",
                "查询带有参数：请在上面填写，然后运行。",
            )),
        ),
        Ok(Answered::Rows(table)) => (StatusCode::OK, rows(ask, table, lang)),
    };
    let body = html! {
        (form(ask, lang))
        div id="answer" { (below) }
    };
    (status, page_with_scripts(lang, Tab::Sql, "SQL", &body, &[SQL_SCRIPT.href()])).into_response()
}

fn form(ask: &Ask, lang: Lang) -> Markup {
    let params =
        one_statement(&ask.query).map(|statement| statement.parameters()).unwrap_or_default();
    let n_lines = ask.query.lines().count().clamp(4, 18);
    html! {
        form.ask id="ask" method="get" action="/sql" {
            label for="q" { (lang.say("A query over the tables and views", "对表和视图的查询")) }
            div.box {
                textarea id="q" name="q" rows=(n_lines) wrap="off" spellcheck="false" autocapitalize="off" autocomplete="off"
                    aria-describedby="q-help" autofocus[ask.query.is_empty()] placeholder="select split, count(*) from examples group by split" { "\n" (ask.query) }
                ul id="words" role="listbox" aria-label=(lang.say("Completions", "补全")) hidden {}
            }
            p.faint.small id="q-help" {
                kbd { "Ctrl" } "+" kbd { "Enter" } (lang.say(" runs it, ", " 运行，")) kbd { "Ctrl" } "+" kbd { "Space" } (lang.say(" completes a name (then ", " 补全名称（再按 "))
                kbd { "Tab" } (lang.say(" takes the first, ", " 取第一个，")) kbd { "↓" } (lang.say(" another). ", " 选其他）。"))
                code { "$name" } (lang.say(" is a parameter. ", " 是参数。")) a href="/tables" { (lang.say("Tables and columns", "表和列")) }
            }
            @if !params.is_empty() {
                fieldset.params {
                    legend { (lang.say("Parameters", "参数")) }
                    @for name in &params {
                        label { code { "$" (name) } " " input name=(param_field(name)) value=(ask.param(name).unwrap_or_default()) autocomplete="off"; }
                    }
                }
            }
            div.actions {
                button.primary type="submit" { (lang.say("Run", "运行")) }
                button type="submit" name="explain" value="1" { (lang.say("Explain", "执行计划")) }
                label { (lang.say("Rows shown ", "显示行数 ")) select name="rows" {
                    @for n in N_ROWS { option value=(n) selected[n == ask.n_rows] { (HumanCount(n as u64)) } }
                } }
                span.busy id="busy" hidden { span id="elapsed" {} " " button type="button" id="stop" { (lang.say("Stop", "停止")) } }
            }
            p.sr id="word-status" role="status" data-one=(lang.say("1 completion", "1 个补全")) data-many=(lang.say("completions", "个补全")) {}
        }
        div.shelves {
            details open[ask.query.trim().is_empty()] {
                summary { (lang.say("Queries to begin with", "现成的查询")) }
                ul.saved {
                    @for saved in SAVED {
                        li { a href=(to_sql(saved.text)) title={ "sql/queries/" (saved.file) ".sql" } { (saved.name(lang)) } " " span.faint.small lang="en" { (first_comment(saved.text)) } }
                    }
                }
            }
            details id="history" hidden {
                summary { (lang.say("Queries of yours", "你运行过的查询")) }
                ol id="past" {}
                button type="button" id="forget" { (lang.say("Forget them", "清除")) }
            }
        }
    }
}

/// What a file of SQL says of itself first.
fn first_comment(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim_start_matches("-- ")
}

fn beginning(lang: Lang) -> Markup {
    html! {
        p.tables {
            (lang.say("Tables and views: ", "表和视图："))
            @for name in Session::tables() { a href={ "/tables#" (name) } { code { (name) } } " " }
        }
    }
}

fn notice(text: &str) -> Markup {
    html! { p.note role="status" { (text) } }
}

/// The message, the line with the place marked, and what to do.
fn wrong(error: &QueryError) -> Markup {
    html! {
        div.error.wrong role="alert" {
            p.message { (error.message()) }
            @if let Some(place) = error.place() {
                @let (first, rest) = place.after.split_at(place.after.chars().next().map_or(0, char::len_utf8));
                pre data-line=(place.number) data-column=(place.before.chars().count()) {
                    "LINE " (place.number) ": " (place.before) mark { (if first.is_empty() { " " } else { first }) } (rest)
                }
            }
            @if let Some(hint) = error.what_to_do() { p { b { "hint: " } (hint) } }
        }
    }
}

fn rows(ask: &Ask, table: &Table, lang: Lang) -> Markup {
    let n = HumanCount(table.rows.len() as u64);
    html! {
        p.status role="status" {
            b { (n) } (lang.say(if table.rows.len() == 1 { " row" } else { " rows" }, " 行"))
            (lang.say(" in ", "，用时 ")) (format!("{:.3}", table.took.as_secs_f64())) " s"
            @if table.is_cut { strong { (lang.say(" · there are more: these are the first", " · 还有更多：这里只显示开头")) } }
        }
        @if !ask.explains {
            nav.downloads aria-label=(lang.say("All rows as a file", "下载全部行")) {
                (lang.say("All rows as a file: ", "下载全部行："))
                @for (format, _) in FORMATS { a href=(ask.download(format)) download { (format) } " " }
            }
            (drawing(ask, table, lang))
        }
        div.scroll.rows tabindex="0" role="region" aria-label=(lang.say("Rows", "各行")) {
            table {
                thead { tr { @for column in &table.columns { th class=[column.is_number().then_some("number")] scope="col" title=(tuwen_etl::sql::sql_type(&column.data_type)) { (column.name) } } } }
                tbody {
                    @for row in &table.rows {
                        tr { @for (column, cell) in table.columns.iter().zip(row) {
                            td class=[class(ask, column.is_number())] dir=[(!column.is_number()).then_some("auto")] { (of_cell(&column.name, cell, lang)) }
                        } }
                    }
                }
            }
        }
    }
}

fn class(ask: &Ask, is_number: bool) -> Option<&'static str> {
    match () {
        () if ask.explains => Some("plan"),
        () if is_number => Some("number"),
        () => None,
    }
}

fn of_cell(column: &str, cell: &Cell, lang: Lang) -> Markup {
    match cell {
        Cell::Null => html! { span.null { "NULL" } },
        Cell::Picture(uri) => html! { img src=(uri) alt=(column) width="96" height="96"; },
        Cell::Text { text, .. } if is_image_id(column, text) => {
            html! { a href=(to_picture(text)) { code { (text) } } }
        }
        Cell::Text { text, more: 0 } => html! { (text) },
        Cell::Text { text, more } => html! {
            (text) "… " span.faint.small { (HumanCount(*more as u64)) (lang.say(" more letters", " 字未显示")) }
        },
    }
}

/// Whether a cell is the id of an image, by the name of its column and by its letters.
fn is_image_id(column: &str, text: &str) -> bool {
    let is_named = column == "near_group" || column.ends_with("image_id");
    is_named && text.len() == ID_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The form that asks for a drawing of two columns, and the drawing.
fn drawing(ask: &Ask, table: &Table, lang: Lang) -> Markup {
    let can_be_y = |name: &str| {
        table
            .columns
            .iter()
            .any(|column| column.name == name && (column.is_number() || column.is_time()))
    };
    let numbers: Vec<&str> = table
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .filter(|name| can_be_y(name))
        .collect();
    if numbers.is_empty() || table.rows.len() < 2 {
        return html! {};
    }
    let drawn = ask.drawn.as_ref();
    let kind = drawn.map_or(Kind::Bars, |drawn| drawn.kind);
    let x = drawn.map_or(table.columns[0].name.as_str(), |drawn| drawn.x.as_str());
    let y = drawn.map(|drawn| drawn.y.as_str());
    let y = y.or_else(|| numbers.iter().copied().find(|name| *name != x));
    html! {
        form.draw method="get" action="/sql" {
            @for (name, value) in ask.values() { input type="hidden" name=(name) value=(value); }
            input type="hidden" name="rows" value=(ask.n_rows);
            label { (lang.say("Draw ", "画图 ")) select name="plot" {
                @for each in Kind::ALL { option value=(each.name()) selected[each == kind] { (kind_name(each, lang)) } }
            } }
            label { " y " select name="y" { @for name in &numbers { option selected[Some(*name) == y] { (name) } } } }
            label { (lang.say(" by x ", " 横轴 ")) select name="x" { @for column in &table.columns { option selected[column.name == x] { (column.name) } } } }
            button type="submit" { (lang.say("Draw", "画")) }
        }
        @if let (Some(drawn), Some(points)) = (drawn, &table.points) { (drawn_points(drawn, points, table, lang)) }
    }
}

fn kind_name(kind: Kind, lang: Lang) -> &'static str {
    match kind {
        Kind::Bars => lang.say("bars", "条形"),
        Kind::Points => lang.say("points", "散点"),
        Kind::Line => lang.say("a line", "折线"),
    }
}

fn drawn_points(drawn: &Drawn, points: &Points, table: &Table, lang: Lang) -> Markup {
    let title = format!("{}, {}", drawn.y, drawn.x);
    let made = match drawn.kind {
        Kind::Bars => of_bars(points),
        Kind::Points => of_chart(drawn, points, table, Mark::Points, title),
        Kind::Line => of_chart(drawn, points, table, Mark::Line, title),
    };
    let shown = match drawn.kind {
        Kind::Bars => points.y.len().min(MOST_BARS),
        Kind::Points | Kind::Line => points.y.len(),
    };
    html! {
        @match made {
            Some(made) => figure.drawing { (made) figcaption.faint.small {
                (lang.say("The first ", "前 ")) (HumanCount(shown as u64)) (lang.say(" rows", " 行"))
                @if points.y.len() >= MOST_DRAWN { (lang.say("; no more are drawn", "；不再多画")) }
            } },
            None => p.note { (lang.say("These two columns cannot be drawn so: y has to be numbers, none of them below zero in bars.", "这两列不能这样画：y 须为数值，条形图不能有负数。")) }
        }
    }
}

/// Bars; none where a number is negative, or there is none.
fn of_bars(points: &Points) -> Option<Markup> {
    let shown = || points.names.iter().zip(&points.y).take(MOST_BARS);
    if shown().any(|(_, y)| *y < 0.0) || !shown().any(|(_, y)| y.is_finite()) {
        return None;
    }
    let name = |name: &String| name.chars().take(BAR_LETTERS).collect::<String>();
    Some(bars(&shown().map(|(text, y)| Bar::number(name(text), *y)).collect::<Vec<_>>()))
}

fn of_chart(
    drawn: &Drawn,
    points: &Points,
    table: &Table,
    mark: Mark,
    title: String,
) -> Option<Markup> {
    let axis = |name: &str| {
        let is_time = table.columns.iter().any(|column| column.name == name && column.is_time());
        Axis { name: name.to_owned(), scale: if is_time { Scale::Time } else { Scale::Linear } }
    };
    // What is neither a number nor a time stands in the order of the rows.
    let x: Vec<f64> = match points.x.iter().all(|x| x.is_nan()) {
        true => (1..=points.x.len()).map(|i| i as f64).collect(),
        false => points.x.clone(),
    };
    let mut points: Vec<(f64, f64)> = x.into_iter().zip(points.y.iter().copied()).collect();
    if mark == Mark::Line {
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    let series = vec![Series { name: String::new(), points }];
    chart(&Chart { title, x: axis(&drawn.x), y: axis(&drawn.y), mark, series })
}
