//! Steps of a rollout inside one analysis.
//!
//! Owns what a step has seen of its own. Evidence adds up over all steps, since ticks are strata
//! and any change of weight is sound, but a step's gate opens only on that step's own time and
//! samples. Next: `analysis`.

use serde::{Deserialize, Serialize};

use crate::judge::sentence;
use crate::model::{Millis, Timestamp};
use crate::plan::{MetricKind, Plan};
use crate::window::ClosedTick;

/// One step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Step {
    /// Name given by the controller; empty for the run before the first marked step.
    pub name: String,
    /// Traffic weight of the canary, percent.
    pub weight: Option<f64>,
    /// When it began.
    pub began_at: Timestamp,
    /// The first tick that lies wholly within the step.
    first_tick: usize,
    ticks: usize,
    /// Samples by metric and arm within the step.
    samples: Vec<[u64; 2]>,
}

/// A step as it is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Entered {
    /// Name given by the controller.
    pub name: String,
    /// Traffic weight of the canary, percent.
    pub weight: Option<f64>,
    /// Whether further steps follow, where that is known.
    pub steps_follow: Option<bool>,
}

// === impl Step ===

impl Step {
    /// A step that begins now, in an analysis whose first tick began at `origin`.
    pub fn begin(
        plan: &Plan,
        name: String,
        weight: Option<f64>,
        origin: Timestamp,
        now: Timestamp,
    ) -> Step {
        let offset = now.since(origin).max(0);
        let first_tick = (offset.saturating_add(plan.tick - 1) / plan.tick) as usize;
        Step {
            name,
            weight,
            began_at: now,
            first_tick,
            ticks: 0,
            samples: vec![[0, 0]; plan.metrics.len()],
        }
    }

    /// Takes a closed tick.
    pub fn close(&mut self, tick: &ClosedTick) {
        if tick.index < self.first_tick {
            return;
        }
        self.ticks += 1;
        for (samples, cells) in self.samples.iter_mut().zip(&tick.cells) {
            for arm in 0..2 {
                samples[arm] = samples[arm].saturating_add(cells[arm].samples);
            }
        }
    }

    /// Of a plan that is judged at intervals, the time until a judgement that sees as much of this step
    /// as the step has to last.
    fn until_judged(&self, plan: &Plan) -> Option<Millis> {
        let scoring = plan.kayenta.as_ref()?;
        let own = (plan.step.min_duration + plan.tick - 1) / plan.tick;
        let seen = self.first_tick + own.max(1) as usize - 1;
        let next = scoring.next(seen, plan.looks(), plan.tick);
        let closed = self.first_tick + self.ticks;
        (closed < next).then(|| plan.tick * (next - closed) as i64)
    }

    /// What the step's gate still waits for; `None` when it may open.
    pub fn waiting_for(&self, plan: &Plan) -> Option<String> {
        let lasted: Millis = plan.tick * self.ticks as i64;
        if lasted < plan.step.min_duration {
            let left = (plan.step.min_duration - lasted) as f64 / 1000.0;
            return Some(format!(
                "{} more of this step's own time",
                sentence::span(left)
            ));
        }
        if self.ticks == 0 {
            return Some("the first tick of this step's own".to_owned());
        }
        if let Some(left) = self.until_judged(plan) {
            let left = sentence::span(left as f64 / 1000.0);
            return Some(format!("a judgement of this step's own, in {left}"));
        }
        for check in plan.checks.iter().filter(|check| check.gating) {
            let seen = self.samples[check.metric];
            // A gauge has one point where a distribution has many values.
            let wanted = match plan.metrics[check.metric].kind {
                MetricKind::Gauge => plan.step.min_samples.min(check.min_samples),
                _ => plan.step.min_samples,
            };
            // A step without a minimum still opens on nobody else's samples.
            let wanted = wanted.max(1);
            let arms: &[usize] = match check.question.is_of_both() {
                true => &[0, 1],
                false => &[1],
            };
            for &arm in arms {
                if seen[arm] < wanted {
                    let name = crate::model::Arm::BOTH[arm];
                    let metric = &plan.metrics[check.metric].name;
                    return Some(format!(
                        "{} more samples of {metric} from the {name} within this step",
                        wanted - seen[arm]
                    ));
                }
            }
        }
        None
    }
}
