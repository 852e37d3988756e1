//! Who is let in, by every route there is: the table is made of the OpenAPI document, so that a new
//! route cannot be forgotten.

mod namespaces;
mod reading_again;
mod serving;

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use davy::http::door::Asks;
use davy::http::routes::routes;
use davy::model::Timestamp;
use davy::tokens::{Minted, Scope, Token, file};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::daemon::{TestDaemon, answer};
use crate::limits_counted::reached;
use crate::support::PATIENCE;

/// Tokens in a file of their own.
pub struct Keys {
    folder: tempfile::TempDir,
}

impl Keys {
    pub fn new() -> Keys {
        let folder = tempfile::tempdir().expect("a folder");
        let keys = Keys { folder };
        keys.add(0, &[Scope::Admin], |_| ());
        keys
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("tokens.toml")
    }

    /// Adds the token of this number; its text.
    pub fn add(&self, number: u8, scopes: &[Scope], change: impl FnOnce(&mut Token)) -> String {
        let minted = Minted::of([number; 4], [number; 32]);
        let mut token = Token {
            id: minted.id().to_owned(),
            name: format!("t{number}"),
            scopes: scopes.to_vec(),
            namespaces: None,
            digest: minted.digest(),
            created_at: Timestamp(1_764_000_000_000),
            expires_at: None,
            revoked_at: None,
        };
        change(&mut token);
        file::append(&self.path(), &token).expect("added");
        minted.reveal().to_owned()
    }

    /// Takes a token back.
    pub fn revoke(&self, number: u8) {
        let now = Timestamp(1_764_000_000_000);
        file::revoke(&self.path(), &format!("t{number}"), now).expect("revoked");
    }

    /// A daemon that asks for them.
    pub async fn daemon(&self) -> TestDaemon {
        TestDaemon::start_with(|config| config.auth.tokens_file = Some(self.path())).await
    }
}

/// The text of the token of a number.
pub fn text(number: u8) -> String {
    Minted::of([number; 4], [number; 32]).reveal().to_owned()
}

pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// Asks with this `Authorization`: status and code.
pub async fn ask(
    daemon: &TestDaemon,
    method: &str,
    path: &str,
    given: Option<&str>,
    body: Option<&Value>,
) -> (u16, Value) {
    let method = reqwest::Method::from_bytes(method.to_uppercase().as_bytes());
    let url = format!("{}{path}", daemon.url);
    let mut request = daemon.client.request(method.expect("a method"), url);
    if let Some(given) = given {
        request = request.header("authorization", given);
    }
    if let Some(body) = body {
        request = request.json(body);
    }
    answer(request).await
}

/// The value of a metric without labels, or with those it is named with.
pub async fn counted(daemon: &TestDaemon, name: &str) -> u64 {
    let request = daemon.client.get(format!("{}/metrics", daemon.url));
    let answer = request.bearer_auth(text(0)).send().await.expect("answered");
    let metrics = answer.text().await.expect("text");
    let prefix = format!("{name} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&prefix));
    line.map_or(0, |value| value.parse().expect("a number"))
}

/// An operation of the document: path, method, and the scope it asks for.
pub type Operation = (String, String, Option<Scope>);

/// The operations of the document that the daemon serves.
pub async fn operations(daemon: &TestDaemon) -> Vec<Operation> {
    let (status, document) = daemon.get("/v1/openapi.json").await;
    assert_eq!(status, 200, "the document asks for no token");
    let schemes = &document["components"]["securitySchemes"];
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("an object") {
        for (method, operation) in methods.as_object().expect("an object") {
            let asked = operation["security"].as_array().expect("a list");
            let scope = asked.first().map(|_| {
                let roles: Vec<&Value> = ["bearer", "basic"]
                    .into_iter()
                    .zip(asked)
                    .map(|(scheme, asked)| {
                        assert!(schemes[scheme].is_object(), "{scheme}");
                        &asked[scheme][0]
                    })
                    .collect();
                assert_eq!(roles[0], roles[1], "{path}");
                Scope::named(roles[0].as_str().expect("a role")).expect("a scope")
            });
            let path = path.replace("{id}", "an_0").replace("{name}", "walk");
            all.push((path, method.clone(), scope));
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_lets_in_who_has_its_scope_and_nobody_else() {
    let keys = Keys::new();
    for (number, scope) in (1..).zip(Scope::ALL) {
        keys.add(number, &[scope], |_| ());
    }
    keys.add(8, &[Scope::Admin], |token| {
        token.expires_at = Some(Timestamp(1))
    });
    keys.add(9, &[Scope::Admin], |_| ());
    keys.revoke(9);
    let daemon = keys.daemon().await;
    let forged = text(0).replace("_0000000000", "_1000000000");
    let strangers = [
        None,
        Some(String::new()),
        Some("Bearer".to_owned()),
        Some("Bearer x".to_owned()),
        Some("Basic x".to_owned()),
        Some(text(0)),
        Some(basic(&text(0), "")),
        Some(format!("Bearer {}", text(7))),
        Some(format!("Bearer {forged}")),
        Some(basic("davy", &forged)),
        Some(format!("Bearer {}", text(8))),
        Some(format!("Bearer {}", text(9))),
    ];
    let start = json!({"plan": "walk", "change": {"id": "c"}});
    let all = operations(&daemon).await;
    assert_eq!(all.len(), routes().len());
    let open = all.iter().filter(|(_, _, scope)| scope.is_none());
    let open: Vec<&str> = open.map(|(path, ..)| path.as_str()).collect();
    assert_eq!(open, ["/healthz", "/readyz", "/v1/openapi.json"]);
    for (path, method, scope) in &all {
        let body = (method == "post").then_some(&start);
        for given in &strangers {
            let (status, told) = ask(&daemon, method, path, given.as_deref(), body).await;
            let Some(scope) = scope else {
                assert_eq!(status, 200, "{path}: {told}");
                continue;
            };
            let refused = (status, told["code"].as_str());
            let expected = (401, Some("unauthenticated"));
            assert_eq!(refused, expected, "{method} {path} {given:?} {scope}");
        }
    }
    // Nothing came of any of it.
    let accepted = "davy_samples_total{outcome=\"unmatched\"}";
    assert_eq!(counted(&daemon, accepted).await, 0);
    let admin = format!("Bearer {}", text(0));
    let (_, list) = ask(&daemon, "get", "/v1/analyses", Some(&admin), None).await;
    assert_eq!(list["analyses"], json!([]));
    for (path, method, asked) in &all {
        let Some(asked) = asked else { continue };
        for (number, scope) in (1..).zip(Scope::ALL) {
            for given in [
                format!("Bearer {}", text(number)),
                basic("any", &text(number)),
            ] {
                let (status, told) = ask(&daemon, method, path, Some(&given), None).await;
                let is_refused = matches!(status, 401 | 403);
                assert_eq!(
                    is_refused,
                    !scope.includes(*asked),
                    "{method} {path} {scope} {told}"
                );
                if is_refused {
                    assert_eq!((status, told["code"].as_str()), (403, Some("forbidden")));
                    let detail = told["detail"].as_str().expect("a text");
                    assert!(detail.ends_with(&format!("the scope {asked}")), "{detail}");
                }
            }
        }
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_how_to_come_in_is_counted_by_reason_and_waits_for_no_body() {
    let keys = Keys::new();
    keys.add(1, &[Scope::Read], |_| ());
    let daemon = keys.daemon().await;
    let url = format!("{}/v1/samples", daemon.url);
    let refused = daemon
        .client
        .post(&url)
        .body("x")
        .send()
        .await
        .expect("answered");
    let challenges: Vec<_> = refused
        .headers()
        .get_all("www-authenticate")
        .iter()
        .collect();
    assert_eq!(
        challenges,
        ["Bearer realm=\"davy\"", "Basic realm=\"davy\""]
    );
    let told: Value = refused.json().await.expect("a problem");
    assert!(
        told["help"]
            .as_str()
            .expect("help")
            .contains("davy token create")
    );
    let unknown = daemon.client.post(&url).bearer_auth(text(7));
    assert_eq!(
        unknown.send().await.expect("answered").status().as_u16(),
        401
    );
    let wrong = daemon.client.post(&url).bearer_auth(text(1));
    assert_eq!(wrong.send().await.expect("answered").status().as_u16(), 403);
    for (reason, times) in [("missing", 1), ("unknown", 1), ("scope", 1), ("expired", 0)] {
        let name = format!("davy_auth_refused_total{{reason=\"{reason}\"}}");
        assert_eq!(counted(&daemon, &name).await, times, "{reason}");
    }
    assert_eq!(counted(&daemon, "davy_auth_tokens").await, 2);
    let head = "POST /v1/samples HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 1000\r\n\r\n";
    assert_eq!(raw(&daemon, head).await, 401);
    daemon.stop().await;
}

/// The status of the answer to these bytes.
async fn raw(daemon: &TestDaemon, head: &str) -> u16 {
    let address = daemon.url.trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(address)
        .await
        .expect("connects");
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.expect("an answer");
    let status = String::from_utf8_lossy(&status).into_owned();
    status["HTTP/1.1 ".len()..].parse().expect("a status")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_spelling_of_a_path_or_method_is_a_way_round() {
    let keys = Keys::new();
    let daemon = keys.daemon().await;
    let admin = format!("authorization: Bearer {}\r\n", text(0));
    for (request, stranger, known) in [
        ("GET /v1/analyses", 401, 200),
        ("HEAD /v1/analyses", 401, 200),
        ("GET /v1/analyses?limit=1", 401, 200),
        ("GET /v1/analyses?nobody=knows", 401, 400),
        ("GET http://127.0.0.1/v1/analyses", 401, 200),
        ("GET //v1/analyses", 404, 404),
        ("GET /v1//analyses", 404, 404),
        ("GET /v1/analyses/", 404, 404),
        ("GET /v1/./analyses", 404, 404),
        ("GET /healthz/../v1/analyses", 404, 404),
        ("GET /v1/%61nalyses", 404, 404),
        ("GET /V1/analyses", 404, 404),
        ("GET /v1/analyses;x=/healthz", 404, 404),
        ("GET /v1/analyses/%2e%2e", 401, 404),
        ("PUT /v1/analyses", 405, 405),
        ("OPTIONS /v1/analyses", 405, 405),
        ("get /v1/analyses", 405, 405),
    ] {
        let told = async |credentials: &str| {
            let head = format!(
                "{request} HTTP/1.1\r\nhost: 127.0.0.1\r\n{credentials}x-forwarded-user: admin\r\n\r\n"
            );
            raw(&daemon, &head).await
        };
        assert_eq!(told("").await, stranger, "{request}");
        assert_eq!(told(&admin).await, known, "{request}");
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_can_be_open_and_a_token_can_have_a_limit() {
    let keys = Keys::new();
    keys.add(1, &[Scope::Ingest], |_| ());
    let daemon = TestDaemon::start_with(|config| {
        config.auth.tokens_file = Some(keys.path());
        config.auth.metrics_open = true;
        config.auth.requests_per_second_max = 2;
    })
    .await;
    let (status, _) = ask(&daemon, "get", "/metrics", None, None).await;
    assert_eq!(status, 200);
    let (status, _) = ask(&daemon, "get", "/v1/plans", None, None).await;
    assert_eq!(status, 401);
    for (path, expected) in [
        ("/v1/samples", (429, "busy")),
        ("/api/v1/write", (503, "write_busy")),
    ] {
        // At most two are let in at once, and two more a second.
        let given = format!("Bearer {}", text(1));
        let refused = async {
            loop {
                let (status, told) = ask(&daemon, "post", path, Some(&given), None).await;
                if told["title"] == "davy is too busy" {
                    return (status, told);
                }
            }
        };
        let (status, told) = tokio::time::timeout(PATIENCE, refused)
            .await
            .expect("too often");
        assert_eq!(
            (status, told["code"].as_str().expect("a code")),
            expected,
            "{told}"
        );
        assert!(
            told["detail"]
                .as_str()
                .expect("a text")
                .contains("2 times a second")
        );
    }
    assert!(reached(&daemon, "requests_per_second").await >= 2);
    daemon.stop().await;
}

#[test]
fn what_tells_of_every_namespace_is_for_tokens_of_all() {
    // Whoever adds a route with an analysis in its path means `Within`, and takes `Visible`.
    for route in routes() {
        let of_analyses = route.path.starts_with("/v1/analyses");
        let of_plans = route.path.starts_with("/v1/plans");
        let is_within = matches!(route.asks, Asks::Within(_));
        let of_changes = route.path.starts_with("/v1/changes");
        let of_controllers = route.path.starts_with("/compat/");
        let expected = of_analyses || of_plans || of_changes || of_controllers;
        assert_eq!(is_within, expected, "{}", route.path);
    }
}

/// Fails where one of the numbers' secrets stands in a text.
pub fn assert_no_secret(place: &Path, text: &str, secrets: &[&str]) {
    for token in secrets {
        let (_, secret) = token.rsplit_once('_').expect("a token");
        assert!(!text.contains(&secret[..16]), "{}: {text}", place.display());
    }
}
