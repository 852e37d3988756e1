//! Where a metric's samples come from: `from`, its selectors, `above`.
//!
//! Owns the written forms of a source, by kind of metric. What a metric has besides is `metrics`'.
//! Next: `pulled`, queries instead of selectors.

use super::{ProblemCode, pulled, selectors};
use crate::config::problem::nearest;
use crate::config::quantity;
use crate::config::reader::{Field, Reader, Table};
use crate::plan::{Counted, MetricKind, Selector, Source};

/// Keys that name series, each belonging to some of the forms.
pub(super) const SELECTING: [&str; 6] = ["select", "bad", "total", "events", "exposure", "above"];

/// What the names of a classic histogram's buckets end with.
const BUCKET_SUFFIX: &str = "_bucket";
const HISTOGRAM_HELP: &str =
    "the name of the histogram, without _bucket: 'request_duration_seconds'";

/// What is written under `from`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    Values,
    Counter(Counted),
    Histogram,
    Above,
}

/// Reads the source of a metric of this kind and name.
pub(super) fn read(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    kind: MetricKind,
    name: &str,
) -> Option<Source> {
    let above = table.get("above");
    if let Some(queries) = table.get("prometheus") {
        return pulled::read(reader, table, kind, &queries);
    }
    let from = match table.get("from") {
        Some(field) => from(reader, &field, kind)?,
        None if above.is_some() => From::Above,
        None => From::Values,
    };
    let allowed: &[&str] = match (from, kind) {
        (From::Values, _) => &["select"],
        (From::Counter(_), MetricKind::Ratio) => &["bad", "total"],
        (From::Counter(_), MetricKind::Rate) => &["events", "exposure"],
        (From::Counter(_), _) => {
            let message = "counters make a ratio or a rate, nothing else";
            let help = "from: values for latency and gauge";
            return conflict(reader, table, "from", message, help);
        }
        (From::Histogram, _) => &["select"],
        (From::Above, MetricKind::Ratio) => &["above"],
        (From::Above, _) => {
            let message = "`above` makes a ratio: observations above the bound, of all";
            return conflict(reader, table, "above", message, "write kind: ratio");
        }
    };
    for key in SELECTING {
        if let Some(field) = table.get(key).filter(|_| !allowed.contains(&key)) {
            let help = match (from, key, kind) {
                (From::Values, "bad" | "total", MetricKind::Ratio)
                | (From::Values, "events" | "exposure", MetricKind::Rate) => {
                    "add from: counter (totals since the process started) or from: increments"
                        .to_owned()
                }
                _ => format!("this form takes {}", allowed.join(" and ")),
            };
            let message = format!("`{key}` does not belong to this form of metric");
            reader.refuse(&field, ProblemCode::Conflict, message, help);
        }
    }
    match (from, kind) {
        (From::Values, _) => Some(Source::Values {
            select: match table.get("select") {
                Some(field) => selector(reader, &field)?,
                None => Selector::named(name),
            },
        }),
        (From::Counter(counted), MetricKind::Ratio) => ratio(reader, table, counted),
        (From::Counter(counted), _) => rate(reader, table, counted),
        (From::Histogram, _) => {
            let (histogram, buckets) = match table.get("select") {
                Some(field) => histogram(reader, &field)?,
                None => (Selector::named(name), Selector::named(&bucket_name(name))),
            };
            Some(Source::Buckets { histogram, buckets })
        }
        (From::Above, _) => self::above(reader, &above?),
    }
}

pub(super) fn conflict(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    key: &str,
    message: &str,
    help: &str,
) -> Option<Source> {
    let field = table.get(key).or_else(|| table.get("kind"))?;
    reader.refuse(&field, ProblemCode::Conflict, message, help);
    None
}

fn ratio(reader: &mut Reader<'_>, table: &Table<'_>, counted: Counted) -> Option<Source> {
    let bad = required_selector(reader, table, "bad", "the series that counts bad events");
    let total = required_selector(reader, table, "total", "the series that counts all");
    let (bad, total) = (bad?, total?);
    if bad == total {
        let at = (table.place_of("bad"), &*table.path_of("bad"));
        let message = "`bad` and `total` are the same series";
        let help = "bad is a part of total: total: 'requests', bad: 'requests{code=~\"5..\"}'";
        reader.error(at, ProblemCode::Conflict, message, help);
    }
    Some(Source::RatioCounts {
        bad,
        total,
        counted,
    })
}

fn rate(reader: &mut Reader<'_>, table: &Table<'_>, counted: Counted) -> Option<Source> {
    let events = required_selector(reader, table, "events", "the series that counts events");
    let exposure = match table.get("exposure") {
        Some(field) => Some(selector(reader, &field)?),
        None => None,
    };
    Some(Source::RateCounts {
        events: events?,
        exposure,
        counted,
    })
}

/// `above: {histogram, bound}`.
fn above(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Source> {
    let table = reader.table(field, Some(&["histogram", "bound"]))?;
    let written = reader.required(&table, "histogram", HISTOGRAM_HELP);
    let selected = written.and_then(|field| histogram(reader, &field));
    let bound = bound(reader, &table);
    let ((histogram, buckets), bound) = (selected?, bound?);
    Some(Source::Above {
        histogram,
        buckets,
        bound,
    })
}

/// A histogram by its name, and the series of its buckets.
fn histogram(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<(Selector, Selector)> {
    let text = reader.text(field)?.trim().to_owned();
    let histogram = selector(reader, field)?;
    let (name, matchers) = text.split_at(text.find('{').unwrap_or(text.len()));
    let name = name.trim();
    if name.is_empty() || name.ends_with(BUCKET_SUFFIX) {
        let message = "the histogram is to be named, without _bucket and without `le`";
        reader.bad(field, message, HISTOGRAM_HELP);
        return None;
    }
    match Selector::parse(&format!("{}{matchers}", bucket_name(name))) {
        Ok(buckets) => Some((histogram, buckets)),
        Err(error) => {
            reader.bad(field, error.message, HISTOGRAM_HELP);
            None
        }
    }
}

/// Name of the series that count a classic histogram's buckets.
fn bucket_name(histogram: &str) -> String {
    format!("{histogram}{BUCKET_SUFFIX}")
}

/// The bound of `above`.
pub(super) fn bound(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<f64> {
    let help = "the upper bound of one of its buckets, as in its label le: bound: 0.5";
    let field = reader.required(table, "bound", help)?;
    let bound = field.scalar().and_then(quantity::number);
    let finite = bound.filter(|bound| bound.is_finite());
    if finite.is_none() {
        reader.bad(&field, "this is not a bound", help);
    }
    finite
}

fn from(reader: &mut Reader<'_>, field: &Field<'_>, kind: MetricKind) -> Option<From> {
    let text = reader.text(field)?;
    let instead = match (text, kind) {
        ("values", _) | ("gauge", MetricKind::Gauge) => return Some(From::Values),
        ("increments", _) => return Some(From::Counter(Counted::Increments)),
        ("counter", MetricKind::Ratio | MetricKind::Rate) => {
            return Some(From::Counter(Counted::Totals));
        }
        ("counter", _) => "a counter makes a rate (events) or a ratio (bad and total)",
        ("histogram", MetricKind::Ratio) => {
            "write above: {histogram, bound} instead of from: the share above a bucket's bound"
        }
        ("histogram", MetricKind::Latency) => return Some(From::Histogram),
        ("histogram", _) => {
            "a histogram makes a latency, or a ratio with above: {histogram, bound}"
        }
        ("gauge", _) => "write kind: gauge",
        _ => {
            let known = ["values", "counter", "increments", "histogram"];
            let help = nearest(text, known).map(|near| format!("did you mean `{near}`?"));
            let message = format!("`{text}` is not values, counter, increments or histogram");
            reader.bad(field, message, help.unwrap_or_default());
            return None;
        }
    };
    let message = format!("from: {text} does not make a metric of this kind");
    reader.refuse(field, ProblemCode::Conflict, message, instead);
    None
}

fn required_selector(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    key: &str,
    help: &str,
) -> Option<Selector> {
    let field = reader.required(table, key, help)?;
    selector(reader, &field)
}

fn selector(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Selector> {
    selectors::read(reader, field, Selector::parse, Selector::regex_bytes)
}
