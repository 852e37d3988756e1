//! Whole documents: the form of the answer, and what ends a run.

use super::*;
use serde_json::{Value, json};

fn request(metrics: Value, pairs: Value) -> JudgeRequest {
    serde_json::from_value(json!({
        "canaryConfig": {
            "name": "shop", "applications": ["shop"], "metrics": metrics, "colour": "none",
            "classifier": {"groupWeights": {"Errors": 60}},
        },
        "scoreThresholds": {"pass": 95, "marginal": 50},
        "metricSetPairList": pairs,
    }))
    .expect("a request")
}

fn judged(request: &JudgeRequest) -> Result<Value, Unjudgeable> {
    let pairs = &request.metric_set_pair_list;
    let result = judge(&request.canary_config, request.score_thresholds, pairs)?;
    Ok(serde_json::to_value(result).expect("JSON"))
}

fn two_metrics() -> JudgeRequest {
    request(
        json!([
            {"name": "errors", "groups": ["Errors"], "scopeName": "default", "query": {"type": "prometheus"}},
            {"name": "latency", "groups": ["Latency"],
             "analysisConfigurations": {"canary": {"direction": "increase", "nanStrategy": "remove"}}},
        ]),
        json!([
            {"name": "latency", "id": "p-1", "tags": {"pod": "a"},
             "values": {"control": [10, 11.5, 12, "NaN", 10.5], "experiment": [30, 31.5, 32, 33]}},
            {"name": "errors", "values": {"control": [1, 2], "experiment": [2, 1]}},
        ]),
    )
}

#[test]
fn the_result_has_kayentas_form() {
    let found = judged(&two_metrics()).expect("judged");
    assert_eq!(found["judgeName"], "NetflixACAJudge-v1.0");
    let latency = &found["results"][0];
    assert_eq!(latency["name"], "latency");
    assert_eq!(
        (&latency["id"], &latency["tags"]["pod"]),
        (&json!("p-1"), &json!("a"))
    );
    assert_eq!(latency["classification"], "High");
    assert_eq!(
        latency["classificationReason"],
        "latency was classified as High"
    );
    assert_eq!(latency["groups"], json!(["Latency"]));
    assert_eq!(latency["critical"], false);
    let stats = &latency["controlMetadata"]["stats"];
    assert_eq!((&stats["count"], &stats["mean"]), (&json!(4), &json!(11.0)));
    assert_eq!(latency["experimentMetadata"]["stats"]["min"], 30.0);
    let ratio = latency["resultMetadata"]["ratio"]
        .as_f64()
        .expect("a number");
    assert!((ratio - 31.625 / 11.0).abs() < 1e-12);
    let errors = &found["results"][1];
    assert_eq!(errors["classification"], "Pass");
    assert!(errors.get("id").is_none() && errors.get("tags").is_none());
    let group =
        json!({"name": "Latency", "score": 0.0, "classification": "", "classificationReason": ""});
    assert_eq!(found["groupScores"][0], group);
    let score = json!({"score": 60.0, "classification": "Marginal", "classificationReason": ""});
    assert_eq!(found["score"], score);
}

#[test]
fn a_pair_of_an_unknown_metric_ends_the_run() {
    let mut request = two_metrics();
    request.metric_set_pair_list[0].name = "latencies".to_owned();
    let error = judged(&request).expect_err("refused").to_string();
    assert!(
        error.starts_with("pair 0: no metric") && error.ends_with("did you mean \"latency\"?"),
        "{error}"
    );
}

#[test]
fn a_setting_of_the_wrong_type_ends_the_run_where_it_is_used() {
    let wrong = json!([
        {"name": "errors"},
        {"name": "unused", "analysisConfigurations": {"canary": {"critical": "yes"}}},
    ]);
    let pair = |name: &str| json!([{"name": name, "values": {"control": [1], "experiment": [2]}}]);
    assert!(judged(&request(wrong.clone(), pair("errors"))).is_ok());
    let error = judged(&request(wrong, pair("unused")))
        .expect_err("refused")
        .to_string();
    assert!(
        error.starts_with("metric \"unused\": analysisConfigurations.canary.critical is"),
        "{error}"
    );
}

#[test]
fn an_error_has_no_ratio_and_an_unnumbered_ratio_is_a_word() {
    let metrics = json!([{"name": "m", "groups": ["g"]}]);
    let values = |control: Value, experiment: Value| {
        let pair = json!({"name": "m", "values": {"control": control, "experiment": experiment}});
        judged(&request(metrics.clone(), json!([pair]))).expect("judged")
    };
    let error = values(json!([4]), json!([5]));
    assert_eq!(error["results"][0]["classification"], "Error");
    assert!(error["results"][0].get("resultMetadata").is_none());
    // The weight of `Errors`, of which there is no result, is lost.
    assert_eq!(error["score"]["score"], 40.0);
    let zero = values(json!([0, 0, 0, 0, 0]), json!([5, 6, 7, 8, 9]));
    assert_eq!(zero["results"][0]["resultMetadata"]["ratio"], "NaN");
}

#[test]
fn a_critical_failure_tells_the_run() {
    let critical = json!({"canary": {"critical": true, "nanStrategy": "remove"}});
    let metrics = json!([{"name": "m", "groups": ["g"], "analysisConfigurations": critical}]);
    let pair = json!([{"name": "m", "values": {"control": [1, 2], "experiment": []}}]);
    let found = judged(&request(metrics, pair)).expect("judged");
    let reason = "Canary Failed: Missing data for m";
    let score = json!({"score": 0.0, "classification": "Fail", "classificationReason": reason});
    assert_eq!(found["score"], score);
    let stats = json!({"count": 0, "min": 0.0, "max": 0.0, "mean": 0.0, "std": 0.0});
    assert_eq!(found["results"][0]["experimentMetadata"]["stats"], stats);
}

#[test]
fn pairs_are_written_as_they_are_read() {
    let text = r#"[{"name":"m","id":"1","tags":{},"values":{"control":[1.5,"NaN"],"experiment":["Infinity"]}}]"#;
    let pairs = pairs::read_pairs(text.as_bytes()).expect("pairs");
    assert_eq!(serde_json::to_string(&pairs).expect("JSON"), text);
    let wrong =
        pairs::read_pairs(br#"[{"name":"m","values":{"control":[1,null],"experiment":[]}}]"#);
    let error = wrong.expect_err("refused");
    assert!(
        error.starts_with("[0].values.control[1]: invalid type: null, expected a number"),
        "{error}"
    );
}

#[test]
fn rows_are_judged_or_refused_by_their_index() {
    let rows = rows::read_rows(
        br#"[{"baseline":[1,2,3,4,5],"canary":[11,12,13,14,"NaN"]},
             {"params":{"direction":"decrease","critical":true},"baseline":[1],"canary":[]}]"#,
    )
    .expect("rows");
    let answer = serde_json::to_value(rows[0].judge()).expect("JSON");
    assert_eq!(answer["classification"], "High");
    assert_eq!(
        (&answer["n_canary_used"], &answer["effectSize"]),
        (&json!(4), &answer["deviation"])
    );
    let answer = serde_json::to_value(rows[1].judge()).expect("JSON");
    assert_eq!(
        (&answer["classification"], &answer["critical"]),
        (&json!("Nodata"), &json!(true))
    );
    assert!(answer["ci_low"].is_null());
    let refused = |row: &str| {
        let text = format!(r#"[{{"baseline":[1],"canary":[2]}},{row}]"#);
        rows::read_rows(text.as_bytes()).expect_err("refused")
    };
    for (row, told) in [
        (r#"{"baseline":[1]}"#, "row 1: missing field `canary`"),
        (
            r#"{"baseline":[1],"canary":["x"]}"#,
            "row 1: canary[0]: invalid value",
        ),
        (
            r#"{"params":{"direction":"up"},"baseline":[],"canary":[]}"#,
            "row 1: params",
        ),
        (
            r#"{"params":{"confLevel":98},"baseline":[],"canary":[]}"#,
            "row 1: params.confLevel lies",
        ),
        (
            r#"{"params":{"outliers":{"strategy":"remove","outlierFactor":0}},"baseline":[],"canary":[]}"#,
            "row 1: params.outliers.outlierFactor is above 0",
        ),
    ] {
        let error = refused(row);
        assert!(error.starts_with(told), "{error}");
    }
    assert!(
        rows::read_rows(b"{}")
            .expect_err("refused")
            .contains("write an array of rows")
    );
}

#[test]
fn a_small_document_cannot_ask_for_a_large_answer() {
    let groups: Vec<String> = (0..5_000).map(|number| format!("g{number}")).collect();
    let pair = json!({"name": "errors", "values": {"control": [], "experiment": []}});
    let of = |pairs: usize| {
        request(
            json!([{"name": "errors", "groups": groups, "query": {"type": "prometheus"}}]),
            Value::Array(vec![pair.clone(); pairs]),
        )
    };
    let judged_groups = judged(&of(10)).expect("judged")["groupScores"].clone();
    assert_eq!(judged_groups.as_array().map(Vec::len), Some(5_000));
    assert_eq!(
        judged_groups[4_999]["name"], "g4999",
        "in the order they are named"
    );
    assert_eq!(judged(&of(1_000)), Err(Unjudgeable::TooManyGroups));
    // Names too long to look for a like one.
    let long = "x".repeat(1 << 20);
    let request = request(
        json!([{"name": long, "groups": [], "query": {"type": "prometheus"}}]),
        json!([{"name": long.clone() + "y", "values": {"control": [], "experiment": []}}]),
    );
    let refused = judged(&request).expect_err("unknown").to_string();
    assert!(refused.len() < 300, "{}", refused.len());
}

#[test]
fn weights_that_add_up_to_no_number_fail_the_run() {
    let metric = |name: &str| json!({"name": name, "groups": [name], "query": {}});
    let pair =
        |name: &str| json!({"name": name, "values": {"control": [1, 2], "experiment": [2, 1]}});
    let mut request = request(
        json!([metric("errors"), metric("latency")]),
        json!([pair("errors"), pair("latency")]),
    );
    request.canary_config = serde_json::from_value(json!({
        "name": "shop", "applications": ["shop"],
        "metrics": [metric("errors"), metric("latency")],
        "classifier": {"groupWeights": {"errors": 1e308, "latency": 1e308}},
    }))
    .expect("a configuration");
    let score = judged(&request).expect("judged")["score"].clone();
    assert_eq!(
        (&score["score"], &score["classification"]),
        (&json!(0.0), &json!("Fail"))
    );
}
