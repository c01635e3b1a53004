//! What is known of one picture as a page. In: rows. Out: markup. Every text of a crawl is text here, and a URL is no link: following
//! it would tell its host who looks at what.

use indicatif::HumanCount;
use maud::{Markup, html};

use super::asked::{Known, MOST_ROWS, Near};
use super::diff::{parts, shown, visible};
use crate::server::page::ask::Row;
use crate::server::page::gallery::{Fate, encoded, fate};
use crate::server::page::lang::Lang;
use crate::server::page::links::literal;
use crate::server::page::words;

/// Largest difference that is shown as a number of its own; the limit of `curate.near_difference` is below.
const SIDE_PX: u32 = 448;

/// Everything below the title.
pub(super) fn body(lang: Lang, image_id: Option<&str>, known: &Known) -> Markup {
    html! {
        div.subject {
            (picture(lang, image_id, known))
            (facts(lang, image_id, known))
        }
        (pairs(lang, known))
        (models(lang, known))
        (attempts(lang, known))
        @if image_id.is_some() { (near(lang, &known.near)) }
        (queries(lang, &known.queries))
    }
}

fn picture(lang: Lang, image_id: Option<&str>, known: &Known) -> Markup {
    let alt = known.pairs.iter().find_map(|pair| pair.get("clean").filter(|text| !text.is_empty()));
    let alt = alt.unwrap_or(lang.say("no caption", "没有描述"));
    let image = known.image.as_ref();
    let refused = image.and_then(|image| image.get("reject_reason"));
    let without = match image {
        None => {
            known.pairs.first().and_then(|pair| pair.get("reject_reason")).or(Some("not_decoded"))
        }
        Some(_) => refused,
    };
    html! {
        figure.big {
            @match (image_id, without) {
                (Some(id), None) => img src={ "/pixels/" (encoded(id)) "?as=png" } alt=(alt) width=(SIDE_PX) height=(SIDE_PX);,
                (_, reason) => div.none role="img" aria-label=(lang.say("no picture", "没有图片")) {
                    (reason.map_or("", |reason| words::reason(lang, reason)))
                },
            }
            @if let (Some(id), true) = (image_id, known.attempts.iter().any(|attempt| attempt.get("image_id").is_some())) {
                figcaption { a href={ "/originals/" (encoded(id)) } download { (lang.say("Save the file as it was fetched", "保存抓取到的原文件")) } }
            }
        }
    }
}

fn facts(lang: Lang, image_id: Option<&str>, known: &Known) -> Markup {
    let fetched = known
        .attempts
        .iter()
        .rev()
        .find(|attempt| attempt.get("image_id") == image_id && image_id.is_some());
    html! {
        dl.facts {
            @if let Some(id) = image_id { (fact("image_id", html! { code { (id) } (copy(lang, id)) })) }
            @if let Some(image) = &known.image {
                @if let (Some(width), Some(height)) = (image.get("width"), image.get("height")) {
                    (fact(lang.say("Original", "原图"), html! { (width) " × " (height) " px" }))
                }
                (fact(lang.say("Format", "格式"), html! {
                    (image.get("format").unwrap_or(lang.say("unknown", "未知"))) " "
                    (image.text("color"))
                    @if let Some(frames) = image.get("frames").filter(|n| *n != "1") { ", " (frames) " " (lang.say("frames", "帧")) }
                    @if let Some(turn) = image.get("orientation").filter(|n| *n != "1") { ", EXIF " (turn) }
                }))
            }
            @if let Some(bytes) = fetched.and_then(|attempt| attempt.get("bytes_len")?.parse::<u64>().ok()) {
                (fact(lang.say("Size", "大小"), html! { (HumanCount(bytes)) " " (lang.say("bytes", "字节")) }))
            }
            @if let Some(image) = known.image.as_ref() {
                @if let Some(reason) = image.get("reject_reason") {
                    (fact(lang.say("Refused", "拒绝"), html! {
                        span.badge.refused { (reason) } " " span.faint { (visible(image.text("detail"))) }
                    }))
                } @else {
                    (fact(lang.say("Stored as", "存储为"), html! {
                        (image.text("size_px")) " × " (image.text("size_px")) " px, " (image.text("codec")) span.faint {
                            @for name in ["filter", "speed"] { @if let Some(value) = image.get(name) { ", " (value) } }
                        }
                    }))
                    (fact("dhash", html! { code { (hexadecimal(image.get("dhash"))) } }))
                    @if let Some(crc) = image.get("pixels_crc32").and_then(|crc| crc.parse::<u32>().ok()) {
                        (fact("CRC-32", html! { code { (format!("{crc:08x}")) } }))
                    }
                }
            }
            @if let Some(attempt) = fetched {
                (fact(lang.say("Fetched", "抓取于"), html! { (time(attempt.text("fetched_at"))) " UTC" }))
                (fact(lang.say("From", "来源"), html! { code.locator { (visible(attempt.text("locator"))) } (copy(lang, attempt.text("locator"))) }))
            }
            @if image_id.is_none() { @if let Some(pair) = known.pairs.first() {
                (fact("example_id", html! { code { (pair.text("example_id")) } (copy(lang, pair.text("example_id"))) }))
            } }
        }
    }
}

fn fact(name: &str, what: Markup) -> Markup {
    html! { div { dt { (name) } dd { (what) } } }
}

fn pairs(lang: Lang, known: &Known) -> Markup {
    html! {
        section aria-labelledby="pairs" {
            h2 id="pairs" { (lang.say("Pairs", "图文对")) span.faint { " " (known.pairs.len()) } }
            @if known.pairs.is_empty() { p.faint { (lang.say("No pair has it (any more).", "没有图文对用到它。")) } }
            @if known.pairs.len() as i64 == MOST_ROWS { p.note { (lang.say("Only the first are shown.", "只显示最前面的一部分。")) } }
            ol.pairs { @for row in &known.pairs { (pair(lang, row, &known.scores)) } }
        }
    }
}

fn pair(lang: Lang, row: &Row, scores: &[Row]) -> Markup {
    let (raw, clean) = (row.get("raw"), row.get("clean"));
    let ended = Fate {
        split: row.get("split").map(str::to_owned),
        reason: row.get("reject_reason").map(str::to_owned),
    };
    let explained =
        ended.reason.as_deref().and_then(|reason| words::reason_explained(lang, reason));
    let explained =
        explained.or(ended.split.as_deref().map(|split| words::split_explained(lang, split)));
    let score = scores.iter().find(|score| score.get("example_id") == row.get("example_id"));
    html! {
        li.pair {
            @match (raw, clean) {
                (Some(raw), Some(clean)) if raw == clean => p.caption dir="auto" { (visible(raw)) },
                (Some(raw), Some(clean)) => {
                    p.caption dir="auto" { @if clean.is_empty() { span.faint { (lang.say("nothing is left", "什么都没留下")) } } @else { (visible(clean)) } }
                    p.diff dir="auto" { span.tag { (lang.say("as crawled", "原文")) } " " (shown(&parts(raw, clean))) }
                },
                (raw, _) => {
                    @if let Some(raw) = raw { p.caption dir="auto" { (visible(raw)) } }
                    @if let Some(malformed) = row.get("malformed") { p.diff dir="auto" { span.tag { (lang.say("broken line", "行损坏")) } " " (visible(malformed)) } }
                },
            }
            div.ended { (fate(lang, &ended)) @if let Some(words) = explained { span { (words) } } }
            p.faint.small {
                (row.text("source")) ":" (row.text("source_line"))
                @if let Some(rules) = row.get("rules").filter(|rules| !rules.is_empty()) { " · " (lang.say("cleaned by", "清洗规则")) " " code { (rules) } }
                @if let Some(n) = row.get("n_tokens") { " · " (n) " " (lang.say("tokens", "个 token")) }
                @if let Some(score) = score { " · " (lang.say("gain of the image", "图片带来的增益")) " " (nats(score, "gain")) " " (lang.say("nats a token", "nat/token")) }
                @if let Some(group) = row.get("near_group") {
                    " · " a href={ "/?where=" (encoded(&format!("near_group = {}", literal(group)))) } { (lang.say("its near-identical group", "近似图组")) }
                }
            }
            p.faint.small {
                @if let Some(url) = row.get("url") { code.locator { (visible(url)) } (copy(lang, url)) }
                @if let Some(name) = row.get("filename") { " " code.locator { (visible(name)) } }
            }
        }
    }
}

fn models(lang: Lang, known: &Known) -> Markup {
    html! {
        @if !known.captions.is_empty() {
            section aria-labelledby="models" {
                h2 id="models" { (lang.say("What models wrote", "模型写的描述")) span.faint { " " (known.captions.len()) } }
                div.scroll { table {
                    thead { tr { th scope="col" { (lang.say("caption", "描述")) } th.number scope="col" { (lang.say("score", "得分")) } th scope="col" { (lang.say("model", "模型")) } th scope="col" { (lang.say("when", "时间")) } } }
                    tbody { @for row in &known.captions { tr {
                        td dir="auto" { (visible(row.text("caption"))) } td.number { (row.text("score")) }
                        td title=(row.text("settings")) { (row.text("model")) } td.time { (time(row.text("captioned_at"))) }
                    } } }
                } }
            }
        }
        @if !known.scores.is_empty() {
            section aria-labelledby="scores" {
                h2 id="scores" { (lang.say("What a model makes of the pairs", "模型对图文对的评价")) span.faint { " " (known.scores.len()) } }
                div.scroll { table {
                    thead { tr { th scope="col" { (lang.say("caption then", "当时的描述")) } th.number scope="col" { (lang.say("gain", "增益")) } th.number scope="col" { (lang.say("loss", "损失")) } th.number scope="col" { (lang.say("without the image", "没有图片时")) } th scope="col" { (lang.say("model", "模型")) } th scope="col" { (lang.say("when", "时间")) } } }
                    tbody { @for row in &known.scores { tr {
                        td dir="auto" { (visible(row.text("text"))) } td.number { (nats(row, "gain")) } td.number { (nats(row, "loss")) } td.number { (nats(row, "loss_without_image")) }
                        td { (row.text("model")) } td.time { (time(row.text("scored_at"))) }
                    } } }
                } }
            }
        }
    }
}

fn attempts(lang: Lang, known: &Known) -> Markup {
    html! {
        section aria-labelledby="attempts" {
            h2 id="attempts" { (lang.say("Attempts to fetch it", "抓取记录")) span.faint { " " (known.attempts.len()) } }
            @if known.attempts.is_empty() { p.faint { (lang.say("None: nothing was asked for.", "没有：还没有请求过。")) } }
            @else {
                div.scroll { table {
                    thead { tr {
                        th scope="col" { (lang.say("when (UTC)", "时间（UTC）")) } th scope="col" { (lang.say("outcome", "结果")) } th.number scope="col" { (lang.say("status", "状态码")) }
                        th.number scope="col" { (lang.say("try", "第几次")) } th.number scope="col" { "ms" } th.number scope="col" { (lang.say("bytes", "字节")) } th scope="col" { (lang.say("of what", "地址")) }
                    } }
                    tbody { @for row in &known.attempts { tr {
                        td.time { (time(row.text("fetched_at"))) }
                        td { @let outcome = row.text("outcome"); span.badge.refused[outcome != "ok"] { (outcome) } @if let Some(detail) = row.get("detail") { " " span.faint { (visible(detail)) } } }
                        td.number { (row.text("http_status")) } td.number { (row.text("attempt")) } td.number { (row.text("elapsed_ms")) } td.number { (row.text("bytes_len")) }
                        td { code.locator { (visible(row.text("locator"))) } @if let Some(url) = row.get("final_url") { " → " code.locator { (visible(url)) } } @if let Some(at) = row.get("address") { " " span.faint { (at) } } }
                    } } }
                } }
            }
        }
    }
}

fn near(lang: Lang, near: &[Near]) -> Markup {
    html! {
        section aria-labelledby="near" {
            h2 id="near" { (lang.say("Near-identical pictures", "几乎相同的图片")) span.faint { " " (near.len()) } }
            @if near.is_empty() { p.faint { (lang.say("None whose difference hash is near.", "没有差异哈希相近的图片。")) } }
            @else {
                p.faint { (lang.say("Found by their difference hash, then laid on each other: 0 is the same picture.", "先按差异哈希找出，再叠在一起比较：0 表示完全相同。")) }
                ol.tiles.small {
                    @for other in near {
                        @let said = match other.difference {
                            Some(difference) => format!("{difference:.3}"),
                            None => lang.say("clearly another", "明显不同").to_owned(),
                        };
                        li.tile {
                            a.picture href={ "/pictures/" (encoded(&other.image_id)) } {
                                img src={ "/pixels/" (encoded(&other.image_id)) } alt={ (lang.say("differs by", "差异")) " " (said) } width="112" height="112" loading="lazy" decoding="async";
                            }
                            p.caption aria-hidden="true" { (said) }
                            p.faint.small { (other.bits) " " (lang.say("of 64 bits", "/ 64 位")) }
                        }
                    }
                }
            }
        }
    }
}

fn queries(lang: Lang, queries: &[String]) -> Markup {
    html! {
        details.queries {
            summary { (lang.say("The SQL that shows the same rows", "查到同样内容的 SQL")) }
            @for text in queries {
                div.query { pre { code { (text) } } (copy(lang, text)) a.button.ghost href={ "/sql?q=" (encoded(text)) } { (lang.say("Run", "运行")) } }
            }
        }
    }
}

fn copy(lang: Lang, text: &str) -> Markup {
    html! { button.ghost.copy type="button" hidden data-copy=(text) data-copied=(lang.say("copied", "已复制")) { (lang.say("copy", "复制")) } }
}

/// `2026-11-30T08:00:00.123456` to the second.
fn time(text: &str) -> String {
    text.split(['.', 'Z', '+']).next().unwrap_or_default().replace('T', " ")
}

fn hexadecimal(number: Option<&str>) -> String {
    number.and_then(|n| n.parse::<i64>().ok()).map_or_else(String::new, |n| format!("{n:016x}"))
}

/// A number of nats as a reader compares it with others.
fn nats(row: &Row, column: &str) -> String {
    let text = row.text(column);
    text.parse::<f64>().map_or_else(|_| text.to_owned(), |nats| format!("{nats:.3}"))
}
