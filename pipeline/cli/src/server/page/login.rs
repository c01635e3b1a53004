//! The door where a token is set. In: the token, by a form. Out: a cookie, and the pages.

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::header::SET_COOKIE;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use serde::Deserialize;

use super::guard::{Guard, LOGIN};
use super::lang::Lang;
use super::layout::bare_page;

#[derive(Deserialize)]
struct Form {
    #[serde(default)]
    token: String,
}

/// The form.
pub(super) async fn form(lang: Lang) -> Response {
    shown(lang, false).into_response()
}

/// What was typed.
pub(super) async fn login(State(guard): State<Guard>, lang: Lang, body: Bytes) -> Response {
    // A form is written as a query is.
    let uri =
        std::str::from_utf8(&body).ok().and_then(|text| format!("/?{text}").parse::<Uri>().ok());
    let form = uri.and_then(|uri| Query::<Form>::try_from_uri(&uri).ok());
    let token = form.map(|Query(form)| form.token).unwrap_or_default();
    match guard.pass(token.trim()) {
        Some(cookie) => ([(SET_COOKIE, cookie)], Redirect::to("/")).into_response(),
        None => (StatusCode::UNAUTHORIZED, shown(lang, true)).into_response(),
    }
}

fn shown(lang: Lang, is_wrong: bool) -> impl IntoResponse {
    let body = html! {
        form.login method="post" action=(LOGIN) {
            label for="token" { (lang.say("The token that `tuwen serve` was given", "启动 `tuwen serve` 时设定的令牌")) }
            input id="token" name="token" type="password" autocomplete="current-password" required autofocus
                aria-invalid=[is_wrong.then_some("true")] aria-describedby=[is_wrong.then_some("wrong")];
            @if is_wrong {
                p.error id="wrong" role="alert" { (lang.say("That is not the token.", "令牌不对。")) }
            }
            button.primary { (lang.say("Enter", "进入")) }
        }
    };
    bare_page(lang, lang.say("Token", "令牌"), &body)
}
