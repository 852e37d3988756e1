//! Kayenta's JSON documents: its configuration, its metric set pairs, its judge's result.
//!
//! Owns their form, which is Kayenta's, and the judging of one whole document. What a label or a
//! score is belongs to [`crate::judge::kayenta`]. It must not know who asks: a command and a route
//! are given the same [`judge`]. A file a document: [`configuration`] and, for one metric's settings in
//! it, [`analysis`]; [`pairs`]; [`result`]; [`rows`], which are davy's own.

pub mod analysis;
pub mod configuration;
pub mod numbers;
pub mod pairs;
pub mod result;
pub mod rows;

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::judge::kayenta::score::{self, RunThresholds, Scored, Weights};
use crate::judge::kayenta::{PairJudged, judge_pair};
use analysis::Analysis;
use configuration::{CanaryConfig, MetricConfig};
use pairs::PairDocument;
use result::JudgeResult;

/// The thresholds of a request. Those of the configuration are not used, here as in Kayenta.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct ScoreThresholds {
    /// Least score that passes.
    pub pass: f64,
    /// Least score that is marginal.
    pub marginal: f64,
}

/// What a remote judge is asked: a configuration, thresholds, pairs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JudgeRequest {
    /// The configuration.
    pub canary_config: CanaryConfig,
    /// Where a score passes.
    pub score_thresholds: ScoreThresholds,
    /// The data.
    pub metric_set_pair_list: Vec<PairDocument>,
}

/// Bytes that the groups of all results may take together: each result names its own again.
pub const GROUPS_BYTES_MAX: usize = 8 << 20;
/// Longest name for which a like one is looked for, in bytes.
const LIKE_NAME_BYTES_MAX: usize = 100;

/// Why a document cannot be judged at all; in Kayenta the whole run would have ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unjudgeable {
    /// A pair of a metric that the configuration does not know.
    #[error("pair {index}: no metric of the configuration is called {name:?}{}", nearest(.known))]
    UnknownMetric {
        /// Index of the pair, from 0.
        index: usize,
        /// The pair's metric.
        name: String,
        /// The metric whose name is nearest.
        known: Option<String>,
    },
    /// A few metrics with many groups, and many pairs of them.
    #[error(
        "the groups of all pairs' metrics take more than {GROUPS_BYTES_MAX} bytes; give metrics fewer groups"
    )]
    TooManyGroups,
    /// A metric's setting has a type that Kayenta's judge breaks on.
    #[error("metric {metric:?}: {wrong}")]
    Setting {
        /// The metric.
        metric: String,
        /// What is wrong with it.
        wrong: analysis::WrongType,
    },
}

fn nearest(known: &Option<String>) -> String {
    known
        .as_ref()
        .map_or_else(String::new, |name| format!("; did you mean {name:?}?"))
}

/// Judges a whole document.
///
/// # Errors
/// [`Unjudgeable`]: nothing is judged then.
pub fn judge(
    config: &CanaryConfig,
    thresholds: ScoreThresholds,
    pairs: &[PairDocument],
) -> Result<JudgeResult, Unjudgeable> {
    // The first of a name counts.
    let mut metrics: BTreeMap<&str, &MetricConfig> = BTreeMap::new();
    for metric in config.metrics() {
        metrics.entry(metric.name()).or_insert(metric);
    }
    let group_bytes = pairs.iter().map(|pair| {
        let groups = metrics
            .get(pair.name.as_str())
            .map_or(&[][..], |metric| metric.groups());
        groups
            .iter()
            .map(|group| group.len() + size_of::<String>())
            .sum::<usize>()
    });
    if group_bytes.sum::<usize>() > GROUPS_BYTES_MAX {
        return Err(Unjudgeable::TooManyGroups);
    }
    let judged: Vec<(Analysis, &[String], PairJudged)> = pairs
        .iter()
        .enumerate()
        .map(|(index, pair)| judge_one(&metrics, index, pair))
        .collect::<Result<_, _>>()?;
    let sentences: Vec<String> = judged
        .iter()
        .zip(pairs)
        .map(|((_, _, judged), pair)| {
            let why = judged.classified.reason;
            why.map_or_else(String::new, |why| why.sentence(&pair.name))
        })
        .collect();
    let scored = judged.iter().zip(&sentences);
    let scored: Vec<Scored<'_>> = scored
        .map(|((analysis, groups, judged), reason)| Scored {
            label: judged.classified.label,
            critical: judged.classified.critical,
            muted: analysis.muted,
            groups,
            reason,
        })
        .collect();
    let none = Weights::new();
    let run = score::score(&scored, config.group_weights().unwrap_or(&none));
    let at = RunThresholds {
        pass: thresholds.pass,
        marginal: thresholds.marginal,
    };
    let results = pairs
        .iter()
        .zip(&judged)
        .zip(&scored)
        .map(|((pair, (_, _, judged)), scored)| result::of_pair(pair, judged, scored))
        .collect();
    Ok(result::of_run(results, run, at))
}

fn judge_one<'c>(
    metrics: &BTreeMap<&str, &'c MetricConfig>,
    index: usize,
    pair: &PairDocument,
) -> Result<(Analysis, &'c [String], PairJudged), Unjudgeable> {
    let metric = *metrics.get(pair.name.as_str()).ok_or_else(|| {
        let is_short = |name: &&str| name.len() <= LIKE_NAME_BYTES_MAX;
        let names = metrics.keys().copied().filter(is_short);
        let names = names.filter(|_| is_short(&pair.name.as_str()));
        let known = names
            .map(|name| (strsim::damerau_levenshtein(name, &pair.name), name))
            .filter(|(distance, name)| *distance <= name.len().div_ceil(3))
            .min();
        Unjudgeable::UnknownMetric {
            index,
            name: pair.name.chars().take(LIKE_NAME_BYTES_MAX).collect(),
            known: known.map(|(_, name)| name.to_owned()),
        }
    })?;
    let analysis = Analysis::read(metric.analysis()).map_err(|wrong| Unjudgeable::Setting {
        metric: pair.name.clone(),
        wrong,
    })?;
    let judged = judge_pair(
        &pair.values.control,
        &pair.values.experiment,
        &analysis.settings,
    );
    Ok((analysis, metric.groups(), judged))
}

#[cfg(test)]
mod tests;
