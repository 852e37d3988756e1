//! Those who compare a number: Flagger's MetricTemplate and Argo's `prometheus` provider.

use serde_json::{Value, json};

use super::{Sender, folder, manifest, raw, start, until};
use crate::daemon::client;

/// The query of the template as Flagger fills it.
fn query(name: &str) -> String {
    let template = manifest("flagger/metric-template.yaml");
    let query = template["spec"]["query"].as_str().expect("a query");
    query
        .replace("{{ namespace }}", "shop")
        .replace("{{ name }}", name)
}

async fn ask(url: &str, query: &str) -> (u16, Value) {
    let address = manifest("flagger/metric-template.yaml")["spec"]["provider"]["address"].clone();
    let address = address.as_str().expect("an address");
    let (_, path) = address.split_once("8088").expect("davy's port");
    let address = format!("{url}{path}/api/v1/query");
    let address = reqwest::Url::parse_with_params(&address, [("query", query)]);
    raw(client().get(address.expect("a URL"))).await
}

/// The value as Flagger reads it: of a vector of one, as text.
fn value(body: &Value) -> f64 {
    assert_eq!(
        (&body["status"], &body["data"]["resultType"]),
        (&json!("success"), &json!("vector"))
    );
    let result = body["data"]["result"].as_array().expect("a list");
    assert_eq!(result.len(), 1, "the last one would win: {body}");
    let point = result[0]["value"].as_array().expect("a pair");
    assert!(point[0].is_f64());
    point[1].as_str().expect("text").parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_is_a_number_once_there_is_an_analysis() {
    let folder = folder("");
    let davy = start(folder.path());
    let (status, body) = ask(&davy.url, "vector(1)").await;
    assert_eq!((status, value(&body)), (200, 1.0));
    // Nobody began one: an error holds a canary back, where an empty answer or a number might not.
    let (status, body) = ask(&davy.url, &query("checkout")).await;
    assert_eq!(
        (status, &body["errorType"]),
        (422, &json!("execution")),
        "{body}"
    );
    for (name, factor, expected) in [("checkout", 1.0, 1.0), ("cart", 3.0, 0.0)] {
        let _sender = Sender::begin(
            &davy.url,
            &format!("{name}-1"),
            &format!("{name}-2"),
            factor,
        );
        let body = json!({"plan": "checkout",
            "arms": {"baseline": format!("{name}-1"), "canary": format!("{name}-2")},
            "change": {"namespace": "shop", "service": name, "revision": "r1"}});
        let (status, body) = davy.post("/v1/analyses", &body).await;
        assert_eq!(status, 201, "{body}");
        assert_eq!(value(&ask(&davy.url, &query(name)).await.1), 0.5);
        until("it is decided", async || {
            value(&ask(&davy.url, &query(name)).await.1) == expected
        })
        .await;
    }
    let (status, body) = ask(&davy.url, "davy_verdict{namespace=\"shop\"}").await;
    assert_eq!(status, 422, "which of them: {body}");
    // As Argo's provider sends it.
    let form = client().post(format!("{}/compat/prometheus/api/v1/query", davy.url));
    let form = form.header("content-type", "application/x-www-form-urlencoded");
    let text = "query=davy_verdict%7Bname%3D%22cart%22%7D&time=1764000000";
    assert_eq!(value(&raw(form.body(text)).await.1), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_queries_are_refused_as_prometheus_refuses_them() {
    let folder = folder("");
    let davy = start(folder.path());
    for query in [
        "",
        "up",
        "davy_verdict{",
        "sum(davy_verdict)",
        "davy_verdict{name=~\"(\"}",
    ] {
        let (status, body) = ask(&davy.url, query).await;
        assert!(matches!(status, 400 | 422), "{query}: {status} {body}");
        assert_eq!(body["status"], "error", "{query}");
        assert!(body["error"].as_str().is_some_and(|text| !text.is_empty()));
    }
}
