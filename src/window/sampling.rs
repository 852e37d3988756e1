//! Which units of a crowded tick are kept.
//!
//! Owns the rule: a unit is kept while enough leading bits of its number are zero, as many in one
//! arm as in the other. The number is a hash of the unit's name, so what is kept depends on no
//! value, on no size, and not on the order of arrival. Next: [`super`], which asks.

use super::Cell;

/// Whether this unit is kept, after as many bits were asked for as it takes to keep at most
/// `units_max` units in its arm. Units that fall out leave both arms with their samples.
pub(super) fn make_room(cells: &mut [Cell; 2], arm: usize, unit: u64, units_max: usize) -> bool {
    while keeps(cells[arm].kept_bits, unit) {
        let cell = &mut cells[arm];
        cell.seen.insert(unit);
        if cell.seen.len() <= units_max {
            return true;
        }
        // One unit can always be kept: 64 bits in common are one and the same unit.
        let bits = cell.kept_bits + 1;
        for cell in cells.iter_mut() {
            cell.keep(bits);
        }
    }
    false
}

fn keeps(bits: u32, unit: u64) -> bool {
    unit.leading_zeros() >= bits
}

// === impl Cell ===

impl Cell {
    /// Drops every unit without so many leading zeros.
    fn keep(&mut self, bits: u32) {
        self.kept_bits = bits;
        self.seen.retain(|&unit| keeps(bits, unit));
        let before = self.samples;
        self.keep_values(bits);
        let dropped = self.buckets.retain(|unit| keeps(bits, unit));
        self.samples = self.samples.saturating_sub(dropped);
        let (mut bad, mut total) = (0_u64, 0_u64);
        self.by_unit.retain(|&unit, sums| {
            let kept = keeps(bits, unit);
            if !kept {
                bad = bad.saturating_add(sums.0);
                total = total.saturating_add(sums.1);
            }
            kept
        });
        self.bad = self.bad.saturating_sub(bad);
        self.total = self.total.saturating_sub(total);
        self.samples = self.samples.saturating_sub(total);
        self.sampled_out = self.sampled_out.saturating_add(before - self.samples);
    }

    fn keep_values(&mut self, bits: u32) {
        let kept: Vec<bool> = self.units.iter().map(|&unit| keeps(bits, unit)).collect();
        let mut dropped = 0_u64;
        for (i, _) in kept.iter().enumerate().filter(|(_, kept)| !**kept) {
            dropped = dropped.saturating_add(self.weights.get(i).copied().unwrap_or(1));
        }
        let mut flags = kept.iter();
        self.values.retain(|_| *flags.next().unwrap_or(&true));
        let mut flags = kept.iter();
        self.weights.retain(|_| *flags.next().unwrap_or(&true));
        let mut flags = kept.iter();
        self.units.retain(|_| *flags.next().unwrap_or(&true));
        self.samples = self.samples.saturating_sub(dropped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Reading;
    use crate::plan::MetricKind;
    use crate::stats::sampler::Stream;

    const UNITS_MAX: usize = 100;

    fn put(cells: &mut [Cell; 2], kind: MetricKind, arm: usize, unit: u64, reading: &Reading) {
        if make_room(cells, arm, unit, UNITS_MAX) {
            cells[arm].add(
                kind,
                crate::model::Timestamp(0),
                reading,
                Some(unit),
                10_000,
            );
        } else {
            cells[arm].sampled_out += super::super::samples_of(reading);
        }
    }

    /// 1,000 units of three samples in the baseline, 50 in the canary.
    fn crowd(kind: MetricKind, reading: &Reading, backwards: bool) -> [Cell; 2] {
        let mut stream = Stream::new(&[7; 32], 0);
        let mut units: Vec<(usize, u64)> = (0..1_050)
            .map(|i| (usize::from(i >= 1_000), stream.next_u64()))
            .collect();
        if backwards {
            units.reverse();
        }
        let mut cells: [Cell; 2] = Default::default();
        for _ in 0..3 {
            for &(arm, unit) in &units {
                put(&mut cells, kind, arm, unit, reading);
            }
        }
        let mut seen = super::super::BoundsSeen::default();
        for cell in &mut cells {
            cell.settle(kind, false, &mut seen);
        }
        cells
    }

    #[test]
    fn both_arms_keep_the_same_share_whatever_the_order_and_lose_no_count() {
        let value = Reading::Values {
            values: vec![4.0],
            weights: vec![2],
        };
        let ratio = Reading::Ratio { bad: 1, total: 2 };
        for (kind, reading) in [(MetricKind::Latency, &value), (MetricKind::Ratio, &ratio)] {
            let [one, other] = [false, true].map(|backwards| crowd(kind, reading, backwards));
            for arm in 0..2 {
                assert_eq!(one[arm].units, other[arm].units);
                assert_eq!(one[arm].by_unit, other[arm].by_unit);
                assert_eq!(one[arm].samples, other[arm].samples);
                assert_eq!(one[arm].sampled_out, other[arm].sampled_out);
                let units = [1_000, 50][arm];
                assert_eq!(one[arm].samples + one[arm].sampled_out, 6 * units);
                assert_eq!(one[arm].samples, 6 * one[arm].seen.len() as u64);
                assert!(
                    one[arm]
                        .seen
                        .iter()
                        .all(|&unit| keeps(one[0].kept_bits, unit))
                );
            }
            assert!(one[0].seen.len() <= UNITS_MAX && one[0].seen.len() > UNITS_MAX / 4);
            assert_eq!(one[0].kept_bits, one[1].kept_bits);
            assert!(one[1].sampled_out > 0, "the canary is thinned alike");
            if kind == MetricKind::Ratio {
                assert_eq!(2 * one[0].bad, one[0].total);
            }
        }
    }

    #[test]
    fn a_tick_within_its_limit_keeps_everything() {
        let mut cells: [Cell; 2] = Default::default();
        let reading = Reading::Values {
            values: vec![1.0],
            weights: vec![],
        };
        for unit in 0..UNITS_MAX as u64 {
            put(&mut cells, MetricKind::Latency, 0, unit << 50, &reading);
        }
        assert_eq!(cells[0].sampled_out, 0);
        assert_eq!(cells[0].values.len(), UNITS_MAX);
    }
}
