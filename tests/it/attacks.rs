//! Clients that mean harm, before anybody knows who they are: what they get, and what the others notice.

use std::time::Duration;

use davy::http::listen::{HEAD_BYTES_MAX, HEADERS_MAX};
use davy::tokens::Scope;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::daemon::TestDaemon;
use crate::door::{Keys, text};
use crate::limits_counted::reached;
use crate::support::PATIENCE;

async fn connect(daemon: &TestDaemon) -> TcpStream {
    let address = daemon.url.trim_start_matches("http://");
    TcpStream::connect(address).await.expect("it listens")
}

/// What comes until davy closes the connection.
async fn until_closed(stream: &mut TcpStream) -> String {
    let mut told = Vec::new();
    // A reset is an end, too: not all that was sent may have been read.
    let ended = timeout(PATIENCE, stream.read_to_end(&mut told)).await;
    assert!(ended.is_ok(), "the connection stays open");
    String::from_utf8_lossy(&told).into_owned()
}

/// The status of the answer to these bytes; 0 where there is none.
async fn status(daemon: &TestDaemon, request: &[u8]) -> u16 {
    let mut stream = connect(daemon).await;
    // davy may have answered and closed before it was sent all.
    let _ = stream.write_all(request).await;
    let mut told = [0; 12];
    let read = timeout(PATIENCE, stream.read_exact(&mut told)).await;
    match read.expect("neither an answer nor an end") {
        Ok(_) => String::from_utf8_lossy(&told)["HTTP/1.1 ".len()..]
            .parse()
            .expect("a status"),
        Err(_) => 0,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_dribble_are_ended_while_others_are_served() {
    const DRIBBLERS: usize = 50;
    const HEAD: Duration = Duration::from_secs(10);
    let daemon = TestDaemon::start_with(|config| {
        config.server.header_read_timeout_secs = HEAD.as_secs();
        config.server.connections_max = DRIBBLERS as u64 + 10;
    })
    .await;
    let mut dribblers = JoinSet::new();
    for _ in 0..DRIBBLERS {
        let begun = Instant::now();
        let mut stream = connect(&daemon).await;
        dribblers.spawn(async move {
            let head = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-slow: ";
            stream.write_all(head).await.expect("sent");
            while stream.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
                assert!(begun.elapsed() < PATIENCE, "it may go on for ever");
            }
            begun.elapsed()
        });
    }
    assert_eq!(daemon.get("/healthz").await.0, 200);
    assert!(dribblers.try_join_next().is_none(), "others wait for them");
    let lasted = timeout(PATIENCE, dribblers.join_all())
        .await
        .expect("all end");
    let least = lasted.iter().min().expect("some");
    assert!(*least >= HEAD, "too early: {least:?}");
    daemon.stop().await;
}

/// Connects; with a request that is answered, where it is `asking`.
async fn come(daemon: &TestDaemon, asking: bool) -> TcpStream {
    let mut stream = connect(daemon).await;
    if asking {
        asks(&mut stream).await.expect("answered");
    }
    stream
}

/// A request that is answered; `None` where the connection is closed instead.
async fn asks(stream: &mut TcpStream) -> Option<()> {
    let request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request).await.ok()?;
    let mut told = Vec::new();
    // To the end of the body, so that the next answer begins where it is looked for.
    while !told.ends_with(b"}") {
        let mut piece = [0; 1024];
        let count = timeout(PATIENCE, stream.read(&mut piece)).await;
        let count = count.expect("an answer or an end").ok()?;
        told.extend_from_slice(&piece[..count]);
        if count == 0 {
            return None;
        }
    }
    assert!(told.starts_with(b"HTTP/1.1 200 "));
    Some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_closed_at_once_and_no_other() {
    const MOST: usize = 8;
    let daemon = TestDaemon::start_with(|config| {
        // None of them goes by itself while this runs.
        config.server.header_read_timeout_secs = 300;
        config.server.connections_max = MOST as u64;
    })
    .await;
    let mut asked = Vec::new();
    for _ in 0..MOST / 2 {
        asked.push(come(&daemon, true).await);
    }
    // Which of those that come together is one too many is davy's to say.
    let mut silent = JoinSet::new();
    for _ in MOST / 2..=MOST {
        let mut stream = connect(&daemon).await;
        silent.spawn(async move {
            let mut told = Vec::new();
            let read = stream.read_to_end(&mut told).await;
            assert!(matches!(read, Ok(0) | Err(_)), "{told:?}");
        });
    }
    let ended = timeout(PATIENCE, silent.join_next()).await;
    ended.expect("one is closed").expect("some").expect("well");
    // Later than any of those that came with it would be.
    for stream in &mut asked {
        asks(stream).await.expect("answered");
    }
    assert!(silent.try_join_next().is_none(), "one only");
    // On a connection that is there: a new one might be one too many itself.
    let mut last = asked.pop().expect("some");
    let request = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    last.write_all(request).await.expect("sent");
    let metrics = until_closed(&mut last).await;
    let counted = "davy_limit_reached_total{limit=\"connections\"} 1\n";
    assert!(metrics.contains(counted), "{metrics}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_asked_once_and_says_nothing_more_gives_its_place_back() {
    const MOST: usize = 8;
    let daemon = TestDaemon::start_with(|config| {
        // Long enough to ask in, on whatever machine.
        config.server.header_read_timeout_secs = 5;
        config.server.connections_max = MOST as u64;
    })
    .await;
    let coming = (0..MOST).map(|number| come(&daemon, number % 2 == 0));
    for mut stream in futures_util::future::join_all(coming).await {
        until_closed(&mut stream).await;
    }
    // As many as before, at the same time.
    let room = async {
        let mut served = Vec::new();
        while served.len() < MOST {
            let mut stream = connect(&daemon).await;
            if asks(&mut stream).await.is_some() {
                served.push(stream);
            } else {
                // A place is free a moment after its connection is seen to be closed.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    timeout(PATIENCE, room).await.expect("there is room again");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_are_taken_to_the_limit_and_not_past_it() {
    let daemon = TestDaemon::start().await;
    let begin = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n";
    let many = |count: usize| format!("{begin}{}\r\n", "x: y\r\n".repeat(count - 1));
    let long = |bytes: usize| {
        let rest = bytes - begin.len() - "x: \r\n\r\n".len();
        format!("{begin}x: {}\r\n\r\n", "y".repeat(rest))
    };
    assert_eq!(status(&daemon, many(HEADERS_MAX).as_bytes()).await, 200);
    assert_eq!(status(&daemon, many(HEADERS_MAX + 1).as_bytes()).await, 431);
    assert_eq!(
        status(&daemon, long(HEAD_BYTES_MAX - 1).as_bytes()).await,
        200
    );
    // Without its end, so that nothing of it is left unread when davy answers.
    let mut stream = connect(&daemon).await;
    let over = &long(2 * HEAD_BYTES_MAX).into_bytes()[..HEAD_BYTES_MAX];
    stream.write_all(over).await.expect("sent");
    let told = until_closed(&mut stream).await;
    assert!(told.starts_with("HTTP/1.1 431 "), "{told}");
    // Who goes on and on is ended: what is not read fills the way.
    let mut stream = connect(&daemon).await;
    stream.write_all(begin.as_bytes()).await.expect("sent");
    let flooding = async {
        let line = format!("x: {}\r\n", "y".repeat(8_000));
        let mut sent = 0;
        while stream.write_all(line.as_bytes()).await.is_ok() {
            sent += line.len();
        }
        sent
    };
    let sent = timeout(PATIENCE, flooding).await.expect("it is ended");
    assert!(sent < 32 << 20, "{sent} bytes were taken");
    assert_eq!(daemon.get("/healthz").await.0, 200);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_dribble_are_ended_while_others_are_served() {
    const DRIBBLERS: usize = 20;
    let daemon = TestDaemon::start_with(|config| config.server.request_timeout_secs = 1).await;
    let mut dribblers = JoinSet::new();
    for _ in 0..DRIBBLERS {
        let stream = connect(&daemon).await;
        dribblers.spawn(async move {
            let (mut reader, mut writer) = stream.into_split();
            let head =
                b"POST /v1/samples HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n";
            writer.write_all(head).await.expect("sent");
            let sending = tokio::spawn(async move {
                while writer.write_all(b" ").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            });
            let mut status = [0; 12];
            let read = timeout(PATIENCE, reader.read_exact(&mut status)).await;
            sending.abort();
            read.expect("it may go on for ever").expect("answered");
            String::from_utf8_lossy(&status).into_owned()
        });
    }
    assert_eq!(daemon.get("/healthz").await.0, 200);
    for told in dribblers.join_all().await {
        assert_eq!(told, "HTTP/1.1 408");
    }
    assert_eq!(
        reached(&daemon, "request_timeout_secs").await,
        DRIBBLERS as u64
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_s_body_is_not_waited_for() {
    let keys = Keys::new();
    let daemon = keys.daemon().await;
    let mut stream = connect(&daemon).await;
    let head =
        b"POST /v1/samples HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head).await.expect("sent");
    let mut status = [0; 12];
    stream
        .read_exact(&mut status)
        .await
        .expect("answered before any of the body");
    assert_eq!(&status, b"HTTP/1.1 401");
    let chunk = format!("8000\r\n{}\r\n", " ".repeat(0x8000));
    let flooding = async {
        let mut sent = 0;
        while stream.write_all(chunk.as_bytes()).await.is_ok() {
            sent += chunk.len();
        }
        sent
    };
    let sent = timeout(PATIENCE, flooding).await.expect("it is ended");
    assert!(sent < 32 << 20, "{sent} bytes were taken");
    daemon.stop().await;
}

/// Requests that may look like one route to something in front, and like another to davy.
fn tricks() -> Vec<Vec<u8>> {
    let targets = [
        "//v1/analyses",
        "//v1/../v1/analyses",
        "/v1/../v1/analyses",
        "/healthz/../v1/analyses",
        "/healthz/%2e%2e/v1/analyses",
        "/healthz/..%2fv1/analyses",
        "/healthz%2f..%2fv1%2fanalyses",
        "/healthz%00/v1/analyses",
        "/v1/analyses%00",
        "/v1/analyses%20",
        "/v1/analyses/",
        "/v1/analyses//",
        "/v1//analyses",
        "/v1/./analyses",
        "/v1/%2e/analyses",
        "/v1%2Fanalyses",
        "/v1\\analyses",
        "/%76%31/analyses",
        "/V1/ANALYSES",
        "/v1/Analyses",
        "/v1/analyses;a=b",
        "/v1/analyses%3fa",
        "/v1/analyses#x",
        "/healthz?/../v1/analyses",
        "v1/analyses",
        "*",
        "http://localhost//v1/analyses",
        "http://localhost@elsewhere/v1/../v1/analyses",
        "/metrics/",
        "/METRICS",
        "/metrics%2f",
        "/./metrics",
        "/v1/analyses/%2e%2e/%2e%2e/metrics",
        "/v1/analyses/../../metrics",
        "/v1/analyses/an_0/%2e%2e",
        "/api/v1/write/../../../metrics",
    ];
    let mut all: Vec<Vec<u8>> = Vec::new();
    for target in targets {
        for method in ["GET", "HEAD", "POST", "get", "OPTIONS", "TRACE", "CONNECT"] {
            all.push(format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\n").into_bytes());
        }
    }
    let raw: [&[u8]; 8] = [
        b"GET /v1/analyses\0 HTTP/1.1\r\nhost: localhost\r\n",
        b"GET /v1/analyses\xff HTTP/1.1\r\nhost: localhost\r\n",
        b"GET /v1/analyses HTTP/1.1\r\nhost: localhost\r\nx-original-url: /healthz\r\n",
        b"GET /v1/analyses HTTP/1.1\r\nhost: localhost\r\nx-http-method-override: PUT\r\n",
        b"GET\t/v1/analyses\tHTTP/1.1\r\nhost: localhost\r\n",
        b"GET /v1/analyses HTTP/9.9\r\nhost: localhost\r\n",
        b"GET /v1/analyses HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n",
    ];
    all.extend(raw.map(<[u8]>::to_vec));
    let long = "a".repeat(HEAD_BYTES_MAX - 1_000);
    for path in [
        format!("/{long}"),
        format!("/v1/analyses/{long}"),
        format!("/v1/{}", "../".repeat(9_000)),
    ] {
        all.push(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n").into_bytes());
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_a_path_reaches_a_route_without_its_door() {
    let keys = Keys::new();
    keys.add(1, &[Scope::Ingest], |_| ());
    let daemon = keys.daemon().await;
    for head in tricks() {
        for credentials in [
            String::new(),
            format!("authorization: Bearer {}\r\n", text(1)),
        ] {
            let mut request = head.clone();
            request.extend(credentials.as_bytes());
            request.extend(b"\r\n");
            let found = status(&daemon, &request).await;
            let shown = String::from_utf8_lossy(&head[..head.len().min(80)]).into_owned();
            // Who may send samples only may read and change nothing by any of these.
            let is_open = head.starts_with(b"GET /healthz?") || head.starts_with(b"HEAD /healthz?");
            let expected = if is_open { 200..=200 } else { 400..=499 };
            assert!(
                expected.contains(&found) || (found == 0 && !is_open),
                "{found}: {shown}"
            );
        }
    }
    daemon.stop().await;
}
