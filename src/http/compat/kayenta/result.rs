//! What became of an execution, as a Kayenta tells it.
//!
//! Owns the form of the judge's result. Of a plan that davy judges the labels and the score are made
//! of its findings and its decision; of one that asks Kayenta's judge they are that judge's own.

use serde_json::{Value, json};

use super::{ExecutionId, Thresholds, duration};
use crate::engine::AnalysisView;
use crate::judge::kayenta::score::{GroupScore, RunLabel, RunThresholds};
use crate::judge::kayenta::summary::Summary;
use crate::judge::kayenta::{JUDGE_NAME, Label};
use crate::judge::scored;
use crate::judge::verdict::{Classification, Finding, Scale};
use crate::model::{Decision, Outcome, Reason, Timestamp};

/// The judge that davy's verdicts come from.
pub(super) const JUDGE: &str = "davy";

/// Least number of values below which Kayenta warns.
const COUNT_MIN: usize = 50;

/// What a caller is told of the whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Told {
    pub score: f64,
    pub classification: &'static str,
    /// Whether it passes for a stand-alone analysis.
    pub passes: bool,
    /// Whether it ends one: there the marginal score itself does.
    pub ends: bool,
}

/// The score and what it amounts to by the caller's thresholds: Kayenta's own where its judge was
/// asked, else one that is made of davy's decision.
pub(super) fn told(id: &ExecutionId, view: &AnalysisView) -> Told {
    let thresholds = id.thresholds.unwrap_or(Thresholds::USUAL);
    let decision = view.body.decision;
    let Some(score) = own_score(view) else {
        let classification = thresholds.classification(decision);
        return Told {
            score: thresholds.score_of(decision),
            classification,
            passes: decision == Decision::Promote,
            ends: classification == "Fail",
        };
    };
    let Some(Thresholds { pass, marginal }) = id.thresholds else {
        // By the plan's own.
        let label = match view.verdict {
            Outcome::Pass => RunLabel::Pass,
            Outcome::Fail => RunLabel::Fail,
            Outcome::Inconclusive => RunLabel::Marginal,
        };
        return Told {
            score,
            classification: label.as_str(),
            passes: label == RunLabel::Pass,
            ends: label == RunLabel::Fail,
        };
    };
    Told {
        score,
        classification: RunThresholds { pass, marginal }.label(score).as_str(),
        passes: score >= pass && score > marginal,
        ends: score <= marginal,
    }
}

/// The judge's result.
pub(super) fn result(id: &ExecutionId, view: &AnalysisView, now: Timestamp) -> Value {
    let body = &view.body;
    let is_own = own_score(view).is_some();
    let results = body.checks.iter().map(|finding| of_finding(view, finding));
    let told = told(id, view);
    let reason = match (is_own, body.decision) {
        (true, _) => scored::reason_of(&body.checks).unwrap_or_default(),
        (false, Decision::Promote) => String::new(),
        (false, _) => body.message.clone(),
    };
    let groups = match is_own {
        true => group_scores(&body.checks),
        false => Vec::new(),
    };
    json!({
        "judgeResult": {
            "judgeName": if is_own { JUDGE_NAME } else { JUDGE },
            "results": results.collect::<Vec<Value>>(),
            "groupScores": groups,
            "score": {
                "score": told.score,
                "classification": told.classification,
                "classificationReason": reason,
            },
        },
        "canaryDuration": duration(view, now),
    })
}

/// Kayenta's warning about an execution, where it has one.
pub(super) fn warning(view: &AnalysisView) -> Option<&'static str> {
    own_score(view)?;
    let found = view.body.checks.iter();
    let found = found.filter_map(|finding| finding.classification.as_ref());
    let is_few = |found: &Classification| found.values.baseline.count < COUNT_MIN;
    let mut few = found.filter(|found| is_few(found));
    few.next().map(|_| {
        "One of the metrics returned fewer than 50 data points, which can reduce confidence in the final canary score."
    })
}

/// Kayenta's own score, where the analysis ended by what its judge said and nobody decided otherwise.
fn own_score(view: &AnalysisView) -> Option<f64> {
    let is_judged = matches!(
        view.reason,
        Reason::Degraded
            | Reason::WithinTolerance
            | Reason::Marginal
            | Reason::NoTraffic
            | Reason::BaselineMissing
            | Reason::CanaryMissing
            | Reason::BadData
    );
    let mut checks = view.body.checks.iter();
    let has_labels = checks.any(|finding| finding.classification.is_some());
    (is_judged && has_labels && view.overridden.is_none()).then_some(view.body.score)
}

fn of_finding(view: &AnalysisView, finding: &Finding) -> Value {
    let found = finding.classification.as_ref();
    // Of davy's checks only the samples are known.
    let stats = |values: Option<&Summary>, samples: u64| match values {
        Some(values) => json!({ "stats": values }),
        None => json!({ "stats": { "count": samples } }),
    };
    let values = found.map(|found| &found.values);
    let baseline = values.map(|values| &values.baseline);
    let canary = values.map(|values| &values.canary);
    let label = found.map_or_else(|| label_of(finding), |found| found.label);
    let groups = match found {
        Some(found) => found.groups.clone(),
        None => vec![finding.metric.clone()],
    };
    json!({
        "name": finding.check,
        "id": format!("{}/{}", view.id, finding.check),
        "tags": {},
        "classification": label.as_str(),
        "classificationReason": finding.message,
        "groups": groups,
        "controlMetadata": stats(baseline, finding.samples.baseline),
        "experimentMetadata": stats(canary, finding.samples.canary),
        "resultMetadata": match found.and_then(|found| found.deviation) {
            Some(ratio) => json!({ "ratio": ratio }),
            None => json!({}),
        },
        "critical": found.is_some_and(|found| found.critical),
        "muted": !finding.gating,
    })
}

/// davy's finding under Kayenta's label.
fn label_of(finding: &Finding) -> Label {
    let none = match finding.scale {
        Scale::Ratio | Scale::OddsRatio => 1.0,
        _ => 0.0,
    };
    let is_lower = finding.estimate.is_some_and(|estimate| estimate < none);
    match finding.verdict {
        Outcome::Fail if is_lower => Label::Low,
        Outcome::Fail => Label::High,
        Outcome::Pass => Label::Pass,
        // Kayenta calls what it could not tell apart a pass; davy does not.
        Outcome::Inconclusive => Label::Nodata,
    }
}

fn group_scores(findings: &[Finding]) -> Vec<Value> {
    let groups = scored::groups_of(findings);
    let group = |group: &GroupScore| {
        json!({
            "name": group.name,
            "score": group.score,
            "classification": "",
            "classificationReason": "",
        })
    };
    groups.iter().map(group).collect()
}
