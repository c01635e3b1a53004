//! Who calls. In: the headers of a request. Out: whether it may, and the snapshot of its session. A session is a cookie, as Flight has it,
//! that names the versions of all tables: the server keeps nothing of it, so it outlasts the server, and cannot be too many.

use anyhow::{Context, Result};
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use tonic::Status;
use tonic::metadata::MetadataMap;
use tuwen_corpus::TableVersions;
use tuwen_schemas::TABLES;

use crate::server::access::Access;

/// The name that the specification gives the cookie.
const COOKIE: &str = "arrow_flight_session_id";

/// Some clients leave out the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Whether who sent `headers` may ask.
///
/// # Errors
/// It showed no token, or another.
pub(super) fn check(access: &Access, headers: &MetadataMap) -> Result<(), Status> {
    let header = authorization(headers);
    let by_password = || header.and_then(password).is_some_and(|token| access.allows(&token));
    match access.allows_header(header) || by_password() {
        true => Ok(()),
        false if header.is_none() => Err(Status::unauthenticated(
            "this server asks for a token: Authorization: Bearer TOKEN",
        )),
        false => Err(Status::unauthenticated("the token is not that of this server")),
    }
}

/// What a client is to show from now on that has shown `headers`: the token that it sent as a password, as JDBC does.
///
/// # Errors
/// As [`check`].
pub(super) fn handshake(access: &Access, headers: &MetadataMap) -> Result<String, Status> {
    check(access, headers)?;
    let header = authorization(headers).unwrap_or_default();
    Ok(match password(header) {
        Some(token) if access.needs_token() => format!("Bearer {token}"),
        // Nobody looks at it.
        Some(_) => "Bearer none".to_owned(),
        None => header.to_owned(),
    })
}

fn authorization(headers: &MetadataMap) -> Option<&str> {
    headers.get("authorization").and_then(|value| value.to_str().ok())
}

/// The password of `Basic BASE64(user:password)`, whoever the user.
fn password(authorization: &str) -> Option<String> {
    let (scheme, pair) = authorization.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(BASE64.decode(pair.trim()).ok()?).ok()?;
    pair.split_once(':').map(|(_, password)| password.to_owned())
}

/// The versions that the session of `headers` has; none if it has none, or one that says nothing here.
pub(super) fn session_of(headers: &MetadataMap) -> Option<TableVersions> {
    let cookies = headers.get_all("cookie").into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';'));
    pairs.find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        if name == COOKIE { parse(value.trim_matches('"')).ok() } else { None }
    })
}

/// The cookie of a session with the tables at `versions`.
pub(super) fn cookie(versions: &TableVersions) -> String {
    format!("{COOKIE}={}; HttpOnly; SameSite=Strict", text(versions))
}

/// The cookie that ends a session.
pub(super) fn no_cookie() -> String {
    format!("{COOKIE}=; Max-Age=0")
}

/// `pairs.3-images.12`.
pub(super) fn text(versions: &TableVersions) -> String {
    let parts = versions.iter().map(|(table, version)| format!("{table}.{version}"));
    parts.collect::<Vec<_>>().join("-")
}

/// The versions that `text` says.
///
/// # Errors
/// It is not what [`text`] makes.
pub(super) fn parse(text: &str) -> Result<TableVersions> {
    let parts = text.split('-').map(|part| {
        let (name, version) = part.split_once('.').context("expected TABLE.VERSION")?;
        let table = TABLES.iter().find(|table| table.name == name).context("no such table")?;
        Ok((table.name.to_owned(), i64::from(version.parse::<u32>()?)))
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn headers(name: &'static str, value: &str) -> MetadataMap {
        let mut headers = MetadataMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn a_token_is_shown_as_such_or_as_a_password() {
        let access = Access::of_token(TOKEN);
        for (value, expected) in [
            ("Bearer 0123456789abcdef", true),
            // any:0123456789abcdef
            ("Basic YW55OjAxMjM0NTY3ODlhYmNkZWY=", true),
            ("basic YW55OjAxMjM0NTY3ODlhYmNkZWY", true),
            ("Basic YW55OjAxMjM0NTY3ODlhYmNkZQ==", false),
            ("Basic ////", false),
            ("Bearer x", false),
        ] {
            let headers = headers("authorization", value);
            assert_eq!(check(&access, &headers).is_ok(), expected, "{value}");
            let shown = handshake(&access, &headers);
            assert_eq!(shown.ok(), expected.then(|| format!("Bearer {TOKEN}")), "{value}");
        }
        assert!(check(&access, &MetadataMap::new()).is_err());
        assert!(check(&Access::open(), &MetadataMap::new()).is_ok());
    }

    #[test]
    fn a_cookie_names_the_versions() {
        let versions = TableVersions::from([("pairs".to_owned(), 3), ("images".to_owned(), 12)]);
        let set = cookie(&versions);
        let sent = set.split(';').next().unwrap();
        assert_eq!(session_of(&headers("cookie", &format!("a=b; {sent}"))), Some(versions));
        for garbage in ["", "=", "pairs", "pairs.-1", "gone.1", "pairs.99999999999", "图"] {
            assert_eq!(parse(garbage).ok(), None, "{garbage}");
        }
        assert_eq!(session_of(&MetadataMap::new()), None);
    }
}
