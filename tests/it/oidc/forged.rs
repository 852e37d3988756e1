//! Tokens that nobody vouches for: each is answered as an unknown one, on every route.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use davy::oidc::TOKEN_BYTES_MAX;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::provider::{Provider, Signer, part};
use super::{bearer, claims, daemon, plans, provider, until};
use crate::door::{Keys, ask, counted, operations};

/// A name, the token, and under which reason it is counted.
type Forgery = (&'static str, String, &'static str);

/// Signed by HMAC with what everybody can read of the issuer's key.
fn by_hmac(provider: &Provider, secret: &[u8]) -> String {
    let header = Header {
        kid: Some("rsa".to_owned()),
        ..Header::new(Algorithm::HS256)
    };
    let key = EncodingKey::from_secret(secret);
    jsonwebtoken::encode(&header, &claims(provider, "admin"), &key).expect("signed")
}

fn unsigned(provider: &Provider, algorithm: &str) -> String {
    let header = part(&json!({"alg": algorithm, "kid": "rsa", "typ": "JWT"}));
    format!("{header}.{}.", part(&claims(provider, "admin")))
}

/// The public key of a signer in the forms a careless library may take for a secret.
fn public_forms(signer: &Signer) -> [Vec<u8>; 3] {
    let jwk = signer.jwk();
    let modulus = jwk["n"].as_str().expect("RSA");
    let decoded = URL_SAFE_NO_PAD.decode(modulus).expect("base64");
    let pem = format!(
        "-----BEGIN RSA PUBLIC KEY-----\n{}\n-----END RSA PUBLIC KEY-----\n",
        STANDARD.encode(&decoded)
    );
    [decoded, pem.into_bytes(), jwk.to_string().into_bytes()]
}

fn by_header(signer: &Signer, provider: &Provider, change: impl FnOnce(&mut Header)) -> String {
    let mut header = signer.header();
    change(&mut header);
    signer.sign_as(&header, &claims(provider, "admin"))
}

fn forgeries(provider: &Provider, [rsa, ec, _]: &[Signer; 3]) -> Vec<Forgery> {
    let good = rsa.sign(&claims(provider, "read"));
    let (message, signature) = good.rsplit_once('.').expect("three parts");
    let head = message.split('.').next().expect("two parts");
    let stranger = Signer::other_rsa("rsa");
    let own: Jwk = serde_json::from_value(stranger.jwk()).expect("a key");
    let [modulus, pem, jwk] = public_forms(rsa).map(|form| by_hmac(provider, &form));
    let admin = part(&claims(provider, "admin"));
    let at_rsa = |algorithm| {
        move |header: &mut Header| {
            header.kid = Some("rsa".to_owned());
            header.alg = algorithm;
        }
    };
    let mut long = claims(provider, "admin");
    long["padding"] = "x".repeat(TOKEN_BYTES_MAX).into();
    let critical = |header: &mut Header| header.crit = Some(vec!["b64".to_owned()]);
    vec![
        ("none", unsigned(provider, "none"), "malformed"),
        ("None", unsigned(provider, "None"), "malformed"),
        ("no algorithm", unsigned(provider, ""), "malformed"),
        (
            "HS256, no signature",
            unsigned(provider, "HS256"),
            "jwt_algorithm",
        ),
        ("HMAC by the modulus", modulus, "jwt_algorithm"),
        ("HMAC by the PEM", pem, "jwt_algorithm"),
        ("HMAC by the JWK", jwk, "jwt_algorithm"),
        (
            "not pinned",
            by_header(rsa, provider, |header| header.alg = Algorithm::RS512),
            "jwt_algorithm",
        ),
        (
            "another kind of key",
            by_header(ec, provider, at_rsa(Algorithm::ES256)),
            "jwt_key",
        ),
        ("no signature", format!("{message}."), "jwt_signature"),
        (
            "other claims",
            format!("{head}.{admin}.{signature}"),
            "jwt_signature",
        ),
        (
            "another key's",
            stranger.sign(&claims(provider, "admin")),
            "jwt_signature",
        ),
        (
            "its own key in the head",
            by_header(&stranger, provider, |header| header.jwk = Some(own)),
            "jwt_signature",
        ),
        (
            "its own address in the head",
            by_header(&stranger, provider, |header| {
                header.jku = Some("http://127.0.0.1:1/keys".into())
            }),
            "jwt_signature",
        ),
        (
            "unknown id",
            Signer::other_rsa("nobody").sign(&claims(provider, "admin")),
            "jwt_key",
        ),
        (
            "an id that is a path",
            Signer::other_rsa("../../rsa").sign(&claims(provider, "admin")),
            "jwt_key",
        ),
        ("critical", by_header(rsa, provider, critical), "malformed"),
        ("too long", rsa.sign(&long), "malformed"),
        ("one part more", format!("{good}.{signature}"), "malformed"),
        ("two parts", message.to_owned(), "malformed"),
        ("dots", "..".to_owned(), "malformed"),
        ("no base64", "a.b.c".to_owned(), "malformed"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_forged_token_opens_any_route_and_all_are_told_the_same() {
    let (provider, signers) = provider().await;
    let keys = Keys::new();
    let daemon = daemon(&provider, &keys, |config| {
        let oidc = config.auth.oidc.as_mut().expect("set");
        // One fetch at the start is all there is in this test.
        oidc.keys_refetch_secs_min = 3_600;
    })
    .await;
    for signer in &signers {
        until(&daemon, &signer.sign(&claims(&provider, "read")), 200).await;
    }
    let forgeries = forgeries(&provider, &signers);
    for (name, token, reason) in &forgeries {
        let metric = format!("davy_auth_refused_total{{reason=\"{reason}\"}}");
        let before = counted(&daemon, &metric).await;
        assert_eq!(
            plans(&daemon, token).await,
            (401, "unauthenticated".to_owned()),
            "{name}"
        );
        assert_eq!(counted(&daemon, &metric).await, before + 1, "{name}");
    }
    let start = json!({"plan": "walk", "change": {"id": "c"}});
    for (path, method, scope) in operations(&daemon).await {
        if scope.is_none() {
            continue;
        }
        let body = (method == "post").then_some(&start);
        let mut told = Vec::new();
        for (name, token, reason) in &forgeries {
            let given = bearer(token);
            let (status, answer) = ask(&daemon, &method, &path, Some(&given), body).await;
            assert_eq!(status, 401, "{method} {path} {name}: {answer}");
            if *reason != "malformed" {
                told.push(answer["detail"].clone());
            }
        }
        told.dedup();
        assert_eq!(told, ["the token is not known here"], "{path}");
    }
    let given = bearer(&signers[0].sign(&claims(&provider, "admin")));
    let (_, list) = ask(&daemon, "get", "/v1/analyses", Some(&given), None).await;
    assert_eq!(
        list["analyses"],
        Value::Array(Vec::new()),
        "nothing came of it"
    );
    assert_eq!(
        provider.fetches(),
        1,
        "an unknown key is no reason to ask again and again"
    );
    daemon.stop().await;
}
