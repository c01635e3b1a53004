//! Names to addresses. In: a host name. Out: the addresses that may be asked, or why there are none. Each lookup is a task that waits,
//! not a thread; what a name server said is kept as long as it said. Addresses that are not public are never given out unless private
//! hosts are allowed, whatever a name says they are.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
    ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::Name;
use hickory_resolver::{TokioResolver, system_conf};
use moka::future::Cache;
use reqwest::dns::{Addrs, Resolve, Resolving};
use tokio::sync::Semaphore;
use tuwen_settings::FetchSettings;

use crate::fetch::FetchOutcome;
use crate::fetch::address::is_public;
use crate::fetch::attempt::Failure;

/// Lookups under way at once, or twice the requests if those are more.
const LOOKUPS: usize = 100;

/// Answers kept.
const CACHED_ANSWERS: u64 = 50_000;

/// How long an answer is given out again without asking whether it still holds.
const KNOWN_FOR: Duration = Duration::from_secs(60);

/// Questions that wait for one name server at once, more than ever are.
const ACTIVE_QUESTIONS: usize = 10_000;

/// The port of name servers.
const DNS_PORT: u16 = 53;

const PRIVATE: &str = "its address is not public";

/// Who knows names.
#[derive(Clone)]
pub(super) struct Names {
    resolver: TokioResolver,
    allow_private_hosts: bool,
    timeout: Duration,
    lookups: Arc<Semaphore>,
    /// What was given out a moment ago: a request goes to the address at which it has a place, whatever a name says the next time.
    known: Cache<String, Arc<[IpAddr]>>,
}

impl Names {
    /// # Errors
    /// `fetch.name_server` is no address; the system's configuration cannot be read.
    pub(super) fn new(settings: &FetchSettings) -> Result<Self> {
        let (config, mut options) = match settings.name_server.as_str() {
            "" => system_conf::read_system_conf().unwrap_or_else(|error| {
                tracing::warn!(
                    "the system's name servers are not known, only addresses can be asked: {error}"
                );
                Default::default()
            }),
            server => (given(server)?, ResolverOpts::default()),
        };
        options.ip_strategy = LookupIpStrategy::Ipv4thenIpv6;
        options.use_hosts_file = ResolveHosts::Always;
        options.cache_size = CACHED_ANSWERS;
        options.max_active_requests = ACTIVE_QUESTIONS;
        let timeout = Duration::from_secs(settings.dns_timeout_secs);
        options.timeout = options.timeout.min(timeout);
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        Ok(Self {
            resolver: builder.build().context("the resolver of names")?,
            allow_private_hosts: settings.allow_private_hosts,
            timeout,
            lookups: Arc::new(Semaphore::new(LOOKUPS.max(2 * settings.concurrency))),
            known: Cache::builder().max_capacity(CACHED_ANSWERS).time_to_live(KNOWN_FOR).build(),
        })
    }

    /// The same, for names that the user chose.
    pub(super) fn any_address(&self) -> Self {
        let known = Cache::new(1);
        Self { allow_private_hosts: true, known, ..self.clone() }
    }

    /// The addresses of `host` that may be asked, at least one.
    pub(super) async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, Failure> {
        if let Some(known) = self.known.get(host).await {
            return Ok(known.to_vec());
        }
        let _turn = self.lookups.acquire().await;
        // With a dot at its end a name is complete: the system's search list is for names that people type.
        let name = Name::from_ascii(format!("{}.", host.trim_end_matches('.')));
        let name = name.map_err(|error| Failure::new(FetchOutcome::BadUrl, error))?;
        let all = tokio::time::timeout(self.timeout, self.resolver.lookup_ip(name)).await;
        let all = all.map_err(|_elapsed| {
            let secs = self.timeout.as_secs();
            Failure::new(FetchOutcome::Dns, format!("{host}: no name server answered in {secs} s"))
        })?;
        let all: Vec<IpAddr> = all.map_err(|error| failure(host, &error))?.iter().collect();
        if all.is_empty() {
            return Err(Failure::new(FetchOutcome::UnknownHost, format!("{host}: no address")));
        }
        let allowed = |address: &IpAddr| self.allow_private_hosts || is_public(*address);
        let allowed: Vec<IpAddr> = all.into_iter().filter(allowed).collect();
        if allowed.is_empty() {
            return Err(Failure::new(FetchOutcome::PrivateHost, format!("{host}: {PRIVATE}")));
        }
        self.known.insert(host.to_owned(), Arc::from(allowed.as_slice())).await;
        Ok(allowed)
    }
}

fn failure(host: &str, error: &NetError) -> Failure {
    if error.is_no_records_found() {
        let detail = if error.is_nx_domain() { "no such name" } else { "no address" };
        return Failure::new(FetchOutcome::UnknownHost, format!("{host}: {detail}"));
    }
    Failure::of_network(FetchOutcome::Dns, format!("{host}: {error}"))
}

/// `ADDRESS` or `ADDRESS:PORT`.
fn given(server: &str) -> Result<ResolverConfig> {
    let address: SocketAddr = server
        .parse()
        .or_else(|_| server.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS_PORT)))
        .with_context(|| {
            format!("fetch.name_server: expected ADDRESS or ADDRESS:PORT, found `{server}`")
        })?;
    let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    for connection in &mut connections {
        connection.port = address.port();
    }
    let server = NameServerConfig::new(address.ip(), true, connections);
    Ok(ResolverConfig::from_name_servers(vec![server]))
}

/// A failure on its way through the HTTP client, which knows it by this type.
#[derive(Debug)]
pub(super) struct Unresolved(pub(super) Failure);

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.detail)
    }
}

impl std::error::Error for Unresolved {}

impl Resolve for Names {
    fn resolve(&self, name: reqwest::dns::Name) -> Resolving {
        let names = self.clone();
        Box::pin(async move {
            let addresses = names.addresses(name.as_str()).await.map_err(Unresolved)?;
            let addresses = addresses.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}
