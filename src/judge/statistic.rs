//! A tick's own statistic: the one number that a tick of a metric is taken for by rules that see
//! neither samples nor their count.
//!
//! Owns that number for each kind of metric. It decides nothing. Next: `breach` and `scored`, the
//! rules that ask for it.

use crate::judge::{rank, recorded};
use crate::plan::{MetricKind, Quantile};
use crate::stats::censored::{self, Cells};
use crate::window::Cell;

/// A quantile of a tick's values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct TickQuantile {
    /// The value; linear within a bucket.
    pub value: f64,
    /// The bucket it lies in, where one of its ends is infinite.
    pub open: Option<[f64; 2]>,
}

/// The number of a tick; `None` where there is none. Of a gauge it is the mean of its points, of
/// values the quantile `at`, which is the finite end of an open bucket where it lies in one.
pub(super) fn of_tick(kind: MetricKind, at: Option<Quantile>, cell: &Cell) -> Option<f64> {
    match kind {
        MetricKind::Latency => quantile(cell, at?.level()).map(|found| match found.open {
            Some([low, high]) if high.is_infinite() => low,
            Some([_, high]) => high,
            None => found.value,
        }),
        MetricKind::Ratio => {
            (cell.total > 0).then(|| cell.bad.min(cell.total) as f64 / cell.total as f64)
        }
        MetricKind::Rate => (cell.exposure > 0.0).then(|| cell.bad as f64 / cell.exposure),
        MetricKind::Gauge => mean_point(cell),
    }
}

/// The mean of a gauge's points in a tick.
pub(super) fn mean_point(cell: &Cell) -> Option<f64> {
    let points = &cell.points;
    (!points.is_empty())
        .then(|| points.iter().map(|&(_, value)| value).sum::<f64>() / points.len() as f64)
}

/// A quantile of the values of a tick; of buckets linear inside one, as those who write alarms and
/// boards are used to. Values are taken as they are: `< 800` at p99 asks for the value itself, and
/// must not hinge on what it was rounded to.
pub(super) fn quantile(cell: &Cell, level: f64) -> Option<TickQuantile> {
    let values = rank::sorted(cell);
    let Some(rounding) = recorded::buckets_of(cell) else {
        let value = values.quantile(level)?;
        return Some(TickQuantile { value, open: None });
    };
    let value = censored::quantile(&[&Cells::new(&values, &rounding)], level)?;
    let bucket = rounding.layout.as_ref().and_then(|all| all.bucket(value));
    let open = bucket.filter(|bucket| bucket.iter().any(|end| end.is_infinite()));
    Some(TickQuantile { value, open })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_one_number_or_none() {
        let half = Quantile::from_per_mille(500);
        let kinds = [
            MetricKind::Latency,
            MetricKind::Ratio,
            MetricKind::Rate,
            MetricKind::Gauge,
        ];
        for kind in kinds {
            assert_eq!(of_tick(kind, half, &Cell::default()), None, "{kind:?}");
        }
        let mut cell = Cell {
            bad: 3,
            total: 12,
            exposure: 6.0,
            values: vec![5.0, 1.0, 3.0],
            ..Cell::default()
        };
        cell.points = [2.0, 4.0, 9.0].map(|value| (0, value)).into();
        let numbers = kinds.map(|kind| of_tick(kind, half, &cell));
        assert_eq!(numbers, [Some(3.0), Some(0.25), Some(0.5), Some(5.0)]);
    }
}
