//! The parts of a plan that keeps Kayenta's judge: nothing that was set means something else there.
//!
//! Owns their text. Next: `plan_file::kayenta`, which reads it.

use std::fmt::Write as _;

use super::metric::Imported;
use super::times::{Requested, Times};
use super::write::quoted;
use crate::codec::kayenta::configuration::CanaryConfig;
use crate::config::quantity::duration_text;
use crate::judge::kayenta::score::RunThresholds;
use crate::plan::kayenta::{Measure, NanStrategy};

/// What is true of every such plan.
pub(super) const HEADER: &str = "Made by `davy import kayenta --judge kayenta`: judged by Kayenta's rules, which promise nothing. A pass comes at \
the last judgement, and a score that only missing data brought down is inconclusive. Without `judge` davy's own tests \
need other settings: import it without --judge.";

/// The section `judge`.
pub(super) fn judge(config: &CanaryConfig, requested: &Requested, times: &Times) -> String {
    let mut text = String::from("judge:\n  kayenta:\n");
    if let Some(at) = requested.thresholds.or_else(|| written(config)) {
        let _ = writeln!(text, "    pass: {}\n    marginal: {}", at.pass, at.marginal);
    }
    // A judgement comes with a tick's close.
    let whole = |millis: i64| (millis + times.tick - 1) / times.tick * times.tick;
    if let Some(interval) = requested.interval {
        let interval = whole(interval).min(times.horizon);
        let _ = writeln!(text, "    interval: {}", duration_text(interval));
    }
    if let Some(lookback) = requested.lookback {
        let _ = writeln!(text, "    lookback: {}", duration_text(whole(lookback)));
    }
    text.push_str("    group_weights:");
    let weights = config.group_weights().filter(|weights| !weights.is_empty());
    let Some(weights) = weights else {
        text.push_str(" {}\n");
        return text;
    };
    text.push('\n');
    for (group, weight) in weights {
        let _ = writeln!(text, "      {}: {weight}", quoted(group));
    }
    text
}

/// The thresholds that stand in the configuration: nothing there used them, but where there is no
/// request they say what was meant.
fn written(config: &CanaryConfig) -> Option<RunThresholds> {
    let written = config.classifier.as_ref()?.score_thresholds.as_ref()?;
    Some(RunThresholds {
        pass: written["pass"].as_f64()?,
        marginal: written["marginal"].as_f64()?,
    })
}

/// What follows `compare` in a check.
pub(super) fn check(text: &mut String, metric: &Imported) {
    let settings = &metric.settings;
    let _ = writeln!(text, "    worse: {}", metric.worse);
    if metric.is_muted {
        text.push_str("    gating: false\n");
    }
    let groups: Vec<String> = metric.groups.iter().map(|group| quoted(group)).collect();
    let _ = writeln!(text, "    kayenta:\n      groups: [{}]", groups.join(", "));
    for (key, is_set) in [
        ("critical", settings.critical),
        ("must_have_data", settings.must_have_data),
    ] {
        if is_set {
            let _ = writeln!(text, "      {key}: true");
        }
    }
    if settings.nan_strategy == NanStrategy::Replace {
        text.push_str("      nan_strategy: replace\n");
    }
    if let Some(outliers) = settings.outliers {
        let _ = writeln!(text, "      outlier_factor: {}", outliers.factor);
    }
    text.push_str("      effect_size:\n");
    let measure = match settings.measure {
        Measure::MeanRatio => "mean_ratio",
        Measure::Cles => "cles",
    };
    let _ = writeln!(text, "        measure: {measure}");
    let (allowed, critical) = (settings.allowed, settings.critical_at);
    let mut all = vec![
        ("allowed_increase", allowed.increase),
        ("allowed_decrease", allowed.decrease),
    ];
    if settings.critical {
        all.push(("critical_increase", critical.increase));
        all.push(("critical_decrease", critical.decrease));
    }
    for (key, effect) in all {
        let _ = writeln!(text, "        {key}: {effect}");
    }
}
