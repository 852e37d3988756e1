//! A series' totals into what came on top: increments, resets, gaps.
//!
//! Owns what is remembered of one series between two of its points. It must not know of plans or
//! arms: an increment is a property of the series alone, whoever asks for it.
//!
//! A total that falls was reset: its process started anew, and all of it is new (as in
//! Prometheus' `increase`, but without extrapolation: only what was counted counts). Where the
//! sender says since when a total counts, a reset is seen even if the new total is the larger one,
//! and the first point of a series tells what came since its start.

use serde::{Deserialize, Serialize};

use super::runs::Increment;
use crate::model::Timestamp;
use crate::model::series::{Histogram, HistogramCell, Point, PointValue};

/// What is remembered of a series.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Track {
    newest: Option<Newest>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Newest {
    ts: Timestamp,
    start: Option<Timestamp>,
    held: Held,
}

/// What the newest point held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Held {
    Number(f64),
    Cells(Vec<HistogramCell>),
    /// An increment or a gauge's value: nothing to subtract from the next one.
    Nothing,
}

/// What a point adds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Step<T> {
    /// This much, since then.
    Increment {
        /// What came on top.
        amount: T,
        /// Since when.
        since: Timestamp,
        /// Whether what was counted before is gone.
        reset: Reset,
    },
    /// The first point of a total whose start is unknown: what it counted before is not known.
    First,
    /// A point of this time was seen before.
    Repeated,
    /// A point of a later time was seen before; a total's part of it is counted there.
    OutOfOrder,
}

/// Whether a total began anew between two of its points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reset {
    /// It did.
    Seen,
    /// It did not, as far as its own points tell: one that meanwhile grew past what it was looks alike.
    None,
    /// There was nothing to lose, so nobody can tell, and nothing hangs on it.
    Untold,
}

/// Why a point is not newer than what is remembered.
enum Old {
    Repeated,
    OutOfOrder,
}

impl<T> From<Old> for Step<T> {
    fn from(old: Old) -> Step<T> {
        match old {
            Old::Repeated => Step::Repeated,
            Old::OutOfOrder => Step::OutOfOrder,
        }
    }
}

// === impl Track ===

impl Track {
    /// Takes a total.
    pub fn total(&mut self, ts: Timestamp, start: Option<Timestamp>, total: f64) -> Step<f64> {
        let before = match self.turn(ts, start, Held::Number(total)) {
            Ok(before) => before,
            Err(old) => return old.into(),
        };
        match before {
            Some((since, Held::Number(before), true)) if before <= total => Step::Increment {
                amount: total - before,
                since,
                reset: if before > 0.0 {
                    Reset::None
                } else {
                    Reset::Untold
                },
            },
            Some((since, ..)) => Step::Increment {
                amount: total,
                // The new process' total began after the old one's newest point.
                since: start.map_or(since, |start| start.max(since)),
                reset: Reset::Seen,
            },
            None => first(start, total),
        }
    }

    /// Takes totals none of which begins anew or is out of order, nor later than `latest`; what each
    /// grew by. Takes nothing where one is otherwise.
    pub fn go_on(
        &mut self,
        points: &[Point],
        latest: Timestamp,
        increments: &mut Vec<Increment>,
    ) -> bool {
        increments.clear();
        let Some(Newest {
            ts,
            start,
            held: Held::Number(total),
        }) = &mut self.newest
        else {
            return false;
        };
        let (mut since, mut before) = (*ts, *total);
        for point in points {
            let PointValue::Number(now) = point.value else {
                return false;
            };
            let is_next = since < point.ts && point.ts <= latest;
            let is_begun_then = point.start.is_none() || point.start == *start;
            // From nought on nobody can tell whether it began anew.
            if !is_next || !is_begun_then || before <= 0.0 || before > now {
                return false;
            }
            increments.push(Increment {
                ts: point.ts,
                since,
                amount: now - before,
            });
            (since, before) = (point.ts, now);
        }
        (*ts, *total) = (since, before);
        true
    }

    /// Takes a histogram that counts since its start.
    pub fn histogram(
        &mut self,
        ts: Timestamp,
        start: Option<Timestamp>,
        histogram: &Histogram,
    ) -> Step<Vec<HistogramCell>> {
        let cells = histogram.cells.clone();
        let before = match self.turn(ts, start, Held::Cells(cells.clone())) {
            Ok(before) => before,
            Err(old) => return old.into(),
        };
        match before {
            Some((since, Held::Cells(before), true)) => match difference(&before, &cells) {
                Some(amount) => Step::Increment {
                    amount,
                    since,
                    reset: Reset::None,
                },
                None => Step::Increment {
                    amount: cells,
                    since,
                    reset: Reset::Seen,
                },
            },
            Some((since, ..)) => Step::Increment {
                amount: cells,
                since: start.map_or(since, |start| start.max(since)),
                reset: Reset::Seen,
            },
            None => first(start, cells),
        }
    }

    /// Takes a point that stands for itself: an increment, a gauge's value.
    pub fn alone<T>(&mut self, ts: Timestamp, start: Option<Timestamp>, value: T) -> Step<T> {
        match self.turn(ts, None, Held::Nothing) {
            Ok(before) => Step::Increment {
                amount: value,
                since: start.or(before.map(|(since, ..)| since)).unwrap_or(ts),
                reset: Reset::Untold,
            },
            Err(old) => old.into(),
        }
    }

    /// Remembers a newer point: the time of the one before, what it held, and whether both count
    /// from the same start.
    fn turn(
        &mut self,
        ts: Timestamp,
        start: Option<Timestamp>,
        held: Held,
    ) -> Result<Option<(Timestamp, Held, bool)>, Old> {
        let Some(newest) = &mut self.newest else {
            self.newest = Some(Newest { ts, start, held });
            return Ok(None);
        };
        if ts <= newest.ts {
            return Err(if ts == newest.ts {
                Old::Repeated
            } else {
                Old::OutOfOrder
            });
        }
        // Some senders know the start only of some points; one that moved back is no new start.
        let is_new_start = match (newest.start, start) {
            (Some(before), Some(start)) => start > before && start >= newest.ts,
            _ => false,
        };
        let before = std::mem::replace(
            newest,
            Newest {
                ts,
                start: start.or(newest.start),
                held,
            },
        );
        Ok(Some((before.ts, before.held, !is_new_start)))
    }
}

/// The first point of a series: everything since its start, where that is known.
fn first<T>(start: Option<Timestamp>, amount: T) -> Step<T> {
    start.map_or(Step::First, |since| Step::Increment {
        amount,
        since,
        reset: Reset::Untold,
    })
}

/// What each cell has more than before; `None` after a reset, when one has less. A histogram whose
/// buckets were merged into wider ones is compared at the wider ones.
fn difference(before: &[HistogramCell], now: &[HistogramCell]) -> Option<Vec<HistogramCell>> {
    let mut left = before.iter().peekable();
    let mut amount = Vec::with_capacity(now.len());
    for cell in now {
        let mut count = cell.count;
        while let Some(old) = left.next_if(|old| old.high <= cell.high) {
            if old.low < cell.low {
                return None;
            }
            count -= old.count;
        }
        if count < 0.0 {
            return None;
        }
        if count > 0.0 {
            amount.push(HistogramCell { count, ..*cell });
        }
    }
    // What was there and is not any more.
    left.all(|old| old.count == 0.0).then_some(amount)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1_000)
    }

    /// A step whatever became of what was before.
    fn told<T: Clone>(step: Step<T>) -> Step<T> {
        match step {
            Step::Increment { amount, since, .. } => Step::Increment {
                amount,
                since,
                reset: Reset::Untold,
            },
            other => other,
        }
    }

    fn increment(amount: f64, since: i64) -> Step<f64> {
        Step::Increment {
            amount,
            since: at(since),
            reset: Reset::Untold,
        }
    }

    #[test]
    fn a_reset_is_seen_where_something_was_lost() {
        let mut track = Track::default();
        let mut reset = |seconds, total| match track.total(at(seconds), None, total) {
            Step::Increment { reset, .. } => Some(reset),
            _ => None,
        };
        assert_eq!(
            (reset(15, 0.0), reset(30, 3.0)),
            (None, Some(Reset::Untold))
        );
        assert_eq!(
            (reset(45, 3.0), reset(60, 2.0)),
            (Some(Reset::None), Some(Reset::Seen))
        );
    }

    #[test]
    fn totals_become_increments_across_resets_and_gaps() {
        let mut track = Track::default();
        let mut step = |seconds, total| told(track.total(at(seconds), None, total));
        assert_eq!(step(15, 100.0), Step::First);
        assert_eq!(step(30, 130.0), increment(30.0, 15));
        assert_eq!(step(45, 130.0), increment(0.0, 30));
        assert_eq!(step(60, 7.0), increment(7.0, 45), "started anew");
        assert_eq!(step(600, 27.0), increment(20.0, 60), "after a gap");
        assert_eq!(step(600, 27.0), Step::Repeated);
        assert_eq!(step(45, 130.0), Step::OutOfOrder);
        assert_eq!(step(615, 30.0), increment(3.0, 600));
    }

    #[test]
    fn a_known_start_tells_the_first_increment_and_hidden_resets() {
        let mut track = Track::default();
        let mut step = |seconds, start: i64, total| {
            let start = (start >= 0).then(|| at(start));
            told(track.total(at(seconds), start, total))
        };
        assert_eq!(step(15, 10, 8.0), increment(8.0, 10));
        assert_eq!(step(30, 10, 9.0), increment(1.0, 15));
        // The new process has counted more than the old one had.
        assert_eq!(step(45, 32, 12.0), increment(12.0, 32));
        // A start that moves back, as of a sender that guesses it, is no reset.
        assert_eq!(step(60, 31, 13.0), increment(1.0, 45));
        assert_eq!(step(75, -1, 15.0), increment(2.0, 60));
    }

    fn cells(counts: &[(f64, f64, f64)]) -> Vec<HistogramCell> {
        let cell = |&(low, high, count)| HistogramCell { low, high, count };
        counts.iter().map(cell).collect()
    }

    #[test]
    fn histograms_become_increments_cell_by_cell() {
        let mut track = Track::default();
        let mut step = |seconds, counts: &[(f64, f64, f64)]| {
            let histogram = Histogram {
                cells: cells(counts),
                ..Histogram::default()
            };
            told(track.histogram(at(seconds), None, &histogram))
        };
        let increment = |counts: &[(f64, f64, f64)], since| Step::Increment {
            amount: cells(counts),
            since: at(since),
            reset: Reset::Untold,
        };
        assert_eq!(step(15, &[(1.0, 2.0, 5.0)]), Step::First);
        assert_eq!(
            step(30, &[(0.0, 1.0, 1.0), (1.0, 2.0, 5.0), (4.0, 8.0, 2.0)]),
            increment(&[(0.0, 1.0, 1.0), (4.0, 8.0, 2.0)], 15)
        );
        // Buckets merged into wider ones: 1 + 5 before in (0, 2], 2 in (2, 8].
        assert_eq!(
            step(45, &[(0.0, 2.0, 9.0), (2.0, 8.0, 2.0)]),
            increment(&[(0.0, 2.0, 3.0)], 30)
        );
        assert_eq!(
            step(60, &[(0.0, 2.0, 9.0), (2.0, 8.0, 1.0)]),
            increment(&[(0.0, 2.0, 9.0), (2.0, 8.0, 1.0)], 45),
            "one cell has less: started anew"
        );
        assert_eq!(
            step(75, &[(0.0, 2.0, 9.0)]),
            increment(&[(0.0, 2.0, 9.0)], 60),
            "one cell is gone: started anew"
        );
    }

    #[test]
    fn what_stands_for_itself_is_taken_once() {
        let mut track = Track::default();
        assert_eq!(track.alone(at(15), None, 3.0), increment(3.0, 15));
        assert_eq!(track.alone(at(30), None, 4.0), increment(4.0, 15));
        assert_eq!(track.alone(at(45), Some(at(40)), 4.0), increment(4.0, 40));
        assert_eq!(track.alone(at(45), None, 4.0), Step::Repeated);
    }
}
