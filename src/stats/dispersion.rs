//! How much sums over many ticks vary, against what their law says.
//!
//! Owns the estimate of a long-run variance from a healthy stretch, by means of batches. It must
//! not know what a score is of. Next: `judge::calibrate`, which feeds it.

use crate::stats::special;

/// Ticks summed into one batch: long against the correlation of neighbouring ticks (at a
/// first-order autocorrelation of 0.8 a batch shows 85 % of the long-run variance, and the upper
/// bound makes up for the rest), short enough to have many of them.
pub const BATCH_TICKS: usize = 30;
/// Lengths of the batches that are looked at, in ticks. A verdict rests on windows of any length,
/// and where ticks take turns (collections of garbage, batch jobs) short ones vary the most.
pub const LENGTHS: [usize; 6] = [1, 2, 4, 8, 16, BATCH_TICKS];
/// Confidence of the upper bound.
const CONFIDENCE: f64 = 0.8;

/// A long-run variance per unit of variance by law, from batches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LongRun {
    /// Batches it rests on.
    pub batches: usize,
    /// Mean of the standardised batches: near 0 where the arms are alike.
    pub mean: f64,
    /// Variance of the standardised batches; 1 where the law holds.
    pub variance: f64,
    /// Its upper bound at 80 % confidence.
    pub upper: f64,
}

/// The standardised sums of a stretch's whole batches of this many ticks, from each tick's score and
/// variance by law (0 for a tick that says nothing). A batch in which most ticks say nothing is left
/// out: it is too short to show how ticks hang together.
pub fn batches(ticks: &[(f64, f64)], length: usize) -> Vec<f64> {
    let whole = ticks.chunks_exact(length);
    let informed = whole.filter(|batch| {
        let informed = batch.iter().filter(|tick| tick.1 > 0.0).count();
        informed > 0 && 2 * informed >= length
    });
    informed
        .map(|batch| {
            let (score, variance) = batch
                .iter()
                .fold((0.0, 0.0), |sums, tick| (sums.0 + tick.0, sums.1 + tick.1));
            score / variance.sqrt()
        })
        .collect()
}

/// The long-run variance that standardised batches show, about their own mean: what is constant
/// over the stretch (a tolerance, a slower host) is no noise. `None` with fewer than two. The bound
/// is v (b - 1) / chi2, exact for independent Gaussian batches (Cochran 1934).
pub fn long_run(batches: &[f64]) -> Option<LongRun> {
    let count = batches.len() as f64;
    if batches.len() < 2 {
        return None;
    }
    let mean = batches.iter().sum::<f64>() / count;
    let squares: f64 = batches.iter().map(|z| (z - mean) * (z - mean)).sum();
    let variance = squares / (count - 1.0);
    let quantile = special::chi_squared_quantile(1.0 - CONFIDENCE, count - 1.0);
    Some(LongRun {
        batches: batches.len(),
        mean,
        variance,
        upper: squares / quantile,
    })
}

/// The largest variance that batches of any of [`LENGTHS`] show, by their upper bounds. How many
/// there are is told of the longest ones. `None` with fewer than two of those.
pub fn widest(by_length: &[Vec<f64>; LENGTHS.len()]) -> Option<LongRun> {
    let longest = long_run(&by_length[LENGTHS.len() - 1])?;
    let wider = |one: LongRun, other: LongRun| if other.upper > one.upper { other } else { one };
    let found = by_length.iter().filter_map(|batches| long_run(batches));
    let widest = found.fold(longest, wider);
    Some(LongRun {
        batches: longest.batches,
        mean: longest.mean,
        ..widest
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::sampler::{Stream, seed_from};

    fn autoregression(ar: f64, ticks: usize, label: &str) -> Vec<(f64, f64)> {
        let mut stream = Stream::new(&seed_from(label, "ticks"), 0);
        let mut now = stream.normal();
        (0..ticks)
            .map(|_| {
                now = ar * now + (1.0 - ar * ar).sqrt() * stream.normal();
                (now, 1.0)
            })
            .collect()
    }

    #[test]
    fn a_long_stretch_shows_its_long_run_variance() {
        for (ar, expected) in [(0.0, 1.0), (0.5, 3.0), (0.8, 9.0)] {
            let ticks = autoregression(ar, 300_000, "long");
            let found = long_run(&batches(&ticks, BATCH_TICKS)).unwrap();
            // Part of the covariance reaches over the ends of a batch.
            let spilled = 2.0 * ar / (BATCH_TICKS as f64 * (1.0 - ar * ar));
            let shown = expected * (1.0 - spilled);
            assert!(
                (found.variance / shown - 1.0).abs() < 0.05,
                "{ar}: {found:?}"
            );
            assert!(found.upper > found.variance && found.upper < 1.05 * found.variance);
        }
    }

    #[test]
    fn the_bound_lies_above_the_truth_in_four_of_five_stretches() {
        let above = (0..400)
            .filter(|number| {
                let ticks = autoregression(0.0, 48 * BATCH_TICKS, &format!("short {number}"));
                long_run(&batches(&ticks, BATCH_TICKS)).unwrap().upper > 1.0
            })
            .count();
        assert!((290..350).contains(&above), "{above} of 400");
    }

    #[test]
    fn a_constant_difference_is_no_noise_and_sparse_batches_are_left_out() {
        let shifted: Vec<(f64, f64)> = autoregression(0.5, 3_000, "a")
            .into_iter()
            .map(|(score, variance)| (score + 5.0, variance))
            .collect();
        let plain = long_run(&batches(&autoregression(0.5, 3_000, "a"), BATCH_TICKS)).unwrap();
        let found = long_run(&batches(&shifted, BATCH_TICKS)).unwrap();
        assert!((found.variance / plain.variance - 1.0).abs() < 1e-9);
        assert!(found.mean > 10.0);
        let mut sparse = vec![(0.0, 0.0); 3 * BATCH_TICKS];
        sparse[..16].fill((1.0, 1.0));
        assert_eq!(batches(&sparse, BATCH_TICKS), [4.0]);
        assert_eq!(long_run(&[1.0]), None);
    }

    #[test]
    fn ticks_that_take_turns_are_as_noisy_as_one_tick_and_not_as_a_batch() {
        let turns: Vec<(f64, f64)> = (0..3_000).map(|i| (f64::from(i % 10) - 4.5, 1.0)).collect();
        let by_length = LENGTHS.map(|length| batches(&turns, length));
        let found = widest(&by_length).unwrap();
        assert_eq!(found.batches, 100);
        let short = long_run(&by_length[2]).unwrap();
        assert!(long_run(&by_length[5]).unwrap().upper < 1e-9);
        assert!(found.upper >= short.upper && short.upper > 8.0, "{found:?}");
    }
}
