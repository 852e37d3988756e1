//! Why a series reached no analysis, in words for its sender.
//!
//! Owns the search for the analysis that came nearest to asking for it. Senders see only that a
//! sample is `unmatched` or `ambiguous`; which matcher it misses stands in a plan they may never
//! have read. It counts nothing and changes nothing: that is `ingest`'s.

use super::State;
use super::analysis::Analysis;
use super::matching::Nearness;
use super::messages::Unplaced;
use crate::model::{Arm, Labels};
use crate::plan::Source;

/// Characters shown of a selector or a series.
const SELECTOR_CHARS_SHOWN: usize = 200;
/// Selectors of a plan's metrics that are shown.
const METRICS_SHOWN_MAX: usize = 5;

/// A series that no running analysis asks for.
pub(super) fn unmatched(state: &State, index: usize, name: &str, labels: &Labels) -> Unplaced {
    let running = || state.analyses.values().filter(|a| a.takes_samples());
    let near = |wanted: Nearness| {
        running().find(|analysis| {
            let selectors = analysis.selectors.as_ref();
            selectors
                .is_some_and(|selectors| selectors.nearness(&analysis.plan, name, labels) == wanted)
        })
    };
    let message = if let Some(analysis) = near(Nearness::Metric) {
        format!(
            "{} asks for this series, but neither of its arms does; {}",
            named(analysis),
            arms(analysis)
        )
    } else if let Some(analysis) = near(Nearness::Arm) {
        format!(
            "an arm of {} asks for these labels, but no metric for this series; {}",
            named(analysis),
            metrics(analysis)
        )
    } else if let Some(analysis) = running().find(|analysis| analysis.selectors.is_some()) {
        format!(
            "no running analysis asks for it; {}, for one: {}; {}",
            named(analysis),
            metrics(analysis),
            arms(analysis)
        )
    } else if let Some(analysis) = running().next() {
        format!(
            "every running analysis takes addressed samples only; give \"analysis\" (such as {:?}) and \"arm\", or write `arms` into the plan",
            analysis.id
        )
    } else {
        "no analysis runs; start one before its samples are sent".to_owned()
    };
    Unplaced {
        index,
        outcome: "unmatched",
        series: series(name, labels),
        message,
    }
}

/// A series that both arms of the analysis ask for.
pub(super) fn ambiguous(
    analysis: &Analysis,
    index: usize,
    name: &str,
    labels: &Labels,
) -> Unplaced {
    Unplaced {
        index,
        outcome: "ambiguous",
        series: series(name, labels),
        message: format!(
            "both arms of {} ask for it; let their matchers exclude each other; {}",
            named(analysis),
            arms(analysis)
        ),
    }
}

fn named(analysis: &Analysis) -> String {
    format!("{} (plan {:?})", analysis.id, analysis.plan.name)
}

fn arms(analysis: &Analysis) -> String {
    let Some(selectors) = &analysis.selectors else {
        return "its samples are addressed".to_owned();
    };
    let arm = |arm: Arm| {
        format!(
            "{}: {}",
            arm.as_str(),
            shown(&selectors.of(arm).to_string())
        )
    };
    Arm::BOTH.map(arm).join("; ")
}

/// What the plan's metrics ask for.
fn metrics(analysis: &Analysis) -> String {
    let sources = analysis.plan.metrics.iter().map(|metric| &metric.source);
    let mut selectors = sources.flat_map(|source| match source {
        Source::Values { select } => vec![select],
        Source::RatioCounts { bad, total, .. } => vec![bad, total],
        Source::Buckets { histogram, .. } | Source::Above { histogram, .. } => vec![histogram],
        Source::Pulled(_) => Vec::new(),
        Source::RateCounts {
            events, exposure, ..
        } => std::iter::once(events).chain(exposure.as_ref()).collect(),
    });
    let first: Vec<String> = selectors
        .by_ref()
        .take(METRICS_SHOWN_MAX)
        .map(|selector| shown(&selector.to_string()))
        .collect();
    let more = if selectors.next().is_some() {
        " and more"
    } else {
        ""
    };
    if first.is_empty() {
        return "its metrics are pulled".to_owned();
    }
    format!("its metrics ask for {}{more}", first.join(", "))
}

/// A series as a selector would name it.
pub(super) fn series(name: &str, labels: &Labels) -> String {
    let pairs: Vec<String> = labels
        .iter()
        .map(|(label, value)| format!("{label}={value:?}"))
        .collect();
    shown(&match pairs.as_slice() {
        [] => name.to_owned(),
        _ => format!("{name}{{{}}}", pairs.join(",")),
    })
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(SELECTOR_CHARS_SHOWN) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text.to_owned(),
    }
}
