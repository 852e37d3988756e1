//! The listening side: connections, their number, their encryption, and their end.
//!
//! Owns the taking of connections and the socket's settings: how many connections, how long a
//! handshake and a head may take, how long a reader may pause. HTTP/1.1 only: what
//! stands in front of davy speaks it, and a connection that never says which version it wants
//! would otherwise be outside every time limit. Each connection is a task of its own from its first
//! byte, so that a handshake keeps nobody else waiting. What is shown in a handshake is
//! [`crate::tls`]'s.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::stalled::Impatient;
use crate::telemetry::Metrics;
use crate::tls;

/// Longest head of a request, in bytes: what a connection may have davy hold before it is known who asks.
/// Bodies come through the same room, piece by piece.
pub const HEAD_BYTES_MAX: usize = 64 << 10;
/// Headers of one request.
pub const HEADERS_MAX: usize = 100;
/// How long no connection is taken after the system could not give one: it has no more files, mostly.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// How long connections that are closed may take to go. One whose thread is held up, by a disk that
/// takes nothing, does not go at all.
const CLOSING_MAX: Duration = Duration::from_millis(100);

/// Limits of the socket; the daemon's configuration names each of them.
#[derive(Debug, Clone)]
pub struct SocketBounds {
    /// Connections at the same time; one more is closed at once.
    pub connections_max: usize,
    /// From the beginning of the connection, or the end of the request before, to the end of the head.
    pub header_read_timeout: Duration,
    /// How long an answer may wait for a reader that takes none of it.
    pub write_timeout: Duration,
}

/// How connections are taken.
#[derive(Clone)]
pub struct Opening {
    /// What they are encrypted with; `None` where they are not.
    pub tls: Option<Arc<tls::Listener>>,
    /// Limits.
    pub bounds: SocketBounds,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Cancelled when the daemon begins to stop: no more connections are taken, handshakes end, and
    /// each connection ends with the answer it is at.
    pub stopping: CancellationToken,
    /// Cancelled when nobody is waited for any more.
    pub closing: CancellationToken,
}

/// Serves until `stopping`, and then until every connection has ended, or those that have not are
/// closed.
///
/// # Errors
/// When the socket cannot be used.
pub async fn serve(listener: TcpListener, router: Router, opening: Opening) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut protocol = http1::Builder::new();
    protocol
        .timer(TokioTimer::new())
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .header_read_timeout(opening.bounds.header_read_timeout);
    let room = Arc::new(Semaphore::new(opening.bounds.connections_max));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = opening.stopping.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "no connection can be taken");
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let Ok(place) = room.clone().try_acquire_owned() else {
            opening.metrics.limit("connections");
            continue;
        };
        let connection = opening
            .clone()
            .attend(stream, protocol.clone(), router.clone());
        connections.spawn(async move {
            connection.await;
            drop(place);
        });
    }
    // Who comes now is refused at once instead of being left to wait.
    drop(listener);
    connections.close();
    tokio::select! {
        biased;
        () = connections.wait() => {}
        () = opening.closing.cancelled() => {
            let _ = tokio::time::timeout(CLOSING_MAX, connections.wait()).await;
        }
    }
    Ok(())
}

type Plain = Impatient<TcpStream>;
type Connection = Either<Plain, Box<TlsStream<Plain>>>;

// === impl Opening ===

impl Opening {
    /// Answers what is asked on a connection, until it ends.
    async fn attend(self, stream: TcpStream, protocol: http1::Builder, router: Router) {
        let Ok(connection) = self.opened(stream).await else {
            return;
        };
        let service = TowerToHyperService::new(router);
        let serving = protocol.serve_connection(TokioIo::new(connection), service);
        let mut serving = std::pin::pin!(serving);
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => {}
            // Who broke off, or sent what is no request, was told so where that was possible.
            _ = &mut serving => return,
        }
        serving.as_mut().graceful_shutdown();
        tokio::select! {
            biased;
            () = self.closing.cancelled() => {}
            _ = serving => {}
        }
    }

    async fn opened(&self, stream: TcpStream) -> std::io::Result<Connection> {
        stream.set_nodelay(true)?;
        let stream = Impatient::new(stream, self.bounds.write_timeout);
        Ok(match &self.tls {
            None => Either::Left(stream),
            Some(tls) => Either::Right(Box::new(self.shake_hands(tls, stream).await?)),
        })
    }

    /// Encrypts a connection, or gives it up. Who fails is told to those who look for it only:
    /// anybody could fill the log.
    async fn shake_hands(
        &self,
        tls: &tls::Listener,
        stream: Plain,
    ) -> std::io::Result<TlsStream<Plain>> {
        let shaking = TlsAcceptor::from(tls.current()).accept(stream);
        let shaking = tokio::time::timeout(tls.handshake_timeout, shaking);
        let shaken = tokio::select! {
            biased;
            () = self.stopping.cancelled() => Err(std::io::Error::other("stopping")),
            shaken = shaking => shaken.unwrap_or_else(|_| {
                self.metrics.limit("tls_handshake_timeout_secs");
                Err(std::io::ErrorKind::TimedOut.into())
            }),
        };
        shaken.inspect_err(|error| {
            let reason = tls::failure(error);
            let failed = &self.metrics.tls.handshakes_failed;
            failed.with_label_values(&[reason]).inc();
            tracing::debug!(reason, %error, "no handshake");
        })
    }
}
