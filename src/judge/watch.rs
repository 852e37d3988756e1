//! After a pass: is what was promoted still good?
//!
//! Owns the watch that goes on where a plan asks for one: per check a Shiryaev-Roberts detector
//! on the same scores that passed, against the same boundary, restarted at every tick (see
//! `stats::tilts`). It has no horizon and spends no alpha; what it promises is how rare its false
//! alarms are. A watched check alarms when its detector reaches n A, for n watched checks and A
//! ticks between false alarms: their mean is then an e-detector at A, so the mean time until the
//! first false alarm of any of them is at least A, however the checks depend on each other. Alarm
//! rules of the plan go on as they are and promise nothing. A verdict never changes here. Next:
//! `engine::analysis`, which tells of the alarms.

use serde::{Deserialize, Serialize};

use crate::judge::check::{Detail, Setting};
use crate::judge::side::Side;
use crate::judge::{Judge, OneCheck, sentence};
use crate::model::Millis;
use crate::window::ClosedTick;

/// A watch over a plan's checks, as a verdict shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct WatchView {
    /// Checks that are watched.
    pub checks: Vec<String>,
    /// Event time since the pass, in seconds.
    pub elapsed_secs: f64,
    /// How long the watch lasts, in seconds after the pass.
    pub for_secs: f64,
    /// Mean time until a false alarm of any test, in seconds, is at least this; alarm rules
    /// promise nothing.
    pub false_alarms_every_secs: f64,
    /// Whether the watch is over.
    pub ended: bool,
    /// Alarms so far, at most one a check.
    pub alarms: Vec<WatchAlarm>,
}

/// A check that went beyond its boundary after the pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct WatchAlarm {
    /// Name of the check.
    pub check: String,
    /// Name of its metric.
    pub metric: String,
    /// Event time since the pass, in seconds.
    pub after_secs: f64,
    /// One sentence for people.
    pub message: String,
}

// === impl Judge ===

impl Judge {
    /// Indexes of the checks that can be watched: gating ones, except gauges whose noise is not
    /// known.
    pub fn watched(&mut self) -> Vec<usize> {
        let plan = self.plan.clone();
        let mut watched = Vec::new();
        for (index, check) in self.checks.iter_mut().enumerate() {
            if plan.checks[index].gating && (check.is_alarm() || !check.directions().is_empty()) {
                watched.push(index);
            }
        }
        watched
    }

    /// Starts the detectors of all checks.
    pub fn begin_watching(&mut self) {
        for check in &mut self.checks {
            for side in check.directions().into_iter().flatten() {
                side.begin_watching();
            }
        }
    }

    /// Takes a closed tick after the pass. Indexes of the watched checks that sound their alarm
    /// now, with false alarms no more often than every `every` milliseconds.
    pub fn close_and_watch(&mut self, tick: &ClosedTick, every: Millis) -> Vec<usize> {
        let plan = self.plan.clone();
        let watched = self.watched();
        let looks = every as f64 / plan.tick as f64;
        let tests = watched
            .iter()
            .filter(|&&index| plan.checks[index].question.spends_alpha())
            .count();
        let threshold = libm::log((looks * tests as f64).max(1.0));
        let mut alarms = Vec::new();
        for (index, check) in self.checks.iter_mut().enumerate() {
            // Nothing is shown of these ticks, so nothing is kept for it.
            let setting = super::setting(&plan, index, Detail::Outcome);
            check.close(&tick.cells[setting.check.metric], &setting);
            let alarm = check.alarm(&setting, threshold);
            if alarm && watched.contains(&index) {
                alarms.push(index);
            }
        }
        alarms
    }

    /// The alarm of a check, so long after the pass.
    pub fn alarm(&self, index: usize, after: Millis, every: Millis) -> WatchAlarm {
        let setting = super::setting(&self.plan, index, self.detail);
        let after_secs = after as f64 / 1000.0;
        WatchAlarm {
            check: setting.check.name.clone(),
            metric: setting.metric.name.clone(),
            after_secs,
            message: sentence::of_alarm(&setting, after_secs, every as f64 / 1000.0),
        }
    }
}

// === impl OneCheck ===

impl OneCheck {
    /// The sides of each direction, all of which must degrade; none for gauges and alarm rules.
    fn directions(&mut self) -> Vec<Vec<&mut Side>> {
        let each = |sides: Vec<_>| sides.into_iter().map(|side| vec![side]).collect();
        match self {
            OneCheck::Rank(check) => each(check.sides()),
            OneCheck::Tail(check) => each(check.sides()),
            OneCheck::Counts(check) => check.sides(),
            OneCheck::Threshold(check) => each(check.side().into_iter().collect()),
            OneCheck::Gauge(_)
            | OneCheck::Breach(_)
            | OneCheck::BurnRate(_)
            | OneCheck::Classify(_) => Vec::new(),
        }
    }

    fn is_alarm(&self) -> bool {
        matches!(self, OneCheck::Breach(_) | OneCheck::BurnRate(_))
    }

    /// Whether the check alarms at this threshold of ln R. Directions share it; of the parts of
    /// one direction all must reach it.
    fn alarm(&mut self, setting: &Setting<'_>, threshold: f64) -> bool {
        match self {
            OneCheck::Breach(check) => return check.find().fail,
            OneCheck::BurnRate(check) => return check.find(setting).fail,
            _ => {}
        }
        let directions = self.directions();
        let shared = threshold + libm::log(directions.len().max(1) as f64);
        directions.iter().any(|parts| {
            let reached = |side: &&mut Side| side.watched() >= shared;
            !parts.is_empty() && parts.iter().all(reached)
        })
    }
}
