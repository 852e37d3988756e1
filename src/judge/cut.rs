//! A threshold among exact values, and what ties with it count.
//!
//! Owns the cut that puts exactly 1 - p of a reference beyond a quantile. It must not know how the
//! counts are judged. Next: `tail`.

use crate::stats::rank::Sorted;

/// The threshold, and how much a value tied with it counts.
#[derive(Debug, Clone, Copy)]
pub struct Cut {
    /// Beyond it is beyond the quantile.
    pub threshold: f64,
    /// What a value tied with it counts, in sixteenths.
    pub tied_sixteenths: u8,
}

/// A sample against a cut.
#[derive(Debug, Clone, Copy)]
pub struct Counted {
    /// Weight beyond.
    pub beyond: u64,
    /// Weight tied with the threshold.
    pub tied: u64,
}

// === impl Cut ===

impl Cut {
    /// The quantile of a reference and the fraction of its ties that puts 1 - level beyond it.
    pub fn at(reference: &Sorted, level: f64) -> Option<Cut> {
        let threshold = reference.quantile(level)?;
        let total = reference.total() as f64;
        let bare = Cut {
            threshold,
            tied_sixteenths: 0,
        };
        let counted = bare.count(reference);
        let wanted = (1.0 - level) * total - counted.beyond as f64;
        let fraction = (wanted / counted.tied.max(1) as f64).clamp(0.0, 1.0);
        Some(Cut {
            threshold,
            tied_sixteenths: (fraction * 16.0).round() as u8,
        })
    }

    /// How much of a sample is beyond, and how much tied.
    pub fn count(&self, values: &Sorted) -> Counted {
        let (mut beyond, mut tied) = (0, 0);
        for (value, weight) in values.pairs() {
            if value > self.threshold {
                beyond = u64::saturating_add(beyond, weight);
            } else if value == self.threshold {
                tied = u64::saturating_add(tied, weight);
            }
        }
        Counted { beyond, tied }
    }

    /// What one value counts.
    pub fn score(&self, value: f64) -> f64 {
        if value > self.threshold {
            1.0
        } else if value == self.threshold {
            f64::from(self.tied_sixteenths) / 16.0
        } else {
            0.0
        }
    }
}

// === impl Counted ===

impl Counted {
    /// What the sample counts.
    pub fn score(&self, cut: &Cut) -> f64 {
        self.beyond as f64 + self.tied as f64 * f64::from(cut.tied_sixteenths) / 16.0
    }
}
