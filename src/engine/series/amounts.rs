//! What a point adds where its series is asked for.
//!
//! Owns which forms of points fit which forms of metrics, and what each then counts for. It changes
//! nothing. Next: `sums`, to which it is added.

use super::Fate;
use super::sums::Added;
use super::track::{Step, Track};
use crate::engine::analysis::Analysis;
use crate::engine::matching::{Form, Place, Role};
use crate::model::Millis;
use crate::model::series::{HistogramCell, Point, PointValue, SeriesBatch, SeriesKind};
use crate::plan::MetricKind;

/// Width of a bucket, as a share of the bound inside it, up to which all its observations may be
/// taken to lie on the side of its middle.
const BOUND_BUCKET_MAX: f64 = 0.01;

/// One point, with what it adds to its series.
pub(super) struct Seen {
    pub kind: SeriesKind,
    pub point: Point,
    pub step: Amount,
}

// === impl Seen ===

impl Seen {
    /// How long what it adds took to come.
    pub fn span(&self) -> Millis {
        match &self.step {
            Amount::Number(Step::Increment { since, .. })
            | Amount::Cells(Step::Increment { since, .. }) => self.point.ts.since(*since),
            _ => 0,
        }
    }
}

/// What came on top since the point before.
pub(super) enum Amount {
    Number(Step<f64>),
    Cells(Step<Vec<HistogramCell>>),
    /// The series ended.
    Nothing,
}

pub(super) fn see(track: &mut Track, batch: &SeriesBatch, kind: SeriesKind, point: Point) -> Seen {
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

/// The refusal of what is missing rather than counted.
pub(super) fn refused_part(form: &Form, added: Added<'_>) -> Option<Fate> {
    let (Form::Above(bound), Added::Nothing { around, .. }) = (form, added) else {
        return None;
    };
    let [low, high] = around;
    let message = format!(
        "its bucket from {low} to {high} holds the bound {bound}; give one of the two as the bound"
    );
    Some(Fate::Refused("bound_within_bucket", message))
}

/// What a point adds at a place.
pub(super) fn amount_at<'s>(
    analysis: &Analysis,
    place: &Place,
    seen: &'s Seen,
) -> Result<Added<'s>, Fate> {
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
pub(super) fn above(cells: &[HistogramCell], bound: f64) -> Added<'static> {
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
