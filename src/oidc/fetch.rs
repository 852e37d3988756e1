//! Where the issuer's keys come from: its own word on where they are, and the keys.
//!
//! Owns the requests and their bounds. Redirects are not followed, and nothing but https is asked but on
//! loopback: who answers in the issuer's place could sign what he likes.

use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::Value;

use super::keys::KeySet;
use crate::config::oidc::{Oidc, is_safe};
use crate::config::sources::TlsFiles;
use crate::pull::certificates;
use crate::pull::credentials::read_secret;
use crate::webhook::attempt::causes;

/// Longest answer of an issuer, in bytes.
pub const ANSWER_BYTES_MAX: usize = 256 << 10;

/// How keys are fetched.
#[derive(Debug)]
pub struct Source {
    client: Client,
    settings: Oidc,
}

// === impl Source ===

impl Source {
    /// By these settings.
    ///
    /// # Errors
    /// A sentence that names the file of certificates.
    pub fn build(settings: &Oidc) -> Result<Source, String> {
        let builder = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("davy/", env!("CARGO_PKG_VERSION")));
        let files = TlsFiles {
            ca_file: settings.ca_file.clone(),
            ..TlsFiles::default()
        };
        let builder = certificates::trust(builder, &files)?;
        Ok(Source {
            client: builder.build().map_err(|error| causes(&error))?,
            settings: settings.clone(),
        })
    }

    /// How long a fetch may take.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.settings.timeout_ms)
    }

    /// The keys there are now, and how many were left out.
    ///
    /// # Errors
    /// A sentence.
    pub async fn fetch(&self) -> Result<(KeySet, usize), String> {
        let timeout = self.timeout();
        let fetched = tokio::time::timeout(timeout, self.fetch_untimed()).await;
        fetched.unwrap_or_else(|_| {
            let millis = timeout.as_millis();
            Err(format!(
                "no answer within {millis} ms (auth.oidc.timeout_ms)"
            ))
        })
    }

    async fn fetch_untimed(&self) -> Result<(KeySet, usize), String> {
        let url = match &self.settings.keys_url {
            Some(url) => url.clone(),
            None => self.discover().await?,
        };
        KeySet::parse(&self.get(&url).await?).map_err(|error| format!("{url}: {error}"))
    }

    /// Where the issuer says that its keys are.
    async fn discover(&self) -> Result<String, String> {
        let issuer = &self.settings.issuer;
        let url = format!(
            "{}/.well-known/openid-configuration",
            issuer.trim_end_matches('/')
        );
        let document: Value = serde_json::from_slice(&self.get(&url).await?)
            .map_err(|error| format!("{url}: it is not JSON: {error}"))?;
        if document["issuer"].as_str() != Some(issuer) {
            let said: String = document["issuer"].to_string().chars().take(200).collect();
            return Err(format!(
                "{url}: it is of the issuer {said}; auth.oidc.issuer must be the same, letter by letter"
            ));
        }
        let keys_url = document["jwks_uri"].as_str().unwrap_or_default();
        if !is_safe(keys_url) {
            return Err(format!("{url}: its jwks_uri is no https address"));
        }
        Ok(keys_url.to_owned())
    }

    async fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        let mut request = self.client.get(url);
        if let Some(path) = &self.settings.bearer_token_file {
            let path = path.clone();
            let reading = tokio::task::spawn_blocking(move || read_secret(&path));
            let secret = reading.await.map_err(|error| error.to_string())??;
            request = request.bearer_auth(secret);
        }
        let told = |error: reqwest::Error| format!("{url}: {}", causes(&error.without_url()));
        let mut response = request.send().await.map_err(told)?;
        if response.status() != StatusCode::OK {
            let status = response.status();
            return Err(format!("{url}: it answered {status}"));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(told)? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_BYTES_MAX {
                return Err(format!(
                    "{url}: the answer is longer than {ANSWER_BYTES_MAX} bytes"
                ));
            }
        }
        Ok(body)
    }
}
