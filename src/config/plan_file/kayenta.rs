//! `judge: kayenta`: Kayenta's judge instead of davy's own.
//!
//! Owns the written form of the score and of a check's settings, which have Kayenta's names in
//! snake case, and which other keys mean nothing then. Next: `plan::kayenta`, what they become.

use std::collections::{BTreeMap, BTreeSet};

use super::{NAME_CHARS_MAX, ProblemCode, Times, after};
use crate::config::reader::{Field, Reader, Table};
use crate::model::Millis;
use crate::plan::kayenta::{
    Direction, GROUPS_MAX, MARGINAL_DEFAULT, Measure, NanStrategy, Outliers, PASS_DEFAULT, Scoring,
    Settings, Thresholds,
};
use crate::plan::{CHECKS_MAX, Check, Metric, MetricKind, Quantile, Question};

/// Keys of `judge: {kayenta: ..}`.
pub(in crate::config) const SCORING_KEYS: &[&str] =
    &["pass", "marginal", "interval", "lookback", "group_weights"];
/// Keys of a check's `kayenta`.
pub(in crate::config) const SETTING_KEYS: &[&str] = &[
    "groups",
    "critical",
    "must_have_data",
    "nan_strategy",
    "outlier_factor",
    "effect_size",
];
/// Keys of `effect_size`.
pub(in crate::config) const EFFECT_KEYS: &[&str] = &[
    "measure",
    "allowed_increase",
    "allowed_decrease",
    "critical_increase",
    "critical_decrease",
];
/// Keys of a plan that promise or ask what Kayenta's judge knows nothing of.
const STRANGE_TO_PLAN: &[&str] = &[
    "alpha",
    "beta",
    "min_duration",
    "stop_on_pass",
    "extend",
    "watch",
];
/// Keys of a check of which the same holds.
const STRANGE_TO_CHECK: &[&str] = &[
    "threshold",
    "tolerance",
    "limit",
    "breach",
    "burn_rate",
    "no_data",
    "weight",
    "min_samples",
    "require_units",
    "dispersion",
];
/// Ticks below which a judgement is doubted: of so many values a side, equal arms differ in a few per
/// cent of all judgements, of two in a quarter.
const FEW_TICKS: Millis = 10;
/// Rounding of a sum of percents.
const SUM_ERROR_MAX: f64 = 0.01;
/// Weights of groups: as many as the checks of a plan can name.
const WEIGHTS_MAX: usize = CHECKS_MAX * GROUPS_MAX;
/// Largest effect, factor and weight.
const LARGEST: f64 = 1e6;

/// Who judges.
pub(super) enum Judge {
    /// davy.
    Own,
    /// Kayenta's judge; `None` where its settings are wrong.
    Kayenta(Option<Scoring>),
}

impl Judge {
    /// Bake time before a pass: Kayenta's judge passes at the horizon only.
    pub fn min_duration(&self, times: &Times) -> Millis {
        match self {
            Judge::Own => times.min_duration,
            Judge::Kayenta(_) => 0,
        }
    }
}

/// Reads `judge`; davy's own without it.
pub(super) fn judge(reader: &mut Reader<'_>, table: &Table<'_>, times: Option<&Times>) -> Judge {
    let Some(field) = table.get("judge") else {
        return Judge::Own;
    };
    if let Some(word) = field.scalar() {
        match word {
            "davy" => return Judge::Own,
            "kayenta" => {
                refuse_strange(reader, table, STRANGE_TO_PLAN);
                return Judge::Kayenta(times.map(|times| Scoring::once(times.horizon)));
            }
            _ => {}
        }
    }
    let help = "write judge: davy, judge: kayenta, or judge: {kayenta: {pass: 95, marginal: 75}}";
    if field.scalar().is_some() {
        reader.bad(&field, "there is no such judge", help);
        return Judge::Own;
    }
    refuse_strange(reader, table, STRANGE_TO_PLAN);
    let Some(judge) = reader.table(&field, Some(&["kayenta"])) else {
        return Judge::Own;
    };
    let Some(field) = reader.required(&judge, "kayenta", help) else {
        return Judge::Own;
    };
    Judge::Kayenta(scoring(reader, &field, times))
}

fn refuse_strange(reader: &mut Reader<'_>, table: &Table<'_>, keys: &[&str]) {
    for key in keys {
        if let Some(field) = table.get(key) {
            let message = format!("`{key}` means nothing to Kayenta's judge");
            let help = "remove it, or leave `judge` out to be judged by davy";
            reader.refuse(&field, ProblemCode::Conflict, message, help);
        }
    }
}

fn scoring(reader: &mut Reader<'_>, field: &Field<'_>, times: Option<&Times>) -> Option<Scoring> {
    let table = reader.table(field, Some(SCORING_KEYS))?;
    let mut score = |key: &str| {
        let field = table.get(key)?;
        reader.number(&field, 0.0..=100.0)
    };
    let pass = score("pass").unwrap_or(PASS_DEFAULT);
    let marginal = score("marginal").unwrap_or(MARGINAL_DEFAULT.min(pass));
    if marginal > pass {
        let message = format!("marginal ({marginal}) lies above pass ({pass})");
        let help = "a score from marginal up to pass is neither a pass nor a failure";
        reader.refuse(field, ProblemCode::Conflict, message, help);
    }
    let times = times?;
    let interval = window(reader, &table, "interval", times);
    if let Some(field) = table.get("interval")
        && interval.is_some_and(|interval| interval > times.horizon)
    {
        let message = "there would be no judgement before the horizon";
        reader.refuse(&field, ProblemCode::Conflict, message, "shorten it");
    }
    let lookback = window(reader, &table, "lookback", times);
    for (key, window) in [("interval", interval), ("lookback", lookback)] {
        if let Some(window) = window.filter(|window| *window < FEW_TICKS * times.tick) {
            let ticks = window / times.tick;
            let at = (table.place_of(key), &*table.path_of(key));
            let message = format!("a judgement of {ticks} values a side is often wrong");
            let help = format!("{FEW_TICKS} ticks or more: a failure ends the analysis");
            reader.warn(at, message, help);
        }
    }
    Some(Scoring {
        pass,
        marginal,
        interval: interval.unwrap_or(times.horizon),
        lookback,
        weights: weights(reader, &table),
    })
}

fn window(reader: &mut Reader<'_>, table: &Table<'_>, key: &str, times: &Times) -> Option<Millis> {
    let field = table.get(key)?;
    let millis = reader.duration(&field, 1)?;
    after::whole_ticks(reader, &field, millis, times)
}

fn weights(reader: &mut Reader<'_>, table: &Table<'_>) -> BTreeMap<String, f64> {
    let table = table
        .get("group_weights")
        .and_then(|field| reader.table(&field, None));
    let mut weights = BTreeMap::new();
    for (key, field) in table.iter().flat_map(Table::fields) {
        if weights.len() == WEIGHTS_MAX {
            let message = format!("more than {WEIGHTS_MAX} weights");
            reader.refuse(
                &field,
                ProblemCode::TooLarge,
                message,
                "remove those of no check",
            );
            break;
        }
        if let Some(weight) = reader.number(&field, 0.0..=LARGEST) {
            weights.insert(key.text.clone(), weight);
        }
    }
    weights
}

/// Warns of weights that no check can earn, and of checks that earn none: Kayenta takes both without
/// a word, and no canary passes then, or each does.
pub(super) fn doubt_weights(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    scoring: &Scoring,
    checks: &[Check],
) {
    let at = (table.place_of("judge"), "judge.kayenta.group_weights");
    let gating = || checks.iter().filter(|check| check.gating);
    let groups: BTreeSet<&String> = gating().flat_map(|check| &check.groups).collect();
    let idle = scoring.weights.keys().find(|name| !groups.contains(name));
    if let Some(name) = idle {
        let message = format!("no gating check is in the group `{name}`, so its weight is lost");
        let help = "name it under groups: of a check, or remove it";
        reader.warn(at, message, help);
    }
    let sum: f64 = scoring.weights.values().sum();
    let has_open = groups
        .iter()
        .any(|name| !scoring.weights.contains_key(*name));
    if sum > 100.0 + SUM_ERROR_MAX || (sum < 100.0 - SUM_ERROR_MAX && !has_open) {
        let message = format!("the weights of the groups add up to {sum} and not to 100");
        let help = "a canary without a fault would have that score";
        reader.warn(at, message, help);
    }
    let lost = |check: &&Check| {
        let critical =
            matches!(&check.question, Question::Classify { settings, .. } if settings.critical);
        check.groups.is_empty() && !critical
    };
    if let Some(check) = gating().find(lost) {
        let message = format!(
            "`{}` is in no group, so its label changes no score",
            check.name
        );
        let help = "name a group, or make it critical: true or gating: false";
        reader.warn((table.place_of("checks"), "checks"), message, help);
    }
}

/// The key of a check that only Kayenta's judge knows, in a plan that is davy's.
pub(super) fn refuse_settings(reader: &mut Reader<'_>, table: &Table<'_>) {
    if let Some(field) = table.get("kayenta") {
        let message = "these settings are Kayenta's, and davy judges";
        let help = "add judge: kayenta to the plan, or remove them";
        reader.refuse(&field, ProblemCode::Conflict, message, help);
    }
}

/// What a check asks of Kayenta's judge, and the groups it counts in: its own where it names none.
pub(super) fn question(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    metric: &Metric,
    at: Option<Quantile>,
    name: &str,
) -> Option<(Question, Vec<String>)> {
    refuse_strange(reader, table, STRANGE_TO_CHECK);
    let compare = table.get("compare")?;
    if metric.kind == MetricKind::Latency && at.is_none() {
        let message = "Kayenta's judge takes a tick for one value, and a distribution has many";
        let help = "say which: at: p99, or at: p50 for the middle";
        reader.refuse(&compare, ProblemCode::MissingKey, message, help);
        return None;
    }
    let words = [
        ("higher", Direction::Increase),
        ("lower", Direction::Decrease),
        ("either", Direction::Either),
    ];
    let direction = match table.get("worse") {
        Some(field) => reader.word(&field, &words)?,
        None => Direction::default(),
    };
    let mut settings = Settings {
        direction,
        ..Settings::default()
    };
    let own = vec![name.to_owned()];
    let Some(field) = table.get("kayenta") else {
        return Some((Question::Classify { at, settings }, own));
    };
    let table = reader.table(&field, Some(SETTING_KEYS))?;
    let groups = match table.get("groups") {
        Some(field) => groups(reader, &field)?,
        None => own,
    };
    let mut flag = |key: &str| table.get(key).and_then(|field| reader.flag(&field));
    settings.critical = flag("critical").unwrap_or(false);
    settings.must_have_data = flag("must_have_data").unwrap_or(false);
    if let Some(field) = table.get("nan_strategy") {
        let words = [
            ("remove", NanStrategy::Remove),
            ("replace", NanStrategy::Replace),
        ];
        settings.nan_strategy = reader.word(&field, &words)?;
    }
    if let Some(field) = table.get("outlier_factor") {
        settings.outliers = Some(Outliers {
            factor: reader.number(&field, f64::MIN_POSITIVE..=LARGEST)?,
            reduce_sensitivity: true,
        });
    }
    if let Some(field) = table.get("effect_size") {
        effect_size(reader, &field, &mut settings)?;
    }
    Some((Question::Classify { at, settings }, groups))
}

fn groups(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Vec<String>> {
    let items = reader.list(field)?;
    if items.len() > GROUPS_MAX {
        let message = format!("{} groups; at most {GROUPS_MAX} are possible", items.len());
        reader.refuse(field, ProblemCode::TooLarge, message, "");
        return None;
    }
    let mut groups = Vec::new();
    for item in items {
        let text = reader.text(&item)?;
        if text.is_empty() || text.chars().count() > NAME_CHARS_MAX {
            let message = format!("a group has a name of 1 to {NAME_CHARS_MAX} characters");
            reader.bad(&item, message, "shorten it");
            return None;
        }
        groups.push(text.to_owned());
    }
    Some(groups)
}

fn effect_size(reader: &mut Reader<'_>, field: &Field<'_>, settings: &mut Settings) -> Option<()> {
    let table = reader.table(field, Some(EFFECT_KEYS))?;
    if let Some(field) = table.get("measure") {
        let words = [("mean_ratio", Measure::MeanRatio), ("cles", Measure::Cles)];
        settings.measure = reader.word(&field, &words)?;
    }
    let measure = settings.measure;
    let mut number = |key: &str| match table.get(key) {
        Some(field) => reader.number(&field, -LARGEST..=LARGEST),
        None => Some(measure.neutral()),
    };
    settings.allowed = Thresholds {
        increase: number("allowed_increase")?,
        decrease: number("allowed_decrease")?,
    };
    settings.critical_at = Thresholds {
        increase: number("critical_increase")?,
        decrease: number("critical_decrease")?,
    };
    if !settings.critical
        && let Some(key) = EFFECT_KEYS[3..].iter().find(|key| table.get(key).is_some())
    {
        let at = (table.place_of(key), &*table.path_of(key));
        let message = "it counts for a critical metric only";
        reader.warn(at, message, "add critical: true, or remove it");
    }
    Some(())
}
