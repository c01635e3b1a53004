//! What all pages have around them. In: a title and a body. Out: a whole page.

use axum::response::Html;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::lang::Lang;

const STYLE: &str = include_str!("page.css");

/// A page that the navigation leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tab {
    Pictures,
    Rows,
    Plots,
    Sql,
    Tables,
}

impl Tab {
    const ALL: [Self; 5] = [Self::Pictures, Self::Rows, Self::Plots, Self::Sql, Self::Tables];

    fn path(self) -> &'static str {
        match self {
            Self::Pictures => "/",
            Self::Rows => "/rows",
            Self::Plots => "/plots",
            Self::Sql => "/sql",
            Self::Tables => "/tables",
        }
    }

    fn name(self, lang: Lang) -> &'static str {
        match self {
            Self::Pictures => lang.say("Pictures", "图片"),
            Self::Rows => lang.say("What became of the rows", "各行去向"),
            Self::Plots => lang.say("Plots", "图表"),
            Self::Sql => lang.say("SQL", "SQL"),
            Self::Tables => lang.say("Tables", "数据表"),
        }
    }
}

/// A page with the navigation above it.
pub(super) fn page(lang: Lang, tab: Tab, title: &str, body: &Markup) -> Html<String> {
    let markup = html! {
        (DOCTYPE)
        html lang=(lang.tag()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · tuwen" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    nav aria-label=(lang.say("Pages", "页面")) {
                        @for each in Tab::ALL {
                            a href=(each.path()) aria-current=[(each == tab).then_some("page")] { (each.name(lang)) }
                        }
                    }
                }
                main id="main" {
                    h1 { (title) }
                    (body)
                }
            }
        }
    };
    Html(markup.into_string())
}
