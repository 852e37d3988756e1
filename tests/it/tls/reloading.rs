//! Certificates that change while davy runs; a broken pair changes nothing.

use std::sync::Arc;
use std::time::Duration;

use rustls::HandshakeKind;

use super::{OK, counted, daemon, healthz, shake_hands, shown, until};
use crate::daemon::TestDaemon;
use crate::support::PATIENCE;
use crate::tls::made::{Authority, Made, Pair};

const FAILURES: &str = "davy_tls_reload_failures_total";

/// Waits until new connections are shown this certificate.
async fn until_shown(daemon: &TestDaemon, made: &Made, pair: &Pair) {
    let config = Arc::new(made.client_config());
    let waiting = async {
        loop {
            let stream = shake_hands(daemon, &config).await.expect("shaken");
            if shown(&stream) == pair.der() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    waited.expect("the new certificate is never shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn new_connections_see_a_new_certificate_and_those_that_live_go_on() {
    let made = Made::new();
    let daemon = daemon(&made, |_| ()).await;
    let config = Arc::new(made.client_config());
    let mut old = shake_hands(&daemon, &config).await.expect("shaken");
    assert_eq!(shown(&old), made.own.der());
    assert_eq!(healthz(&mut old).await.expect("answered"), OK);
    let next = made.authority.server();
    made.put(&next);
    until_shown(&daemon, &made, &next).await;
    assert_eq!(healthz(&mut old).await.expect("it goes on"), OK);
    let before = counted(&daemon, FAILURES).await;
    // A pair that is none, half a file, none at all: each is a failure, and the one before stays.
    let other = made.authority.server();
    let half = &next.certificate[..next.certificate.len() / 2];
    for (number, broken) in (1..).zip([other.certificate.as_str(), half, ""]) {
        made.write("tls.crt", broken);
        until(&daemon, FAILURES, before + number).await;
        let stream = shake_hands(&daemon, &config).await.expect("shaken");
        assert_eq!(shown(&stream), next.der());
    }
    made.write("tls.crt", &other.certificate);
    made.write("tls.key", &other.key);
    until_shown(&daemon, &made, &other).await;
    assert_eq!(healthz(&mut old).await.expect("it goes on"), OK);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_shows_its_certificate_every_time_and_one_of_an_old_ca_is_not_taken() {
    let made = Made::new();
    made.write("clients.pem", &made.authority.pem());
    let daemon = daemon(&made, |config| {
        let tls = config.server.tls.as_mut().expect("set");
        tls.client_ca_file = Some(made.path("clients.pem"));
    })
    .await;
    let config = Arc::new(made.client_config_with(&made.authority.client()));
    let mut first = shake_hands(&daemon, &config).await.expect("shaken");
    assert_eq!(healthz(&mut first).await.expect("answered"), OK);
    let mut again = shake_hands(&daemon, &config).await.expect("shaken");
    assert_eq!(healthz(&mut again).await.expect("answered"), OK);
    let kind = again.get_ref().1.handshake_kind();
    assert_eq!(kind, Some(HandshakeKind::Full), "no session is taken up");
    made.write("clients.pem", &Authority::new().pem());
    let refused = async {
        loop {
            let shaken = shake_hands(&daemon, &config).await;
            let Ok(mut stream) = shaken else { return };
            if healthz(&mut stream).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, refused).await;
    waited.expect("clients of the old CA are taken for ever");
    daemon.stop().await;
}
