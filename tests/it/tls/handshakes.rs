//! Handshakes that go wrong, and what they cost the others: nothing.

use std::time::Duration;

use davy::http::observe::REQUEST_ID;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{OK, connect, counted, daemon, failed, healthz, shake_hands, until};
use crate::support::PATIENCE;
use crate::tls::made::Made;

/// A TLS record that holds a ClientHello of this version, as clients before TLS 1.3 send it.
fn client_hello(minor: u8) -> Vec<u8> {
    let extensions = [
        // Groups: x25519 and P-256. Points: uncompressed. Signatures: ECDSA and RSA with SHA-256.
        [0, 10, 0, 6, 0, 4, 0, 29, 0, 23].as_slice(),
        &[0, 11, 0, 2, 1, 0],
        &[0, 13, 0, 6, 0, 4, 4, 3, 4, 1],
    ]
    .concat();
    let mut hello = vec![3, minor];
    hello.extend([7; 32]);
    // No session. ECDHE with ECDSA and AES-128: with GCM, which is of TLS 1.2, and with CBC, which is
    // older. No compression.
    hello.extend([0, 0, 4, 0xc0, 0x2b, 0xc0, 0x09, 1, 0]);
    hello.extend([0, u8::try_from(extensions.len()).expect("short")]);
    hello.extend(extensions);
    let length = u8::try_from(hello.len()).expect("short");
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(hello);
    record
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_no_tls_or_an_old_one_is_told_by_an_alert_and_let_go() {
    const FATAL: u8 = 2;
    const PROTOCOL_VERSION: u8 = 70;
    let made = Made::new();
    let daemon = daemon(&made, |_| ()).await;
    for minor in [0, 1, 2] {
        let mut stream = connect(&daemon).await;
        stream.write_all(&client_hello(minor)).await.expect("sent");
        let mut told = Vec::new();
        stream.read_to_end(&mut told).await.expect("it is closed");
        let alert = &told[told.len().saturating_sub(2)..];
        assert_eq!(told.first(), Some(&21), "an alert: {told:?}");
        assert_eq!(alert, [FATAL, PROTOCOL_VERSION], "3.{minor}: {told:?}");
    }
    assert_eq!(counted(&daemon, &failed("incompatible")).await, 3);
    // The same of TLS 1.2 is answered.
    let mut stream = connect(&daemon).await;
    stream.write_all(&client_hello(3)).await.expect("sent");
    let mut told = [0];
    stream.read_exact(&mut told).await.expect("answered");
    assert_eq!(told, [22], "a handshake");
    drop(stream);
    until(&daemon, &failed("closed"), 1).await;
    let mut stream = connect(&daemon).await;
    let plain = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(plain).await.expect("sent");
    let mut told = Vec::new();
    // It is closed, by a reset where not all that came was read.
    let _ = stream.read_to_end(&mut told).await;
    let told = String::from_utf8_lossy(&told);
    assert!(!told.contains("HTTP"), "{told}");
    until(&daemon, &failed("not_tls"), 1).await;
    drop(connect(&daemon).await);
    until(&daemon, &failed("closed"), 2).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_dribbles_is_ended_and_keeps_nobody_waiting() {
    const DRIBBLERS: u64 = 20;
    const IN_TIME: Duration = Duration::from_secs(10);
    let made = Made::new();
    let daemon = daemon(&made, |config| {
        let tls = config.server.tls.as_mut().expect("set");
        // Long enough for an honest one, on whatever machine.
        tls.handshake_timeout_secs = IN_TIME.as_secs();
    })
    .await;
    let begun = tokio::time::Instant::now();
    let mut dribblers = tokio::task::JoinSet::new();
    for number in 0..DRIBBLERS {
        let mut stream = connect(&daemon).await;
        dribblers.spawn(async move {
            // Half of them send nothing at all.
            let hello = client_hello(3);
            let hello = if number % 2 == 0 { hello } else { Vec::new() };
            for byte in &hello[..hello.len().saturating_sub(1)] {
                if stream.write_all(&[*byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            // Ends once davy has closed it.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
    }
    let url = format!("{}/healthz", daemon.url);
    let served = daemon.client.get(&url).send().await.expect("answered");
    assert!(served.headers().contains_key(REQUEST_ID));
    let limit = "davy_limit_reached_total{limit=\"tls_handshake_timeout_secs\"}";
    let ended = counted(&daemon, limit).await;
    let is_early = begun.elapsed() < IN_TIME;
    assert!(ended == 0 || !is_early, "they are under way yet");
    let all = tokio::time::timeout(PATIENCE, dribblers.join_all()).await;
    all.expect("all are let go");
    until(&daemon, limit, DRIBBLERS).await;
    assert_eq!(counted(&daemon, &failed("timeout")).await, DRIBBLERS);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_takes_the_place_of_a_connection_and_does_not_hold_up_the_end() {
    let made = Made::new();
    let daemon = daemon(&made, |config| {
        config.server.connections_max = 3;
        config.server.shutdown_deadline_secs = 300;
        config
            .server
            .tls
            .as_mut()
            .expect("set")
            .handshake_timeout_secs = 300;
    })
    .await;
    let mut held = shake_hands(&daemon, &made.client_config().into())
        .await
        .expect("shaken");
    // Which of those that come together is one too many is davy's to say.
    let mut silent = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let mut stream = connect(&daemon).await;
        silent.spawn(async move {
            let mut told = Vec::new();
            let _ = stream.read_to_end(&mut told).await;
            told
        });
    }
    let ended = tokio::time::timeout(PATIENCE, silent.join_next()).await;
    let told = ended.expect("closed at once").expect("some").expect("well");
    assert!(told.is_empty(), "{told:?}");
    assert_eq!(healthz(&mut held).await.expect("answered"), OK);
    assert!(silent.try_join_next().is_none(), "one only");
    drop(held);
    let limit = "davy_limit_reached_total{limit=\"connections\"}";
    let counting = async {
        // While there is no room the metrics cannot be asked for either.
        loop {
            let request = daemon.client.get(format!("{}/metrics", daemon.url));
            if let Ok(answer) = request.send().await {
                return answer.text().await.expect("text");
            }
        }
    };
    let metrics = tokio::time::timeout(PATIENCE, counting).await;
    let metrics = metrics.expect("there is room again");
    let count = metrics.lines().find_map(|line| line.strip_prefix(limit));
    let count: u64 = count.expect("counted").trim().parse().expect("a number");
    assert!(count >= 1);
    // Two handshakes are under way, and have five minutes.
    let ending = tokio::time::timeout(PATIENCE, daemon.stop()).await;
    assert!(ending.is_ok(), "handshakes end with the daemon");
    drop(silent);
}
