//! Metrics of a crawl under way, for Prometheus. In: an address to listen at, and the tally. Out: its text format (version 0.0.4) to
//! whoever asks for /metrics. Answers one kind of request, closes, and never holds a crawl up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::fetch::tally::Tally;

/// Bytes of a request that are read.
const MOST_REQUEST_BYTES: usize = 8 << 10;

/// A request must come, and be answered, within this.
const LIMIT: Duration = Duration::from_secs(5);

/// The server, until it is dropped.
pub(super) struct Metrics(JoinHandle<()>);

impl Metrics {
    /// Serves at `address` (`fetch.metrics`); none if it is empty.
    ///
    /// # Errors
    /// Nobody can listen there.
    pub(super) async fn serve(address: &str, tally: Arc<Tally>) -> Result<Option<Self>> {
        if address.is_empty() {
            return Ok(None);
        }
        let parsed: SocketAddr = address.parse().with_context(|| {
            format!(
                "fetch.metrics: expected ADDRESS:PORT, such as 127.0.0.1:9898, found `{address}`"
            )
        })?;
        let listener = TcpListener::bind(parsed).await;
        let listener =
            listener.with_context(|| format!("fetch.metrics: listening at {address}"))?;
        let accept = async move {
            loop {
                // One that cannot be accepted is the caller's loss.
                match listener.accept().await {
                    Ok((socket, _)) => {
                        let tally = Arc::clone(&tally);
                        tokio::spawn(timeout(LIMIT, async move { answer(socket, &tally).await }));
                    }
                    // The process may have no file left for it.
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        };
        Ok(Some(Self(tokio::spawn(accept))))
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn answer(mut socket: TcpStream, tally: &Tally) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < MOST_REQUEST_BYTES {
        if socket.read_buf(&mut request).await? == 0 {
            break;
        }
    }
    let path = request.strip_prefix(b"GET ").unwrap_or_default();
    let (status, body) = match path.starts_with(b"/metrics ") {
        true => ("200 OK", tally.metrics()),
        false => ("404 Not Found", "metrics are at /metrics\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).await?;
    socket.write_all(body.as_bytes()).await?;
    socket.shutdown().await
}
