//! The language of a page. In: the query string, or what the browser asks for. Out: English or Chinese. Both stand side by side where
//! they are used.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::header::ACCEPT_LANGUAGE;
use axum::http::request::Parts;

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
}

impl<S: Sync> FromRequestParts<S> for Lang {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let pairs = parts.uri.query().unwrap_or_default().split('&');
        if let Some(asked) = pairs.rev().find_map(|pair| pair.strip_prefix("lang=")) {
            return Ok(if asked.starts_with("zh") { Self::Zh } else { Self::En });
        }
        let wanted = parts.headers.get(ACCEPT_LANGUAGE).and_then(|text| text.to_str().ok());
        let wanted = wanted.unwrap_or_default().to_ascii_lowercase();
        Ok(if wanted.trim_start().starts_with("zh") { Self::Zh } else { Self::En })
    }
}
