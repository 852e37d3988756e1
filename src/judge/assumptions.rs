//! What a plan's guarantee rests on, in words.
//!
//! Owns the sentences under `guarantee.assumes` of a verdict. It decides nothing.

use std::collections::BTreeSet;

use crate::plan::{Dispersion, Lifetime, MetricKind, Plan, Question, Resolution, Source};

/// What the guarantee of a plan rests on, in words.
pub fn of_plan(plan: &Plan) -> Vec<String> {
    let mut assumes = BTreeSet::new();
    for check in plan.checks.iter().filter(|check| check.gating) {
        let metric = &plan.metrics[check.metric];
        let text = match (&check.question, &metric.cluster) {
            (question, _) if !question.spends_alpha() => {
                format!("{}: an alarm rule, which promises nothing", check.name)
            }
            (Question::Compare { dispersion, .. } | Question::Threshold { dispersion, .. }, _)
                if metric.kind == MetricKind::Gauge =>
            {
                match dispersion {
                    Dispersion::Sd(sd) => format!(
                        "{}: a tick's number has a long-run standard deviation of {sd:.4}, \
                         as calibrated",
                        check.name
                    ),
                    Dispersion::Iid => format!("{}: ticks are independent", check.name),
                    Dispersion::Envelope | Dispersion::Factor(_) => {
                        format!(
                            "{}: first-order autocorrelation of ticks up to 0.8",
                            check.name
                        )
                    }
                }
            }
            (_, Some(cluster)) => {
                let life = match cluster.lifetime {
                    Lifetime::Tick => "within a tick",
                    Lifetime::Run => "over the run",
                };
                format!(
                    "{}: units ({}) are independent {life}",
                    check.name, cluster.by
                )
            }
            (
                Question::Compare {
                    dispersion: Dispersion::Factor(_),
                    ..
                },
                None,
            ) => format!(
                "{}: samples vary no more over time than calibrated",
                check.name
            ),
            (_, None) => format!(
                "{}: samples are independent and alike within a tick (not calibrated)",
                check.name
            ),
        };
        assumes.insert(text);
        let is_compare = matches!(check.question, Question::Compare { .. });
        if is_compare && matches!(metric.source, Source::RateCounts { exposure: None, .. }) {
            assumes.insert(format!(
                "{}: both arms get equal traffic, for events are counted by time alone",
                check.name
            ));
        }
        if is_compare
            && metric.kind == MetricKind::Latency
            && metric.resolution != Resolution::Exact
        {
            let text = "rounded values are spread evenly over their step";
            assumes.insert(format!("{}: {text}", check.name));
        }
    }
    assumes.into_iter().collect()
}
