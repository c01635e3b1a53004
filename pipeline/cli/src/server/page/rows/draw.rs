//! A flow as SVG. In: nodes and links. Out: bars in four columns and bands between them, as thick as they are many; thin ones have
//! room for their names below each other. Everything leads to examples.

use indicatif::HumanCount;
use maud::{Markup, html};

use super::super::lang::Lang;
use super::super::links::to_sql;
use super::flow::{Flow, Node, Stage};
use super::names::{meaning, name, percent, stage_name};

/// Units from one column to the next, and those that all pairs are high.
const COLUMN: f64 = 280.0;
const HEIGHT: f64 = 300.0;

/// A bar: its width, and its least height.
const BAR: f64 = 12.0;
const LEAST: f64 = 2.0;

/// Room of a node for its name and number, and between nodes.
const SLOT: f64 = 34.0;
const GAP: f64 = 8.0;

/// Room for the names of the stages.
const TOP: f64 = 30.0;

/// Letters of a name that have room before the next column.
const LETTERS: usize = 26;

/// Where a node lies.
#[derive(Clone, Copy)]
struct Place {
    left: f64,
    /// Of its room.
    slot: f64,
    /// Of its bar, which stands beside the middle of its name where it is thin.
    top: f64,
    height: f64,
}

/// The flow.
pub(super) fn draw(flow: &Flow, lang: Lang) -> Markup {
    let scale = HEIGHT / flow.pairs.max(1) as f64;
    let places = places(flow, scale);
    let bottom = places.iter().map(|place| place.slot + place.height.max(SLOT)).fold(0.0, f64::max);
    let width = COLUMN * Stage::ALL.len() as f64;
    html! {
        svg.flow viewBox={ "0 0 " (width) " " (px(bottom + GAP)) } role="group" aria-label=(lang.say("The flow of pairs through the stages; the table below says the same", "各阶段的图文对流向；下表内容相同")) {
            @for (i, stage) in Stage::ALL.into_iter().enumerate() {
                text.stage x=(px(i as f64 * COLUMN)) y="14" { (stage_name(stage, lang)) }
            }
            g.bands { (bands(flow, &places, scale, lang)) }
            @for (node, place) in flow.nodes.iter().zip(&places) {
                a href=(target(node)) class=(kind(node)) {
                    title { (title(node, flow, lang)) }
                    rect x=(px(place.left)) y=(px(place.top)) width=(BAR) height=(px(place.height)) rx="2" {}
                    text x=(px(place.left + BAR + 8.0)) y=(px(place.slot + 13.0)) { (shortened(&name(node, lang))) }
                    text.count x=(px(place.left + BAR + 8.0)) y=(px(place.slot + 28.0)) {
                        (HumanCount(node.pairs)) " · " (percent(node.pairs, flow.pairs))
                    }
                }
            }
        }
    }
}

/// Stage by stage, one node below the other.
fn places(flow: &Flow, scale: f64) -> Vec<Place> {
    let mut tops = [TOP; Stage::ALL.len()];
    let place = |node: &Node| {
        let column = node.stage as usize;
        let height = (node.pairs as f64 * scale).max(LEAST);
        let slot = tops[column];
        let top = slot + ((SLOT - height) / 2.0).max(0.0);
        let place = Place { left: column as f64 * COLUMN, slot, top, height };
        tops[column] += height.max(SLOT) + GAP;
        place
    };
    flow.nodes.iter().map(place).collect()
}

/// The links: each begins where the one before it ended, at both of its ends.
fn bands(flow: &Flow, places: &[Place], scale: f64, lang: Lang) -> Markup {
    let (mut out, mut into) = (vec![0.0; places.len()], vec![0.0; places.len()]);
    html! {
        @for link in &flow.links {
            @let (from, to) = (&places[link.from], &places[link.to]);
            @let thick = link.pairs as f64 * scale;
            @let path = band([from.left + BAR, from.top + out[link.from]], [to.left, to.top + into[link.to]], thick);
            @let node = &flow.nodes[link.to];
            a href=(target(node)) class=(kind(node)) tabindex="-1" {
                title { (name(&flow.nodes[link.from], lang)) " → " (name(node, lang)) ": " (HumanCount(link.pairs)) " (" (percent(link.pairs, flow.pairs)) ")" }
                path d=(path) {}
            }
            @let () = out[link.from] += thick;
            @let () = into[link.to] += thick;
        }
    }
}

/// A band between two places, `thick` units high; one too thin to be seen is a little thicker.
fn band([x1, y1]: [f64; 2], [x2, y2]: [f64; 2], thick: f64) -> String {
    let thick = thick.max(0.75);
    let (middle, bottom1, bottom2) = ((x1 + x2) / 2.0, y1 + thick, y2 + thick);
    format!(
        "M{x1:.1} {y1:.2}C{middle:.1} {y1:.2} {middle:.1} {y2:.2} {x2:.1} {y2:.2}V{bottom2:.2}\
         C{middle:.1} {bottom2:.2} {middle:.1} {bottom1:.2} {x1:.1} {bottom1:.2}Z"
    )
}

/// The gallery where it shows just these pairs, otherwise a query.
fn target(node: &Node) -> String {
    let is_of_gallery = matches!(node.stage, Stage::Source | Stage::Curate);
    node.gallery().filter(|_| is_of_gallery).unwrap_or_else(|| to_sql(&node.query()))
}

fn kind(node: &Node) -> &'static str {
    match () {
        () if node.is_kept => "kept",
        () if node.is_end => "out",
        () => "on",
    }
}

fn title(node: &Node, flow: &Flow, lang: Lang) -> String {
    let meaning = meaning(node, lang);
    let meaning = if meaning.is_empty() { String::new() } else { format!(" ({meaning})") };
    format!(
        "{}{meaning}: {} · {}",
        name(node, lang),
        HumanCount(node.pairs),
        percent(node.pairs, flow.pairs)
    )
}

fn shortened(name: &str) -> String {
    match name.chars().count() {
        ..=LETTERS => name.to_owned(),
        _ => name.chars().take(LETTERS - 1).chain(['…']).collect(),
    }
}

fn px(value: f64) -> String {
    format!("{value:.1}")
}

#[cfg(test)]
mod tests {
    use super::super::super::answers::Answer;
    use super::*;

    /// Ways of a crawl: of source, fetched, decoded, ended, is_kept, pairs.
    fn answer(ways: &[[&str; 6]]) -> Answer {
        let columns = ["source", "fetched", "decoded", "ended", "is_kept", "pairs"];
        let cell = |text: &&str| Some((*text).to_owned()).filter(|text| !text.is_empty());
        Answer {
            columns: columns.map(str::to_owned).to_vec(),
            rows: ways.iter().map(|way| way.iter().map(cell).collect()).collect(),
            ..Answer::default()
        }
    }

    #[test]
    fn names_of_sources_stay_text_and_bands_are_as_thick_as_they_are_many() {
        let flow = Flow::of(&answer(&[
            ["<script>.csv", "got", "decoded", "train", "true", "750"],
            ["<script>.csv", "timeout", "", "", "", "250"],
        ]));
        let svg = draw(&flow, Lang::En).into_string();
        assert!(!svg.contains("<script") && svg.contains("&lt;script&gt;.csv"), "{svg}");
        assert_eq!(svg.matches("<path").count(), 4);
        assert_eq!(svg.matches("height=\"225.0\"").count(), 3, "{svg}");
        assert!(svg.contains("height=\"75.0\"") && svg.contains("750 · 75.0 %"), "{svg}");
    }
}
