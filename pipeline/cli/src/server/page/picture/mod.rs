//! One picture's page, and that of a pair without one: what the tables know of it, and the way to the ones before and behind it in the
//! gallery. `asked.rs` asks, `show.rs` shows, `diff.rs` says what cleaning changed.

mod asked;
mod diff;
mod show;

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};

use super::ask::Seeker;
use super::fault::Fault;
use super::gallery::{Asked, Example, Filter, Place, Shelf, encoded};
use super::lang::Lang;
use super::layout::{Tab, page};
use super::originals::is_id;
use asked::{NEAR_BITS, of_pair, of_picture};

/// What the pages of pictures need.
#[derive(Clone)]
pub(super) struct Pictures {
    pub(super) shelf: Arc<Shelf>,
    pub(super) seeker: Arc<Seeker>,
}

/// `/pictures/{image_id}`
pub(super) async fn picture(
    State(pictures): State<Pictures>,
    lang: Lang,
    Path(image_id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Fault> {
    if !is_id(&image_id) {
        return Err(Fault::not_found("an image's id has 32 hexadecimal digits"));
    }
    let ways = ways(&pictures.shelf, lang, &asked).await?;
    let tables = pictures.seeker.open().await?;
    let ctx = tables.around_image(&image_id, NEAR_BITS as u32).await?;
    let known = of_picture(&ctx, &image_id).await?;
    if known.image.is_none() && known.pairs.is_empty() && known.attempts.is_empty() {
        return Err(Fault::not_found("the corpus has no image of this id"));
    }
    let body = html! { (ways) (show::body(lang, Some(&image_id), &known)) };
    Ok(page(lang, Tab::Pictures, lang.say("A picture", "图片"), &body).into_response())
}

/// `/pairs/{example_id}`
pub(super) async fn pair(
    State(pictures): State<Pictures>,
    lang: Lang,
    Path(example_id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Fault> {
    if !is_id(&example_id) {
        return Err(Fault::not_found("a pair's id has 32 hexadecimal digits"));
    }
    let ways = ways(&pictures.shelf, lang, &asked).await?;
    let tables = pictures.seeker.open().await?;
    let known = of_pair(&tables.around_pair(&example_id).await?, &example_id).await?;
    let known = known.ok_or_else(|| Fault::not_found("the corpus has no pair of this id"))?;
    if let Some(image_id) = known.pairs[0].get("image_id") {
        let at: Vec<(&str, &str)> = asked.at.iter().map(|at| ("at", at.as_str())).collect();
        let query = Filter::of(&asked)?.query(&at);
        return Ok(
            Redirect::to(&format!("/pictures/{}?{query}", encoded(image_id))).into_response()
        );
    }
    let body = html! { (ways) (show::body(lang, None, &known)) };
    let title = lang.say("A pair without a picture", "没有图片的图文对");
    Ok(page(lang, Tab::Pictures, title, &body).into_response())
}

/// The gallery that the reader came from, and the pictures before and behind this one in it.
async fn ways(shelf: &Shelf, lang: Lang, asked: &Asked) -> Result<Markup, Fault> {
    let filter = Filter::of(asked)?;
    let place = asked.at.as_deref().map(Place::of).transpose()?;
    let mut ways = [None, None];
    let mut back = format!("/?{}", filter.query(&[]));
    if let Some(place) = place {
        let newest = shelf.rows().await?;
        let rows = match place.version == newest.version() {
            true => Some(newest),
            false => shelf.rows_at(place.version).await,
        };
        if let Some(rows) = rows {
            let filtered = shelf.filtered(&rows, filter.clone(), false).await?;
            let wanted = filtered.wanted();
            let before = rows.previous(place.row, 1, &wanted);
            let behind = rows.next(place.row.saturating_add(1), 1, &wanted);
            // The gallery from this picture on.
            if let [first] = before[..] {
                let after = Place { version: place.version, row: first }.text();
                back = format!("/?{}", filter.query(&[("after", &after)]));
            }
            drop(wanted);
            let read = futures::try_join!(rows.read(&before), rows.read(&behind));
            let (before, behind) = read?;
            ways = [before, behind]
                .map(|rows| rows.first().map(|row| href(row, &filter, place.version)));
        }
    }
    let [before, behind] = ways;
    Ok(html! {
        nav.ways aria-label=(lang.say("Around this picture", "前后图片")) {
            a.button.ghost href=(back) data-key="u" { (lang.say("Gallery", "图库")) }
            @if let Some(href) = before { a.button.ghost rel="prev" href=(href) data-key="k" { "← " (lang.say("Previous", "上一张")) } }
            @if let Some(href) = behind { a.button.ghost rel="next" href=(href) data-key="j" { (lang.say("Next", "下一张")) " →" } }
        }
    })
}

fn href(example: &Example, filter: &Filter, version: i64) -> String {
    let at = Place { version, row: example.row }.text();
    let query = filter.query(&[("at", at.as_str())]);
    match example.image_id.as_deref() {
        Some(id) => format!("/pictures/{}?{query}", encoded(id)),
        None => format!("/pairs/{}?{query}", encoded(&example.example_id)),
    }
}
