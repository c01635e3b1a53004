//! Where clients connect. In: an address. Out: connections, in TLS if that is wanted, so many at once at most. What a client makes others
//! wait for is bounded: its handshake, its first bytes, and how long it reads nothing of what is sent.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::server::queries::READER_PATIENCE;

/// How long a client may go on saying something that nothing more is sent to.
const LINGER: Duration = Duration::from_secs(1);

/// Connections at once: each holds some hundred kilobytes at worst.
const MOST_CONNECTIONS: usize = 512;

/// Connections that are open and wait to be served.
const CONNECTIONS_AHEAD: usize = 16;

/// How long a client may take for the handshake of TLS, or to begin to ask.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes that HTTP/2 begins with, and less than any head of HTTP/1 has.
const LEAST_BYTES: usize = 24;

/// An address that is listened at.
pub(crate) struct Listener {
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl Listener {
    /// Listens at `address` for `what`, a setting.
    ///
    /// # Errors
    /// Somebody else does, or it is no address of this machine.
    pub(crate) async fn bind(
        what: &str,
        address: SocketAddr,
        tls: Option<TlsAcceptor>,
    ) -> Result<Self> {
        let tcp = TcpListener::bind(address).await.map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => anyhow::anyhow!(
                "{what}: another program listens at {address} already\n\
                 hint: --{} {} listens at another port, --{0} off nowhere",
                what.trim_start_matches("serve."),
                SocketAddr::new(address.ip(), address.port().wrapping_add(1).max(1024)),
            ),
            _ => anyhow::anyhow!("{what}: cannot listen at {address}: {error}"),
        })?;
        Ok(Self { tcp, tls })
    }

    /// Where it is; the port is one that was free if it was asked for as 0.
    ///
    /// # Errors
    /// The system does not say.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Whether connections are in TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Accepts connections until `stop` is cancelled or nobody takes them any more.
    pub(crate) fn connections(self, stop: CancellationToken) -> mpsc::Receiver<Connection> {
        let (send, connections) = mpsc::channel(CONNECTIONS_AHEAD);
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            loop {
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                match self.tcp.accept().await {
                    Ok((tcp, _)) => {
                        let (tls, send) = (self.tls.clone(), send.clone());
                        tokio::spawn(async move {
                            // One that cannot be opened is the client's loss.
                            if let Ok(Ok(stream)) = timeout(PATIENCE, opened(tcp, tls)).await {
                                let _ = send.send(Connection::new(stream, place)).await;
                            }
                        });
                    }
                    // The process may have no file left for it.
                    Err(_) => sleep(Duration::from_millis(100)).await,
                }
            }
        }));
        connections
    }
}

async fn opened(tcp: TcpStream, tls: Option<TlsAcceptor>) -> io::Result<Stream> {
    // Small answers are sent at once.
    tcp.set_nodelay(true)?;
    Ok(match tls {
        None => Stream::Plain(tcp),
        Some(tls) => Stream::Tls(Box::new(tls.accept(tcp).await?)),
    })
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A client that is connected; dropped, it gives its place to another.
pub(crate) struct Connection {
    stream: Stream,
    n_read: Arc<AtomicUsize>,
    /// Until when the client may read nothing; none while it reads.
    unread: Option<Pin<Box<Sleep>>>,
    /// Until when it may go on saying something, once it was told that nothing more comes.
    lingers: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    fn new(stream: Stream, place: OwnedSemaphorePermit) -> Self {
        Self { stream, n_read: Arc::default(), unread: None, lingers: None, _place: place }
    }

    /// Waits until it is clear that the client does not ask anything.
    pub(crate) fn silence(&self) -> impl Future<Output = ()> + Send + use<> {
        let n_read = Arc::clone(&self.n_read);
        async move {
            sleep(PATIENCE).await;
            if n_read.load(Relaxed) >= LEAST_BYTES {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// `written`, or an error where nothing could be written for `limit`.
fn within<T>(
    limit: Duration,
    unread: &mut Option<Pin<Box<Sleep>>>,
    cx: &mut Context<'_>,
    written: Poll<io::Result<T>>,
) -> Poll<io::Result<T>> {
    if written.is_ready() {
        *unread = None;
        return written;
    }
    let is_up = unread.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(cx).is_ready();
    if is_up { Poll::Ready(Err(io::ErrorKind::TimedOut.into())) } else { Poll::Pending }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        this.n_read.fetch_add(buf.filled().len() - before, Relaxed);
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        };
        within(READER_PATIENCE, &mut this.unread, cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        };
        within(READER_PATIENCE, &mut this.unread, cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match &mut this.stream {
            // Flushing TCP does nothing, and says nothing of the client.
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => {
                let flushed = Pin::new(stream).poll_flush(cx);
                within(READER_PATIENCE, &mut this.unread, cx, flushed)
            }
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.lingers.is_none() {
            let shut = match &mut this.stream {
                Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
                Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            };
            ready!(within(READER_PATIENCE, &mut this.unread, cx, shut))?;
        }
        // What is said to a closed socket TCP answers with a reset, by which the client loses what it has not read yet.
        let lingers = this.lingers.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let mut said = [0; 1024];
        while lingers.as_mut().poll(cx).is_pending() {
            let mut said = ReadBuf::new(&mut said);
            let read = match &mut this.stream {
                Stream::Plain(stream) => Pin::new(stream).poll_read(cx, &mut said),
                Stream::Tls(stream) => Pin::new(stream).poll_read(cx, &mut said),
            };
            if ready!(read).is_err() || said.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn a_client_that_reads_nothing_is_left() {
        let (limit, mut unread) = (Duration::from_millis(20), None);
        let written = poll_fn(|cx| within(limit, &mut unread, cx, Poll::Ready(Ok(1)))).await;
        assert_eq!(written.unwrap(), 1);
        assert!(unread.is_none());
        let left = poll_fn(|cx| within::<usize>(limit, &mut unread, cx, Poll::Pending));
        assert_eq!(left.await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
