//! Receivers that mean harm, or seem to: each is one endpoint of one daemon, beside one that is well.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use davy::webhook::guard::GuardedResolver;
use davy::webhook::worker::{Policy, client_with};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::workers::{Running, policy};
use super::{entry, receiver};
use crate::daemon::TestDaemon;
use crate::support::PATIENCE;

/// What one answer of a hostile receiver may have davy take in: what both sockets hold on their own
/// (10 MB where Linux lets them grow), and no more.
const TAKEN_BYTES_MAX: u64 = 16 << 20;

/// What it does once it has read the head of a request.
#[derive(Debug, Clone, PartialEq)]
enum Manner {
    /// Nothing, for ever.
    Silent,
    /// This, and then it is gone.
    Says(String),
    /// This, and then more of the same without end.
    GoesOn(String, Vec<u8>),
    /// This, and then a little more now and then, without end.
    Trickles(String, &'static [u8]),
}

#[derive(Default)]
struct Seen {
    attempts: AtomicU64,
    /// Most bytes that one connection took.
    bytes_max: AtomicU64,
}

async fn behave(mut stream: TcpStream, manner: Manner, seen: Arc<Seen>) {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut some = [0; 4_096];
        match stream.read(&mut some).await {
            Ok(read) if read > 0 => head.extend_from_slice(&some[..read]),
            _ => return,
        }
    }
    seen.attempts.fetch_add(1, Ordering::SeqCst);
    let (first, more) = match manner {
        Manner::Silent => return std::future::pending().await,
        Manner::Says(text) => (text, None),
        Manner::GoesOn(text, more) => (text, Some((more, Duration::ZERO))),
        Manner::Trickles(text, more) => (text, Some((more.to_vec(), Duration::from_millis(20)))),
    };
    if stream.write_all(first.as_bytes()).await.is_err() {
        return;
    }
    let Some((more, pause)) = more else { return };
    let mut bytes = 0;
    while let Ok(written) = stream.write(&more).await {
        bytes += written as u64;
        seen.bytes_max.fetch_max(bytes, Ordering::SeqCst);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
}

async fn hostile(manner: Manner) -> (String, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let seen = Arc::new(Seen::default());
    let told = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(behave(stream, manner.clone(), told.clone()));
        }
    });
    (url, seen)
}

fn chunk(bytes: usize) -> Vec<u8> {
    format!("{bytes:x}\r\n{}\r\n", "x".repeat(bytes)).into_bytes()
}

/// Every manner, and a name for it.
fn manners(elsewhere: &str) -> Vec<(&'static str, Manner)> {
    let says = |text: &str| Manner::Says(format!("HTTP/1.1 {text}"));
    let endless =
        |status: &str| format!("HTTP/1.1 {status} x\r\ntransfer-encoding: chunked\r\n\r\n");
    vec![
        ("silent", Manner::Silent),
        (
            "error",
            says("500 x\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno"),
        ),
        ("cut-head", says("200 OK\r\ncontent-le")),
        ("cut-body", says("500 x\r\ncontent-length: 1000\r\n\r\nabc")),
        (
            "no-http",
            Manner::Says("SSH-2.0-OpenSSH_9.9\r\n".to_owned()),
        ),
        ("closed", Manner::Says(String::new())),
        (
            "endless-body",
            Manner::GoesOn(endless("500"), chunk(1 << 16)),
        ),
        (
            "endless-head",
            Manner::GoesOn(
                "HTTP/1.1 204 x\r\n".to_owned(),
                b"x-more: 0123456789abcdef\r\n".repeat(1_000),
            ),
        ),
        (
            "endless-line",
            Manner::GoesOn("HTTP/1.1 204 x\r\nx-long: ".to_owned(), vec![b'x'; 1 << 16]),
        ),
        (
            "endless-progress",
            Manner::Trickles(String::new(), b"HTTP/1.1 102 Processing\r\n\r\n"),
        ),
        ("trickle", Manner::Trickles(endless("503"), b"1\r\nx\r\n")),
        (
            "to-metadata",
            says("302 x\r\nlocation: http://169.254.169.254/latest\r\ncontent-length: 0\r\n\r\n"),
        ),
        (
            "elsewhere",
            says(&format!(
                "307 x\r\nlocation: {elsewhere}/stolen\r\ncontent-length: 0\r\n\r\n"
            )),
        ),
        ("gone", says("410 x\r\ncontent-length: 4\r\n\r\ngone")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_receiver_does_the_others_get_theirs_and_nothing_sticks() {
    let (well, mut arrived) = receiver(&[]).await;
    let (elsewhere, mut stolen) = receiver(&[]).await;
    let with = |name: &str, url: &str| {
        entry(&format!(
            "name = \"{name}\"\nurl = \"{url}/hook\"\nevents = [\"analysis.started\"]\ntimeout_secs = 1"
        ))
    };
    let mut entries = vec![with("well", &well)];
    let mut all = Vec::new();
    for (name, manner) in manners(&elsewhere) {
        let (url, seen) = hostile(manner).await;
        entries.push(with(name, &url));
        all.push((name, seen));
    }
    let daemon = TestDaemon::start_with(|config| {
        config.webhooks = entries;
        config.webhook.backoff_initial_ms = 10;
        config.webhook.backoff_max_ms = 20;
        config.server.shutdown_deadline_secs = 2;
    })
    .await;
    for _ in 0..2 {
        daemon.begin().await;
        let request = tokio::time::timeout(PATIENCE, arrived.recv()).await;
        assert_eq!(request.expect("in time").expect("a call").path, "/hook");
    }
    for (name, seen) in &all {
        // Three attempts at the two there are: it has tried again. One that is gone is not asked
        // twice for the same.
        let least = if *name == "gone" { 2 } else { 3 };
        let again = async {
            while seen.attempts.load(Ordering::SeqCst) < least {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, again).await;
        waited.unwrap_or_else(|_| panic!("{name} is not tried again"));
        let bytes = seen.bytes_max.load(Ordering::SeqCst);
        assert!(bytes < TAKEN_BYTES_MAX, "{name}: {bytes} bytes");
    }
    let (_, page) = daemon.get("/v1/dead-letters").await;
    let letters = page["dead_letters"].as_array().expect("a list");
    assert_eq!(letters.len(), 2, "{page}");
    for letter in letters {
        assert_eq!(
            (&letter["endpoint"], &letter["attempts"]),
            (&json!("gone"), &json!(1))
        );
        let why = letter["error"].as_str().expect("a text");
        assert!(
            why.starts_with("answered 410") && why.ends_with("gone"),
            "{why}"
        );
    }
    let (_, gone) = all.last().expect("it is the last");
    assert_eq!(gone.attempts.load(Ordering::SeqCst), 2);
    daemon.stop().await;
    assert!(stolen.try_recv().is_err(), "a redirect was followed");
}

/// A name that leads to this machine the first time, and to a metadata service from then on.
#[derive(Default)]
struct Rebound(AtomicU64);

impl Resolve for Rebound {
    fn resolve(&self, _: Name) -> Resolving {
        let first = self.0.fetch_add(1, Ordering::SeqCst) == 0;
        let host = if first {
            [127, 0, 0, 1]
        } else {
            [169, 254, 169, 254]
        };
        let addresses: Addrs = Box::new(std::iter::once((host, 0).into()));
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_elsewhere_the_second_time_gets_nothing() {
    let manner =
        Manner::Says("HTTP/1.1 500 x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".into());
    let (url, seen) = hostile(manner).await;
    let url = url.replace("127.0.0.1", "rebound.example");
    let client = client_with(GuardedResolver::of(Rebound::default())).expect("a client");
    let impatient = Policy {
        age_max: Duration::from_millis(100),
        ..policy()
    };
    let running = Running::with_client(&url, "timeout_secs = 5", impatient, client);
    running.put(1, 1).await;
    running.until_empty().await;
    let dead = running.dead().await;
    assert!(
        dead[0].contains("rebound.example resolves to no address that is allowed"),
        "{dead:?}"
    );
    assert_eq!(
        seen.attempts.load(Ordering::SeqCst),
        1,
        "the good address once"
    );
    running.stop().await;
}
