//! What all pages have around them. In: a title and a body. Out: a whole page: a link that skips to the content, the navigation, the
//! other language, the keys. No style and no script stands in it; both are files (`assets.rs`).

use axum::response::Html;
use maud::{DOCTYPE, Markup, html};

use super::assets::{ICON, SCRIPT, STYLE};
use super::lang::Lang;

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
    page_with_scripts(lang, tab, title, body, &[])
}

/// The same, with more files of script (`/static/…`), which run once the page is there.
pub(super) fn page_with_scripts(
    lang: Lang,
    tab: Tab,
    title: &str,
    body: &Markup,
    scripts: &[String],
) -> Html<String> {
    whole(lang, Some(tab), title, body, scripts)
}

/// A page without the navigation being anywhere: what went wrong, and the door.
pub(super) fn bare_page(lang: Lang, title: &str, body: &Markup) -> Html<String> {
    whole(lang, None, title, body, &[])
}

fn whole(
    lang: Lang,
    tab: Option<Tab>,
    title: &str,
    body: &Markup,
    scripts: &[String],
) -> Html<String> {
    let markup = html! {
        (DOCTYPE)
        html lang=(lang.tag()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · tuwen" }
                link rel="icon" href=(ICON.href());
                link rel="stylesheet" href=(STYLE.href());
                script defer src=(SCRIPT.href()) {}
                @for script in scripts { script defer src=(script) {} }
            }
            body {
                a.skip href="#main" { (lang.say("Skip to the content", "跳到正文")) }
                header.top {
                    a.brand href="/" aria-label=(lang.say("tuwen, first page", "tuwen 首页")) { "tuwen" span lang="zh-CN" { "图文" } }
                    nav aria-label=(lang.say("Pages", "页面")) {
                        @for each in Tab::ALL {
                            a href=(each.path()) aria-current=[(Some(each) == tab).then_some("page")] { (each.name(lang)) }
                        }
                    }
                    div.tools {
                        button.help type="button" hidden data-help aria-keyshortcuts="?" { (lang.say("Keys", "按键")) }
                        @let other = lang.other();
                        a.lang href={ "?lang=" (other.code()) } lang=(other.tag()) hreflang=(other.tag()) data-lang=(other.code()) {
                            (other.say("English", "中文"))
                        }
                    }
                }
                main id="main" tabindex="-1" {
                    h1 { (title) }
                    (body)
                }
                (keys(lang))
            }
        }
    };
    Html(markup.into_string())
}

/// What the keys do, in a box that the key `?` opens.
fn keys(lang: Lang) -> Markup {
    let keys: [(&[&str], &str); 6] = [
        (
            &["j", "k", "←", "→", "↑", "↓"],
            lang.say("next and previous picture", "下一张、上一张图片"),
        ),
        (&["Enter"], lang.say("open the picture", "打开图片")),
        (&["u", "Esc"], lang.say("back to the gallery", "回到图库")),
        (&["/"], lang.say("search captions", "搜索描述")),
        (&["Home", "End"], lang.say("first and last picture on the page", "本页第一张、最后一张")),
        (&["?"], lang.say("this list", "本列表")),
    ];
    html! {
        dialog.keys id="keys" aria-labelledby="keys-title" {
            h2 id="keys-title" { (lang.say("Keys", "按键")) }
            dl {
                @for (names, what) in keys {
                    div { dt { @for name in names { kbd { (name) } " " } } dd { (what) } }
                }
            }
            form method="dialog" { button { (lang.say("Close", "关闭")) } }
        }
    }
}
