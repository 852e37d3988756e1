//! What is measured of an analysis whose verdict has become final, for whoever counts.
//!
//! Owns the durations and whether its change is judged for the first time. Times are those that the
//! inputs came with, so that a log that is taken again measures the same. It must not know what is
//! counted, nor whether it was counted before. Next: [`super::messages::Effect::Measured`].

use super::State;
use super::analysis::Analysis;
use super::messages::{Effect, Event, EventKind};
use crate::judge::verdict::VerdictBody;
use crate::model::{Millis, Outcome, Reason};

/// What is measured of an analysis whose verdict has become final.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// From its start to its final verdict, by the clock.
    pub took: Millis,
    /// From the step it was in to its final verdict, by the clock; `None` where no step was marked.
    pub since_step: Option<Millis>,
    /// Of a fail: the event time that the evidence reaches back from the last look, the shortest of
    /// the checks that failed.
    pub evidence: Option<Millis>,
    /// Share of the plan's alpha that is spent, from 0 to 1.
    pub alpha_spent: f64,
    /// No other analysis of its change has been judged before.
    pub is_first_of_change: bool,
    /// No other analysis of its change has failed before, and it fails.
    pub is_first_fail_of_change: bool,
}

// === impl Measured ===

impl Measured {
    /// Of a verdict that became final so long after the start of its analysis. Nothing is known of
    /// steps and of other analyses.
    pub fn of(body: &VerdictBody, took: Millis) -> Measured {
        let failing = body
            .checks
            .iter()
            .filter(|found| found.gating && found.verdict == Outcome::Fail);
        let windows = failing.map(|found| (found.window_secs * 1000.0) as Millis);
        let evidence = windows.min().filter(|_| body.verdict == Outcome::Fail);
        let guarantee = &body.guarantee;
        Measured {
            took: took.max(0),
            since_step: None,
            evidence,
            alpha_spent: (guarantee.spent / guarantee.alpha).clamp(0.0, 1.0),
            is_first_of_change: false,
            is_first_fail_of_change: false,
        }
    }
}

/// Whether an analysis came to an answer of its own, be it that nothing could be shown.
pub fn is_judged(reason: Reason) -> bool {
    !matches!(
        reason,
        Reason::Cancelled | Reason::Superseded | Reason::Abandoned
    )
}

/// Measures every analysis whose verdict these effects make final.
pub(super) fn measure(state: &State, effects: &mut Vec<Effect>) {
    let is_end = |effect: &Effect| match effect {
        Effect::Event(event) if event.kind == EventKind::VerdictFinal => Some(event.clone()),
        _ => None,
    };
    let ends: Vec<Event> = effects.iter().filter_map(is_end).collect();
    for (number, end) in ends.iter().enumerate() {
        let Some(analysis) = state.analyses.get(&end.analysis) else {
            continue;
        };
        // Those that end with it and come after it were not there before it.
        let later: Vec<&str> = ends[number..].iter().map(|end| &*end.analysis).collect();
        let measured = measured(state, analysis, end, &later);
        effects.push(Effect::Measured {
            body: end.body.clone(),
            measured,
        });
    }
}

fn measured(state: &State, analysis: &Analysis, end: &Event, later: &[&str]) -> Measured {
    let step = analysis.steps().last();
    let step = step.filter(|step| !step.name.is_empty());
    let (outcome, reason) = analysis.outcome();
    let change = analysis.change();
    let is_before = |id: &str, other: &Analysis| {
        let own = other.change();
        other.is_final()
            && (&own.id, &own.namespace) == (&change.id, &change.namespace)
            && !later.contains(&id)
    };
    // An analysis of no change is one of its own.
    let named = change.id.iter().flat_map(|_| &state.analyses);
    let before = named.filter(|(id, other)| is_before(id, other));
    let before: Vec<_> = before.map(|(_, other)| other.outcome()).collect();
    let is_first = !before.iter().any(|(_, reason)| is_judged(*reason));
    let is_first_fail = !before.iter().any(|(outcome, _)| *outcome == Outcome::Fail);
    Measured {
        since_step: step.map(|step| end.at.since(step.began_at).max(0)),
        is_first_of_change: is_judged(reason) && is_first,
        is_first_fail_of_change: outcome == Outcome::Fail && is_first_fail,
        ..Measured::of(&end.body, end.at.since(analysis.started_at()))
    }
}
