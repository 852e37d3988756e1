//! What every kind of check shares: the context of a look and the evidence it returns.
//!
//! Owns the contract between the judge and the check files. Next: `rank`, `tail`, `counts`,
//! `gauge`, `threshold` and `breach`, one question each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::judge::beyond::RESERVED_SHARE;
use crate::judge::scratch::Scratch;
use crate::judge::side::Spending;
use crate::judge::verdict::{Classification, PartEvidence, Scale};
use crate::model::{Millis, Reason};
use crate::plan::{Check, Metric, Plan, Tolerance, Worse};
use crate::stats::sampler;

/// Share of missing values in an arm above which a check is inconclusive, when the arms differ;
/// also the share of ticks that may contradict themselves.
pub const MISSING_SHARE_MAX: f64 = 0.2;

/// Name, among an evidence's factors, of the step that values were taken as rounded to.
pub const RESOLUTION: &str = "resolution";

/// How much of the evidence a look has to work out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Detail {
    /// Everything: estimates, intervals, needs.
    Full,
    /// Outcomes only, for simulations of millions of looks.
    Outcome,
}

/// What a check needs to know besides its data.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'p> {
    /// The plan.
    pub plan: &'p Plan,
    /// The check.
    pub check: &'p Check,
    /// Its metric.
    pub metric: &'p Metric,
    /// How much evidence is wanted.
    pub detail: Detail,
}

/// One look.
pub struct LookAt<'a> {
    /// Number of the look, from 1.
    pub look: usize,
    /// Null paths in use.
    pub scratch: &'a mut Scratch,
}

/// What a check found at a look, before the judge turns it into a finding.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// A degradation is shown.
    pub fail: bool,
    /// Its absence is shown (the judge still asks for time and samples).
    pub pass: bool,
    /// Why neither, where the check knows better than "more samples".
    pub wanting: Option<Reason>,
    /// Scale of the numbers.
    pub scale: Scale,
    /// Point estimate over the window that speaks.
    pub estimate: Option<f64>,
    /// Repeated confidence interval.
    pub interval: [Option<f64>; 2],
    /// Boundary on the same scale.
    pub tolerance: Option<f64>,
    /// Ticks of the window that speaks.
    pub window: usize,
    /// The other part of a tolerance with two.
    pub other_part: Option<PartEvidence>,
    /// How many more ticks like the average one so far a verdict would take.
    pub needs_ticks: Option<f64>,
    /// Units that live for the run, by arm, where samples belong to such.
    pub units: Option<[usize; 2]>,
    /// Factors applied to the evidence.
    pub factors: BTreeMap<String, f64>,
    /// The bucket that is too wide for the question, where that is what is wanting.
    pub coarse: Option<[f64; 2]>,
    /// What Kayenta's judge says, where it is asked.
    pub classification: Option<Classification>,
}

impl Evidence {
    /// Nothing to be said, since a bucket is too wide for the question.
    pub fn wants_narrower(&mut self, bucket: Option<[f64; 2]>) {
        self.wanting = Some(Reason::CoarseBuckets);
        self.coarse = bucket;
    }

    /// Nothing known yet, on this scale.
    pub fn none(scale: Scale) -> Evidence {
        Evidence {
            fail: false,
            pass: false,
            wanting: None,
            scale,
            estimate: None,
            interval: [None, None],
            tolerance: None,
            window: 0,
            other_part: None,
            needs_ticks: None,
            units: None,
            factors: BTreeMap::new(),
            coarse: None,
            classification: None,
        }
    }
}

// === impl Setting ===

impl Setting<'_> {
    /// Planned looks.
    pub fn looks_planned(&self) -> usize {
        self.plan.looks()
    }

    /// Spending of a false fail, for a side that gets `share` of the check's alpha.
    pub fn fail_spending(&self, share: f64) -> Spending {
        self.spending(self.plan.alpha_of(self.check) * share, 1)
    }

    /// Spending of a false pass: nothing before the bake time is over.
    pub fn pass_spending(&self, share: f64) -> Spending {
        let (bake, tick) = (self.plan.min_duration, self.plan.tick);
        let first_look = first_pass_look(bake, tick, self.looks_planned());
        self.spending(self.plan.beta * share, first_look)
    }

    fn spending(&self, probability: f64, first_look: usize) -> Spending {
        let looks_beyond = self.plan.looks_with_extension() - self.looks_planned();
        let reserved = if looks_beyond > 0 {
            RESERVED_SHARE
        } else {
            0.0
        };
        Spending {
            level: probability * (1.0 - reserved),
            looks_planned: self.looks_planned(),
            first_look,
            elsewhere: 0.0,
            reserve: probability * reserved,
            looks_beyond,
        }
    }

    /// Seed of the null paths of one of the check's sides. It depends on the plan alone, so the
    /// same plan and inputs give the same verdict everywhere.
    pub fn seed(&self, plan_hash: &str, side: &str) -> [u8; 32] {
        sampler::seed_from(plan_hash, &format!("{}/{side}", self.check.name))
    }
}

/// The first look, from 1, at which the bake time is over.
pub fn first_pass_look(min_duration: Millis, tick: Millis, looks_planned: usize) -> usize {
    let looks = (min_duration + tick - 1) / tick;
    (looks.max(1) as usize).min(looks_planned)
}

/// The sign that turns "worse" into "higher".
pub fn sign(worse_is_lower: bool) -> f64 {
    if worse_is_lower { -1.0 } else { 1.0 }
}

/// The boundary between tolerable and degraded for a baseline value `y`, both in the orientation
/// where higher is worse (values of a "lower is worse" metric are negated before and after).
/// Beyond the larger of the two parts is a degradation.
pub fn boundary(y: f64, worse_is_lower: bool, tolerance: &Tolerance) -> f64 {
    let relative = tolerance.relative.map(|r| {
        if worse_is_lower {
            y * (1.0 - r)
        } else {
            y * (1.0 + r)
        }
    });
    let absolute = tolerance.absolute.map(|a| y + a);
    match (relative, absolute) {
        (Some(relative), Some(absolute)) => relative.max(absolute),
        (Some(part), None) | (None, Some(part)) => part,
        (None, None) => y,
    }
}

/// Whether a tolerance moves the values it is applied to.
pub fn moves(tolerance: &Tolerance) -> bool {
    let parts = [tolerance.relative, tolerance.absolute];
    parts.into_iter().flatten().any(|part| part != 0.0)
}

/// The directions a check watches, as "worse is lower" flags.
pub fn directions(worse: Worse) -> &'static [bool] {
    match worse {
        Worse::Higher => &[false],
        Worse::Lower => &[true],
        Worse::Either => &[false, true],
    }
}

/// The direction that speaks: of a check that watches both, the one that failed.
pub fn speaking(worse: Worse, failed: impl IntoIterator<Item = bool>) -> Worse {
    match failed.into_iter().position(|failed| failed) {
        Some(0) if worse == Worse::Either => Worse::Higher,
        Some(_) if worse == Worse::Either => Worse::Lower,
        _ => worse,
    }
}
