//! The web page. In: requests of a browser. Out: whole pages, made here; no build step, nothing from elsewhere. `layout.rs` is what
//! all pages have around them, `lang.rs` the language that a reader wants, `fault.rs` a page that says what went wrong.

mod asked;
mod fault;
mod lang;
mod layout;
mod links;
mod plots;
mod reasons;
mod rows;
mod sql;
mod tables;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Html;
use axum::routing::get;
use maud::html;

use self::asked::Asked;
use self::fault::Fault;
use self::lang::Lang;
use self::layout::{Tab, page};
use crate::server::Served;

/// What the handlers share.
type Shared = State<Arc<Served>>;

/// All pages.
pub(crate) fn router(served: Arc<Served>) -> Router {
    let explored = explored(&served);
    Router::new().route("/", get(pictures)).with_state(served).merge(explored)
}

/// The pages of what was counted, and the box of SQL.
fn explored(served: &Arc<Served>) -> Router {
    let asked = Arc::new(Asked::of(Arc::clone(served)));
    Router::new()
        .route("/rows", get(rows::show))
        .route("/plots", get(plots::show))
        .route("/tables", get(tables::show))
        .with_state(asked)
        .merge(sql::router(Arc::clone(served)))
}

async fn pictures(State(served): Shared, lang: Lang) -> Result<Html<String>, Fault> {
    let session = served.session().await?;
    let body = html! { p { (session.snapshot().versions().len()) } };
    Ok(page(lang, Tab::Pictures, lang.say("Pictures", "图片"), &body))
}
