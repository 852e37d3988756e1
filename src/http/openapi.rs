//! The OpenAPI 3.1 document.
//!
//! Owns its assembly from the table of [`super::routes`]; schemas come from the types themselves.
//! The document is checked in as `docs/openapi.json`, and a test compares the two. That file is what
//! is served: to make the document anew at each start takes 5 MiB that are never given back.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::door::Asks;
use super::problem::{CODES, Problem};
use super::routes::{Route, routes};
use crate::tokens::Scope;

/// The document as it is served.
pub const TEXT: &str = include_str!("../../docs/openapi.json");

/// The document, made of the routes.
pub fn document() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    let mut generator = settings.into_generator();
    let problem = generator.subschema_for::<Problem>();
    let mut paths: Map<String, Value> = Map::new();
    for route in routes() {
        let operation = operation(&route, &mut generator);
        let entry = paths.entry(route.path).or_insert_with(|| json!({}));
        entry[route.method] = operation;
    }
    let mut responses = Map::new();
    let content = json!({ "application/problem+json": { "schema": problem } });
    for (code, status, title) in CODES {
        let described = json!({ "description": format!("{status} {title}"), "content": content });
        responses.insert(code.to_string(), described);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "davy",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Tells a deployment controller, while a canary runs, whether it is worse than its baseline. Every error is an RFC 9457 problem with a stable code.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "responses": responses,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of `davy token create`; where the daemon has no file of tokens nobody is asked",
                },
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "The token as the password of any user",
                },
            },
        },
    })
}

fn operation(route: &Route, generator: &mut schemars::SchemaGenerator) -> Value {
    let mut answers = Map::new();
    for (status, content_type, schema) in route.answers {
        // One status may come in several forms.
        let answer = answers
            .entry(status.to_string())
            .or_insert_with(|| json!({ "description": route.summary }));
        if !content_type.is_empty() {
            answer["content"][*content_type] = json!({ "schema": schema(generator) });
        }
        if let Some(links) = links(route, *status) {
            answer["links"] = links;
        }
    }
    // Several codes may share a status: OpenAPI knows one answer a status, so it lists the codes.
    for code in route.codes() {
        let Some((_, status, _)) = CODES.iter().find(|(known, ..)| *known == code) else {
            continue;
        };
        let entry = answers
            .entry(status.to_string())
            .or_insert_with(|| json!({ "description": "" }));
        entry["content"]["application/problem+json"] =
            json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
        for (form, schema) in route.problem_forms() {
            entry["content"][*form] = json!({ "schema": schema(generator) });
        }
        let told = entry["description"].as_str().unwrap_or("");
        let separator = match told {
            "" => "codes: ",
            _ if told.contains("codes: ") => ", ",
            _ => "; codes: ",
        };
        entry["description"] = format!("{told}{separator}{code}").into();
    }
    let mut operation = json!({
        "operationId": route.operation,
        "summary": route.summary,
        "security": security(route.asks),
        "parameters": parameters(route),
        "responses": answers,
    });
    if let Some((content_types, schema)) = route.request {
        let schema = schema(generator);
        let content: Map<String, Value> = content_types
            .iter()
            .map(|kind| (kind.to_string(), json!({ "schema": schema })))
            .collect();
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    operation
}

/// What the id of an analysis that was begun is good for, so that who reads the document knows, people
/// and generators of tests alike.
fn links(route: &Route, status: u16) -> Option<Value> {
    if route.operation != "startAnalysis" || status >= 300 {
        return None;
    }
    let all = routes().into_iter();
    let of_it = all.filter(|route| route.path.starts_with("/v1/analyses/{id}"));
    let link = |route: Route| {
        let link = json!({
            "operationId": route.operation,
            "parameters": { "id": "$response.body#/id" },
        });
        (route.operation.to_owned(), link)
    };
    Some(of_it.map(link).collect::<Map<String, Value>>().into())
}

/// One of the schemes, with the scope as its role; an empty list where nobody is asked.
fn security(asks: Asks) -> Value {
    let scope = match asks {
        Asks::Nothing => return json!([]),
        Asks::Scope(scope) | Asks::Within(scope) => scope,
        Asks::Metrics => Scope::Read,
    };
    json!([{ "bearer": [scope.as_str()] }, { "basic": [scope.as_str()] }])
}

fn parameters(route: &Route) -> Vec<Value> {
    let in_path = route
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let text = json!({ "type": "string" });
    let in_path =
        in_path.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": text }));
    let given = |place: &'static str, list: &'static [(&'static str, &'static str)]| {
        let text = text.clone();
        list.iter().map(move |(name, meaning)| {
            json!({ "name": name, "in": place, "required": false, "description": meaning, "schema": text })
        })
    };
    in_path
        .chain(given("query", route.query))
        .chain(given("header", route.headers))
        .collect()
}
