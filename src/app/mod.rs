//! The daemon as a whole: built from a checked configuration, run, and brought to an end.
//!
//! Owns the order of things. Nothing listens before everything that can be wrong was checked;
//! `ready` is said once, when everything listens; the end comes with a deadline. What the parts do
//! is theirs. Next: [`machine`], the engine's thread; `keeping`, where everything is written;
//! `doorkeeping`, whose tokens are good; `certificates`, what the listener shows; `secretkeeping`, what
//! webhooks are signed with; `rereading`, when their files are read again; `delivering`, the workers; `ending`, how long each part of the end may take.

mod certificates;
mod delivering;
mod doorkeeping;
mod ending;
mod keeping;
pub mod machine;
pub mod planning;
pub(crate) mod pulling;
mod rereading;
mod restoring;
mod secretkeeping;
pub mod secrets;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::{Clock, SystemClock};
use crate::codec;
use crate::codec::heads::HeadsPool;
use crate::config::{Config, daemon};
use crate::engine::{self, State};
use crate::http::budget::{self, IngestBudget};
use crate::http::compat::kayenta::judge;
use crate::http::interest::Interest;
use crate::http::link::{self, EngineLink};
use crate::http::listen::SocketBounds;
use crate::http::observe::RequestIds;
use crate::http::plans::Plans;
use crate::http::{Bounds, Shared, analyses, listen, router, start};
use crate::model::Millis;
use crate::oidc::keeper::KeyKeeper;
use crate::plan::Plan;
use crate::store::Outbox;
use crate::store::watch::Watchers;
use crate::telemetry::Metrics;
use crate::tls;
use crate::webhook::worker::Worker;
use ending::{Deadline, Drain};
use keeping::Keeping;
use machine::{Engine, Machine, StoreFailed};
use pulling::Pulling;
use rereading::Rereading;

/// How much longer each wait between webhook attempts is than the one before.
const BACKOFF_FACTOR: f64 = 2.0;
/// Bytes of samples in work, all requests together; more where one request needs more.
const INGEST_BYTES_MAX: u64 = 256 << 20;

/// A daemon that is checked and bound, but answers nobody yet.
pub struct Daemon {
    listener: TcpListener,
    shared: Arc<Shared>,
    engine: Engine,
    workers: Vec<Worker>,
    beside: Beside,
    tls: Option<Arc<tls::Listener>>,
    outbox: Arc<dyn Outbox>,
    outbox_lasts: bool,
    socket: SocketBounds,
    shutdown_deadline: Duration,
}

/// What goes on beside the answering, until the end. Nobody waits for it then.
#[derive(Default)]
struct Beside {
    pulling: Option<Pulling>,
    rereading: Rereading,
    key_keeper: Option<KeyKeeper>,
}

// === impl Beside ===

impl Beside {
    fn start(self, stop: &CancellationToken) -> Vec<JoinHandle<()>> {
        let pulling = self.pulling.map(|pulling| pulling.run(stop.clone()));
        let key_keeping = self.key_keeper.map(KeyKeeper::run);
        let mut tasks = vec![tokio::spawn(self.rereading.run())];
        tasks.extend(pulling.map(tokio::spawn));
        tasks.extend(key_keeping.map(tokio::spawn));
        tasks
    }
}

fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .with_context(|| format!("cannot listen on {address} (server.listen_address, server.port)"))
}

/// Builds everything a configuration asks for and binds the socket.
///
/// # Errors
/// What is wrong with the configuration, the webhooks, the store or the address; nothing listens
/// then.
pub async fn build(config: &Config, plans: BTreeMap<String, Arc<Plan>>) -> anyhow::Result<Daemon> {
    let address = listen_address(&config.server, &config.auth)?;
    let endpoints = delivering::endpoints(&config.webhooks)?;
    let metrics = telling(config)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let keeping = Keeping::open(config).await?;
    let (store, outbox) = (keeping.store.clone(), keeping.outbox.clone());
    let watchers = Arc::new(Watchers::default());
    let (link, inputs) = EngineLink::new(metrics.clone());
    let bells = delivering::bells(&endpoints);
    let mut beside = Beside::default();
    secretkeeping::build(&config.webhooks, &endpoints, &metrics, &mut beside);
    let door = doorkeeping::build(&config.auth, &clock, &metrics, &mut beside)?;
    let tls = certificates::build(&config.server, &clock, &metrics, &mut beside.rereading)?;
    beside.pulling = Pulling::build(config, &link, &clock, &metrics)?;
    let workers = delivering::workers(config, &endpoints, &bells, &outbox, &clock, &metrics)?;
    let listener = listen(address)?;
    let limits = engine_limits(&config.limits, beside.pulling.is_some());
    let machine = Machine {
        state: State::new(limits.clone()),
        endpoints: endpoints.clone(),
        bells: bells.clone(),
        pulls: beside.pulling.as_ref().map(Pulling::door),
        ..Machine::idle(&clock, &store, &watchers, &metrics)
    };
    let machine = restoring::restored(machine, &config.store, limits).await?;
    let goes_on =
        |id: &str| machine.running.contains(id) || machine.state.running().any(|own| own == id);
    keeping
        .end_unfinished(&endpoints, goes_on, clock.now(), &metrics)
        .await?;
    planning::count(&plans, &metrics);
    let shared = Arc::new(Shared {
        link,
        clock,
        outbox: outbox.clone(),
        bells,
        store,
        watchers,
        door,
        metrics,
        interest: Interest::new(Duration::from_secs(config.limits.abandoned_after_secs)),
        unmatched: Default::default(),
        plans: Arc::new(Plans::new(plans)),
        bounds: bounds(config, address),
        source: config.sources.prometheus.clone(),
        request_ids: RequestIds::new(getrandom::u64().unwrap_or_default()),
        heads: HeadsPool::new(getrandom::u64().unwrap_or_default()),
        streams: room(size(config.limits.sse_clients_max)),
        recordings: room(analyses::RECORDING_READS_MAX),
        compiling: room(start::COMPILING_MAX),
        judging: room(judge::JUDGING_MAX),
        configuring: room(1),
        stopping: CancellationToken::new(),
        ingest: ingest_budget(&config.server),
    });
    Ok(Daemon {
        listener,
        engine: Engine::new(machine, shared.link.desk(), inputs),
        shared,
        workers,
        beside,
        tls,
        outbox,
        outbox_lasts: keeping.lasts,
        socket: socket_bounds(&config.server),
        shutdown_deadline: Duration::from_secs(config.server.shutdown_deadline_secs),
    })
}

/// Room for so many at a time.
fn room(most: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(most))
}

// === impl Daemon ===

impl Daemon {
    /// The address it listens on: with port 0, the one the system chose.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Makes it read again what may change while it runs: plans, the file of tokens, those of TLS and
    /// of webhooks' secrets. `None` where there is none of them.
    pub fn reread(&self) -> Option<Arc<Notify>> {
        self.beside.rereading.bell()
    }

    /// Serves until `stop`, then drains: no new connections, streams and long polls end, requests
    /// under way finish, the engine takes what is queued, notifications that are due are tried once
    /// more. One deadline holds for all of it; what is not done by then is logged and lost. The
    /// engine's thread may outlive this: it ends with the process.
    ///
    /// # Errors
    /// When the socket or the store fails, the engine's thread cannot be started, or it panicked.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let address = self.address()?;
        let Daemon {
            listener,
            shared,
            engine,
            workers,
            beside,
            tls,
            outbox,
            outbox_lasts,
            socket,
            shutdown_deadline,
        } = self;
        let beside = beside.start(&stop);
        let engine = start_engine(engine, stop.clone())?;
        let delivering = TaskTracker::new();
        let workers_stop = CancellationToken::new();
        for worker in workers {
            delivering.spawn(worker.run(workers_stop.clone()));
        }
        delivering.close();
        let metrics = shared.metrics.clone();
        let stopping = shared.stopping.clone();
        let open = listen::Opening {
            tls,
            bounds: socket,
            metrics: metrics.clone(),
            stopping: stopping.clone(),
            closing: CancellationToken::new(),
        };
        let closing = open.closing.clone();
        let serving = listen::serve(listener, router(shared), open);
        let all_served = CancellationToken::new();
        tracing::info!(%address, "ready");
        let (served, deadline) = tokio::join!(
            async {
                let served = serving.await;
                // A socket that failed ends the daemon too.
                stop.cancel();
                all_served.cancel();
                served
            },
            async {
                stop.cancelled().await;
                tracing::info!(deadline_secs = shutdown_deadline.as_secs(), "stopping");
                let deadline = Deadline::after(shutdown_deadline);
                stopping.cancel();
                let all_served = all_served.cancelled();
                let _ = tokio::time::timeout(deadline.for_requests(), all_served).await;
                closing.cancel();
                deadline
            }
        );
        // What is being asked of a source nobody waits for any more; it holds the engine's door open.
        beside.iter().for_each(JoinHandle::abort);
        let ended = Drain {
            engine,
            delivering,
            workers_stop,
            outbox,
            outbox_lasts,
            metrics,
        }
        .until(&deadline)
        .await;
        served.context("serving failed")?;
        ended
    }
}

/// The metrics of a configuration, with the limits that something can come near to.
fn telling(config: &Config) -> anyhow::Result<Arc<Metrics>> {
    let services = &config.telemetry.service_labels;
    let metrics = Metrics::with_services(env!("CARGO_PKG_VERSION"), services)?;
    let limits = &config.limits;
    for (limit, most) in [
        ("analyses", limits.analyses_max),
        ("sse_clients", limits.sse_clients_max),
        ("connections", config.server.connections_max),
        ("webhook_queue", config.webhook.queue_max),
        ("engine_queue", link::QUEUE_MAX as u64),
    ] {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        metrics.limits.with_label_values(&[limit]).set(most);
    }
    Ok(Arc::new(metrics))
}

/// Starts the engine's thread; what comes back tells when it ended.
fn start_engine(
    engine: Engine,
    stop: CancellationToken,
) -> anyhow::Result<oneshot::Receiver<Result<(), StoreFailed>>> {
    // Without its engine the daemon can only refuse: however the thread ends, so does all else.
    let engine_ends = stop.drop_guard();
    let (ended, engine_ended) = oneshot::channel();
    std::thread::Builder::new()
        .name("davy-engine".into())
        .spawn(move || {
            let _stop_all = engine_ends;
            let result = engine.run();
            // Nobody listens after the deadline.
            let _ = ended.send(result);
        })
        .context("cannot start the engine's thread")?;
    Ok(engine_ended)
}

/// Room for samples in work: what one request may need, at the least.
fn ingest_budget(server: &daemon::Server) -> IngestBudget {
    let (on_wire, decoded) = (server.request_body_bytes_max, server.decoded_body_bytes_max);
    IngestBudget::new(INGEST_BYTES_MAX.max(budget::bytes_in_work(on_wire, decoded)))
}

/// Only loopback without tokens: whoever reaches davy can make it say pass.
fn listen_address(server: &daemon::Server, auth: &daemon::Auth) -> anyhow::Result<SocketAddr> {
    let text = &server.listen_address;
    let ip: IpAddr = text.parse().with_context(|| {
        format!("server.listen_address {text:?} is no IP address; give 127.0.0.1, ::1 or 0.0.0.0")
    })?;
    match (ip.is_loopback(), auth.asks()) {
        (true, true) => {}
        (true, false) => {
            tracing::info!(%ip, "nobody is asked for a token, so davy listens on loopback only");
        }
        (false, true) if server.tls.is_none() => {
            tracing::warn!(%ip, "tokens travel as they are: name a certificate and a key (server.tls), or put something with TLS in front");
        }
        (false, true) => {}
        (false, false) if server.allow_unauthenticated => {
            tracing::warn!(%ip, "whoever reaches this address can start, feed and cancel analyses");
        }
        (false, false) => bail!(
            "server.listen_address {ip} can be reached from other machines, and nobody is asked \
             who they are; listen on 127.0.0.1, name a file of tokens (auth.tokens_file) or an \
             identity provider (auth.oidc), or set server.allow_unauthenticated = true behind something that asks"
        ),
    }
    Ok(SocketAddr::new(ip, server.port))
}

/// A number in `[0, 1)`, from the system's source of chance. One that fails is no reason to stop
/// sending: without chance the waits are of their mean length.
fn chance() -> f64 {
    const BITS: u32 = 53;
    let random = getrandom::u64().unwrap_or(1 << 63);
    (random >> (u64::BITS - BITS)) as f64 / (1_u64 << BITS) as f64
}

fn socket_bounds(server: &daemon::Server) -> SocketBounds {
    SocketBounds {
        connections_max: size(server.connections_max),
        header_read_timeout: Duration::from_secs(server.header_read_timeout_secs),
        write_timeout: Duration::from_secs(server.request_timeout_secs),
    }
}

fn bounds(config: &Config, address: SocketAddr) -> Bounds {
    let (server, limits) = (&config.server, &config.limits);
    Bounds {
        request_body_bytes_max: server.request_body_bytes_max,
        decoded_body_bytes_max: server.decoded_body_bytes_max,
        request_timeout: Duration::from_secs(server.request_timeout_secs),
        long_poll_max: Duration::from_secs(server.long_poll_secs_max),
        abandoned_after: Duration::from_secs(limits.abandoned_after_secs),
        // Elsewhere who calls is asked by what stands in front, which answers to many names.
        host_names: address
            .ip()
            .is_loopback()
            .then(|| server.host_names.clone()),
        kayenta_configs_max: size(limits.kayenta_configs_max),
        codec: codec::Limits {
            samples_per_request_max: size(limits.samples_per_request_max),
            label_count_max: size(limits.label_count_max),
            label_bytes_max: size(limits.label_bytes_max),
            ..codec::Limits::default()
        },
    }
}

fn engine_limits(limits: &daemon::Limits, pulls: bool) -> engine::Limits {
    let millis = |secs: u64| Millis::try_from(secs.saturating_mul(1000)).unwrap_or(Millis::MAX);
    engine::Limits {
        analyses_max: size(limits.analyses_max),
        retained_analyses_max: size(limits.retained_analyses_max),
        tick_values_max: size(limits.tick_values_max),
        future_skew: millis(limits.future_skew_secs_max),
        dedupe_ids_max: size(limits.dedupe_ids_max),
        series_max: size(limits.series_max),
        pulls,
        series_seed: getrandom::u64().unwrap_or_default(),
        abandoned_after: millis(limits.abandoned_after_secs),
        ..engine::Limits::default()
    }
}

/// A number of the configuration as a size; its ranges keep it far below what a machine can count.
fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_spread_over_its_whole_range_from_one_call_to_the_next() {
        const DRAWS: usize = 1_000;
        let mut eighths = [0; 8];
        for _ in 0..DRAWS {
            let draw = chance();
            assert!((0.0..1.0).contains(&draw), "{draw}");
            eighths[(draw * 8.0) as usize] += 1;
        }
        // 125 are expected in each; fewer than 50 come once in 10^13 runs.
        assert!(eighths.iter().all(|count| *count > 50), "{eighths:?}");
    }
}
