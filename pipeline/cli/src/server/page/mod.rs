//! The web page. In: requests of a browser. Out: whole pages, made here; no build step, nothing from elsewhere. `guard.rs` says who may
//! see them, `layout.rs` is what all pages have around them, `lang.rs` the language that a reader wants, `words.rs` what the tables'
//! own words mean, `fault.rs` a page that says what went wrong. `gallery/`, `picture/`, `rows/`,
//! `plots.rs`, `sql/` and `tables.rs` are pages; `answers.rs` keeps what was counted for them.

mod answers;
mod ask;
mod assets;
mod cookies;
mod fault;
mod gallery;
mod guard;
mod lang;
mod layout;
mod links;
mod login;
mod originals;
mod outcomes;
mod picture;
mod pixels;
mod places;
mod plots;
mod rows;
mod sql;
mod tables;
mod words;

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;

use self::answers::Answers;
use self::ask::Seeker;
use self::gallery::Shelf;
use self::guard::{Guard, LOGIN};
use self::picture::Pictures;
use self::pixels::Squares;
use self::sql::Desk;
use crate::server::Served;
use crate::server::access::Access;
use crate::server::queries::Queries;

/// All pages, and what stands `beside` them, for those whom `access` lets in; `is_tls`: they are read by https.
pub(crate) fn router(
    served: Arc<Served>,
    queries: &Arc<Queries>,
    access: Access,
    is_tls: bool,
    beside: Router,
) -> Router {
    let explored = explored(&served, queries);
    let shelf = Arc::new(Shelf::new(Arc::clone(&served), Arc::clone(queries)));
    let seeker = Arc::new(Seeker::new(Arc::clone(&served)));
    let squares = Arc::new(Squares::new(served));
    warm_up(Arc::clone(&shelf), Arc::clone(&squares), Arc::clone(&seeker));
    let guard = Guard::new(access, is_tls);
    let gallery = Router::new().route("/", get(gallery::gallery)).with_state(Arc::clone(&shelf));
    let pictures = Router::new()
        .route("/pictures/{image_id}", get(picture::picture))
        .route("/pairs/{example_id}", get(picture::pair))
        .with_state(Pictures { shelf, seeker: Arc::clone(&seeker) });
    let files = Router::new()
        .route("/pixels/{image_id}", get(pixels::pixels))
        .with_state(squares)
        .route("/static/{checksum}/{name}", get(assets::asset));
    let originals =
        Router::new().route("/originals/{image_id}", get(originals::original)).with_state(seeker);
    let door =
        Router::new().route(LOGIN, get(login::form).post(login::login)).with_state(guard.clone());
    gallery
        .merge(pictures)
        .merge(files)
        .merge(originals)
        .merge(explored)
        .merge(door)
        .merge(beside)
        .fallback(nothing)
        .layer(from_fn_with_state(guard, guard::guarded))
        .layer(from_fn(fault::framed))
        .layer(from_fn(guard::sealed))
}

/// What was counted, and the box of SQL.
fn explored(served: &Arc<Served>, queries: &Arc<Queries>) -> Router {
    let answers = Arc::new(Answers::of(Arc::clone(served), Arc::clone(queries)));
    let desk = Arc::new(Desk::new(Arc::clone(served), Arc::clone(queries)));
    let counted = Router::new()
        .route("/rows", get(rows::rows))
        .route("/plots", get(plots::plots))
        .route("/tables", get(tables::tables))
        .with_state(answers);
    let asked = Router::new()
        .route("/sql", get(sql::page))
        .route("/sql/download", get(sql::download))
        .route("/sql/complete", get(sql::complete))
        .with_state(desk);
    counted.merge(asked)
}

async fn nothing() -> fault::Fault {
    fault::Fault::not_found("there is nothing at this address")
}

/// Reads ahead what the first page needs, while nobody waits for it.
fn warm_up(shelf: Arc<Shelf>, squares: Arc<Squares>, seeker: Arc<Seeker>) {
    tokio::spawn(async move {
        // What goes wrong is told to who asks for a page.
        let _ = shelf.rows().await;
        let _ = squares.open().await;
        shelf.model_captions().await;
        let _ = seeker.open().await;
    });
}
