//! The door where a token is set. In: the token, by a form. Out: a cookie, and the pages.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Query, Request, State};
use axum::http::header::SET_COOKIE;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use serde::Deserialize;
use tokio::time::timeout;

use super::guard::{Guard, LOGIN};
use super::lang::Lang;
use super::layout::bare_page;

/// Bytes of what is typed, and how long they may take: whoever sends none would keep a connection from others.
const MOST_BYTES: usize = 4 << 10;
const BODY_LIMIT: Duration = Duration::from_secs(10);

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
pub(super) async fn login(State(guard): State<Guard>, lang: Lang, request: Request) -> Response {
    let Some(token) = token(request.into_body(), BODY_LIMIT).await else {
        return StatusCode::REQUEST_TIMEOUT.into_response();
    };
    match guard.pass(token.trim()) {
        Some(cookie) => ([(SET_COOKIE, cookie)], Redirect::to("/")).into_response(),
        None => (StatusCode::UNAUTHORIZED, shown(lang, true)).into_response(),
    }
}

/// The token in a form, empty if there is none; none if the form does not come within `limit`.
async fn token(body: Body, limit: Duration) -> Option<String> {
    let body = timeout(limit, to_bytes(body, MOST_BYTES)).await.ok()?.unwrap_or_default();
    // A form is written as a query is.
    let uri =
        std::str::from_utf8(&body).ok().and_then(|text| format!("/?{text}").parse::<Uri>().ok());
    let form = uri.and_then(|uri| Query::<Form>::try_from_uri(&uri).ok());
    Some(form.map(|Query(form)| form.token).unwrap_or_default())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_form_is_small_and_comes_in_time() {
        let limit = Duration::from_millis(50);
        let silent = futures::stream::pending::<Result<Vec<u8>, std::convert::Infallible>>();
        for (body, expected) in [
            (Body::from("token=a%2Bb"), Some("a+b")),
            (Body::from(""), Some("")),
            (Body::from(format!("token={}", "a".repeat(MOST_BYTES))), Some("")),
            (Body::from_stream(silent), None),
        ] {
            assert_eq!(token(body, limit).await.as_deref(), expected);
        }
    }
}
