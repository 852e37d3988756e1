//! The signing secrets of webhooks: files of them, read again whenever they change.
//!
//! Owns what is done with what they say. Where a secret lies is [`super::secrets`]', what one is
//! [`crate::webhook::sign`]'s, when it is read [`super::rereading`]'s.

use std::sync::Arc;

use super::rereading::{Mark, Watched};
use super::{Beside, secrets};
use crate::config::daemon::Webhook;
use crate::telemetry::Metrics;
use crate::webhook::Endpoint;
use crate::webhook::endpoint::parse_secrets;
use crate::webhook::sign::Secrets;

/// Gives one endpoint the secrets of its file.
struct SecretKeeper {
    entry: Webhook,
    endpoint: Arc<Endpoint>,
    metrics: Arc<Metrics>,
}

/// Looks after the secrets that are in files, and shows how many each endpoint has.
pub(super) fn build(
    entries: &[Webhook],
    endpoints: &[Arc<Endpoint>],
    metrics: &Arc<Metrics>,
    beside: &mut Beside,
) {
    for (entry, endpoint) in entries.iter().zip(endpoints) {
        let count = endpoint.secrets().map_or(0, |secrets| secrets.count());
        show(metrics, endpoint, count);
        if entry.secret_file.is_none() {
            continue;
        }
        let keeper = SecretKeeper {
            entry: entry.clone(),
            endpoint: endpoint.clone(),
            metrics: metrics.clone(),
        };
        beside.rereading.add_unread(keeper);
    }
}

fn show(metrics: &Metrics, endpoint: &Endpoint, count: usize) {
    let name = [endpoint.name.as_str()];
    let gauge = metrics.webhook.secrets.with_label_values(&name);
    gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
    // There from the beginning, so that its first failure is an increase.
    let failures = &metrics.webhook.secret_reload_failures;
    failures.with_label_values(&name);
}

// === impl SecretKeeper ===

impl Watched for SecretKeeper {
    type Said = Secrets;

    fn read(&self) -> Result<(Mark, Secrets), String> {
        let read = secrets::read(&self.entry).unwrap_or_else(|| Ok(String::new()));
        let parsed = parse_secrets(&read).map_err(|(error, help)| format!("{error}; {help}"))?;
        let text = read.unwrap_or_default();
        Ok((Mark::of([text.as_bytes()]), parsed))
    }

    fn take(&mut self, secrets: Secrets) {
        let (endpoint, count) = (self.endpoint.name.as_str(), secrets.count());
        tracing::info!(endpoint, secrets = count, "signing secrets loaded");
        self.endpoint.replace_secrets(secrets);
        show(&self.metrics, &self.endpoint, count);
    }

    fn complain(&self, error: &str) {
        let endpoint = self.endpoint.name.as_str();
        let failures = &self.metrics.webhook.secret_reload_failures;
        failures.with_label_values(&[endpoint]).inc();
        tracing::error!(
            endpoint,
            error,
            "the file of signing secrets cannot be used; those before stay"
        );
    }
}
