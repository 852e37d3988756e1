//! Keys that change, and a provider that does not answer.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::provider::{Provider, Signer};
use super::{bearer, claims, daemon, plans, provider, until};
use crate::daemon::TestDaemon;
use crate::door::{Keys, ask, counted, text};
use crate::support::PATIENCE;

/// How a provider goes wrong.
type Breaking = dyn Fn(&Provider);

const FAILED: &str = "davy_oidc_key_fetches_total{outcome=\"failed\"}";

async fn failures(daemon: &TestDaemon, at_least: u64) {
    let waiting = async {
        while counted(daemon, FAILED).await < at_least {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    waited.unwrap_or_else(|_| panic!("never {at_least} failures"));
}

async fn readiness(daemon: &TestDaemon) -> Value {
    daemon.get("/readyz").await.1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_found_when_it_is_named_and_an_old_one_is_forgotten() {
    let (provider, [rsa, ec, ed]) = provider().await;
    provider.rotate(&[&rsa]);
    let keys = Keys::new();
    let daemon = daemon(&provider, &keys, |config| {
        let oidc = config.auth.oidc.as_mut().expect("set");
        oidc.keys_refresh_secs = 3_600;
    })
    .await;
    let old = rsa.sign(&claims(&provider, "read"));
    until(&daemon, &old, 200).await;
    provider.rotate(&[&rsa, &ec]);
    // Named before a second has passed it is not looked for yet, and soon it is.
    until(&daemon, &ec.sign(&claims(&provider, "read")), 200).await;
    assert_eq!(readiness(&daemon).await["oidc_keys"], 2);
    provider.rotate(&[&ed]);
    until(&daemon, &ed.sign(&claims(&provider, "read")), 200).await;
    assert_eq!(plans(&daemon, &old).await.0, 401);
    assert_eq!(counted(&daemon, "davy_oidc_keys").await, 1);
    assert!(counted(&daemon, "davy_oidc_keys_fetched_timestamp_seconds").await > 1_700_000_000);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_taken_back_is_forgotten_without_anybody_asking() {
    let (provider, [rsa, ec, _]) = provider().await;
    let keys = Keys::new();
    let daemon = daemon(&provider, &keys, |config| {
        config.auth.oidc.as_mut().expect("set").keys_refresh_secs = 1;
    })
    .await;
    let taken = ec.sign(&claims(&provider, "read"));
    until(&daemon, &taken, 200).await;
    provider.rotate(&[&rsa]);
    until(&daemon, &taken, 401).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn made_up_keys_cause_one_fetch_at_a_time_and_no_more_than_one_a_while() {
    const ASKERS: usize = 40;
    const LEAST: u64 = 3;
    let (provider, [rsa, ..]) = provider().await;
    let keys = Keys::new();
    let begun = tokio::time::Instant::now();
    let daemon = daemon(&provider, &keys, |config| {
        config
            .auth
            .oidc
            .as_mut()
            .expect("set")
            .keys_refetch_secs_min = LEAST;
    })
    .await;
    until(&daemon, &rsa.sign(&claims(&provider, "read")), 200).await;
    let made_up = |number: usize| {
        let token = Signer::other_rsa(&format!("k{number}")).sign(&claims(&provider, "admin"));
        let request = daemon.client.get(format!("{}/v1/plans", daemon.url));
        request.bearer_auth(token).send()
    };
    // The one at the start, and two more for all who ask.
    while provider.fetches() < 3 {
        let asked = (0..ASKERS).map(made_up);
        for answer in futures_util::future::join_all(asked).await {
            assert_eq!(answer.expect("answered").status().as_u16(), 401);
        }
        assert!(begun.elapsed() < PATIENCE, "the keys are not looked for");
        let fetches = provider.fetches() as u64;
        assert!(fetches <= 1 + begun.elapsed().as_secs() / LEAST);
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_provider_is_silent_its_tokens_wait_and_others_do_not() {
    let (provider, [rsa, ..]) = provider().await;
    provider.change(|behaviour| behaviour.status = StatusCode::BAD_GATEWAY);
    let keys = Keys::new();
    let daemon = daemon(&provider, &keys, |_| ()).await;
    let token = rsa.sign(&claims(&provider, "admin"));
    assert_eq!(
        plans(&daemon, &token).await,
        (503, "keys_unavailable".to_owned())
    );
    let url = format!("{}/api/v1/write", daemon.url);
    let write = daemon
        .client
        .post(url)
        .bearer_auth(&token)
        .send()
        .await
        .expect("answered");
    assert_eq!(
        write.status().as_u16(),
        503,
        "a sender of remote-write repeats it"
    );
    assert!(write.headers().contains_key("retry-after"));
    assert_eq!(plans(&daemon, &text(0)).await.0, 200);
    assert_eq!(readiness(&daemon).await["oidc_keys"], 0);
    failures(&daemon, 1).await;
    provider.change(|behaviour| behaviour.status = StatusCode::OK);
    until(&daemon, &token, 200).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_known_stay_good_whatever_the_provider_answers_then() {
    let (provider, [rsa, ec, _]) = provider().await;
    provider.rotate(&[&rsa]);
    let keys = Keys::new();
    let daemon = daemon(&provider, &keys, |config| {
        let oidc = config.auth.oidc.as_mut().expect("set");
        oidc.keys_refresh_secs = 1;
        oidc.timeout_ms = 200;
    })
    .await;
    let known = rsa.sign(&claims(&provider, "read"));
    until(&daemon, &known, 200).await;
    let good = json!({"keys": [rsa.jwk(), ec.jwk()]});
    let long = json!({"keys": [ec.jwk()], "padding": "x".repeat(300_000)});
    let cases: [(&str, Box<Breaking>); 5] = [
        (
            "down",
            Box::new(|provider| provider.change(|b| b.status = StatusCode::NOT_FOUND)),
        ),
        (
            "no keys",
            Box::new(|provider| provider.change(|b| b.keys = json!({"keys": []}))),
        ),
        (
            "too long",
            Box::new(move |provider| provider.change(|b| b.keys = long.clone())),
        ),
        (
            "slow",
            Box::new(|provider| provider.change(|b| b.takes = Duration::from_secs(5))),
        ),
        (
            "somebody else",
            Box::new(|provider| {
                provider.change(|b| b.issuer = Some("https://other.example".into()))
            }),
        ),
    ];
    for (name, broken) in cases {
        broken(&provider);
        failures(&daemon, counted(&daemon, FAILED).await + 1).await;
        assert_eq!(plans(&daemon, &known).await.0, 200, "{name}");
        // It may be a new one of the provider's: nobody can say that it is not.
        let unknown = ec.sign(&claims(&provider, "read"));
        assert_eq!(plans(&daemon, &unknown).await.0, 503, "{name}");
        provider.change(|behaviour| {
            behaviour.status = StatusCode::OK;
            behaviour.keys = json!({"keys": [rsa.jwk()]});
            behaviour.takes = Duration::ZERO;
            behaviour.issuer = None;
        });
        until(&daemon, &unknown, 401).await;
    }
    provider.change(|behaviour| behaviour.keys = good);
    until(&daemon, &ec.sign(&claims(&provider, "read")), 200).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_asks_who_fetches_is_shown_the_token_of_the_file_as_it_is_now() {
    let (provider, [rsa, ..]) = provider().await;
    provider.change(|behaviour| behaviour.asks = Some("Bearer second".to_owned()));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("token");
    std::fs::write(&path, "first\n").expect("written");
    let keys = Keys::new();
    let daemon = daemon(&provider, &keys, |config| {
        let oidc = config.auth.oidc.as_mut().expect("set");
        oidc.keys_url = Some(format!("{}/keys", provider.url));
        oidc.bearer_token_file = Some(path.clone());
    })
    .await;
    failures(&daemon, 1).await;
    std::fs::write(&path, "second\n").expect("written");
    let token = rsa.sign(&claims(&provider, "read"));
    until(&daemon, &token, 200).await;
    let given = bearer(&token);
    assert_eq!(
        ask(&daemon, "get", "/v1/analyses", Some(&given), None)
            .await
            .0,
        200
    );
    daemon.stop().await;
}
