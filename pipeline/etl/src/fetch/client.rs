//! The HTTP client. In: the settings, and how names are resolved. Out: a client for crawls, which follows no redirects and goes through a
//! proxy only where that is allowed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::Proxy;
use reqwest::header::HeaderValue;
use reqwest::redirect::Policy;
use tuwen_settings::{FetchSettings, ProxyUse};

use crate::fetch::resolve::Names;

/// Header lines of an answer that are read; browsers read as many and more.
const MOST_HEADERS: usize = 1000;

/// A connection that is not used is kept for so long: a crawl has more hosts than a process has files.
const IDLE_LIFE: Duration = Duration::from_secs(2);

/// Without a proxy these are not there, or are what the hosts are asked through.
const PROXY_VARIABLES: [&str; 6] =
    ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

/// A client, and whether it goes through a proxy.
pub(super) struct Client {
    pub(super) http: reqwest::Client,
    pub(super) through_proxy: bool,
}

impl Client {
    /// # Errors
    /// A proxy is set that would evade the guard; a setting cannot be used.
    pub(super) fn new(settings: &FetchSettings, names: &Names) -> Result<Self> {
        let mut agent = settings.user_agent.clone();
        if !settings.contact.is_empty() {
            agent = format!("{agent} (+{})", settings.contact);
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(
                header_value("fetch.user_agent and fetch.contact", &agent)?
                    .context("fetch.user_agent")?,
            )
            .connect_timeout(Duration::from_secs(settings.connect_timeout_secs))
            .redirect(Policy::none())
            .referer(false)
            .http1_max_headers(MOST_HEADERS)
            .http1_ignore_invalid_headers_in_responses(true)
            .http1_allow_spaces_after_header_name_in_responses(true)
            .http1_allow_obsolete_multiline_headers_in_responses(true)
            .pool_max_idle_per_host(settings.per_host)
            .pool_idle_timeout(IDLE_LIFE);
        let proxy = proxy(settings)?;
        builder = match &proxy {
            // For all requests, so that the only name that the client resolves itself is the proxy's.
            Some(proxy) => builder
                .no_proxy()
                .proxy(Proxy::all(proxy).context("the proxy that the environment names")?)
                .dns_resolver(Arc::new(names.any_address())),
            None => builder.no_proxy().dns_resolver(Arc::new(names.clone())),
        };
        let http = builder.build().context("the HTTP client")?;
        Ok(Self { http, through_proxy: proxy.is_some() })
    }
}

/// The proxy that requests go through.
fn proxy(settings: &FetchSettings) -> Result<Option<String>> {
    let set = PROXY_VARIABLES.iter().find_map(|name| {
        let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
        Some((name, value))
    });
    let Some((variable, proxy)) = set else { return Ok(None) };
    match settings.proxy {
        ProxyUse::Ignore => Ok(None),
        ProxyUse::Use => Ok(Some(proxy)),
        ProxyUse::Refuse if settings.allow_private_hosts => Ok(Some(proxy)),
        ProxyUse::Refuse => bail!(
            "{variable} names a proxy: it would resolve names itself, so that nobody sees whether a URL leads to a private address\n\
             hint: --set fetch.proxy=use if the proxy keeps requests away from private addresses, --set fetch.proxy=ignore to ask the hosts directly"
        ),
    }
}

/// The value of a header, none if it is empty. It may have letters of any script, as UTF-8.
pub(super) fn header_value(setting: &str, text: &str) -> Result<Option<HeaderValue>> {
    let value = HeaderValue::from_bytes(text.as_bytes());
    let value = value.with_context(|| format!("{setting}: expected a text of one line"))?;
    Ok(Some(value).filter(|value| !value.is_empty()))
}
