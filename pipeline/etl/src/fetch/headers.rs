//! Headers of one's own for some hosts, such as cookies of what one may use. In: a TOML file with a table a domain. Out: the headers of
//! a request. They go to that domain and those below it, and nowhere else, whatever a redirect says; they are never written down.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

/// Headers by domain.
#[derive(Debug, Default)]
pub(super) struct OwnHeaders(BTreeMap<String, HeaderMap>);

impl OwnHeaders {
    /// Of the file `fetch.headers`; none if it is empty.
    ///
    /// # Errors
    /// No such file, or another one.
    pub(super) fn read(path: &str) -> Result<Self> {
        if path.is_empty() {
            return Ok(Self::default());
        }
        let text = std::fs::read_to_string(Path::new(path));
        let text = text.with_context(|| format!("fetch.headers: {path}"))?;
        Self::parse(&text).with_context(|| format!("fetch.headers: {path}"))
    }

    fn parse(text: &str) -> Result<Self> {
        let tables: BTreeMap<String, BTreeMap<String, String>> =
            toml::from_str(text).context("expected a table of texts for each domain")?;
        let mut domains = BTreeMap::new();
        for (domain, table) in tables {
            let Ok(url) = Url::parse(&format!("http://{domain}/")) else {
                bail!("expected a domain, found `{domain}`");
            };
            let mut headers = HeaderMap::new();
            for (name, value) in table {
                let parsed = HeaderName::from_bytes(name.as_bytes());
                let parsed = parsed.with_context(|| format!("{domain}: header `{name}`"))?;
                let mut value = HeaderValue::from_bytes(value.as_bytes())
                    .with_context(|| format!("{domain}: the value of `{name}`"))?;
                value.set_sensitive(true);
                headers.insert(parsed, value);
            }
            domains.insert(url.host_str().unwrap_or_default().to_owned(), headers);
        }
        Ok(Self(domains))
    }

    /// The headers for `url`: those of its host, or of the nearest domain above it that has any.
    pub(super) fn of(&self, url: &Url) -> Option<&HeaderMap> {
        let mut domain = url.host_str()?;
        loop {
            if let Some(headers) = self.0.get(domain) {
                return Some(headers);
            }
            domain = domain.split_once('.')?.1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_go_to_their_domain_alone() {
        let own = OwnHeaders::parse(
            "[\"example.com\"]\nCookie = \"a=1\"\n[\"img.例子.cn\"]\nAuthorization = \"Bearer 图\"\n",
        )
        .unwrap();
        let has = |url: &str, name: &str| {
            own.of(&Url::parse(url).unwrap()).is_some_and(|headers| headers.contains_key(name))
        };
        assert!(has("http://example.com/a", "cookie"));
        assert!(has("https://a.b.example.com/a", "cookie"));
        assert!(has("http://img.例子.cn/a", "authorization"));
        for other in [
            "http://com/",
            "http://notexample.com/",
            "http://example.com.evil.org/",
            "http://例子.cn/",
        ] {
            assert!(own.of(&Url::parse(other).unwrap()).is_none(), "{other}");
        }
    }

    #[test]
    fn another_file_is_refused() {
        for text in [
            "a = 1",
            "[\"a b\"]\nx = \"1\"",
            "[\"a.com\"]\n\"x y\" = \"1\"",
            "[\"a.com\"]\nx = \"1\\n2\"",
        ] {
            assert!(OwnHeaders::parse(text).is_err(), "{text}");
        }
    }
}
