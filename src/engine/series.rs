//! Series into analyses: what each point adds, and where it goes.
//!
//! Owns the way from a batch of series to readings: counters to increments, histograms to counts,
//! several series of one arm summed. What becomes of a reading is `ingest`'s, as for any sample;
//! the recording holds readings, so a replay needs none of this. Next: `known`, `track`, `sums`;
//! `pulled`, series that a source was asked for.

mod known;
mod pulled;
mod sums;
mod track;

use std::sync::Arc;

pub(super) use known::KnownSeries;
use known::{Known, Met, Site};
pub(super) use pulled::{PulledSeries, take as take_pulled};
use sums::{Added, Group, Sum, Sums};
use track::{Step, Track};

use super::State;
use super::analysis::Analysis;
use super::ingest;
use super::matching::{BUCKET_LABEL, Form, Match, Place, Role};
use super::messages::*;
use super::placing::{self, Lines, Refused, Taking};
use super::unplaced;
use crate::model::series::{
    HistogramCell, NAME_LABEL, Point, PointValue, Series, SeriesBatch, SeriesKey, SeriesKind,
};
use crate::model::{Millis, Reading, Sample, Timestamp};
use crate::plan::MetricKind;
use crate::window::NoPlace;

/// Width of a bucket, as a share of the bound inside it, up to which all its observations may be
/// taken to lie on the side of its middle.
const BOUND_BUCKET_MAX: f64 = 0.01;

/// Points up to so long before the start of an analysis are passed over.
const BEFORE_START_MAX: Millis = 120_000;

/// One point, with what it adds to its series.
struct Seen {
    kind: SeriesKind,
    point: Point,
    step: Amount,
}

// === impl Seen ===

impl Seen {
    /// How long what it adds took to come.
    fn span(&self) -> Millis {
        match &self.step {
            Amount::Number(Step::Increment { since, .. })
            | Amount::Cells(Step::Increment { since, .. }) => self.point.ts.since(*since),
            _ => 0,
        }
    }
}

/// What came on top since the point before.
enum Amount {
    Number(Step<f64>),
    Cells(Step<Vec<HistogramCell>>),
    /// The series ended.
    Nothing,
}

/// What became of a point at one of its places.
enum Fate {
    /// It is summed with others of its arm and tick.
    Summed,
    /// What it adds cannot be known, or began before the analysis; the next one's will count.
    Priming,
    Late,
    Repeated,
    Refused(&'static str, String),
}

/// What became of a point at all its places.
#[derive(Default)]
struct Fates {
    /// It was taken somewhere.
    is_taken: bool,
    is_late: bool,
    is_repeated: bool,
    is_ambiguous: bool,
    is_placed: bool,
    refused: Option<(&'static str, String)>,
}

/// Samples of counters' totals, as a batch of series.
#[derive(Debug, Default)]
pub(super) struct Totals {
    batch: SeriesBatch,
    /// Number of each series' sample in its own batch.
    indexes: Vec<usize>,
}

/// Takes a batch.
pub(super) fn take(
    state: &mut State,
    batch: &SeriesBatch,
    now: Timestamp,
    effects: &mut Vec<Effect>,
) {
    let mut answer = Ingested::default();
    let mut lines = Lines::new();
    let taking = Taking::new(state, now);
    take_all(state, batch, |index| index, taking, &mut lines, &mut answer);
    placing::finish(state, lines, answer, now, effects);
}

/// Takes the series of a batch, each under the number that `index_of` gives it.
fn take_all(
    state: &mut State,
    batch: &SeriesBatch,
    index_of: impl Fn(usize) -> usize,
    taking: Taking,
    lines: &mut Lines,
    answer: &mut Ingested,
) {
    let mut sums = Sums::default();
    let mut all_known = std::mem::take(&mut state.series);
    for (number, series) in batch.iter().enumerate() {
        let index = index_of(number);
        let series_max = state.limits.series_max;
        let met = all_known.meet(series.key, series_max, || sites(state, &series));
        if let Met::Full(sites) = met {
            refuse_series(state, &sites, index, &series, (taking, lines), answer);
            continue;
        }
        let Some(known) = met_at(state, met, index, &series, answer) else {
            continue;
        };
        for point in series.points {
            if let Err((code, message)) = taking.check(point.ts) {
                tell_sites(state, &known.sites, (code, &message));
                answer.refuse(index, code, message);
                continue;
            }
            let seen = see(&mut known.track, batch, series.kind, *point);
            let fates = add(state, known, index, &seen, taking, &mut sums);
            answer.ahead += u64::from(point.ts > taking.ahead_from);
            answer.count_point(index, fates);
        }
    }
    state.series = all_known;
    pour(state, sums, lines, answer);
}

/// Whoever asks for a series; `None`, with the reason in the answer, when nobody does.
fn met_at<'k>(
    state: &State,
    met: Met<'k>,
    index: usize,
    series: &Series<'_>,
    answer: &mut Ingested,
) -> Option<&'k mut Known> {
    let points = series.points.len() as u64;
    match met {
        Met::Matched(known) if !known.sites.is_empty() => return Some(known),
        Met::Full(_) => {}
        Met::Matched(_) | Met::Unmatched { before: true } => {
            answer.count_unmatched(series.key.name(), points);
        }
        Met::Unmatched { before: false } => {
            answer.count_unmatched(series.key.name(), points);
            if answer.unplaced.len() < UNPLACED_SHOWN_MAX {
                let (name, labels) = (series.key.name(), series.key.labels());
                let why = unplaced::unmatched(state, index, name, &labels);
                answer.unplaced.push(why);
            }
        }
    }
    None
}

/// Tells whoever asks for a series that a point of it was refused: its sender seldom does.
fn tell_sites(state: &mut State, sites: &[Site], (code, message): (&'static str, &str)) {
    for site in sites {
        if let Some(analysis) = state.analyses.get_mut(&site.analysis) {
            for place in &site.places {
                let refusals = &mut analysis.counters[place.metric].refusals;
                refusals.note(code, 1, message);
            }
        }
    }
}

/// Refuses a series for which there is no room. What asks for it is no longer whole: errors may be
/// counted without their requests, or the reverse, so that nothing can be said of it any more.
fn refuse_series(
    state: &mut State,
    sites: &[Site],
    index: usize,
    series: &Series<'_>,
    (taking, lines): (Taking, &mut Lines),
    answer: &mut Ingested,
) {
    let limit = state.limits.series_max;
    let message = format!(
        "{limit} series of running analyses are followed, which is the limit; narrow the plans' matchers, or raise limits.series_max"
    );
    let points = series.points.len() as u64;
    for _ in 0..points {
        answer.refuse(index, "too_many_series", message.clone());
    }
    let nothing = || Reading::Values {
        values: Vec::new(),
        weights: Vec::new(),
    };
    for site in sites {
        let Some(analysis) = state.analyses.get_mut(&site.analysis) else {
            continue;
        };
        for (place, unit) in site.places.iter().zip(&site.units) {
            let refusals = &mut analysis.counters[place.metric].refusals;
            refusals.note("too_many_series", points, &message);
            let unit = unit.as_deref().map(str::to_owned);
            let at = (place.metric, place.arm);
            // A tick that is closed, or one not yet begun, has no room for the word either.
            let ts = taking
                .now
                .min(series.points.last().map_or(taking.now, |last| last.ts));
            let _ = placing::put(analysis, at, ts, nothing(), unit, u32::MAX, lines);
        }
    }
}

/// Who asks for a series.
fn sites(state: &State, series: &Series<'_>) -> Vec<Site> {
    let labels = series.key.labels();
    let site = |(id, found): (String, Match)| {
        let places = match found {
            Match::Places(places) => places,
            Match::Ambiguous | Match::None => Vec::new(),
        };
        let plan = &state.analyses.get(&id)?.plan;
        let unit = |place: &Place| {
            let cluster = plan.metrics[place.metric].cluster.as_ref()?;
            labels.get(&cluster.by).map(Arc::from)
        };
        let units = places.iter().map(unit).collect();
        let is_bucket = |place: &Place| matches!(place.form, Form::UpTo(_));
        let histogram = places
            .iter()
            .any(is_bucket)
            .then(|| histogram_of(series.key));
        Some(Site {
            analysis: id,
            places,
            units,
            histogram,
        })
    };
    let found = ingest::meetings(state, series.key.name(), &labels);
    found.into_iter().filter_map(site).collect()
}

/// Number of the histogram that a series is a bucket of: the same for all its buckets.
fn histogram_of(key: SeriesKey<'_>) -> u64 {
    let mut text = Vec::new();
    for (name, value) in key.pairs().filter(|(name, _)| *name != BUCKET_LABEL) {
        for part in [name, value] {
            text.extend_from_slice(part.as_bytes());
            // It occurs in no text.
            text.push(0xff);
        }
    }
    placing::digest(&text) as u64
}

fn see(track: &mut Track, batch: &SeriesBatch, kind: SeriesKind, point: Point) -> Seen {
    let (ts, start) = (point.ts, point.start);
    let step = match point.value {
        PointValue::Number(value) => Amount::Number(track.total(ts, start, value)),
        PointValue::Increment(value) => Amount::Number(track.alone(ts, start, value)),
        PointValue::Histogram(number) => match batch.histogram(number) {
            Some(histogram) if histogram.is_increment => {
                Amount::Cells(track.alone(ts, start, histogram.cells.clone()))
            }
            Some(histogram) => Amount::Cells(track.histogram(ts, start, histogram)),
            None => Amount::Nothing,
        },
        PointValue::Stale => Amount::Nothing,
    };
    Seen { kind, point, step }
}

/// Adds a point wherever its series is asked for.
fn add(
    state: &mut State,
    known: &Known,
    index: usize,
    seen: &Seen,
    taking: Taking,
    sums: &mut Sums,
) -> Fates {
    let mut fates = Fates::default();
    for site in &known.sites {
        let Some(analysis) = state.analyses.get_mut(&site.analysis) else {
            continue;
        };
        if !analysis.takes_samples() {
            continue;
        }
        analysis.ambiguous += u64::from(site.places.is_empty());
        fates.is_ambiguous |= site.places.is_empty();
        for (place, unit) in site.places.iter().zip(&site.units) {
            let fate = match amount_at(analysis, place, seen) {
                Ok(added) => {
                    let refused = refused_part(&place.form, added);
                    let ts = seen.point.ts;
                    let open_ticks_max = taking.open_ticks_max;
                    match analysis.window.place_at(ts, taking.now, open_ticks_max) {
                        Ok(tick) => {
                            let of = site
                                .histogram
                                .filter(|_| matches!(place.form, Form::UpTo(_)));
                            let group = sums.group(&site.analysis, place, tick, unit.as_ref(), of);
                            group.add(index, ts, place.role, added);
                            group.cover(seen.span());
                            refused.unwrap_or(Fate::Summed)
                        }
                        Err(no_place) => without_place(analysis, place, ts, no_place),
                    }
                }
                Err(fate) => fate,
            };
            let counters = &mut analysis.counters[place.metric];
            counters.late += u64::from(matches!(fate, Fate::Late));
            counters.has_bad |= matches!(place.role, Role::Bad | Role::Reading | Role::Good);
            counters
                .sources
                .note(place.arm, &known.text, seen.point.ts, taking.now);
            if let Fate::Refused(code, message) = &fate {
                counters.refusals.note(code, 1, message);
            }
            fates.add(fate);
        }
    }
    fates
}

/// The refusal of what is missing rather than counted.
fn refused_part(form: &Form, added: Added<'_>) -> Option<Fate> {
    let (Form::Above(bound), Added::Nothing { around, .. }) = (form, added) else {
        return None;
    };
    let [low, high] = around;
    let message = format!(
        "its bucket from {low} to {high} holds the bound {bound}; give one of the two as the bound"
    );
    Some(Fate::Refused("bound_within_bucket", message))
}

fn without_place(analysis: &Analysis, place: &Place, ts: Timestamp, no_place: NoPlace) -> Fate {
    match no_place {
        NoPlace::Late => Fate::Late,
        // The next one's increment counts from here.
        NoPlace::BeforeStart if place.form != Form::AsIs => Fate::Priming,
        // A scrape of just before the start is nobody's mistake.
        NoPlace::BeforeStart if analysis.started_at().since(ts) < BEFORE_START_MAX => Fate::Priming,
        _ => {
            let (code, message) = placing::refusal(analysis, place.metric, no_place);
            Fate::Refused(code, message)
        }
    }
}

/// What a point adds at a place.
fn amount_at<'s>(analysis: &Analysis, place: &Place, seen: &'s Seen) -> Result<Added<'s>, Fate> {
    let metric = &analysis.plan.metrics[place.metric];
    let refused = |code, message: &str| {
        let message = format!("the metric {:?} {message}", metric.name);
        Err(Fate::Refused(code, message))
    };
    if seen.kind == SeriesKind::Summary {
        return refused(
            "summary",
            "cannot be had from a summary, whose quantiles can neither be compared nor added; expose a histogram",
        );
    }
    match (place.form, &seen.step) {
        (_, Amount::Nothing) => Err(Fate::Priming),
        (Form::AsIs | Form::Total | Form::UpTo(_), Amount::Cells(_)) => refused(
            "wrong_form",
            "does not take histograms; write from: histogram (kind: latency), or above: {histogram, bound} to compare the share above a bucket's bound",
        ),
        (Form::Above(_) | Form::Buckets, Amount::Number(_)) => {
            refused("wrong_form", "takes histograms")
        }
        (_, Amount::Number(Step::Repeated) | Amount::Cells(Step::Repeated)) => Err(Fate::Repeated),
        (_, Amount::Number(Step::OutOfOrder) | Amount::Cells(Step::OutOfOrder)) => Err(Fate::Late),
        (Form::AsIs, Amount::Number(_)) => match (place.role, metric.kind, seen.point.value) {
            (Role::Reading, MetricKind::Gauge, PointValue::Number(value)) if value.is_finite() => {
                Ok(Added::Value(value))
            }
            (Role::Reading, MetricKind::Gauge, _) => refused("wrong_form", "takes finite values"),
            (Role::Reading, ..) => refused(
                "wrong_form",
                "takes readings, which a series of numbers does not hold; write from: counter for totals, from: histogram for the buckets of a histogram",
            ),
            (_, _, PointValue::Number(value) | PointValue::Increment(value)) => {
                Ok(Added::Count(value))
            }
            _ => Err(Fate::Priming),
        },
        (Form::Total, Amount::Number(Step::Increment { amount, since, .. })) => {
            if *since < analysis.started_at() {
                return Err(Fate::Priming);
            }
            Ok(Added::Count(*amount))
        }
        (
            Form::UpTo(_) | Form::Above(_) | Form::Buckets,
            Amount::Number(Step::Increment { since, .. })
            | Amount::Cells(Step::Increment { since, .. }),
        ) if *since < analysis.started_at() => Err(Fate::Priming),
        (Form::UpTo(bound), Amount::Number(Step::Increment { amount, reset, .. })) => {
            Ok(Added::UpTo {
                bound,
                count: *amount,
                reset: *reset,
            })
        }
        (Form::Buckets, Amount::Cells(Step::Increment { amount, .. })) => {
            Ok(Added::Buckets(amount))
        }
        (Form::Above(bound), Amount::Cells(Step::Increment { amount, .. })) => {
            Ok(above(amount, bound))
        }
        (_, Amount::Number(Step::First) | Amount::Cells(Step::First)) => Err(Fate::Priming),
    }
}

/// How many observations are above the bound, of how many; all are missing where a bucket that is
/// not empty holds the bound.
fn above(cells: &[HistogramCell], bound: f64) -> Added<'static> {
    let (mut bad, mut total) = (0.0, 0.0);
    for cell in cells {
        let width = cell.high - cell.low;
        let is_inside = cell.low < bound && bound < cell.high;
        if is_inside && (width > BOUND_BUCKET_MAX * bound.abs() || !width.is_finite()) {
            // They are missing, not left out: the slow minutes would be the ones without a word.
            return Added::Nothing {
                of: cells.iter().map(|cell| cell.count).sum(),
                around: [cell.low, cell.high],
            };
        }
        total += cell.count;
        if cell.low >= bound || (is_inside && cell.low + width / 2.0 >= bound) {
            bad += cell.count;
        }
    }
    Added::Share { bad, total }
}

/// Puts the sums into their windows.
fn pour(state: &mut State, sums: Sums, lines: &mut Lines, answer: &mut Ingested) {
    for (id, groups) in sums.into_analyses() {
        let Some(analysis) = state.analyses.get_mut(&id) else {
            continue;
        };
        for (group, sum) in groups {
            if let Err((code, message)) = pour_one(analysis, &group, &sum, lines) {
                answer.accepted = answer.accepted.saturating_sub(sum.points);
                let refusals = &mut analysis.counters[group.metric].refusals;
                refusals.note(code, sum.points, &message);
                for _ in 0..sum.points {
                    answer.refuse(sum.index, code, message.clone());
                }
            }
        }
    }
}

fn pour_one(
    analysis: &mut Analysis,
    group: &Group,
    sum: &Sum,
    lines: &mut Lines,
) -> Result<(), Refused> {
    let metric = &analysis.plan.metrics[group.metric];
    let readings = sum.readings(group, metric).map_err(|amount| {
        let message = format!(
            "what the counters of {:?} add in one tick must be a whole number from 0 up, not {amount}",
            metric.name
        );
        ("wrong_form", message)
    })?;
    for (ts, reading, missing) in readings {
        let unit = group.unit.as_deref().map(str::to_owned);
        let site = (group.metric, group.arm);
        placing::put(analysis, site, ts, reading, unit, missing, lines)
            .map_err(|no_place| placing::refusal(analysis, group.metric, no_place))?;
    }
    Ok(())
}

// === impl Totals ===

impl Totals {
    /// Adds a sample; one that holds no single number is refused.
    pub fn add(&mut self, index: usize, sample: &Sample, answer: &mut Ingested) {
        let value = match &sample.reading {
            Reading::Values { values, weights } if weights.is_empty() => match values.as_slice() {
                [value] => Some(*value),
                _ => None,
            },
            _ => None,
        };
        let Some(value) = value else {
            let message = format!(
                "the series {:?} counts, so its samples hold one number: the total so far",
                sample.metric
            );
            return answer.refuse(index, "wrong_form", message);
        };
        let name = (NAME_LABEL, sample.metric.as_str());
        let labels = sample.labels.iter();
        let labels = std::iter::once(name).chain(labels);
        if self.batch.begin(labels, SeriesKind::Counter).is_err() {
            let message = "its labels cannot be told apart from the series' name; rename __name__";
            return answer.refuse(index, "duplicate_label", message.to_owned());
        }
        self.batch.point(Point {
            ts: sample.ts,
            start: None,
            value: PointValue::Number(value),
        });
        self.indexes.push(index);
    }

    /// Takes what was added.
    pub fn take(self, state: &mut State, taking: Taking, lines: &mut Lines, answer: &mut Ingested) {
        let index_of = |number| self.indexes.get(number).copied().unwrap_or(number);
        take_all(state, &self.batch, index_of, taking, lines, answer);
    }
}

// === impl Ingested ===

impl Ingested {
    /// Counts a point once: the best of its fates.
    fn count_point(&mut self, index: usize, fates: Fates) {
        match fates {
            Fates { is_taken: true, .. } => self.accepted += 1,
            // Those that asked for it are final, or both arms do.
            Fates {
                is_placed: false,
                is_ambiguous,
                ..
            } => {
                self.ambiguous += u64::from(is_ambiguous);
                self.unmatched += u64::from(!is_ambiguous);
            }
            Fates { is_late: true, .. } => self.late += 1,
            Fates {
                is_repeated: true, ..
            } => self.duplicate += 1,
            Fates { refused, .. } => {
                if let Some((code, message)) = refused {
                    self.refuse(index, code, message);
                }
            }
        }
    }
}

// === impl Fates ===

impl Fates {
    fn add(&mut self, fate: Fate) {
        self.is_placed = true;
        match fate {
            Fate::Summed | Fate::Priming => self.is_taken = true,
            Fate::Late => self.is_late = true,
            Fate::Repeated => self.is_repeated = true,
            Fate::Refused(code, message) => {
                self.refused.get_or_insert((code, message));
            }
        }
    }
}
