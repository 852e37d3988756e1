//! `davy export`: fetches the recording of an analysis from a daemon.
//!
//! Owns the request and what becomes of its answer. `davy replay` reads what it writes.

use std::io::Write;

use anyhow::{Context, bail};
use clap::Args;

use crate::cli::daemon::{self, DaemonArgs};
use crate::cli::exit::Exit;
use crate::http::analyses::TRUNCATED;

/// Arguments of `davy export`.
#[derive(Debug, Clone, Args)]
pub struct ExportArgs {
    /// Id of the analysis
    pub analysis: String,
    /// Whom to ask.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// Runs the command: the recording goes to standard output.
///
/// # Errors
/// When the daemon cannot be reached, or answers something else than a recording.
pub fn run(args: &ExportArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    daemon::runtime()?.block_on(fetch(args, out))
}

async fn fetch(args: &ExportArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let path = ["v1", "analyses", &args.analysis, "recording"];
    let request = args.daemon.request(reqwest::Method::GET, &path, &[])?;
    let mut response = daemon::answer(request).await?;
    let cut = response
        .headers()
        .get(TRUNCATED)
        .and_then(|value| value.to_str().ok());
    let cut = cut.map(str::to_string);
    while let Some(chunk) = response.chunk().await.context("the recording broke off")? {
        out.write_all(&chunk)?;
    }
    if let Some(bytes) = cut {
        bail!("the recording is cut after {bytes} bytes; raise limits.recording_bytes_max");
    }
    Ok(Exit::Pass)
}
