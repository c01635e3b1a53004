//! What became of the rows. In: the ways that pairs went (sql/page/flow.sql). Out: a page with a flow from the sources to the splits
//! and the reasons, and the same as a table; each part leads to examples of it. `flow.rs` adds up, `draw.rs` lays out,
//! `names.rs` has the words.

mod draw;
mod flow;
mod names;

use std::sync::Arc;

use axum::extract::State;
use axum::response::Html;
use indicatif::HumanCount;
use maud::{Markup, html};

use self::draw::draw;
use self::flow::Flow;
use self::names::{meaning, name, percent, stage_name};
use super::answers::Answers;
use super::fault::Fault;
use super::lang::Lang;
use super::layout::{Tab, page};
use super::links::to_sql;

const WAYS: &str = include_str!("../../../../../../sql/page/flow.sql");

/// `/rows`.
pub(super) async fn rows(
    State(answers): State<Arc<Answers>>,
    lang: Lang,
) -> Result<Html<String>, Fault> {
    let answer = answers.answer(WAYS).await?;
    let flow = Flow::of(&answer);
    let title = lang.say("What became of the rows", "各行去向");
    let body = html! {
        @if flow.pairs == 0 {
            p { (lang.say("No row was read yet.", "还没有读入任何行。")) " " code { "tuwen ingest" } }
        } @else {
            (summary(&flow, lang))
            figure.drawing { (draw(&flow, lang)) }
            (table(&flow, lang))
            p.faint.small {
                (lang.say("Counted in ", "统计用时 ")) (format!("{:.2}", answer.took.as_secs_f64())) (lang.say(" s, once a version. ", " 秒，每个版本统计一次。"))
                a href=(to_sql(WAYS)) { (lang.say("The query", "查询语句")) }
            }
        }
    };
    Ok(page(lang, Tab::Rows, title, &body))
}

fn summary(flow: &Flow, lang: Lang) -> Markup {
    let kept: u64 = flow.nodes.iter().filter(|node| node.is_kept).map(|node| node.pairs).sum();
    let n_sources = flow.n_sources;
    html! {
        p.lead {
            @match lang {
                Lang::En => {
                    b { (HumanCount(flow.pairs)) } " pairs of a caption and a picture were read from "
                    (n_sources) (if n_sources == 1 { " source" } else { " sources" }) "; "
                    b { (HumanCount(kept)) } " (" (percent(kept, flow.pairs)) ") are in a split. "
                    "Each of the others ended with one reason; click it to see examples."
                }
                Lang::Zh => {
                    "从 " (n_sources) " 个数据源读入 " b { (HumanCount(flow.pairs)) } " 个图文对；"
                    b { (HumanCount(kept)) } "（" (percent(kept, flow.pairs)) "）进入了某个划分。其余的各有一个原因，点击可看例子。"
                }
            }
        }
    }
}

/// What the flow shows, as rows that add up to all pairs.
fn table(flow: &Flow, lang: Lang) -> Markup {
    html! {
        h2 { (lang.say("Where pairs ended", "各对的终点")) }
        p { (lang.say("Each pair ended in exactly one of these.", "每一对恰好终止于其中之一。")) }
        div.scroll {
            table.ends {
                thead { tr {
                    th scope="col" { (lang.say("stage", "阶段")) }
                    th scope="col" { (lang.say("ended as", "终点")) }
                    th scope="col" { (lang.say("meaning", "含义")) }
                    th.number scope="col" { (lang.say("pairs", "对数")) }
                    th.number scope="col" { (lang.say("share", "占比")) }
                    th scope="col" { (lang.say("examples", "例子")) }
                } }
                tbody {
                    @for node in flow.nodes.iter().filter(|node| node.is_end) {
                        tr {
                            td { (stage_name(node.stage, lang)) }
                            th scope="row" { (name(node, lang)) }
                            td { (meaning(node, lang)) }
                            td.number { (HumanCount(node.pairs)) }
                            td.number { (percent(node.pairs, flow.pairs)) }
                            td.links {
                                @if let Some(gallery) = node.gallery() { a href=(gallery) { (lang.say("pictures", "图片")) } " " }
                                a href=(to_sql(&node.query())) { "SQL" }
                            }
                        }
                    }
                }
                tfoot { tr {
                    th scope="row" colspan="3" { (lang.say("all pairs", "全部")) }
                    td.number { (HumanCount(flow.pairs)) } td.number { "100 %" } td {}
                } }
            }
        }
    }
}
