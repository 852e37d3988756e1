//! The listening side: connections, their number, their encryption, and their end.
//!
//! Owns the socket's settings: how many connections, how long a handshake and a head
//! may take, how long a reader may pause. HTTP/1.1 only: what
//! stands in front of davy speaks it, and a connection that never says which version it wants
//! would otherwise be outside every time limit. Each connection is a task of its own from its first
//! byte, so that a handshake keeps nobody else waiting. What is shown in a handshake is
//! [`crate::tls`]'s.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use axum_server::Handle;
use axum_server::accept::Accept;
use hyper_util::rt::TokioTimer;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::stalled::Impatient;
use crate::telemetry::Metrics;
use crate::tls;

/// Longest head of a request, in bytes: what a connection may have davy hold before it is known who asks.
/// Bodies come through the same room, piece by piece.
pub const HEAD_BYTES_MAX: usize = 64 << 10;
/// Headers of one request.
pub const HEADERS_MAX: usize = 100;

/// Limits of the socket; the daemon's configuration names each of them.
#[derive(Debug, Clone)]
pub struct SocketBounds {
    /// Connections at the same time; one more is closed at once.
    pub connections_max: usize,
    /// From the first byte of a head, or the end of the request before, to the end of the head.
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
    /// Cancelled when the daemon begins to stop: handshakes end then.
    pub stopping: CancellationToken,
}

/// Serves until `handle` ends it.
///
/// # Errors
/// When the socket cannot be used.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    opening: Opening,
    handle: Handle<SocketAddr>,
) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let header_read_timeout = opening.bounds.header_read_timeout;
    let mut server = axum_server::from_tcp(listener)?
        .acceptor(Doorkeeper {
            room: Arc::new(Semaphore::new(opening.bounds.connections_max)),
            opening,
        })
        .handle(handle)
        .http1_only();
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .header_read_timeout(header_read_timeout);
    server.serve(router.into_make_service()).await
}

/// Lets in as many connections as there is room for.
#[derive(Clone)]
struct Doorkeeper {
    room: Arc<Semaphore>,
    opening: Opening,
}

type Plain = Impatient<TcpStream>;
type Connection = Either<Plain, Box<TlsStream<Plain>>>;

impl<S: Send + 'static> Accept<TcpStream, S> for Doorkeeper {
    type Stream = Connection;
    type Service = Admitted<S>;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<(Connection, Admitted<S>)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let Doorkeeper { room, opening } = self.clone();
        Box::pin(async move {
            let Ok(permit) = room.try_acquire_owned() else {
                opening.metrics.limit("connections");
                return Err(std::io::Error::other("too many connections"));
            };
            let admitted = Admitted {
                service,
                _permit: Arc::new(permit),
            };
            stream.set_nodelay(true)?;
            let stream = Impatient::new(stream, opening.bounds.write_timeout);
            let connection = match &opening.tls {
                None => Either::Left(stream),
                Some(tls) => Either::Right(Box::new(opening.shake_hands(tls, stream).await?)),
            };
            Ok((connection, admitted))
        })
    }
}

// === impl Opening ===

impl Opening {
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

/// A connection's service, which holds its place for as long as the connection lives.
#[derive(Clone)]
struct Admitted<S> {
    service: S,
    _permit: Arc<OwnedSemaphorePermit>,
}

impl<S, B> Service<Request<B>> for Admitted<S>
where
    S: Service<Request<B>, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        Box::pin(self.service.call(request))
    }
}
