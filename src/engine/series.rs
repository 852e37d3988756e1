//! Series into analyses: what each point adds, and where it goes.
//!
//! Owns the way from a batch of series to readings: counters to increments, histograms to counts,
//! several series of one arm summed. What becomes of a reading is `ingest`'s, as for any sample;
//! the recording holds readings, so a replay needs none of this. Next: `known`, `track`, `amounts`,
//! `sums`; `pulled`, series that a source was asked for.

mod amounts;
mod known;
mod pulled;
mod runs;
mod sums;
mod totals;
mod track;

use std::borrow::Cow;
use std::sync::Arc;

use amounts::{Seen, amount_at, refused_part, see};
pub(super) use known::KnownSeries;
use known::{Known, Met, Site};
pub(super) use pulled::{PulledSeries, take as take_pulled};
use sums::{Added, Group, Sum, Sums};
pub(super) use totals::Totals;

use super::State;
use super::analysis::Analysis;
use super::ingest;
use super::journal::{Journal, Spelled};
use super::matching::{BUCKET_LABEL, Form, Match, Place, Role};
use super::messages::*;
use super::placing::{self, Lines, Refused, Taking};
use super::unplaced;
use crate::model::series::{Series, SeriesBatch, SeriesKey};

use crate::model::{Millis, Reading, Timestamp};
use crate::window::NoPlace;

/// Points up to so long before the start of an analysis are passed over.
const BEFORE_START_MAX: Millis = 120_000;

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
    let mut journal = state.journal.take();
    let writing = Writing {
        index_of: |index| index,
        journal: journal.as_mut(),
    };
    take_all(state, batch, writing, taking, &mut lines, &mut answer);
    state.journal = journal;
    placing::finish(state, lines, answer, now, effects);
}

/// How the series of a batch are told apart, and where those are written that somebody asks for.
struct Writing<'j, N> {
    index_of: N,
    journal: Option<&'j mut Journal>,
}

/// Takes the series of a batch, each under the number that `index_of` gives it.
fn take_all(
    state: &mut State,
    batch: &SeriesBatch,
    mut writing: Writing<'_, impl Fn(usize) -> usize>,
    taking: Taking,
    lines: &mut Lines,
    answer: &mut Ingested,
) {
    let mut sums = Sums::default();
    let (mut seen, mut fates, mut increments) = (Vec::new(), Vec::new(), Vec::new());
    let mut all_known = std::mem::take(&mut state.series);
    for (number, series) in batch.iter().enumerate() {
        let index = (writing.index_of)(number);
        let series_max = state.limits.series_max;
        let met = all_known.meet(series.key, series_max, || sites(state, &series));
        if let Met::Full(sites) = met {
            if let Some(journal) = &mut writing.journal {
                journal.series(&mut Spelled::default(), &series, batch);
            }
            refuse_series(state, &sites, index, &series, (taking, lines), answer);
            continue;
        }
        let Some(known) = met_at(state, met, index, &series, answer) else {
            continue;
        };
        if let Some(journal) = &mut writing.journal {
            journal.series(&mut known.spelled, &series, batch);
        }
        let first = known.sites.first().map(|site| &site.analysis);
        if let Some(analysis) = first.and_then(|id| state.analyses.get_mut(id)) {
            let taken = (index, &series, taking);
            if runs::take(known, analysis, taken, &mut increments, &mut sums, answer) {
                continue;
            }
        }
        seen.clear();
        for point in series.points {
            if let Err((code, message)) = taking.check(point.ts) {
                tell_sites(state, &known.sites, (code, &message));
                answer.refuse(index, code, message);
                continue;
            }
            seen.push(see(&mut known.track, batch, series.kind, *point));
            answer.ahead += u64::from(point.ts > taking.ahead_from);
        }
        fates.clear();
        fates.resize_with(seen.len(), Fates::default);
        for site in known.sites.iter() {
            let adding = (index, &*known, taking);
            add(state, site, adding, &seen, &mut fates, &mut sums);
        }
        for fates in &mut fates {
            match fates.is_taken {
                true => answer.accepted += 1,
                false => answer.count_point(index, std::mem::take(fates)),
            }
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
            let nothing = Cow::Owned(nothing());
            let _ = placing::put(analysis, at, ts, nothing, unit, u32::MAX, lines);
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

/// Adds the points of a series for one analysis that asks for it.
fn add(
    state: &mut State,
    site: &Site,
    (index, known, taking): (usize, &Known, Taking),
    seen: &[Seen],
    fates: &mut [Fates],
    sums: &mut Sums,
) {
    let Some(analysis) = state.analyses.get_mut(&site.analysis) else {
        return;
    };
    if !analysis.takes_samples() {
        return;
    }
    if site.places.is_empty() {
        analysis.ambiguous += seen.len() as u64;
        fates.iter_mut().for_each(|fates| fates.is_ambiguous = true);
    }
    for (place, unit) in site.places.iter().zip(&site.units) {
        let of = site
            .histogram
            .filter(|_| matches!(place.form, Form::UpTo(_)));
        let mut late = 0;
        for (seen, fates) in seen.iter().zip(fates.iter_mut()) {
            let fate = match add_at(analysis, place, seen, taking) {
                Ok((tick, added)) => {
                    let number = sums.group(&site.analysis, place, tick, unit.as_ref(), of);
                    let sum = sums.at(number);
                    sum.add(index, seen.point.ts, place.role, added);
                    sum.cover(seen.span());
                    refused_part(&place.form, added).unwrap_or(Fate::Summed)
                }
                Err(fate) => fate,
            };
            late += u64::from(matches!(fate, Fate::Late));
            if let Fate::Refused(code, message) = &fate {
                let refusals = &mut analysis.counters[place.metric].refusals;
                refusals.note(code, 1, message);
            }
            fates.add(fate);
        }
        let counters = &mut analysis.counters[place.metric];
        counters.late += late;
        counters.has_bad |= matches!(place.role, Role::Bad | Role::Reading | Role::Good);
        if let Some(newest) = seen.iter().map(|seen| seen.point.ts).max() {
            counters
                .sources
                .note(place.arm, known.named(), newest, taking.now);
        }
    }
}

/// What a point adds at a place, and to which tick.
fn add_at<'s>(
    analysis: &Analysis,
    place: &Place,
    seen: &'s Seen,
    taking: Taking,
) -> Result<(usize, Added<'s>), Fate> {
    let added = amount_at(analysis, place, seen)?;
    let ts = seen.point.ts;
    let window = &analysis.window;
    match window.place_at(ts, taking.now, taking.open_ticks_max) {
        Ok(tick) => Ok((tick, added)),
        Err(no_place) => Err(without_place(analysis, place, ts, no_place)),
    }
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

/// Puts the sums into their windows.
fn pour(state: &mut State, sums: Sums, lines: &mut Lines, answer: &mut Ingested) {
    for (id, group, sum) in sums.into_sorted() {
        let Some(analysis) = state.analyses.get_mut(&id) else {
            continue;
        };
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
        let reading = Cow::Owned(reading);
        placing::put(analysis, site, ts, reading, unit, missing, lines)
            .map_err(|no_place| placing::refusal(analysis, group.metric, no_place))?;
    }
    Ok(())
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
