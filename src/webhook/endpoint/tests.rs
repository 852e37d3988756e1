//! Tests of endpoints: what is refused at start, who wants what, what is sent.

use super::*;
use crate::engine::{Effect, Input, Limits, Start, State, apply};
use crate::model::Change;

fn entry(toml: &str) -> daemon::Webhook {
    let text = format!("name = \"deployer\"\n{toml}");
    toml::from_str(&text).expect("the test's entry is valid")
}

const EVENTS: &str = "events = [\"analysis.started\", \"verdict.final\"]\n";

fn build(toml: &str) -> Result<Endpoint, Vec<EndpointProblem>> {
    Endpoint::build(&entry(&format!("{EVENTS}{toml}")), |_| None)
}

fn started() -> Event {
    let text = "{version: davy/v1, plan: walk, horizon: 1m, tick: 1s, metrics: {m: {kind: latency, from: values}}, checks: [{compare: m, tolerance: 5%}]}";
    let plan = crate::config::plan_file::parse_plan("p", text)
        .expect("valid")
        .plan;
    let start = Start {
        id: "an_1".into(),
        plan: Arc::new(plan),
        arms: Default::default(),
        change: Change {
            id: Some("PR 7/8".into()),
            service: Some("checkout".into()),
            ..Change::default()
        },
        idempotency_key: None,
        request_digest: String::new(),
        by: None,
    };
    let mut state = State::new(Limits::default());
    let effects = apply(
        &mut state,
        Input::Start(Box::new(start)),
        Timestamp(1_764_000_000_000),
    );
    let event = effects.into_iter().find_map(|effect| match effect {
        Effect::Event(event) => Some(event),
        _ => None,
    });
    event.expect("a start is an event")
}

#[test]
fn the_fields_of_templates_are_those_of_a_verdict_body() {
    let body = serde_json::to_value(&*started().body).expect("plain data");
    let mut fields: Vec<&str> = body
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    fields.push("event");
    // Of those that are overridden.
    fields.push("override");
    fields.sort_unstable();
    let mut known = FIELDS;
    known.sort_unstable();
    assert_eq!(fields, known);
}

#[test]
fn what_is_wrong_is_found_at_start() {
    let table = [
        ("url = \"http://169.254.169.254/x\"", "url", "metadata"),
        ("url = \"http://[fd00:ec2::254]/x\"", "url", "metadata"),
        (
            "url = \"http://{{change.id}}.example.org/\"",
            "url",
            "in the host",
        ),
        ("url = \"ftp://example.org/\"", "url", "http"),
        ("url = \"example.org/hook\"", "url", "not an address"),
        (
            "url = \"http://example.org/{{chnge.id}}\"",
            "url",
            "no field",
        ),
        (
            "url = \"http://example.org/\"\nbody_template = \"{{verdict\"",
            "body_template",
            "not closed",
        ),
        (
            "url = \"http://example.org/\"\nheaders = {\"webhook-id\" = \"1\"}",
            "headers.webhook-id",
            "itself",
        ),
        (
            "url = \"http://example.org/\"\nheaders = {\"a b\" = \"1\"}",
            "headers.a b",
            "header's name",
        ),
        ("url = \"https:///{{change.id}}/x\"", "url", "in the host"),
        (
            "url = \"https:\\\\\\\\/{{change.id}}/x\"",
            "url",
            "in the host",
        ),
        (
            "url = \"http://example.org/a/../b\"",
            "url",
            "segment that is . or ..",
        ),
    ];
    for (toml, key, says) in table {
        let problems = build(toml).expect_err(toml);
        assert_eq!(problems[0].key, key, "{toml}");
        assert!(
            problems[0].message.contains(says),
            "{toml}: {:?}",
            problems[0]
        );
        assert!(!problems[0].help.is_empty(), "{toml}");
    }
    let two = build("url = \"x\"\nbody_template = \"{{\"").expect_err("two problems");
    assert_eq!(two.len(), 2);
    let bad_secret = Endpoint::build(
        &entry(&format!("{EVENTS}url = \"http://example.org/\"")),
        |_| Some(Ok("hunter2".into())),
    );
    let problems = bad_secret.expect_err("no whsec_");
    assert_eq!(problems[0].key, "secret_file");
    assert!(!format!("{problems:?}").contains("hunter2"));
}

#[test]
fn a_problem_names_the_key_that_was_written() {
    let missing = Endpoint::build(
        &entry(&format!(
            "{EVENTS}url = \"http://example.org/\"\nsecret_env = \"NOT_SET\""
        )),
        |_| Some(Err("NOT_SET: environment variable not found".into())),
    );
    assert_eq!(missing.expect_err("no secret")[0].key, "secret_env");
}

#[test]
fn filters_decide_who_wants_what() {
    let event = started();
    let url = "url = \"http://example.org/\"\n";
    let wants = |toml: &str| build(&format!("{url}{toml}")).expect("valid").wants(&event);
    assert!(wants(""));
    assert!(wants(
        "services = [\"checkout\", \"cart\"]\nplans = [\"walk\"]\ndecisions = [\"hold\"]"
    ));
    assert!(!wants("services = [\"cart\"]"));
    assert!(!wants("plans = [\"other\"]"));
    assert!(!wants("decisions = [\"rollback\", \"promote\"]"));
    let endpoint = build(url).expect("valid");
    assert!(!endpoint.wants(&Event {
        kind: EventKind::Look,
        ..event.clone()
    }));
    assert!(!endpoint.wants(&Event {
        kind: EventKind::VerdictChanged,
        ..event.clone()
    }));
    assert!(endpoint.wants(&Event {
        kind: EventKind::VerdictFinal,
        ..event.clone()
    }));
    let overridden = Event {
        kind: EventKind::Overridden,
        ..event
    };
    assert!(!endpoint.wants(&overridden));
    let told = entry("url = \"http://example.org/\"\nevents = [\"analysis.overridden\"]");
    let told = Endpoint::build(&told, |_| None).expect("valid");
    assert!(told.wants(&overridden));
}

#[test]
fn the_default_body_is_the_specification_s() {
    let endpoint = build("url = \"http://example.org/hook\"").expect("valid");
    let delivery = endpoint.delivery(&started());
    assert_eq!(delivery.id, "an_1-1-deployer");
    let prepared = endpoint
        .prepare(&delivery, Timestamp(1_764_000_001_999))
        .expect("prepared");
    let body: Value = serde_json::from_slice(&prepared.body).expect("JSON");
    assert_eq!(body["type"], "analysis.started");
    assert_eq!(body["timestamp"], "2025-11-24T16:00:00Z");
    assert_eq!(body["data"]["analysis"], "an_1");
    assert_eq!(prepared.headers["webhook-timestamp"], "1764000001");
    assert_eq!(prepared.headers["webhook-id"], "an_1-1-deployer");
    assert!(
        !prepared.headers.contains_key("webhook-signature"),
        "no secret, no signature"
    );
    assert_eq!(prepared.headers["content-type"], "application/json");
}

#[test]
fn a_template_can_call_anybody() {
    let endpoint = build(
        r#"url = "http://example.org/{{change.service}}/{{change.id}}?d={{decision}}"
        method = "PUT"
        headers = { "Content-Type" = "text/plain", "Authorization" = "Bearer x" }
        body_template = '{{event.type}} {{event.id}} {"why": "{{message}}", "gate": {{json gate.kind}}}'"#,
    )
    .expect("valid");
    let prepared = endpoint
        .prepare(&endpoint.delivery(&started()), Timestamp(0))
        .expect("prepared");
    assert_eq!(prepared.method, Method::PUT);
    assert_eq!(
        prepared.url.as_str(),
        "http://example.org/checkout/PR%207%2F8?d=hold"
    );
    assert_eq!(prepared.headers["content-type"], "text/plain");
    let body = String::from_utf8(prepared.body).expect("text");
    assert!(
        body.starts_with("analysis.started an_1-1-deployer {"),
        "{body}"
    );
    assert!(body.ends_with("\"gate\": \"final\"}"), "{body}");
    assert!(
        !format!("{:?}", prepared.headers).contains("Bearer"),
        "sensitive"
    );
}

#[test]
fn a_value_cannot_lead_the_address_elsewhere() {
    let endpoint = build("url = \"https://host/hooks/{{change.id}}/done\"").expect("valid");
    let now = Timestamp(1_764_000_000_000);
    let mut event = started();
    let mut prepare = |id: &str| {
        let body = Arc::make_mut(&mut event.body);
        body.change.id = Some(id.to_owned());
        endpoint.prepare(&endpoint.delivery(&event), now)
    };
    assert_eq!(
        prepare("a..b").expect("a name").url.as_str(),
        "https://host/hooks/a..b/done"
    );
    for id in ["..", "."] {
        let error = prepare(id).expect_err("it would lead elsewhere");
        assert!(error.contains("leave its folder"), "{error}");
    }
}

#[test]
fn an_endpoint_of_githubs_is_told_what_it_needs_and_cannot_have() {
    const KIND: &str = "kind = \"github-deployment\"\nurl = \"https://api.github.com\"\n";
    let refused = |more: &str| {
        let problems = build(&format!("{KIND}{more}")).expect_err(more);
        assert_eq!(problems.len(), 1, "{problems:?}");
        (problems[0].key.clone(), problems[0].message.clone())
    };
    assert!(refused("").1.contains("needs a token"));
    for more in [
        "body_template = \"x\"",
        "method = \"PUT\"",
        "secret_env = \"X\"",
    ] {
        let (key, message) = refused(&format!("token_file = \"t\"\n{more}"));
        assert_eq!(key, "kind", "{more}");
        assert!(message.contains("of its own"), "{message}");
    }
    assert!(build(&format!("{KIND}token_file = \"t\"")).is_ok());
    let other = build("url = \"https://example.org/\"\ntoken_file = \"t\"").expect_err("no kind");
    assert!(other[0].message.contains("github-deployment"));
}
