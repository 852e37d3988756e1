//! Whose tokens are good: the file of tokens, read at the start and whenever it changes.
//!
//! Owns when it is read. A change is seen by the text, not by the time of the file: where a folder is
//! swapped below a link, as Kubernetes does, times need not move. What a token opens is
//! [`crate::http::door`]'s, what the file says [`crate::tokens::file`]'s.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use crate::config::daemon::Auth;
use crate::http::door::{Door, Settings};
use crate::telemetry::Metrics;
use crate::tokens::file::{self, FileError, Loaded};

/// How often the file is looked at: so long a revoked token is good at most.
pub const LOOKS_EVERY: Duration = Duration::from_secs(1);

/// Looks at the file of tokens for as long as the daemon runs.
pub(super) struct Doorkeeper {
    path: PathBuf,
    door: Arc<Door>,
    metrics: Arc<Metrics>,
    bell: Arc<Notify>,
    seen: Seen,
}

/// What the file was when it was last looked at.
#[derive(PartialEq)]
enum Seen {
    Text(String),
    Fault(FileError),
}

/// The door, and who looks after it where there is a file of tokens.
///
/// # Errors
/// When the file cannot be used: a daemon that lets nobody in was not meant.
pub(super) fn build(
    auth: &Auth,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<(Arc<Door>, Option<Doorkeeper>)> {
    let Some(path) = &auth.tokens_file else {
        return Ok((Arc::new(Door::open()), None));
    };
    let loaded = file::load(path)
        .context("auth.tokens_file cannot be used; davy token create --file makes one")?;
    let settings = Settings {
        metrics_open: auth.metrics_open,
        requests_per_second_max: auth.requests_per_second_max,
    };
    let door = Arc::new(Door::with(Vec::new(), settings));
    let mut doorkeeper = Doorkeeper {
        path: path.clone(),
        door: door.clone(),
        metrics: metrics.clone(),
        bell: Arc::default(),
        seen: Seen::Text(String::new()),
    };
    doorkeeper.take(loaded);
    Ok((door, Some(doorkeeper)))
}

// === impl Doorkeeper ===

impl Doorkeeper {
    /// Rung when the file is to be looked at now.
    pub(super) fn bell(&self) -> Arc<Notify> {
        self.bell.clone()
    }

    /// Looks until it is aborted.
    pub(super) async fn run(mut self) {
        let mut looks = tokio::time::interval(LOOKS_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let bell = self.bell();
        loop {
            let is_asked = tokio::select! {
                _ = looks.tick() => false,
                () = bell.notified() => true,
            };
            let path = self.path.clone();
            let loading = tokio::task::spawn_blocking(move || file::load(&path));
            // A look that panicked or was cancelled saw nothing.
            if let Ok(loaded) = loading.await {
                self.look(loaded, is_asked);
            }
        }
    }

    /// Takes what is new; says so, too, where somebody asked and nothing is.
    fn look(&mut self, loaded: Result<Loaded, FileError>, is_asked: bool) {
        match loaded {
            Ok(loaded) if is_asked || self.seen != Seen::Text(loaded.text.clone()) => {
                self.take(loaded);
            }
            Ok(_) => {}
            Err(fault) => {
                let fault = Seen::Fault(fault);
                if is_asked || self.seen != fault {
                    self.seen = fault;
                    self.complain();
                }
            }
        }
    }

    fn take(&mut self, loaded: Loaded) {
        let file = self.path.display();
        if let Some(warning) = loaded.warning {
            tracing::warn!(%file, "{warning}");
        }
        tracing::info!(%file, tokens = loaded.tokens.len(), "tokens loaded");
        let number = i64::try_from(loaded.tokens.len()).unwrap_or(i64::MAX);
        self.metrics.door.tokens.set(number);
        self.door.replace(loaded.tokens);
        self.seen = Seen::Text(loaded.text);
    }

    fn complain(&self) {
        self.metrics.door.reload_failures.inc();
        if let Seen::Fault(error) = &self.seen {
            tracing::error!(%error, "the file of tokens cannot be used; those before stay");
        }
    }
}
