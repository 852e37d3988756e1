//! TLS as clients meet it: who gets a connection, who does not, and what is counted.

mod clients;
mod commands;
mod handshakes;
mod made;
mod reloading;

use std::sync::Arc;
use std::time::Duration;

use davy::config::Config;
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::daemon::{TestDaemon, client};
use crate::support::PATIENCE;
use made::Made;

/// A daemon that shows the certificate of `made`, and a client that trusts its CA.
async fn daemon(made: &Made, change: impl FnOnce(&mut Config)) -> TestDaemon {
    let mut daemon = TestDaemon::start_with(|config| {
        config.server.tls = Some(made.settings());
        change(config);
    })
    .await;
    daemon.client = trusting(made).build().expect("a client");
    daemon
}

/// A client that trusts the CA of `made` and no other.
fn trusting(made: &Made) -> reqwest::ClientBuilder {
    let pem = made.authority.pem();
    let ca = reqwest::Certificate::from_pem(pem.as_bytes()).expect("a certificate");
    reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([ca])
        .pool_max_idle_per_host(0)
}

fn address(daemon: &TestDaemon) -> String {
    daemon.url.trim_start_matches("https://").to_owned()
}

async fn connect(daemon: &TestDaemon) -> TcpStream {
    let connected = TcpStream::connect(address(daemon)).await;
    connected.expect("it listens")
}

/// A handshake.
async fn shake_hands(
    daemon: &TestDaemon,
    config: &Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").expect("a name");
    let connector = TlsConnector::from(config.clone());
    connector.connect(name, connect(daemon).await).await
}

/// The status of `GET /healthz` on a connection.
async fn healthz(stream: &mut TlsStream<TcpStream>) -> std::io::Result<String> {
    let request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request).await?;
    let mut answer = [0; 1024];
    let length = stream.read(&mut answer).await?;
    let text = String::from_utf8_lossy(&answer[..length]).into_owned();
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

const OK: &str = "HTTP/1.1 200 OK";

/// The certificate that a connection was shown.
fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    let certificates = stream.get_ref().1.peer_certificates();
    certificates.expect("one")[0].clone().into_owned()
}

/// The value of a metric, where nobody is asked for a token.
async fn counted(daemon: &TestDaemon, name: &str) -> u64 {
    let request = daemon.client.get(format!("{}/metrics", daemon.url));
    let answer = request.send().await.expect("answered");
    let metrics = answer.text().await.expect("text");
    let prefix = format!("{name} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&prefix));
    line.map_or(0, |value| value.parse().expect("a number"))
}

fn failed(reason: &str) -> String {
    format!("davy_tls_handshakes_failed_total{{reason=\"{reason}\"}}")
}

/// Waits until a metric has this value.
async fn until(daemon: &TestDaemon, name: &str, expected: u64) {
    let waiting = async {
        while counted(daemon, name).await != expected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    waited.unwrap_or_else(|_| panic!("{name} is never {expected}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_are_spoken_to_who_trusts_the_ca_and_http_1_is_agreed_on() {
    use reqwest::tls::Version;
    let made = Made::new();
    let daemon = daemon(&made, |_| ()).await;
    for version in [Version::TLS_1_2, Version::TLS_1_3] {
        let own = trusting(&made)
            .tls_version_min(version)
            .tls_version_max(version);
        let own = own.build().expect("a client");
        let answer = own.get(format!("{}/healthz", daemon.url)).send().await;
        assert_eq!(answer.expect("answered").status().as_u16(), 200);
    }
    let ends = "davy_tls_certificate_expires_timestamp_seconds";
    assert_eq!(counted(&daemon, ends).await, made::EXPIRES);
    for (offered, agreed) in [(vec!["h2", "http/1.1"], Some("http/1.1")), (vec![], None)] {
        let mut config = made.client_config();
        config.alpn_protocols = offered
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        let mut stream = shake_hands(&daemon, &Arc::new(config))
            .await
            .expect("shaken");
        let protocol = stream.get_ref().1.alpn_protocol();
        assert_eq!(protocol, agreed.map(str::as_bytes));
        assert_eq!(healthz(&mut stream).await.expect("answered"), OK);
    }
    let mut only_h2 = made.client_config();
    only_h2.alpn_protocols = vec![b"h2".to_vec()];
    assert!(shake_hands(&daemon, &Arc::new(only_h2)).await.is_err());
    until(&daemon, &failed("incompatible"), 1).await;
    let stranger = client().get(format!("{}/healthz", daemon.url));
    assert!(stranger.send().await.is_err(), "another CA is not trusted");
    until(&daemon, &failed("alert"), 1).await;
    daemon.stop().await;
}
