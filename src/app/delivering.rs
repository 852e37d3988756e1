//! The webhooks of a configuration: their endpoints, and a worker for each.
//!
//! Owns how settings become what [`crate::webhook`] takes. When something is sent is its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::sync::Notify;

use super::{BACKOFF_FACTOR, chance, secrets, size};
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::config::{Config, daemon};
use crate::store::Outbox;
use crate::telemetry::Metrics;
use crate::webhook::endpoint::Endpoint;
use crate::webhook::worker::{Policy, Worker, client};

/// The bell of each endpoint's worker, by its name.
pub(super) fn bells(endpoints: &[Arc<Endpoint>]) -> Arc<HashMap<String, Arc<Notify>>> {
    let with_bell = |endpoint: &Arc<Endpoint>| (endpoint.name.clone(), Arc::default());
    Arc::new(endpoints.iter().map(with_bell).collect())
}

/// The endpoints of a configuration.
///
/// # Errors
/// Everything wrong with each of them.
pub(super) fn endpoints(entries: &[daemon::Webhook]) -> anyhow::Result<Vec<Arc<Endpoint>>> {
    let mut checked = Vec::new();
    let mut problems = Vec::new();
    for entry in entries {
        match Endpoint::build(entry, secrets::read) {
            Ok(endpoint) => checked.push(Arc::new(endpoint)),
            Err(found) => problems.extend(found.into_iter().map(|problem| {
                let (name, key) = (&entry.name, problem.key);
                format!(
                    "webhook {name:?}: {key}: {}\n  help: {}",
                    problem.message, problem.help
                )
            })),
        }
    }
    if !problems.is_empty() {
        bail!("{}", problems.join("\n"));
    }
    Ok(checked)
}

/// A worker for each endpoint.
///
/// # Errors
/// Waits that make no sense, or TLS that cannot be set up.
pub(super) fn workers(
    config: &Config,
    endpoints: &[Arc<Endpoint>],
    bells: &HashMap<String, Arc<Notify>>,
    outbox: &Arc<dyn Outbox>,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Vec<Worker>> {
    if endpoints.is_empty() {
        return Ok(Vec::new());
    }
    let settings = &config.webhook;
    let backoff = Backoff::new(
        Duration::from_millis(settings.backoff_initial_ms),
        Duration::from_millis(settings.backoff_max_ms),
        BACKOFF_FACTOR,
    )
    .context("webhook.backoff_initial_ms and webhook.backoff_max_ms make no sense")?;
    // Whoever waits long after the first failure need not wait as long for a probe.
    let longest = Duration::from_millis(settings.probe_wait_max_ms);
    let first = longest.min(Duration::from_millis(settings.backoff_initial_ms));
    let probing = Backoff::new(first, longest, BACKOFF_FACTOR)
        .context("webhook.probe_wait_max_ms makes no sense")?;
    let client = client().context("cannot set up the webhooks' HTTP client")?;
    let policy = Policy {
        backoff,
        age_max: Duration::from_secs(settings.attempts_age_secs_max),
        response_bytes_max: size(settings.response_bytes_max),
        failures_max: settings.failures_in_a_row_max,
        probing,
    };
    for endpoint in endpoints {
        metrics.begin_endpoint(&endpoint.name);
    }
    let worker = |endpoint: &Arc<Endpoint>| Worker {
        endpoint: endpoint.clone(),
        outbox: outbox.clone(),
        policy: policy.clone(),
        clock: clock.clone(),
        chance,
        metrics: metrics.clone(),
        bell: bells[&endpoint.name].clone(),
        client: client.clone(),
    };
    Ok(endpoints.iter().map(worker).collect())
}
