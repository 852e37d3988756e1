//! A recording's scrapes as protobuf: remote-write of both versions, and OTLP requests.
//!
//! The messages are encoded by what the codecs' own tests are written with.

use std::collections::BTreeMap;

use super::encode::{Any, DataPoint, Kind, Metric, Order, Request, Resource, Scope};
use super::frames::{Frame, V2, sample, series_v1};
use super::recording::{BOUNDS, Chance, Family, Observed, Point, Series};
use super::written::bound;

/// Remote-write's type of a metric, and OTLP's temporality.
const COUNTER: u64 = 1;
const GAUGE: u64 = 2;
const HISTOGRAM: u64 = 3;
const DELTA: u64 = 1;

/// In which order the fields of messages stand.
pub fn order(chance: &mut Chance) -> Order {
    match chance.percent(50) {
        true => Order::Forwards,
        false => Order::Backwards,
    }
}

/// One series as remote-write knows them: labels, points, type.
struct Written {
    labels: Vec<(String, String)>,
    frame: Frame,
    type_: u64,
}

/// The series of remote-write that a series becomes; `start_field` where starts are told.
fn written(series: &Series, is_v2: bool, with_starts: bool, chance: &mut Chance) -> Vec<Written> {
    let name = series.family.name();
    let labelled = |name: &str, le: Option<String>| {
        let mut labels = vec![("__name__".to_owned(), name.to_owned())];
        let own = series.labels.iter();
        labels.extend(own.map(|(name, value)| ((*name).to_owned(), value.clone())));
        labels.extend(le.map(|le| ("le".to_owned(), le)));
        labels.sort();
        labels
    };
    let start = |point: &Point| if with_starts { point.start } else { 0 };
    let mut all: Vec<Written> = Vec::new();
    let mut add = |labels: Vec<(String, String)>, type_: u64, field: u64, point: Frame| {
        let known = all.iter().position(|written| written.labels == labels);
        let at = known.unwrap_or_else(|| {
            all.push(Written {
                labels,
                frame: Frame::new(),
                type_,
            });
            all.len() - 1
        });
        let frame = std::mem::take(&mut all[at].frame);
        all[at].frame = frame.message(field, point);
    };
    for point in &series.points {
        match &point.value {
            Observed::Total(total) => {
                let point = sample(point.ts, *total as f64, start(point));
                add(labelled(name, None), COUNTER, 2, point);
            }
            Observed::Gauge(value) => {
                add(labelled(name, None), GAUGE, 2, sample(point.ts, *value, 0));
            }
            Observed::Listed(_) => {
                for (end, count) in point.classic() {
                    let labels = labelled(&format!("{name}_bucket"), Some(bound(end)));
                    let point = sample(point.ts, count as f64, start(point));
                    add(labels, HISTOGRAM, 2, point);
                }
            }
            Observed::Exponential {
                scale,
                zeros,
                buckets,
            } => {
                let native = native(point.ts, start(point), *scale, *zeros, buckets, chance);
                let field = if is_v2 { 3 } else { 4 };
                add(labelled(name, None), HISTOGRAM, field, native);
            }
        }
    }
    all
}

/// A native histogram. Its bucket `i` ends where the exponential histogram's `i - 1` does.
fn native(
    ts: i64,
    start: i64,
    scale: i32,
    zeros: u64,
    buckets: &BTreeMap<i32, u64>,
    chance: &mut Chance,
) -> Frame {
    let total: u64 = zeros + buckets.values().sum::<u64>();
    let mut spans = Vec::new();
    let mut counts: Vec<u64> = Vec::new();
    let mut next = 0;
    for (index, count) in buckets {
        let index = i64::from(*index) + 1;
        match spans.last_mut() {
            Some((_, length)) if index == next => *length += 1,
            _ => spans.push((index - next, 1)),
        }
        next = index + 1;
        counts.push(*count);
    }
    let is_float = chance.percent(40);
    let mut frame = match is_float {
        true => Frame::new().double(2, total as f64),
        false => Frame::new().varint(1, total),
    };
    frame = frame
        .double(3, 1.5)
        .sint(4, i64::from(scale))
        .double(5, 1e-38);
    frame = match is_float {
        true => frame.double(7, zeros as f64),
        false => frame.varint(6, zeros),
    };
    for (offset, length) in spans {
        frame = frame.span(11, offset, length);
    }
    let mut before = 0;
    frame = match is_float {
        true => frame.packed_doubles(13, counts.iter().map(|count| *count as f64)),
        false => {
            let deltas = counts.iter().map(|count| {
                let delta = *count as i64 - before;
                before = *count as i64;
                delta
            });
            frame.packed_sints(12, deltas)
        }
    };
    frame = frame.varint(15, ts as u64);
    if start == 0 {
        frame
    } else {
        frame.varint(17, start as u64)
    }
}

fn all_written(
    scrapes: &[Vec<Series>],
    is_v2: bool,
    with_starts: bool,
    chance: &mut Chance,
) -> Vec<Written> {
    let series = scrapes.iter().flatten();
    series
        .flat_map(|series| written(series, is_v2, with_starts, chance))
        .collect()
}

fn borrowed(labels: &[(String, String)]) -> Vec<(&str, &str)> {
    let pairs = labels.iter();
    pairs
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

/// `prometheus.WriteRequest`.
pub fn write_1(scrapes: &[Vec<Series>], chance: &mut Chance) -> Vec<u8> {
    let mut request = Frame::new();
    for written in all_written(scrapes, false, false, chance) {
        request = request.message(1, series_v1(&borrowed(&written.labels), written.frame));
    }
    request.0
}

/// `io.prometheus.write.v2.Request`.
pub fn write_2(scrapes: &[Vec<Series>], with_starts: bool, chance: &mut Chance) -> Vec<u8> {
    let mut request = V2::new();
    for written in all_written(scrapes, true, with_starts, chance) {
        let frame = written
            .frame
            .message(5, Frame::new().varint(1, written.type_));
        request.series(&borrowed(&written.labels), frame);
    }
    request.finish()
}

/// An `ExportMetricsServiceRequest`: a resource for each pod, a metric for each family.
pub fn export(scrapes: &[Vec<Series>], with_starts: bool, is_delta: bool) -> Request {
    let mut resources: Vec<Resource> = Vec::new();
    for series in scrapes.iter().flatten() {
        let (of_pod, of_point): (Vec<_>, Vec<_>) =
            series.labels.iter().partition(|(name, _)| *name != "code");
        let attributes = |labels: Vec<&(&'static str, String)>| {
            let pairs = labels.into_iter();
            let pairs = pairs.map(|(name, value)| ((*name).to_owned(), Any::Text(value.clone())));
            pairs.collect::<Vec<_>>()
        };
        let points = series.points.iter().map(|point| DataPoint {
            attributes: attributes(of_point.clone()),
            start: match (is_delta, with_starts) {
                (true, _) => point.ts_before as u64 * 1_000_000,
                (false, true) => point.start as u64 * 1_000_000,
                (false, false) => 0,
            },
            ..DataPoint::new(point.ts as u64 * 1_000_000, body(point, is_delta))
        });
        let (name, kind, unit) = match series.family {
            Family::Requests => ("requests", Kind::Sum, "{request}"),
            Family::Duration => ("duration", Kind::Histogram, "s"),
            Family::Latency => ("latency", Kind::Exponential, "s"),
            Family::Depth => ("queue.depth", Kind::Gauge, ""),
        };
        let metric = Metric {
            unit: unit.to_owned(),
            temporality: if is_delta { DELTA } else { 2 },
            is_monotonic: true,
            ..Metric::new(name, kind, points.collect())
        };
        resources.push(Resource {
            attributes: attributes(of_pod),
            scopes: vec![Scope {
                metrics: vec![metric],
                ..Scope::default()
            }],
        });
    }
    Request(resources)
}

fn body(point: &Point, is_delta: bool) -> super::encode::Body {
    use super::encode::Body;
    let before = point.before.as_ref().filter(|_| is_delta);
    match (&point.value, before) {
        (Observed::Gauge(value), _) => Body::Double(*value),
        (Observed::Total(total), before) => match before {
            Some(Observed::Total(before)) => Body::Double((total - before) as f64),
            _ => Body::Int(*total as i64),
        },
        (Observed::Listed(counts), before) => {
            let mut counts = counts.clone();
            if let Some(Observed::Listed(before)) = before {
                let both = counts.iter_mut().zip(before);
                both.for_each(|(now, before)| *now -= before);
            }
            Body::Explicit {
                count: counts.iter().sum(),
                sum: Some(1.5),
                counts,
                bounds: BOUNDS.to_vec(),
            }
        }
        (
            Observed::Exponential {
                scale,
                zeros,
                buckets,
            },
            before,
        ) => {
            let (mut zeros, mut buckets) = (*zeros, buckets.clone());
            if let Some(Observed::Exponential {
                scale: finer,
                zeros: zeros_before,
                buckets: before,
            }) = before
            {
                zeros -= zeros_before;
                for (index, count) in before {
                    let index = index >> (finer - scale);
                    *buckets.entry(index).or_default() -= count;
                }
            }
            exponential(*scale, zeros, &buckets)
        }
    }
}

fn exponential(scale: i32, zeros: u64, buckets: &BTreeMap<i32, u64>) -> super::encode::Body {
    let first = buckets.keys().next().copied().unwrap_or(0);
    let last = buckets.keys().next_back().copied().unwrap_or(-1);
    let counts = (first..=last).map(|index| buckets.get(&index).copied().unwrap_or(0));
    super::encode::Body::Exponential {
        sum: None,
        scale,
        zero_count: zeros,
        zero_threshold: 0.0,
        positive: (first, counts.collect()),
        negative: (0, Vec::new()),
    }
}
