//! `davy import kayenta`: what it writes passes `davy check`, whatever it was made of.

use serde_json::{Value, json};

use super::Files;

fn metric(name: &str, query: &Value, canary: &Value) -> Value {
    json!({"name": name, "scopeName": "default", "groups": [name], "query": query,
           "analysisConfigurations": {"canary": canary}})
}

fn config(name: &str, metrics: &Value) -> Value {
    json!({"name": name, "applications": ["shop"], "metrics": metrics,
           "templates": {"by-pod": "ns='${namespace}', hash='${scope}'"},
           "classifier": {"groupWeights": {"errors": 50, "absent": 20},
                          "scoreThresholds": {"pass": 95, "marginal": 75}}})
}

fn configurations() -> Vec<Value> {
    let inline = |text: &str| json!({"type": "prometheus", "customInlineTemplate": text});
    let filtered = json!({"type": "prometheus", "metricName": "heap_bytes",
        "groupByFields": ["pod"], "customFilterTemplate": "by-pod"});
    let share = "PromQL:sum(rate(r{code=~\"5..\",hash=\"${scope}\"}[1m]))\n / sum(rate(r{hash=\"${scope}\"}[1m]))";
    vec![
        config(
            "errors",
            &json!([
                metric(
                    "errors",
                    &inline(share),
                    &json!({"direction": "increase", "critical": true,
                "nanStrategy": "replace", "effectSize": {"allowedIncrease": 1.1, "criticalIncrease": 1.5}})
                ),
                metric(
                    "5xx / s",
                    &inline("PromQL:rate(r{hash=\"${scope}\"}[1m])"),
                    &json!({})
                ),
            ]),
        ),
        config(
            "templates",
            &json!([
                metric(
                    "heap",
                    &filtered,
                    &json!({"direction": "decrease", "mustHaveData": true,
                "effectSize": {"allowedDecrease": 0.9}, "outliers": {"strategy": "remove", "outlierFactor": 2.0}})
                ),
                metric("muted", &filtered, &json!({"muted": true})),
            ]),
        ),
        config(
            "elsewhere",
            &json!([metric(
                "dogs",
                &json!({"type": "datadog", "metricName": "m"}),
                &json!({"effectSize": {"measure": "cles", "allowedIncrease": 0.7}})
            ),]),
        ),
        json!({"metrics": [{"name": "bare"}, {"name": "bare"}]}),
    ]
}

#[test]
fn what_is_imported_passes_the_check() {
    let judges = ["davy", "kayenta"];
    let cases = configurations()
        .into_iter()
        .flat_map(|one| judges.map(|judge| (one.clone(), judge)));
    for (configuration, judge) in cases {
        let files = Files::new(&[("canary.json", &configuration.to_string())]);
        let output = files.davy(&["import", "kayenta", "canary.json", "--judge", judge]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        // What Kayenta never said of its weights.
        let is_of_score =
            |line: &str| line.contains("group_weights") || line.contains("in no group");
        let is_known = judge == "kayenta" && told.lines().all(is_of_score);
        assert!(
            output.status.success() && (told.is_empty() || is_known),
            "{told}"
        );
        let made = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(made.contains("\njudge:\n  kayenta:\n"), judge == "kayenta");
        std::fs::write(files.path("plan.yaml"), &output.stdout).expect("written");
        let checked = files.davy(&["check", "plan.yaml"]);
        let report = String::from_utf8_lossy(&checked.stdout);
        let plan = String::from_utf8_lossy(&output.stdout);
        assert!(checked.status.success(), "{report}\n{plan}");
        assert!(report.contains("plan.yaml: ok"), "{report}\n{plan}");
    }
}

#[test]
fn a_slip_is_told_twice_and_a_fault_ends_it() {
    let slip =
        json!({"name": "x", "lookBackMins": 5, "metrics": [metric("m", &Value::Null, &json!({}))]});
    let files = Files::new(&[]);
    let output = files.davy_reading(&["import", "kayenta", "-"], &slip.to_string());
    assert!(output.status.success());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        told.contains("davy: warning: lookBackMins is no key of Kayenta's"),
        "{told}"
    );
    let plan = String::from_utf8_lossy(&output.stdout);
    assert!(
        plan.contains("# lookBackMins is no key of Kayenta's"),
        "{plan}"
    );
    let fault = json!({"metrics": [metric("m", &Value::Null, &json!({"muted": "yes"}))]});
    let output = files.davy_reading(&["import", "kayenta", "-"], &fault.to_string());
    assert_eq!(output.status.code(), Some(3));
    assert!(output.stdout.is_empty());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        told.contains("metric \"m\": analysisConfigurations.canary.muted"),
        "{told}"
    );
}
