//! The `checks` section of a plan file.
//!
//! Owns the written forms of a check and which keys belong to which. Next: `tolerance`, the
//! quantities in it.

use super::dispersion::{self, Asked as AskedDispersion, Measured};
use super::kayenta::{self, Judge};
use super::metrics::Written;
use super::{ProblemCode, SAMPLES_MAX, Times, burn_rate, name, tolerance};
use crate::config::problem::nearest;
use crate::config::reader::{Field, Reader, Table};
use crate::model::Millis;
use crate::plan::{
    CHECKS_MAX, Check, Dispersion, Metric, MetricKind, NoData, Quantile, Question, ThresholdForm,
    Worse,
};

/// Samples per arm before a pass, where a check is silent.
pub const MIN_SAMPLES_DEFAULT: u64 = 50;
/// The same for a gauge, whose samples are points and mostly one a tick: at the usual tick of 15 s
/// these are five minutes, which is the usual bake time, where 50 would be twelve and a half.
pub const MIN_POINTS_DEFAULT: u64 = 20;
/// Largest weight of a check, and 1 over the smallest.
const WEIGHT_MAX: f64 = 1_000.0;
/// Most units a check can ask for.
const UNITS_MAX: u64 = 1_000_000;

/// Keys of a check.
pub(in crate::config) const CHECK_KEYS: &[&str] = &[
    "compare",
    "threshold",
    "name",
    "at",
    "worse",
    "tolerance",
    "limit",
    "breach",
    "burn_rate",
    "no_data",
    "weight",
    "gating",
    "min_samples",
    "require_units",
    "dispersion",
    "kayenta",
];

/// Reads the section, in the order written.
pub(super) fn read(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    metrics: &[Written],
    times: Option<&Times>,
    (measured, judge): (Measured<'_>, &Judge),
) -> Vec<Check> {
    let help = "ask at least one question under checks:, such as - compare: request_latency";
    let Some(section) = reader.required(table, "checks", help) else {
        return Vec::new();
    };
    let Some(items) = reader.list(&section) else {
        return Vec::new();
    };
    if items.is_empty() {
        reader.bad(&section, "there is no check", help);
    }
    if items.len() > CHECKS_MAX {
        let message = format!("{} checks; at most {CHECKS_MAX} are possible", items.len());
        reader.refuse(&section, ProblemCode::TooLarge, message, "split the plan");
    }
    let mut checks: Vec<Check> = Vec::new();
    for item in &items {
        let Some(check) = check(reader, item, metrics, times, (measured, judge)) else {
            continue;
        };
        if checks.iter().any(|known| known.name == check.name) {
            let message = format!("two checks are named `{}`", check.name);
            let help = "give one of them a name: of its own";
            reader.refuse(item, ProblemCode::Conflict, message, help);
        }
        checks.push(check);
    }
    if checks.len() == items.len() && !checks.is_empty() && !checks.iter().any(|c| c.gating) {
        let message = "no check is gating, so no verdict could ever come";
        reader.refuse(
            &section,
            ProblemCode::Conflict,
            message,
            "remove gating: false from one",
        );
    }
    checks
}

/// What every check has, whatever it asks.
struct Common {
    name: Option<String>,
    gating: bool,
    weight: f64,
    min_samples: Option<u64>,
    require_units: u32,
}

impl Common {
    /// `None` where the name is wrong: the check's identity is not known then.
    fn read(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<Common> {
        let weight = table
            .get("weight")
            .and_then(|field| reader.number(&field, 1.0 / WEIGHT_MAX..=WEIGHT_MAX));
        let gating = table.get("gating").and_then(|field| reader.flag(&field));
        let min_samples = table
            .get("min_samples")
            .and_then(|field| reader.whole(&field, 1..=SAMPLES_MAX));
        let require_units = table
            .get("require_units")
            .and_then(|field| reader.whole(&field, 1..=UNITS_MAX));
        let name = match table.get("name") {
            Some(field) => {
                let text = reader.text(&field)?;
                Some(name(reader, &field, text)?)
            }
            None => None,
        };
        Some(Common {
            name,
            gating: gating.unwrap_or(true),
            weight: weight.unwrap_or(1.0),
            min_samples,
            // UNITS_MAX fits.
            require_units: require_units.map_or(1, |units| units as u32),
        })
    }
}

fn check(
    reader: &mut Reader<'_>,
    field: &Field<'_>,
    metrics: &[Written],
    times: Option<&Times>,
    (measured, judge): (Measured<'_>, &Judge),
) -> Option<Check> {
    let table = reader.table(field, Some(CHECK_KEYS))?;
    let common = Common::read(reader, &table);
    let (asked, metric_field) = asked(reader, field, &table)?;
    let is_own = matches!(judge, Judge::Own);
    if is_own {
        refuse_strange_keys(reader, &table, asked);
        kayenta::refuse_settings(reader, &table);
    }
    let metric = metric_index(reader, &metric_field, metrics)?;
    let written = &metrics[metric];
    if !written.kind_known {
        return None;
    }
    let at = match table.get("at") {
        Some(field) => Some(tolerance::at(reader, &field, &written.metric)?),
        None => None,
    };
    let default_name = || match at {
        Some(at) => format!("{}-{at}", written.metric.name),
        None => written.metric.name.clone(),
    };
    let common = common?;
    refuse_idle_units(reader, &table, &written.metric, &common);
    let name = common.name.unwrap_or_else(default_name);
    let own = |question| (question, Vec::new());
    let (question, groups) = match asked {
        _ if !is_own => kayenta::question(reader, &table, &written.metric, at, &name),
        Asked::Compare => {
            let tick = times.map(|times| times.tick);
            let of = Compared {
                metric: &written.metric,
                at,
                tick,
                name: &name,
            };
            compare(reader, &table, &of, measured).map(own)
        }
        Asked::Threshold => threshold(reader, &table, &written.metric, at, times).map(own),
    }?;
    Some(Check {
        name,
        metric,
        question,
        gating: common.gating,
        weight: common.weight,
        min_samples: common.min_samples.unwrap_or(match written.metric.kind {
            MetricKind::Gauge => MIN_POINTS_DEFAULT,
            _ => MIN_SAMPLES_DEFAULT,
        }),
        require_units: common.require_units,
        groups,
    })
}

/// Which of the two questions, and the field that names the metric.
fn asked<'n>(
    reader: &mut Reader<'_>,
    field: &Field<'_>,
    table: &Table<'n>,
) -> Option<(Asked, Field<'n>)> {
    let message = match (table.get("compare"), table.get("threshold")) {
        (Some(metric), None) => return Some((Asked::Compare, metric)),
        (None, Some(metric)) => return Some((Asked::Threshold, metric)),
        (Some(_), Some(_)) => "a check is either compare or threshold",
        (None, None) => "a check asks compare: METRIC or threshold: METRIC",
    };
    let help = "give exactly one of the two";
    reader.refuse(field, ProblemCode::MissingKey, message, help);
    None
}

#[derive(Clone, Copy, PartialEq)]
enum Asked {
    Compare,
    Threshold,
}

/// Keys of the other question.
fn refuse_strange_keys(reader: &mut Reader<'_>, table: &Table<'_>, asked: Asked) {
    let (strange, belongs): (&[&str], _) = match asked {
        Asked::Compare => (&["limit", "breach", "burn_rate", "no_data"], "threshold"),
        Asked::Threshold => (&["worse", "tolerance"], "compare"),
    };
    for key in strange {
        if let Some(field) = table.get(key) {
            let message = format!("`{key}` belongs to {belongs} checks");
            let help = format!("remove it, or write {belongs}: instead");
            reader.refuse(&field, ProblemCode::Conflict, message, help);
        }
    }
}

/// Asking for units where nothing counts them would keep a check from ever deciding, or do nothing.
fn refuse_idle_units(reader: &mut Reader<'_>, table: &Table<'_>, metric: &Metric, common: &Common) {
    let Some(field) = table
        .get("require_units")
        .filter(|_| common.require_units > 1)
    else {
        return;
    };
    let is_alarm = ["breach", "burn_rate"]
        .iter()
        .any(|key| table.get(key).is_some());
    let (message, help) = if is_alarm {
        ("an alarm rule does not count units", "remove it")
    } else if metric.cluster.is_none() {
        (
            "the metric has no units that could be counted",
            "add cluster: {by: pod, lifetime: run} to the metric, or remove it",
        )
    } else {
        return;
    };
    reader.refuse(&field, ProblemCode::Conflict, message, help);
}

fn metric_index(reader: &mut Reader<'_>, field: &Field<'_>, metrics: &[Written]) -> Option<usize> {
    let text = reader.text(field)?;
    let found = metrics
        .iter()
        .position(|written| written.metric.name == text);
    if found.is_none() {
        let names = metrics.iter().map(|written| written.metric.name.as_str());
        let help = match nearest(text, names.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!(
                "metrics of this plan: {}",
                names.collect::<Vec<_>>().join(", ")
            ),
        };
        reader.bad(field, format!("there is no metric `{text}`"), help);
    }
    found
}

/// What a comparison is of.
struct Compared<'a> {
    metric: &'a Metric,
    at: Option<Quantile>,
    tick: Option<Millis>,
    name: &'a str,
}

fn compare(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    of: &Compared<'_>,
    measured: Measured<'_>,
) -> Option<Question> {
    let &Compared {
        metric,
        at,
        tick,
        name,
    } = of;
    let words = [
        ("higher", Worse::Higher),
        ("lower", Worse::Lower),
        ("either", Worse::Either),
    ];
    let worse = match table.get("worse") {
        Some(field) => reader.word(&field, &words)?,
        None => Worse::Higher,
    };
    let tolerance = match table.get("tolerance") {
        Some(field) => tolerance::read(reader, &field, metric, worse)?,
        None => tolerance::default_for(metric.kind, at),
    };
    let by_ratio = tolerance.relative.is_some();
    let asked = AskedDispersion {
        tick,
        metric,
        at,
        by_ratio,
        name,
    };
    let dispersion = match table.get("dispersion") {
        Some(field) => dispersion::of_compare(reader, &field, &asked, measured)?,
        None => Dispersion::default_for(metric.kind),
    };
    if metric.kind == MetricKind::Ratio && tolerance.absolute.is_none() {
        let at = (table.place_of("tolerance"), &*table.path_of("tolerance"));
        let message = "a service without errors can never pass a relative tolerance alone";
        reader.warn(
            at,
            message,
            "add an absolute part: {relative: 20%, absolute: 0.1pp}",
        );
    }
    if metric.source.is_timed() {
        let at = (table.place_of("compare"), &*table.path_of("compare"));
        let message = "without an exposure counter both arms are taken to get equal traffic";
        let help = "add exposure: to the metric, such as the counter of all requests";
        reader.warn(at, message, help);
    }
    if metric.negative && tolerance.relative.is_some() {
        let at = (table.place_of("tolerance"), &*table.path_of("tolerance"));
        let message = "a percentage of a value below zero is no tolerance";
        let help = "write an absolute tolerance, or remove `negative` from the metric";
        reader.error(at, ProblemCode::Conflict, message, help);
        return None;
    }
    Some(Question::Compare {
        at,
        worse,
        tolerance,
        dispersion,
    })
}

fn threshold(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    metric: &Metric,
    at: Option<Quantile>,
    times: Option<&Times>,
) -> Option<Question> {
    let form = match (table.get("breach"), table.get("burn_rate")) {
        (Some(_), Some(field)) => {
            let message = "a check is either breach or burn_rate";
            reader.refuse(&field, ProblemCode::Conflict, message, "write two checks");
            None
        }
        (Some(field), None) => breach(reader, &field, times),
        (None, Some(field)) => {
            let rule = burn_rate::read(reader, &field, metric.kind, times);
            rule.map(ThresholdForm::BurnRate)
        }
        (None, None) => Some(ThresholdForm::Exact),
    };
    let no_data = table.get("no_data").map(|field| {
        if form == Some(ThresholdForm::Exact) {
            let message = "`no_data` belongs to the alarm forms";
            let help = "add breach: or burn_rate:, or remove it: a test without data never passes";
            reader.refuse(&field, ProblemCode::Conflict, message, help);
        }
        let words = [
            ("missing", NoData::Missing),
            ("breaching", NoData::Breaching),
            ("ignore", NoData::Ignore),
            ("not_breaching", NoData::NotBreaching),
        ];
        reader.word(&field, &words)
    });
    if metric.kind == MetricKind::Latency && at.is_none() {
        let message = "a limit on a distribution needs a quantile";
        let at = (table.place_of("threshold"), table.at().1);
        reader.error(
            at,
            ProblemCode::MissingKey,
            message,
            "add at: p99, or at: p50 for the middle",
        );
        return None;
    }
    let dispersion = match table.get("dispersion") {
        Some(field) if form.is_some_and(|form| form != ThresholdForm::Exact) => {
            let message = "an alarm rule makes no assumption about neighbouring ticks";
            reader.refuse(&field, ProblemCode::Conflict, message, "remove it");
            return None;
        }
        Some(field) => dispersion::of_limit(reader, &field, metric.kind)?,
        None => Dispersion::default_for(metric.kind),
    };
    let limit = match form {
        Some(ThresholdForm::BurnRate(rule)) => burn_rate::limit(reader, table, &rule)?,
        None if table.get("burn_rate").is_some() => return None,
        _ => {
            let field = reader.required(table, "limit", "say what must hold: limit: \"< 1%\"");
            tolerance::limit(reader, &field?, metric)?
        }
    };
    Some(Question::Threshold {
        at,
        limit,
        form: form?,
        no_data: no_data.flatten().unwrap_or(NoData::Missing),
        dispersion,
    })
}

fn breach(
    reader: &mut Reader<'_>,
    field: &Field<'_>,
    times: Option<&Times>,
) -> Option<ThresholdForm> {
    let table = reader.table(field, Some(&["periods", "of"]))?;
    let looks = times.map_or(crate::plan::LOOKS_MAX, |times| times.horizon / times.tick);
    let looks = looks.clamp(1, crate::plan::LOOKS_MAX) as u64;
    let mut count = |key: &str| {
        let field = reader.required(&table, key, "breach: {periods: 3, of: 5}")?;
        reader.whole(&field, 1..=looks)
    };
    let (periods, of) = (count("periods"), count("of"));
    let (periods, of) = (periods?, of?);
    if periods > of {
        let message = format!("{periods} of {of} periods cannot breach");
        reader.refuse(
            field,
            ProblemCode::Conflict,
            message,
            "periods is at most `of`",
        );
        return None;
    }
    // LOOKS_MAX fits.
    Some(ThresholdForm::Breach {
        periods: periods as u32,
        of: of as u32,
    })
}
