//! `davy serve`: runs the daemon until it is told to stop.
//!
//! Owns the arguments, the signals and the order of the start. The daemon itself is
//! [`crate::app`].

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::app::planning::{self, PlanFolder};
use crate::app::{self, secrets};
use crate::cli::exit::Exit;
use crate::config::daemon::LogFormat;
use crate::config::layers::Places;
use crate::config::plans::Loaded;
use crate::config::{Config, Problems, Severity, Sources};
use crate::pull;
use crate::telemetry::{LogForm, start_log};
use crate::webhook::rules;

/// Threads that answer requests, at the least.
const WORKER_THREADS_MIN: usize = 2;

/// Arguments of `davy serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Configuration; /etc/davy/davy.toml or ./davy.toml where present, unless given
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Set one value, such as server.port=9000; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Write the address into this file once the daemon listens
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// Everything wrong with the configuration or the plans, or what kept the daemon from running.
pub fn run(args: &ServeArgs) -> anyhow::Result<Exit> {
    let (config, places) = load(args)?;
    let form = match config.log.format {
        LogFormat::Text => LogForm::Text,
        LogFormat::Json => LogForm::Json,
    };
    start_log(form, &config.log.filter).map_err(|message| anyhow!(message))?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "davy");
    let folder = PlanFolder::of(&config, places.clone());
    let loaded = folder.load();
    let names = loaded.as_ref().ok();
    let names: Option<Vec<String>> = names.map(|loaded| loaded.plans.keys().cloned().collect());
    let mut found = rules::check(&config, &places, names.as_deref(), secrets::read);
    found.extend(pull::rules::check(&config, &places, []));
    let loaded = loaded.unwrap_or_else(|problems| {
        found.extend(problems.items);
        Loaded::default()
    });
    if found
        .iter()
        .any(|problem| problem.severity == Severity::Error)
    {
        bail!("{}", Problems::sorted(found));
    }
    planning::warn(&loaded.warnings);
    planning::warn(&found);
    tracing::info!(plans = loaded.plans.len(), directory = %config.plans.directory.display(), "plans loaded");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(worker_threads())
        .enable_all()
        .build()?;
    let ended = runtime.block_on(async {
        let mut signals = Signals::watch()?;
        // To take again what an earlier process was given may take a while.
        let mut daemon = tokio::select! {
            daemon = app::build(&config, loaded.plans) => daemon?,
            () = signals.next() => {
                tracing::info!("stopped before it was ready");
                return Ok(());
            }
        };
        daemon.follow_plans(folder);
        if let Some(bell) = daemon.reread() {
            tokio::spawn(reread(hang_ups()?, bell));
        }
        let address = daemon.address()?;
        let scheme = config.server.tls.as_ref().map_or("http", |_| "https");
        let _ready = match &args.ready_file {
            Some(path) => Some(ReadyFile::write(path, &format!("{scheme}://{address}\n"))?),
            None => None,
        };
        let stop = CancellationToken::new();
        tokio::select! {
            ended = daemon.run(stop.clone()) => ended,
            () = signals.second(stop) => bail!("told twice to stop, so it stopped at once"),
        }
    });
    // Dropping it would wait for whatever blocks, past every deadline.
    runtime.shutdown_background();
    ended.map(|()| Exit::Pass)
}

fn load(args: &ServeArgs) -> anyhow::Result<(Config, Places)> {
    // A variable that is not UTF-8 is none of ours: our names and values are plain text.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let sources = Sources::gather(args.config.as_deref(), environment, args.set.clone())
        .map_err(|problems| anyhow!("{problems}"))?;
    Config::load_located(&sources).map_err(|problems| anyhow!("{problems}"))
}

/// The file that says where the daemon listens; it is there for as long as the daemon is.
struct ReadyFile<'a>(&'a Path);

// === impl ReadyFile ===

impl<'a> ReadyFile<'a> {
    /// Written beside and renamed, so that a reader never sees half an address.
    fn write(path: &'a Path, text: &str) -> anyhow::Result<ReadyFile<'a>> {
        let beside = path.with_extension("writing");
        std::fs::write(&beside, text)
            .and_then(|()| std::fs::rename(&beside, path))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(ReadyFile(path))
    }
}

impl Drop for ReadyFile<'_> {
    fn drop(&mut self) {
        // Somebody may have removed it already; the daemon ends either way.
        let _ = std::fs::remove_file(self.0);
    }
}

/// SIGTERM and SIGINT, from the moment it exists: one that came before would kill the process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

// === impl Signals ===

impl Signals {
    fn watch() -> anyhow::Result<Signals> {
        let watch = |kind| signal(kind).context("cannot watch for signals");
        Ok(Signals {
            terminate: watch(SignalKind::terminate())?,
            interrupt: watch(SignalKind::interrupt())?,
        })
    }

    /// The first asks for a drain through `stop`; this ends with the second.
    async fn second(mut self, stop: CancellationToken) {
        for _ in 0..2 {
            self.next().await;
            stop.cancel();
        }
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => tracing::info!("SIGTERM"),
            _ = self.interrupt.recv() => tracing::info!("SIGINT"),
        }
    }
}

/// SIGHUP is asked for only where something is read again: elsewhere a terminal that closes ends
/// davy, as it ends any other command.
fn hang_ups() -> anyhow::Result<Signal> {
    signal(SignalKind::hangup()).context("cannot watch for SIGHUP")
}

async fn reread(mut hang_ups: Signal, bell: Arc<Notify>) {
    while hang_ups.recv().await.is_some() {
        tracing::info!("SIGHUP");
        bell.notify_one();
    }
}

/// Samples are read and taken where they came in, mostly for a fraction of a millisecond. Where a look
/// or the disk takes longer one thread is busy with it, for there is one engine, and another answers.
/// More threads than cores answer no sooner, and each has a heap of its own.
fn worker_threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    cores.max(WORKER_THREADS_MIN)
}
