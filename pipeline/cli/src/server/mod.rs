//! `tuwen serve` behind its flags. In: a corpus. Out: answers to programs over Arrow Flight SQL (`flight/`) and to people over HTTP
//! (`page/`). `served.rs` is what both answer from, `queries.rs` where queries of programs run, `access.rs` who may ask, `listen.rs`,
//! `tls.rs` and `http.rs` connections, `metrics.rs` what Prometheus asks for. Never writes to a corpus.

pub(crate) mod access;
mod flight;
mod http;
mod listen;
mod metrics;
mod page;
mod queries;
mod served;
pub(crate) mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

pub(crate) use self::served::{Bounds, Served};

/// How long what is under way may go on when the server is told to stop.
const GRACE: Duration = Duration::from_secs(10);

/// How long it takes to tell clients that their queries were ended.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Where a server is, and for whom.
pub(crate) struct Doors {
    /// For programs.
    pub(crate) flight: Option<SocketAddr>,
    /// For people.
    pub(crate) page: Option<SocketAddr>,
    pub(crate) access: access::Access,
    pub(crate) tls: Option<TlsAcceptor>,
}

/// Where a server is, once it is there.
pub(crate) struct Opened {
    pub(crate) flight: Option<String>,
    pub(crate) page: Option<String>,
}

/// Answers from `served` until `stop` is cancelled, and lets what is under way then end. `opened` is told where clients connect.
///
/// # Errors
/// An address cannot be listened at.
pub(crate) async fn serve(
    served: Arc<Served>,
    doors: Doors,
    stop: CancellationToken,
    opened: impl FnOnce(&Opened),
) -> Result<()> {
    let Doors { flight, page, access, tls } = doors;
    let flight = bound("serve.flight", flight, &tls).await?;
    let page = bound("serve.page", page, &tls).await?;
    opened(&Opened { flight: url("grpc", &flight)?, page: url("http", &page)? });

    let (metrics, end) = (Arc::new(metrics::Metrics::default()), CancellationToken::new());
    let queries = queries::Queries::start(served.bounds(), Arc::clone(&metrics), end.clone())?;
    let queries = Arc::new(queries);
    let mut serving = JoinSet::new();
    if let Some(listener) = flight {
        let router = flight::router(Arc::clone(&served), &queries, access.clone());
        serving.spawn(http::serve(listener, router, http::Peers::Programs, stop.clone()));
    }
    if let Some(listener) = page {
        let metrics = metrics_router(Arc::clone(&served), metrics);
        let router = page::router(served, &queries, access, tls.is_some(), metrics);
        serving.spawn(http::serve(listener, router, http::Peers::All, stop.clone()));
    }
    stop.cancelled().await;
    let mut ended = async || while serving.join_next().await.is_some() {};
    if timeout(GRACE, ended()).await.is_err() {
        let n = queries.n_under_way();
        tracing::warn!("stopping: {n} queries were under way for {} s more", GRACE.as_secs());
        end.cancel();
        // Whoever does not listen is not waited for.
        let _ = timeout(LAST_WORDS, ended()).await;
    }
    Ok(())
}

async fn bound(
    what: &str,
    address: Option<SocketAddr>,
    tls: &Option<TlsAcceptor>,
) -> Result<Option<listen::Listener>> {
    Ok(match address {
        Some(address) => Some(listen::Listener::bind(what, address, tls.clone()).await?),
        None => None,
    })
}

/// Where a listener is, as clients write it.
fn url(scheme: &str, listener: &Option<listen::Listener>) -> Result<Option<String>> {
    let Some(listener) = listener else { return Ok(None) };
    let tls = match (listener.is_tls(), scheme) {
        (false, _) => "",
        (true, "grpc") => "+tls",
        (true, _) => "s",
    };
    let address = listener.address()?;
    // Everywhere is no address to connect to, nor a name that a certificate has.
    let host = match address.ip().is_unspecified() {
        true => std::fs::read_to_string("/proc/sys/kernel/hostname")
            .map_or_else(|_| "localhost".to_owned(), |name| name.trim().to_owned()),
        false if address.is_ipv6() => format!("[{}]", address.ip()),
        false => address.ip().to_string(),
    };
    Ok(Some(format!("{scheme}{tls}://{host}:{}", address.port())))
}

/// `/metrics`, which stands behind the guard of the pages.
fn metrics_router(served: Arc<Served>, metrics: Arc<metrics::Metrics>) -> Router {
    let answer =
        async move || ([(CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.text(&served));
    Router::new().route("/metrics", get(answer))
}
