//! What reading alone costs: a server that reads the same bodies, and does nothing with them.
//!
//! Owns one reader a form, each the best well-known way, with what it read summed up so that
//! nothing is left out. It runs as a process of its own: the bench, started anew.

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::header;
use axum::routing::{get, post};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

/// Runs until the process is ended. The trivial answer has as many bytes as `answer_bytes` says.
pub fn serve(port: u16, answer_bytes: usize) {
    let trivial = Bytes::from(format!("{:1$}", "{}", answer_bytes));
    let trivial = move || {
        let body = trivial.clone();
        async move { ([(header::CONTENT_TYPE, "application/json")], body) }
    };
    let app = Router::new()
        .route("/trivial", get(trivial))
        .route("/discard", post(async |_: Bytes| ""))
        .route("/json", post(async |body: Bytes| json(&body).to_string()))
        .route(
            "/ndjson",
            post(async |body: Bytes| ndjson(&body).to_string()),
        )
        .route("/text", post(async |body: Bytes| text(&body).to_string()))
        .route(
            "/otlp",
            post(async |body: Bytes| protobuf(&body).to_string()),
        )
        .layer(DefaultBodyLimit::disable());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
            .await
            .expect("a free port");
        axum::serve(listener, app).await.expect("serves");
    });
}

/// Bytes of labels and the sum of numbers: what was read.
#[derive(Debug, Default)]
struct Read {
    bytes: usize,
    sum: f64,
}

impl std::fmt::Display for Read {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.bytes, self.sum)
    }
}

// === JSON ===

#[derive(Deserialize)]
struct Batch<'b> {
    #[serde(borrow)]
    batch: Vec<Item<'b>>,
}

#[derive(Deserialize)]
struct Item<'b> {
    ts: i64,
    metric: &'b str,
    #[serde(borrow)]
    labels: Labels<'b>,
    #[serde(default)]
    value: f64,
    #[serde(default)]
    values: Vec<f64>,
}

struct Labels<'b>(Vec<(&'b str, &'b str)>);

impl<'de: 'b, 'b> Deserialize<'de> for Labels<'b> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Labels<'b>, D::Error> {
        from.deserialize_map(Pairs)
    }
}

struct Pairs;

impl<'b> Visitor<'b> for Pairs {
    type Value = Labels<'b>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("labels")
    }

    fn visit_map<A: MapAccess<'b>>(self, mut map: A) -> Result<Labels<'b>, A::Error> {
        let mut labels = Labels(Vec::with_capacity(8));
        while let Some(pair) = map.next_entry()? {
            labels.0.push(pair);
        }
        Ok(labels)
    }
}

impl Read {
    fn item(&mut self, item: &Item<'_>) {
        let labels = item.labels.0.iter();
        self.bytes += labels
            .map(|(name, value)| name.len() + value.len())
            .sum::<usize>();
        self.bytes += item.metric.len() + item.ts as usize % 7;
        self.sum += item.value + item.values.iter().sum::<f64>();
    }
}

fn json(body: &[u8]) -> Read {
    let mut read = Read::default();
    let batch: Batch<'_> = serde_json::from_slice(body).expect("a batch");
    batch.batch.iter().for_each(|item| read.item(item));
    read
}

fn ndjson(body: &[u8]) -> Read {
    let mut read = Read::default();
    for line in body
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        read.item(&serde_json::from_slice(line).expect("an item"));
    }
    read
}

// === text ===

/// Lines, labels between quotes, a number and a time.
fn text(body: &[u8]) -> Read {
    let mut read = Read::default();
    let body = std::str::from_utf8(body).expect("text");
    let mut from = 0;
    for end in memchr::memchr_iter(b'\n', body.as_bytes()) {
        let line = &body[from..end];
        from = end + 1;
        if line.starts_with('#') {
            continue;
        }
        let open = memchr::memchr(b'{', line.as_bytes()).expect("labels");
        let (mut at, bytes) = (open + 1, line.as_bytes());
        read.bytes += open;
        while bytes[at] != b'}' {
            let equals = at + memchr::memchr(b'=', &bytes[at..]).expect("a label");
            let quote = equals + 2;
            let end = quote + memchr::memchr2(b'"', b'\\', &bytes[quote..]).expect("a value");
            read.bytes += equals - at + end - quote;
            at = end + 1;
            at += usize::from(bytes[at] == b',');
        }
        let rest = &line[at + 2..];
        let blank = memchr::memchr(b' ', rest.as_bytes()).expect("a time");
        read.sum += rest[..blank].parse::<f64>().expect("a number");
        read.sum += rest[blank + 1..].parse::<f64>().expect("a number");
    }
    read
}

// === protobuf ===

/// Which fields of a message of OTLP are messages themselves, down to attributes and points.
#[derive(Clone, Copy)]
enum Message {
    Request,
    OfResource,
    Resource,
    OfScope,
    Metric,
    Sum,
    Point,
    Pair,
    Value,
}

impl Message {
    fn inner(self, field: u64) -> Option<Message> {
        Some(match (self, field) {
            (Message::Request, 1) => Message::OfResource,
            (Message::OfResource, 1) => Message::Resource,
            (Message::OfResource, 2) => Message::OfScope,
            (Message::OfScope, 2) => Message::Metric,
            (Message::Metric, 7) => Message::Sum,
            (Message::Sum, 1) => Message::Point,
            (Message::Resource, 1) | (Message::Point, 7) => Message::Pair,
            (Message::Pair, 2) => Message::Value,
            _ => return None,
        })
    }
}

fn protobuf(body: &[u8]) -> Read {
    let mut read = Read::default();
    read.message(body, Message::Request);
    read
}

impl Read {
    fn message(&mut self, mut rest: &[u8], message: Message) {
        while !rest.is_empty() {
            let tag = varint(&mut rest);
            match tag & 7 {
                0 => self.bytes += varint(&mut rest) as usize,
                1 => {
                    let (number, behind) = rest.split_first_chunk::<8>().expect("eight bytes");
                    let number = i64::from_le_bytes(*number);
                    self.sum += number as f64;
                    rest = behind;
                }
                2 => {
                    let length = varint(&mut rest) as usize;
                    let (inner, behind) = rest.split_at(length);
                    match message.inner(tag >> 3) {
                        Some(kind) => self.message(inner, kind),
                        // Labels are text, which has to be checked.
                        None => self.bytes += std::str::from_utf8(inner).expect("text").len(),
                    }
                    rest = behind;
                }
                other => panic!("wire type {other}"),
            }
        }
    }
}

fn varint(rest: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0, 0);
    loop {
        let (byte, behind) = rest.split_first().expect("a byte");
        *rest = behind;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return number;
        }
        shift += 7;
    }
}
