//! The gallery: pictures with their captions, and the rows without a picture, whose reason stands in its place. In: a filter and a
//! place. Out: the page behind that place. Rows come in the order in which they lie in `examples`, so a page reads a few pages of a few
//! files wherever it is; `rows.rs` says which rows are next, `chosen.rs` what a text or a condition chooses, `shelf.rs` keeps both.

mod chosen;
mod filter;
mod model_captions;
mod rows;
mod shelf;
mod tiles;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use indicatif::HumanCount;
use maud::{Markup, html};

use super::fault::Fault;
use super::guard::is_asked_here;
use super::lang::Lang;
use super::layout::{Tab, page};
use super::words;
use tiles::Tiles;

pub(super) use self::filter::{Asked, Filter, Place, encoded};
pub(super) use self::rows::{Example, Fate, GalleryRows, key_of};
pub(super) use self::shelf::{Filtered, Shelf};
pub(super) use self::tiles::fate;

/// Rows of a page: some screens full on a laptop, and more than one on a large screen.
const PAGE_ROWS: usize = 60;

/// One page of rows.
struct Shown {
    examples: Vec<Example>,
    /// Where the next page begins behind; none after the last row.
    next: Option<Place>,
}

/// `/`
pub(super) async fn gallery(
    State(shelf): State<Arc<Shelf>>,
    lang: Lang,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
) -> Result<Response, Fault> {
    let filter = Filter::of(&asked)?;
    let after = asked.after.as_deref().map(Place::of).transpose()?;
    let newest = shelf.rows().await?;
    // Who scrolls goes on in the version in which the scrolling began, as long as that is known.
    let earlier = match after {
        Some(place) if place.version != newest.version() => shelf.rows_at(place.version).await,
        _ => None,
    };
    let is_lost = after.is_some_and(|place| place.version != newest.version()) && earlier.is_none();
    let rows = earlier.unwrap_or(newest);
    let from = after.filter(|_| !is_lost).map_or(0, |place| place.row.saturating_add(1));

    if !is_asked_here(&headers) && filter.asks_all_rows() {
        // A condition may be one that keeps this machine busy.
        let said = lang.say(
            "This condition came with a link of another site. Nothing was asked yet: Show asks.",
            "这个条件来自别的网站的链接，还没有查询：请按“显示”。",
        );
        let body =
            html! { (head(lang, &filter, &rows, None, None)) p.empty role="status" { (said) } };
        return Ok(page(lang, Tab::Pictures, lang.say("Pictures", "图片"), &body).into_response());
    }
    let filtered = match shelf.filtered(&rows, filter.clone(), after.is_none()).await {
        Ok(filtered) => filtered,
        Err(fault) if fault.is_readers() && asked.part.is_none() => {
            let head = head(lang, &filter, &rows, None, Some(&fault));
            let body =
                html! { (head) p.empty { (lang.say("The condition is not one.", "条件有误。")) } };
            let title = lang.say("Pictures", "图片");
            return Ok(
                (StatusCode::BAD_REQUEST, page(lang, Tab::Pictures, title, &body)).into_response()
            );
        }
        Err(fault) => return Err(fault),
    };
    let shown = shown(&rows, &filtered, from).await?;
    let captions = shelf.model_captions().await;
    let tiles = Tiles { lang, filter: &filter, version: rows.version(), captions: &captions };
    let list = list(&tiles, &shown, rows.n_rows() == 0);
    if asked.part.is_some() {
        return Ok(Html(list.into_string()).into_response());
    }
    let body = html! {
        (head(lang, &filter, &rows, Some(&filtered), None))
        @if is_lost {
            p.note role="status" { (lang.say("The corpus has changed since that page; this is its first page as it is now.", "语料在那之后变了；这里从头显示现在的内容。")) }
        } @else if from > 0 {
            p.note { (lang.say("This page begins in the middle. ", "本页从中间开始。")) a href={ "/?" (filter.query(&[])) } { (lang.say("To the first", "回到开头")) } }
        }
        (list)
    };
    Ok(page(lang, Tab::Pictures, lang.say("Pictures", "图片"), &body).into_response())
}

async fn shown(rows: &GalleryRows, filtered: &Filtered, from: u32) -> Result<Shown, Fault> {
    let wanted = filtered.wanted();
    // One more than is shown says whether there is one more.
    let mut numbers = rows.next(from, PAGE_ROWS + 1, &wanted);
    drop(wanted);
    let is_more = numbers.len() > PAGE_ROWS;
    numbers.truncate(PAGE_ROWS);
    let examples = rows.read(&numbers).await?;
    let last = numbers.last().copied().filter(|_| is_more);
    Ok(Shown { examples, next: last.map(|row| Place { version: rows.version(), row }) })
}

/// The tiles, and the way to the next: a link, behind which a script looks before the reader is there.
fn list(tiles: &Tiles<'_>, shown: &Shown, is_bare: bool) -> Markup {
    let lang = tiles.lang;
    html! {
        ol.tiles id="tiles" aria-label=(lang.say("Pictures", "图片")) { (tiles.list(&shown.examples)) }
        p.more id="more" {
            @match shown.next {
                Some(place) => a rel="next" href={ "/?" (tiles.filter.query(&[("after", &place.text())])) } { (lang.say("More pictures", "更多图片")) },
                None if is_bare => (lang.say("There are no rows yet: `tuwen run` makes them.", "还没有数据：先运行 `tuwen run`。")),
                None if shown.examples.is_empty() => (lang.say("No row is so.", "没有这样的行。")),
                None => (lang.say("That was the last one.", "到底了。")),
            }
        }
        p.sr id="told" role="status" aria-live="polite" data-more=(lang.say("more are here, in all", "张已加载，共")) {}
    }
}

/// How many there are, and how to look for some of them.
fn head(
    lang: Lang,
    filter: &Filter,
    rows: &GalleryRows,
    filtered: Option<&Filtered>,
    fault: Option<&Fault>,
) -> Markup {
    let marked = filtered.and_then(Filtered::marks).map(|marks| &marks.counts);
    let counts = marked.unwrap_or(rows.counts());
    let found: u64 = counts.iter().filter(|(fate, _)| filter.wants(fate)).map(|(_, n)| n).sum();
    let took: Duration = filtered.iter().flat_map(|f| &f.chosen).map(|chosen| chosen.took).sum();
    let is_stopped = filtered.is_some_and(|f| f.chosen.iter().any(|chosen| chosen.is_stopped));
    html! {
        search {
            form.filter action="/" method="get" id="filter" {
                div.field.wide {
                    label for="q" { (lang.say("Caption has", "描述含有")) }
                    input id="q" name="q" type="search" value=[filter.text.as_deref()] autocomplete="off" aria-keyshortcuts="/";
                }
                div.field {
                    label for="split" { (lang.say("Split", "划分")) }
                    select id="split" name="split" { (splits(lang, filter, counts)) }
                }
                div.field {
                    label for="reason" { (lang.say("Refused because", "拒绝原因")) }
                    select id="reason" name="reason" { (reasons(lang, filter, counts)) }
                }
                div.field.wide {
                    label for="where" { (lang.say("SQL condition", "SQL 条件")) }
                    input.code id="where" name="where" value=[filter.condition.as_deref()] placeholder="n_tokens > 20 and width < 300"
                        autocomplete="off" autocapitalize="off" spellcheck="false"
                        aria-invalid=[fault.map(|_| "true")] aria-describedby=[fault.map(|_| "where-error")];
                }
                div.field.act {
                    button.primary { (lang.say("Show", "显示")) }
                    @if !filter.is_empty() { a.button href="/" { (lang.say("Show all", "显示全部")) } }
                }
                @if let Some(fault) = fault { pre.error id="where-error" role="alert" { (fault.said()) } }
            }
        }
        @if fault.is_none() {
            p.count role="status" {
                strong { (HumanCount(found)) } " " (lang.say("of", "/")) " " (HumanCount(u64::from(rows.n_rows()))) " " (lang.say("pairs", "对"))
                @if took > Duration::ZERO {
                    span.faint { " · " (lang.say("found in", "查找用时")) " " (format!("{:.2}", took.as_secs_f64())) " s" }
                }
            }
            @if is_stopped {
                p.note role="status" {
                    (lang.say("Time was up before all rows were looked at: these are the ones found by then, and there may be more.", "时间已到，还有行没有查：这里只是到那时找到的，可能还有更多。"))
                }
            }
        }
    }
}

fn splits(lang: Lang, filter: &Filter, counts: &BTreeMap<Fate, u64>) -> Markup {
    let mut of_splits = BTreeMap::<Option<&str>, u64>::new();
    for (fate, n) in counts {
        *of_splits.entry(fate.split.as_deref()).or_default() += n;
    }
    let rejected = of_splits.remove(&None).unwrap_or(0);
    let mut options: Vec<(&str, &str, u64)> = of_splits
        .into_iter()
        .map(|(split, n)| (split.unwrap_or_default(), split.unwrap_or_default(), n))
        .collect();
    options.sort_by_key(|(_, _, n)| std::cmp::Reverse(*n));
    options.push((filter::REJECTED, lang.say("in none, refused", "被拒绝"), rejected));
    choices(lang, filter.split.as_deref(), &options)
}

fn reasons(lang: Lang, filter: &Filter, counts: &BTreeMap<Fate, u64>) -> Markup {
    let mut of_reasons = BTreeMap::<&str, u64>::new();
    for (fate, n) in counts {
        if let Some(reason) = fate.reason.as_deref() {
            *of_reasons.entry(reason).or_default() += n;
        }
    }
    let mut options: Vec<(&str, &str, u64)> = of_reasons
        .into_iter()
        .map(|(reason, n)| (reason, words::reason(lang, reason), n))
        .collect();
    options.sort_by_key(|(_, _, n)| std::cmp::Reverse(*n));
    choices(lang, filter.reason.as_deref(), &options)
}

/// The options of a select; what is chosen stands there even if no row has it.
fn choices(lang: Lang, chosen: Option<&str>, options: &[(&str, &str, u64)]) -> Markup {
    let is_there = chosen.is_none_or(|chosen| options.iter().any(|(value, _, _)| *value == chosen));
    html! {
        option value="" selected[chosen.is_none()] { (lang.say("any", "不限")) }
        @if let Some(chosen) = chosen.filter(|_| !is_there) { option value=(chosen) selected { (chosen) " (0)" } }
        @for (value, name, n) in options {
            option value=(value) selected[chosen == Some(*value)] { (name) " (" (HumanCount(*n)) ")" }
        }
    }
}
