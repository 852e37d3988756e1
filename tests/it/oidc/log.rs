//! What is logged of those whom an issuer vouches for: who was refused what, and nothing of a token.

use std::time::Duration;

use super::provider::Signer;
use super::{AUDIENCE, claims, provider};
use crate::daemon::client;
use crate::shutdown::{signal, spawn};
use crate::support::PATIENCE;

/// Bytes of each part of a token that must not be found.
const SHOWN_MAX: usize = 16;

#[tokio::test(flavor = "multi_thread")]
async fn the_log_names_who_lacks_a_scope_and_holds_nothing_of_any_token() {
    let (provider, [rsa, ..]) = provider().await;
    let folder = tempfile::tempdir().expect("a folder");
    let config = format!(
        "[auth.oidc]\nissuer = \"{}\"\naudience = [\"{AUDIENCE}\"]\n\
         [[auth.oidc.grants]]\nvalue = \"reader\"\nscopes = [\"read\"]\n\
         [log]\nfilter = \"debug\"\n",
        provider.url
    );
    std::fs::write(folder.path().join("davy.toml"), config).expect("written");
    let (child, lines, url) = spawn(folder.path(), &["--config", "davy.toml"]);
    let reader = rsa.sign(&claims(&provider, "reader"));
    let stranger = rsa.sign(&claims(&provider, "stranger"));
    let forged = Signer::other_rsa("rsa").sign(&claims(&provider, "reader"));
    let client = client();
    let ask = async |method: reqwest::Method, path: &str, token: &str| {
        let request = client
            .request(method, format!("{url}{path}"))
            .bearer_auth(token);
        request.send().await.expect("answered").status().as_u16()
    };
    let ready = async {
        while ask(reqwest::Method::GET, "/v1/plans", &reader).await != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ready)
        .await
        .expect("keys are never fetched");
    assert_eq!(
        ask(reqwest::Method::POST, "/v1/analyses", &reader).await,
        403
    );
    assert_eq!(ask(reqwest::Method::GET, "/v1/plans", &stranger).await, 403);
    assert_eq!(ask(reqwest::Method::GET, "/v1/plans", &forged).await, 401);
    signal(&child, "-TERM");
    let log: Vec<String> = lines.collect();
    // Before the keys were there, too, somebody may have been told to come again.
    let refused = |line: &&String| line.contains("not let in") && !line.contains("keys_unav");
    let refused: Vec<&String> = log.iter().filter(refused).collect();
    let at = |level: &str| {
        let level = format!("\"level\":\"{level}\"");
        refused.iter().filter(|line| line.contains(&level)).count()
    };
    assert_eq!((at("INFO"), at("DEBUG")), (1, 2), "{refused:#?}");
    let known = refused
        .iter()
        .find(|line| line.contains("\"INFO\""))
        .expect("one");
    assert!(known.contains("\"token\":\"oidc:reader\""), "{known}");
    for token in [&reader, &stranger, &forged] {
        // The head is the same for all of them, and no secret.
        for part in token.split('.').skip(1) {
            let part = &part[part.len() - SHOWN_MAX..];
            assert!(!log.iter().any(|line| line.contains(part)), "{part}");
        }
    }
}
