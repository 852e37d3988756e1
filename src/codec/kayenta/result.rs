//! The judge's result, in Kayenta's form: clients read it unchanged.
//!
//! Owns the keys. What Kayenta leaves out where it is null is left out here.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::numbers::number;
use super::pairs::PairDocument;
use crate::judge::kayenta::score::{RunScore, RunThresholds, Scored};
use crate::judge::kayenta::summary::Summary;
use crate::judge::kayenta::{JUDGE_NAME, PairJudged};

/// What the judge says of a whole document.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JudgeResult {
    /// Who judged.
    pub judge_name: String,
    /// One result a pair, in their order.
    pub results: Vec<MetricResult>,
    /// Scores of the groups.
    pub group_scores: Vec<Score>,
    /// The score of all.
    pub score: Score,
}

/// What the judge says of one pair.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricResult {
    /// The metric.
    pub name: String,
    /// The pair.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The pair's tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Value>,
    /// The label.
    pub classification: &'static str,
    /// Why, where there is something to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classification_reason: Option<String>,
    /// The metric's groups.
    pub groups: Vec<String>,
    /// Statistics of the canary.
    pub experiment_metadata: BTreeMap<String, Value>,
    /// Statistics of the baseline.
    pub control_metadata: BTreeMap<String, Value>,
    /// The ratio of the means; empty of an error.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub result_metadata: BTreeMap<String, Value>,
    /// Whether it fails the run.
    pub critical: bool,
    /// Whether it was left out of the score.
    pub muted: bool,
}

/// The score of a group, or of all.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Score {
    /// The group; absent of the score of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The number.
    pub score: f64,
    /// Its label; empty of a group.
    pub classification: &'static str,
    /// Why a rule made it 0, else empty.
    pub classification_reason: String,
}

/// The result of one pair.
pub(super) fn of_pair(
    pair: &PairDocument,
    judged: &PairJudged,
    scored: &Scored<'_>,
) -> MetricResult {
    let stats = |summary: &Summary| BTreeMap::from([("stats".to_owned(), statistics(summary))]);
    let ratio = judged.classified.deviation;
    MetricResult {
        name: pair.name.clone(),
        id: pair.id.clone(),
        tags: pair.tags.clone(),
        classification: scored.label.as_str(),
        classification_reason: (!scored.reason.is_empty()).then(|| scored.reason.to_owned()),
        groups: scored.groups.to_vec(),
        experiment_metadata: stats(&judged.canary),
        control_metadata: stats(&judged.baseline),
        result_metadata: ratio
            .map(|ratio| ("ratio".to_owned(), number(ratio)))
            .into_iter()
            .collect(),
        critical: scored.critical,
        muted: scored.muted,
    }
}

fn statistics(summary: &Summary) -> Value {
    json!({
        "count": summary.count,
        "min": number(summary.min),
        "max": number(summary.max),
        "mean": number(summary.mean),
        "std": number(summary.std),
    })
}

/// The result of all.
pub(super) fn of_run(results: Vec<MetricResult>, run: RunScore, at: RunThresholds) -> JudgeResult {
    let group_scores = run.groups.into_iter().map(|group| Score {
        name: Some(group.name),
        score: group.score,
        classification: "",
        classification_reason: String::new(),
    });
    JudgeResult {
        judge_name: JUDGE_NAME.to_owned(),
        results,
        group_scores: group_scores.collect(),
        score: Score {
            name: None,
            score: run.score,
            classification: at.label(run.score).as_str(),
            classification_reason: run.reason.unwrap_or_default(),
        },
    }
}
