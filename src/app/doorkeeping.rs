//! Whose tokens are good: the file of tokens, read at the start and whenever it changes.
//!
//! Owns what is done with what it says. What a token opens is [`crate::http::door`]'s, what the file
//! says [`crate::tokens::file`]'s, when it is read [`super::rereading`]'s.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow};

use super::Beside;
use super::rereading::{Mark, Rereading, Watched};
use crate::clock::Clock;
use crate::config::daemon::Auth;
use crate::http::door::{Door, Settings};
use crate::oidc::Issuer;
use crate::oidc::keeper::KeyKeeper;
use crate::telemetry::Metrics;
use crate::tokens::file::{self, Loaded};

/// Gives the door the tokens of the file.
struct Doorkeeper {
    path: PathBuf,
    door: Arc<Door>,
    metrics: Arc<Metrics>,
}

/// The door, looked after where there is a file of tokens; and who fetches an issuer's keys.
///
/// # Errors
/// When a file cannot be used: a daemon that lets nobody in was not meant. An issuer that does not answer
/// is no reason not to start: there may be other tokens, and it may answer soon.
pub(super) fn build(
    auth: &Auth,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<Metrics>,
    beside: &mut Beside,
) -> anyhow::Result<Arc<Door>> {
    if !auth.asks() {
        return Ok(Arc::new(Door::open()));
    }
    let settings = Settings {
        metrics_open: auth.metrics_open,
        requests_per_second_max: auth.requests_per_second_max,
    };
    let mut door = Door::with(Vec::new(), settings);
    if let Some(oidc) = &auth.oidc {
        let keeper = KeyKeeper::build(oidc, clock.clone(), metrics.clone())
            .map_err(|error| anyhow!("auth.oidc cannot be used: {error}"))?;
        door = door.trusting(Issuer::new(oidc, keeper.keys()));
        beside.key_keeper = Some(keeper);
    }
    let door = Arc::new(door);
    if let Some(path) = &auth.tokens_file {
        look_after(&door, path, metrics, &mut beside.rereading)?;
    }
    Ok(door)
}

fn look_after(
    door: &Arc<Door>,
    path: &Path,
    metrics: &Arc<Metrics>,
    rereading: &mut Rereading,
) -> anyhow::Result<()> {
    let loaded = file::load(path)
        .context("auth.tokens_file cannot be used; davy token create --file makes one")?;
    let mut doorkeeper = Doorkeeper {
        path: path.to_owned(),
        door: door.clone(),
        metrics: metrics.clone(),
    };
    let mark = mark(&loaded);
    doorkeeper.take(loaded);
    rereading.add(doorkeeper, mark);
    Ok(())
}

fn mark(loaded: &Loaded) -> Mark {
    Mark::of([loaded.text.as_bytes()])
}

// === impl Doorkeeper ===

impl Watched for Doorkeeper {
    type Said = Loaded;

    fn read(&self) -> Result<(Mark, Loaded), String> {
        let loaded = file::load(&self.path).map_err(|error| error.to_string())?;
        Ok((mark(&loaded), loaded))
    }

    fn take(&mut self, loaded: Loaded) {
        let file = self.path.display();
        if let Some(warning) = loaded.warning {
            tracing::warn!(%file, "{warning}");
        }
        let tokens = loaded.tokens.len();
        self.door.replace(loaded.tokens);
        self.metrics
            .door
            .tokens
            .set(i64::try_from(tokens).unwrap_or(i64::MAX));
        // Who reads this may count on it.
        tracing::info!(%file, tokens, "tokens loaded");
    }

    fn complain(&self, error: &str) {
        self.metrics.door.reload_failures.inc();
        tracing::error!(
            error,
            "the file of tokens cannot be used; those before stay"
        );
    }
}
