//! The OpenAPI document: checked in, served, and true.

use serde_json::Value;

use crate::daemon::TestDaemon;
use crate::support::project_root;

/// With `DAVY_UPDATE=1` the file is written instead of compared.
#[test]
fn the_checked_in_document_is_the_one_that_is_served() {
    let path = project_root().join("docs/openapi.json");
    let mut made = serde_json::to_string_pretty(&davy::http::openapi::document()).expect("JSON");
    made.push('\n');
    if std::env::var_os("DAVY_UPDATE").is_some() {
        std::fs::write(&path, &made).expect("written");
    }
    let kept = std::fs::read_to_string(&path).expect("docs/openapi.json is there");
    assert!(
        kept == made,
        "docs/openapi.json is out of date; run this test with DAVY_UPDATE=1"
    );
}

#[test]
fn every_reference_leads_somewhere_and_operations_have_names_of_their_own() {
    fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(target)) = fields.get("$ref") {
                    found.push(target);
                }
                fields.values().for_each(|inner| references(inner, found));
            }
            Value::Array(items) => items.iter().for_each(|inner| references(inner, found)),
            _ => {}
        }
    }
    let document = davy::http::openapi::document();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for target in found {
        let pointer = target.strip_prefix('#').expect("a local reference");
        assert!(
            document.pointer(pointer).is_some(),
            "{target} leads nowhere"
        );
    }
    let mut names: Vec<&str> = davy::http::routes::routes()
        .iter()
        .map(|r| r.operation)
        .collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_described_is_there_and_problems_have_their_codes() {
    let daemon = TestDaemon::start().await;
    let (status, document) = daemon.get("/v1/openapi.json").await;
    assert_eq!((status, document["openapi"].as_str()), (200, Some("3.1.0")));
    for (path, methods) in document["paths"].as_object().expect("an object") {
        let real = path.replace("{id}", "an_0").replace("{name}", "walk");
        for method in methods.as_object().expect("an object").keys() {
            let method = reqwest::Method::from_bytes(method.to_uppercase().as_bytes());
            let request = daemon
                .client
                .request(method.expect("a method"), format!("{}{real}", daemon.url));
            let (status, body) = crate::daemon::answer(request).await;
            assert_ne!(body["code"], "route_not_found", "{path}");
            assert_ne!(body["code"], "method_not_allowed", "{path}");
            let described = &document["paths"][path];
            let known = described
                .as_object()
                .expect("an object")
                .values()
                .any(|operation| operation["responses"].get(status.to_string()).is_some());
            assert!(
                known,
                "{path} answers {status}, which is not described: {body}"
            );
        }
    }
    for route in davy::http::routes::routes() {
        for code in route.problems {
            let known = davy::http::problem::CODES
                .iter()
                .any(|(known, ..)| known == code);
            assert!(known, "{}: {code} is in no table", route.operation);
        }
    }
    daemon.stop().await;
}
