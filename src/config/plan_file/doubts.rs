//! What is allowed in a plan but will disappoint: too little traffic, too many checks, no tail.
//!
//! Owns these warnings and their advice. Whether traffic suffices is `plan::forecast`'s. It must
//! not refuse anything: a plan with doubts is a plan.

use super::kayenta;
use crate::config::reader::{Reader, Table};
use crate::plan::forecast::{self, DEGRADATION, Forecast, POWER};
use crate::plan::{Check, MetricKind, Plan, Question};

/// Gating tests among which alpha is split without a word: at 8 power falls from .96 to .83.
const GATING_TESTS_MAX: usize = 5;

/// Warns of what the plan cannot be expected to do.
pub(super) fn warn(reader: &mut Reader<'_>, table: &Table<'_>, plan: &Plan) {
    if let Some(scoring) = &plan.kayenta {
        kayenta::doubt_weights(reader, table, scoring, &plan.checks);
    }
    let Some(section) = table.get("checks") else {
        return;
    };
    let Some(items) = reader.list(&section) else {
        return;
    };
    let spends = |check: &&Check| check.gating && check.question.spends_alpha();
    let tests = plan.checks.iter().filter(spends).count();
    if tests > GATING_TESTS_MAX {
        let message = format!("alpha is split over {tests} gating checks, so each finds less");
        let help = "give the most important ones more weight, or make some gating: false";
        let at = (table.place_of("checks"), "checks");
        reader.warn(at, message, help);
    }
    for (check, item) in plan.checks.iter().zip(&items) {
        let Some(item) = reader.table(item, None) else {
            continue;
        };
        if is_blind_to_tails(plan, check) {
            let message = format!("`{}` does not see a tail that alone gets worse", check.name);
            let help = "add a check of the same metric with at: p99 and a tolerance of its own";
            reader.warn(item.at(), message, help);
        }
        let traffic = plan.traffic.as_ref();
        let found = traffic.and_then(|traffic| forecast::forecast(plan, traffic, check));
        if let Some((message, help)) = found.and_then(|found| disappointment(check, &found)) {
            reader.warn(item.at(), message, help);
        }
    }
}

/// A gating comparison of whole distributions without any check of the metric's tail: of seven
/// recorded regressions of the tail alone, rank tests let six pass.
fn is_blind_to_tails(plan: &Plan, check: &Check) -> bool {
    let is_rank = matches!(check.question, Question::Compare { at: None, .. })
        && plan.metrics[check.metric].kind == MetricKind::Latency;
    let sees_tail = |other: &Check| other.metric == check.metric && other.question.at().is_some();
    check.gating && is_rank && !plan.checks.iter().any(sees_tail)
}

/// What is out of reach, and what would bring it within.
fn disappointment(check: &Check, found: &Forecast) -> Option<(String, String)> {
    let percent = (POWER * 100.0) as u32;
    let name = &check.name;
    let times = |needs: f64| {
        if needs.is_finite() && needs < 1e4 {
            format!(
                "about {} times the traffic or the horizon is needed",
                round(needs)
            )
        } else {
            "no amount of such traffic suffices: more units are needed, or a wider tolerance"
                .to_owned()
        }
    };
    let (what, needs) = match found.fail_needs {
        Some(needs) if needs > 1.0 && needs >= found.pass_needs => {
            (format!("a canary at {DEGRADATION} tolerances fails"), needs)
        }
        _ if found.pass_needs > 1.0 => ("a healthy canary passes".to_owned(), found.pass_needs),
        Some(needs) if needs > 1.0 => {
            (format!("a canary at {DEGRADATION} tolerances fails"), needs)
        }
        _ => return None,
    };
    let message = format!(
        "`{name}`: at the expected traffic {what} before the horizon with less than {percent} % \
         probability"
    );
    let help = format!(
        "{}; a wider tolerance needs less; try davy simulate --plan",
        times(needs)
    );
    Some((message, help))
}

/// One decimal below ten, none above.
fn round(needs: f64) -> f64 {
    if needs < 10.0 {
        (needs * 10.0).ceil() / 10.0
    } else {
        needs.ceil()
    }
}
