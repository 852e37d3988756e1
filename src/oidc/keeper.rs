//! When keys are fetched: at the start, from time to time, and when a token names a key that is not
//! known, for issuers change their keys.
//!
//! Owns the waits. However many tokens name keys that nobody has, there is one fetch at a time, and a
//! shortest time from one to the next. A fetch that fails changes nothing: the keys before stay.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::fetch::Source;
use super::keys::KeySet;
use crate::clock::Clock;
use crate::config::oidc::Oidc;
use crate::telemetry::Metrics;

/// How much longer than a fetch a request waits for it.
const WAIT_BEYOND_FETCH: Duration = Duration::from_secs(1);

const FETCHED: &str = "fetched";
const FAILED: &str = "failed";

/// The keys there are now.
#[derive(Debug)]
pub struct Keys {
    set: RwLock<Arc<KeySet>>,
    bell: Notify,
    progress: watch::Sender<Progress>,
    wait_max: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Progress {
    /// Fetches that are over.
    finished: u64,
    is_fetching: bool,
    /// Whether the last one failed.
    has_failed: bool,
    /// When the next may begin.
    earliest: Instant,
}

/// Fetches keys for as long as the daemon runs.
pub struct KeyKeeper {
    keys: Arc<Keys>,
    source: Source,
    refresh: Duration,
    refetch_min: Duration,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

// === impl Keys ===

impl Keys {
    /// None yet.
    fn none(wait_max: Duration) -> Keys {
        let progress = Progress {
            finished: 0,
            is_fetching: false,
            has_failed: true,
            earliest: Instant::now(),
        };
        Keys {
            set: RwLock::default(),
            bell: Notify::new(),
            progress: watch::Sender::new(progress),
            wait_max,
        }
    }

    /// Those there are.
    pub fn current(&self) -> Arc<KeySet> {
        let set = self.set.read().unwrap_or_else(PoisonError::into_inner);
        set.clone()
    }

    /// Whether the issuer could not be asked of late: a key that is not known may be a new one of its.
    pub fn are_doubtful(&self) -> bool {
        self.progress.borrow().has_failed
    }

    /// Has keys fetched, where that was not done just now; whether it was, so that a key may be known
    /// that was not.
    pub async fn renewed(&self) -> bool {
        let mut progress = self.progress.subscribe();
        let seen = *progress.borrow_and_update();
        if !seen.is_fetching && Instant::now() < seen.earliest {
            return false;
        }
        self.bell.notify_one();
        let over = progress.wait_for(|now| now.finished != seen.finished);
        let waited = tokio::time::timeout(self.wait_max, over).await;
        waited.is_ok_and(|over| over.is_ok())
    }

    fn replace(&self, set: KeySet) {
        let mut current = self.set.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(set);
    }
}

// === impl KeyKeeper ===

impl KeyKeeper {
    /// By these settings; nothing is fetched yet.
    ///
    /// # Errors
    /// A sentence that names the file of certificates.
    pub fn build(
        settings: &Oidc,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Result<KeyKeeper, String> {
        let source = Source::build(settings)?;
        for outcome in [FETCHED, FAILED] {
            // There from the beginning, so that the first is an increase.
            metrics.oidc.fetches.with_label_values(&[outcome]);
        }
        Ok(KeyKeeper {
            keys: Arc::new(Keys::none(source.timeout() + WAIT_BEYOND_FETCH)),
            source,
            refresh: Duration::from_secs(settings.keys_refresh_secs),
            refetch_min: Duration::from_secs(settings.keys_refetch_secs_min),
            clock,
            metrics,
        })
    }

    /// What it keeps.
    pub fn keys(&self) -> Arc<Keys> {
        self.keys.clone()
    }

    /// Fetches until it is aborted, beginning at once.
    pub async fn run(self) {
        loop {
            let is_fetched = self.fetch().await;
            // After a failure it is tried again as soon as may be.
            let wait = if is_fetched {
                self.refresh
            } else {
                self.refetch_min
            };
            let due = Instant::now() + wait.max(self.refetch_min);
            let earliest = self.keys.progress.borrow().earliest;
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                () = self.asked_from(earliest) => {}
            }
        }
    }

    /// Until somebody asks who may: what was asked before `earliest` was answered by the fetch before.
    async fn asked_from(&self, earliest: Instant) {
        loop {
            self.keys.bell.notified().await;
            if Instant::now() >= earliest {
                return;
            }
        }
    }

    async fn fetch(&self) -> bool {
        let progress = &self.keys.progress;
        progress.send_modify(|progress| progress.is_fetching = true);
        let fetched = self.source.fetch().await;
        let is_fetched = fetched.is_ok();
        match fetched {
            Ok((set, left_out)) => {
                let metrics = &self.metrics.oidc;
                let keys = i64::try_from(set.count()).unwrap_or(i64::MAX);
                metrics.keys.set(keys);
                metrics.keys_fetched.set(self.clock.now().millis() / 1_000);
                tracing::debug!(keys, left_out, "keys of the identity provider fetched");
                self.keys.replace(set);
            }
            Err(error) => {
                tracing::warn!(
                    error,
                    "the keys of the identity provider cannot be fetched; those before stay"
                );
            }
        }
        let outcome = if is_fetched { FETCHED } else { FAILED };
        let fetches = &self.metrics.oidc.fetches;
        fetches.with_label_values(&[outcome]).inc();
        progress.send_modify(|progress| {
            progress.finished += 1;
            progress.is_fetching = false;
            progress.has_failed = !is_fetched;
            progress.earliest = Instant::now() + self.refetch_min;
        });
        is_fetched
    }
}
