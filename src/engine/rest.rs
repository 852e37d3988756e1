//! What is left of an analysis once samples mean nothing to it any more.
//!
//! Owns what is given back then. An analysis that is over is kept to be read, perhaps ten thousand
//! of them: what it was judged with (the checks' history, open ticks, sample ids, compiled
//! matchers) is up to megabytes each and serves nobody. What its answers say stays as it was.

use std::sync::Arc;

use super::analysis::Analysis;
use super::dedupe::Dedupe;

/// The analysis and its judge: who else holds the plan goes on using it.
const OWN_HOLDERS: usize = 2;

// === impl Analysis ===

impl Analysis {
    /// Gives back what only samples need, once they mean nothing any more.
    pub(super) fn rest(&mut self) {
        if self.takes_samples() {
            return;
        }
        self.selectors = None;
        self.pulled.rest();
        self.dedupe = Dedupe::new(0);
        self.window.forget_open();
        // A plan of the request's own is this analysis' alone, compiled matchers and all.
        if Arc::strong_count(&self.plan) <= OWN_HOLDERS {
            self.plan = Arc::new(self.plan.without_matchers());
        }
        self.judge.forget_history(self.plan.clone());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::plan_file::parse_plan;
    use crate::engine::{Input, Limits, Start, State, apply};
    use crate::model::{Address, Arm, Labels, Reading, Sample, Timestamp};

    const PLAN: &str = "version: davy/v1
plan: rest
horizon: 10s
tick: 1s
lateness: 0s
min_duration: 0s
arms: {baseline: 'v=\"{{baseline}}\"', canary: 'v=\"{{canary}}\"'}
metrics: {latency: {kind: latency, select: 'latency{path=~\"/a.*\"}'}}
checks: [{compare: latency, tolerance: 20%, min_samples: 5}]
";

    fn samples(tick: i64) -> Vec<Sample> {
        let one = |arm, index: i64| Sample {
            ts: Timestamp(tick * 1_000 + index),
            metric: "latency".to_owned(),
            labels: Labels::new(),
            reading: Reading::Values {
                values: vec![100.0 + index as f64],
                weights: Vec::new(),
            },
            unit: None,
            id: Some(format!("{tick}-{arm:?}-{index}")),
            address: Some(Address {
                analysis: "x".to_owned(),
                arm,
            }),
            missing: 0,
        };
        let each = |arm| (0..50).map(move |index| one(arm, index));
        each(Arm::Baseline).chain(each(Arm::Canary)).collect()
    }

    /// So many ticks with the same samples in both arms.
    fn run(plan: &str, ticks: i64) -> State {
        let plan = parse_plan("rest.yaml", plan)
            .unwrap_or_else(|p| panic!("{p}"))
            .plan;
        let mut state = State::new(Limits::default());
        let start = Start {
            id: "x".to_owned(),
            plan: Arc::new(plan),
            arms: BTreeMap::from(
                [("baseline", "1"), ("canary", "2")]
                    .map(|(name, value)| (name.to_owned(), value.to_owned())),
            ),
            change: Default::default(),
            idempotency_key: None,
            request_digest: String::new(),
            by: None,
        };
        apply(&mut state, Input::Start(Box::new(start)), Timestamp(0));
        for tick in 0..ticks {
            apply(
                &mut state,
                Input::Samples(samples(tick)),
                Timestamp(tick * 1_000 + 900),
            );
        }
        state
    }

    fn cancel(state: &mut State) {
        let input = Input::Cancel {
            by: None,
            analysis: "x".to_owned(),
            actor: None,
            reason: None,
        };
        apply(state, input, Timestamp(5_000));
    }

    #[test]
    fn what_is_over_holds_nothing_that_only_samples_need_and_reads_as_before() {
        // Too few ticks for a verdict.
        let mut state = run(&PLAN.replace("20%", "1%"), 3);
        let before = state.analysis("x").expect("it runs").view();
        let running = format!("{:?}", state.analyses["x"]);
        assert!(!before.body.is_final && running.contains("/a.*"));
        cancel(&mut state);
        let over = &state.analyses["x"];
        let text = format!("{over:?}");
        // Most of what is left are the findings, of which its answers are made.
        assert!(
            text.len() * 3 < running.len(),
            "{} of {}",
            text.len(),
            running.len()
        );
        assert!(!text.contains("/a.*"), "a compiled matcher is left");
        let view = over.view();
        assert!(over.is_final());
        assert_eq!(view.plan_hash, before.plan_hash);
        let received = |view: &crate::engine::AnalysisView| format!("{:?}", view.received);
        assert_eq!(received(&view), received(&before));
        assert_eq!(view.body.checks, before.body.checks);
        assert_eq!(view.body.guarantee, before.body.guarantee);
    }

    #[test]
    fn what_is_watched_after_its_pass_goes_on_until_the_watch_is_over() {
        let mut state = run(
            &format!("{PLAN}watch: {{for: 10s, false_alarms_every: 30d}}\n"),
            5,
        );
        // A comparison of equals at this tolerance passes within a few ticks.
        let mut tick = 5;
        while !state.analyses["x"].is_final() {
            assert!(tick < 10, "it did not pass within its horizon");
            apply(
                &mut state,
                Input::Samples(samples(tick)),
                Timestamp(tick * 1_000 + 900),
            );
            tick += 1;
        }
        assert!(state.analyses["x"].takes_samples());
        assert!(state.analyses["x"].selectors.is_some());
        apply(&mut state, Input::Tick, Timestamp(60_000));
        assert!(!state.analyses["x"].takes_samples());
        assert!(state.analyses["x"].selectors.is_none());
    }
}
