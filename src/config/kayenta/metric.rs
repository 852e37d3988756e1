//! One metric of a configuration as a metric and a check of a plan.
//!
//! Owns what each setting becomes, and the sentence where it becomes something else or nothing.

use super::query::{Queried, leaves_groups};
use crate::codec::kayenta::analysis::Analysis;
use crate::codec::kayenta::configuration::{CanaryConfig, MetricConfig};
use crate::config::plan_file::NAME_CHARS_MAX;
use crate::judge::kayenta::{Direction, Measure, NanStrategy, Settings};

/// Tolerances a plan takes, in percent.
const PERCENT_MIN: f64 = 0.1;
const PERCENT_MAX: f64 = 9_900.0;
/// Of a metric whose fall is worse: no fall is as large as the baseline itself.
const PERCENT_LOWER_MAX: f64 = 99.0;
/// Weights a plan takes.
const WEIGHT_MIN: f64 = 0.001;
const WEIGHT_MAX: f64 = 1_000.0;

/// A metric and its check.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Imported {
    /// Its name in the plan.
    pub name: String,
    /// Its name in the configuration.
    pub original: String,
    /// Its query; without one its points are sent.
    pub query: Option<String>,
    /// What is to be known of how it is fetched.
    pub about_query: Vec<String>,
    /// `higher`, `lower` or `either`.
    pub worse: &'static str,
    /// What Kayenta's judge is asked of it.
    pub settings: Settings,
    /// Groups it counts in.
    pub groups: Vec<String>,
    /// Whether it is left out of the score.
    pub is_muted: bool,
    /// In percent; `None` leaves the default.
    pub tolerance: Option<f64>,
    /// Share of alpha and of the score.
    pub weight: f64,
    /// Whether it decides.
    pub gating: bool,
    /// What is to be known of how it is judged.
    pub about_check: Vec<String>,
}

/// A name that a plan takes, and that no other metric has.
pub(super) fn name_of(metric: &MetricConfig, others: &[Imported]) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-');
    let safe: String = metric
        .name()
        .chars()
        .map(|c| if is_part(c) { c } else { '_' })
        .collect();
    let safe = safe.trim_matches(['_', '.', ':', '-']);
    let safe = if safe.is_empty() { "metric" } else { safe };
    let numbered = |number: usize| {
        let suffix = if number == 1 {
            String::new()
        } else {
            format!("-{number}")
        };
        let kept = safe.len().min(NAME_CHARS_MAX - suffix.len());
        format!("{}{suffix}", &safe[..kept])
    };
    let is_free = |name: &String| others.iter().all(|other| other.name != *name);
    let mut names = (1..=others.len() + 1).map(numbered);
    names
        .find(is_free)
        .unwrap_or_else(|| numbered(others.len() + 2))
}

/// The metric and its check.
pub(super) fn import(
    name: String,
    metric: &MetricConfig,
    analysis: &Analysis,
    query: Queried,
    config: &CanaryConfig,
) -> Imported {
    let settings = &analysis.settings;
    let mut imported = Imported {
        name,
        original: metric.name().to_owned(),
        query: None,
        about_query: Vec::new(),
        worse: match settings.direction {
            Direction::Increase => "higher",
            Direction::Decrease => "lower",
            Direction::Either => "either",
        },
        settings: *settings,
        groups: metric.groups().to_vec(),
        is_muted: analysis.muted,
        tolerance: None,
        weight: 1.0,
        gating: true,
        about_check: Vec::new(),
    };
    fetch(&mut imported, metric, query);
    tolerance(&mut imported, settings);
    weight(&mut imported, metric, config, settings.critical);
    about_data(&mut imported, settings);
    if settings.critical {
        imported.about_check.push(
            "critical: any gating check that fails fails the analysis, so this is kept, whatever criticalIncrease \
             and criticalDecrease say"
                .to_owned(),
        );
    }
    if analysis.muted {
        imported.gating = false;
        imported
            .about_check
            .push("muted: computed and shown, never decides".to_owned());
    }
    imported
}

fn fetch(imported: &mut Imported, metric: &MetricConfig, query: Queried) {
    let raw = metric.query.as_ref();
    match query {
        Ok(split) => {
            if leaves_groups(&split.text) {
                imported.about_query.push(
                    "by (..): where it leaves several series of an arm, Kayenta judged each as a metric of its own; \
                     davy averages them"
                        .to_owned(),
                );
            }
            imported.query = Some(split.text);
        }
        Err(why) => {
            let told = raw.map_or_else(String::new, |query| format!(": {query}"));
            imported.about_query.push(format!(
                "not pulled, {why}{told}; send its points, or write prometheus: with {{{{arm}}}}"
            ));
        }
    }
    let groups = raw.and_then(|query| query["groupByFields"].as_array());
    if groups.is_some_and(|fields| !fields.is_empty()) {
        imported.about_query.push(
            "groupByFields: Kayenta judged each group as a metric of its own; davy averages an arm's series"
                .to_owned(),
        );
    }
    if let Some(scope) = metric
        .scope_name
        .as_deref()
        .filter(|scope| *scope != "default")
    {
        imported.about_query.push(format!(
            "scopeName {scope}: a plan has one pair of arms; make another plan of other scopes"
        ));
    }
}

/// An allowed ratio of means is a relative tolerance, seen from the other side: what Kayenta must
/// exceed to fail, davy must prove not to be exceeded to pass.
fn tolerance(imported: &mut Imported, settings: &Settings) {
    let about = &mut imported.about_check;
    if settings.measure == Measure::Cles {
        about.push(format!(
            "effectSize cles (allowed {} up, {} down) has no counterpart: the default tolerance of 20% is taken",
            settings.allowed.increase, settings.allowed.decrease
        ));
        return;
    }
    let up = (settings.allowed.increase - 1.0) * 100.0;
    let down = (1.0 - settings.allowed.decrease) * 100.0;
    let wanted: &[f64] = match settings.direction {
        Direction::Increase => &[up],
        Direction::Decrease => &[down],
        Direction::Either => &[up, down],
    };
    let least = wanted.iter().copied().fold(f64::INFINITY, f64::min);
    if least.is_nan() || least <= 0.0 {
        about.push(
            "no allowed effect, at least on one side: any difference counted there. Nothing can be proven \
             within a tolerance of 0, so the default of 20% is taken: what is less is no fail here"
                .to_owned(),
        );
        return;
    }
    let most = match settings.direction {
        Direction::Increase => PERCENT_MAX,
        _ => PERCENT_LOWER_MAX,
    };
    let percent = (least.clamp(PERCENT_MIN, most) * 1_000.0).round() / 1_000.0;
    if settings.direction == Direction::Either && up != down {
        about.push(format!(
            "allowed {up:.1}% up and {down:.1}% down: a plan's check has one tolerance"
        ));
    }
    if least > most {
        about.push(format!("allowed {least:.1}%: more than a plan tolerates"));
    }
    imported.tolerance = Some(percent);
}

/// A group's weight, in equal parts to its metrics.
fn weight(
    imported: &mut Imported,
    metric: &MetricConfig,
    config: &CanaryConfig,
    is_critical: bool,
) {
    let share = |group: &String| {
        let is_in = |other: &&MetricConfig| other.groups().contains(group);
        let members = config.metrics().iter().filter(is_in).count();
        group_weight(config, group) / members.max(1) as f64
    };
    let weight: f64 = metric
        .groups()
        .iter()
        .map(share)
        .fold(0.0, |sum, share| sum + share);
    let about = &mut imported.about_check;
    if (weight.is_nan() || weight <= 0.0) && is_critical {
        about.push(
            "in no group that has a weight, but critical: it failed the run all the same"
                .to_owned(),
        );
        return;
    }
    if weight.is_nan() || weight <= 0.0 {
        about.push(
            "in no group that has a weight: it could not change the score there, so it does not decide here"
                .to_owned(),
        );
        imported.gating = false;
        return;
    }
    about.push(format!("groups: {}", metric.groups().join(", ")));
    imported.weight = (weight.clamp(WEIGHT_MIN, WEIGHT_MAX) * 1_000.0).round() / 1_000.0;
}

/// The configured weight, or an equal part of what those leave of 100.
fn group_weight(config: &CanaryConfig, group: &str) -> f64 {
    let weights = config.group_weights();
    if let Some(weight) = weights.and_then(|weights| weights.get(group)) {
        return *weight;
    }
    let configured: f64 = weights
        .into_iter()
        .flat_map(|weights| weights.values())
        .sum();
    let all = config.metrics().iter().flat_map(MetricConfig::groups);
    let is_open = |name: &&String| !weights.is_some_and(|weights| weights.contains_key(*name));
    let open: std::collections::BTreeSet<&String> = all.filter(is_open).collect();
    (100.0 - configured) / open.len().max(1) as f64
}

fn about_data(imported: &mut Imported, settings: &Settings) {
    let about = &mut imported.about_check;
    if settings.nan_strategy == NanStrategy::Replace {
        about.push(
            "nanStrategy replace: a missing point is missing here. Where it means 0, let the query say so, as in \
             `... or vector(0)`, or send 0"
                .to_owned(),
        );
    }
    if settings.must_have_data {
        about.push("mustHaveData: no data is never a pass, of any metric".to_owned());
    }
    if let Some(outliers) = settings.outliers {
        about.push(format!(
            "outliers (factor {}) are kept: they may be what is wrong",
            outliers.factor
        ));
    }
}

/// A plan needs a check that decides.
pub(super) fn one_must_gate(imported: &mut [Imported]) {
    if imported.iter().any(|metric| metric.gating) {
        return;
    }
    for metric in imported {
        metric.gating = true;
        metric.about_check.push(
            "no metric of the configuration could change the score, and a plan needs one that decides: all do now"
                .to_owned(),
        );
    }
}
