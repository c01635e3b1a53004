//! A report as one page of HTML. In: a [`Report`]. Out: a file for a mail or a pull request, which loads nothing: its Content Security
//! Policy allows its own style and pictures that stand in it. Captions and URLs are hostile; all text is escaped.

use indicatif::HumanCount;
use maud::{DOCTYPE, Markup, PreEscaped, html as markup};

use super::{Body, Group, Report, Rows, Section};
use crate::plot::{Bar, bars};

const STYLE: &str = include_str!("report.css");

/// The page.
pub(crate) fn html(report: &Report) -> String {
    let title = format!("Corpus {}", report.corpus);
    let page = markup! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (title) }
                    p { "Made by tuwen " (env!("CARGO_PKG_VERSION")) " at " (report.made_at) " UTC." }
                    table {
                        thead { tr { th scope="col" { "table" } th.number scope="col" { "version" } th.number scope="col" { "rows" } } }
                        tbody {
                            @for (name, version, rows) in &report.tables {
                                tr { td { (name) } td.number { (version) } td.number { (HumanCount(*rows)) } }
                            }
                        }
                    }
                }
                nav aria-label="Contents" {
                    ul { @for (i, section) in report.sections.iter().enumerate() { li { a href={ "#s" (i) } { (section.title) } } } }
                }
                main { @for (i, section) in report.sections.iter().enumerate() { (of_section(i, section)) } }
            }
        }
    };
    page.into_string()
}

fn of_section(i: usize, section: &Section) -> Markup {
    markup! {
        section id={ "s" (i) } {
            h2 { (section.title) }
            @if !section.note.is_empty() { p { (section.note) } }
            @match &section.body {
                Body::Bars(rows) => (of_bars(rows)),
                Body::Table(rows) => (of_rows(rows)),
                Body::Gallery(groups) => @for group in groups { (of_group(group)) },
            }
        }
    }
}

fn of_bars(rows: &[(String, u64)]) -> Markup {
    bars(&rows.iter().map(|(name, n)| Bar::counts(name.as_str(), &[*n])).collect::<Vec<_>>())
}

fn of_rows(rows: &Rows) -> Markup {
    let class = |i: usize| rows.is_number[i].then_some("number");
    markup! {
        div.wide {
            table {
                thead { tr { @for (i, column) in rows.columns.iter().enumerate() { th class=[class(i)] scope="col" { (column) } } } }
                tbody {
                    @for row in &rows.rows {
                        tr { @for (i, cell) in row.iter().enumerate() { td class=[class(i)] { (cell) } } }
                    }
                }
            }
        }
    }
}

fn of_group(group: &Group) -> Markup {
    markup! {
        h3 { (group.title) }
        div.gallery {
            @for picture in &group.pictures {
                figure {
                    @match &picture.thumbnail {
                        Some(uri) => img src=(uri) alt=(picture.text) width="96" height="96" loading="lazy";,
                        None => div.none role="img" aria-label="no picture" { "no picture" },
                    }
                    figcaption {
                        (picture.text)
                        @if !picture.source.is_empty() { small title=(picture.source) { (shortened(&picture.source)) } }
                    }
                }
            }
        }
    }
}

/// The end of a URL or path, which tells it from others.
fn shortened(source: &str) -> String {
    const CHARS: usize = 40;
    let n = source.chars().count();
    if n <= CHARS {
        return source.to_owned();
    }
    format!("…{}", source.chars().skip(n - CHARS + 1).collect::<String>())
}
