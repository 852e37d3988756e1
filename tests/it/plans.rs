//! Plan files from outside: what is accepted, what is refused and where, and what the hash sees.

use davy::config::plan_file::{self, Parsed, parse_plan, parse_plan_value};
use davy::config::{Severity, plans};
use davy::plan::{Plan, Question, Source, ThresholdForm};
use proptest::prelude::*;

use crate::support::project_root;

mod mistakes;
mod scored;

/// A plan that uses every key. Tests change a line of it.
const FULL: &str = r#"version: davy/v1
plan: full
description: every key
horizon: 1h
tick: 15s
lateness: 30s
min_duration: 5m
stop_on_pass: false
alpha: 0.01
beta: 0.1
on_inconclusive: promote
on_no_data: rollback
change: {require: [id, owner]}
arms:
  baseline: 'app="x", hash="{{baseline}}"'
  canary: 'app="x", hash="{{canary}}"'
step: {min_duration: 2m, min_samples: 10}
metrics:
  latency_ms:
    kind: latency
    value_unit: ms
    select: 'http_ms{code!="500"}'
    cluster: {by: trace_id, lifetime: tick}
  errors:
    kind: ratio
    from: increments
    bad: 'requests{code=~"5.."}'
    total: requests
  restarts:
    kind: rate
    from: increments
    events: restarts
    exposure: pod_seconds
  rps:
    kind: gauge
checks:
  - compare: latency_ms
    worse: either
    tolerance: 5%
    weight: 2
    min_samples: 100
    require_units: 3
  - compare: latency_ms
    at: p99.9
    tolerance: 20ms
  - compare: errors
    tolerance: {relative: 20%, absolute: 0.1pp}
  - name: errors-limit
    threshold: errors
    limit: "< 1%"
  - name: alarm
    threshold: latency_ms
    at: p99
    limit: "< 800ms"
    breach: {periods: 3, of: 5}
    no_data: breaching
  - compare: restarts
  - compare: rps
    worse: lower
    dispersion: iid
    gating: false
"#;

fn parsed(text: &str) -> Parsed {
    parse_plan("plan.yaml", text).unwrap_or_else(|problems| panic!("{problems}"))
}

fn changed(from: &str, to: &str) -> String {
    assert!(FULL.contains(from), "the plan holds no {from:?}");
    FULL.replacen(from, to, 1)
}

#[test]
fn every_shipped_plan_is_valid_and_without_warning() {
    let directory = project_root().join("config/plans");
    let loaded = plans::load_directory(&directory).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(loaded.plans.contains_key("checkout"));
    assert_eq!(loaded.warnings, []);
}

#[test]
fn a_full_plan_says_what_was_written() {
    let Parsed { plan, warnings } = parsed(FULL);
    assert_eq!(warnings, []);
    assert_eq!(
        (plan.horizon, plan.tick, plan.lateness),
        (3_600_000, 15_000, 30_000)
    );
    assert_eq!(plan.looks(), 240);
    assert!(!plan.stop_on_pass);
    let names: Vec<&str> = plan.metrics.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(
        names,
        ["errors", "latency_ms", "restarts", "rps"],
        "sorted by name"
    );
    let checks: Vec<&str> = plan.checks.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(
        checks,
        [
            "latency_ms",
            "latency_ms-p99.9",
            "errors",
            "errors-limit",
            "alarm",
            "restarts",
            "rps"
        ]
    );
    let Question::Compare { tolerance, .. } = &plan.checks[2].question else {
        panic!("compare")
    };
    assert_eq!(
        (tolerance.relative, tolerance.absolute),
        (Some(0.2), Some(0.001))
    );
    let Question::Threshold { limit, form, .. } = &plan.checks[4].question else {
        panic!("threshold")
    };
    assert_eq!(limit.value, 800.0);
    assert_eq!(*form, ThresholdForm::Breach { periods: 3, of: 5 });
    assert!(matches!(
        &plan.metrics[2].source,
        Source::RateCounts {
            exposure: Some(_),
            ..
        }
    ));
}

#[test]
fn a_short_plan_gets_the_documented_defaults() {
    let text = "version: davy/v1\nplan: short\nhorizon: 10m\nmetrics: {m: {kind: latency}, e: \
                {kind: ratio}, g: {kind: gauge}, r: {kind: rate}}\nchecks: [{compare: m}, \
                {compare: m, at: p99}, {compare: e}, {compare: g}, {compare: r}]\n";
    let plan = parsed(text).plan;
    assert_eq!(
        (plan.tick, plan.lateness, plan.min_duration),
        (15_000, 30_000, 150_000)
    );
    assert_eq!(
        (plan.step.min_duration, plan.step.min_samples),
        (60_000, 50)
    );
    assert_eq!(
        (plan.alpha, plan.beta, plan.stop_on_pass),
        (0.05, 0.05, true)
    );
    let tolerances: Vec<_> = plan
        .checks
        .iter()
        .map(|check| match &check.question {
            Question::Compare { tolerance, .. } => (tolerance.relative, tolerance.absolute),
            _ => (None, None),
        })
        .collect();
    let expected = [
        (Some(0.1), None),
        (Some(0.25), None),
        (Some(0.2), Some(0.001)),
        (Some(0.2), None),
        (Some(0.2), None),
    ];
    assert_eq!(tolerances, expected);
    assert_eq!(
        (plan.checks[0].min_samples, plan.checks[0].require_units),
        (50, 1)
    );
}

#[test]
fn sizes_are_limited() {
    let padded = |bytes: usize| {
        let mut text = FULL.to_owned();
        text.push_str(&format!("# {}", "x".repeat(bytes - FULL.len() - 2)));
        text
    };
    assert!(parse_plan("p", &padded(plan_file::PLAN_BYTES_MAX)).is_ok());
    let problems = parse_plan("p", &padded(plan_file::PLAN_BYTES_MAX + 1)).unwrap_err();
    assert!(
        problems.to_string().contains("longer than 262144 bytes"),
        "{problems}"
    );
}

#[test]
fn an_inline_plan_means_the_same_as_a_file() {
    let value = serde_json::json!({
        "version": "davy/v1", "plan": "p", "horizon": "10m", "stop_on_pass": false,
        "metrics": {"m": {"kind": "latency"}},
        "checks": [{"compare": "m", "tolerance": "5%", "weight": 2}],
    });
    let inline = parse_plan_value(&value).unwrap().plan;
    assert_eq!(inline.hash(), parsed(&value.to_string()).plan.hash());
    let yaml = "checks:\n- {compare: m, weight: 2.0, tolerance: 5 %}\nmetrics: {m: {kind: latency, \
                from: values, select: m}}\nplan: p\nhorizon: 600s\nstop_on_pass: false\n\
                version: davy/v1\ntick: 15s\n# said\n";
    let with_select = parse_plan("p", yaml).unwrap();
    assert_eq!(inline.hash(), with_select.plan.hash());
    let said: Vec<&str> = with_select.warnings.iter().map(|w| &*w.message).collect();
    let [tail, arms] = said.as_slice() else {
        panic!("{said:?}");
    };
    assert!(arms.contains("without `arms`") || tail.contains("without `arms`"));
    assert!(arms.contains("a tail that alone") || tail.contains("a tail that alone"));
    let problems = parse_plan_value(&serde_json::json!({"plan": 5, "chekcs": []})).unwrap_err();
    assert!(
        problems
            .items
            .iter()
            .all(|p| p.line == 0 && p.severity == Severity::Error)
    );
    assert!(
        problems.to_string().contains("did you mean `checks`?"),
        "{problems}"
    );
}

#[test]
fn the_hash_sees_every_change_of_meaning() {
    let original = parsed(FULL).plan.hash();
    let changes = [
        ("plan: full", "plan: other"),
        ("description: every key", "description: other"),
        ("horizon: 1h", "horizon: 30m"),
        ("tick: 15s", "tick: 30s"),
        ("lateness: 30s", "lateness: 31s"),
        ("min_duration: 5m", "min_duration: 6m"),
        ("stop_on_pass: false", "stop_on_pass: true"),
        ("alpha: 0.01", "alpha: 0.02"),
        ("beta: 0.1", "beta: 0.2"),
        ("on_inconclusive: promote", "on_inconclusive: hold"),
        ("on_no_data: rollback", "on_no_data: hold"),
        ("[id, owner]", "[id]"),
        ("hash=\"{{canary}}\"", "hash=~\"{{canary}}\""),
        ("{min_duration: 2m", "{min_duration: 3m"),
        ("min_samples: 10}", "min_samples: 11}"),
        ("value_unit: ms", "value_unit: s"),
        ("code!=\"500\"", "code!=\"501\""),
        ("by: trace_id", "by: pod"),
        ("lifetime: tick", "lifetime: run"),
        ("total: requests", "total: all_requests"),
        ("    exposure: pod_seconds\n", ""),
        ("worse: either", "worse: higher"),
        ("tolerance: 5%", "tolerance: 6%"),
        ("weight: 2", "weight: 3"),
        ("min_samples: 100", "min_samples: 101"),
        ("require_units: 3", "require_units: 4"),
        ("at: p99.9", "at: p99.8"),
        ("absolute: 0.1pp", "absolute: 0.2pp"),
        ("name: alarm", "name: other"),
        ("limit: \"< 1%\"", "limit: \"> 1%\""),
        ("limit: \"< 1%\"", "limit: \"< 2%\""),
        ("periods: 3", "periods: 2"),
        ("of: 5", "of: 6"),
        ("no_data: breaching", "no_data: ignore"),
        ("dispersion: iid", "dispersion: envelope"),
        ("gating: false", "gating: true"),
    ];
    let mut seen = vec![original];
    for (from, to) in changes {
        // The unit is part of quantities too.
        let text = changed(from, to);
        let text = if to == "value_unit: s" {
            text.replace("0ms", "0s")
        } else {
            text
        };
        let hash = parsed(&text).plan.hash();
        assert!(
            !seen.contains(&hash),
            "{from} -> {to} left the hash as it was"
        );
        seen.push(hash);
    }
}

#[test]
fn the_hash_does_not_see_spelling() {
    let original = parsed(FULL).plan.hash();
    let spellings = [
        ("horizon: 1h", "horizon: \"60m\"   # an hour"),
        ("alpha: 0.01", "alpha: 1e-2"),
        ("tolerance: 5%", "tolerance: 5.0 %"),
        (
            "app=\"x\", hash=\"{{baseline}}\"",
            "hash = \"{{ baseline }}\", app=`x`,",
        ),
        ("[id, owner]", "[owner, id, owner]"),
        ("limit: \"< 800ms\"", "limit: \"<800.0 ms\""),
        (
            "    kind: gauge\n",
            "    kind: gauge\n    from: values\n    select: 'rps{}'\n",
        ),
        (
            "  - compare: restarts\n",
            "  - {compare: restarts, worse: higher, gating: true}\n",
        ),
    ];
    for (from, to) in spellings {
        assert_eq!(
            parsed(&changed(from, to)).plan.hash(),
            original,
            "{from} -> {to}"
        );
    }
}

#[test]
fn a_plan_survives_its_own_serialisation() {
    let plan = parsed(FULL).plan;
    let text = serde_json::to_string(&plan).unwrap();
    let again: Plan = serde_json::from_str(&text).unwrap();
    assert_eq!(again, plan);
    assert_eq!(again.hash(), plan.hash());
    for (from, to) in [
        ("\"tick\":15000", "\"tick\":0"),
        ("\"tick\":15000", "\"tick\":1"),
        ("\"alpha\":0.01", "\"alpha\":7.0"),
        ("\"metric\":3", "\"metric\":30"),
        ("\"at\":999", "\"at\":1000"),
        ("\"horizon\":3600000", "\"horizon\":-15000"),
        ("\"weight\":2.0", "\"weight\":-2.0"),
        ("\"periods\":3", "\"periods\":0"),
    ] {
        assert!(text.contains(from), "{from} is not in {text}");
        let broken = text.replacen(from, to, 1);
        assert!(
            serde_json::from_str::<Plan>(&broken).is_err(),
            "{to} was accepted"
        );
    }
}

#[test]
fn a_folder_reports_every_file_and_double_names() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("one.yaml", FULL);
    write("two.yml", FULL);
    write("three.yaml", &changed("alpha: 0.01", "alpha: x"));
    write("four.json", "{");
    write(".hidden.yaml", "nonsense");
    write("notes.txt", "nonsense");
    let problems = plans::load_directory(folder.path()).unwrap_err();
    let files: Vec<&str> = problems
        .items
        .iter()
        .filter_map(|p| p.file.rsplit('/').next())
        .collect();
    assert_eq!(files, ["four.json", "three.yaml", "two.yml"], "{problems}");
    assert!(
        problems.items[2]
            .message
            .starts_with("the plan `full` is in "),
        "{problems}"
    );
    assert!(plans::load_directory(&folder.path().join("absent")).is_err());
}

/// Lines of the full plan, mangled.
fn mangled() -> impl Strategy<Value = String> {
    let edit = (
        0..FULL.lines().count(),
        0..4_u8,
        "[ a-z0-9:{}\\[\\]\"'%<>&*!-]{0,12}",
    );
    proptest::collection::vec(edit, 1..6).prop_map(|edits| {
        let mut lines: Vec<String> = FULL.lines().map(str::to_owned).collect();
        for (index, how, text) in edits {
            let line = &mut lines[index];
            match how {
                0 => line.clear(),
                1 => *line = text,
                2 => line.push_str(&text),
                _ => line.insert_str(0, &text),
            }
        }
        lines.join("\n")
    })
}

proptest! {
    #[test]
    fn any_bytes_are_a_plan_or_problems(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let text = String::from_utf8_lossy(&bytes);
        if let Err(problems) = parse_plan("p", &text) {
            prop_assert!(!problems.items.is_empty());
        }
    }

    #[test]
    fn mangled_plans_are_plans_or_problems(text in mangled()) {
        match parse_plan("p", &text) {
            Err(problems) => prop_assert!(!problems.items.is_empty()),
            // What is accepted survives its own serialisation: the checks here and those of a
            // recorded plan agree.
            Ok(parsed) => {
                let text = serde_json::to_string(&parsed.plan).unwrap();
                prop_assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), parsed.plan);
            }
        }
    }
}

#[test]
fn a_rate_without_exposure_is_warned_of_and_the_verdict_says_so() {
    let Parsed { plan, warnings } = parsed(&changed("    exposure: pod_seconds\n", ""));
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].to_string().contains("equal traffic"));
    let assumes = davy::judge::assumptions::of(&plan, &[]);
    let told = |text: &String| text.starts_with("restarts: both arms get equal traffic");
    assert!(assumes.iter().any(told), "{assumes:?}");
}

#[test]
fn a_recorded_plan_is_held_to_what_judging_relies_on() {
    let text = changed(
        "limit: \"< 1%\"",
        "burn_rate: {slo: 99.9%, long: 1h, short: 5m, factor: 14.4}",
    );
    let text = text.replace("horizon: 1h", "horizon: 1h\nextend: 1h\nwatch: {for: 24h}");
    let plan = parsed(&text).plan;
    let recorded = serde_json::to_value(&plan).expect("JSON");
    let read = |value| serde_json::from_value::<Plan>(value).map_err(|error| error.to_string());
    assert_eq!(read(recorded.clone()), Ok(plan));
    let burn_rate = "/checks/3/question/form";
    for (pointer, key, value, expected) in [
        (
            "/checks/6/question/tolerance",
            "relative",
            1.0,
            "a fall of 100 %",
        ),
        (
            burn_rate,
            "short",
            3_600_000.0,
            "the windows of the burn rate",
        ),
        (
            burn_rate,
            "factor",
            2_000.0,
            "the burn rate is out of range",
        ),
        ("", "extend", 1.0, "the extension is out of range"),
        ("/watch", "duration", 7.0, "the watch is out of range"),
    ] {
        let mut changed = recorded.clone();
        let at = changed.pointer_mut(pointer).expect(pointer);
        at[key] = if value == 1.0 && key == "relative" || key == "factor" {
            value.into()
        } else {
            (value as i64).into()
        };
        let error = read(changed).expect_err(expected);
        assert!(error.contains(expected), "{error}");
    }
}
