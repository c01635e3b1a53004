//! HTTP for both servers. In: connections, and what answers requests. Out: answers, until the server stops; then what is under way
//! may end. Clients that stop to speak are left.

use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::server::listen::{Connection, Listener};

/// Who is answered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peers {
    /// Browsers, and whatever else speaks HTTP.
    All,
    /// gRPC, which is HTTP/2. Without TLS no browser speaks that from its first byte on, so that no site that somebody looks at can ask,
    /// whatever its name is made to resolve to.
    Programs,
}

/// How long the head of an HTTP/1 request may take, and a connection may be idle.
const HEAD_LIMIT: Duration = Duration::from_secs(30);

/// How often an HTTP/2 client is asked whether it is still there, and how long it may take to say so.
const ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const ALIVE_LIMIT: Duration = Duration::from_secs(20);

/// Requests at once on one HTTP/2 connection.
const MOST_STREAMS: u32 = 128;

/// Bytes of requests that may be on their way, one request and all of a connection: queries are short.
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 256 << 10;

/// Bytes of the heads of one request.
const MOST_HEAD_BYTES: u32 = 32 << 10;

/// Answers requests at `listener` until `stop` is cancelled and what was under way then has ended.
pub(crate) async fn serve(
    listener: Listener,
    router: Router,
    peers: Peers,
    stop: CancellationToken,
) {
    let mut connections = listener.connections(stop.clone());
    // Nothing is sent: it is closed when the last connection has dropped its end.
    let (open, mut all_closed) = mpsc::channel::<()>(1);
    while let Some(Some(connection)) = stop.run_until_cancelled(connections.recv()).await {
        let (open, router, stop) = (open.clone(), router.clone(), stop.clone());
        tokio::spawn(async move {
            serve_connection(connection, router, peers, stop).await;
            drop(open);
        });
    }
    drop(open);
    all_closed.recv().await;
}

async fn serve_connection(
    connection: Connection,
    router: Router,
    peers: Peers,
    stop: CancellationToken,
) {
    let mut builder = Builder::new(TokioExecutor::new());
    if peers == Peers::Programs {
        builder = builder.http2_only();
    }
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(ALIVE_INTERVAL)
        .keep_alive_timeout(ALIVE_LIMIT)
        .max_concurrent_streams(MOST_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(MOST_HEAD_BYTES);
    let mut silence = pin!(connection.silence());
    let service = TowerToHyperService::new(router);
    let mut serving = pin!(builder.serve_connection(TokioIo::new(connection), service));
    tokio::select! {
        // How a connection ended is the client's to say.
        _ = serving.as_mut() => return,
        () = silence.as_mut() => return,
        () = stop.cancelled() => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}
