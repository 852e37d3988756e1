//! The requests: a thousand series of seven labels, in every form that servers are sent.
//!
//! Owns what the load looks like. Everything is made before anything is timed.

use std::fmt::Write as _;

const CODES: [&str; 5] = ["200", "201", "404", "500", "503"];
const METHODS: [&str; 2] = ["GET", "POST"];
/// Series of one pod, which a collector sends as one resource.
pub const SERIES_OF_A_POD: usize = 10;
/// Series that one request holds at most, one point each.
const SERIES_OF_A_REQUEST: usize = 500;
/// Series and points of each in one request of batches.
const BATCH: (usize, usize) = (10, 100);
/// The name of the series that counts.
pub const COUNTED: &str = "http_requests_total";
/// How long ago the counters began, in milliseconds.
const COUNTING_FOR: i64 = 3_600_000;

/// What the samples are written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Remote-write 1.0, one sample a series.
    Write,
    /// Remote-write 1.0, ten series of a hundred samples.
    WriteBatches,
    /// A JSON document of ten samples with a hundred values each.
    Json,
    /// One JSON object a line: latencies and increments.
    Ndjson,
    /// OpenMetrics text with times.
    OpenMetrics,
    /// The Prometheus text format with times.
    PrometheusText,
    /// OTLP, protobuf.
    Otlp,
}

/// How much is sent, and of what times.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub form: Form,
    pub series: usize,
    /// Points of each series.
    pub passes: usize,
    /// Milliseconds from one point of a series to the next.
    pub step: i64,
    /// Time of the first, in unix milliseconds.
    pub origin: i64,
    /// The label `job`, which plans ask for.
    pub job: &'static str,
    /// Connections that send it.
    pub connections: usize,
}

/// Bodies by connection. A series stays with its connection, so that its points come in order.
pub type Lanes = Vec<Vec<Vec<u8>>>;

/// One series.
#[derive(Debug, Clone, Copy)]
struct Series {
    number: usize,
    job: &'static str,
}

/// Some of the series, with what is the same in every request of them.
pub struct Part {
    series: Vec<Series>,
    heads: Vec<Vec<u8>>,
}

// === impl Series ===

impl Series {
    fn pod(self) -> usize {
        self.number / SERIES_OF_A_POD
    }

    fn code(self) -> &'static str {
        CODES[self.number % CODES.len()]
    }

    fn method(self) -> &'static str {
        METHODS[self.number / CODES.len() % METHODS.len()]
    }

    fn instance(self) -> String {
        format!("checkout-7f9c4d-{:05}:8080", self.pod())
    }

    fn version(self) -> &'static str {
        ["v1.14.2", "v1.15.0"][self.pod() % 2]
    }

    /// Names and values, sorted, without the series' name.
    fn labels(self) -> [(&'static str, String); 7] {
        [
            ("code", self.code().to_owned()),
            ("instance", self.instance()),
            ("job", self.job.to_owned()),
            ("method", self.method().to_owned()),
            ("region", "eu-central-1".to_owned()),
            ("route", "/api/v1/checkout/items".to_owned()),
            ("service_version", self.version().to_owned()),
        ]
    }

    /// The counter's total at a pass: a few failures, many successes, the same in both arms.
    fn total(self, pass: usize) -> u64 {
        let step = if self.code().starts_with('5') { 1 } else { 37 };
        let odd = (self.number as u64 * 31 + pass as u64 * 17) % 5;
        1_000 + step * pass as u64 * 5 + odd * u64::from(pass > 0)
    }

    /// What came on top at a pass.
    fn increment(self, pass: usize) -> u64 {
        (self.number as u64 * 31 + pass as u64 * 17) % 40
    }

    /// A latency, in tenths of a millisecond.
    fn latency(self, pass: usize, nth: usize) -> f64 {
        let mut state = (self.number as u64) << 40 | (pass as u64) << 8 | nth as u64;
        state = (state ^ state >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (state >> 52) as f64 / 10.0 + 5.0
    }
}

// === impl Load ===

impl Load {
    /// Samples in all.
    pub fn samples(&self) -> usize {
        self.series * self.passes
    }

    /// Items that a server counts: a sample of JSON may hold many values.
    pub fn items(&self) -> usize {
        match self.form {
            Form::Json => self.samples() / BATCH.1,
            _ => self.samples(),
        }
    }

    /// Time of the last point.
    pub fn last(&self) -> i64 {
        self.origin + self.step * (self.passes as i64 - 1)
    }

    /// Everything that is sent.
    pub fn lanes(&self) -> Lanes {
        let begins = |lane: usize| self.series * lane / self.connections;
        // Making them takes longer than sending them.
        std::thread::scope(|scope| {
            let making: Vec<_> = (0..self.connections)
                .map(|lane| scope.spawn(move || self.lane(begins(lane), begins(lane + 1))))
                .collect();
            making
                .into_iter()
                .map(|lane| lane.join().expect("bodies"))
                .collect()
        })
    }

    fn lane(&self, from: usize, to: usize) -> Vec<Vec<u8>> {
        let Part { series: all, heads } = self.part(from, to);
        let (width, depth) = match self.form {
            Form::WriteBatches | Form::Json => BATCH,
            _ => (SERIES_OF_A_REQUEST, 1),
        };
        let mut bodies = Vec::new();
        for first in (0..self.passes).step_by(depth) {
            let passes = first..(first + depth).min(self.passes);
            for (series, heads) in all.chunks(width).zip(heads.chunks(width)) {
                bodies.push(self.body(series, heads, passes.clone()));
            }
        }
        bodies
    }

    /// Some of the series, for bodies that are made while they are sent.
    pub fn part(&self, from: usize, to: usize) -> Part {
        let series = |number| Series {
            number,
            job: self.job,
        };
        let series: Vec<Series> = (from..to).map(series).collect();
        let heads = series.iter().map(|series| self.head(*series)).collect();
        Part { series, heads }
    }

    /// One point of each.
    pub fn of_pass(&self, part: &Part, pass: usize) -> Vec<u8> {
        self.body(&part.series, &part.heads, pass..pass + 1)
    }

    fn at(&self, pass: usize) -> i64 {
        self.origin + self.step * pass as i64
    }

    /// What is the same in every request of a series.
    fn head(&self, series: Series) -> Vec<u8> {
        let mut head = Vec::new();
        match self.form {
            Form::Write | Form::WriteBatches => {
                label(&mut head, "__name__", COUNTED);
                for (name, value) in series.labels() {
                    label(&mut head, name, &value);
                }
            }
            Form::OpenMetrics | Form::PrometheusText => {
                let pairs = series.labels();
                let pairs = pairs
                    .iter()
                    .map(|(name, value)| format!("{name}=\"{value}\""));
                let pairs: Vec<String> = pairs.collect();
                head = format!("{COUNTED}{{{}}} ", pairs.join(",")).into_bytes();
            }
            Form::Json | Form::Ndjson => {
                let name = match self.form {
                    Form::Ndjson if series.number % 2 == 1 => "http_requests",
                    _ => "request_duration_ms",
                };
                let pairs = series.labels();
                let pairs = pairs
                    .iter()
                    .map(|(name, value)| format!("\"{name}\":\"{value}\""));
                let pairs: Vec<String> = pairs.collect();
                let pairs = pairs.join(",");
                head = format!("\"metric\":\"{name}\",\"labels\":{{{pairs}}},").into_bytes();
            }
            Form::Otlp => {
                for name in ["code", "method", "region", "route"] {
                    let pairs = series.labels();
                    let found = pairs.iter().find(|(known, _)| *known == name);
                    let value = found.map_or("", |(_, value)| value);
                    attribute(&mut head, 7, name, value);
                }
            }
        }
        head
    }

    fn body(&self, all: &[Series], heads: &[Vec<u8>], passes: std::ops::Range<usize>) -> Vec<u8> {
        match self.form {
            Form::Write | Form::WriteBatches => self.write(all, heads, passes),
            Form::OpenMetrics | Form::PrometheusText => self.text(all, heads, passes.start),
            Form::Json => self.json(all, heads, passes),
            Form::Ndjson => self.ndjson(all, heads, passes.start),
            Form::Otlp => self.otlp(all, heads, passes.start),
        }
    }

    fn write(&self, all: &[Series], heads: &[Vec<u8>], passes: std::ops::Range<usize>) -> Vec<u8> {
        let (mut body, mut one) = (Vec::new(), Vec::new());
        for (series, head) in all.iter().zip(heads) {
            one.clear();
            one.extend_from_slice(head);
            for pass in passes.clone() {
                let mut sample = Vec::with_capacity(20);
                fixed(&mut sample, 1, (series.total(pass) as f64).to_bits());
                tag(&mut sample, 2, 0);
                varint(&mut sample, self.at(pass) as u64);
                bytes(&mut one, 2, &sample);
            }
            bytes(&mut body, 1, &one);
        }
        let mut encoder = snap::raw::Encoder::new();
        encoder.compress_vec(&body).expect("compressed")
    }

    fn text(&self, all: &[Series], heads: &[Vec<u8>], pass: usize) -> Vec<u8> {
        let is_open = self.form == Form::OpenMetrics;
        let name = if is_open { "http_requests" } else { COUNTED };
        let mut body = format!("# TYPE {name} counter\n").into_bytes();
        let (secs, millis) = (self.at(pass) / 1_000, self.at(pass) % 1_000);
        let at = match is_open {
            true => format!("{secs}.{millis:03}"),
            false => format!("{secs}{millis:03}"),
        };
        for (series, head) in all.iter().zip(heads) {
            body.extend_from_slice(head);
            let line = format!("{} {at}\n", series.total(pass));
            body.extend_from_slice(line.as_bytes());
        }
        if is_open {
            body.extend_from_slice(b"# EOF\n");
        }
        body
    }

    fn json(&self, all: &[Series], heads: &[Vec<u8>], passes: std::ops::Range<usize>) -> Vec<u8> {
        let mut body = b"{\"batch\":[".to_vec();
        let at = self.at(passes.start);
        for (series, head) in all.iter().zip(heads) {
            if body.last() == Some(&b'}') {
                body.push(b',');
            }
            body.extend_from_slice(format!("{{\"ts\":{at},").as_bytes());
            body.extend_from_slice(head);
            let values = passes
                .clone()
                .map(|pass| series.latency(pass, 0).to_string());
            let values: Vec<String> = values.collect();
            body.extend_from_slice(format!("\"values\":[{}]}}", values.join(",")).as_bytes());
        }
        body.extend_from_slice(b"]}");
        body
    }

    fn ndjson(&self, all: &[Series], heads: &[Vec<u8>], pass: usize) -> Vec<u8> {
        let mut body = Vec::new();
        let (at, mut value) = (self.at(pass), String::new());
        for (series, head) in all.iter().zip(heads) {
            body.extend_from_slice(format!("{{\"ts\":{at},").as_bytes());
            body.extend_from_slice(head);
            value.clear();
            let _ = match series.number % 2 {
                1 => write!(value, "{}", series.increment(pass)),
                _ => write!(value, "{}", series.latency(pass, 0)),
            };
            body.extend_from_slice(format!("\"value\":{value}}}\n").as_bytes());
        }
        body
    }

    fn otlp(&self, all: &[Series], heads: &[Vec<u8>], pass: usize) -> Vec<u8> {
        let nanos = |millis: i64| millis as u64 * 1_000_000;
        let mut body = Vec::new();
        let pods = all
            .chunks(SERIES_OF_A_POD)
            .zip(heads.chunks(SERIES_OF_A_POD));
        for (pod, heads) in pods {
            let mut resource = Vec::new();
            attribute(&mut resource, 1, "service.name", pod[0].job);
            attribute(&mut resource, 1, "service.instance.id", &pod[0].instance());
            attribute(&mut resource, 1, "service.version", pod[0].version());
            let mut sum = Vec::new();
            for (series, head) in pod.iter().zip(heads) {
                let mut point = head.clone();
                fixed(&mut point, 2, nanos(self.origin - COUNTING_FOR));
                fixed(&mut point, 3, nanos(self.at(pass)));
                fixed(&mut point, 6, series.total(pass));
                bytes(&mut sum, 1, &point);
            }
            // Cumulative and monotonic.
            tag(&mut sum, 2, 0);
            varint(&mut sum, 2);
            tag(&mut sum, 3, 0);
            varint(&mut sum, 1);
            let mut metric = Vec::new();
            bytes(&mut metric, 1, b"http.requests");
            bytes(&mut metric, 3, b"{request}");
            bytes(&mut metric, 7, &sum);
            let mut of_scope = Vec::new();
            bytes(&mut of_scope, 2, &metric);
            let mut of_resource = Vec::new();
            bytes(&mut of_resource, 1, &resource);
            bytes(&mut of_resource, 2, &of_scope);
            bytes(&mut body, 1, &of_resource);
        }
        body
    }
}

// === protobuf ===

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn tag(out: &mut Vec<u8>, field: u64, wire: u64) {
    varint(out, field << 3 | wire);
}

fn fixed(out: &mut Vec<u8>, field: u64, bits: u64) {
    tag(out, field, 1);
    out.extend_from_slice(&bits.to_le_bytes());
}

fn bytes(out: &mut Vec<u8>, field: u64, content: &[u8]) {
    tag(out, field, 2);
    varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

/// A label of remote-write.
fn label(out: &mut Vec<u8>, name: &str, value: &str) {
    let mut pair = Vec::new();
    bytes(&mut pair, 1, name.as_bytes());
    bytes(&mut pair, 2, value.as_bytes());
    bytes(out, 1, &pair);
}

/// An attribute of OTLP whose value is text.
fn attribute(out: &mut Vec<u8>, field: u64, key: &str, value: &str) {
    let (mut any, mut pair) = (Vec::new(), Vec::new());
    bytes(&mut any, 1, value.as_bytes());
    bytes(&mut pair, 1, key.as_bytes());
    bytes(&mut pair, 2, &any);
    bytes(out, field, &pair);
}
