//! Which metric of which analysis is asked for now, and about which ticks.
//!
//! Owns the round of one analysis: a tick is asked for once its end and the delay have passed, and
//! again with each later one for as long as it is open, so that what came late, or was missed while
//! the source was down, is caught up. It must not change an analysis: what is answered is handed
//! over, and how far the analysis is comes back.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::answer::{Answer, Range};
use super::pace::Pace;
use super::prometheus::{Blame, Prometheus, Unanswered};
use crate::clock::Clock;
use crate::engine::pull::{
    BEFORE_END, Pull, PullMetric, PullOutcome, PullProgress, PullQuery, PulledMetric, PulledPart,
};
use crate::model::{Millis, Timestamp};
use crate::telemetry::Metrics;

/// Analyses that may wait to be taken up.
pub const PULLS_QUEUED_MAX: usize = 256;
/// Wait where the machine has no room.
const BUSY_WAIT: Millis = 250;

/// What became of an answer that was handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handed {
    /// It was taken; so far is the analysis.
    Taken(PullProgress),
    /// There is no room just now.
    Busy,
    /// Nobody takes anything any more.
    Stopped,
}

/// Hands something over to the machine.
pub type Hand =
    Arc<dyn Fn(PulledMetric) -> Pin<Box<dyn Future<Output = Handed> + Send>> + Send + Sync>;

/// The source, as it is called in metrics and in the configuration.
const SOURCE: &str = "prometheus";

/// Asks one source for all analyses.
pub struct Puller {
    /// The source.
    pub source: Prometheus,
    /// How long it is left alone after a failure.
    pub pace: Pace,
    /// Room for queries.
    pub room: Semaphore,
    /// How long after its end a tick is asked for, in milliseconds.
    pub delay: Millis,
    /// Points of one series that one query asks for.
    pub points_max: usize,
    /// Where answers go.
    pub hand: Hand,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// A number in `[0, 1)`, another one each time.
    pub chance: fn() -> f64,
    /// What came of it.
    pub metrics: Arc<Metrics>,
}

/// The ticks of an analysis, as far as asking for them goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticks {
    /// Begin of the first.
    pub origin: Timestamp,
    /// Length of each.
    pub tick: Millis,
}

// === impl Ticks ===

impl Ticks {
    /// The instant that stands for a tick; -1 is the one before the first.
    pub fn instant(&self, index: i64) -> Timestamp {
        self.origin.plus(self.tick * (index + 1) - BEFORE_END)
    }

    /// When a tick is asked for first.
    fn due(&self, index: usize, delay: Millis) -> Timestamp {
        self.instant(index as i64).plus(BEFORE_END + delay)
    }

    /// How many ticks may be asked for by now.
    fn ready(&self, now: Timestamp, delay: Millis) -> usize {
        let passed = now.since(self.origin) - delay;
        usize::try_from(passed.div_euclid(self.tick)).unwrap_or(0)
    }

    /// The instants of ticks `first` up to but not `end`, at most `points_max`, and of the one
    /// before where totals are asked for.
    pub fn range(
        &self,
        first: usize,
        end: usize,
        are_totals: bool,
        points_max: usize,
    ) -> Option<Range> {
        let before = usize::from(are_totals);
        let points = (end.checked_sub(first)? + before).min(points_max);
        (points > before).then(|| Range {
            start: self.instant(first as i64 - before as i64),
            step: self.tick,
            points,
        })
    }
}

// === impl Puller ===

impl Puller {
    /// Takes up analyses until `stop`.
    pub async fn run(self, mut pulls: mpsc::Receiver<Pull>, stop: CancellationToken) {
        let puller = Arc::new(self);
        let mut following = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(pull) = pulls.recv() => {
                    following.spawn(puller.clone().follow(pull));
                }
                Some(ended) = following.join_next() => if let Err(error) = ended {
                    tracing::error!(%error, "an analysis is not pulled any more");
                },
                else => return,
            }
        }
    }

    /// Asks for one analysis until it takes no more.
    async fn follow(self: Arc<Self>, pull: Pull) {
        let ticks = Ticks {
            origin: pull.origin,
            tick: pull.tick,
        };
        // By metric, the first tick that is not asked for yet.
        let mut next = vec![0; pull.metrics.len()];
        loop {
            let due = ticks.due(next.iter().min().copied().unwrap_or_default(), self.delay);
            self.sleep_until(due.max(self.pace.not_before())).await;
            // It may have ended since, or have closed ticks that nobody answered for.
            let (first, end) = match self.hand_over(&pull, 0, PullOutcome::NotAsked).await {
                Handed::Taken(PullProgress { open: Some(open) }) => open,
                Handed::Taken(_) | Handed::Stopped => return,
                Handed::Busy => {
                    self.sleep_until(self.clock.now().plus(BUSY_WAIT)).await;
                    continue;
                }
            };
            let ready = ticks.ready(self.clock.now(), self.delay);
            let rounds = pull.metrics.iter().zip(&next).map(|(metric, &next)| {
                let range = ticks.range(first, ready.min(end), metric.are_totals, self.points_max);
                self.round(&pull, metric, range.filter(|_| next < ready))
            });
            let rounds = join_all(rounds).await;
            let mut is_again = false;
            for (next, round) in next.iter_mut().zip(rounds) {
                match round {
                    Round::Done => *next = ready.max(*next),
                    Round::Again => is_again = true,
                    Round::Over => return,
                }
            }
            if is_again {
                // Not at once, whatever chance said of the wait.
                self.sleep_until(self.clock.now().plus(BUSY_WAIT)).await;
            }
        }
    }

    /// Asks about one metric, where that is due, and hands over what came of it.
    async fn round(&self, pull: &Pull, metric: &PullMetric, range: Option<Range>) -> Round {
        let Some(range) = range else {
            return Round::Done;
        };
        let begun = self.clock.now();
        let (outcome, round) = match self.ask(metric, &range).await {
            Ok(outcome) => {
                self.pace.succeeded();
                self.show(true);
                (outcome, Round::Done)
            }
            Err(Unanswered { message, blame }) => {
                let (analysis, name) = (&pull.analysis, &metric.name);
                tracing::warn!(analysis, metric = name, error = message, "not answered");
                let round = match blame {
                    Blame::Source { retry_after, .. } => {
                        let now = self.clock.now();
                        self.pace.failed(begun, now, retry_after, (self.chance)());
                        self.show(false);
                        Round::Again
                    }
                    // It would be the same now; about the next tick it may be answered.
                    Blame::Query | Blame::Limit(_) => Round::Done,
                };
                (PullOutcome::Failed(message), round)
            }
        };
        match self.hand_over(pull, metric.metric, outcome).await {
            Handed::Taken(PullProgress { open: Some(_) }) => round,
            Handed::Taken(_) | Handed::Stopped => Round::Over,
            Handed::Busy => Round::Again,
        }
    }

    /// Shows whether the source answers.
    pub fn show(&self, is_up: bool) {
        let up = self.metrics.pull.source_up.with_label_values(&[SOURCE]);
        up.set(i64::from(is_up));
    }

    /// Asks all queries of a metric about the same instants: all are answered, or none counts.
    ///
    /// # Errors
    /// Of the first query that was not answered.
    pub async fn ask(&self, metric: &PullMetric, range: &Range) -> Result<PullOutcome, Unanswered> {
        let queries = metric.queries.iter().map(|query| self.query(query, range));
        let answers = try_join_all(queries).await?;
        let mut parts = Vec::with_capacity(answers.len());
        let mut warning = None;
        for (query, answer) in metric.queries.iter().zip(answers) {
            let batch = answer.batch(&metric.name, range.start, range.end());
            let batch = batch.map_err(|error| Unanswered {
                message: error.to_string(),
                blame: Blame::Query,
            })?;
            warning = warning.or(answer.warning);
            parts.push(PulledPart {
                arm: query.arm,
                part: query.part,
                batch,
            });
        }
        Ok(PullOutcome::Answered {
            answers: parts,
            warning,
        })
    }

    /// Asks one query, within the budget of queries at one time.
    ///
    /// # Errors
    /// When it was not answered.
    pub async fn query(&self, query: &PullQuery, range: &Range) -> Result<Answer, Unanswered> {
        let _room = match self.room.try_acquire() {
            Ok(room) => room,
            Err(_) => {
                self.metrics.limit("concurrent_queries");
                // It is never closed.
                let waited = self.room.acquire().await;
                waited.map_err(|error| Unanswered {
                    message: error.to_string(),
                    blame: Blame::Query,
                })?
            }
        };
        let metrics = &self.metrics;
        let _in_flight = InFlight::of(metrics);
        let timer = metrics.pull.duration.start_timer();
        let answered = self.source.query_range(&query.text, range).await;
        timer.observe_duration();
        let outcome = match &answered {
            Ok(answer) => {
                metrics.pull.points.inc_by(answer.points() as u64);
                "answered"
            }
            Err(unanswered) => {
                if let Blame::Limit(limit) = unanswered.blame {
                    metrics.limit(limit);
                }
                unanswered.blame.outcome()
            }
        };
        metrics.pull.queries.with_label_values(&[outcome]).inc();
        answered
    }

    async fn hand_over(&self, pull: &Pull, metric: usize, outcome: PullOutcome) -> Handed {
        let pulled = PulledMetric {
            analysis: pull.analysis.clone(),
            metric,
            outcome,
        };
        (self.hand)(pulled).await
    }

    async fn sleep_until(&self, at: Timestamp) {
        let wait = at.since(self.clock.now());
        if let Ok(millis) = u64::try_from(wait) {
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
    }
}

/// What became of one metric in one round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    /// It is asked again with the next tick.
    Done,
    /// It is to be asked again for the same ticks.
    Again,
    /// The analysis takes no more.
    Over,
}

/// A query that is under way; dropped with it, also where another one's failure ends it.
struct InFlight<'m>(&'m Metrics);

// === impl InFlight ===

impl InFlight<'_> {
    fn of(metrics: &Metrics) -> InFlight<'_> {
        metrics.pull.in_flight.inc();
        InFlight(metrics)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.pull.in_flight.dec();
    }
}
