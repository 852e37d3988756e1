//! Sends what waits in the outbox, one worker an endpoint.
//!
//! Owns attempts: when, how many at once, what counts as delivered, when to give up. The outbox
//! hands out only the oldest delivery of each analysis, so an endpoint sees one analysis in order;
//! a slow endpoint holds up nobody but itself.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::header::RETRY_AFTER;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::endpoint::Endpoint;
use super::guard::GuardedResolver;
use crate::backoff::{self, Backoff};
use crate::clock::Clock;
use crate::store::{Delivery, Outbox, Settlement, StoreError};
use crate::telemetry::Metrics;

/// Attempts to one endpoint at the same time, each of another analysis.
pub const ATTEMPTS_AT_ONCE: usize = 8;
/// A lease outlives an attempt by this much.
const LEASE_SLACK: Duration = Duration::from_secs(30);
/// Wait after the store itself failed.
const STORE_FAILED_WAIT: Duration = Duration::from_secs(1);

/// How hard to try.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Waits between attempts.
    pub backoff: Backoff,
    /// A delivery older than this is given up.
    pub age_max: Duration,
    /// Bytes of an answer that are read, for the log.
    pub response_bytes_max: usize,
}

/// The worker of one endpoint.
pub struct Worker {
    /// Where to.
    pub endpoint: Arc<Endpoint>,
    /// Where deliveries wait.
    pub outbox: Arc<dyn Outbox>,
    /// How hard to try.
    pub policy: Policy,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// A number in `[0, 1)`, another one each time.
    pub chance: fn() -> f64,
    /// What came of it.
    pub metrics: Arc<Metrics>,
    /// Rung when there is something new.
    pub bell: Arc<Notify>,
    /// From [`client`].
    pub client: reqwest::Client,
}

/// The HTTP client of all workers: no redirects, no proxy, guarded names.
///
/// # Errors
/// When TLS cannot be set up.
pub fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .dns_resolver(Arc::new(GuardedResolver))
        .user_agent(concat!("davy/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Why an attempt failed.
struct Failure {
    error: String,
    /// The receiver's wish.
    retry_after: Option<Duration>,
    /// The receiver wants no more of this, or it can never be sent.
    gone: bool,
}

// === impl Worker ===

impl Worker {
    /// Sends until `stop`, and then what is due at that moment.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            match self.send_due().await {
                Ok(0) if stop.is_cancelled() => return,
                Ok(0) => self.wait(&stop).await,
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(endpoint = self.endpoint.name, %error, "the outbox failed");
                    tokio::select! {
                        () = tokio::time::sleep(STORE_FAILED_WAIT) => {}
                        () = stop.cancelled() => return,
                    }
                }
            }
        }
    }

    /// Makes one round of attempts; how many.
    async fn send_due(&self) -> Result<usize, StoreError> {
        let now = self.clock.now();
        let lease_until = now.plus(millis(self.endpoint.timeout + LEASE_SLACK));
        let name = self.endpoint.name.as_str();
        let due = self
            .outbox
            .claim(name, now, lease_until, ATTEMPTS_AT_ONCE)
            .await?;
        let count = due.len();
        for settled in join_all(due.into_iter().map(|delivery| self.attempt(delivery))).await {
            settled?;
        }
        let depth = self.outbox.depth().await?;
        self.metrics
            .outbox_depth
            .set(i64::try_from(depth).unwrap_or(i64::MAX));
        Ok(count)
    }

    async fn wait(&self, stop: &CancellationToken) {
        let next = self
            .outbox
            .next_due(&self.endpoint.name)
            .await
            .ok()
            .flatten();
        let pause = async {
            match next {
                Some(due) => {
                    let wait = due.since(self.clock.now()).max(0);
                    tokio::time::sleep(Duration::from_millis(wait.unsigned_abs())).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.bell.notified() => {}
            () = pause => {}
            () = stop.cancelled() => {}
        }
    }

    async fn attempt(&self, delivery: Delivery) -> Result<(), StoreError> {
        let result = self.send(&delivery).await;
        let settlement = self.settlement(&delivery, result);
        let outcome = match &settlement {
            Settlement::Delivered => "delivered",
            Settlement::Retry { .. } => "retried",
            Settlement::Dead { .. } => "dead",
        };
        self.metrics
            .webhook_attempts
            .with_label_values(&[&self.endpoint.name, outcome])
            .inc();
        self.outbox.settle(&delivery.id, settlement).await
    }

    fn settlement(&self, delivery: &Delivery, result: Result<(), Failure>) -> Settlement {
        let endpoint = self.endpoint.name.as_str();
        let failure = match result {
            Ok(()) => {
                tracing::debug!(endpoint, delivery = delivery.id, "delivered");
                return Settlement::Delivered;
            }
            Err(failure) => failure,
        };
        let now = self.clock.now();
        let drawn = backoff::delay(delivery.attempts, &self.policy.backoff, (self.chance)());
        let asked = failure
            .retry_after
            .unwrap_or_default()
            .min(self.policy.backoff.ceiling(u32::MAX));
        let due = now.plus(millis(drawn.max(asked)));
        let error = failure.error;
        if failure.gone || due.since(delivery.at) > millis(self.policy.age_max) {
            let attempts = delivery.attempts + 1;
            tracing::error!(
                endpoint,
                delivery = delivery.id,
                attempts,
                error,
                "delivery given up"
            );
            return Settlement::Dead { error, at: now };
        }
        let retry_in_ms = due.since(now);
        tracing::warn!(
            endpoint,
            delivery = delivery.id,
            error,
            retry_in_ms,
            "delivery failed"
        );
        Settlement::Retry { due }
    }

    async fn send(&self, delivery: &Delivery) -> Result<(), Failure> {
        let fail = |error: String| Failure {
            error,
            retry_after: None,
            gone: false,
        };
        // It would be the same request the next time.
        let never = |error: String| Failure {
            gone: true,
            ..fail(error)
        };
        let request = self
            .endpoint
            .prepare(delivery, self.clock.now())
            .map_err(never)?;
        let mut response = self
            .client
            .request(request.method, request.url)
            .headers(request.headers)
            .body(request.body)
            .timeout(self.endpoint.timeout)
            .send()
            .await
            .map_err(|error| fail(causes(&error.without_url())))?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|v| v.to_str().ok());
        let retry_after = retry_after
            .and_then(|v| v.parse().ok())
            .map(Duration::from_secs);
        let said = self.excerpt(&mut response).await;
        let hint = if status.is_redirection() {
            " (redirects are not followed)"
        } else {
            ""
        };
        Err(Failure {
            error: format!("answered {status}{hint}: {said}"),
            retry_after,
            gone: status == reqwest::StatusCode::GONE,
        })
    }

    /// The beginning of an answer, for the log.
    async fn excerpt(&self, response: &mut reqwest::Response) -> String {
        let mut said = Vec::new();
        while said.len() < self.policy.response_bytes_max {
            match response.chunk().await {
                Ok(Some(chunk)) => said.extend_from_slice(&chunk),
                _ => break,
            }
        }
        said.truncate(self.policy.response_bytes_max);
        String::from_utf8_lossy(&said)
            .trim()
            .chars()
            .take(200)
            .collect()
    }
}

/// An error with what caused it: reqwest's own text names only the outermost.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

fn millis(duration: Duration) -> crate::model::Millis {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
