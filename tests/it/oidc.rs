//! Tokens that an identity provider signs: whose are good, for what, and what its failures cost.

mod forged;
mod grants;
mod keys;
mod log;
mod provider;

use std::time::Duration;

use davy::config::Config;
use davy::config::oidc::{Algorithm, Grant, GrantedScope, Oidc};
use serde_json::{Value, json};

use crate::daemon::TestDaemon;
use crate::door::{Keys, ask};
use crate::support::PATIENCE;
use provider::{Provider, Signer};

/// For whom tokens are here.
const AUDIENCE: &str = "davy-tests";
/// When tokens of these tests end: in 2100.
const FAR: i64 = 4_102_444_800;

fn grant(value: &str, scope: GrantedScope) -> Grant {
    Grant {
        value: value.to_owned(),
        scopes: vec![scope],
        namespaces: None,
    }
}

/// Grants by the name of each scope, which is the subject.
fn settings(provider: &Provider) -> Oidc {
    let grants = [
        ("ingest", GrantedScope::Ingest),
        ("read", GrantedScope::Read),
        ("control", GrantedScope::Control),
        ("admin", GrantedScope::Admin),
    ];
    let grants = grants.map(|(name, scope)| grant(name, scope));
    let mut settings = Oidc::of(&provider.url, AUDIENCE, grants.to_vec());
    settings.keys_refetch_secs_min = 1;
    settings.algorithms.push(Algorithm::EdDSA);
    settings
}

/// A daemon that takes tokens of the provider, and those of `keys`.
async fn daemon(provider: &Provider, keys: &Keys, change: impl FnOnce(&mut Config)) -> TestDaemon {
    TestDaemon::start_with(|config| {
        config.auth.tokens_file = Some(keys.path());
        config.auth.oidc = Some(settings(provider));
        change(config);
    })
    .await
}

/// Good claims of this subject.
fn claims(provider: &Provider, subject: &str) -> Value {
    json!({"iss": provider.url, "aud": AUDIENCE, "sub": subject, "exp": FAR})
}

/// The same, with others laid over them; null takes one away.
fn but(provider: &Provider, subject: &str, over: &Value) -> Value {
    let mut claims = claims(provider, subject);
    for (name, value) in over.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    claims
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// The status and the code of `GET /v1/plans` with this token.
async fn plans(daemon: &TestDaemon, token: &str) -> (u16, String) {
    let given = bearer(token);
    let (status, told) = ask(daemon, "get", "/v1/plans", Some(&given), None).await;
    (status, told["code"].as_str().unwrap_or("").to_owned())
}

/// Waits until a token is answered so.
async fn until(daemon: &TestDaemon, token: &str, expected: u16) {
    let asking = async {
        while plans(daemon, token).await.0 != expected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let asked = tokio::time::timeout(PATIENCE, asking).await;
    asked.unwrap_or_else(|_| panic!("never answered {expected}"));
}

/// A provider with a key of each kind, and who signs with them.
async fn provider() -> (Provider, [Signer; 3]) {
    let signers = [Signer::rsa("rsa"), Signer::ec("ec"), Signer::ed("ed")];
    let provider = Provider::start(&signers.each_ref()).await;
    (provider, signers)
}
