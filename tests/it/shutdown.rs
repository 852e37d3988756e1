//! The end of a daemon: in bounded time, whoever is still connected.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use davy::http::listen::{Opening, SocketBounds, serve};
use davy::telemetry::Metrics;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::daemon::{TestDaemon, WALK, client};
use crate::support::PATIENCE;

/// Far below the drain's deadline, and the time that a poll waits.
const PROMPT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn open_streams_and_long_polls_end_with_the_daemon() {
    let daemon = TestDaemon::start_with(|config| {
        config.server.shutdown_deadline_secs = 600;
    })
    .await;
    let id = daemon.begin().await;
    let events = format!("{}/v1/analyses/{id}/events", daemon.url);
    let mut stream = daemon.client.get(events).send().await.expect("a stream");
    stream
        .chunk()
        .await
        .expect("lives")
        .expect("the first event");
    let verdict = format!("{}/v1/analyses/{id}/verdict?wait=60s", daemon.url);
    let poll = tokio::spawn(daemon.client.get(verdict).send());
    let idle = TcpStream::connect(daemon.url.trim_start_matches("http://")).await;
    // The engine was told of both: the poll is not only connected but waits.
    let asked = "davy_engine_input_duration_seconds_count{input=\"asked\"} 2";
    let waits = async {
        loop {
            let metrics = daemon.client.get(format!("{}/metrics", daemon.url)).send();
            let text = metrics.await.expect("answered").text().await;
            if text.expect("text").contains(asked) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PROMPT, waits).await.expect("stream and poll ask");
    daemon.begin_to_stop();
    timeout(PROMPT, daemon.ended())
        .await
        .expect("the drain is prompt");
    while stream.chunk().await.is_ok_and(|chunk| chunk.is_some()) {}
    let answer = poll.await.expect("no panic").expect("a poll is answered");
    assert_eq!(answer.status().as_u16(), 200, "with the verdict so far");
    drop(idle);
}

/// A request whose body never comes, once it is being read: one that was not taken yet would be
/// turned away.
async fn half_a_request(url: &str) -> TcpStream {
    let mut held = TcpStream::connect(url.trim_start_matches("http://"))
        .await
        .expect("it listens");
    let head = b"POST /v1/analyses HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n{";
    held.write_all(head).await.expect("sent");
    // Told to go on.
    let mut told = [0; 25];
    held.read_exact(&mut told).await.expect("an answer");
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    held
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_never_ends_is_cut_off_when_its_share_of_the_deadline_is_over() {
    const DEADLINE: Duration = Duration::from_secs(2);
    let daemon = TestDaemon::start_with(|config| {
        config.server.shutdown_deadline_secs = DEADLINE.as_secs();
        config.server.request_timeout_secs = 300;
    })
    .await;
    let mut held = half_a_request(&daemon.url).await;
    let begun = tokio::time::Instant::now();
    daemon.begin_to_stop();
    let ended = timeout(PATIENCE, daemon.ended()).await;
    ended.expect("the deadline holds");
    assert!(begun.elapsed() >= DEADLINE / 2, "it had its time");
    let cut = timeout(PATIENCE, held.read(&mut [0; 1])).await;
    assert!(matches!(cut, Ok(Ok(0) | Err(_))), "{cut:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_holds_its_thread_up_does_not_hold_up_the_end() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = listener.local_addr().expect("bound");
    let (entered, held_up) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let held = Arc::new(Mutex::new((entered, released)));
    // As a verdict that waits for a disk.
    let answer = move || {
        let (entered, released) = &*held.lock().expect("whole");
        entered.send(()).expect("the test waits");
        tokio::task::block_in_place(|| released.recv().expect("it is told"));
        std::future::ready("")
    };
    let router = axum::Router::new().route("/", axum::routing::get(answer));
    let opening = Opening {
        tls: None,
        bounds: SocketBounds {
            connections_max: 8,
            header_read_timeout: PATIENCE,
            write_timeout: PATIENCE,
        },
        metrics: Arc::new(Metrics::new("0").expect("names are unique")),
        stopping: CancellationToken::new(),
        closing: CancellationToken::new(),
    };
    let (stopping, closing) = (opening.stopping.clone(), opening.closing.clone());
    let serving = tokio::spawn(serve(listener, router, opening));
    let mut asking = TcpStream::connect(address).await.expect("it listens");
    let request = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
    asking.write_all(request).await.expect("sent");
    tokio::task::block_in_place(|| held_up.recv_timeout(PATIENCE)).expect("it is asked");
    stopping.cancel();
    closing.cancel();
    let served = timeout(PATIENCE, serving).await.expect("it ends");
    served.expect("no panic").expect("the socket is good");
    release.send(()).expect("it waits yet");
}

/// Kills the child when the test ends early.
pub struct Child(pub std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A davy of its own with more arguments, its log, and where it listens.
pub fn spawn(
    folder: &std::path::Path,
    more: &[&str],
) -> (Child, impl Iterator<Item = String> + use<>, String) {
    std::fs::write(folder.join("walk.yaml"), WALK).expect("written");
    let child = Command::new(env!("CARGO_BIN_EXE_davy"))
        .args(["serve", "--ready-file", "ready", "--set", "server.port=0"])
        .args(["--set", "log.format=json", "--set"])
        .arg(format!("plans.directory={}", folder.display()))
        .args(more)
        .current_dir(folder)
        .stderr(Stdio::piped())
        .spawn();
    let mut child = Child(child.expect("davy starts"));
    let log = BufReader::new(child.0.stderr.take().expect("piped"));
    let mut lines = log.lines().map(|line| line.expect("text"));
    let ready = lines
        .find(|line| line.contains("\"message\":\"ready\""))
        .expect("it gets ready");
    let ready: serde_json::Value = serde_json::from_str(&ready).expect("the log is JSON");
    let url = format!("http://{}", ready["address"].as_str().expect("an address"));
    (child, lines, url)
}

pub fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill")
        .args([name, &child.0.id().to_string()])
        .status();
    assert!(sent.expect("kill runs").success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_a_drain_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut child, mut lines, url) = spawn(folder.path(), &[]);
    let _held = half_a_request(&url).await;
    signal(&child, "-INT");
    assert!(lines.any(|line| line.contains("\"message\":\"stopping\"")));
    assert!(child.0.try_wait().expect("asked").is_none(), "it drains");
    signal(&child, "-INT");
    let rest: Vec<String> = lines.collect();
    assert!(
        !rest
            .iter()
            .any(|line| line.contains("\"message\":\"stopped\"")),
        "{rest:?}"
    );
    assert!(
        rest.iter().any(|line| line.contains("told twice")),
        "{rest:?}"
    );
    assert_eq!(child.0.wait().expect("it ended").code(), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_drains_a_real_process_and_it_exits_0() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut child, mut lines, url) = spawn(folder.path(), &[]);
    assert!(folder.path().join("ready").exists());
    let body = json!({"plan": "walk"});
    let started = client()
        .post(format!("{url}/v1/analyses"))
        .json(&body)
        .send()
        .await;
    let started: serde_json::Value = started.expect("an answer").json().await.expect("JSON");
    let events = format!(
        "{url}/v1/analyses/{}/events",
        started["id"].as_str().expect("an id")
    );
    let mut stream = client().get(events).send().await.expect("a stream");
    stream
        .chunk()
        .await
        .expect("lives")
        .expect("the first event");
    signal(&child, "-TERM");
    assert!(
        lines.any(|line| line.contains("\"message\":\"stopped\"")),
        "it says that it stopped"
    );
    let status = child.0.wait().expect("it ended");
    assert_eq!(status.code(), Some(0));
    assert!(
        !folder.path().join("ready").exists(),
        "nobody is there any more"
    );
}

#[test]
fn a_bad_configuration_is_told_before_anything_listens() {
    let run = |args: &[&str]| {
        let out = Command::new(env!("CARGO_BIN_EXE_davy"))
            .args(args)
            .output()
            .expect("davy runs");
        (
            out.status.code(),
            String::from_utf8_lossy(&out.stderr).into_owned(),
        )
    };
    let (code, said) = run(&["serve", "--set", "server.prt=1"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("prt"), "{said}");
    let (code, said) = run(&["serve", "--set", "plans.directory=/nonexistent"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(
        said.starts_with("davy: error:") || said.contains("davy: error:"),
        "{said}"
    );
    let (code, _) = run(&["serve", "--nonsense"]);
    assert_eq!(code, Some(64));
    let (code, said) = run(&["--version"]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
}
