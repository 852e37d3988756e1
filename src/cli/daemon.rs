//! A running daemon, as commands ask it over HTTP.
//!
//! Owns where it is, the token that is shown, and what is said when it does not answer as it should.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use reqwest::header::RETRY_AFTER;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde_json::Value;

use crate::config::sources::TlsFiles;
use crate::pull::certificates;

/// How long the connection may take; an answer may take longer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often one request of many is sent where the daemon has no room.
const TRIES_MAX: u32 = 30;
/// Longest wait that is granted to it.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
/// Variable that holds the token: an argument could be read by everybody on the machine.
const TOKEN_VARIABLE: &str = "DAVY_TOKEN";

/// Which daemon, and as whom.
#[derive(Debug, Clone, Args)]
pub struct DaemonArgs {
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
    /// Certificates (PEM) that are trusted besides the system's, for a daemon at https
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Own certificate (PEM), for a daemon that asks its clients for one
    #[arg(long, value_name = "FILE", requires = "key_file")]
    pub cert_file: Option<PathBuf>,
    /// Key (PEM) of the own certificate
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    pub key_file: Option<PathBuf>,
}

// === impl DaemonArgs ===

impl DaemonArgs {
    /// A request for this path, by its segments, with these parameters.
    ///
    /// # Errors
    /// An address that is none, or a token that cannot be read.
    pub fn request(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> anyhow::Result<RequestBuilder> {
        let mut url = address(&self.server)?;
        match url.path_segments_mut() {
            Ok(mut segments) => {
                segments.pop_if_empty().extend(path);
            }
            Err(()) => bail!("--server {:?} is no http address", self.server),
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let files = TlsFiles {
            ca_file: self.ca_file.clone(),
            cert_file: self.cert_file.clone(),
            key_file: self.key_file.clone(),
        };
        let builder = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT);
        let mut builder = certificates::trust(builder, &files).map_err(|error| anyhow!(error))?;
        if matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost")) {
            builder = builder.no_proxy();
        }
        let request = builder.build()?.request(method, url);
        Ok(match self.token()? {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
    }

    /// The token, where one is given.
    fn token(&self) -> anyhow::Result<Option<String>> {
        let text = match &self.token_file {
            Some(path) => std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?,
            None => match std::env::var(TOKEN_VARIABLE) {
                Ok(text) => text,
                Err(_) => return Ok(None),
            },
        };
        Ok(Some(text.trim().to_owned()))
    }
}

/// Where a command waits for a daemon's answer.
///
/// # Errors
/// When the system gives no room for it.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build()
}

/// Sends a request; the answer, where it is 200.
///
/// # Errors
/// When the daemon cannot be reached, or answers with a problem.
pub async fn answer(request: RequestBuilder) -> anyhow::Result<Response> {
    let (url, response) = send(request).await?;
    checked(url, response).await
}

/// The same for one of many requests: what is too much at once is asked again when the daemon says,
/// and what is there no longer is `None`.
///
/// # Errors
/// As [`answer`].
pub async fn patient_answer(
    request: impl Fn() -> anyhow::Result<RequestBuilder>,
) -> anyhow::Result<Option<Response>> {
    let mut tries = 1;
    loop {
        let (url, response) = send(request()?).await?;
        let is_busy = matches!(
            response.status(),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        );
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !is_busy || tries == TRIES_MAX {
            return checked(url, response).await.map(Some);
        }
        let after = response.headers().get(RETRY_AFTER);
        let after = after.and_then(|secs| secs.to_str().ok()?.parse().ok());
        let after = Duration::from_secs(after.unwrap_or(1));
        tokio::time::sleep(after.min(RETRY_AFTER_MAX)).await;
        tries += 1;
    }
}

async fn send(request: RequestBuilder) -> anyhow::Result<(Url, Response)> {
    let (client, request) = request.build_split();
    let request = request?;
    let url = request.url().clone();
    let response = client.execute(request).await;
    let response = response.with_context(|| format!("cannot reach {url}"))?;
    Ok((url, response))
}

async fn checked(url: Url, response: Response) -> anyhow::Result<Response> {
    if response.status() != StatusCode::OK {
        let status = response.status();
        let problem: Value = response.json().await.unwrap_or_default();
        let detail = problem["detail"].as_str().unwrap_or("no explanation");
        match problem["help"].as_str() {
            Some(help) => bail!("{url} answered {status}: {detail}; {help}"),
            None => bail!("{url} answered {status}: {detail}"),
        }
    }
    Ok(response)
}

/// The daemon's address; one without a scheme is told how to be written.
fn address(server: &str) -> anyhow::Result<Url> {
    match Url::parse(server) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        _ if server.contains("://") => bail!("--server {server:?} is no http address"),
        _ => bail!("--server {server:?} is no address; write http://{server}"),
    }
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
