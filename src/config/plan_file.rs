//! From the text of a plan file to a validated [`Plan`], or to all its problems at once.
//!
//! Owns the written form of plans: keys, defaults, units, places. What a plan means is
//! [`crate::plan`]'s. Next: `metrics` and `checks`, the two long sections; `schema`, the same
//! form for editors.

mod after;
mod burn_rate;
pub mod calibration;
mod checks;
mod dispersion;
mod doubts;
mod kayenta;
mod metrics;
mod pulled;
pub mod schema;
mod selectors;
mod source;
mod times;
mod tolerance;
pub mod traffic;

pub use dispersion::Measured;
use kayenta::Judge;
use times::Times;

use super::node::Node;
use super::problem::{Problem, ProblemCode, Problems, Severity};
use super::quantity::DURATION_MILLIS_MAX;
use super::reader::{Field, Reader, Table};
use super::yaml;
use crate::model::Millis;
use crate::plan::traffic::Traffic;
use crate::plan::{
    ArmTemplates, ChangeField, Metric, OnInconclusive, OnNoData, Plan, SelectorTemplate, StepGate,
};

/// Longest plan file, in bytes.
pub const PLAN_BYTES_MAX: usize = 256 * 1024;
/// Longest name of a plan, metric or check, in characters.
pub const NAME_CHARS_MAX: usize = 63;
/// Longest description, in bytes.
pub const DESCRIPTION_BYTES_MAX: usize = 4_096;
/// Shortest tick: a look costs more than it tells below this.
pub const TICK_MILLIS_MIN: Millis = 100;
/// The form of plan files this version reads.
pub const VERSION: &str = "davy/v1";

const STEP_DURATION_DEFAULT: Millis = 60_000;
const STEP_SAMPLES_DEFAULT: u64 = 50;
pub(super) const SAMPLES_MAX: u64 = 1_000_000_000;

/// Keys at the top of a plan.
pub(super) const PLAN_KEYS: &[&str] = &[
    "version",
    "plan",
    "description",
    "horizon",
    "extend",
    "tick",
    "lateness",
    "min_duration",
    "stop_on_pass",
    "alpha",
    "beta",
    "on_inconclusive",
    "on_no_data",
    "change",
    "arms",
    "judge",
    "step",
    "watch",
    "metrics",
    "checks",
    "traffic",
];

/// A plan and what its writer should hear all the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The plan.
    pub plan: Plan,
    /// Warnings, in the order of their places.
    pub warnings: Vec<Problem>,
}

/// Parses a plan, YAML or JSON, that has no calibration beside it. `source_name` names it in
/// problems.
///
/// # Errors
/// Every problem of the text at once, sorted by place, warnings among them.
pub fn parse_plan(source_name: &str, text: &str) -> Result<Parsed, Problems> {
    parse_plan_with(source_name, text, Measured::Nowhere)
}

/// As [`parse_plan`], with what `dispersion: calibrated` stands for.
///
/// # Errors
/// As [`parse_plan`].
pub fn parse_plan_with(
    source_name: &str,
    text: &str,
    measured: Measured<'_>,
) -> Result<Parsed, Problems> {
    let mut reader = Reader::new(source_name);
    let parsed = if text.len() > PLAN_BYTES_MAX {
        let message = format!("the plan is longer than {PLAN_BYTES_MAX} bytes");
        reader.problems.push(Problem::of_file(
            source_name,
            ProblemCode::TooLarge,
            message,
        ));
        None
    } else {
        yaml::parse(source_name, text, &mut reader.problems)
            .and_then(|root| plan_of(&mut reader, &root, measured))
    };
    finish(parsed, reader, Some(text))
}

/// Parses a plan given as a JSON value, such as an inline plan of a request. Problems carry paths
/// and no lines.
///
/// # Errors
/// As [`parse_plan`].
pub fn parse_plan_value(value: &serde_json::Value) -> Result<Parsed, Problems> {
    let source_name = "inline plan";
    let mut reader = Reader::new(source_name);
    let parsed = match Node::from_json(value) {
        Ok(root) => plan_of(&mut reader, &root, Measured::Nowhere),
        Err(problem) => {
            reader.problems.push(Problem {
                file: source_name.to_owned(),
                ..*problem
            });
            None
        }
    };
    finish(parsed, reader, None)
}

fn finish(plan: Option<Plan>, reader: Reader<'_>, text: Option<&str>) -> Result<Parsed, Problems> {
    let problems = located(reader, text);
    match plan {
        Some(plan) if !has_error(&problems) => Ok(Parsed {
            plan,
            warnings: problems.items,
        }),
        _ => Err(problems),
    }
}

/// What was read of a text, or all its problems.
fn finish_text<T>(read: Option<T>, reader: Reader<'_>, text: &str) -> Result<T, Problems> {
    let problems = located(reader, Some(text));
    read.filter(|_| !has_error(&problems)).ok_or(problems)
}

fn located(reader: Reader<'_>, text: Option<&str>) -> Problems {
    let located = |problem: Problem| match text {
        Some(text) => problem.with_excerpt_of(text),
        None => problem,
    };
    Problems::sorted(reader.problems.into_iter().map(located).collect())
}

fn has_error(problems: &Problems) -> bool {
    let is_error = |problem: &Problem| problem.severity == Severity::Error;
    problems.items.iter().any(is_error)
}

/// Reads every section even where one is wrong; `None` only where nothing could be built.
fn plan_of(reader: &mut Reader<'_>, root: &Node, measured: Measured<'_>) -> Option<Plan> {
    let table = reader.table(&Field::root(root), Some(PLAN_KEYS))?;
    version(reader, &table);
    let name = reader
        .required(&table, "plan", "name the plan: plan: checkout")
        .and_then(|field| plan_name(reader, &field));
    let description = table
        .get("description")
        .and_then(|field| description(reader, &field));
    let times = Times::read(reader, &table);
    let metrics = metrics::read(reader, &table);
    let judge = kayenta::judge(reader, &table, times.as_ref());
    let checks = checks::read(reader, &table, &metrics, times.as_ref(), (measured, &judge));
    let extend = after::extend(reader, &table, &metrics, times.as_ref());
    let watch = after::watch(reader, &table, &metrics, &checks, times.as_ref());
    let arms = table.get("arms").and_then(|field| arms(reader, &field));
    metrics::warn_of_unused(reader, &table, &metrics, &checks, arms.is_some());
    let asked = metrics.iter().map(|written| &written.metric);
    pulled::check_variables(reader, &table, asked, arms.as_ref());
    let change_require = table
        .get("change")
        .and_then(|field| change(reader, &field))
        .unwrap_or_default();
    let choice = |reader: &mut Reader<'_>, key: &str| {
        table
            .get(key)
            .and_then(|field| reader.number(&field, 0.000_1..=0.499_9))
    };
    let alpha = choice(reader, "alpha").unwrap_or(0.05);
    let beta = choice(reader, "beta").unwrap_or(0.05);
    let stop_on_pass = table
        .get("stop_on_pass")
        .and_then(|field| reader.flag(&field));
    let (on_inconclusive, on_no_data) = policies(reader, &table);
    let step = step(reader, &table, times.as_ref());
    let traffic = expected_traffic(reader, &table, &metrics);
    let times = times?;
    let plan = Plan {
        name: name?,
        description: description.unwrap_or_default(),
        horizon: times.horizon,
        extend,
        tick: times.tick,
        lateness: times.lateness,
        min_duration: judge.min_duration(&times),
        stop_on_pass: stop_on_pass.unwrap_or(true),
        alpha,
        beta,
        on_inconclusive,
        on_no_data,
        step,
        watch,
        change_require,
        arms,
        metrics: metrics.into_iter().map(|written| written.metric).collect(),
        checks,
        kayenta: match judge {
            Judge::Own => None,
            Judge::Kayenta(scoring) => Some(scoring?),
        },
        traffic,
    };
    if !reader.has_error() {
        doubts::warn(reader, &table, &plan);
    }
    Some(plan)
}

fn policies(reader: &mut Reader<'_>, table: &Table<'_>) -> (OnInconclusive, OnNoData) {
    let on_inconclusive = table.get("on_inconclusive").and_then(|field| {
        let words = [
            ("hold", OnInconclusive::Hold),
            ("rollback", OnInconclusive::Rollback),
            ("promote", OnInconclusive::Promote),
        ];
        reader.word(&field, &words)
    });
    let on_no_data = table.get("on_no_data").and_then(|field| {
        let words = [("hold", OnNoData::Hold), ("rollback", OnNoData::Rollback)];
        reader.word(&field, &words)
    });
    (
        on_inconclusive.unwrap_or(OnInconclusive::Hold),
        on_no_data.unwrap_or(OnNoData::Hold),
    )
}

fn expected_traffic(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    metrics: &[metrics::Written],
) -> Option<Traffic> {
    let known: Vec<&Metric> = metrics.iter().map(|written| &written.metric).collect();
    traffic::read(reader, &table.get("traffic")?, &known)
}

fn version(reader: &mut Reader<'_>, table: &Table<'_>) {
    let help = format!("write version: {VERSION}");
    let Some(field) = reader.required(table, "version", &help) else {
        return;
    };
    if let Some(text) = reader.text(&field).filter(|text| *text != VERSION) {
        reader.bad(
            &field,
            format!("`{text}` is not a version this davy reads"),
            help,
        );
    }
}

/// Whether a plan can be called so.
pub fn can_name_plan(text: &str) -> bool {
    let first = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let rest = text
        .bytes()
        .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'));
    first && rest && text.len() <= NAME_CHARS_MAX
}

fn plan_name(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<String> {
    let text = reader.text(field)?;
    if !can_name_plan(text) {
        let help = format!("a-z, 0-9 and . _ -, a letter or digit first, at most {NAME_CHARS_MAX}");
        reader.bad(field, format!("`{text}` cannot name a plan"), help);
        return None;
    }
    Some(text.to_owned())
}

/// A name of a metric or a check: it becomes part of series names, URLs and metric labels.
pub(super) fn name(reader: &mut Reader<'_>, at: &Field<'_>, text: &str) -> Option<String> {
    let first = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let rest = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-'));
    if !first || !rest || text.len() > NAME_CHARS_MAX {
        let help = format!("letters, digits and _ . : -, at most {NAME_CHARS_MAX} characters");
        reader.bad(at, format!("`{text}` cannot be a name"), help);
        return None;
    }
    Some(text.to_owned())
}

fn description(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<String> {
    let text = reader.text(field)?;
    if text.len() > DESCRIPTION_BYTES_MAX {
        reader.bad(
            field,
            format!("longer than {DESCRIPTION_BYTES_MAX} bytes"),
            "",
        );
        return None;
    }
    Some(text.to_owned())
}

fn step(reader: &mut Reader<'_>, table: &Table<'_>, times: Option<&Times>) -> StepGate {
    let bake = times.map_or(DURATION_MILLIS_MAX, |times| times.min_duration);
    let mut gate = StepGate {
        min_duration: bake.min(STEP_DURATION_DEFAULT),
        min_samples: STEP_SAMPLES_DEFAULT,
    };
    let keys: &[&str] = &["min_duration", "min_samples"];
    let Some(step) = table
        .get("step")
        .and_then(|field| reader.table(&field, Some(keys)))
    else {
        return gate;
    };
    if let Some(field) = step.get("min_duration")
        && let Some(millis) = reader.duration(&field, 0)
    {
        gate.min_duration = millis;
        if times.is_some_and(|times| millis > times.horizon) {
            let message = "the step would outlast the horizon";
            reader.refuse(&field, ProblemCode::Conflict, message, "shorten it");
        }
    }
    if let Some(field) = step.get("min_samples")
        && let Some(samples) = reader.whole(&field, 0..=SAMPLES_MAX)
    {
        gate.min_samples = samples;
    }
    gate
}

fn arms(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<ArmTemplates> {
    let table = reader.table(field, Some(&["baseline", "canary"]))?;
    let mut template = |key: &str| {
        let help = "both arms need matchers, or leave `arms` out and address samples";
        let field = reader.required(&table, key, help)?;
        selectors::read(
            reader,
            &field,
            SelectorTemplate::parse,
            SelectorTemplate::regex_bytes,
        )
    };
    let (baseline, canary) = (template("baseline"), template("canary"));
    let templates = ArmTemplates {
        baseline: baseline?,
        canary: canary?,
    };
    if templates.baseline == templates.canary {
        let message = "both arms have the same matchers, so every series would match both";
        let help = "tell them apart: version=\"{{baseline}}\" and version=\"{{canary}}\"";
        reader.refuse(field, ProblemCode::Conflict, message, help);
        return None;
    }
    Some(templates)
}

fn change(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Vec<ChangeField>> {
    let words = [
        ("id", ChangeField::Id),
        ("revision", ChangeField::Revision),
        ("owner", ChangeField::Owner),
        ("namespace", ChangeField::Namespace),
        ("service", ChangeField::Service),
        ("environment", ChangeField::Environment),
        ("region", ChangeField::Region),
    ];
    let table = reader.table(field, Some(&["require"]))?;
    let items = table.get("require").and_then(|field| reader.list(&field))?;
    let mut found = Vec::new();
    for item in items {
        if let Some(word) = reader.word(&item, &words) {
            found.push(word);
        }
    }
    // A set: the order in which fields are asked for means nothing.
    found.sort_by_key(|field| words.iter().position(|(_, word)| word == field));
    found.dedup();
    Some(found)
}
