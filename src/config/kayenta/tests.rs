//! Configurations of our own, imported and read as plans.

use super::*;
use crate::judge::kayenta::score::RunThresholds;
use crate::plan::{Plan, Question, Source, Worse};
use proptest::prelude::*;
use serde_json::json;

fn imported(config: &Value) -> (Plan, Import) {
    let import = import(config.to_string().as_bytes(), &Requested::default()).expect("imported");
    let parsed = plan_file::parse_plan("made", &import.plan);
    let parsed = parsed.unwrap_or_else(|problems| panic!("{problems}\n{}", import.plan));
    (parsed.plan, import)
}

fn prometheus(inline: &str) -> Value {
    json!({"type": "prometheus", "customInlineTemplate": inline})
}

fn metric(name: &str, query: &Value, canary: &Value) -> Value {
    json!({"name": name, "scopeName": "default", "groups": ["g"], "query": query,
           "analysisConfigurations": {"canary": canary}})
}

#[test]
fn directions_effects_and_weights_become_a_plan() {
    let query = prometheus("PromQL:sum(rate(errors{code=~'5..', hash='${scope}'}[1m]))");
    let config = json!({
        "name": "Shop_Front", "description": "it's\n\"the\" shop", "applications": ["shop"],
        "metrics": [
            metric("Errors per s", &query, &json!({"direction": "increase", "critical": true,
                "effectSize": {"allowedIncrease": 1.1}})),
            metric("load", &query, &json!({"direction": "decrease", "nanStrategy": "replace",
                "effectSize": {"allowedDecrease": 0.75}, "outliers": {"strategy": "remove"}})),
            metric("load.", &query, &json!({"muted": true, "mustHaveData": true})),
        ],
        "classifier": {"groupWeights": {"g": 60}, "scoreThresholds": {"pass": 90, "marginal": 50}},
    });
    let (plan, import) = imported(&config);
    assert_eq!(plan.name, "shop_front");
    let names: Vec<&str> = plan.checks.iter().map(|check| &*check.name).collect();
    assert_eq!(names, ["Errors_per_s", "load", "load-2"]);
    let asked = plan.checks.iter().map(|check| match &check.question {
        Question::Compare {
            worse, tolerance, ..
        } => (*worse, tolerance.relative),
        other => panic!("{other:?}"),
    });
    let asked: Vec<_> = asked.collect();
    assert_eq!(asked[0], (Worse::Higher, Some(0.1)));
    assert_eq!(asked[1], (Worse::Lower, Some(0.25)));
    assert_eq!(asked[2].0, Worse::Either);
    let gating: Vec<bool> = plan.checks.iter().map(|check| check.gating).collect();
    assert_eq!(gating, [true, true, false]);
    assert_eq!(plan.checks[0].weight, 20.0);
    assert!(
        plan.metrics
            .iter()
            .all(|metric| matches!(metric.source, Source::Pulled(_)))
    );
    assert!(
        import
            .plan
            .contains("prometheus: 'sum(rate(errors{code=~''5..'', {{arm}} }[1m]))'")
    );
    for told in [
        "critical:",
        "nanStrategy replace:",
        "outliers (factor 3)",
        "muted:",
        "mustHaveData:",
        "scoreThresholds",
        "called \"Errors per s\" there",
        "Applications: shop.",
    ] {
        assert!(
            import.plan.contains(told),
            "{told} is not in\n{}",
            import.plan
        );
    }
    assert!(!import.plan.contains("more than a plan"), "{}", import.plan);
    assert_eq!(import.warnings, Vec::<String>::new());
}

#[test]
fn what_cannot_be_pulled_is_sent() {
    let by_template = json!({"type": "prometheus", "metricName": "heap_bytes",
        "labelBindings": ["area=\"heap\""], "groupByFields": ["pod"], "customFilterTemplate": "by-pod"});
    let config = json!({
        "name": "mixed",
        "templates": {"by-pod": "namespace='${namespace}',pod=~'${scope}-.*'"},
        "metrics": [
            metric("heap", &by_template, &json!({})),
            metric("dog", &json!({"type": "datadog", "metricName": "trace.requests"}), &json!({})),
            metric("other", &prometheus("PromQL:up{job=\"${scope}\"}"), &json!({})),
            metric("gce", &json!({"type": "prometheus", "metricName": "x", "resourceType": "gce_instance"}), &json!({})),
            metric("none", &json!({"type": "prometheus", "metricName": "x", "customFilterTemplate": "lost"}), &json!({})),
        ],
    });
    let (plan, import) = imported(&config);
    let pulled = plan
        .metrics
        .iter()
        .filter(|metric| metric.source.pulled().is_some());
    assert_eq!(
        pulled.map(|metric| &*metric.name).collect::<Vec<_>>(),
        ["heap"]
    );
    for told in [
        "prometheus: 'avg(heap_bytes{area=\"heap\", {{arm}} })'",
        "canary: 'namespace=\"{{namespace}}\", pod=~\"{{canary}}-.*\"'",
        "groupByFields: Kayenta judged",
        "not pulled, it was fetched from datadog",
        "not pulled, its sides are told apart by job=\"${scope}\"",
        "not pulled, its filter is made by Kayenta",
        "not pulled, there is no template \"lost\"",
    ] {
        assert!(
            import.plan.contains(told),
            "{told} is not in\n{}",
            import.plan
        );
    }
}

#[test]
fn effects_without_a_counterpart_take_the_default() {
    let config = json!({"name": "x", "metrics": [
        metric("cles", &Value::Null, &json!({"effectSize": {"measure": "cles", "allowedIncrease": 0.7}})),
        metric("none", &Value::Null, &json!({"direction": "increase"})),
        metric("all", &Value::Null, &json!({"direction": "decrease", "effectSize": {"allowedDecrease": 0}})),
        metric("both", &Value::Null, &json!({"effectSize": {"allowedIncrease": 1.5, "allowedDecrease": 0.7}})),
        metric("huge", &Value::Null, &json!({"direction": "increase", "effectSize": {"allowedIncrease": 1e9}})),
    ]});
    let (plan, import) = imported(&config);
    let relative = plan.checks.iter().map(|check| match &check.question {
        Question::Compare { tolerance, .. } => tolerance.relative.expect("relative"),
        other => panic!("{other:?}"),
    });
    assert_eq!(relative.collect::<Vec<_>>(), [0.2, 0.2, 0.99, 0.3, 99.0]);
    assert!(import.plan.contains("allowed 50.0% up and 30.0% down"));
    assert_eq!(import.plan.matches("more than a plan tolerates").count(), 2);
}

#[test]
fn a_plan_decides_even_where_nothing_counted() {
    let muted = json!({"muted": true});
    let (plan, import) = imported(&json!({"metrics": [
        metric("a", &Value::Null, &muted),
        {"name": "b", "query": null},
    ]}));
    assert!(plan.checks.iter().all(|check| check.gating));
    assert!(import.plan.contains("all do now"));
    assert_eq!(plan.name, "imported");
}

#[test]
fn slips_are_told_and_faults_refused() {
    let slip = json!({"name": "x", "metrics": [metric("a", &Value::Null, &json!({"direcion": "increase"}))]});
    let (_, import) = imported(&slip);
    assert_eq!(import.warnings.len(), 1, "{:?}", import.warnings);
    assert!(import.warnings[0].ends_with("did you mean direction?"));
    assert!(
        import.plan.contains("canary.direcion is no key"),
        "{}",
        import.plan
    );
    let refused = |config: Value| {
        super::import(config.to_string().as_bytes(), &Requested::default()).expect_err("refused")
    };
    assert!(refused(json!({})).contains("has no metrics"));
    let broken = json!({"metrics": [metric("a", &Value::Null, &json!({"critical": "yes"}))]});
    assert!(refused(broken).contains("metric \"a\": analysisConfigurations.canary.critical"));
    let many: Vec<Value> = (0..33)
        .map(|i| metric(&format!("m{i}"), &Value::Null, &json!({})))
        .collect();
    assert!(refused(json!({"metrics": many})).contains("33 metrics"));
    assert!(refused(json!({"metrics": 3})).starts_with("metrics: invalid type"));
    assert!(super::import(b"{", &Requested::default()).is_err());
}

#[test]
fn hostile_names_stay_within_their_quotes() {
    let nasty = "a'b\n# \"c\": {d}\u{0}ä";
    let config = json!({"name": nasty, "description": nasty, "applications": [nasty],
        "judge": {"name": nasty},
        "metrics": [metric(nasty, &json!({"type": nasty}), &json!({})), metric(nasty, &Value::Null, &json!({}))]});
    let (plan, _) = imported(&config);
    assert_eq!(plan.checks.len(), 2);
    let long = "x".repeat(500);
    let (plan, _) = imported(&json!({"name": long, "description": "ä".repeat(4_000),
        "metrics": [metric(&long, &Value::Null, &json!({})), metric(&long, &Value::Null, &json!({}))]}));
    assert_eq!(plan.name.len(), 63);
}

proptest! {
    /// Whatever a query looks like, it is brought over or left: there is always a plan.
    #[test]
    fn no_query_keeps_a_plan_from_being_made(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "${scope}", "${ns}", "${", "{", "}", "{{", "}}", "\"", "'", "`", "a", "b=", "=~", ",", " ",
            "\\", "#", "(", ")", "[1m]", "ä", "{a=\"${scope}\"}", "{a='x', b=~'${scope}-.*'}", "*",
        ]), 0..14),
        whole in any::<bool>(),
    ) {
        let text = format!("{}{}", if whole { "PromQL:" } else { "" }, pieces.concat());
        let query = json!({"type": "prometheus", "metricName": "m", "customInlineTemplate": text});
        let config = json!({"name": text, "metrics": [
            metric(&text, &query, &json!({})),
            metric("other", &prometheus("PromQL:up{a=\"${scope}\"}"), &json!({})),
        ]});
        let made = super::import(config.to_string().as_bytes(), &Requested::default());
        prop_assert!(made.is_ok(), "{:?}\n{}", made, text);
    }
}

#[test]
fn what_failed_a_run_there_is_not_let_pass_here() {
    let query = prometheus("PromQL:sum(rate(errors{hash='${scope}'}[1m]))");
    let one_side = json!({"direction": "either", "effectSize": {"allowedIncrease": 1.5}});
    let mut critical = metric("5xx", &query, &json!({"critical": true}));
    critical["groups"] = json!([]);
    let mut idle = metric("load", &query, &json!({}));
    idle["groups"] = json!([]);
    let config = json!({"name": "shop", "applications": ["shop"],
        "metrics": [critical, idle, metric("rps", &query, &one_side)],
        "classifier": {"groupWeights": {"g": 100}}});
    let (plan, import) = imported(&config);
    let gating: Vec<bool> = plan.checks.iter().map(|check| check.gating).collect();
    assert_eq!(gating, [true, false, true], "{}", import.plan);
    let Question::Compare { tolerance, .. } = &plan.checks[2].question else {
        panic!("{:?}", plan.checks[2]);
    };
    assert_eq!(
        tolerance.relative,
        Some(0.2),
        "a fall was none of what is allowed"
    );
}

#[test]
fn a_query_with_a_comment_is_left_and_blanks_within_strings_are_kept() {
    let commented =
        "PromQL:sum(rate(bad{h='${scope}'}[1m])) # errors\n / sum(rate(all{h='${scope}'}[1m]))";
    let blanks = "PromQL:sum(rate(bad{path=\"a  #b\", h='${scope}'}[1m]))\n  / 2";
    let config = json!({"name": "shop", "applications": ["shop"], "metrics": [
        metric("ratio", &prometheus(commented), &json!({})),
        metric("rate", &prometheus(blanks), &json!({})),
    ]});
    let (plan, import) = imported(&config);
    let is_pulled = |name: &str| {
        let mut metrics = plan.metrics.iter();
        let metric = metrics
            .find(|metric| metric.name == name)
            .expect("it is there");
        matches!(metric.source, Source::Pulled(_))
    };
    assert!(is_pulled("rate") && !is_pulled("ratio"), "{}", import.plan);
    assert!(
        import.plan.contains("a  #b") && import.plan.contains(") / 2"),
        "{}",
        import.plan
    );
    assert!(import.plan.contains("has a comment"), "{}", import.plan);
}

#[test]
fn a_plan_that_keeps_the_judge_asks_it_the_same() {
    let query = prometheus("PromQL:sum(rate(errors{hash='${scope}'}[1m]))");
    let canaries = [
        json!({}),
        json!({"direction": "increase", "critical": true, "nanStrategy": "replace",
            "effectSize": {"allowedIncrease": 1.1, "criticalIncrease": 1.5}}),
        json!({"direction": "decrease", "mustHaveData": true, "muted": true,
            "outliers": {"strategy": "remove", "outlierFactor": 2.5},
            "effectSize": {"measure": "cles", "allowedDecrease": 0.4}}),
    ];
    let metrics: Vec<Value> = canaries
        .iter()
        .enumerate()
        .map(|(nth, canary)| metric(&format!("m{nth}"), &query, canary))
        .collect();
    let config = json!({
        "name": "shop", "applications": ["shop"], "judge": {"name": "NetflixACAJudge-v1.0"},
        "metrics": metrics, "classifier": {"groupWeights": {"g": 60, "it's": 12.5}},
    });
    let requested = Requested {
        horizon: Some(3_600_000),
        tick: Some(60_000),
        interval: Some(610_000),
        lookback: Some(1_200_000),
        judge: Judged::AsWritten,
        thresholds: Some(RunThresholds {
            pass: 88.5,
            marginal: 40.0,
        }),
        ..Requested::default()
    };
    let made = import(config.to_string().as_bytes(), &requested).expect("imported");
    let scoring = made.parsed.kayenta.as_ref().expect("Kayenta's");
    assert_eq!((scoring.pass, scoring.marginal), (88.5, 40.0));
    assert_eq!(
        (scoring.interval, scoring.lookback),
        (660_000, Some(1_200_000))
    );
    assert_eq!(scoring.weights.get("it's"), Some(&12.5));
    for (check, canary) in made.parsed.checks.iter().zip(&canaries) {
        let wanted = Analysis::read(&json!({"canary": canary})).expect("settings");
        let Question::Classify { at: None, settings } = &check.question else {
            panic!("{:?}", check.question);
        };
        let mut settings = *settings;
        if !settings.critical {
            // Nobody asks where a metric that is not critical would be.
            settings.critical_at = wanted.settings.critical_at;
        }
        assert_eq!(settings, wanted.settings);
        assert_eq!(
            (check.gating, &*check.groups),
            (!wanted.muted, &["g".to_owned()][..])
        );
    }
    // Another judge, and no word of one, is davy.
    for judge in [json!({"name": "davy"}), json!(null)] {
        let mut other = config.clone();
        other["judge"] = judge;
        let made = import(other.to_string().as_bytes(), &requested).expect("imported");
        assert_eq!(made.parsed.kayenta, None);
    }
}

#[test]
fn what_a_request_says_is_the_plans() {
    let grouped = "PromQL:sum by (pod) (rate(errors{hash='${scope}'}[1m]))";
    let config =
        json!({"name": "Shop", "metrics": [metric("5xx", &prometheus(grouped), &json!({}))]});
    let requested = Requested {
        plan: Some("0199-golden".to_owned()),
        horizon: Some(1_790_000),
        tick: Some(30_000),
        interval: Some(600_000),
        ..Requested::default()
    };
    let import = super::import(config.to_string().as_bytes(), &requested).expect("imported");
    let plan = &import.parsed;
    assert_eq!(
        (&*plan.name, plan.horizon, plan.tick),
        ("0199-golden", 1_800_000, 30_000)
    );
    for told in [
        "horizon: 30m\ntick: 30s\n",
        "The times of the request",
        "analysisIntervalMins, lookbackMins: davy looks at every tick",
        "by (..): where it leaves several series",
    ] {
        assert!(
            import.plan.contains(told),
            "{told} is not in\n{}",
            import.plan
        );
    }
}
