//! Rows as tiles. In: examples, and what a model wrote of their images. Out: a list of pictures with captions, each with where its row
//! ended. What was crawled is text, of whatever direction.

use maud::{Markup, html};

use super::filter::{Filter, Place, encoded};
use super::model_captions::ModelCaptions;
use super::rows::{Example, Fate};
use crate::server::page::lang::Lang;
use crate::server::page::words;

/// Side of a picture on a tile, in CSS pixels, before the grid stretches it: its place is kept before it comes.
const SIDE_PX: u32 = 224;

/// Most characters of a caption on a tile.
const MOST_CHARS: usize = 400;

/// What the tiles of a page have in common.
pub(super) struct Tiles<'a> {
    pub(super) lang: Lang,
    pub(super) filter: &'a Filter,
    pub(super) version: i64,
    pub(super) captions: &'a ModelCaptions,
}

impl Tiles<'_> {
    /// One after the other.
    pub(super) fn list(&self, examples: &[Example]) -> Markup {
        html! { @for example in examples { (self.tile(example)) } }
    }

    fn tile(&self, example: &Example) -> Markup {
        let lang = self.lang;
        let text = example.text.as_deref().map(cut).unwrap_or_default();
        let shown = if text.is_empty() { lang.say("no caption", "没有描述") } else { &text };
        let reason = example.fate.reason.as_deref();
        let picture = example.image_id.as_deref().filter(|_| words::may_have_picture(reason));
        let model = picture.and_then(|image_id| self.captions.caption(image_id));
        html! {
            li.tile {
                a.picture href=(self.href(example)) data-tile {
                    @match picture {
                        Some(id) => img src={ "/pixels/" (encoded(id)) } alt=(shown) width=(SIDE_PX) height=(SIDE_PX) loading="lazy" decoding="async";,
                        None => span.none {
                            span.sr { (shown) ": " }
                            span { (reason.map_or("", |reason| words::reason(lang, reason))) }
                        },
                    }
                }
                // Who hears the page has heard it with the picture.
                p.caption.faint[text.is_empty()] dir="auto" aria-hidden="true" title=[(text.chars().count() > 24).then_some(&text)] { (shown) }
                @if let Some(model) = model {
                    p.model dir="auto" { span.tag title=(self.captions.model) { (lang.say("model", "模型")) } " " (model) }
                }
                // Without a picture the reason stands in its place.
                @if picture.is_some() { (fate(lang, &example.fate)) }
            }
        }
    }

    /// The page of a row: of its picture, or of itself if there is none.
    fn href(&self, example: &Example) -> String {
        let at = Place { version: self.version, row: example.row }.text();
        let query = self.filter.query(&[("at", at.as_str())]);
        match example.image_id.as_deref() {
            Some(id) => format!("/pictures/{}?{query}", encoded(id)),
            None => format!("/pairs/{}?{query}", encoded(&example.example_id)),
        }
    }
}

/// Where a row ended, as a badge.
pub(in crate::server::page) fn fate(lang: Lang, fate: &Fate) -> Markup {
    html! {
        p.fate {
            @if let Some(split) = &fate.split { span.badge data-split=(split) { (split) } }
            @if let Some(reason) = &fate.reason { span.badge.refused title=(reason) { (words::reason(lang, reason)) } }
        }
    }
}

fn cut(text: &str) -> String {
    let mut cut: String = text.chars().take(MOST_CHARS).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    cut
}
