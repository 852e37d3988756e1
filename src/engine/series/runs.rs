//! The points of a counter, taken all at once.
//!
//! Owns the short way of what nearly all series are: totals that go on from before, which one
//! analysis asks for. It gives what [`add`](super::add) gives point by point, but for the last bit of
//! sums that are not whole; whatever is otherwise is left to that.

use super::sums::Sums;
use super::{Fate, Known, without_place};
use crate::engine::analysis::Analysis;
use crate::engine::matching::{Form, Role};
use crate::engine::messages::Ingested;
use crate::engine::placing::Taking;
use crate::engine::series::known::Site;
use crate::model::series::{Series, SeriesKind};
use crate::model::{Millis, Timestamp};

/// What a total grew by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Increment {
    pub ts: Timestamp,
    pub since: Timestamp,
    pub amount: f64,
}

/// Increments of one series that add to the same sum, one after another.
#[derive(Debug)]
pub(super) struct Run {
    /// Number of the tick, and its times: from the first up to, and without, the second.
    tick: usize,
    times: [Timestamp; 2],
    pub points: u64,
    pub amount: f64,
    pub newest: Timestamp,
    pub span: Millis,
}

/// Takes a series, where it is such a one; whether it was.
pub(super) fn take(
    known: &mut Known,
    analysis: &mut Analysis,
    (index, series, taking): (usize, &Series<'_>, Taking),
    increments: &mut Vec<Increment>,
    sums: &mut Sums,
    answer: &mut Ingested,
) -> bool {
    let [site] = &*known.sites else {
        return false;
    };
    let is_total = site.places.iter().all(|place| place.form == Form::Total);
    let can_be = is_total && series.kind != SeriesKind::Summary && !site.places.is_empty();
    if !can_be || !analysis.takes_samples() {
        return false;
    }
    if !known.track.go_on(series.points, taking.latest, increments) {
        return false;
    }
    answer.ahead += increments
        .iter()
        .filter(|increment| increment.ts > taking.ahead_from)
        .count() as u64;
    add(analysis, site, (index, taking), increments, sums, answer);
    note(analysis, site, known, increments, taking);
    true
}

fn add(
    analysis: &mut Analysis,
    site: &Site,
    (index, taking): (usize, Taking),
    increments: &[Increment],
    sums: &mut Sums,
    answer: &mut Ingested,
) {
    let started_at = analysis.started_at();
    let mut run: Option<Run> = None;
    for increment in increments {
        if increment.since < started_at {
            answer.accepted += 1;
            continue;
        }
        if let Some(run) = &mut run
            && run.take(increment)
        {
            continue;
        }
        let ts = increment.ts;
        let window = &analysis.window;
        match window.place_at(ts, taking.now, taking.open_ticks_max) {
            Ok(tick) => {
                let begun = Run::begin(tick, window.times_of(tick), increment);
                if let Some(run) = run.replace(begun) {
                    pour(&run, site, index, sums, answer);
                }
            }
            Err(no_place) => match without_place(analysis, &site.places[0], ts, no_place) {
                Fate::Summed | Fate::Priming => answer.accepted += 1,
                Fate::Repeated => answer.duplicate += 1,
                Fate::Late => {
                    answer.late += 1;
                    for place in &site.places {
                        analysis.counters[place.metric].late += 1;
                    }
                }
                Fate::Refused(code, message) => {
                    for place in &site.places {
                        let refusals = &mut analysis.counters[place.metric].refusals;
                        refusals.note(code, 1, &message);
                    }
                    answer.refuse(index, code, message);
                }
            },
        }
    }
    if let Some(run) = run {
        pour(&run, site, index, sums, answer);
    }
}

/// Adds a run wherever the series is asked for.
fn pour(run: &Run, site: &Site, index: usize, sums: &mut Sums, answer: &mut Ingested) {
    answer.accepted += run.points;
    for (place, unit) in site.places.iter().zip(&site.units) {
        let number = sums.group(&site.analysis, place, run.tick, unit.as_ref(), None);
        sums.at(number).add_run(index, place.role, run);
    }
}

/// Notes who sent it.
fn note(
    analysis: &mut Analysis,
    site: &Site,
    known: &Known,
    increments: &[Increment],
    taking: Taking,
) {
    for place in &site.places {
        let counters = &mut analysis.counters[place.metric];
        counters.has_bad |= matches!(place.role, Role::Bad | Role::Reading | Role::Good);
        if let Some(newest) = increments.last() {
            let sources = &mut counters.sources;
            sources.note(place.arm, known.named(), newest.ts, taking.now);
        }
    }
}

// === impl Run ===

impl Run {
    fn begin(tick: usize, times: [Timestamp; 2], first: &Increment) -> Run {
        Run {
            tick,
            times,
            points: 1,
            amount: first.amount,
            newest: first.ts,
            span: first.ts.since(first.since),
        }
    }

    /// Takes an increment that is newer than those before; not one of another tick.
    #[inline]
    fn take(&mut self, increment: &Increment) -> bool {
        let [from, until] = self.times;
        if increment.ts < from || increment.ts >= until {
            return false;
        }
        self.points += 1;
        self.amount += increment.amount;
        self.newest = increment.ts;
        self.span = self.span.max(increment.ts.since(increment.since));
        true
    }
}
