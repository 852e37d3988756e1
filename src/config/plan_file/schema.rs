//! The written form of a plan as a JSON Schema, for editors.
//!
//! Owns the schema only: the types below are never parsed into. The reader is stricter (places,
//! units, contradictions); a test holds their keys to the reader's. Next: the parent.
#![allow(dead_code, reason = "the types exist for their schema")]

/// The words of an enum, in the schema under its own name.
macro_rules! words {
    ($name:ident for $meant:ty { $($word:ident),+ }) => {
        #[derive(JsonSchema)]
        #[serde(rename_all = "snake_case")]
        enum $name { $($word),+ }

        impl $name {
            /// Fails to compile when the meant enum loses or gains a word.
            fn of(meant: $meant) -> $name {
                type Meant = $meant;
                match meant { $(Meant::$word => $name::$word),+ }
            }
        }
    };
}
use words;

mod kayenta;

use std::collections::BTreeMap;

use schemars::JsonSchema;

use crate::plan::{ChangeField, Lifetime, NoData, OnInconclusive, OnNoData, Worse};

/// The JSON Schema of a plan file, as committed in `config/plan.schema.json`.
pub fn plan_json_schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(PlanFile).to_value();
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), "davy analysis plan".into());
    }
    schema
}

/// An analysis plan: what is compared, how much worse is acceptable, and for how long to look.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct PlanFile {
    /// Form of the file.
    version: Version,
    /// Name of the plan.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9._-]{0,62}$"))]
    plan: String,
    /// Free text.
    description: Option<String>,
    /// Planned longest duration, a whole number of ticks; alpha is spent over it.
    horizon: Duration,
    /// How long an analysis that is inconclusive at the horizon goes on. Default not at all.
    extend: Option<Duration>,
    /// Event-time interval of one look. Default 15s.
    tick: Option<Duration>,
    /// How late a sample may be. Default two ticks, at most 2m.
    lateness: Option<Duration>,
    /// Bake time before a pass. Default 5m, or a quarter of a shorter horizon.
    min_duration: Option<Duration>,
    /// Whether the first pass ends the analysis. Default true.
    stop_on_pass: Option<bool>,
    /// P(false fail) over the whole analysis, all gating checks and all looks. Default 0.05.
    #[schemars(range(min = 0.0001, max = 0.4999))]
    alpha: Option<f64>,
    /// P(false pass) per check. Default 0.05.
    #[schemars(range(min = 0.0001, max = 0.4999))]
    beta: Option<f64>,
    /// Decision of a final inconclusive verdict. Default hold.
    on_inconclusive: Option<WrittenOnInconclusive>,
    /// Decision when there was nothing to judge. Default hold.
    on_no_data: Option<WrittenOnNoData>,
    /// What must be known of the change.
    change: Option<Change>,
    /// Label matchers that find each arm's series. Left out where samples are addressed.
    arms: Option<Arms>,
    /// Who judges. Default davy.
    judge: Option<kayenta::WrittenJudge>,
    /// What a step's gate asks of that step's own samples.
    step: Option<Step>,
    /// Watching after a pass. Default not at all.
    watch: Option<Watch>,
    /// Metrics by name.
    metrics: BTreeMap<String, Metric>,
    /// Questions asked of the metrics.
    #[schemars(length(min = 1, max = 32))]
    checks: Vec<Check>,
    /// Traffic the plan expects, for `davy simulate` and the forecasts of `davy check`. Nothing is
    /// judged by it.
    traffic: Option<Traffic>,
}

/// Expected traffic of both arms.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Traffic {
    /// Samples a second of every metric, both arms together.
    #[schemars(range(min = 0.0, max = 10_000_000.0))]
    per_second: Option<f64>,
    /// Share of samples that goes to the canary, such as 10%. Default 50%.
    canary_share: Option<TextOrNumber>,
    /// How the number of samples varies between ticks. Default poisson.
    arrivals: Option<WrittenArrivals>,
    /// Shocks of the load that hit both arms alike.
    load: Option<Load>,
    /// What the samples of a metric look like in the baseline.
    metrics: Option<BTreeMap<String, MetricTraffic>>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Load {
    /// Standard deviation of the shock's logarithm. Default 0.3.
    sd: Option<f64>,
    /// Autocorrelation of neighbouring ticks. Default 0.
    ar: Option<f64>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct MetricTraffic {
    /// Samples a second, both arms together, where they differ from the other metrics'.
    per_second: Option<f64>,
    /// Median value (latency). Default 100.
    median: Option<f64>,
    /// Standard deviation of a value's logarithm (latency). Default 0.7.
    sigma: Option<f64>,
    /// Values are multiples of this (latency). Default 0: not rounded.
    resolution: Option<f64>,
    /// Bad share (ratio), such as 0.1%. Default 0.1%.
    share: Option<TextOrNumber>,
    /// Median level (gauge). Default 100.
    level: Option<f64>,
    /// Standard deviation of a point's logarithm (gauge). Default 0.1.
    sd: Option<f64>,
    /// Autocorrelation of neighbouring ticks (gauge). Default 0.5.
    ar: Option<f64>,
    /// How samples cluster, where the metric has a cluster.
    units: Option<UnitTraffic>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct UnitTraffic {
    /// Samples a unit (lifetime tick). Default 5.
    size: Option<f64>,
    /// Units of the baseline (lifetime run).
    baseline: Option<u32>,
    /// Units of the canary (lifetime run).
    canary: Option<u32>,
    /// Standard deviation of the logarithm of a unit's factor. Default 0.3, of lifetime run 0.05.
    sd: Option<f64>,
}

#[derive(JsonSchema)]
enum Version {
    #[serde(rename = "davy/v1")]
    V1,
}

/// Such as 500ms, 15s, 5m, 1h30m, 2d.
#[derive(JsonSchema)]
struct Duration(#[schemars(regex(pattern = r"^([0-9.]+(ms|s|m|h|d))+$"))] String);

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Change {
    /// Fields that must be given when an analysis starts.
    require: Option<Vec<WrittenChangeField>>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Arms {
    /// PromQL label matchers of the baseline; {{name}} is filled in at start.
    baseline: String,
    /// PromQL label matchers of the canary.
    canary: String,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Watch {
    /// How long after the pass, a whole number of ticks.
    r#for: Duration,
    /// Mean time until a false alarm, at least. Default 30d.
    false_alarms_every: Option<Duration>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Step {
    /// How long the step must have lasted. Default 1m, or min_duration where shorter.
    min_duration: Option<Duration>,
    /// Samples per arm within the step. Default 50.
    min_samples: Option<u64>,
}

/// A named stream of samples.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Metric {
    /// What a sample of it is.
    kind: WrittenKind,
    /// Unit of measurement, such as ms.
    value_unit: Option<String>,
    /// Step that values are rounded to, in value_unit, or exact (kind latency). Default: detected.
    resolution: Option<WrittenResolution>,
    /// Whether values below zero are expected (kind latency). Default false.
    negative: Option<bool>,
    /// What samples carry: readings, counters' totals, counters' increments, or histograms. Default values.
    from: Option<From>,
    /// Series of the metric. Default: series of the metric's name.
    select: Option<String>,
    /// Series that counts bad events (ratio from counters).
    bad: Option<String>,
    /// Series that counts all events (ratio from counters).
    total: Option<String>,
    /// Series that counts events (rate from counters).
    events: Option<String>,
    /// Series that counts exposure (rate from counters). Default: time.
    exposure: Option<String>,
    /// Ratio from a histogram's buckets: observations above a bound, of all.
    above: Option<Above>,
    /// PromQL by which the metric is pulled, instead of selectors: one query for a gauge and for
    /// above, {bad, total} for a ratio, {events, exposure} for a rate. {{arm}} stands for the
    /// matchers of the arm.
    prometheus: Option<Queries>,
    /// Which samples belong together.
    cluster: Option<Cluster>,
}

#[derive(JsonSchema)]
#[serde(untagged)]
enum Queries {
    /// Of a gauge, or of a histogram's buckets.
    One(String),
    /// Of counters.
    Counters(CounterQueries),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct CounterQueries {
    /// Totals of bad events (ratio).
    bad: Option<String>,
    /// Totals of all events (ratio).
    total: Option<String>,
    /// Totals of events (rate).
    events: Option<String>,
    /// Totals of exposure (rate). Default: time.
    exposure: Option<String>,
}

#[derive(JsonSchema)]
#[serde(untagged)]
enum WrittenResolution {
    /// Step in the metric's unit; 0 means exact.
    Step(#[schemars(range(min = 0.0, max = 1e15))] f64),
    /// Values as measured.
    Exact(ExactWord),
}

#[derive(JsonSchema)]
enum ExactWord {
    #[serde(rename = "exact")]
    Exact,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Cluster {
    /// Label that carries the unit.
    by: String,
    /// tick for traces and other short-lived units, run for pods, hosts and clients.
    lifetime: WrittenLifetime,
    /// Units of one arm that a tick keeps (lifetime tick). Default 10000.
    units_per_tick_max: Option<u64>,
}

/// One question: compare or threshold.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Check {
    /// Metric whose canary is compared with its baseline.
    compare: Option<String>,
    /// Metric whose canary is held to a limit.
    threshold: Option<String>,
    /// Unique name. Default: the metric's name, and -p99 with `at`.
    name: Option<String>,
    /// Quantile, for kind latency.
    #[schemars(regex(pattern = r"^p[0-9]{1,2}(\.[0-9])?$"))]
    at: Option<String>,
    /// Which direction is worse (compare). Default higher.
    worse: Option<WrittenWorse>,
    /// How much worse is acceptable (compare).
    tolerance: Option<Tolerance>,
    /// What must hold (threshold), such as "< 1%".
    limit: Option<String>,
    /// The alarm form: M of N ticks (threshold).
    breach: Option<Breach>,
    /// The alarm form for error budgets: burning in two windows (threshold, kind ratio).
    burn_rate: Option<BurnRate>,
    /// What a tick without data counts as, in the alarm forms. Default missing.
    no_data: Option<WrittenNoData>,
    /// Share of alpha. Default 1.
    #[schemars(range(min = 0.001, max = 1000.0))]
    weight: Option<f64>,
    /// Whether it decides. Default true.
    gating: Option<bool>,
    /// Samples per arm before a pass; of a gauge points. Default 50, for a gauge 20.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    min_samples: Option<u64>,
    /// Units per arm before any verdict of this check. Default 1.
    #[schemars(range(min = 1, max = 1_000_000))]
    require_units: Option<u64>,
    /// How dependence beyond a cluster's is allowed for. Default envelope for gauges, else iid.
    dispersion: Option<WrittenDispersion>,
    /// What Kayenta's judge is asked (compare, with judge: kayenta).
    kayenta: Option<kayenta::WrittenSettings>,
}

/// 5%, 0.1pp (percentage points, for ratios), 3ms or a number; or both parts.
#[derive(JsonSchema)]
#[serde(untagged)]
enum Tolerance {
    Text(String),
    Number(f64),
    Parts(Parts),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Parts {
    /// Such as 20%.
    relative: Option<String>,
    /// Such as 0.1pp, 3ms or a number.
    absolute: Option<TextOrNumber>,
}

#[derive(JsonSchema)]
#[serde(untagged)]
enum TextOrNumber {
    Text(String),
    Number(f64),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Breach {
    /// Breaching ticks that make a fail.
    #[schemars(range(min = 1, max = 1024))]
    periods: u32,
    /// Of the last so many.
    #[schemars(range(min = 1, max = 1024))]
    of: u32,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct BurnRate {
    /// Share of good events that the objective asks for, such as 99.9%.
    slo: String,
    /// The long window, a whole number of ticks.
    long: Duration,
    /// The short window, shorter than the long one.
    short: Duration,
    /// Fails when the budget burns more than so many times too fast in both windows.
    #[schemars(range(min = 0.001, max = 1000.0))]
    factor: f64,
    /// Time the budget is meant to last. Default 30d.
    period: Option<Duration>,
}

words!(WrittenOnInconclusive for OnInconclusive { Hold, Rollback, Promote });
words!(WrittenOnNoData for OnNoData { Hold, Rollback });
words!(WrittenChangeField for ChangeField { Id, Revision, Owner, Namespace, Service, Environment, Region });
words!(WrittenLifetime for Lifetime { Tick, Run });
words!(WrittenWorse for Worse { Higher, Lower, Either });
words!(WrittenNoData for NoData { Missing, Breaching, Ignore, NotBreaching });
words!(WrittenKind for crate::plan::MetricKind { Latency, Ratio, Rate, Gauge });
words!(WrittenArrivals for crate::plan::traffic::Arrivals { Poisson, Fixed });

#[derive(JsonSchema)]
#[serde(untagged)]
enum WrittenDispersion {
    Word(DispersionWord),
    Number(DispersionNumber),
}

#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
enum DispersionWord {
    /// Ticks, and samples within them, are independent.
    Iid,
    /// Worst first-order autocorrelation up to 0.8 (kind gauge).
    Envelope,
    /// As `davy calibrate` measured it, in the file beside the plan (compare).
    Calibrated,
}

/// One of both (compare).
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct DispersionNumber {
    /// Variance of the score over that of independent samples (all kinds but gauge).
    #[schemars(range(min = 1.0, max = 1e6))]
    factor: Option<f64>,
    /// Long-run standard deviation of a tick's log-ratio or difference (kind gauge).
    #[schemars(range(min = 0.0, max = 1e15))]
    sd: Option<f64>,
}

#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
enum From {
    /// Readings.
    Values,
    /// Totals since the process started.
    Counter,
    /// What came on top since the last sample.
    Increments,
    /// What each bucket of a histogram has counted since the process started.
    Histogram,
    /// Points of a time series.
    Gauge,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Above {
    /// The histogram, without _bucket; not where its buckets are pulled.
    histogram: Option<String>,
    /// Upper bound of one of its buckets.
    bound: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::plan_file::PLAN_KEYS;
    use crate::config::plan_file::after::WATCH_KEYS;
    use crate::config::plan_file::burn_rate::BURN_RATE_KEYS;
    use crate::config::plan_file::checks::CHECK_KEYS;
    use crate::config::plan_file::kayenta::{EFFECT_KEYS, SCORING_KEYS, SETTING_KEYS};
    use crate::config::plan_file::metrics::METRIC_KEYS;
    use crate::config::plan_file::traffic::{METRIC_TRAFFIC_KEYS, TRAFFIC_KEYS};

    #[test]
    fn the_schema_knows_the_readers_keys() {
        let schema = plan_json_schema();
        let keys = |pointer: &str| -> Vec<String> {
            let part = schema.pointer(pointer).and_then(|part| part.as_object());
            let mut keys: Vec<String> = part.expect(pointer).keys().cloned().collect();
            keys.sort();
            keys
        };
        let sorted = |known: &[&str]| -> Vec<String> {
            let mut known: Vec<String> = known.iter().map(|key| (*key).to_owned()).collect();
            known.sort();
            known
        };
        assert_eq!(keys("/properties"), sorted(PLAN_KEYS));
        assert_eq!(keys("/$defs/Metric/properties"), sorted(METRIC_KEYS));
        assert_eq!(keys("/$defs/Check/properties"), sorted(CHECK_KEYS));
        assert_eq!(keys("/$defs/Watch/properties"), sorted(WATCH_KEYS));
        assert_eq!(keys("/$defs/BurnRate/properties"), sorted(BURN_RATE_KEYS));
        assert_eq!(
            keys("/$defs/WrittenScoring/properties"),
            sorted(SCORING_KEYS)
        );
        assert_eq!(
            keys("/$defs/WrittenSettings/properties"),
            sorted(SETTING_KEYS)
        );
        assert_eq!(keys("/$defs/WrittenEffect/properties"), sorted(EFFECT_KEYS));
        assert_eq!(keys("/$defs/Traffic/properties"), sorted(TRAFFIC_KEYS));
        let metric = "/$defs/MetricTraffic/properties";
        assert_eq!(keys(metric), sorted(METRIC_TRAFFIC_KEYS));
    }
}
