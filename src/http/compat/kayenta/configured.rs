//! Starts on configurations in Kayenta's form: one that is kept here, or one that comes with the start.
//!
//! Owns how such a configuration, and what stood in the request, become a plan: which of its scopes is
//! compared, for how long, and which variables the plan asks for. What becomes of its settings is
//! [`crate::config::kayenta`]'s. Next: [`super::kept`], how configurations come to be here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::super::{PlanSource, Subject, asks_for};
use super::Thresholds;
use super::canary::{self, Addressed, Scope, ScopePair};
use crate::codec::kayenta::configuration::CanaryConfig;
use crate::config::kayenta::{self, Judged, Requested};
use crate::config::plan_file::NAME_CHARS_MAX;
use crate::config::quantity::DURATION_MILLIS_MAX;
use crate::http::Shared;
use crate::http::problem::Problem;
use crate::http::start::aside;
use crate::judge::kayenta::score::RunThresholds;
use crate::model::{Millis, Timestamp};
use crate::plan::Plan;

/// Begins the names of plans that are made for one start only.
pub(super) const AD_HOC: &str = "adhoc-";
/// What a location is called in a configuration's queries.
const LOCATION: &str = "location";
const SECOND: Millis = 1_000;
const MINUTE: Millis = 60 * SECOND;

/// What a start is on.
#[derive(Debug)]
pub(super) enum On {
    /// A plan of davy's, by its name, or a configuration that is kept here, by its id.
    Named(String),
    /// A configuration that came with the start.
    Sent(Map<String, Value>),
}

/// What a start asks for, in whichever form it came.
#[derive(Debug)]
pub(super) struct Asked {
    /// Pairs by the names under which metrics ask for them.
    pub scopes: BTreeMap<String, ScopePair>,
    /// Where the caller's score passes.
    pub thresholds: Thresholds,
    /// How long and how often, beside the scopes' own times.
    pub lifetime: Lifetime,
}

/// Times of a stand-alone analysis as they were sent: nobody reads them for a plan of davy's.
#[derive(Debug, Default)]
pub(super) struct Lifetime {
    /// Whether there is nothing to fall back to.
    pub is_required: bool,
    pub minutes: Value,
    pub interval_mins: Value,
    pub lookback_mins: Value,
    pub control_offset_mins: Value,
}

/// A configuration to start on.
#[derive(Debug)]
pub(super) struct Configured {
    /// Its id, where it is kept.
    id: Option<String>,
    document: String,
}

/// The configuration, or else the name of a plan. A plan of davy's goes before a configuration of its
/// name.
///
/// # Errors
/// `store_failed`.
pub(super) async fn found(shared: &Shared, on: On) -> Result<Result<Configured, String>, Problem> {
    let id = match on {
        On::Sent(document) => {
            return Ok(Ok(Configured {
                id: None,
                document: Value::Object(document).to_string(),
            }));
        }
        On::Named(id) => id,
    };
    if shared.plans.current().contains_key(&id) {
        return Ok(Err(id));
    }
    let kept = shared.store.configuration(&id).await?;
    Ok(kept
        .map(|kept| Configured {
            id: Some(id.clone()),
            document: kept.document,
        })
        .ok_or(id))
}

/// The plan that a configuration becomes.
///
/// # Errors
/// `invalid_request`, with the place.
pub(super) async fn plan(
    shared: &Shared,
    document: &str,
    requested: Requested,
) -> Result<Arc<Plan>, Problem> {
    let text = document.as_bytes().to_vec();
    let made = aside(shared, move || kayenta::import(&text, &requested)).await?;
    made.map(|import| Arc::new(import.parsed)).map_err(unfit)
}

fn unfit(message: String) -> Problem {
    Problem::new("invalid_request", format!("the configuration: {message}"))
        .help("`davy import kayenta FILE` shows the plan that becomes of it, or says the same")
}

// === impl Configured ===

impl Configured {
    /// What a start on it asks about.
    pub async fn subject(
        self,
        shared: &Shared,
        addressed: Addressed,
        asked: Asked,
        now: Timestamp,
    ) -> Result<Subject, Problem> {
        let config = CanaryConfig::read(self.document.as_bytes()).map_err(unfit)?;
        let scopes = scopes_of(&config, asked.scopes)?;
        let requested = requested(&scopes, &asked.lifetime, now)?;
        let name = match &self.id {
            Some(id) => id.clone(),
            None => ad_hoc_name(shared, &config)?,
        };
        let requested = Requested {
            plan: Some(name.clone()),
            thresholds: Some(RunThresholds {
                pass: asked.thresholds.pass,
                marginal: asked.thresholds.marginal,
            }),
            ..requested
        };
        let plan = plan(shared, &self.document, requested).await?;
        let location = location(&plan, &scopes)?;
        let source = match self.id {
            Some(_) => PlanSource::Kept(plan.clone()),
            None => PlanSource::Sent(plan.clone()),
        };
        let asks = |name: &str| asks_for(&plan, name);
        let mut subject = canary::subject(name, source, addressed, scopes, asks)?;
        subject.arms.extend(location);
        Ok(subject)
    }
}

/// The name of the plan of a configuration that is not kept, which no other plan has.
fn ad_hoc_name(shared: &Shared, config: &CanaryConfig) -> Result<String, Problem> {
    let mut name = format!("{AD_HOC}{}", kayenta::plan_name(config));
    name.truncate(NAME_CHARS_MAX);
    if shared.plans.current().contains_key(&name) {
        let detail = format!("the configuration's plan would be {name:?}, and there is one");
        return Err(Problem::new("invalid_request", detail).help("give another `name`"));
    }
    Ok(name)
}

/// The pair that the metrics ask for: davy compares one.
fn scopes_of(
    config: &CanaryConfig,
    mut scopes: BTreeMap<String, ScopePair>,
) -> Result<ScopePair, Problem> {
    let refused = |detail: String, help: &str| {
        Err(Problem::new("invalid_request", detail).help(help.to_owned()))
    };
    let metrics = config.metrics().iter().enumerate();
    let named = metrics.filter_map(|(index, metric)| Some((index, metric.scope_name.as_deref()?)));
    let named: Vec<(usize, &str)> = named.collect();
    let names: BTreeSet<&str> = named.iter().map(|(_, name)| *name).collect();
    match (named.first(), names.len()) {
        (None, _) => canary::chosen(scopes),
        (Some((index, name)), 1) => match scopes.remove(*name) {
            Some(pair) => Ok(pair),
            None => refused(
                format!("`metrics[{index}].scopeName` is {name:?}, which `scopes` does not hold"),
                "give the pair of scopes under the name that the metrics ask for",
            ),
        },
        _ => refused(
            "the metrics ask for several scopes by `scopeName`".to_owned(),
            "davy compares two versions: make a configuration for each pair of scopes",
        ),
    }
}

/// The value of `${location}`, where the queries hold it: one for both sides.
fn location(plan: &Plan, scopes: &ScopePair) -> Result<Option<(String, String)>, Problem> {
    if !asks_for(plan, LOCATION) {
        return Ok(None);
    }
    let (baseline, canary) = (&scopes.control_scope, &scopes.experiment_scope);
    if baseline.location != canary.location {
        let detail = "the queries hold ${location}, and the two scopes have different ones";
        return Err(Problem::new("invalid_request", detail)
            .help("put what differs into `scope`, or give both the same `location`"));
    }
    Ok(Some((LOCATION.to_owned(), canary.location.clone())))
}

/// How long and how often, as the request says.
fn requested(
    scopes: &ScopePair,
    lifetime: &Lifetime,
    now: Timestamp,
) -> Result<Requested, Problem> {
    let (baseline, canary) = (&scopes.control_scope, &scopes.experiment_scope);
    let tick = positive("step", &canary.step, SECOND)?;
    check_same_time(baseline, canary, lifetime)?;
    let horizon = match instant("end", &canary.end)? {
        Some(end) => {
            let start = instant("start", &canary.start)?.unwrap_or(now);
            Some(end.since(start))
        }
        None => positive("lifetimeDurationMins", &lifetime.minutes, MINUTE)?,
    };
    match horizon {
        None if lifetime.is_required => {
            let detail = "neither `lifetimeDurationMins` nor `endTimeIso` is given";
            return Err(Problem::new("invalid_request", detail)
                .help("say how long the canary is judged: lifetimeDurationMins: 60"));
        }
        Some(horizon) if !(1..=DURATION_MILLIS_MAX).contains(&horizon) => {
            let days = DURATION_MILLIS_MAX / (24 * 60 * MINUTE);
            let detail = format!("the canary would be judged for {} s", horizon / SECOND);
            return Err(Problem::new("invalid_request", detail).help(format!(
                "its end must follow its start, by {days} days at most"
            )));
        }
        _ => {}
    }
    let interval = positive("analysisIntervalMins", &lifetime.interval_mins, MINUTE)?;
    Ok(Requested {
        horizon,
        tick,
        // Kayenta judges once, at the end, where the interval is none or longer than the whole.
        interval: interval.filter(|interval| horizon.is_none_or(|horizon| *interval <= horizon)),
        lookback: positive("lookbackMins", &lifetime.lookback_mins, MINUTE)?,
        judge: Judged::AsWritten,
        ..Requested::default()
    })
}

/// davy compares what both sides do at the same time.
fn check_same_time(baseline: &Scope, canary: &Scope, lifetime: &Lifetime) -> Result<(), Problem> {
    let offset = number("controlOffsetInMinutes", &lifetime.control_offset_mins)?;
    let starts = instant("start", &baseline.start)?.zip(instant("start", &canary.start)?);
    // Clients read their clock for each side.
    let is_apart = starts.is_some_and(|(one, other)| one.since(other).abs() > MINUTE);
    if offset.is_some_and(|offset| offset != 0.0) || is_apart {
        let detail = "the control scope is of another time than the experiment scope";
        return Err(Problem::new("invalid_request", detail)
            .help("davy compares both at the same time: give both the same start, and no offset"));
    }
    Ok(())
}

/// A time of a scope; Kayenta takes an empty one for none.
fn instant(name: &str, given: &Value) -> Result<Option<Timestamp>, Problem> {
    match given {
        Value::Null => Ok(None),
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) => match text.parse::<jiff::Timestamp>() {
            Ok(at) => Ok(Some(Timestamp(at.as_millisecond()))),
            Err(_) => Err(no_time(name)),
        },
        _ => Err(no_time(name)),
    }
}

fn no_time(name: &str) -> Problem {
    Problem::new("invalid_request", format!("the scope's {name} is no time"))
        .help("give RFC 3339, such as 2026-01-01T00:00:00Z")
}

/// A duration of so many of a unit, of which 0 and nothing are none.
fn positive(name: &str, given: &Value, unit: Millis) -> Result<Option<Millis>, Problem> {
    let number = number(name, given)?;
    let millis = number.map(|number| (number * unit as f64).round() as Millis);
    match millis {
        Some(millis) if millis > DURATION_MILLIS_MAX => {
            let days = DURATION_MILLIS_MAX / (24 * 60 * MINUTE);
            let detail = format!("`{name}` is longer than {days} days");
            Err(Problem::new("invalid_request", detail).help("give a shorter one"))
        }
        Some(millis) if millis < 0 => {
            let detail = format!("`{name}` is below 0");
            Err(Problem::new("invalid_request", detail).help("leave it out where it means nothing"))
        }
        _ => Ok(millis.filter(|millis| *millis > 0)),
    }
}

/// A number, or the text of one.
fn number(name: &str, given: &Value) -> Result<Option<f64>, Problem> {
    let number = match given {
        Value::Null => return Ok(None),
        Value::Number(number) => number.as_f64(),
        Value::String(text) if text.is_empty() => return Ok(None),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    match number.filter(|number: &f64| number.is_finite()) {
        Some(number) => Ok(Some(number)),
        None => Err(
            Problem::new("invalid_request", format!("`{name}` is no number"))
                .help("give a number, or leave it out"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pair(baseline: &str, canary: &str) -> ScopePair {
        let scope = |location: &str| json!({"scope": location, "location": location});
        let pair = json!({"controlScope": scope(baseline), "experimentScope": scope(canary)});
        serde_json::from_value(pair).expect("a pair")
    }

    fn config(scope_names: &[Value]) -> CanaryConfig {
        let metric = |name: &Value| json!({"name": "m", "scopeName": name});
        let metrics: Vec<Value> = scope_names.iter().map(metric).collect();
        serde_json::from_value(json!({ "metrics": metrics })).expect("a configuration")
    }

    #[test]
    fn the_pair_is_compared_that_the_metrics_ask_for() {
        let scopes = || {
            let names = ["db", "default", "web"].map(str::to_owned);
            BTreeMap::from(names.map(|name| (name.clone(), pair(&name, &name))))
        };
        let chosen = |names: &[Value]| {
            let chosen = scopes_of(&config(names), scopes());
            chosen.map(|pair| pair.control_scope.scope)
        };
        for (names, expected) in [
            (vec![json!("web"), json!("web"), Value::Null], "web"),
            (vec![json!("db")], "db"),
            (vec![Value::Null], "default"),
        ] {
            assert_eq!(chosen(&names).ok().as_deref(), Some(expected), "{names:?}");
        }
        for names in [vec![json!("web"), json!("db")], vec![json!("cache")]] {
            assert!(chosen(&names).is_err(), "{names:?}");
        }
    }

    #[test]
    fn a_location_is_one_for_both_sides_where_queries_hold_it() {
        let plan = |matcher: &str| {
            let query = format!("PromQL:a{{{matcher}, b='${{scope}}'}}");
            let query = json!({"type": "prometheus", "customInlineTemplate": query});
            let config = json!({"metrics": [{"name": "m", "query": query}]});
            let import = kayenta::import(config.to_string().as_bytes(), &Requested::default());
            import.expect("a plan").parsed
        };
        let (asking, silent) = (plan("c='${location}'"), plan("c='d'"));
        let same = location(&asking, &pair("x", "x"));
        let expected = (LOCATION.to_owned(), "x".to_owned());
        assert_eq!(same.ok().flatten(), Some(expected));
        assert!(location(&asking, &pair("x", "y")).is_err());
        let of_none = location(&silent, &pair("x", "y"));
        assert!(of_none.is_ok_and(|value| value.is_none()));
    }

    #[test]
    fn times_are_read_as_kayenta_reads_them() {
        let now = Timestamp(1_767_225_600_000);
        let at = |start: Value, end: Value, lifetime: Lifetime| {
            let mut scopes = pair("x", "x");
            let scope = &mut scopes.experiment_scope;
            (scope.start, scope.end) = (start, end);
            let requested = requested(&scopes, &lifetime, now).ok()?;
            Some((requested.horizon, requested.interval, requested.lookback))
        };
        let lifetime = |minutes: i64, interval: i64, lookback: i64| Lifetime {
            is_required: true,
            minutes: json!(minutes),
            interval_mins: json!(interval),
            lookback_mins: json!(lookback),
            control_offset_mins: Value::Null,
        };
        let mins = |minutes: Millis| Some(minutes * MINUTE);
        let none = || Value::Null;
        assert_eq!(
            at(none(), none(), lifetime(60, 20, 0)),
            Some((mins(60), mins(20), None))
        );
        assert_eq!(
            at(none(), none(), lifetime(60, 90, 10)),
            Some((mins(60), None, mins(10)))
        );
        // An end wins over a lifetime, and is counted from now on where there is no start.
        let end = json!("2026-01-01T00:30:00Z");
        assert_eq!(
            at(none(), end.clone(), lifetime(60, 0, 0)),
            Some((mins(30), None, None))
        );
        let start = json!("2026-01-01T02:20:00+02:00");
        let both = at(start, end, Lifetime::default());
        assert_eq!(both, Some((mins(10), None, None)));
        assert_eq!(at(none(), json!(""), lifetime(0, 0, 0)), None);
        assert_eq!(
            at(none(), none(), Lifetime::default()),
            Some((None, None, None))
        );
        assert_eq!(at(none(), none(), lifetime(600_000, 0, 0)), None);
    }
}
