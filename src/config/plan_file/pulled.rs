//! Metrics that are pulled: `prometheus:` instead of selectors.
//!
//! Owns the written forms of queries, by kind of metric. What may stand in a query is
//! [`crate::plan::query`]'s; whether it is one only the source can tell.

use std::collections::BTreeSet;

use super::source::{SELECTING, bound, conflict};
use crate::config::node::Kind;
use crate::config::problem::{ProblemCode, nearest, one_of};
use crate::config::reader::{Field, Reader, Table};
use crate::plan::query::{ARM_VARIABLE, QueryTemplate};
use crate::plan::{ArmTemplates, Metric, MetricKind, Pulled, Source};

/// What turns totals into something else. A sum falls by less than a total when one of its counters
/// begins anew; the others give what has been counted, extrapolated to the edges of a range.
const SUMMING: [&str; 2] = ["sum", "avg"];
const COUNTING: [&str; 6] = ["rate", "irate", "increase", "delta", "idelta", "deriv"];

/// Variables that every analysis may be started with.
const USUAL_VARIABLES: [&str; 2] = ["baseline", "canary"];

/// Reads the queries of a metric of this kind.
pub(super) fn read(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    kind: MetricKind,
    queries: &Field<'_>,
) -> Option<Source> {
    let above = table.get("above");
    let is_ratio = kind == MetricKind::Ratio;
    for key in SELECTING {
        if let Some(field) = table.get(key).filter(|_| !(key == "above" && is_ratio)) {
            let message = format!("`{key}` does not belong to a metric that is pulled");
            let help = "the queries under prometheus: say which series; remove it";
            reader.refuse(&field, ProblemCode::Conflict, message, help);
        }
    }
    from(reader, table, kind)?;
    let pulled = match kind {
        MetricKind::Latency => Pulled::Distribution {
            buckets: totals(reader, queries)?,
        },
        MetricKind::Gauge => Pulled::Points {
            query: one(reader, queries)?,
        },
        MetricKind::Ratio => match above {
            Some(above) => {
                let above = reader.table(&above, Some(&["bound"]));
                let bound = above.and_then(|above| bound(reader, &above));
                Pulled::Above {
                    buckets: totals(reader, queries)?,
                    bound: bound?,
                }
            }
            None => ratio(reader, queries)?,
        },
        MetricKind::Rate => rate(reader, queries)?,
    };
    Some(Source::Pulled(pulled))
}

/// `from` says nothing that the kind does not say, and must not say anything else.
fn from(reader: &mut Reader<'_>, table: &Table<'_>, kind: MetricKind) -> Option<()> {
    let Some(field) = table.get("from") else {
        if kind == MetricKind::Latency {
            let message = "a query gives no values of a distribution, only the buckets of one";
            let help = "write from: histogram, and query the buckets: \
                        prometheus: 'request_duration_seconds_bucket{ {{arm}} }'";
            conflict(reader, table, "prometheus", message, help)?;
        }
        return Some(());
    };
    let text = reader.text(&field)?;
    let fits: &[&str] = match kind {
        MetricKind::Gauge => &["values", "gauge"],
        MetricKind::Latency => &["histogram"],
        _ => &["counter"],
    };
    if fits.contains(&text) {
        return Some(());
    }
    let message = format!("from: {text} is not what a query gives for this kind");
    let help = match text {
        "increments" => {
            "query the counters themselves, without increase(), which extrapolates: what davy \
             counts is whole; from: counter is the default"
        }
        _ => "remove from:",
    };
    reader.refuse(&field, ProblemCode::Conflict, message, help);
    None
}

/// The one query of a form that has only one.
fn one(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<QueryTemplate> {
    if matches!(field.node.kind, Kind::Map(_)) {
        let help = "write one query: prometheus: 'requests_in_flight{ {{arm}} }'";
        reader.refuse(
            field,
            ProblemCode::WrongType,
            "this form of metric takes one query",
            help,
        );
        return None;
    }
    query(reader, field)
}

fn ratio(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Pulled> {
    let table = parts(reader, field, &["bad", "total"])?;
    let (bad, total) = (
        required(reader, &table, "bad"),
        required(reader, &table, "total"),
    );
    let (bad, total) = (bad?, total?);
    if bad == total {
        let at = (table.place_of("bad"), &*table.path_of("bad"));
        let message = "`bad` and `total` are the same query";
        let help = "bad is a part of total: add code=~\"5..\" to its matchers";
        reader.error(at, ProblemCode::Conflict, message, help);
    }
    Some(Pulled::Ratio { bad, total })
}

fn rate(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Pulled> {
    let table = parts(reader, field, &["events", "exposure"])?;
    let events = required(reader, &table, "events");
    let exposure = match table.get("exposure") {
        Some(field) => Some(totals(reader, &field)?),
        None => None,
    };
    Some(Pulled::Rate {
        events: events?,
        exposure,
    })
}

fn parts<'n>(reader: &mut Reader<'_>, field: &Field<'n>, keys: &[&str]) -> Option<Table<'n>> {
    if field.scalar().is_some() {
        let message = "this form of metric takes a query of each of its counters";
        let help = format!(
            "write prometheus: {{{0}: .., {1}: ..}}; or above: {{bound}} for the buckets of a histogram",
            keys[0], keys[1]
        );
        reader.refuse(field, ProblemCode::WrongType, message, help);
        return None;
    }
    reader.table(field, Some(keys))
}

fn required(reader: &mut Reader<'_>, table: &Table<'_>, key: &str) -> Option<QueryTemplate> {
    let help = "a query of counters' totals: 'http_requests_total{ {{arm}} }'";
    let field = reader.required(table, key, help)?;
    totals(reader, &field)
}

/// One query of totals; warned of where it asks for something else.
fn totals(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<QueryTemplate> {
    let query = one(reader, field)?;
    if let Some(name) = query.applies(&COUNTING) {
        let message = format!("the query applies {name}() to what is to be totals");
        let help = format!(
            "leave {name}() and its range out; davy takes what came on top of each series, and {name}() extrapolates, so that its results are not whole and are refused"
        );
        reader.warn(field.at(), message, help);
    } else if let Some(name) = query.applies(&SUMMING) {
        let message = format!(
            "the query applies {name}() to totals, which hides that one of them began anew"
        );
        let help = format!(
            "leave {name}() out: requests_total{{ {{{{arm}}}} }}; davy sums over the series of an arm"
        );
        reader.warn(field.at(), message, help);
    }
    Some(query)
}

fn query(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<QueryTemplate> {
    let text = reader.text(field)?;
    match QueryTemplate::parse(text) {
        Ok(query) => Some(query),
        Err(error) => {
            let character = text[..error.offset].chars().count() + 1;
            let message = format!("{} (at character {character} of the text)", error.message);
            reader.bad(field, message, error.help.unwrap_or_default());
            None
        }
    }
}

/// Queries need the plan's `arms`, and know no variables but theirs: one with a slip in its name
/// would only be told when an analysis starts.
pub(super) fn check_variables<'m>(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    metrics: impl Iterator<Item = &'m Metric>,
    arms: Option<&ArmTemplates>,
) {
    let section = table.get("metrics");
    let Some(section) = section.and_then(|field| reader.table(&field, None)) else {
        return;
    };
    let mut known = BTreeSet::from(USUAL_VARIABLES);
    for template in arms.iter().flat_map(|arms| [&arms.baseline, &arms.canary]) {
        known.extend(template.variables());
    }
    for metric in metrics {
        let Some(pulled) = metric.source.pulled() else {
            continue;
        };
        let field = section.get(&metric.name);
        let metric_table = field.and_then(|field| reader.table(&field, None));
        let Some(field) = metric_table.and_then(|table| table.get("prometheus")) else {
            continue;
        };
        if table.get("arms").is_none() {
            let message = "the queries ask for {{arm}}, and the plan has no `arms`";
            let help = "add arms: {baseline: 'version=\"{{baseline}}\"', canary: 'version=\"{{canary}}\"'}";
            reader.refuse(&field, ProblemCode::Conflict, message, help);
            continue;
        }
        let variables = pulled.parts().into_iter().map(|(_, query)| query);
        let variables: BTreeSet<&str> = variables.flat_map(QueryTemplate::variables).collect();
        let unknown = variables.iter().find(|name| !known.contains(*name));
        if let Some(name) = unknown.filter(|_| arms.is_some()) {
            let words = known.iter().copied().chain([ARM_VARIABLE]);
            let help = match nearest(name, words.clone()) {
                Some(near) => format!("did you mean `{{{{{near}}}}}`?"),
                None => format!(
                    "name it in a matcher of `arms`; known are {}",
                    one_of(words)
                ),
            };
            let message = format!("`arms` has no variable `{name}`");
            reader.bad(&field, message, help);
        }
    }
}
