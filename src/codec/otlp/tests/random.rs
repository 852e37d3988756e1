//! Random requests are decoded to what they were made from, and mutated ones harm nobody.
//!
//! Owns a generator of requests with what they must become, and one of mutations. Both are
//! seeded, so a failure is the same at every run.

use super::super::super::series::HISTOGRAM_CELLS_MAX;
use super::*;

/// xorshift64*; chance enough for tests.
struct Chance(u64);

// === impl Chance ===

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }

    fn attributes(&mut self, prefix: &str) -> Attributes {
        let count = self.below(4);
        (0..count)
            .map(|at| {
                (
                    format!("{prefix}{at}"),
                    text(&format!("ü{}", self.below(9))),
                )
            })
            .collect()
    }

    fn counts(&mut self, count: u64) -> Vec<u64> {
        (0..count).map(|_| self.below(4).pow(9)).collect()
    }

    fn body(&mut self, kind: Kind) -> Body {
        match kind {
            Kind::Gauge | Kind::Sum if self.below(2) == 0 => Body::Int(self.below(1 << 30) as i64),
            Kind::Gauge | Kind::Sum => Body::Double(self.below(1 << 30) as f64 / 7.0),
            Kind::Histogram => {
                let bounds: Vec<f64> = (0..self.below(12)).map(|at| at as f64 / 3.0).collect();
                let counts = self.counts(bounds.len() as u64 + 1);
                let count = counts.iter().sum();
                let sum = (self.below(2) == 0).then_some(2.5);
                Body::Explicit {
                    count,
                    sum,
                    counts,
                    bounds,
                }
            }
            _ => {
                let mut side = || (self.below(80) as i32 - 40, self.below(9));
                let [positive, negative] = [side(), side()];
                Body::Exponential {
                    sum: Some(-0.25),
                    scale: self.below(10) as i32,
                    zero_count: self.below(3),
                    zero_threshold: 0.0,
                    positive: (positive.0, self.counts(positive.1)),
                    negative: (negative.0, self.counts(negative.1)),
                }
            }
        }
    }

    fn metric(&mut self, number: u64) -> Metric {
        let kinds = [Kind::Gauge, Kind::Sum, Kind::Histogram, Kind::Exponential];
        let kind = kinds[self.below(4) as usize];
        let points = (0..self.below(4)).map(|_| DataPoint {
            attributes: self.attributes("p."),
            start: NANOS - self.below(2) * MINUTE_NANOS,
            ..DataPoint::new(NANOS + self.below(1 << 40), self.body(kind))
        });
        let points = points.collect();
        Metric {
            temporality: 1 + self.below(2),
            is_monotonic: true,
            ..Metric::new(&format!("m{number}"), kind, points)
        }
    }

    fn request(&mut self) -> Request {
        let resources = (0..self.below(3)).map(|_| Resource {
            attributes: self.attributes("r."),
            scopes: (0..self.below(3))
                .map(|_| Scope {
                    name: "lib".into(),
                    version: String::new(),
                    attributes: Attributes::new(),
                    metrics: (0..self.below(5))
                        .map(|number| self.metric(number))
                        .collect(),
                })
                .collect(),
        });
        Request(resources.collect())
    }
}

/// What a data point of a random request must become.
fn expected(resource: &Resource, metric: &Metric, point: &DataPoint) -> (String, Point, f64) {
    let is_total = metric.kind != Kind::Gauge && metric.temporality == 2;
    let is_start_known = metric.kind != Kind::Gauge && point.start < point.nanos;
    let start = is_start_known.then_some(Timestamp((point.start / 1_000_000) as i64));
    let mut pairs: Vec<String> = [("otel_scope_name".to_owned(), text("lib"))]
        .iter()
        .chain(&resource.attributes)
        .chain(&point.attributes)
        .map(|(key, value)| match value {
            Any::Text(value) => format!("{}={value:?}", key.replace('.', "_")),
            other => panic!("{other:?}"),
        })
        .collect();
    pairs.sort();
    let total = if metric.kind == Kind::Sum {
        "_total"
    } else {
        ""
    };
    let labels = format!("{}{total}{{{}}}", metric.name, pairs.join(","));
    let of_number = |value| match is_total || metric.kind == Kind::Gauge {
        true => PointValue::Number(value),
        false => PointValue::Increment(value),
    };
    let (value, total) = match &point.body {
        Body::Int(value) => (of_number(*value as f64), 0),
        Body::Double(value) => (of_number(*value), 0),
        Body::Explicit { count, .. } => (PointValue::Stale, *count),
        Body::Exponential {
            zero_count,
            positive,
            negative,
            ..
        } => {
            let all = positive.1.iter().chain(&negative.1);
            (PointValue::Stale, zero_count + all.sum::<u64>())
        }
        Body::Nothing => (PointValue::Stale, 0),
    };
    let point = Point {
        ts: Timestamp((point.nanos / 1_000_000) as i64),
        start,
        value,
    };
    (labels, point, total as f64)
}

#[test]
fn random_requests_become_what_they_were_made_from() {
    let mut chance = Chance(42);
    let mut points_seen = 0;
    for _ in 0..120 {
        let request = chance.request();
        let decoded = decoded(&request);
        assert_eq!(decoded.refusals, []);
        let points = request.0.iter().flat_map(|resource| {
            let metrics = resource.scopes.iter().flat_map(|scope| &scope.metrics);
            metrics.flat_map(move |metric| {
                let points = metric.points.iter();
                points.map(move |point| expected(resource, metric, point))
            })
        });
        let expected: Vec<_> = points.collect();
        let found = labels(&decoded).into_iter().zip(self::points(&decoded));
        let found: Vec<_> = found
            .map(|(labels, (_, mut point))| {
                let mut total = 0.0;
                if let PointValue::Histogram(number) = point.value {
                    let histogram = decoded.batch.histogram(number).expect("there");
                    let cells = &histogram.cells;
                    assert!(cells.is_sorted_by(|a, b| a.high <= b.low));
                    total = cells.iter().map(|cell| cell.count).sum();
                    point.value = PointValue::Stale;
                }
                (labels, point, total)
            })
            .collect();
        points_seen += found.len();
        assert_eq!(found, expected);
    }
    assert!(points_seen > 200, "{points_seen}");
}

fn mutated(body: &mut Vec<u8>, chance: &mut Chance) {
    for _ in 0..=chance.below(3) {
        let at = chance.below(body.len() as u64 + 1) as usize;
        let byte = chance.below(256) as u8;
        match chance.below(5) {
            0 if at < body.len() => body[at] ^= 1 << (byte & 7),
            1 => body.insert(at, byte),
            2 if at < body.len() => drop(body.remove(at)),
            3 if at < body.len() => body[at] = b"\"[]{}:,0-e\xff\x00\x80"[byte as usize % 14 % 13],
            4 if chance.below(4) == 0 => body.truncate(at),
            _ => {}
        }
    }
}

#[test]
fn mutated_requests_neither_panic_nor_grow() {
    let mut chance = Chance(7);
    let limits = Limits {
        samples_per_request_max: 64,
        ..Limits::default()
    };
    let (mut taken, mut refused, mut partly) = (0, 0, 0);
    // What requests before have left says nothing else of those that follow.
    let mut heads = Heads::new(0);
    for _ in 0..50 {
        let request = chance.request();
        for way in WAYS {
            let good = encoded(&request, way);
            assert!(decode(&good, way.0, &limits).is_ok_and(|good| good.refusals.is_empty()));
            for _ in 0..110 {
                let mut body = good.clone();
                mutated(&mut body, &mut chance);
                let warm = decode_within(&body, way.0, &mut heads, &limits, &mut |_| true);
                let cold = decode(&body, way.0, &limits);
                assert!(warm == cold || format!("{warm:?}") == format!("{cold:?}"));
                let Ok(decoded) = cold else {
                    refused += 1;
                    continue;
                };
                taken += 1;
                partly += usize::from(!decoded.refusals.is_empty() && !decoded.batch.is_empty());
                let batch = &decoded.batch;
                let most = limits.samples_per_request_max;
                assert!(batch.point_count() <= most && batch.len() <= most);
                assert!(decoded.refusals.len() <= most && decoded.refused_points <= most as u64);
                assert_eq!(decoded.origins.len(), batch.len());
                for (number, series) in batch.iter().enumerate() {
                    assert!(series.key.as_bytes().len() < 3 * limits.label_bytes_max);
                    let found = batch.histogram(number as u32);
                    assert!(found.is_none_or(|h| h.cells.len() <= HISTOGRAM_CELLS_MAX));
                }
            }
        }
    }
    assert!(
        taken > 2_000 && refused > 2_000 && partly > 100,
        "{taken} {refused} {partly}"
    );
}
