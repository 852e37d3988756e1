//! Sorted samples between looks.
//!
//! Owns the form in which a sample is kept that is not being counted: weights, which are all 1 where
//! no value ties, take as much room as the values. It must not count.

use super::Sorted;

/// A sample without what can be told again.
#[derive(Debug, Clone, Default)]
pub struct AtRest {
    values: Box<[f64]>,
    /// Empty where every weight is 1.
    weights: Box<[u64]>,
}

impl AtRest {
    /// The sample.
    pub fn sorted(&self) -> Sorted {
        let weights = if self.weights.is_empty() {
            vec![1; self.values.len()]
        } else {
            self.weights.to_vec()
        };
        let total = weights.iter();
        Sorted {
            values: self.values.to_vec(),
            total: total.fold(0, |sum: u64, &weight| sum.saturating_add(weight)),
            weights,
        }
    }
}

impl Sorted {
    /// The sample as it is kept.
    pub fn at_rest(self) -> AtRest {
        let weights = if self.is_untied() {
            Vec::new()
        } else {
            self.weights
        };
        AtRest {
            values: self.values.into_boxed_slice(),
            weights: weights.into_boxed_slice(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_comes_back_as_it_was_and_ties_alone_keep_their_weights() {
        let values = vec![3.0, 1.0, f64::INFINITY, 2.0];
        for (weights, kept) in [(None, 0), (Some(vec![1, 2, 1, u64::MAX]), 4)] {
            let sample = Sorted::new(values.clone(), weights).expect("numbers");
            let at_rest = sample.clone().at_rest();
            assert_eq!(at_rest.weights.len(), kept);
            assert_eq!(at_rest.sorted(), sample);
        }
        assert_eq!(AtRest::default().sorted(), Sorted::default());
    }
}
