//! Sends what waits in the outbox, one worker an endpoint.
//!
//! Owns when an attempt is made, how many at once, and what becomes of a delivery. The outbox hands
//! out only the oldest delivery of each analysis, so an endpoint sees one analysis in order; a slow
//! endpoint holds up nobody but itself, and a slow answer nothing but its analysis. Only the loop
//! asks the store: attempts under way hold nothing of it. Next: [`super::attempt`], one request;
//! [`super::breaker`], when an endpoint is left alone.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use serde::Deserialize;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::attempt::{self, Failure};
use super::breaker::{Breaker, Change, Health};
use super::endpoint::Endpoint;
use super::guard::{GuardedResolver, SystemResolver};
use crate::backoff::{self, Backoff};
use crate::clock::Clock;
use crate::model::{Decision, Millis, Timestamp};
use crate::store::{Delivery, Outbox, Settlement, StoreError};
use crate::telemetry::Metrics;

/// A lease outlives an attempt by this much.
const LEASE_SLACK: Duration = Duration::from_secs(30);
/// Wait after the store itself failed.
const STORE_FAILED_WAIT: Duration = Duration::from_secs(1);

/// How hard to try.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Waits between attempts at one delivery.
    pub backoff: Backoff,
    /// A delivery older than this is given up.
    pub age_max: Duration,
    /// Bytes of an answer that are read, for the log.
    pub response_bytes_max: usize,
    /// The failure of this number in a row has the endpoint held back.
    pub failures_max: u32,
    /// Waits between probes of an endpoint that is held back.
    pub probing: Backoff,
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

/// What of a verdict is looked at here.
#[derive(Deserialize)]
struct Asks {
    decision: Decision,
}

/// The HTTP client of all workers: no redirects, no proxy, guarded names.
///
/// # Errors
/// When TLS cannot be set up.
pub fn client() -> Result<reqwest::Client, reqwest::Error> {
    client_with(GuardedResolver::of(SystemResolver))
}

/// The same with another resolver.
///
/// # Errors
/// When TLS cannot be set up.
pub fn client_with(resolver: GuardedResolver) -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .dns_resolver(Arc::new(resolver))
        .user_agent(concat!("davy/", env!("CARGO_PKG_VERSION")))
        .build()
}

// === impl Worker ===

impl Worker {
    /// Sends until `stop`, and then what is due at that moment.
    pub async fn run(self, stop: CancellationToken) {
        let mut breaker = Breaker::new(self.policy.failures_max, self.policy.probing);
        let mut under_way = FuturesUnordered::new();
        self.show(&breaker);
        loop {
            let claimed = self.claim(&breaker, under_way.len()).await;
            let has_failed = claimed.is_err();
            for delivery in claimed.unwrap_or_else(|error| self.complain(&error)) {
                breaker.begin();
                under_way.push(self.attempt(delivery));
            }
            let busy = under_way.len();
            if busy == 0 && stop.is_cancelled() {
                return;
            }
            let ended = tokio::select! {
                ended = under_way.next(), if busy > 0 => ended,
                () = self.rest(&breaker, busy, has_failed) => None,
                () = stop.cancelled(), if !stop.is_cancelled() => None,
            };
            let Some(first) = ended else { continue };
            let mut all = vec![first];
            // Those that have ended meanwhile, so that one claim makes up for all of them.
            while let Some(Some(next)) = under_way.next().now_or_never() {
                all.push(next);
            }
            for (delivery, result) in all {
                if let Err(error) = self.settle(&mut breaker, &delivery, result).await {
                    // Its lease ends, and it is sent again.
                    self.complain::<()>(&error);
                }
            }
        }
    }

    /// Takes as many deliveries as may be tried now.
    async fn claim(
        &self,
        breaker: &Breaker,
        under_way: usize,
    ) -> Result<Vec<Delivery>, StoreError> {
        let now = self.clock.now();
        let room = breaker.admits(now, under_way, self.endpoint.concurrent_attempts_max);
        let mut due = Vec::new();
        if room > 0 {
            let lease_until = now.plus(millis(self.endpoint.timeout + LEASE_SLACK));
            let name = self.endpoint.name.as_str();
            due = self.outbox.claim(name, now, lease_until, room).await?;
        }
        let depth = self.outbox.depth().await?;
        let depth = i64::try_from(depth).unwrap_or(i64::MAX);
        self.metrics.outbox_depth.set(depth);
        Ok(due)
    }

    /// Waits until there may be something to claim, beside what is under way.
    async fn rest(&self, breaker: &Breaker, under_way: usize, has_failed: bool) {
        if has_failed {
            return tokio::time::sleep(STORE_FAILED_WAIT).await;
        }
        let most = self.endpoint.concurrent_attempts_max;
        if breaker.admits(Timestamp(i64::MAX), under_way, most) == 0 {
            // Whatever ends next makes room.
            return std::future::pending().await;
        }
        let next = match self.outbox.next_due(&self.endpoint.name).await {
            Ok(next) => next,
            Err(error) => {
                self.complain::<()>(&error);
                return tokio::time::sleep(STORE_FAILED_WAIT).await;
            }
        };
        let pause = async {
            let Some(due) = next else {
                return std::future::pending().await;
            };
            let due = breaker.opens_at().map_or(due, |at| at.max(due));
            let wait = due.since(self.clock.now()).max(0);
            tokio::time::sleep(Duration::from_millis(wait.unsigned_abs())).await;
        };
        tokio::select! {
            () = self.bell.notified() => {}
            () = pause => {}
        }
    }

    async fn attempt(&self, delivery: Delivery) -> (Delivery, Result<(), Failure>) {
        let now = self.clock.now();
        let bytes_max = self.policy.response_bytes_max;
        let result = attempt::send(&self.client, &self.endpoint, &delivery, now, bytes_max).await;
        (delivery, result)
    }

    /// Draws what follows from an attempt, for its endpoint and for the delivery.
    async fn settle(
        &self,
        breaker: &mut Breaker,
        delivery: &Delivery,
        result: Result<(), Failure>,
    ) -> Result<(), StoreError> {
        let health = result
            .as_ref()
            .map_or_else(Failure::health, |()| Health::Well);
        let change = breaker.note(health, self.clock.now(), (self.chance)());
        self.tell(change, breaker);
        let settlement = self.settlement(delivery, result);
        let outcome = match &settlement {
            Settlement::Delivered => "delivered",
            Settlement::Retry { .. } => "retried",
            Settlement::Dead { .. } => "dead",
        };
        let name = self.endpoint.name.as_str();
        let attempts = &self.metrics.webhook.attempts;
        attempts.with_label_values(&[name, outcome]).inc();
        // Counted once it is kept: what could not be is sent, and settled, again.
        self.outbox.settle(&delivery.id, settlement.clone()).await?;
        self.count_end(delivery, &settlement);
        Ok(())
    }

    /// Counts what became of a delivery that is not tried again.
    fn count_end(&self, delivery: &Delivery, settlement: &Settlement) {
        let (name, metrics) = (self.endpoint.name.as_str(), &self.metrics.webhook);
        let outcome = match settlement {
            Settlement::Delivered => "delivered",
            Settlement::Retry { .. } => return,
            Settlement::Dead { .. } => "dead",
        };
        if outcome == "delivered" {
            let delay = self.clock.now().since(delivery.at).max(0);
            let histogram = metrics.delivery_delay.with_label_values(&[name]);
            histogram.observe(delay as f64 / 1000.0);
        }
        let asks: Option<Asks> = serde_json::from_str(&delivery.body).ok();
        if asks.is_some_and(|asks| asks.decision == Decision::Rollback) {
            let rollbacks = &metrics.rollbacks;
            rollbacks.with_label_values(&[name, outcome]).inc();
        }
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
        let longest = self.policy.backoff.ceiling(u32::MAX);
        let asked = failure.retry_after.min(longest);
        let due = now.plus(millis(drawn.max(asked)));
        let error = failure.error;
        let age_max = millis(self.policy.age_max);
        if failure.is_final || due.since(delivery.queued_at) > age_max {
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

    /// Says that the endpoint is held back, or no longer.
    fn tell(&self, change: Option<Change>, breaker: &Breaker) {
        let endpoint = self.endpoint.name.as_str();
        match change {
            Some(Change::Opened) => {
                let opened = &self.metrics.webhook.breaker_opened;
                opened.with_label_values(&[endpoint]).inc();
                let failures = self.policy.failures_max;
                tracing::error!(
                    endpoint,
                    failures,
                    "held back after failures in a row; one attempt at a time from now on"
                );
            }
            Some(Change::Closed) => tracing::info!(endpoint, "well again, no longer held back"),
            None => return,
        }
        self.show(breaker);
    }

    fn show(&self, breaker: &Breaker) {
        let open = &self.metrics.webhook.breaker_open;
        let gauge = open.with_label_values(&[&self.endpoint.name]);
        gauge.set(i64::from(breaker.is_open()));
    }

    /// Nothing came of it.
    fn complain<T: Default>(&self, error: &StoreError) -> T {
        tracing::error!(endpoint = self.endpoint.name, %error, "the outbox failed");
        T::default()
    }
}

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}
