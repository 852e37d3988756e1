//! `davy judge` as a person or a script runs it, on data of our own.

use serde_json::{Value, json};

use super::{Files, lines};

/// 24 points around a level, without chance.
fn around(level: f64) -> Vec<f64> {
    (0..24)
        .map(|i| level * (1.0 + f64::from(i * 7 % 24 - 12) / 400.0))
        .collect()
}

fn config() -> Value {
    let canary = json!({"canary": {"direction": "increase", "critical": true,
        "effectSize": {"allowedIncrease": 1.1, "criticalIncrease": 1.5}}});
    json!({
        "name": "shop", "applications": ["shop"],
        "judge": {"name": "NetflixACAJudge-v1.0", "judgeConfigurations": {}},
        "metrics": [
            {"name": "latency", "groups": ["Latency"], "scopeName": "default",
             "query": {"type": "prometheus", "metricName": "latency"},
             "analysisConfigurations": canary},
            {"name": "load", "groups": ["Load"], "analysisConfigurations": {"canary": {}}},
        ],
        "classifier": {"groupWeights": {"Latency": 70, "Load": 30},
                       "scoreThresholds": {"pass": 1, "marginal": 1}},
    })
}

fn pairs(latency: f64) -> Value {
    json!([
        {"name": "latency", "id": "1", "tags": {},
         "values": {"control": around(100.0), "experiment": around(latency)}},
        {"name": "load", "id": "2", "tags": {},
         "values": {"control": around(5.0), "experiment": around(5.0)}},
    ])
}

#[test]
fn rows_are_answered_a_line_each_from_a_file_or_standard_input() {
    let rows = json!([
        {"baseline": around(100.0), "canary": around(130.0)},
        {"params": {"direction": "decrease"}, "baseline": around(100.0), "canary": around(130.0)},
        {"baseline": [0, 0, 0, 0], "canary": [3, "NaN", 4, 5, 6]},
        {"baseline": [4], "canary": [5]},
    ])
    .to_string();
    let files = Files::new(&[("rows.json", &rows)]);
    let answers = lines(&files.davy(&["judge", "--kayenta", "rows.json"]));
    let labels: Vec<&Value> = answers
        .iter()
        .map(|answer| &answer["classification"])
        .collect();
    assert_eq!(labels, ["High", "Pass", "High", "Error"]);
    let mut keys: Vec<&String> = answers[0].as_object().expect("an object").keys().collect();
    keys.sort();
    let expected = [
        "ci_high",
        "ci_low",
        "classification",
        "critical",
        "deviation",
        "effectSize",
        "estimate",
        "n_baseline_used",
        "n_canary_used",
    ];
    assert_eq!(keys, expected);
    let (low, high) = (
        answers[0]["ci_low"].as_f64(),
        answers[0]["ci_high"].as_f64(),
    );
    assert!(low > Some(27.0) && high < Some(33.0), "{}", answers[0]);
    assert_eq!(answers[2]["deviation"], "NaN");
    assert!(answers[3]["deviation"].is_null() && answers[3]["ci_low"].is_null());
    let piped = files.davy_reading(&["judge", "--kayenta", "-"], &rows);
    assert_eq!(lines(&piped), answers);
}

#[test]
fn the_documented_row_is_answered_as_documented() {
    let path = crate::support::project_root().join("docs/kayenta.md");
    let page = std::fs::read_to_string(path).expect("the page");
    let behind = |command: &str| {
        let after = page.split(command).nth(1).expect("the command");
        after
            .trim_start()
            .lines()
            .next()
            .expect("a line")
            .to_owned()
    };
    let files = Files::new(&[("rows.json", &behind("$ cat rows.json"))]);
    let command = "davy judge --kayenta rows.json";
    let output = files.davy(&["judge", "--kayenta", "rows.json"]);
    let printed = String::from_utf8(output.stdout).expect("text");
    assert_eq!(printed.trim_end(), behind(&format!("$ {command}")));
}

#[test]
fn a_bad_row_is_named_and_nothing_is_printed() {
    let refused = |rows: &str| {
        let files = Files::new(&[("rows.json", rows)]);
        let output = files.davy(&["judge", "--kayenta", "rows.json"]);
        assert_eq!(output.status.code(), Some(3));
        assert!(output.stdout.is_empty());
        String::from_utf8(output.stderr).expect("text")
    };
    let told = refused(r#"[{"baseline": [1], "canary": [2]}, {"baseline": [1], "canary": "2"}]"#);
    assert!(
        told.contains("rows.json: row 1: canary: invalid type"),
        "{told}"
    );
    let told = refused(r#"[{"params": {"nanStrategy": "drop"}, "baseline": [], "canary": []}]"#);
    assert!(
        told.contains("row 0: params") && told.contains("`remove` or `replace`"),
        "{told}"
    );
    let told = refused("{\"rows\": []}");
    assert!(told.contains("write an array of rows"), "{told}");
    let output = Files::new(&[]).davy(&["judge", "--kayenta", "absent.json"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot read absent.json"));
}

#[test]
fn an_unknown_parameter_is_told_and_not_used() {
    let rows = r#"[{"params": {"alowedIncrease": 9}, "baseline": [1, 2], "canary": [8, 9]}]"#;
    let output = Files::new(&[("r", rows)]).davy(&["judge", "--kayenta", "r"]);
    assert!(output.status.success());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        told.contains("row 0: unknown under params, and not used: alowedIncrease"),
        "{told}"
    );
}

#[test]
fn a_whole_document_comes_to_a_score() {
    let judged = |latency: f64, more: &[&str]| {
        let (config, pairs) = (config().to_string(), pairs(latency).to_string());
        let files = Files::new(&[("config.json", &config), ("pairs.json", &pairs)]);
        let arguments = [
            "judge",
            "--kayenta-config",
            "config.json",
            "--pairs",
            "pairs.json",
        ];
        lines(&files.davy(&[&arguments, more].concat())).remove(0)
    };
    let score = |result: &Value| {
        (
            result["score"]["score"].as_f64(),
            result["score"]["classification"].clone(),
        )
    };
    assert_eq!(score(&judged(100.0, &[])), (Some(100.0), json!("Pass")));
    // Above what is allowed, below what is critical: the group is lost.
    let high = judged(125.0, &[]);
    assert_eq!(score(&high), (Some(30.0), json!("Fail")));
    assert_eq!(
        score(&judged(125.0, &["--marginal", "30"])),
        (Some(30.0), json!("Marginal"))
    );
    let thresholds = ["--pass", "30", "--marginal", "30"];
    assert_eq!(score(&judged(125.0, &thresholds)).1, "Pass");
    // Critical: everything is.
    let critical = judged(160.0, &[]);
    assert_eq!(score(&critical), (Some(0.0), json!("Fail")));
    let reason = "Canary Failed: The metric latency was classified as High (Critical)";
    assert_eq!(critical["score"]["classificationReason"], reason);
    assert_eq!(critical["results"][0]["critical"], true);
    let groups: Vec<_> = critical["groupScores"]
        .as_array()
        .expect("groups")
        .iter()
        .collect();
    assert_eq!((groups.len(), &groups[1]["score"]), (2, &json!(100.0)));
}

#[test]
fn a_document_that_cannot_be_judged_says_where() {
    let mut broken = config();
    broken["metrics"][0]["analysisConfigurations"]["canary"]["critical"] = json!("true");
    let cases = [
        (
            broken.to_string(),
            pairs(1.0).to_string(),
            "metric \"latency\": analysisConfigurations.canary.critical",
        ),
        (
            config().to_string(),
            r#"[{"name": "latencyy", "values": {"control": [], "experiment": []}}]"#.to_owned(),
            "did you mean \"latency\"?",
        ),
        (
            config().to_string(),
            r#"[{"name": "latency", "values": {"control": []}}]"#.to_owned(),
            "pairs.json: [0].values: missing field `experiment`",
        ),
        ("{".to_owned(), "[]".to_owned(), "config.json: "),
    ];
    for (config, pairs, told) in cases {
        let files = Files::new(&[("config.json", &config), ("pairs.json", &pairs)]);
        let output = files.davy(&[
            "judge",
            "--kayenta-config",
            "config.json",
            "--pairs",
            "pairs.json",
        ]);
        assert_eq!(output.status.code(), Some(3), "{told}");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains(told) && output.stdout.is_empty(), "{error}");
    }
}

#[test]
fn a_wrong_command_line_is_told_apart() {
    let files = Files::new(&[("r", "[]")]);
    for wrong in [
        &["judge"][..],
        &["judge", "--kayenta", "r", "--pairs", "r"],
        &["judge", "--kayenta-config", "r"],
        &["judge", "--kayenta", "r", "--pass", "90"],
    ] {
        assert_eq!(files.davy(wrong).status.code(), Some(64), "{wrong:?}");
    }
    let none = files.davy(&["judge", "--kayenta", "r"]);
    assert!(none.status.success() && none.stdout.is_empty());
    assert!(files.path("r").exists());
}
