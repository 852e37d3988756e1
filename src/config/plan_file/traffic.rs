//! The `traffic` section of a plan file, and the same section as a file of its own.
//!
//! Owns its written form: rates, shapes, defaults. What is done with it is no business of a plan's
//! reader. Next: `plan::traffic`.

use super::{Problems, finish_text};
use crate::config::quantity::{Amount, amount};
use crate::config::reader::{Field, Reader, Table};
use crate::config::yaml;
use crate::plan::traffic::{Arrivals, Load, MetricTraffic, Shape, Traffic, Units};
use crate::plan::{Lifetime, Metric, MetricKind, Plan};

/// Keys of the section.
pub(in crate::config) const TRAFFIC_KEYS: &[&str] =
    &["per_second", "canary_share", "arrivals", "load", "metrics"];
/// Keys of one metric's traffic.
pub(in crate::config) const METRIC_TRAFFIC_KEYS: &[&str] = &[
    "per_second",
    "median",
    "sigma",
    "resolution",
    "share",
    "level",
    "sd",
    "ar",
    "units",
];
const LOAD_KEYS: &[&str] = &["sd", "ar"];
const TICK_UNIT_KEYS: &[&str] = &["size", "sd"];
const RUN_UNIT_KEYS: &[&str] = &["baseline", "canary", "sd"];

/// Samples a second of one metric, at most.
const PER_SECOND_MAX: f64 = 1e7;
/// Units of one arm, at most.
const UNITS_MAX: u64 = 10_000;
/// Largest standard deviation of a logarithm: beyond it values leave the range of doubles.
const SD_MAX: f64 = 10.0;
/// Largest autocorrelation.
const AR_MAX: f64 = 0.999;

/// Reads a traffic file for a plan: the same keys as the plan's own section.
///
/// # Errors
/// Every problem of the text at once, with its place.
pub fn parse_traffic(source_name: &str, text: &str, plan: &Plan) -> Result<Traffic, Problems> {
    let mut reader = Reader::new(source_name);
    let metrics: Vec<&Metric> = plan.metrics.iter().collect();
    let traffic = yaml::parse(source_name, text, &mut reader.problems)
        .and_then(|root| read(&mut reader, &Field::root(&root), &metrics));
    finish_text(traffic, reader, text)
}

/// Reads the section.
pub(super) fn read(
    reader: &mut Reader<'_>,
    field: &Field<'_>,
    metrics: &[&Metric],
) -> Option<Traffic> {
    let table = reader.table(field, Some(TRAFFIC_KEYS))?;
    let common = table
        .get("per_second")
        .and_then(|field| reader.number(&field, 0.0..=PER_SECOND_MAX));
    let canary_share = table
        .get("canary_share")
        .map_or(Some(0.5), |field| share(reader, &field));
    let words = [("poisson", Arrivals::Poisson), ("fixed", Arrivals::Fixed)];
    let arrivals = table
        .get("arrivals")
        .map_or(Some(Arrivals::Poisson), |field| reader.word(&field, &words));
    let load = table
        .get("load")
        .and_then(|field| reader.table(&field, Some(LOAD_KEYS)))
        .map(|load| Load {
            sd: number(reader, &load, "sd", 0.3, 0.0, SD_MAX),
            ar: number(reader, &load, "ar", 0.0, 0.0, AR_MAX),
        });
    let section = table
        .get("metrics")
        .and_then(|field| reader.table(&field, None));
    if let Some(section) = &section {
        for (key, _) in section.fields() {
            if !metrics.iter().any(|metric| metric.name == key.text) {
                let names: Vec<&str> = metrics.iter().map(|metric| &*metric.name).collect();
                reader.unknown_key(key, &section.path_of(&key.text), &names);
            }
        }
    }
    let mut found = Vec::with_capacity(metrics.len());
    for metric in metrics {
        let own = section
            .as_ref()
            .and_then(|section| section.get(&metric.name));
        let own = own.and_then(|field| reader.table(&field, Some(METRIC_TRAFFIC_KEYS)));
        let own_rate = own.as_ref().and_then(|own| own.get("per_second"));
        let per_second = match own_rate {
            Some(field) => reader.number(&field, 0.0..=PER_SECOND_MAX),
            None => common,
        };
        if per_second.is_none() && metric.kind != MetricKind::Gauge {
            let message = format!("nothing says how many samples `{}` has", metric.name);
            let help = "write traffic.per_second: samples a second, both arms together";
            reader.bad(field, message, help);
        }
        found.push(MetricTraffic {
            per_second: per_second.unwrap_or(0.0),
            shape: shape(reader, own.as_ref(), metric.kind),
            units: own.as_ref().and_then(|own| units(reader, own, metric)),
        });
    }
    Some(Traffic {
        canary_share: canary_share?,
        arrivals: arrivals?,
        load,
        metrics: found,
    })
}

fn shape(reader: &mut Reader<'_>, own: Option<&Table<'_>>, kind: MetricKind) -> Shape {
    let keys: &[&str] = match kind {
        MetricKind::Latency => &["median", "sigma", "resolution"],
        MetricKind::Ratio => &["share"],
        MetricKind::Rate => &[],
        MetricKind::Gauge => &["level", "sd", "ar"],
    };
    if let Some(own) = own {
        for (key, field) in own.fields() {
            let fits = ["per_second", "units"].contains(&&*key.text);
            if !fits && METRIC_TRAFFIC_KEYS.contains(&&*key.text) && !keys.contains(&&*key.text) {
                let message = format!("`{}` says nothing of a metric of this kind", key.text);
                reader.bad(&field, message, "remove it");
            }
        }
    }
    let read = |reader: &mut Reader<'_>, key: &str, default: f64, least: f64, most: f64| {
        own.map_or(default, |own| {
            number(reader, own, key, default, least, most)
        })
    };
    match default_shape(kind) {
        Shape::LogNormal {
            median,
            sigma,
            resolution,
        } => Shape::LogNormal {
            median: read(reader, "median", median, 1e-9, 1e12),
            sigma: read(reader, "sigma", sigma, 0.0, SD_MAX),
            resolution: read(reader, "resolution", resolution, 0.0, 1e12),
        },
        Shape::Errors { share: usual } => Shape::Errors {
            share: own
                .and_then(|own| own.get("share"))
                .and_then(|field| share(reader, &field))
                .unwrap_or(usual),
        },
        Shape::Events => Shape::Events,
        Shape::Level { level, sd, ar } => Shape::Level {
            level: read(reader, "level", level, 1e-9, 1e12),
            sd: read(reader, "sd", sd, 0.0, SD_MAX),
            ar: read(reader, "ar", ar, 0.0, AR_MAX),
        },
    }
}

/// What samples look like where nothing is said.
pub fn default_shape(kind: MetricKind) -> Shape {
    match kind {
        MetricKind::Latency => Shape::LogNormal {
            median: 100.0,
            sigma: 0.7,
            resolution: 0.0,
        },
        MetricKind::Ratio => Shape::Errors { share: 0.001 },
        MetricKind::Rate => Shape::Events,
        MetricKind::Gauge => Shape::Level {
            level: 100.0,
            sd: 0.1,
            ar: 0.5,
        },
    }
}

fn units(reader: &mut Reader<'_>, own: &Table<'_>, metric: &Metric) -> Option<Units> {
    let field = own.get("units")?;
    let Some(cluster) = &metric.cluster else {
        let help = "give the metric a `cluster`, or remove `units`";
        reader.bad(&field, "the metric has no cluster", help);
        return None;
    };
    match cluster.lifetime {
        Lifetime::Tick => {
            let table = reader.table(&field, Some(TICK_UNIT_KEYS))?;
            Some(Units::Tick {
                size: number(reader, &table, "size", 5.0, 1.0, 1e6),
                sd: number(reader, &table, "sd", 0.3, 0.0, SD_MAX),
            })
        }
        Lifetime::Run => {
            let table = reader.table(&field, Some(RUN_UNIT_KEYS))?;
            let mut count = |key: &str| {
                let field = reader.required(&table, key, "say how many units each arm has")?;
                let count = reader.whole(&field, 1..=UNITS_MAX)?;
                u32::try_from(count).ok()
            };
            let (baseline, canary) = (count("baseline"), count("canary"));
            Some(Units::Run {
                baseline: baseline?,
                canary: canary?,
                sd: number(reader, &table, "sd", 0.05, 0.0, SD_MAX),
            })
        }
    }
}

fn number(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    key: &str,
    default: f64,
    least: f64,
    most: f64,
) -> f64 {
    let field = table.get(key);
    let read = field.and_then(|field| reader.number(&field, least..=most));
    read.unwrap_or(default)
}

/// A share strictly between 0 and 1: `10%` or `0.1`.
fn share(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<f64> {
    let text = reader.text(field)?;
    let share = match amount(text) {
        Some(Amount::Percent(share) | Amount::Plain(share, None)) => Some(share),
        _ => None,
    };
    let within = share.filter(|share| *share > 0.0 && *share < 1.0);
    if within.is_none() {
        let help = "write a share between 0 and 100 %, such as 10%";
        reader.bad(field, format!("`{text}` is no share"), help);
    }
    within
}
