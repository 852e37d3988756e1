//! A recording's scrapes in every format that davy takes.
//!
//! Owns the encoders of the forms that are text (samples as JSON, both expositions), and which
//! form is sent where. Protobuf is in `messages`; the frames and messages themselves are those
//! that the codecs' own tests are written with, made from the published definitions.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::messages;
use super::recording::{BOUNDS, Chance, Family, LATENCY_BOUND, Observed, Point, Series};

/// Every form, and what it is sent as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Lines,
    Batch,
    Write1,
    Write2,
    OtlpProtobuf,
    OtlpJson,
    /// OTLP with increments instead of totals, in either form.
    OtlpDelta,
    Prometheus,
    OpenMetrics,
}

/// All of them.
pub const FORMS: [Form; 9] = [
    Form::Lines,
    Form::Batch,
    Form::Write1,
    Form::Write2,
    Form::OtlpProtobuf,
    Form::OtlpJson,
    Form::OtlpDelta,
    Form::Prometheus,
    Form::OpenMetrics,
];

/// A body as it is before it is packed.
#[derive(Debug, Clone)]
pub struct Body {
    pub route: &'static str,
    pub content_type: &'static str,
    pub bytes: Vec<u8>,
}

// === impl Form ===

impl Form {
    /// Whether it says since when a total counts.
    pub fn tells_starts(self) -> bool {
        !matches!(
            self,
            Form::Lines | Form::Batch | Form::Write1 | Form::Prometheus
        )
    }

    /// Whether it can be written where starts are not known: an increment has one.
    pub fn needs_starts(self) -> bool {
        self == Form::OtlpDelta
    }

    /// Writes scrapes of some series as one request.
    pub fn write(self, scrapes: &[Vec<Series>], with_starts: bool, chance: &mut Chance) -> Body {
        let json = "application/json";
        let protobuf = "application/x-protobuf";
        let (route, content_type, bytes) = match self {
            Form::Lines => ("/v1/samples", "application/x-ndjson", lines(scrapes)),
            Form::Batch => ("/v1/samples", json, batch(scrapes, chance)),
            Form::Write1 => (
                "/api/v1/write",
                protobuf,
                messages::write_1(scrapes, chance),
            ),
            Form::Write2 => (
                "/api/v1/write",
                "application/x-protobuf;proto=io.prometheus.write.v2.Request",
                messages::write_2(scrapes, with_starts, chance),
            ),
            Form::OtlpProtobuf => {
                let request = messages::export(scrapes, with_starts, false);
                (
                    "/v1/metrics",
                    protobuf,
                    request.protobuf(messages::order(chance)),
                )
            }
            Form::OtlpJson => {
                let request = messages::export(scrapes, with_starts, false);
                ("/v1/metrics", json, request.json(messages::order(chance)))
            }
            Form::OtlpDelta => {
                let request = messages::export(scrapes, with_starts, true);
                match chance.percent(50) {
                    true => ("/v1/metrics", json, request.json(messages::order(chance))),
                    false => {
                        let order = messages::order(chance);
                        ("/v1/metrics", protobuf, request.protobuf(order))
                    }
                }
            }
            Form::Prometheus => {
                let type_ = "text/plain; version=0.0.4; charset=utf-8";
                ("/v1/exposition", type_, text(scrapes, with_starts, false))
            }
            Form::OpenMetrics => {
                let type_ = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                ("/v1/exposition", type_, text(scrapes, with_starts, true))
            }
        };
        Body {
            route,
            content_type,
            bytes,
        }
    }
}

// === impl Family ===

impl Family {
    pub fn name(self) -> &'static str {
        match self {
            Family::Requests => "requests_total",
            Family::Duration => "duration_seconds",
            Family::Latency => "latency_seconds",
            Family::Depth => "queue_depth",
        }
    }
}

// === impl Point ===

impl Point {
    /// The buckets of a classic histogram: upper end and how many observations lie up to it. Where
    /// a format has no exponential histograms, the one bucket that is asked for and the last one.
    pub fn classic(&self) -> Vec<(f64, u64)> {
        match &self.value {
            Observed::Total(_) | Observed::Gauge(_) => Vec::new(),
            Observed::Listed(counts) => {
                let ends = BOUNDS.into_iter().chain([f64::INFINITY]);
                let mut up_to = 0;
                let buckets = ends.zip(counts).map(|(end, count)| {
                    up_to += count;
                    (end, up_to)
                });
                buckets.collect()
            }
            Observed::Exponential {
                scale,
                zeros,
                buckets,
            } => {
                let end = 1 << scale;
                let within: u64 = buckets.range(..end).map(|(_, count)| count).sum();
                let all: u64 = buckets.values().sum();
                vec![
                    (LATENCY_BOUND, zeros + within),
                    (f64::INFINITY, zeros + all),
                ]
            }
        }
    }
}

/// The samples of a series: name, labels, value.
fn samples(series: &Series) -> Vec<Value> {
    let mut found = Vec::new();
    for point in &series.points {
        let mut sample = |name: &str, le: Option<String>, value: Value| {
            let labels = series
                .labels
                .iter()
                .map(|(name, value)| (*name, value.clone()));
            let labels: serde_json::Map<String, Value> = labels
                .chain(le.map(|le| ("le", le)))
                .map(|(name, value)| (name.to_owned(), json!(value)))
                .collect();
            // Values of a gauge are kept apart by their ids, totals by their times.
            let id = format!("{name}{labels:?}{}", point.ts);
            found.push(
                json!({"ts": point.ts, "metric": name, "labels": labels, "value": value, "id": id}),
            );
        };
        let name = series.family.name();
        match &point.value {
            Observed::Total(total) => sample(name, None, json!(total)),
            Observed::Gauge(value) => sample(name, None, json!(value)),
            Observed::Listed(_) | Observed::Exponential { .. } => {
                for (end, count) in point.classic() {
                    sample(&format!("{name}_bucket"), Some(bound(end)), json!(count));
                }
            }
        }
    }
    found
}

/// The label of a bucket's upper end.
pub fn bound(end: f64) -> String {
    match end {
        f64::INFINITY => "+Inf".to_owned(),
        _ => format!("{end}"),
    }
}

fn lines(scrapes: &[Vec<Series>]) -> Vec<u8> {
    let mut body = String::new();
    for sample in scrapes.iter().flatten().flat_map(samples) {
        let _ = writeln!(body, "{sample}");
    }
    body.into_bytes()
}

fn batch(scrapes: &[Vec<Series>], chance: &mut Chance) -> Vec<u8> {
    let all: Vec<Value> = scrapes.iter().flatten().flat_map(samples).collect();
    let body = match chance.percent(50) {
        true => json!({ "batch": all }),
        false => json!(all),
    };
    match chance.percent(50) {
        true => format!("{body:#}").into_bytes(),
        false => body.to_string().into_bytes(),
    }
}

/// One scrape after another, the families of each together.
fn text(scrapes: &[Vec<Series>], with_starts: bool, is_open: bool) -> Vec<u8> {
    let mut body = String::new();
    for scrape in scrapes {
        let mut families: Vec<Family> = Vec::new();
        for series in scrape {
            if !families.contains(&series.family) {
                families.push(series.family);
            }
        }
        for family in families {
            head(family, is_open, &mut body);
            for series in scrape.iter().filter(|series| series.family == family) {
                for point in &series.points {
                    lines_of(series, point, with_starts, is_open, &mut body);
                }
            }
        }
    }
    if is_open {
        body.push_str("# EOF\n");
    }
    body.into_bytes()
}

fn head(family: Family, is_open: bool, body: &mut String) {
    let (name, type_) = match family {
        Family::Requests if is_open => ("requests", "counter"),
        Family::Requests => ("requests_total", "counter"),
        Family::Duration => ("duration_seconds", "histogram"),
        Family::Latency => ("latency_seconds", "histogram"),
        Family::Depth => ("queue_depth", "gauge"),
    };
    let _ = writeln!(
        body,
        "# HELP {name} What is \\\\ exposed.\n# TYPE {name} {type_}"
    );
}

fn lines_of(series: &Series, point: &Point, with_starts: bool, is_open: bool, body: &mut String) {
    let labels = |le: Option<String>| {
        let pairs = series
            .labels
            .iter()
            .map(|(name, value)| (*name, value.clone()));
        let pairs = pairs.chain(le.map(|le| ("le", le)));
        let pairs: Vec<String> = pairs
            .map(|(name, value)| format!("{name}={value:?}"))
            .collect();
        pairs.join(",")
    };
    let time = match is_open {
        true => format!("{}.{:03}", point.ts / 1_000, point.ts % 1_000),
        false => point.ts.to_string(),
    };
    let name = series.family.name();
    let created = |name: &str, body: &mut String| {
        if with_starts {
            let start = point.start as f64 / 1_000.0;
            let _ = writeln!(body, "{name}_created{{{}}} {start:?}", labels(None));
        }
    };
    match &point.value {
        Observed::Total(total) => {
            let _ = writeln!(body, "{name}{{{}}} {total} {time}", labels(None));
            created("requests", body);
        }
        Observed::Gauge(value) => {
            let _ = writeln!(body, "{name}{{{}}} {value:?} {time}", labels(None));
        }
        Observed::Listed(_) | Observed::Exponential { .. } => {
            let mut all = 0;
            for (end, count) in point.classic() {
                let labels = labels(Some(bound(end)));
                let _ = writeln!(body, "{name}_bucket{{{labels}}} {count} {time}");
                all = count;
            }
            let _ = writeln!(body, "{name}_count{{{}}} {all} {time}", labels(None));
            let _ = writeln!(body, "{name}_sum{{{}}} {all}.5 {time}", labels(None));
            created(name, body);
        }
    }
}
