//! What the corpus looks like in figures: sizes, captions, formats, hosts, runs. In: what files of sql/ count, once a version. Out: a
//! page of charts that are drawn here, each with its figures as a table and its query.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use axum::extract::State;
use axum::response::Html;
use futures::future::join_all;
use maud::{Markup, html};

use super::answers::{Answer, Answers};
use super::fault::Fault;
use super::lang::Lang;
use super::layout::{Tab, page};
use super::links::{literal, to_sql};
use crate::plot::{Axis, Bar, Chart, Mark, Scale, Series, bars, chart, columns};

macro_rules! query {
    ($file:literal) => {
        include_str!(concat!("../../../../../sql/", $file, ".sql"))
    };
}

/// One figure of the page.
struct Figure {
    title: [&'static str; 2],
    note: [&'static str; 2],
    query: &'static str,
    draw: fn(&Answer, &str, Lang) -> Option<Markup>,
}

const FIGURES: [Figure; 8] = [
    Figure {
        title: ["Lengths of captions", "描述长度"],
        note: ["Characters of the clean captions in a split.", "各划分中清洗后描述的字符数。"],
        query: query!("report/caption_lengths"),
        draw: |answer, title, lang| {
            histogram(answer, title, lang.say("characters", "字符"), lang.say("captions", "描述"))
        },
    },
    Figure {
        title: ["Sizes of pictures", "图片尺寸"],
        note: [
            "The longer side of distinct originals, by powers of two.",
            "不同原图的长边，按 2 的幂分组。",
        ],
        query: query!("report/picture_sizes"),
        draw: |answer, title, lang| {
            histogram(answer, title, lang.say("longer side", "长边"), lang.say("images", "图片"))
        },
    },
    Figure {
        title: ["Shapes of pictures", "图片宽高"],
        note: [
            "Width and height of 2,000 decoded images, the first by their id, which is a hash.",
            "按 id（即哈希）取前 2,000 张已解码图片的宽和高。",
        ],
        query: query!("page/picture_shapes"),
        draw: |answer, title, lang| {
            let axis = |name: &str| Axis { name: name.to_owned(), scale: Scale::Linear };
            let points = answer
                .rows
                .iter()
                .map(|row| (answer.number(row, "width"), answer.number(row, "height")));
            let series = vec![Series { name: String::new(), points: points.collect() }];
            let (x, y) =
                (axis(lang.say("width, px", "宽，像素")), axis(lang.say("height, px", "高，像素")));
            chart(&Chart { title: title.to_owned(), x, y, mark: Mark::Points, series })
        },
    },
    Figure {
        title: ["Sizes of files", "文件大小"],
        note: [
            "Bytes of the originals as they came, by powers of two.",
            "原始文件的字节数，按 2 的幂分组。",
        ],
        query: query!("page/file_sizes"),
        draw: |answer, title, lang| {
            histogram(answer, title, lang.say("bytes", "字节"), lang.say("files", "文件"))
        },
    },
    Figure {
        title: ["Formats", "格式"],
        note: [
            "Distinct originals by format and colour: decoded, and rejected.",
            "不同原图按格式和颜色：已解码与被拒绝。",
        ],
        query: query!("queries/formats"),
        draw: |answer, _, lang| {
            let bar = |row: &Vec<Option<String>>| {
                let (format, color) = (answer.text(row, "format"), answer.text(row, "color"));
                let (all, rejected) = (answer.count(row, "images"), answer.count(row, "rejected"));
                let query = format!(
                    "select image_id, width, height, color, reject_reason, detail\nfrom images\nwhere {} and {}\nlimit 100",
                    is_value("format", format, "unknown"),
                    is_value("color", color, "")
                );
                Bar::counts(format!("{format} {color}"), &[all - rejected.min(all), rejected])
                    .to(to_sql(&query))
            };
            parted(
                answer.rows.iter().map(bar).collect(),
                [lang.say("decoded", "已解码"), lang.say("rejected", "被拒绝")],
            )
        },
    },
    Figure {
        title: ["Hosts", "主机"],
        note: [
            "The registered domains that were asked for most: URLs got, and not got.",
            "请求最多的注册域名：成功与失败的网址数。",
        ],
        query: query!("report/busiest_hosts"),
        draw: |answer, _, lang| {
            let bar = |row: &Vec<Option<String>>| {
                let (host, all, ok) =
                    (answer.text(row, "host"), answer.count(row, "urls"), answer.count(row, "ok"));
                let query = format!(
                    "select locator, outcome, http_status, detail, elapsed_ms, fetched_at\nfrom originals\nwhere registered_domain(locator) = {}\nlimit 100",
                    literal(host)
                );
                Bar::counts(host, &[ok.min(all), all - ok.min(all)]).to(to_sql(&query))
            };
            parted(
                answer.rows.iter().map(bar).collect(),
                [lang.say("got", "成功"), lang.say("not got", "失败")],
            )
        },
    },
    Figure {
        title: ["How long runs took", "运行用时"],
        note: [
            "Each run of the last 500, by the time at which it began.",
            "最近 500 次运行，按开始时间。",
        ],
        query: query!("page/run_times"),
        draw: |answer, title, lang| {
            of_runs(answer, title, lang, "seconds", lang.say("seconds", "秒"))
        },
    },
    Figure {
        title: ["Rows that runs handled", "运行处理的行数"],
        note: [
            "The same runs; a run without rows to handle is left out.",
            "同上；没有处理任何行的运行不显示。",
        ],
        query: query!("page/run_times"),
        draw: |answer, title, lang| of_runs(answer, title, lang, "rows_in", lang.say("rows", "行")),
    },
];

/// `/plots`.
pub(super) async fn plots(
    State(answers): State<Arc<Answers>>,
    lang: Lang,
) -> Result<Html<String>, Fault> {
    let found = join_all(FIGURES.iter().map(|figure| answers.answer(figure.query))).await;
    let drawn: Vec<Markup> = FIGURES
        .iter()
        .zip(&found)
        .filter_map(|(figure, answer)| of_figure(figure, answer, lang))
        .collect();
    let body = html! {
        @if drawn.is_empty() { p { (lang.say("There is nothing to draw yet.", "还没有可画的内容。")) } }
        div.figures { @for figure in &drawn { (figure) } }
    };
    Ok(page(lang, Tab::Plots, lang.say("Plots", "图表"), &body))
}

/// A figure; what went wrong where it could not be counted, and nothing where there is nothing to draw.
fn of_figure(figure: &Figure, answer: &Result<Arc<Answer>>, lang: Lang) -> Option<Markup> {
    let say = |texts: [&'static str; 2]| lang.say(texts[0], texts[1]);
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            return Some(html! {
                section.figure {
                    h2 { (say(figure.title)) }
                    pre.error role="alert" { (format!("{error:#}")) }
                }
            });
        }
    };
    let drawn = (figure.draw)(answer, say(figure.title), lang)?;
    Some(html! {
        section.figure {
            h2 { (say(figure.title)) }
            p { (say(figure.note)) }
            figure.drawing { (drawn) }
            details {
                summary { (lang.say("Figures", "数据")) }
                div.scroll { (rows(answer)) }
                p { a href=(to_sql(figure.query)) { (lang.say("The query", "查询语句")) } }
            }
        }
    })
}

/// Rows of the table below a chart; the query has the others.
const MOST_ROWS: usize = 60;

fn rows(answer: &Answer) -> Markup {
    html! {
        table {
            thead { tr { @for column in &answer.columns { th scope="col" { (column) } } } }
            tbody {
                @for row in answer.rows.iter().take(MOST_ROWS) {
                    tr { @for cell in row { td { (cell.as_deref().unwrap_or_default()) } } }
                }
            }
        }
        @if answer.rows.len() > MOST_ROWS { p { "… " (answer.rows.len() - MOST_ROWS) " +" } }
    }
}

/// Two columns, a name and a number.
fn histogram(answer: &Answer, title: &str, x: &str, y: &str) -> Option<Markup> {
    let (name, n) = (answer.columns.first()?, answer.columns.get(1)?);
    let row = |row: &Vec<Option<String>>| (answer.text(row, name).to_owned(), answer.count(row, n));
    columns(title, x, y, &answer.rows.iter().map(row).collect::<Vec<_>>())
}

/// Bars of two parts, with what these are.
fn parted(rows: Vec<Bar>, names: [&str; 2]) -> Option<Markup> {
    if rows.is_empty() {
        return None;
    }
    Some(html! {
        (bars(&rows))
        p.legend { @for (i, name) in names.iter().enumerate() { span class=(crate::plot::colour(i)) {} (name) " " } }
    })
}

/// A column of the runs over time, a colour for each stage.
fn of_runs(answer: &Answer, title: &str, lang: Lang, column: &str, y: &str) -> Option<Markup> {
    let mut stages: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for row in &answer.rows {
        let point = (answer.number(row, "started_epoch"), answer.number(row, column));
        stages.entry(answer.text(row, "stage")).or_default().push(point);
    }
    let series = stages.into_iter().map(|(name, points)| Series { name: name.to_owned(), points });
    let x =
        Axis { name: lang.say("begun, UTC", "开始时间，UTC").to_owned(), scale: Scale::Time };
    let y = Axis { name: y.to_owned(), scale: Scale::Log };
    chart(&Chart { title: title.to_owned(), x, y, mark: Mark::Points, series: series.collect() })
}

/// A condition for what a query shows as `absent` where it is null.
fn is_value(column: &str, value: &str, absent: &str) -> String {
    match value == absent {
        true => format!("{column} is null"),
        false => format!("{column} = {}", literal(value)),
    }
}
