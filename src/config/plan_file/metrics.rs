//! The `metrics` section of a plan file.
//!
//! Owns the written forms of a metric. Next: `source`, where its samples come from; `checks`.

use super::{ProblemCode, Severity, name, source};
use crate::config::problem::one_of;
use crate::config::quantity;
use crate::config::reader::{Field, Reader, Table};
use crate::plan::{
    Check, Cluster, Lifetime, METRICS_MAX, Metric, MetricKind, Resolution, Selector, Source,
    UNITS_PER_TICK_DEFAULT, UNITS_PER_TICK_LIMIT,
};

/// Longest unit of measurement, in characters.
const VALUE_UNIT_CHARS_MAX: usize = 16;

/// Largest step that values can be declared to be rounded to.
const RESOLUTION_MAX: f64 = 1e15;

/// Keys of a metric.
pub(in crate::config) const METRIC_KEYS: &[&str] = &[
    "kind",
    "value_unit",
    "resolution",
    "negative",
    "from",
    "select",
    "bad",
    "total",
    "events",
    "exposure",
    "above",
    "prometheus",
    "cluster",
];

/// The kinds, as written.
const KINDS: [(&str, MetricKind); 4] = [
    ("latency", MetricKind::Latency),
    ("ratio", MetricKind::Ratio),
    ("rate", MetricKind::Rate),
    ("gauge", MetricKind::Gauge),
];

/// A metric as far as it could be read; the kind is a stand-in where it was not.
pub(super) struct Written {
    pub metric: Metric,
    /// Whether `kind` was readable: what hangs on it is not checked otherwise.
    pub kind_known: bool,
    /// Whether a selector was written.
    selects: bool,
}

/// Reads the section; metrics come sorted by name.
pub(super) fn read(reader: &mut Reader<'_>, table: &Table<'_>) -> Vec<Written> {
    let help = "name at least one metric under metrics:";
    let Some(section) = reader.required(table, "metrics", help) else {
        return Vec::new();
    };
    let Some(entries) = reader.table(&section, None) else {
        return Vec::new();
    };
    let mut found: Vec<Written> = Vec::new();
    for (key, field) in entries.fields() {
        if let Some(name) = name(reader, &field, &key.text) {
            found.push(metric(reader, name, &field));
        }
    }
    if entries.fields().next().is_none() {
        reader.bad(&section, "there is no metric", help);
    }
    if found.len() > METRICS_MAX {
        let message = format!(
            "{} metrics; at most {METRICS_MAX} are possible",
            found.len()
        );
        reader.refuse(&section, ProblemCode::TooLarge, message, "split the plan");
    }
    found.sort_by(|one, other| one.metric.name.cmp(&other.metric.name));
    found
}

/// One of [`KINDS`]; words of other systems are told which of them is meant.
fn kind(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<MetricKind> {
    let help = match field.scalar()? {
        "histogram" | "summary" | "timer" | "duration" | "distribution" => {
            "write kind: latency, and send the values themselves"
        }
        "counter" => "write kind: rate, and send each interval's increase",
        "percentage" | "percent" | "errors" | "error_ratio" => {
            "write kind: ratio, and send {\"bad\", \"total\"}"
        }
        _ => return reader.word(field, &KINDS),
    };
    let message = format!(
        "`{}` is not {}",
        field.scalar()?,
        one_of(KINDS.map(|(word, _)| word))
    );
    reader.bad(field, message, help);
    None
}

fn metric(reader: &mut Reader<'_>, name: String, field: &Field<'_>) -> Written {
    let mut written = Written {
        metric: Metric {
            source: Source::Values {
                select: Selector::named(&name),
            },
            name,
            kind: MetricKind::Latency,
            value_unit: None,
            cluster: None,
            resolution: Resolution::Detected,
            negative: false,
        },
        kind_known: false,
        selects: false,
    };
    let Some(table) = reader.table(field, Some(METRIC_KEYS)) else {
        return written;
    };
    let help = "kind: latency, ratio, rate or gauge";
    let kind = reader
        .required(&table, "kind", help)
        .and_then(|field| kind(reader, &field));
    written.metric.value_unit = table.get("value_unit").and_then(|f| value_unit(reader, &f));
    written.metric.cluster = table
        .get("cluster")
        .and_then(|field| cluster(reader, &field));
    let Some(kind) = kind else { return written };
    written.metric.kind = kind;
    written.kind_known = true;
    recorded(reader, &table, &mut written.metric);
    if let Some(source) = source::read(reader, &table, kind, &written.metric.name) {
        written.metric.source = source;
    }
    written.selects = table.get("select").is_some();
    written
}

fn value_unit(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<String> {
    let text = reader.text(field)?.trim();
    let starts_number =
        text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '.' | '+' | '-'));
    if text.is_empty()
        || starts_number
        || text.chars().count() > VALUE_UNIT_CHARS_MAX
        || text == "pp"
    {
        let help = format!("such as ms, s, bytes or %; at most {VALUE_UNIT_CHARS_MAX} characters");
        reader.bad(
            field,
            format!("`{text}` cannot be a unit of measurement"),
            help,
        );
        return None;
    }
    Some(text.to_owned())
}

/// How values are recorded; only a distribution has these keys.
fn recorded(reader: &mut Reader<'_>, table: &Table<'_>, metric: &mut Metric) {
    for key in ["resolution", "negative"] {
        let Some(field) = table.get(key) else {
            continue;
        };
        if metric.kind != MetricKind::Latency {
            let message = format!("`{key}` belongs to kind: latency");
            reader.refuse(&field, ProblemCode::Conflict, message, "remove it");
        } else if key == "negative" {
            metric.negative = reader.flag(&field).unwrap_or_default();
        } else if let Some(resolution) = resolution(reader, &field) {
            metric.resolution = resolution;
        }
    }
}

fn resolution(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Resolution> {
    if field.scalar() == Some("exact") {
        return Some(Resolution::Exact);
    }
    let step = field.scalar().and_then(quantity::number);
    match step.filter(|step| (0.0..=RESOLUTION_MAX).contains(step)) {
        Some(0.0) => Some(Resolution::Exact),
        Some(step) => Some(Resolution::Step(step)),
        None => {
            let help = "exact, or the step in the metric's unit: resolution: 1";
            reader.bad(field, "this is not a resolution", help);
            None
        }
    }
}

fn cluster(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Cluster> {
    let table = reader.table(field, Some(&["by", "lifetime", "units_per_tick_max"]))?;
    let by = reader
        .required(
            &table,
            "by",
            "the label that carries the unit: by: trace_id",
        )
        .and_then(|field| reader.text(&field));
    let help = "tick for traces and other short-lived units, run for pods, hosts and clients";
    let lifetime = reader
        .required(&table, "lifetime", help)
        .and_then(|field| reader.word(&field, &[("tick", Lifetime::Tick), ("run", Lifetime::Run)]));
    let most = table.get("units_per_tick_max");
    if let Some(field) = most.as_ref().filter(|_| lifetime == Some(Lifetime::Run)) {
        reader.bad(
            field,
            "units that live for the run are all kept",
            "remove units_per_tick_max; it is for lifetime: tick",
        );
    }
    let most = most.and_then(|field| reader.whole(&field, 1..=UNITS_PER_TICK_LIMIT));
    Some(Cluster {
        by: by?.to_owned(),
        lifetime: lifetime?,
        units_per_tick_max: most.unwrap_or(UNITS_PER_TICK_DEFAULT),
    })
}

/// A metric no check asks about is collected for nothing; a selector without arms finds nobody.
pub(super) fn warn_of_unused(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    metrics: &[Written],
    checks: &[Check],
    has_arms: bool,
) {
    // A check that could not be read may have been the one that asks.
    if reader
        .problems
        .iter()
        .any(|problem| problem.severity == Severity::Error)
    {
        return;
    }
    let section = table.get("metrics");
    let Some(section) = section.and_then(|field| reader.table(&field, None)) else {
        return;
    };
    for (index, written) in metrics.iter().enumerate() {
        let name = &written.metric.name;
        let at = (section.place_of(name), &*section.path_of(name));
        if !checks.is_empty() && checks.iter().all(|check| check.metric != index) {
            reader.warn(
                at,
                format!("no check asks about `{name}`"),
                "add a check, or remove it",
            );
        }
        if written.selects && !has_arms {
            let message = format!("`{name}` selects series, but without `arms` none has a side");
            reader.warn(
                at,
                message,
                "add arms:, or remove select and address each sample",
            );
        }
    }
}
