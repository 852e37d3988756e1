//! The listening side: connections, their number, and their end.
//!
//! Owns the socket's settings: how many connections, how long a head
//! may take, how long a reader may pause. HTTP/1.1 only: what
//! stands in front of davy speaks it, and a connection that never says which version it wants
//! would otherwise be outside every time limit.

use std::convert::Infallible;
use std::future::{Ready, ready};
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
use tower::Service;

use super::stalled::Impatient;
use crate::telemetry::Metrics;

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

/// Serves until `handle` ends it.
///
/// # Errors
/// When the socket cannot be used.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    bounds: &SocketBounds,
    metrics: Arc<Metrics>,
    handle: Handle<SocketAddr>,
) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let room = Arc::new(Semaphore::new(bounds.connections_max));
    let mut server = axum_server::from_tcp(listener)?
        .acceptor(Doorkeeper {
            room,
            metrics,
            write_timeout: bounds.write_timeout,
        })
        .handle(handle)
        .http1_only();
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.header_read_timeout);
    server.serve(router.into_make_service()).await
}

/// Lets in as many connections as there is room for.
#[derive(Clone)]
struct Doorkeeper {
    room: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    write_timeout: Duration,
}

impl<S> Accept<TcpStream, S> for Doorkeeper {
    type Stream = Impatient<TcpStream>;
    type Service = Admitted<S>;
    type Future = Ready<std::io::Result<(Impatient<TcpStream>, Admitted<S>)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let Ok(permit) = self.room.clone().try_acquire_owned() else {
            self.metrics.limit("connections");
            return ready(Err(std::io::Error::other("too many connections")));
        };
        let admitted = Admitted {
            service,
            _permit: Arc::new(permit),
        };
        let set = stream.set_nodelay(true);
        ready(set.map(|()| (Impatient::new(stream, self.write_timeout), admitted)))
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
