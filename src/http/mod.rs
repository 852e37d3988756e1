//! The HTTP API.
//!
//! Owns the router, its layers and what handlers share. It turns requests into inputs of the
//! engine and reads answers from the store; it must not change an analysis itself. Read on in
//! [`routes`], the table of everything, and [`problem`], the table of everything that can go wrong.

pub mod analyses;
pub mod audit;
pub mod body;
pub mod budget;
pub mod changes;
pub mod compat;
pub mod dead_letters;
pub mod door;
pub mod events;
pub mod interest;
pub mod json;
pub mod link;
pub mod listen;
pub mod observe;
pub mod openapi;
pub mod origin;
pub mod overriding;
pub mod plans;
pub mod problem;
pub mod query;
pub mod receive;
pub mod routes;
pub mod samples;
pub mod series;
pub mod service;
pub mod stalled;
pub mod start;
pub mod unmatched;
pub mod verdicts;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::codec;
use crate::config::sources::PrometheusSource;
use crate::engine::Input;
use crate::store::watch::Watchers;
use crate::store::{Outbox, Store};
use crate::telemetry::Metrics;
use budget::Reserved;
use link::{Answer, EngineLink};
use plans::Plans;
use problem::Problem;

/// Limits of the API; the daemon's configuration names each of them.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Bytes of a body of samples on the wire.
    pub request_body_bytes_max: u64,
    /// Bytes of a body of samples once unpacked.
    pub decoded_body_bytes_max: u64,
    /// How long a request may take until it is read, and then how long the engine may take with it.
    pub request_timeout: Duration,
    /// Longest wait of a long poll.
    pub long_poll_max: Duration,
    /// After how long without samples or questions the engine gives an analysis up.
    pub abandoned_after: Duration,
    /// Configurations that clients of Kayenta keep here.
    pub kayenta_configs_max: usize,
    /// Names under which davy may be called, besides addresses and `localhost`; `None` takes all.
    pub host_names: Option<Vec<String>>,
    /// Limits of the samples themselves.
    pub codec: codec::Limits,
}

/// What handlers share.
pub struct Shared {
    /// The way to the engine.
    pub link: EngineLink,
    /// What time it is, for samples that do not say theirs.
    pub clock: Arc<dyn Clock>,
    /// Where answers are read.
    pub store: Arc<dyn Store>,
    /// Where notifications wait, and where those that were given up are kept.
    pub outbox: Arc<dyn Outbox>,
    /// The bells of the endpoints' workers, by name: the endpoints there are.
    pub bells: Arc<HashMap<String, Arc<Notify>>>,
    /// Who waits for what.
    pub watchers: Arc<Watchers>,
    /// Who is let in.
    pub door: Arc<door::Door>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// When the engine was told that somebody asks.
    pub interest: interest::Interest,
    /// What nobody asked for.
    pub unmatched: unmatched::Unmatched,
    /// Plans by name.
    pub plans: Arc<Plans>,
    /// Limits.
    pub bounds: Bounds,
    /// The source that metrics are pulled from.
    pub source: Option<PrometheusSource>,
    /// Labels that senders repeat.
    pub heads: codec::heads::HeadsPool,
    /// Room for samples in work.
    pub ingest: budget::IngestBudget,
    /// Room for event streams.
    pub streams: Arc<Semaphore>,
    /// Room for recordings that are being read.
    pub recordings: Arc<Semaphore>,
    /// Room for inline plans that are being read.
    pub compiling: Arc<Semaphore>,
    /// Room for documents that a Kayenta has judged.
    pub judging: Arc<Semaphore>,
    /// Room for one who changes what clients of Kayenta keep here.
    pub configuring: Arc<Semaphore>,
    /// Names for requests that bring none.
    pub request_ids: observe::RequestIds,
    /// Cancelled when the daemon begins to stop.
    pub stopping: CancellationToken,
}

// === impl Shared ===

impl Shared {
    /// Hands an input to the engine and waits for what came of it.
    ///
    /// # Errors
    /// `busy` and `stopping` when it was not taken; `outcome_unknown` when it was handed over and
    /// no answer came.
    pub async fn ask(&self, input: Input) -> Result<Answer, Problem> {
        self.ask_with(input, None).await
    }

    /// The same for an input that takes room until the engine is done with it.
    ///
    /// # Errors
    /// Those of [`Shared::ask`].
    pub async fn ask_with(&self, input: Input, room: Option<Reserved>) -> Result<Answer, Problem> {
        let limit = self.bounds.request_timeout;
        match tokio::time::timeout(limit, self.link.ask(input, room)).await {
            Ok(answer) => Ok(answer?),
            Err(_) => {
                self.metrics.limit("request_timeout_secs");
                let detail = format!("the engine has had it for {limit:?} and not answered");
                // No Retry-After: a repetition may count twice.
                Err(Problem::new("outcome_unknown", detail).help(
                    "it may have been taken, or yet be: repeat it only where it carries ids or an idempotency key",
                ))
            }
        }
    }
}

/// The router with its one layer: each costs a few allocations with every request.
pub fn router(shared: Arc<Shared>) -> Router {
    let mut router = Router::new();
    for route in routes::routes() {
        router = router.route(route.path, route.handler);
    }
    router
        .fallback(nothing_here)
        .method_not_allowed_fallback(other_methods)
        .layer(from_fn_with_state(shared.clone(), observe::observe))
        .with_state(shared)
}

async fn nothing_here(request: Request) -> Problem {
    let path: String = request.uri().path().chars().take(120).collect();
    Problem::new("route_not_found", format!("nothing is at {path:?}"))
        .help("GET /v1/openapi.json lists what there is")
}

async fn other_methods(request: Request) -> Response {
    let detail = format!("{} is not answered here", request.method());
    Problem::new("method_not_allowed", detail)
        .help("GET /v1/openapi.json lists what there is")
        .into_response()
}
