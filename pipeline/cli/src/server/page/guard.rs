//! Who may see the pages, and what a browser may make of them. In: a request. Out: a refusal, or the answer with the headers that keep
//! captions and URLs, which are hostile, from doing anything.
//!
//! Without a token the address is this machine's own, which every site that its user visits can send requests to. So the `Host` must
//! be a name of this machine or an address (a name of an attacker's that is made to resolve to 127.0.0.1, DNS rebinding, is neither),
//! and a request that a browser says to come from another site (`Origin`, `Sec-Fetch-Site`) is refused, but for a link that is followed.
//! With a token that is needed on top: as `Authorization: Bearer`, or by the cookie that `/login` gives for it.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, ORIGIN, REFERRER_POLICY,
    SET_COOKIE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use uuid::Uuid;

use super::cookies::cookie;
use super::fault::Fault;
use super::lang::{LANG, Lang};
use crate::server::access::Access;

/// What pages may load: what this server has, and pictures that stand in a page.
const POLICY: &str = "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The cookie of who has shown the token.
const PASS: &str = "tuwen_pass";

/// How long that is good for.
const PASS_FOR: Duration = Duration::from_secs(12 * 3600);

/// Passes that are good at once; the oldest goes first.
const MOST_PASSES: usize = 256;

/// How long a choice of a language is kept.
const LANG_SECS: u64 = 365 * 24 * 3600;

/// Where the token is shown.
pub(super) const LOGIN: &str = "/login";

/// Who may see the pages.
#[derive(Clone)]
pub(super) struct Guard {
    access: Access,
    is_tls: bool,
    passes: Arc<Mutex<VecDeque<(String, Instant)>>>,
}

impl Guard {
    pub(super) fn new(access: Access, is_tls: bool) -> Self {
        Self { access, is_tls, passes: Arc::default() }
    }

    /// A cookie for who shows the right token; it is no part of the token, since a browser sends it to whatever listens on this host.
    pub(super) fn pass(&self, token: &str) -> Option<String> {
        if !self.access.allows(token) {
            return None;
        }
        let pass = Uuid::new_v4().simple().to_string();
        let mut passes = self.passes.lock().unwrap_or_else(PoisonError::into_inner);
        if passes.len() == MOST_PASSES {
            passes.pop_front();
        }
        passes.push_back((pass.clone(), Instant::now()));
        let seconds = PASS_FOR.as_secs();
        let secure = if self.is_tls { "; Secure" } else { "" };
        Some(format!("{PASS}={pass}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"))
    }

    fn knows(&self, headers: &HeaderMap) -> bool {
        let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        if self.access.allows_header(header) {
            return true;
        }
        let Some(shown) = cookie(headers, PASS) else { return false };
        let passes = self.passes.lock().unwrap_or_else(PoisonError::into_inner);
        // A pass is random and says nothing of the token: how long the comparison takes does no harm.
        passes.iter().any(|(pass, since)| *pass == shown && since.elapsed() < PASS_FOR)
    }

    /// Refuses what a page of another site may have had the browser send.
    fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Fault> {
        let host = headers.get(HOST).and_then(|value| value.to_str().ok());
        let host = host.or(uri.authority().map(|authority| authority.as_str()));
        let host = host.ok_or_else(|| Fault::bad_request("expected one header Host"))?;
        if !self.access.needs_token() && !is_own_host(host) {
            return Err(Fault::forbidden(format!(
                "expected a request to localhost or an address, found one to the host `{host}`\n\
                 hint: open the page as http://127.0.0.1 or http://localhost, or set a token"
            )));
        }
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let is_followed = header("sec-fetch-mode") == Some("navigate")
            && header("sec-fetch-dest") == Some("document")
            && method == Method::GET;
        let is_own_site = matches!(header("sec-fetch-site"), None | Some("same-origin" | "none"));
        if !is_own_site && !is_followed {
            return Err(Fault::forbidden(
                "another site may link to this page, but not read from it",
            ));
        }
        if let Some(origin) = headers.get(ORIGIN) {
            let own = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
            if !own.is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host)) {
                return Err(Fault::forbidden("a page of another origin may not ask here"));
            }
        }
        Ok(())
    }
}

/// Whether `host` is a name of this machine or an address, whatever the port: a port may be forwarded.
fn is_own_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else { return false };
            return address.parse::<Ipv6Addr>().is_ok() && is_port(port);
        }
        None => match host.split_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            Some(_) => return false,
            None => host,
        },
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

/// Whether that is nothing, or a colon and a number.
fn is_port(text: &str) -> bool {
    let Some(number) = text.strip_prefix(':') else { return text.is_empty() };
    number.bytes().all(|byte| byte.is_ascii_digit())
}

/// Lets a request through, or not.
pub(super) async fn guarded(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.check(request.method(), request.uri(), request.headers()) {
        Err(fault) => fault.into_response(),
        Ok(()) if !matches!(*request.method(), Method::GET | Method::HEAD | Method::POST) => {
            StatusCode::METHOD_NOT_ALLOWED.into_response()
        }
        Ok(()) if is_public(request.uri().path()) || guard.knows(request.headers()) => {
            next.run(request).await
        }
        Ok(()) if accepts_html(request.headers()) => Redirect::to(LOGIN).into_response(),
        Ok(()) => Fault::forbidden("expected the token of `tuwen serve`, found none that it knows")
            .status(StatusCode::UNAUTHORIZED)
            .into_response(),
    }
}

/// Whether this page, its reader, or a program asks. A query that stands in a link of another site is shown, and not run: it may be
/// one that keeps this machine busy.
pub(super) fn is_asked_here(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    matches!(site, None | Some(b"same-origin" | b"none"))
}

/// Tells the browser what it may do with an answer, whatever that is.
pub(super) async fn sealed(request: Request, next: Next) -> Response {
    let chosen = Lang::chosen(request.uri().query());
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // With none at all a browser names no origin where it sends a form.
        (REFERRER_POLICY, "same-origin"),
        (X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // A file as it was crawled has a stricter one of its own.
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-cache"));
    if let Some(lang) = chosen {
        let kept = format!("{LANG}={}; Path=/; Max-Age={LANG_SECS}; SameSite=Lax", lang.code());
        if let Ok(kept) = HeaderValue::from_str(&kept) {
            headers.append(SET_COOKIE, kept);
        }
    }
    response
}

/// What the page of the login needs.
fn is_public(path: &str) -> bool {
    path == LOGIN || path.starts_with("/static/")
}

fn accepts_html(headers: &HeaderMap) -> bool {
    let accept = headers.get("accept").and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine_are_told_from_others() {
        for (host, expected) in [
            ("localhost", true),
            ("LocalHost:8080", true),
            ("127.0.0.1:9", true),
            ("[::1]:8080", true),
            ("[::1]", true),
            ("192.168.1.7:8080", true),
            ("evil.example:8080", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("127.0.0.1:80@evil.example", false),
            ("[::1", false),
            ("[::1].evil.example", false),
            ("[evil]:80", false),
            ("", false),
        ] {
            assert_eq!(is_own_host(host), expected, "{host}");
        }
    }

    #[test]
    fn a_pass_is_for_who_has_the_token() {
        let guard = Guard::new(Access::of_token("0123456789abcdef"), false);
        assert!(guard.pass("0123456789abcdeF").is_none());
        let cookie = guard.pass("0123456789abcdef").unwrap();
        let mut headers = HeaderMap::new();
        assert!(!guard.knows(&headers));
        headers.insert("cookie", HeaderValue::from_str(&cookie).unwrap());
        assert!(guard.knows(&headers));
        for _ in 0..MOST_PASSES {
            guard.pass("0123456789abcdef").unwrap();
        }
        assert!(!guard.knows(&headers), "the oldest goes first");
    }
}
