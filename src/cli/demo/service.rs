//! `davy demo-service`: one arm of the demo, a small HTTP service that really works.
//!
//! Owns what a request costs. It must know nothing of davy, of the other arm or of the load: it is
//! a service like any other, started as a process of its own. Next: [`super::load`], its client.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::serve::ListenerExt;
use sha2::{Digest, Sha256};

use super::chance::Chance;
use crate::cli::exit::Exit;

/// What the service prints before its address once it listens.
pub const READY_PREFIX: &str = "listening on ";
/// Most items of one request: bounds its work.
pub const ITEMS_MAX: u32 = 1_000;
/// Hash rounds that calibration times in one go.
const CALIBRATION_ROUNDS: u32 = 2_000;
/// Goes of calibration; the fastest one counts, because whatever disturbs only slows.
const CALIBRATION_GOES: u32 = 15;
/// Seed of the choice of slow requests. Fixed: the service is the same at every start.
const SLOW_SEED: u64 = 0x5eed;

/// Arguments of the hidden command `demo-service`.
#[derive(Debug, Clone, clap::Args)]
pub struct ServiceArgs {
    /// Hash rounds that each item of a request costs
    #[arg(long)]
    pub rounds_per_item: u32,
    /// Percent of requests that cost more
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub slow_percent: u8,
    /// How many times as much they cost
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub slow_factor: u32,
}

/// What a request asks for.
#[derive(Debug, serde::Deserialize)]
struct Order {
    items: u32,
}

struct Service {
    args: ServiceArgs,
    served: AtomicU64,
}

/// Serves `GET /quote?items=N` on a free loopback port until standard input ends: the service must
/// not outlive who started it. Prints one line, [`READY_PREFIX`] and the address.
///
/// # Errors
/// When the port or the runtime cannot be had.
pub fn run(args: &ServiceArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("no free loopback port")?;
        writeln!(out, "{READY_PREFIX}{}", listener.local_addr()?)?;
        out.flush()?;
        // Without it small answers wait for the acknowledgement of the packet before.
        let listener = listener.tap_io(|socket| {
            let _ = socket.set_nodelay(true);
        });
        axum::serve(listener, router(args.clone()))
            .with_graceful_shutdown(standard_input_ends())
            .await?;
        Ok(Exit::Pass)
    })
}

/// Reads the address from a line of a service's output.
pub fn ready_address(line: &str) -> Option<SocketAddr> {
    line.trim().strip_prefix(READY_PREFIX)?.parse().ok()
}

/// Hash rounds that take about `target` on this machine in this build.
#[expect(
    clippy::disallowed_methods,
    reason = "measures how fast this machine hashes; decides the size of the demo's work only"
)]
pub fn rounds_taking(target: Duration) -> u32 {
    let fastest = (0..CALIBRATION_GOES)
        .map(|go| {
            let begun = Instant::now();
            std::hint::black_box(work(go, CALIBRATION_ROUNDS));
            begun.elapsed()
        })
        .min()
        .unwrap_or_default();
    let per_round = fastest.as_secs_f64() / f64::from(CALIBRATION_ROUNDS);
    let rounds = target.as_secs_f64() / per_round.max(1e-9);
    rounds.clamp(1.0, 10_000_000.0) as u32
}

fn router(args: ServiceArgs) -> Router {
    let served = AtomicU64::new(0);
    Router::new()
        .route("/quote", get(quote))
        .with_state(Arc::new(Service { args, served }))
}

async fn quote(
    State(service): State<Arc<Service>>,
    Query(order): Query<Order>,
) -> Result<String, (StatusCode, String)> {
    if order.items > ITEMS_MAX {
        let message = format!("at most {ITEMS_MAX} items in one order");
        return Err((StatusCode::BAD_REQUEST, message));
    }
    let number = service.served.fetch_add(1, Ordering::Relaxed);
    let rounds = service.args.rounds(number, order.items);
    let (tell, told) = tokio::sync::oneshot::channel();
    // A thread of its own for each request: the kernel places it on the idler core afresh. A thread
    // that stays would stay on its core, and on a busy machine one arm would be slower for as long
    // as it shares that core: an effect of the process, looking like one of the version.
    std::thread::spawn(move || {
        // Who asked may have gone.
        let _ = tell.send(work(order.items, rounds));
    });
    told.await.map_err(|_| {
        let message = "the work broke off".to_string();
        (StatusCode::INTERNAL_SERVER_ERROR, message)
    })
}

/// Real work of one core: a chain of hashes, each needing the one before.
fn work(items: u32, rounds: u32) -> String {
    let mut link = Sha256::digest(items.to_be_bytes());
    for _ in 0..rounds {
        link = Sha256::digest(link);
    }
    link.iter().take(8).map(|b| format!("{b:02x}")).collect()
}

async fn standard_input_ends() {
    let (tell, told) = tokio::sync::oneshot::channel();
    // A thread, because a read of standard input cannot be given up.
    std::thread::spawn(move || {
        let mut bytes = [0_u8; 256];
        while matches!(std::io::stdin().read(&mut bytes), Ok(count) if count > 0) {}
        let _ = tell.send(());
    });
    let _ = told.await;
}

// === impl ServiceArgs ===

impl ServiceArgs {
    /// Hash rounds of request `number`.
    fn rounds(&self, number: u64, items: u32) -> u32 {
        let slow = Chance::at(SLOW_SEED, number).percent() < self.slow_percent;
        let factor = if slow { self.slow_factor } else { 1 };
        self.rounds_per_item
            .saturating_mul(items)
            .saturating_mul(factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stated_share_of_requests_costs_the_stated_times_as_much() {
        let args = ServiceArgs {
            rounds_per_item: 10,
            slow_percent: 70,
            slow_factor: 3,
        };
        let rounds: Vec<u32> = (0..10_000).map(|number| args.rounds(number, 2)).collect();
        let slow = rounds.iter().filter(|&&rounds| rounds == 60).count();
        let fast = rounds.iter().filter(|&&rounds| rounds == 20).count();
        assert_eq!(slow + fast, 10_000);
        assert!((6_800..=7_200).contains(&slow), "{slow} of 10000");
    }

    #[test]
    fn a_healthy_service_costs_the_same_every_time() {
        let args = ServiceArgs {
            rounds_per_item: 7,
            slow_percent: 0,
            slow_factor: 1,
        };
        assert!((0..1_000).all(|number| args.rounds(number, 3) == 21));
    }

    #[test]
    fn more_rounds_give_another_answer_and_the_same_rounds_the_same() {
        assert_eq!(work(3, 10), work(3, 10));
        assert_ne!(work(3, 10), work(3, 11));
        assert_ne!(work(3, 10), work(4, 10));
    }

    #[test]
    fn the_ready_line_is_read_back() {
        let address: SocketAddr = "127.0.0.1:4711".parse().expect("an address");
        let line = format!("{READY_PREFIX}{address}\n");
        assert_eq!(ready_address(&line), Some(address));
        assert_eq!(ready_address("listening soon"), None);
    }
}
