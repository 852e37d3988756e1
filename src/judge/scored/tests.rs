//! What a plan under Kayenta's judge comes to, tick by tick.

use std::sync::Arc;

use super::*;
use crate::config::plan_file::parse_plan;
use crate::judge::check::Detail;
use crate::judge::scratch::Scratch;
use crate::judge::{Judge, Judgement};
use crate::window::ClosedTick;

const HEAD: &str = "version: davy/v1\nplan: p\nhorizon: 20s\ntick: 1s\n";

fn plan_of(judge: &str, checks: &str) -> Arc<Plan> {
    let text = format!(
        "{HEAD}judge: {judge}\nmetrics: {{a: {{kind: gauge}}, b: {{kind: gauge}}}}\nchecks:\n{checks}"
    );
    Arc::new(parse_plan("p.yaml", &text).expect("a plan").plan)
}

/// Pairs of values, baseline and canary, of metric a and of metric b at a tick.
type Values = [[Option<f64>; 2]; 2];

fn tick(index: usize, values: Values) -> ClosedTick {
    let cell = |value: Option<f64>| Cell {
        points: value.map(|value| (0, value)).into_iter().collect(),
        samples: u64::from(value.is_some()),
        ..Cell::default()
    };
    ClosedTick {
        index,
        cells: values.map(|pair| pair.map(cell)).to_vec(),
    }
}

/// The judgement after each of 20 ticks.
fn judged(plan: &Arc<Plan>, of_tick: impl Fn(usize) -> Values) -> Vec<Judgement> {
    let mut judge = Judge::new(plan.clone(), Detail::Full);
    let mut scratch = Scratch::default();
    let ticks = (0..20).map(|index| tick(index, of_tick(index)));
    ticks
        .map(|tick| judge.close_and_look(&tick, &mut scratch))
        .collect()
}

/// Something that varies and repeats.
fn noise(index: usize) -> f64 {
    (index * 7 % 11) as f64
}

fn same(index: usize) -> Values {
    let value = 100.0 + noise(index);
    [[Some(value), Some(value + 0.5)]; 2]
}

fn score_of(plan: &Plan, judgement: &Judgement) -> f64 {
    crate::judge::score(plan, &judgement.findings)
}

#[test]
fn a_single_judgement_comes_at_the_horizon_and_says_what_kayenta_says() {
    let plan = plan_of("kayenta", "  - compare: a\n  - compare: b\n");
    let values = |index: usize| {
        let base = 100.0 + noise(index);
        [
            [Some(base), Some(base + 1.0)],
            [Some(base), Some(1.6 * base + noise(index + 3))],
        ]
    };
    let all = judged(&plan, values);
    for early in &all[..19] {
        assert_eq!(
            (early.outcome, early.reason),
            (Outcome::Inconclusive, Reason::NeedsTime)
        );
        assert!(early.findings[0].classification.is_none());
        assert_eq!(score_of(&plan, early), 75.0);
    }
    let last = &all[19];
    assert_eq!(
        (last.outcome, last.reason),
        (Outcome::Fail, Reason::Degraded)
    );
    assert_eq!(score_of(&plan, last), 50.0);
    for (metric, finding) in last.findings.iter().enumerate() {
        let side = |arm: usize| -> Vec<f64> {
            let value = |index: usize| values(index)[metric][arm].expect("one");
            (0..20).map(value).collect()
        };
        let wanted = kayenta::judge_pair(&side(0), &side(1), &Settings::default()).classified;
        let found = finding.classification.as_ref().expect("judged");
        let evidence = wanted.evidence.expect("tested");
        assert_eq!(found.label, wanted.label);
        assert_eq!(finding.estimate, Some(evidence.interval.estimate));
        assert_eq!(
            finding.interval,
            [Some(evidence.interval.low), Some(evidence.interval.high)]
        );
        assert_eq!(found.effect_size, Some(evidence.effect_size));
    }
    let message = &last.findings[1].message;
    assert!(
        message.starts_with("High: b of the canary is +6"),
        "{message}"
    );
    let said = sentence_of(
        &plan,
        plan.kayenta.as_ref().expect("Kayenta's"),
        &last.findings,
        (Outcome::Fail, Reason::Degraded, true),
        "roll back",
        20,
    );
    assert!(
        said.starts_with("fail, roll back: Kayenta's score is 50, below 75: High: b"),
        "{said}"
    );
}

#[test]
fn a_failure_ends_at_the_judgement_that_finds_it_and_a_pass_at_the_last() {
    let text = "{kayenta: {interval: 6s}}";
    let plan = plan_of(text, "  - compare: a\n  - {compare: b, gating: false}\n");
    let all = judged(&plan, same);
    let passes = |judgement: &&Judgement| judgement.outcome == Outcome::Pass;
    assert_eq!(all.iter().filter(passes).count(), 1);
    assert_eq!(all[19].outcome, Outcome::Pass);
    assert_eq!(score_of(&plan, &all[19]), 100.0);
    let needs: Vec<Option<f64>> = all
        .iter()
        .map(|judgement| judgement.findings[0].needs.and_then(|needs| needs.seconds))
        .collect();
    assert_eq!(needs[0], Some(5.0));
    let degraded = |index: usize| {
        let [a, b] = same(index);
        let times = if index >= 6 { 2.0 } else { 1.0 };
        [a, b].map(|[base, canary]| [base, canary.map(|value| times * value)])
    };
    let failed_at = |plan: &Arc<Plan>| -> Vec<usize> {
        let all = judged(plan, degraded);
        let fails = |look: &usize| all[*look].outcome == Outcome::Fail;
        (0..20).filter(fails).collect()
    };
    let near = plan_of(
        "{kayenta: {interval: 6s, lookback: 6s}}",
        "  - compare: a\n",
    );
    assert_eq!(failed_at(&near), [11, 17, 19], "after 12, 18 and 20 ticks");
    let far = failed_at(&plan);
    assert!(
        !far.contains(&11),
        "whoever looks back further sees it later: {far:?}"
    );
}

#[test]
fn scores_between_are_marginal_and_groups_weigh() {
    let checks = "  - {compare: a, kayenta: {groups: [x]}}\n  - {compare: b, worse: higher, kayenta: {groups: [y]}}\n";
    let worse = |index: usize| {
        let [a, [base, canary]] = same(index);
        [a, [base, canary.map(|value| 2.0 * value)]]
    };
    for (weights, score, outcome, reason) in [
        (
            "{x: 80, y: 20}",
            80.0,
            Outcome::Inconclusive,
            Reason::Marginal,
        ),
        ("{x: 95}", 95.0, Outcome::Pass, Reason::WithinTolerance),
        ("{y: 60}", 40.0, Outcome::Fail, Reason::Degraded),
    ] {
        let plan = plan_of(
            &format!("{{kayenta: {{group_weights: {weights}}}}}"),
            checks,
        );
        let last = judged(&plan, worse).pop().expect("a look");
        assert_eq!((last.outcome, last.reason), (outcome, reason), "{weights}");
        assert_eq!(score_of(&plan, &last), score);
    }
    let critical = format!("{checks}    ").replace("[y]", "[y], critical: true");
    let plan = plan_of("{kayenta: {group_weights: {x: 95}}}", critical.trim_end());
    let last = judged(&plan, worse).pop().expect("a look");
    assert_eq!((last.outcome, score_of(&plan, &last)), (Outcome::Fail, 0.0));
}

#[test]
fn what_is_missing_fails_only_where_it_must_be_there() {
    let silent = |index: usize| {
        let [a, [base, _]] = same(index);
        [a, [base, None]]
    };
    let checks = "  - compare: a\n  - compare: b\n";
    let plan_with = |more: &str| plan_of("kayenta", &format!("{checks}{more}"));
    let plan = plan_with("");
    let last = judged(&plan, silent).pop().expect("a look");
    // Half without data is a score of 0, which says nothing of the canary.
    assert_eq!(
        (last.outcome, last.reason),
        (Outcome::Inconclusive, Reason::CanaryMissing)
    );
    assert_eq!(score_of(&plan, &last), 0.0);
    let plan = plan_with("    kayenta: {must_have_data: true}\n");
    let last = judged(&plan, silent).pop().expect("a look");
    assert_eq!(
        (last.outcome, last.reason),
        (Outcome::Fail, Reason::CanaryMissing)
    );
    assert_eq!(score_of(&plan, &last), 50.0);
    let plan = plan_with("    kayenta: {nan_strategy: replace}\n");
    let last = judged(&plan, silent).pop().expect("a look");
    assert_eq!(
        last.findings[1]
            .classification
            .as_ref()
            .map(|found| found.label),
        Some(Label::Low)
    );
    let plan = plan_with("");
    let last = judged(&plan, |_| [[None; 2]; 2]).pop().expect("a look");
    assert_eq!(
        (last.outcome, last.reason),
        (Outcome::Inconclusive, Reason::NoTelemetry)
    );
}

#[test]
fn the_sentence_names_what_brought_the_score_down() {
    let worse = |index: usize| {
        let [a, b] = same(index);
        [a, b].map(|[base, canary]| [base, canary.map(|value| 2.0 * value)])
    };
    let said = |checks: &str, weights: &str, values: &dyn Fn(usize) -> Values| {
        let plan = plan_of(
            &format!("{{kayenta: {{group_weights: {weights}}}}}"),
            checks,
        );
        let last = judged(&plan, values).pop().expect("a look");
        let scoring = plan.kayenta.as_ref().expect("Kayenta's");
        let verdict = (last.outcome, last.reason, true);
        let text = sentence_of(&plan, scoring, &last.findings, verdict, "hold", 20);
        (last.outcome, last.reason, text)
    };
    let critical = "  - compare: a\n  - {compare: b, kayenta: {critical: true}}\n";
    let (outcome, _, text) = said(critical, "{}", &worse);
    assert_eq!(outcome, Outcome::Fail);
    assert!(
        text.contains("is 0, below 75: High (critical): b"),
        "{text}"
    );
    // A weight that no check earns is nobody's fault.
    let both = "  - compare: a\n  - compare: b\n";
    let (outcome, reason, text) = said(both, "{a: 30, b: 30, gone: 40}", &same);
    assert_eq!((outcome, reason), (Outcome::Inconclusive, Reason::Marginal));
    assert!(
        text.contains("is 60, below 75, and no check failed"),
        "{text}"
    );
    // A pass without a metric's data is none.
    let silent = |index: usize| {
        let [a, [base, _]] = same(index);
        [a, [base, None]]
    };
    let three = "  - compare: a\n  - {compare: a, name: again}\n  - compare: b\n";
    let (outcome, reason, text) = said(three, "{}", &silent);
    assert_eq!(
        (outcome, reason),
        (Outcome::Inconclusive, Reason::CanaryMissing)
    );
    assert!(text.contains("is 100, but Nodata: b"), "{text}");
}
