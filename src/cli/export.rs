//! `davy export`: fetches the recording of an analysis from a daemon.
//!
//! Owns the request and what becomes of its answer. `davy replay` reads what it writes.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;

use crate::cli::exit::Exit;
use crate::http::analyses::TRUNCATED;

/// How long the connection may take; the recording itself may take longer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Arguments of `davy export`.
#[derive(Debug, Clone, Args)]
pub struct ExportArgs {
    /// Id of the analysis
    pub analysis: String,
    /// Address of the daemon
    #[arg(
        long,
        value_name = "URL",
        env = "DAVY_URL",
        default_value = "http://127.0.0.1:8088"
    )]
    pub server: String,
    /// File that holds the token for the daemon, where it asks for one; the variable DAVY_TOKEN
    /// unless given
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// Variable that holds the token: an argument could be read by everybody on the machine.
const TOKEN_VARIABLE: &str = "DAVY_TOKEN";

/// Runs the command: the recording goes to standard output.
///
/// # Errors
/// When the daemon cannot be reached, or answers something else than a recording.
pub fn run(args: &ExportArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(fetch(args, out))
}

/// The daemon's address; one without a scheme is told how to be written.
fn address(server: &str) -> anyhow::Result<reqwest::Url> {
    match reqwest::Url::parse(server) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        _ if server.contains("://") => bail!("--server {server:?} is no http address"),
        _ => bail!("--server {server:?} is no address; write http://{server}"),
    }
}

/// The token, where one is given.
fn token(args: &ExportArgs) -> anyhow::Result<Option<String>> {
    let text = match &args.token_file {
        Some(path) => std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?,
        None => match std::env::var(TOKEN_VARIABLE) {
            Ok(text) => text,
            Err(_) => return Ok(None),
        },
    };
    Ok(Some(text.trim().to_owned()))
}

async fn fetch(args: &ExportArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let mut url = address(&args.server)?;
    match url.path_segments_mut() {
        Ok(mut path) => {
            path.pop_if_empty()
                .extend(["v1", "analyses", &args.analysis, "recording"]);
        }
        Err(()) => bail!("--server {:?} is no http address", args.server),
    }
    let mut builder = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT);
    if matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost")) {
        builder = builder.no_proxy();
    }
    let mut request = builder.build()?.get(url.clone());
    if let Some(token) = token(args)? {
        request = request.bearer_auth(token);
    }
    let mut response = request
        .send()
        .await
        .with_context(|| format!("cannot reach {url}"))?;
    if response.status() != reqwest::StatusCode::OK {
        let status = response.status();
        let problem: serde_json::Value = response.json().await.unwrap_or_default();
        let detail = problem["detail"].as_str().unwrap_or("no explanation");
        bail!("{url} answered {status}: {detail}");
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_scheme_is_told_how_to_be_written() {
        assert!(address("http://127.0.0.1:1").is_ok());
        for server in ["127.0.0.1:1", "localhost:8088", "davy"] {
            let told = address(server).expect_err("no scheme").to_string();
            assert!(told.ends_with(&format!("write http://{server}")), "{told}");
        }
        let told = address("ftp://h").expect_err("not http").to_string();
        assert!(told.contains("no http address"), "{told}");
    }
}
