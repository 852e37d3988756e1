//! The OpenAPI document: checked in, served, and true.

use std::collections::BTreeSet;
use std::sync::LazyLock;

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

/// Whether a route's path, such as `/v1/plans/{name}`, is this one.
fn is_path(template: &str, path: &str) -> bool {
    let (template, path) = (template.split('/'), path.split('/'));
    template.clone().count() == path.clone().count()
        && template
            .zip(path)
            .all(|(t, p)| t.starts_with('{') || t == p)
}

/// Fails where the document does not say that this operation may answer so. Every test that talks
/// to a daemon comes through here.
pub fn assert_described(method: &str, path: &str, status: u16, body: &Value) {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(davy::http::openapi::document);
    let paths = DOCUMENT["paths"].as_object().expect("an object");
    let exact = paths.get_key_value(path);
    let found = exact.or_else(|| paths.iter().find(|(template, _)| is_path(template, path)));
    let code = body["code"].as_str().unwrap_or("");
    let Some((template, operations)) = found.filter(|_| code != "method_not_allowed") else {
        return;
    };
    let operation = &operations[method.to_lowercase()];
    let described = operation["responses"]
        .get(status.to_string())
        .unwrap_or_else(|| panic!("{method} {template} answers {status}, undescribed: {body}"));
    // Those who know nothing of davy are told in their own words, without a code.
    let is_foreign = template.starts_with("/compat/") && code.is_empty();
    if status >= 400 && !is_foreign {
        let codes = described["description"].as_str().expect("a description");
        let codes = codes.strip_prefix("codes: ").expect("a list of codes");
        assert!(
            codes.split(", ").any(|known| known == code),
            "{method} {template} answers {status} {code}; described are {codes}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_described_is_there_and_problems_have_their_codes() {
    let daemon = TestDaemon::start().await;
    let (status, document) = daemon.get("/v1/openapi.json").await;
    assert_eq!((status, document["openapi"].as_str()), (200, Some("3.1.0")));
    for route in davy::http::routes::routes() {
        let path = route.path.replace("{id}", "an_0").replace("{name}", "walk");
        let method = reqwest::Method::from_bytes(route.method.to_uppercase().as_bytes());
        let method = method.expect("a method");
        let send = |query: &str| {
            let url = format!("{}{path}{query}", daemon.url);
            crate::daemon::answer(daemon.client.request(method.clone(), url))
        };
        let (_, body) = send("").await;
        assert_ne!(body["code"], "route_not_found", "{path}");
        assert_ne!(body["code"], "method_not_allowed", "{path}");
        let (status, body) = send("?nobody=knows").await;
        let refused = (status, &body["code"]) == (400, &Value::from("invalid_parameter"));
        assert_eq!(refused, path.starts_with("/v1/"), "{path}: {body}");
        for code in route.codes() {
            let known = davy::http::problem::CODES
                .iter()
                .any(|(known, ..)| *known == code);
            assert!(known, "{}: {code} is in no table", route.operation);
        }
    }
    daemon.stop().await;
}

/// Everything between backticks.
fn quoted(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The rows of the table under a heading of docs/api.md.
fn rows<'p>(page: &'p str, heading: &str) -> Vec<&'p str> {
    let (_, rest) = page.split_once(heading).expect("the heading");
    let lines = rest.lines().skip_while(|line| !line.starts_with('|'));
    let table = lines.take_while(|line| line.starts_with('|'));
    table.skip(2).collect()
}

#[test]
fn the_page_lists_every_problem_under_its_status() {
    let page = std::fs::read_to_string(project_root().join("docs/api.md")).expect("the page");
    let mut listed: BTreeSet<(u16, &str)> = BTreeSet::new();
    for row in rows(&page, "\n## Problems\n") {
        let mut cells = row.split('|').skip(1);
        let status = cells.next().expect("a status").trim();
        let status = status.parse().expect("a number");
        // Headers are quoted too, and are no codes.
        let codes = quoted(cells.next().expect("codes"));
        listed.extend(
            codes
                .into_iter()
                .filter(|c| *c != "Retry-After")
                .map(|c| (status, c)),
        );
    }
    let codes = davy::http::problem::CODES;
    let known = codes
        .iter()
        .map(|(code, status, _)| (*status, *code))
        .collect();
    assert_eq!(listed, known);
}

#[test]
fn the_page_lists_every_code_of_a_refused_sample() {
    let read = |path: &str| std::fs::read_to_string(project_root().join(path)).expect("a file");
    let page = read("docs/api.md");
    let table = rows(&page, "Codes of refusals:");
    let first_cells = table
        .iter()
        .map(|row| row.split('|').nth(1).expect("a cell"));
    let listed: BTreeSet<&str> = first_cells.flat_map(quoted).collect();
    // Where the sources make a refusal, its code is a literal.
    let codec = "\"([a-z]+(?:_[a-z]+)+)\"";
    // A pair of a code and its words, or the first arguments of a call that makes one.
    let engine = "\"([a-z]+(?:_[a-z]+)*)\",\\s*(?:\"|format!|message|wrong_form)";
    let mut made = BTreeSet::new();
    for (path, pattern) in [
        ("src/codec/item.rs", codec),
        ("src/codec/number.rs", codec),
        ("src/engine/ingest.rs", engine),
        ("src/engine/placing.rs", engine),
        ("src/engine/readings.rs", engine),
        ("src/engine/series.rs", engine),
        ("src/engine/series/amounts.rs", engine),
        ("src/engine/series/totals.rs", engine),
    ] {
        let literal = regex::Regex::new(pattern).expect("a pattern");
        let text = read(path);
        let found = literal
            .captures_iter(&text)
            .map(|found| found[1].to_string());
        made.extend(found);
    }
    // It is counted, and never told as a refusal.
    assert!(made.remove("late"), "{made:?}");
    assert!(made.len() > 20, "{made:?}");
    assert_eq!(listed, made.iter().map(String::as_str).collect());
}
