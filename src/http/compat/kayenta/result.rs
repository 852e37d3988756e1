//! What became of an execution, as a Kayenta tells it.
//!
//! Owns the form of the judge's result. Of a plan that davy judges the labels and the score are made
//! of its findings and its decision; of one that asks Kayenta's judge they are that judge's own.

use serde_json::{Value, json};

use super::{ExecutionId, duration};
use crate::engine::AnalysisView;
use crate::judge::kayenta::score::{GroupScore, RunThresholds};
use crate::judge::kayenta::{JUDGE_NAME, Label};
use crate::judge::scored;
use crate::judge::verdict::{Finding, Scale};
use crate::model::{Decision, Outcome, Reason, Timestamp};

/// The judge that davy's verdicts come from.
pub(super) const JUDGE: &str = "davy";

/// The judge's result.
pub(super) fn result(id: &ExecutionId, view: &AnalysisView, now: Timestamp) -> Value {
    let body = &view.body;
    let of_kayenta = own_score(view);
    let results = body.checks.iter().map(|finding| of_finding(view, finding));
    let decision = body.decision;
    let (score, classification) = match of_kayenta {
        Some(score) => {
            let thresholds = RunThresholds {
                pass: id.thresholds.pass,
                marginal: id.thresholds.marginal,
            };
            (score, thresholds.label(score).as_str())
        }
        None => (
            id.thresholds.score_of(decision),
            id.thresholds.classification(decision),
        ),
    };
    let reason = match decision {
        Decision::Promote => String::new(),
        _ => body.message.clone(),
    };
    let groups = of_kayenta.map_or_else(Vec::new, |_| group_scores(&body.checks));
    json!({
        "judgeResult": {
            "judgeName": if of_kayenta.is_some() { JUDGE_NAME } else { JUDGE },
            "results": results.collect::<Vec<Value>>(),
            "groupScores": groups,
            "score": {
                "score": score,
                "classification": classification,
                "classificationReason": reason,
            },
        },
        "canaryDuration": duration(view, now),
    })
}

/// Kayenta's own score, where its judge was asked to the end and nobody decided otherwise.
fn own_score(view: &AnalysisView) -> Option<f64> {
    let is_given_up = matches!(
        view.reason,
        Reason::Cancelled | Reason::Superseded | Reason::Abandoned
    );
    let mut checks = view.body.checks.iter();
    let is_judged = checks.any(|finding| finding.classification.is_some());
    (is_judged && !is_given_up && view.overridden.is_none()).then_some(view.body.score)
}

fn of_finding(view: &AnalysisView, finding: &Finding) -> Value {
    let count = |count: u64| json!({ "stats": { "count": count } });
    let found = finding.classification.as_ref();
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
        "controlMetadata": count(finding.samples.baseline),
        "experimentMetadata": count(finding.samples.canary),
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
