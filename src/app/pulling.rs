//! The source that a configuration names, and its way to the engine.
//!
//! Owns how what was pulled is handed over and counted. When what is asked is [`crate::pull`]'s.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::{BACKOFF_FACTOR, chance, size};
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::config::Config;
use crate::config::sources::PrometheusSource;
use crate::engine::Input;
use crate::engine::pull::{Pull, PulledMetric};
use crate::http::link::{Answer, EngineLink, LinkError};
use crate::http::samples;
use crate::model::Millis;
use crate::pull::pace::Pace;
use crate::pull::scheduler::{Hand, Handed, PULLS_QUEUED_MAX};
use crate::pull::{Prometheus, Puller};
use crate::telemetry::Metrics;

/// A puller that has not begun.
pub(super) struct Pulling {
    puller: Puller,
    door: mpsc::Sender<Pull>,
    pulls: mpsc::Receiver<Pull>,
}

// === impl Pulling ===

impl Pulling {
    /// What a configuration asks for; `None` without a source.
    ///
    /// # Errors
    /// What is wrong with the source's settings, secrets or certificates.
    pub(super) fn build(
        config: &Config,
        link: &EngineLink,
        clock: &Arc<dyn Clock>,
        metrics: &Arc<Metrics>,
    ) -> anyhow::Result<Option<Pulling>> {
        let Some(settings) = &config.sources.prometheus else {
            return Ok(None);
        };
        let hand = hand(link.clone(), metrics.clone());
        let puller = puller(settings, hand, clock, metrics)?;
        puller.show(true);
        let (door, pulls) = mpsc::channel(PULLS_QUEUED_MAX);
        Ok(Some(Pulling {
            puller,
            door,
            pulls,
        }))
    }

    /// Where analyses are told.
    pub(super) fn door(&self) -> mpsc::Sender<Pull> {
        self.door.clone()
    }

    /// Pulls until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        self.puller.run(self.pulls, stop).await;
    }
}

/// A puller from these settings.
///
/// # Errors
/// What is wrong with them, their secrets or certificates.
pub fn puller(
    settings: &PrometheusSource,
    hand: Hand,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Puller> {
    let source = match Prometheus::build(settings, clock.clone()) {
        Ok(source) => source,
        Err(problems) => {
            let told = problems.into_iter().map(|problem| {
                format!(
                    "sources.prometheus.{}: {}\n  help: {}",
                    problem.key, problem.message, problem.help
                )
            });
            bail!("{}", told.collect::<Vec<_>>().join("\n"));
        }
    };
    let policy = Backoff::new(
        Duration::from_millis(settings.backoff_initial_ms),
        Duration::from_millis(settings.backoff_max_ms),
        BACKOFF_FACTOR,
    )
    .context("sources.prometheus.backoff_initial_ms and backoff_max_ms make no sense")?;
    Ok(Puller {
        source,
        pace: Pace::new(policy),
        room: Semaphore::new(size(settings.concurrent_queries_max)),
        delay: Millis::try_from(settings.delay_ms).unwrap_or(Millis::MAX),
        points_max: size(settings.points_per_query_max),
        hand,
        clock: clock.clone(),
        chance,
        metrics: metrics.clone(),
    })
}

fn hand(link: EngineLink, metrics: Arc<Metrics>) -> Hand {
    Arc::new(move |pulled: PulledMetric| {
        let (link, metrics) = (link.clone(), metrics.clone());
        Box::pin(async move {
            match link.ask(Input::Pulled(Box::new(pulled)), None).await {
                Ok(Answer::Pulled { progress, ingested }) => {
                    samples::count_pulled(&metrics, &ingested);
                    Handed::Taken(progress)
                }
                Ok(other) => {
                    tracing::error!(?other, "the engine answered another question");
                    Handed::Stopped
                }
                Err(LinkError::Full | LinkError::NotWritable) => Handed::Busy,
                Err(LinkError::Stopped | LinkError::Unknown) => Handed::Stopped,
            }
        })
    })
}
