//! From findings to one outcome.
//!
//! Owns the rule that joins the checks of a plan, and the score. Next: `verdict`, which turns the
//! outcome into a decision.

use crate::judge::scored;
use crate::judge::verdict::Finding;
use crate::model::{Outcome, Reason};
use crate::plan::Plan;

/// Any gating fail fails; every gating check passing passes; else inconclusive, with the reason
/// of the check that is furthest from an answer.
pub(super) fn of_findings(findings: &[Finding]) -> (Outcome, Reason) {
    let gating = || findings.iter().filter(|finding| finding.gating);
    if let Some(failed) = gating().find(|finding| finding.verdict == Outcome::Fail) {
        return (Outcome::Fail, failed.reason);
    }
    match gating()
        .filter(|f| f.verdict == Outcome::Inconclusive)
        .max_by_key(|f| gravity(f.reason))
    {
        Some(open) => (Outcome::Inconclusive, open.reason),
        None => (
            Outcome::Pass,
            gating()
                .next()
                .map_or(Reason::WithinTolerance, |f| f.reason),
        ),
    }
}

/// How far a reason is from an answer: missing data is worse than missing samples.
fn gravity(reason: Reason) -> u8 {
    match reason {
        Reason::NoTelemetry => 9,
        Reason::NoTraffic => 8,
        Reason::BaselineMissing => 7,
        Reason::CanaryMissing => 6,
        Reason::BadData | Reason::CoarseBuckets => 5,
        Reason::Stale => 4,
        Reason::NeedsUnits => 3,
        Reason::NeedsSamples => 2,
        Reason::NeedsTime => 1,
        _ => 0,
    }
}

/// Weight share of gating checks: pass 100, inconclusive 75, fail 0; 0 on any fail. Under Kayenta's
/// judge its own score, which is 75 until there is one.
pub fn score(plan: &Plan, findings: &[Finding]) -> f64 {
    if let Some(scoring) = &plan.kayenta {
        return scored::run_score(scoring, findings).map_or(75.0, |run| run.score);
    }
    let (mut sum, mut weights) = (0.0, 0.0);
    for (finding, check) in findings.iter().zip(&plan.checks).filter(|(f, _)| f.gating) {
        match finding.verdict {
            Outcome::Fail => return 0.0,
            Outcome::Pass => sum += 100.0 * check.weight,
            Outcome::Inconclusive => sum += 75.0 * check.weight,
        }
        weights += check.weight;
    }
    if weights > 0.0 { sum / weights } else { 75.0 }
}
