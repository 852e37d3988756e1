//! Tokens that the issuer signed: what they open, and what not.

use davy::config::oidc::{Grant, GrantedScope};
use davy::tokens::Scope;
use serde_json::{Value, json};

use super::provider::{Provider, Signer};
use super::{bearer, but, claims, daemon, grant, plans, provider, until};
use crate::daemon::TestDaemon;
use crate::door::{Keys, ask, basic, counted, operations, text};
use crate::support::PATIENCE;

/// A daemon with the provider's keys already fetched.
async fn ready(provider: &Provider, signer: &Signer, keys: &Keys) -> TestDaemon {
    let daemon = daemon(provider, keys, |_| ()).await;
    until(&daemon, &signer.sign(&claims(provider, "read")), 200).await;
    daemon
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_lets_in_whom_a_grant_gives_its_scope_and_nobody_else() {
    let (provider, signers) = provider().await;
    let keys = Keys::new();
    let daemon = ready(&provider, &signers[0], &keys).await;
    let signed = |subject: &str| signers[1].sign(&claims(&provider, subject));
    for (path, method, asked) in operations(&daemon).await {
        let Some(asked) = asked else { continue };
        for scope in Scope::ALL {
            let token = signed(scope.as_str());
            for given in [bearer(&token), basic("any", &token)] {
                let (status, told) = ask(&daemon, &method, &path, Some(&given), None).await;
                let is_refused = matches!(status, 401 | 403);
                let expected = !scope.includes(asked);
                assert_eq!(is_refused, expected, "{method} {path} {scope} {told}");
                if is_refused {
                    assert_eq!((status, &told["code"]), (403, &json!("forbidden")));
                }
            }
        }
        for subject in ["nobody", "Admin", "admin "] {
            let given = bearer(&signed(subject));
            let (status, told) = ask(&daemon, &method, &path, Some(&given), None).await;
            assert_eq!(
                (status, &told["code"]),
                (403, &json!("forbidden")),
                "{path}"
            );
        }
    }
    // Those of the file are good beside them.
    let given = bearer(&text(0));
    assert_eq!(
        ask(&daemon, "get", "/v1/plans", Some(&given), None).await.0,
        200
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_issuer_signed_is_good_for_davy_now_or_told_why_not() {
    let (provider, signers) = provider().await;
    let keys = Keys::new();
    let daemon = ready(&provider, &signers[0], &keys).await;
    let now = davy::clock::Clock::now(&davy::clock::SystemClock).millis() / 1_000;
    for (over, status, reason, words) in [
        (json!({}), 200, "", ""),
        (
            json!({"iss": "https://elsewhere.example"}),
            401,
            "jwt_issuer",
            "another issuer",
        ),
        (
            json!({"aud": "another"}),
            401,
            "jwt_audience",
            "another audience",
        ),
        (json!({"aud": ["another", super::AUDIENCE]}), 200, "", ""),
        (json!({"exp": now - 31}), 401, "expired", "it is expired"),
        (json!({"exp": now - 10}), 200, "", ""),
        (json!({"exp": null}), 401, "jwt_claim", "exp is missing"),
        (json!({"nbf": now + 300}), 401, "jwt_not_yet", "nbf"),
        (json!({"nbf": now + 10}), 200, "", ""),
        (
            json!({"sub": "x".repeat(256)}),
            401,
            "jwt_claim",
            "sub is empty, longer than 255",
        ),
    ] {
        let token = signers[0].sign(&but(&provider, "read", &over));
        let metric = format!("davy_auth_refused_total{{reason=\"{reason}\"}}");
        let before = counted(&daemon, &metric).await;
        let (found, told) = ask(&daemon, "get", "/v1/plans", Some(&bearer(&token)), None).await;
        assert_eq!(found, status, "{over}: {told}");
        if status != 200 {
            assert!(
                told["detail"].as_str().expect("a text").contains(words),
                "{told}"
            );
            assert_eq!(counted(&daemon, &metric).await, before + 1, "{over}");
        }
    }
    let stranger = signers[0].sign(&claims(&provider, "nobody"));
    assert_eq!(plans(&daemon, &stranger).await.0, 403);
    let metric = "davy_auth_refused_total{reason=\"jwt_grant\"}";
    assert_eq!(counted(&daemon, metric).await, 1);
    daemon.stop().await;
}

/// Namespaces that a subject's token names, which the grants may narrow.
fn within(provider: &Provider, namespaces: &Value) -> Value {
    let over = json!({"kubernetes.io": {"namespace": namespaces}});
    but(provider, "team", &over)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_a_namespace_starts_and_sees_what_is_in_it_and_stands_in_the_audit() {
    let (provider, signers) = provider().await;
    let keys = Keys::new();
    let daemon = daemon(&provider, &keys, |config| {
        let oidc = config.auth.oidc.as_mut().expect("set");
        oidc.namespaces_claim = Some("/kubernetes.io/namespace".to_owned());
        oidc.grants = vec![Grant {
            namespaces: Some(vec!["payments".to_owned(), "search".to_owned()]),
            ..grant("team", GrantedScope::Control)
        }];
    })
    .await;
    let payments = signers[0].sign(&within(&provider, &json!("payments")));
    until(&daemon, &payments, 200).await;
    let start = |namespace: &str| {
        let change = json!({"id": "c", "service": "checkout", "namespace": namespace});
        json!({"plan": "walk", "change": change})
    };
    let begin = async |token: &str, namespace: &str| {
        let body = start(namespace);
        ask(
            &daemon,
            "post",
            "/v1/analyses",
            Some(&bearer(token)),
            Some(&body),
        )
        .await
    };
    let (status, own) = begin(&payments, "payments").await;
    assert_eq!(status, 201, "{own}");
    assert_eq!(begin(&payments, "search").await.0, 403);
    // In its claim, and not in the grant.
    let elsewhere = signers[0].sign(&within(&provider, &json!("cart")));
    assert_eq!(begin(&elsewhere, "cart").await.0, 403);
    // Without the claim it is good for no namespace, not for all.
    let nowhere = signers[0].sign(&claims(&provider, "team"));
    assert_eq!(begin(&nowhere, "payments").await.0, 403);
    let path = format!("/v1/analyses/{}", own["id"].as_str().expect("an id"));
    let search = signers[0].sign(&within(&provider, &json!("search")));
    for (token, status) in [(&payments, 200), (&search, 404), (&nowhere, 404)] {
        let (found, _) = ask(&daemon, "get", &path, Some(&bearer(token)), None).await;
        assert_eq!(found, status);
    }
    for path in ["/metrics", "/v1/audit", "/v1/unmatched"] {
        let (status, told) = ask(&daemon, "get", path, Some(&bearer(&payments)), None).await;
        assert_eq!(status, 403, "{told}");
    }
    let request = daemon.client.get(format!("{}/v1/audit", daemon.url));
    let answer = request.bearer_auth(text(0)).send().await.expect("answered");
    let audit = answer.text().await.expect("text");
    assert!(audit.contains("\"token:oidc:team\""), "{audit}");
    assert!(audit.contains(&provider.url), "who vouched for it: {audit}");
    assert!(!audit.contains(&payments[..40]), "{audit}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_subject_has_a_pace_of_its_own() {
    let (provider, signers) = provider().await;
    let keys = Keys::new();
    let daemon = daemon(&provider, &keys, |config| {
        config.auth.requests_per_second_max = 2;
    })
    .await;
    let read = signers[0].sign(&claims(&provider, "read"));
    let control = signers[0].sign(&claims(&provider, "control"));
    let paced = async {
        while plans(&daemon, &read).await != (429, "busy".to_owned()) {}
        plans(&daemon, &control).await
    };
    let other = tokio::time::timeout(PATIENCE, paced)
        .await
        .expect("too often");
    assert_eq!(other.0, 200);
    daemon.stop().await;
}
