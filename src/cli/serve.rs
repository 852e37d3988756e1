//! `davy serve`: runs the daemon until it is told to stop.
//!
//! Owns the arguments, the signals and the order of the start. The daemon itself is
//! [`crate::app`].

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::app;
use crate::cli::exit::Exit;
use crate::config::daemon::LogFormat;
use crate::config::{Config, Sources, plans};
use crate::telemetry::{LogForm, start_log};

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
    let config = load(args)?;
    let form = match config.log.format {
        LogFormat::Text => LogForm::Text,
        LogFormat::Json => LogForm::Json,
    };
    start_log(form, &config.log.filter).map_err(|message| anyhow!(message))?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "davy");
    let loaded =
        plans::load_directory(&config.plans.directory).map_err(|found| anyhow!("{found}"))?;
    for warning in &loaded.warnings {
        tracing::warn!(
            file = warning.file,
            line = warning.line,
            "{}",
            warning.message
        );
    }
    tracing::info!(plans = loaded.plans.len(), directory = %config.plans.directory.display(), "plans loaded");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let daemon = app::build(&config, loaded.plans)?;
        let address = daemon.address()?;
        if let Some(path) = &args.ready_file {
            write_whole(path, &format!("http://{address}\n"))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        let stop = CancellationToken::new();
        tokio::spawn(cancel_on_signal(stop.clone()));
        daemon.run(stop).await
    })?;
    Ok(Exit::Pass)
}

fn load(args: &ServeArgs) -> anyhow::Result<Config> {
    // A variable that is not UTF-8 is none of ours: our names and values are plain text.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let sources = Sources::gather(args.config.as_deref(), environment, args.set.clone())
        .map_err(|problems| anyhow!("{problems}"))?;
    Config::load(&sources).map_err(|problems| anyhow!("{problems}"))
}

/// Written beside and renamed, so that a reader never sees half an address.
fn write_whole(path: &std::path::Path, text: &str) -> std::io::Result<()> {
    let beside = path.with_extension("writing");
    std::fs::write(&beside, text)?;
    std::fs::rename(&beside, path)
}

/// SIGTERM and SIGINT ask for a drain.
async fn cancel_on_signal(stop: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        tracing::error!("signals cannot be watched; stop davy with SIGKILL");
        return;
    };
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM"),
        _ = interrupt.recv() => tracing::info!("SIGINT"),
    }
    stop.cancel();
}
