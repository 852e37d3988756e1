//! The shape of a verdict: what controllers, people and webhooks read.
//!
//! Owns the small, stable JSON body and the table from verdict to decision. It computes no
//! statistics: findings come from the check files beside it. Next: `judge::mod`.

pub mod saved_findings;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::judge::kayenta::classify::Why;
use crate::judge::kayenta::summary::Summary;
use crate::judge::kayenta::{Label, Measure};
use crate::judge::watch::WatchView;
use crate::model::{Change, Decision, Outcome, Reason};
use crate::plan::{OnInconclusive, OnNoData, Plan};

/// A number for each arm.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
pub struct PerArm<T> {
    /// The baseline's.
    pub baseline: T,
    /// The canary's.
    pub canary: T,
}

/// On which scale `estimate`, `interval` and `tolerance` of a finding are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Canary over baseline; 1 is no difference.
    Ratio,
    /// Odds of the canary's bad share over the baseline's: the ratio of the shares while they are
    /// small, and symmetric under exchanging good and bad.
    OddsRatio,
    /// Canary minus baseline, in the metric's unit.
    Difference,
    /// The canary's own value, in the metric's unit (a fraction for ratios).
    Value,
    /// Breaching ticks, for the M-of-N form.
    Periods,
    /// How many times too fast the error budget burns.
    BurnRate,
}

/// How much more is needed at the present rate, where davy can tell.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Needs {
    /// More samples, both arms together.
    pub samples: Option<u64>,
    /// More seconds at the present rate of samples.
    pub seconds: Option<f64>,
}

/// Evidence on the part of a tolerance that did not decide, where the tolerance has two.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PartEvidence {
    /// Scale of the other fields.
    pub scale: Scale,
    /// Best estimate over this part's own window.
    pub estimate: Option<f64>,
    /// Repeated confidence interval; `null` for an open end.
    pub interval: [Option<f64>; 2],
    /// Boundary of this part.
    pub tolerance: Option<f64>,
    /// Length of this part's window, in seconds of event time.
    pub window_secs: f64,
}

/// One check's outcome at a look, with its evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Finding {
    /// Name of the check.
    pub check: String,
    /// Name of its metric.
    pub metric: String,
    /// Whether it decides.
    pub gating: bool,
    /// Outcome at this look.
    pub verdict: Outcome,
    /// Why.
    pub reason: Reason,
    /// One sentence for people.
    pub message: String,
    /// Scale of the next three fields.
    pub scale: Scale,
    /// Best estimate over the window that speaks; `null` where none exists.
    pub estimate: Option<f64>,
    /// Repeated confidence interval, valid at every look; `null` for an open end.
    pub interval: [Option<f64>; 2],
    /// Boundary between tolerable and degraded, on the same scale.
    pub tolerance: Option<f64>,
    /// Length of the window that speaks, in seconds of event time.
    pub window_secs: f64,
    /// The other part, of a tolerance that has two: these fields show the part that decides,
    /// which is the one that allows more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other_part: Option<PartEvidence>,
    /// Samples seen so far.
    pub samples: PerArm<u64>,
    /// What is still missing for a verdict; `null` once there is one or when it cannot be told.
    pub needs: Option<Needs>,
    /// Units (pods, clients) that live for the run and were seen so far; absent for other metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub units: Option<PerArm<u64>>,
    /// Every factor that weakened the evidence, by name: `design_effect` (units of a tick),
    /// `between_unit` (units of the run), `dispersion`, `shape`, `autocorrelation`.
    pub factors: BTreeMap<String, f64>,
    /// What Kayenta's judge said at its last judgement, where the plan asks it.
    #[serde(rename = "kayenta", default, skip_serializing_if = "Option::is_none")]
    pub classification: Option<Classification>,
    /// Samples that are in none of these figures: their units (lifetime tick) were more than a
    /// tick keeps. Absent where all were kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampled_out: Option<PerArm<u64>>,
}

/// What Kayenta's judge says of a metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Classification {
    /// Its label.
    pub label: Label,
    /// Whether it fails the whole by itself.
    pub critical: bool,
    /// Groups of the score that it counts in.
    pub groups: Vec<String>,
    /// How the effect is measured.
    pub measure: Measure,
    /// The effect; `null` where nothing was compared or the effect has no number.
    pub effect_size: Option<f64>,
    /// The canary's mean over the baseline's; `null` where there is none.
    pub deviation: Option<f64>,
    /// The values that were judged, a tick each: outliers and missing ones are not among them.
    pub values: PerArm<Summary>,
}

/// What the answer promises.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Guarantee {
    /// P(false fail) over the whole analysis is at most this.
    pub alpha: f64,
    /// P(false pass) per check is at most this.
    pub beta: f64,
    /// Share of alpha spent so far, as a probability.
    pub spent: f64,
    /// Looks taken so far.
    pub looks: u64,
    /// What the promise rests on.
    pub assumes: Vec<String>,
}

/// Which question the answer answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Gate {
    /// `final` or `step`.
    pub kind: GateKind,
    /// Name of the step, for a step's gate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Whether the controller may go on.
    pub open: bool,
    /// Why it is not open yet, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
}

/// The two kinds of gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateKind {
    /// May the change be promoted for good?
    Final,
    /// May the rollout go on to its next step?
    Step,
}

/// Where the analysis is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// No sample arrived yet.
    Pending,
    /// Samples arrive.
    Running,
    /// The verdict does not change any more.
    Final,
}

/// What a person may decide otherwise than the verdict asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OverrideTo {
    /// Go on with the rollout.
    Promote,
    /// Take the canary out.
    Rollback,
}

/// The decision of a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Override {
    /// What the controller is asked to do.
    pub decision: OverrideTo,
    /// Who, as the request says.
    pub actor: Option<String>,
    /// Why.
    pub reason: String,
    /// When, unix milliseconds.
    pub at: i64,
}

impl From<OverrideTo> for Decision {
    fn from(to: OverrideTo) -> Decision {
        match to {
            OverrideTo::Promote => Decision::Promote,
            OverrideTo::Rollback => Decision::Rollback,
        }
    }
}

/// The verdict body: small, always JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct VerdictBody {
    /// Id of the analysis.
    pub analysis: String,
    /// Name of the plan.
    pub plan: String,
    /// Version of the plan.
    pub plan_hash: String,
    /// Where the analysis is in its life.
    pub status: Status,
    /// pass, fail or inconclusive.
    pub verdict: Outcome,
    /// Whether the verdict can still change.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// What the controller should do.
    pub decision: Decision,
    /// Why.
    pub reason: Reason,
    /// One sentence for people.
    pub message: String,
    /// Weight share of gating checks: pass 100, inconclusive 75, fail 0; 0 on any fail.
    pub score: f64,
    /// Which gate this answers.
    pub gate: Gate,
    /// Event time since the start, in seconds.
    pub elapsed_secs: f64,
    /// What the answer promises.
    pub guarantee: Guarantee,
    /// One finding a check.
    pub checks: Vec<Finding>,
    /// The decision of a person, where one decided otherwise than the verdict asks. It never changes
    /// the verdict.
    #[serde(rename = "override", default, skip_serializing_if = "Option::is_none")]
    pub overridden: Option<Override>,
    /// The watch after a pass, where the plan asks for one. It never changes the verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watch: Option<WatchView>,
    /// What is being deployed.
    pub change: Change,
    /// Where to read on.
    pub links: BTreeMap<String, String>,
    /// Revision of the engine that judged: equal inputs give equal bytes within one revision.
    pub engine_revision: u32,
}

// === impl Classification ===

impl Classification {
    /// Kayenta's sentence about a metric of this name.
    pub fn told_of(&self, name: &str) -> String {
        let differs = match self.critical {
            true => Why::DiffersCritically,
            false => Why::Differs,
        };
        match self.label {
            Label::Pass => String::new(),
            Label::High | Label::Low => differs(self.label).sentence(name),
            Label::Nodata | Label::NodataFailMetric => Why::Missing.sentence(name),
            Label::Error => Why::Failed.sentence(name),
        }
    }
}

/// The decision of a verdict: the one table from (verdict, final, reason, policy) to what the
/// controller is asked to do.
pub fn decision(plan: &Plan, verdict: Outcome, is_final: bool, reason: Reason) -> Decision {
    match verdict {
        Outcome::Fail => Decision::Rollback,
        _ if !is_final => Decision::Hold,
        Outcome::Pass => Decision::Promote,
        Outcome::Inconclusive => match reason {
            Reason::Cancelled | Reason::Superseded | Reason::Abandoned => Decision::Hold,
            Reason::NoTraffic
            | Reason::NoTelemetry
            | Reason::BaselineMissing
            | Reason::CanaryMissing => match plan.on_no_data {
                OnNoData::Hold => Decision::Hold,
                OnNoData::Rollback => Decision::Rollback,
            },
            _ => match plan.on_inconclusive {
                OnInconclusive::Hold => Decision::Hold,
                OnInconclusive::Rollback => Decision::Rollback,
                OnInconclusive::Promote if reason.is_about_data() => Decision::Hold,
                OnInconclusive::Promote => Decision::Promote,
            },
        },
    }
}
