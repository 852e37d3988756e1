//! Series that a source was asked for: they come with their place, all of a metric or none of it.
//!
//! Owns what is remembered of them, and how the source answers. Both arms and all parts of a metric
//! are taken together: a total without its bad events would look like a pass. A tick is asked for
//! until it is closed, so what was answered before is known by its series and time. Next: `sums`,
//! as for any series.

mod buckets;
mod health;
mod queries;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::amounts::{Amount, Seen, amount_at};
use super::sums::{Added, Sums};
use super::track::{Step, Track};
use super::{Fate, Fates, histogram_of, pour, without_place};
use crate::engine::State;
use crate::engine::analysis::Analysis;
use crate::engine::matching::{ArmSelectors, Form, Place, Role, bound_of_bucket, bucket_about};
use crate::engine::messages::*;
use crate::engine::placing::{self, Lines, Taking};
use crate::engine::pull::*;
use crate::engine::unplaced;
use crate::model::series::{Point, PointValue, Series, SeriesKind};
use crate::model::{Arm, Reading, Timestamp};
use crate::plan::query::Part;
use crate::plan::{Pulled, Source};
use crate::window::OPEN_TICKS_MAX;
use health::Health;

/// What is remembered of an analysis' pulled series.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(in crate::engine) struct PulledSeries {
    /// Told once, at the start; they follow from the plan and the arms.
    #[serde(skip)]
    asked: Vec<PullMetric>,
    followed: BTreeMap<Followed, Known>,
    health: BTreeMap<usize, Health>,
    /// The first tick that was open when a source was last asked; answers begin there.
    asked_from: usize,
}

/// Which series it is: metric, arm, part and key.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Followed(usize, Arm, Part, Box<[u8]>);

/// One series.
#[derive(Debug, Serialize, Deserialize)]
struct Known {
    /// What tells it apart from others that are shown.
    id: u64,
    unit: Option<Arc<str>>,
    /// Number of the histogram whose bucket it is.
    histogram: Option<u64>,
    /// What a total was before.
    track: Track,
    /// Ticks that may be answered for again whose point came, of points that stand for themselves.
    ticks: BTreeSet<usize>,
}

/// Where the series of one answer go, and under which number they are counted.
#[derive(Clone, Copy)]
struct Site {
    place: Place,
    index: usize,
}

/// What points are added to.
struct Into<'a> {
    analysis: &'a mut Analysis,
    sums: &'a mut Sums,
    lines: &'a mut Lines,
    answer: &'a mut Ingested,
    taking: Taking,
}

// === impl PulledSeries ===

impl PulledSeries {
    /// Fills the queries of a plan; nothing where nobody `pulls`.
    pub fn begin(
        start: &Start,
        selectors: Option<&ArmSelectors>,
        pulls: bool,
    ) -> Result<PulledSeries, Refusal> {
        let mut pulled = PulledSeries::default();
        if pulls {
            pulled.asked = queries::of(&start.plan, &start.arms, selectors)?;
        }
        for asked in &pulled.asked {
            let health = Health::new(&asked.name, &asked.queries);
            pulled.health.insert(asked.metric, health);
        }
        Ok(pulled)
    }

    /// Gives back what only samples need.
    pub fn rest(&mut self) {
        self.followed = BTreeMap::new();
        self.asked = Vec::new();
    }

    /// As it is shown.
    pub fn view(&self) -> Vec<PulledView> {
        self.health.values().map(Health::view).collect()
    }

    /// What is odd about the answers about a metric.
    pub fn hint(&self, metric: usize) -> Option<String> {
        self.health.get(&metric)?.hint()
    }

    fn fail(&mut self, metric: usize, why: &str) {
        if let Some(health) = self.health.get_mut(&metric) {
            health.fail(why);
        }
    }
}

impl Analysis {
    /// What is to be asked of a source from now on; told once.
    pub(in crate::engine) fn pull(&mut self) -> Option<Pull> {
        let metrics = std::mem::take(&mut self.pulled.asked);
        (!metrics.is_empty()).then(|| self.pull_about(metrics))
    }

    fn pull_about(&self, metrics: Vec<PullMetric>) -> Pull {
        Pull {
            analysis: self.id.clone(),
            origin: self.started_at(),
            tick: self.plan.tick,
            metrics,
        }
    }
}

// === functions ===

/// Takes what a source said of one metric.
pub(in crate::engine) fn take(
    state: &mut State,
    pulled: &PulledMetric,
    now: Timestamp,
    effects: &mut Vec<Effect>,
) {
    let id = &pulled.analysis;
    let takes = |state: &State| state.analysis(id).is_some_and(Analysis::takes_samples);
    if takes(state) {
        let mut answer = Ingested::default();
        let mut lines = Lines::new();
        let is_told = match &pulled.outcome {
            PullOutcome::NotAsked => {
                with(state, id, |analysis| {
                    analysis.pulled.asked_from = analysis.window.closed();
                });
                false
            }
            PullOutcome::Failed(why) => {
                with(state, id, |analysis| {
                    analysis.pulled.fail(pulled.metric, why)
                });
                true
            }
            PullOutcome::Answered { answers, warning } => {
                let taken = take_all(state, pulled, answers, now, &mut lines, &mut answer);
                with(state, id, |analysis| match taken {
                    Ok(()) => {
                        if let Some(health) = analysis.pulled.health.get_mut(&pulled.metric) {
                            health.succeed(answers, warning.as_deref(), now);
                        }
                    }
                    Err(why) => analysis.pulled.fail(pulled.metric, &why),
                });
                true
            }
        };
        let is_shown = !lines.is_empty();
        placing::finish(state, lines, answer, now, effects);
        if is_told
            && !is_shown
            && let Some(analysis) = state.analyses.get(id)
        {
            effects.push(Effect::Changed(Box::new(analysis.view())));
        }
    }
    let open = state
        .analysis(id)
        .filter(|analysis| analysis.takes_samples());
    effects.push(Effect::Pulled(PullProgress {
        open: open.map(|analysis| (analysis.window.closed(), analysis.window.ticks())),
    }));
}

fn with(state: &mut State, id: &str, change: impl FnOnce(&mut Analysis)) {
    if let Some(analysis) = state.analyses.get_mut(id) {
        change(analysis);
    }
}

/// Takes all answers about a metric, or none.
fn take_all(
    state: &mut State,
    pulled: &PulledMetric,
    answers: &[PulledPart],
    now: Timestamp,
    lines: &mut Lines,
    answer: &mut Ingested,
) -> Result<(), String> {
    let taking = Taking::new(state, now);
    let room = room(state);
    let series_max = state.limits.series_max;
    let Some(analysis) = state.analyses.get_mut(&pulled.analysis) else {
        return Ok(());
    };
    let Some(metric) = analysis.plan.metrics.get(pulled.metric) else {
        return Err("the plan has no such metric".to_owned());
    };
    let bound = match &metric.source {
        Source::Pulled(Pulled::Above { bound, .. }) => Some(*bound),
        _ => None,
    };
    if let Some(bound) = bound {
        buckets::check(answers, bound)?;
    }
    let mut followed = std::mem::take(&mut analysis.pulled.followed);
    let result = follow(analysis, pulled.metric, answers, bound, &mut followed, room);
    if let Err(points) = result {
        analysis.pulled.followed = followed;
        let message = format!(
            "{series_max} series of running analyses are followed, which is the limit; narrow the queries' matchers, or raise limits.series_max"
        );
        for _ in 0..points {
            answer.refuse(0, "too_many_series", message.clone());
        }
        return Err(message);
    }
    let mut sums = Sums::default();
    let into = &mut Into {
        analysis,
        sums: &mut sums,
        lines,
        answer,
        taking,
    };
    add_all(into, pulled.metric, answers, bound, &mut followed);
    // Ticks that closed while the answer was under way are in the next one no more.
    let open_max = analysis.window.closed().saturating_sub(OPEN_TICKS_MAX);
    let from = analysis.pulled.asked_from.max(open_max);
    for known in followed.values_mut() {
        known.ticks = known.ticks.split_off(&from);
    }
    analysis.pulled.followed = followed;
    pour(state, sums, lines, answer);
    match answer.refused.first() {
        Some(refused) => Err(refused.message.clone()),
        None => Ok(()),
    }
}

/// Adds the points of all answers.
fn add_all(
    into: &mut Into<'_>,
    metric: usize,
    answers: &[PulledPart],
    bound: Option<f64>,
    followed: &mut BTreeMap<Followed, Known>,
) {
    let mut index = 0;
    for part in answers {
        for series in part.batch.iter() {
            index += 1;
            let Some((role, form)) = role_of(part.part, &series, bound) else {
                continue;
            };
            let Some(known) = followed.get_mut(&followed_key(metric, part, &series)) else {
                continue;
            };
            let place = Place {
                metric,
                arm: part.arm,
                role,
                form,
            };
            for point in series.points {
                let fate = add(into, known, Site { place, index }, *point);
                let counters = &mut into.analysis.counters[metric];
                counters.late += u64::from(matches!(fate, Fate::Late));
                counters.has_bad |= matches!(role, Role::Bad | Role::Reading | Role::Good);
                let now = into.taking.now;
                let text = || unplaced::series(series.key.name(), &series.key.labels());
                let named = (known.id, text);
                counters.sources.note(part.arm, named, point.ts, now);
                let mut fates = Fates::default();
                fates.add(fate);
                into.answer.count_point(index, fates);
            }
        }
    }
}

/// Series that may yet be followed.
fn room(state: &State) -> usize {
    let analyses = state.analyses.values();
    let followed: usize = analyses
        .map(|analysis| analysis.pulled.followed.len())
        .sum();
    state.limits.series_max.saturating_sub(followed)
}

fn followed_key(metric: usize, part: &PulledPart, series: &Series<'_>) -> Followed {
    Followed(metric, part.arm, part.part, series.key.as_bytes().into())
}

/// Follows the series that are new. Where there is no room for all of them none is taken: the
/// number of points that are lost so.
fn follow(
    analysis: &Analysis,
    metric: usize,
    answers: &[PulledPart],
    bound: Option<f64>,
    followed: &mut BTreeMap<Followed, Known>,
    room: usize,
) -> Result<(), usize> {
    let mut new = BTreeMap::new();
    let by = analysis.plan.metrics[metric].cluster.as_ref();
    for part in answers {
        for series in part.batch.iter() {
            if role_of(part.part, &series, bound).is_none() {
                continue;
            }
            let key = followed_key(metric, part, &series);
            if followed.contains_key(&key) {
                continue;
            }
            let labels = series.key.labels();
            let unit = by.and_then(|cluster| labels.get(&cluster.by));
            let known = Known {
                id: placing::digest(series.key.as_bytes()) as u64,
                unit: unit.map(Arc::from),
                histogram: (part.part == Part::Buckets).then(|| histogram_of(series.key)),
                track: Track::default(),
                ticks: BTreeSet::new(),
            };
            new.insert(key, known);
        }
    }
    if new.len() > room {
        return Err(answers.iter().map(|part| part.batch.point_count()).sum());
    }
    followed.append(&mut new);
    Ok(())
}

/// What a series counts for; `None` for a bucket that is not needed.
fn role_of(part: Part, series: &Series<'_>, bound: Option<f64>) -> Option<(Role, Form)> {
    match part {
        Part::Points => Some((Role::Reading, Form::AsIs)),
        Part::Bad => Some((Role::Bad, Form::Total)),
        Part::Total => Some((Role::Total, Form::Total)),
        Part::Buckets => {
            let labels = series.key.labels();
            match bound {
                Some(bound) => bucket_about(&labels, bound),
                None => bound_of_bucket(&labels).map(|bound| (Role::Reading, Form::UpTo(bound))),
            }
        }
    }
}

/// Adds a point where it belongs.
fn add(into: &mut Into<'_>, known: &mut Known, Site { place, index }: Site, point: Point) -> Fate {
    let Into {
        analysis,
        sums,
        lines,
        taking,
        ..
    } = into;
    if let Err((code, message)) = taking.check(point.ts) {
        return Fate::Refused(code, message);
    }
    let added = match place.form {
        Form::AsIs => match point.value {
            PointValue::Number(value) if value.is_finite() => Some(Added::Value(value)),
            _ => None,
        },
        _ => match increment(analysis, known, place, point) {
            Ok(added) => Some(added),
            Err(fate) => return fate,
        },
    };
    let since_start = point.ts.since(analysis.started_at());
    let tick = usize::try_from(since_start.div_euclid(analysis.plan.tick));
    if place.form == Form::AsIs && tick.is_ok_and(|tick| known.ticks.contains(&tick)) {
        return Fate::Repeated;
    }
    let tick = match analysis
        .window
        .place_at(point.ts, taking.now, taking.open_ticks_max)
    {
        Ok(tick) => tick,
        Err(no_place) => return without_place(analysis, &place, point.ts, no_place),
    };
    if place.form == Form::AsIs {
        known.ticks.insert(tick);
    }
    match added {
        Some(added) => {
            let unit = known.unit.as_ref();
            let number = sums.group(&analysis.id, &place, tick, unit, known.histogram);
            let sum = sums.at(number);
            sum.add(index, point.ts, place.role, added);
            sum.cover(analysis.plan.tick);
            Fate::Summed
        }
        None => missing(analysis, known, place, point.ts, lines),
    }
}

/// What a total has more than before. One that was read just before the start counts from it.
fn increment(
    analysis: &Analysis,
    known: &mut Known,
    place: Place,
    point: Point,
) -> Result<Added<'static>, Fate> {
    let PointValue::Number(total) = point.value else {
        return Err(Fate::Priming);
    };
    let before = analysis.started_at().plus(-BEFORE_END);
    let step = match known.track.total(point.ts, None, total) {
        Step::Increment {
            amount,
            since,
            reset,
        } if since == before => Step::Increment {
            amount,
            since: analysis.started_at(),
            reset,
        },
        // A tick that is asked for again: what came later holds it already.
        Step::OutOfOrder => Step::Repeated,
        step => step,
    };
    let seen = Seen {
        kind: SeriesKind::Unknown,
        point,
        step: Amount::Number(step),
    };
    match amount_at(analysis, &place, &seen)? {
        Added::Count(count) => Ok(Added::Count(count)),
        Added::UpTo {
            bound,
            count,
            reset,
        } => Ok(Added::UpTo {
            bound,
            count,
            reset,
        }),
        // A number holds no histogram.
        _ => Err(Fate::Priming),
    }
}

/// Counts a point that is no number.
fn missing(
    analysis: &mut Analysis,
    known: &Known,
    place: Place,
    ts: Timestamp,
    lines: &mut Lines,
) -> Fate {
    let nothing = Reading::Values {
        values: Vec::new(),
        weights: Vec::new(),
    };
    let unit = known.unit.as_deref().map(str::to_owned);
    let site = (place.metric, place.arm);
    match placing::put(analysis, site, ts, Cow::Owned(nothing), unit, 1, lines) {
        Ok(()) => Fate::Summed,
        Err(no_place) => without_place(analysis, &place, ts, no_place),
    }
}
