//! The language of a page. In: the query string, the cookie that an earlier choice left, or what the browser asks for. Out: English
//! or Chinese. Both stand side by side where they are used.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::ACCEPT_LANGUAGE;
use axum::http::request::Parts;

use super::cookies::cookie;

/// The cookie that keeps a choice, and the parameter that makes one.
pub(super) const LANG: &str = "lang";

/// A language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lang {
    En,
    Zh,
}

impl Lang {
    /// The one of two texts that is in this language.
    pub(super) fn say<'a>(self, en: &'a str, zh: &'a str) -> &'a str {
        match self {
            Self::En => en,
            Self::Zh => zh,
        }
    }

    /// As BCP 47 has it.
    pub(super) fn tag(self) -> &'static str {
        self.say("en", "zh-CN")
    }

    /// The other one.
    pub(super) fn other(self) -> Self {
        match self {
            Self::En => Self::Zh,
            Self::Zh => Self::En,
        }
    }

    /// As the parameter and the cookie have it.
    pub(super) fn code(self) -> &'static str {
        self.say("en", "zh")
    }

    /// What a request of this query and these headers wants.
    pub(super) fn of(query: Option<&str>, headers: &HeaderMap) -> Self {
        let cookie = cookie(headers, LANG);
        if let Some(chosen) = Self::chosen(query).or(cookie.as_deref().map(Self::of_tag)) {
            return chosen;
        }
        let wanted = headers.get(ACCEPT_LANGUAGE).and_then(|text| text.to_str().ok());
        Self::of_tag(&wanted.unwrap_or_default().trim().to_ascii_lowercase())
    }

    /// What the query chooses, if it does.
    pub(super) fn chosen(query: Option<&str>) -> Option<Self> {
        let mut pairs = query.unwrap_or_default().rsplit('&');
        pairs.find_map(|pair| pair.strip_prefix("lang=")).map(Self::of_tag)
    }

    fn of_tag(tag: &str) -> Self {
        if tag.starts_with("zh") { Self::Zh } else { Self::En }
    }
}

impl<S: Sync> FromRequestParts<S> for Lang {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts.uri.query(), &parts.headers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_wins_over_the_cookie_and_that_over_the_browser() {
        for (query, cookie, browser, expected) in [
            (None, None, None, Lang::En),
            (None, None, Some("zh-TW,zh;q=0.9,en;q=0.8"), Lang::Zh),
            (None, None, Some("en-GB,zh"), Lang::En),
            (None, Some("a=b; lang=zh"), Some("en"), Lang::Zh),
            (Some("q=zh&lang=en"), Some("lang=zh"), Some("zh"), Lang::En),
            (Some("lang=en&lang=zh"), None, None, Lang::Zh),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [("cookie", cookie), ("accept-language", browser)] {
                value.map(|value| headers.insert(name, value.parse().unwrap()));
            }
            assert_eq!(Lang::of(query, &headers), expected, "{query:?} {cookie:?} {browser:?}");
        }
    }
}
