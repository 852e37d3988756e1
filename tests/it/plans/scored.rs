//! `judge: kayenta` as it is written, and what the writer of a wrong one is told.

use std::collections::BTreeMap;

use davy::config::plan_file::parse_plan;
use davy::plan::kayenta::{
    Direction, Measure, NanStrategy, Outliers, Scoring, Settings, Thresholds,
};
use davy::plan::{Plan, Question};

const PLAN: &str = "version: davy/v1
plan: scored
horizon: 1h
tick: 1m
judge: {kayenta: {pass: 90, marginal: 60, interval: 10m, lookback: 30m, group_weights: {fast: 70}}}
metrics: {took: {kind: latency}, errors: {kind: ratio}}
checks:
  - {compare: errors}
  - compare: took
    at: p99
    worse: higher
    kayenta:
      groups: [fast, all]
      critical: true
      must_have_data: true
      nan_strategy: replace
      outlier_factor: 2.5
      effect_size: {measure: cles, allowed_increase: 0.7, critical_increase: 0.9}
";

fn parsed(text: &str) -> Plan {
    parse_plan("plan.yaml", text).expect("a plan").plan
}

/// `line path: message` of every problem.
fn told(text: &str) -> Vec<String> {
    let problems = match parse_plan("plan.yaml", text) {
        Ok(parsed) => parsed.warnings,
        Err(problems) => problems.items,
    };
    let told = |p: &davy::config::Problem| format!("{} {}: {}", p.line, p.path, p.message);
    problems.iter().map(told).collect()
}

#[test]
fn everything_that_is_written_is_meant() {
    let plan = parsed(PLAN);
    let scoring = Scoring {
        pass: 90.0,
        marginal: 60.0,
        interval: 600_000,
        lookback: Some(1_800_000),
        weights: BTreeMap::from([("fast".to_owned(), 70.0)]),
    };
    assert_eq!(plan.kayenta, Some(scoring));
    let silent = Question::Classify {
        at: None,
        settings: Settings::default(),
    };
    assert_eq!(plan.checks[0].question, silent);
    assert_eq!(plan.checks[0].groups, ["errors"]);
    let Question::Classify { at, settings } = &plan.checks[1].question else {
        panic!("{:?}", plan.checks[1].question);
    };
    assert_eq!(at.map(|at| at.to_string()).as_deref(), Some("p99"));
    let written = Settings {
        direction: Direction::Increase,
        nan_strategy: NanStrategy::Replace,
        outliers: Some(Outliers {
            factor: 2.5,
            reduce_sensitivity: true,
        }),
        critical: true,
        must_have_data: true,
        measure: Measure::Cles,
        allowed: Thresholds {
            increase: 0.7,
            decrease: 0.5,
        },
        critical_at: Thresholds {
            increase: 0.9,
            decrease: 0.5,
        },
        ..Settings::default()
    };
    assert_eq!(*settings, written);
    assert_eq!(plan.checks[1].groups, ["fast", "all"]);
    // A word alone is every default; davy is who judges otherwise.
    let judge = &PLAN[PLAN.find("judge:").expect("there")..PLAN.find("metrics:").expect("there")];
    let bare = parsed(&PLAN.replace(judge, "judge: kayenta\n"));
    assert_eq!(bare.kayenta, Some(Scoring::once(3_600_000)));
    let own = "version: davy/v1\nplan: p\nhorizon: 1h\nmetrics: {a: {kind: ratio}}\nchecks: [{compare: a}]\n";
    assert_eq!(
        parsed(own).hash(),
        parsed(&format!("{own}judge: davy\n")).hash()
    );
    assert_ne!(
        parsed(own).hash(),
        parsed(&format!("{own}judge: kayenta\n")).hash()
    );
    // A recording holds the plan as JSON.
    let json = serde_json::to_string(&plan).expect("JSON");
    assert_eq!(serde_json::from_str::<Plan>(&json).expect("the same"), plan);
}

#[test]
fn what_it_has_no_word_for_is_refused_with_its_place() {
    for (from, to, expected) in [
        (
            "tick: 1m",
            "tick: 1m\nalpha: 0.01",
            "5 alpha: `alpha` means nothing to Kayenta's judge",
        ),
        (
            "tick: 1m",
            "tick: 1m\nextend: 1h",
            "5 extend: `extend` means nothing to Kayenta's judge",
        ),
        (
            "judge: {kayenta:",
            "judge: {kayneta:",
            "5 judge.kayneta: unknown key `kayneta`",
        ),
        (
            "interval: 10m",
            "interval: 90s",
            "5 judge.kayenta.interval: this is not a whole number of ticks of 1m",
        ),
        (
            "interval: 10m",
            "interval: 2h",
            "5 judge.kayenta.interval: there would be no judgement before the horizon",
        ),
        (
            "marginal: 60",
            "marginal: 95",
            "5 judge.kayenta: marginal (95) lies above pass (90)",
        ),
        (
            "{compare: errors}",
            "{threshold: errors, limit: '< 1%'}",
            "8 checks[0].threshold: `threshold` means nothing to Kayenta's judge",
        ),
        (
            "{compare: errors}",
            "{compare: errors, tolerance: 5%}",
            "8 checks[0].tolerance: `tolerance` means nothing to Kayenta's judge",
        ),
        (
            "    at: p99\n",
            "",
            "9 checks[1].compare: Kayenta's judge takes a tick for one value, and a distribution has many",
        ),
        (
            "critical: true",
            "critical: maybe",
            "14 checks[1].kayenta.critical: ",
        ),
        (
            "groups: [fast, all]",
            "groups: ['']",
            "13 checks[1].kayenta.groups[0]: a group has a name of 1 to 63 characters",
        ),
        (
            "outlier_factor: 2.5",
            "outlier_factor: 0",
            "17 checks[1].kayenta.outlier_factor: ",
        ),
        (
            "      critical: true\n",
            "",
            "17 checks[1].kayenta.effect_size.critical_increase: it counts for a critical metric only",
        ),
    ] {
        let text = PLAN.replacen(from, to, 1);
        assert_ne!(text, PLAN, "{from}");
        let told = told(&text);
        assert!(
            told.iter().any(|line| line.starts_with(expected)),
            "{to}: {told:#?}"
        );
    }
    let own = PLAN.replacen("judge:", "# judge:", 1);
    let line = "9 checks[1].kayenta: these settings are Kayenta's, and davy judges";
    let told = told(&own);
    assert!(
        told.iter().any(|told| told.ends_with(&line[2..])),
        "{told:#?}"
    );
}

#[test]
fn what_no_canary_could_pass_is_doubted() {
    assert_eq!(told(PLAN), Vec::<String>::new());
    for (from, to, expected) in [
        (
            "interval: 10m",
            "interval: 2m",
            "5 judge.kayenta.interval: a judgement of 2 values a side is often wrong",
        ),
        (
            "{fast: 70}",
            "{fast: 70, fsat: 10}",
            "5 judge.kayenta.group_weights: no gating check is in the group `fsat`, so its weight is lost",
        ),
        (
            "{fast: 70}",
            "{fast: 70, all: 20, errors: 5}",
            "5 judge.kayenta.group_weights: the weights of the groups add up to 95 and not to 100",
        ),
        (
            "{fast: 70}",
            "{fast: 170}",
            "5 judge.kayenta.group_weights: the weights of the groups add up to 170 and not to 100",
        ),
        (
            "{compare: errors}",
            "{compare: errors, kayenta: {groups: []}}",
            "7 checks: `errors` is in no group, so its label changes no score",
        ),
    ] {
        let text = PLAN.replacen(from, to, 1);
        assert_eq!(told(&text), [expected], "{to}");
    }
}
