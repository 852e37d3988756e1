//! Clients' certificates: without one from the CA there is no connection, and with one there is no
//! more than that.

use std::sync::Arc;

use davy::config::listening::ClientAuth;
use davy::tokens::Scope;
use rustls::ClientConfig;

use super::{address, daemon, failed, healthz, shake_hands, trusting};
use crate::daemon::TestDaemon;
use crate::door::{self, Keys, ask, text};
use crate::tls::OK;
use crate::tls::made::{Authority, Made, Pair};

/// What a client with these settings gets: a refusal in TLS 1.3 comes after its side of the handshake.
async fn gets(daemon: &TestDaemon, config: ClientConfig) -> std::io::Result<String> {
    let mut stream = shake_hands(daemon, &Arc::new(config)).await?;
    healthz(&mut stream).await
}

fn identified(made: &Made, pair: &Pair) -> reqwest::Client {
    let pem = format!("{}{}", pair.certificate, pair.key);
    let identity = reqwest::Identity::from_pem(pem.as_bytes()).expect("a pair");
    trusting(made).identity(identity).build().expect("a client")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_needs_a_certificate_of_the_ca_and_a_token_all_the_same() {
    let made = Made::new();
    let keys = Keys::new();
    keys.add(1, &[Scope::Read], |_| ());
    let mut daemon = daemon(&made, |config| {
        let tls = config.server.tls.as_mut().expect("set");
        tls.client_ca_file = Some(made.path("ca.pem"));
        config.auth.tokens_file = Some(keys.path());
    })
    .await;
    let good = made.authority.client();
    daemon.client = identified(&made, &good);
    let refused = [
        (made.client_config(), "client_certificate_missing"),
        (
            made.client_config_with(&Authority::new().client()),
            "client_certificate",
        ),
        (
            made.client_config_with(&made.authority.expired_client()),
            "client_certificate",
        ),
        // Of the CA, and for servers.
        (
            made.client_config_with(&made.authority.server()),
            "client_certificate",
        ),
    ];
    for (config, _) in refused {
        let got = gets(&daemon, config).await;
        assert!(got.is_err(), "{got:?}");
    }
    for (reason, times) in [("client_certificate_missing", 1), ("client_certificate", 3)] {
        assert_eq!(
            door::counted(&daemon, &failed(reason)).await,
            times,
            "{reason}"
        );
    }
    let got = gets(&daemon, made.client_config_with(&good)).await;
    assert_eq!(got.expect("answered"), OK);
    for (given, status) in [
        (None, 401),
        (Some(format!("Bearer {}", text(7))), 401),
        (Some(format!("Bearer {}", text(1))), 200),
    ] {
        let (told, _) = ask(&daemon, "get", "/v1/plans", given.as_deref(), None).await;
        assert_eq!(told, status, "{given:?} at {}", address(&daemon));
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn off_asks_no_client_for_a_certificate() {
    let made = Made::new();
    let daemon = daemon(&made, |config| {
        let tls = config.server.tls.as_mut().expect("set");
        tls.client_ca_file = Some(made.path("ca.pem"));
        tls.client_auth = Some(ClientAuth::Off);
    })
    .await;
    let got = gets(&daemon, made.client_config()).await;
    assert_eq!(got.expect("answered"), OK);
    daemon.stop().await;
}
