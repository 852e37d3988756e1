//! What readers see of an analysis: its verdict for both gates, and what it received.
//!
//! Owns how the parts are put together, and that a verdict which nothing has changed is not made
//! again with every request of samples. It decides nothing. Next: `judge::verdict`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Analysis, Counters};
use crate::engine::messages::*;
use crate::engine::overriding;
use crate::engine::steps::Step;
use crate::judge::verdict::{Finding, Gate, GateKind, Guarantee, Status, VerdictBody};
use crate::judge::{self, assumptions, scored, sentence};
use crate::model::{Decision, Outcome, Reason, Timestamp};
use crate::plan::{Metric, Plan, Pulled, Source};

/// The verdicts that were shown last.
#[derive(Debug)]
pub(in crate::engine) struct Shown {
    stamp: Stamp,
    bodies: [Arc<Verdict>; 2],
}

/// Everything that a verdict's body depends on and that can change while an analysis runs without a
/// watch: where it is the same, so is the body.
#[derive(Debug, PartialEq)]
struct Stamp {
    looks: usize,
    status: Status,
    outcome: Outcome,
    reason: Reason,
    decision: Decision,
    step_gate: Gate,
}

impl Analysis {
    /// The verdict, as the answer to a gate.
    pub fn body(&self, gate: GateKind) -> VerdictBody {
        let (outcome, reason) = self.outcome();
        let findings = self
            .judgement
            .as_ref()
            .map_or(&[][..], |judgement| &judgement.findings);
        let mut decision = self.decision();
        let gate = self.gate(gate, outcome, decision);
        let is_judged = self.overridden.is_none() && !self.is_final();
        if gate.kind == GateKind::Step && is_judged && outcome != Outcome::Fail {
            decision = if gate.open {
                Decision::Promote
            } else {
                Decision::Hold
            };
        }
        let mut message = if findings.is_empty() && !self.is_final() {
            format!("inconclusive so far, hold: {}", sentence::about(reason))
        } else {
            self.sentence((outcome, reason, self.is_final()), decision, findings)
        };
        if gate.kind == GateKind::Step && gate.open && is_judged {
            message = format!("go on: no check fails, and this step has seen enough; {message}");
        }
        if let Some(overridden) = &self.overridden {
            message = overriding::sentence(overridden, outcome, &message);
        }
        let closed = self.judge.looks();
        let [alpha, beta] = self.plan.guaranteed();
        VerdictBody {
            analysis: self.id.clone(),
            plan: self.plan.name.clone(),
            plan_hash: self.plan_hash.clone(),
            status: self.status(),
            verdict: outcome,
            is_final: self.is_final(),
            decision,
            reason,
            message,
            score: judge::score(&self.plan, findings),
            gate,
            elapsed_secs: (self.plan.tick * closed as i64) as f64 / 1000.0,
            guarantee: Guarantee {
                alpha,
                beta,
                spent: self.judge.spent(),
                looks: closed as u64,
                assumes: assumptions::of(&self.plan, findings),
            },
            checks: findings.to_vec(),
            overridden: self.overridden.clone(),
            watch: self.watch_view(),
            change: self.change.clone(),
            links: BTreeMap::from([
                ("self".to_owned(), format!("/v1/analyses/{}", self.id)),
                (
                    "recording".to_owned(),
                    format!("/v1/analyses/{}/recording", self.id),
                ),
            ]),
            engine_revision: judge::ENGINE_REVISION,
        }
    }

    fn sentence(
        &self,
        verdict: (Outcome, Reason, bool),
        decision: Decision,
        findings: &[Finding],
    ) -> String {
        let (ask, looks) = (sentence::ask(decision), self.judge.looks());
        let (outcome, reason, is_final) = verdict;
        match &self.plan.kayenta {
            Some(scoring) => {
                scored::sentence_of(&self.plan, scoring, findings, verdict, ask, looks)
            }
            None => sentence::of_verdict(outcome, reason, ask, is_final, findings),
        }
    }

    fn gate(&self, kind: GateKind, outcome: Outcome, decision: Decision) -> Gate {
        let promoted = decision == Decision::Promote;
        if kind == GateKind::Final {
            let waits = !self.is_final() && self.overridden.is_none();
            let waiting_for = waits.then(|| self.final_waits_for(outcome));
            return Gate {
                kind,
                step: None,
                open: promoted,
                waiting_for,
            };
        }
        let step = self.steps.last();
        let name = step
            .map(|step| step.name.clone())
            .filter(|name| !name.is_empty());
        if self.is_final() || outcome == Outcome::Fail || self.overridden.is_some() {
            return Gate {
                kind,
                step: name,
                open: promoted,
                waiting_for: None,
            };
        }
        let waiting_for = step.and_then(|step| step.waiting_for(&self.plan));
        Gate {
            kind,
            step: name,
            open: waiting_for.is_none(),
            waiting_for,
        }
    }

    fn final_waits_for(&self, outcome: Outcome) -> String {
        let own = self
            .steps
            .last()
            .and_then(|step| step.waiting_for(&self.plan));
        match (outcome, self.steps_follow, own) {
            (Outcome::Pass, Some(true), _) => "the last step of the rollout".to_owned(),
            (Outcome::Pass, Some(false), Some(own)) => own,
            _ => "a final verdict".to_owned(),
        }
    }

    /// The readable state.
    pub fn view(&self) -> AnalysisView {
        let body = |gate| Arc::new(Verdict::new(self.body(gate)));
        self.view_with([body(GateKind::Final), body(GateKind::Step)])
    }

    /// As [`Analysis::view`], after an input that did not judge: nearly always the verdicts are
    /// still those that were shown last, and making them again would cost more than the input did.
    pub(in crate::engine) fn view_of_samples(&mut self) -> AnalysisView {
        let stamp = self.stamp();
        let bodies = match &self.shown {
            Some(shown) if shown.stamp == stamp && self.watch.is_none() => shown.bodies.clone(),
            _ => {
                let body = |gate| Arc::new(Verdict::new(self.body(gate)));
                [body(GateKind::Final), body(GateKind::Step)]
            }
        };
        let view = self.view_with(bodies.clone());
        self.shown = Some(Shown { stamp, bodies });
        view
    }

    fn stamp(&self) -> Stamp {
        let (outcome, reason) = self.outcome();
        let decision = self.decision();
        Stamp {
            looks: self.judge.looks(),
            status: self.status(),
            outcome,
            reason,
            decision,
            step_gate: self.gate(GateKind::Step, outcome, decision),
        }
    }

    fn view_with(&self, [body, step_body]: [Arc<Verdict>; 2]) -> AnalysisView {
        let (outcome, reason) = self.outcome();
        let received = self
            .plan
            .metrics
            .iter()
            .zip(&self.counters)
            .zip(self.judge.received())
            .enumerate()
            .map(|(index, ((metric, counters), judged))| ReceivedView {
                metric: metric.name.clone(),
                baseline: counters.samples[0],
                canary: counters.samples[1],
                late: counters.late,
                sampled_out: judged.sampled_out.iter().sum(),
                missing: counters.missing,
                newest: counters.newest.map(Timestamp::millis),
                refused: counters.refusals.view(),
                from: counters.sources.view(),
                hint: hint(&self.plan, metric, counters, self.pulled.hint(index)),
            });
        AnalysisView {
            id: self.id.clone(),
            plan: self.plan.name.clone(),
            plan_hash: self.plan_hash.clone(),
            status: self.status(),
            verdict: outcome,
            decision: self.decision(),
            reason,
            started_at: self.started_at.millis(),
            final_at: self.ended.map(|ended| ended.at.millis()),
            overridden: self.overridden.clone(),
            change: self.change.clone(),
            arms: self.arms.clone(),
            steps: self.steps[1..].iter().map(step_view).collect(),
            steps_follow: self.steps_follow,
            received: received.collect(),
            pulled: self.pulled.view(),
            ambiguous: self.ambiguous,
            unmatched: self.unmatched,
            body,
            step_body,
        }
    }
}

/// What is odd about what a metric received.
fn hint(
    plan: &Plan,
    metric: &Metric,
    counters: &Counters,
    of_source: Option<String>,
) -> Option<String> {
    let of_clocks = counters.sources.hint(plan.lateness);
    let counts = matches!(
        metric.source,
        Source::RatioCounts { .. } | Source::Pulled(Pulled::Ratio { .. })
    );
    let is_named = !counters.sources.view().is_empty();
    let without_bad = (counts && is_named && !counters.has_bad).then(|| {
        format!(
            "no series that `bad` of {:?} asks for has come, which counts as no bad events: right where none has happened yet, wrong where its matchers are",
            metric.name
        )
    });
    of_clocks.or(of_source).or(without_bad)
}

fn step_view(step: &Step) -> StepView {
    StepView {
        name: step.name.clone(),
        weight: step.weight,
        began_at: step.began_at.millis(),
    }
}
