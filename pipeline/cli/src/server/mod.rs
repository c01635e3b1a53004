//! `tuwen serve` behind its flags. In: a corpus. Out: answers to programs over Arrow Flight SQL (`flight/`) and to people over HTTP
//! (`page/`). `served.rs` is what both answer from. Never writes to a corpus.

mod access;
mod page;
mod served;

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub(crate) use self::served::{Bounds, Served};

/// Serves the page at `address` until `stop` is cancelled.
///
/// # Errors
/// The address cannot be listened on.
pub(crate) async fn serve(
    served: std::sync::Arc<Served>,
    address: std::net::SocketAddr,
    stop: CancellationToken,
) -> Result<()> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("the page cannot listen on {address}"))?;
    tracing::info!("page: http://{}/", listener.local_addr()?);
    axum::serve(listener, page::router(served, access::Access::open()))
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
        .context("serving the page")
}
