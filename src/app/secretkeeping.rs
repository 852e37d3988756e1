//! The signing secrets of webhooks: files of them, read again whenever they change.
//!
//! Owns when they are read. A change is seen by what a file says, not by its time: where a folder is
//! swapped below a link, as Kubernetes does, times need not move. Where a secret lies is
//! [`super::secrets`]', what one is [`crate::webhook::sign`]'s.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use super::doorkeeping::LOOKS_EVERY;
use super::secrets;
use crate::config::daemon::Webhook;
use crate::telemetry::Metrics;
use crate::webhook::Endpoint;
use crate::webhook::endpoint::parse_secrets;

/// Looks at the files of secrets for as long as the daemon runs.
pub(super) struct SecretKeeper {
    watched: Vec<Watched>,
    metrics: Arc<Metrics>,
    bell: Arc<Notify>,
}

/// One endpoint with a file of secrets.
struct Watched {
    entry: Arc<Webhook>,
    endpoint: Arc<Endpoint>,
    /// Why the file could not be used when it was last looked at.
    fault: Option<String>,
}

/// Who looks after the secrets; `None` where none are in files.
pub(super) fn build(
    entries: &[Webhook],
    endpoints: &[Arc<Endpoint>],
    metrics: &Arc<Metrics>,
) -> Option<SecretKeeper> {
    let mut watched = Vec::new();
    for (entry, endpoint) in entries.iter().zip(endpoints) {
        let count = endpoint.secrets().map_or(0, |secrets| secrets.count());
        show(metrics, endpoint, count);
        if entry.secret_file.is_some() {
            watched.push(Watched {
                entry: Arc::new(entry.clone()),
                endpoint: endpoint.clone(),
                fault: None,
            });
        }
    }
    (!watched.is_empty()).then(|| SecretKeeper {
        watched,
        metrics: metrics.clone(),
        bell: Arc::default(),
    })
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

impl SecretKeeper {
    /// Rung when the files are to be looked at now.
    pub(super) fn bell(&self) -> Arc<Notify> {
        self.bell.clone()
    }

    /// Looks until it is aborted.
    pub(super) async fn run(mut self) {
        let mut looks = tokio::time::interval(LOOKS_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let bell = self.bell();
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                () = bell.notified() => {}
            }
            for watched in &mut self.watched {
                let entry = watched.entry.clone();
                let reading = tokio::task::spawn_blocking(move || secrets::read(&entry));
                // A look that panicked or was cancelled saw nothing.
                if let Ok(Some(read)) = reading.await {
                    watched.take(&read, &self.metrics);
                }
            }
        }
    }
}

// === impl Watched ===

impl Watched {
    /// Takes what is new. What cannot be used changes nothing, and is told once.
    fn take(&mut self, read: &Result<String, String>, metrics: &Metrics) {
        let endpoint = self.endpoint.name.as_str();
        match parse_secrets(read) {
            Ok(secrets) => {
                self.fault = None;
                if self
                    .endpoint
                    .secrets()
                    .is_some_and(|known| *known == secrets)
                {
                    return;
                }
                let count = secrets.count();
                tracing::info!(endpoint, secrets = count, "signing secrets loaded");
                self.endpoint.replace_secrets(secrets);
                show(metrics, &self.endpoint, count);
            }
            Err((error, help)) => {
                if self.fault.as_ref() == Some(&error) {
                    return;
                }
                tracing::error!(
                    endpoint,
                    error,
                    help,
                    "the file of signing secrets cannot be used; those before stay"
                );
                let failures = &metrics.webhook.secret_reload_failures;
                failures.with_label_values(&[endpoint]).inc();
                self.fault = Some(error);
            }
        }
    }
}
