//! A sorted weighted sample.
//!
//! Owns [`Sorted`] and how it is stored. It must not know of a second sample but to merge with it:
//! counting across two is [`super`].

use std::fmt;

use serde::{Deserialize, Serialize};

use super::order::{from_order_key, order_key, sort_keys};

/// A value that is not a number cannot be ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotANumber;

impl fmt::Display for NotANumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value is not a number; drop and count such values before ranking them")
    }
}

impl std::error::Error for NotANumber {}

/// A sorted sample: distinct values ascending, each with how often it was seen.
///
/// `-0.0` is stored as `0.0`, so the two tie. Infinities rank as extremes. Counts derived from a
/// sample are exact while the weights of both arms together stay below 2^42 (4e12), beyond
/// anything a process can receive; above that they saturate instead of wrapping.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Sorted {
    values: Vec<f64>,
    /// As long as `values`, or empty where every weight is one: continuous data then take half
    /// the memory and nothing is written that nobody reads.
    weights: Vec<u64>,
    total: u64,
}

impl Sorted {
    /// Sorts `values`. `weights`, where given, is as long as `values`; a weight of zero drops its
    /// value.
    ///
    /// # Errors
    /// [`NotANumber`] when any value is NaN.
    ///
    /// # Panics
    /// When `weights` has another length than `values`: a mistake of the caller, not of the data.
    pub fn new(values: Vec<f64>, weights: Option<Vec<u64>>) -> Result<Sorted, NotANumber> {
        match weights {
            None => Sorted::unweighted(values),
            Some(weights) => {
                assert_eq!(values.len(), weights.len(), "one weight per value");
                Sorted::weighted(&values, &weights)
            }
        }
    }

    fn unweighted(values: Vec<f64>) -> Result<Sorted, NotANumber> {
        let total = values.len() as u64;
        let mut keys: Vec<u64> = values.into_iter().map(order_key).collect();
        sort_keys(&mut keys);
        // By their images, what is not a number stands beyond the infinities, at either end.
        let is_nan = |key: Option<&u64>| key.is_some_and(|&key| from_order_key(key).is_nan());
        if is_nan(keys.first()) || is_nan(keys.last()) {
            return Err(NotANumber);
        }
        let repeats: usize = keys
            .windows(2)
            .map(|pair| usize::from(pair[0] == pair[1]))
            .sum();
        let mut weights = Vec::new();
        if repeats > 0 {
            weights = vec![1_u64; keys.len() - repeats];
            // Without branches: each key is written over its equals and counted where they stand.
            let mut last = 0;
            for i in 1..keys.len() {
                let key = keys[i];
                let is_new = usize::from(key != keys[last]);
                last += is_new;
                keys[last] = key;
                // A new key's weight is 1 already.
                weights[last] += 1 - is_new as u64;
            }
            keys.truncate(last + 1);
        }
        Ok(Sorted {
            values: keys.into_iter().map(from_order_key).collect(),
            weights,
            total,
        })
    }

    fn weighted(values: &[f64], weights: &[u64]) -> Result<Sorted, NotANumber> {
        if values.iter().any(|value| value.is_nan()) {
            return Err(NotANumber);
        }
        let mut pairs: Vec<(u64, u64)> = values
            .iter()
            .zip(weights)
            .filter(|&(_, &weight)| weight > 0)
            .map(|(&value, &weight)| (order_key(value), weight))
            .collect();
        pairs.sort_unstable_by_key(|&(key, _)| key);
        let mut sorted = Sorted::default();
        for (key, weight) in pairs {
            sorted.push(from_order_key(key), weight);
        }
        Ok(sorted)
    }

    fn with_capacity(values: usize) -> Sorted {
        Sorted {
            values: Vec::with_capacity(values),
            ..Sorted::default()
        }
    }

    /// Appends a value that is not below the last one.
    fn push(&mut self, value: f64, weight: u64) {
        self.total = self.total.saturating_add(weight);
        let is_tied = self.values.last() == Some(&value);
        if (is_tied || weight != 1) && self.weights.is_empty() {
            self.weights = vec![1; self.values.len()];
            self.weights
                .reserve(self.values.capacity() - self.values.len());
        }
        match self.weights.last_mut() {
            Some(count) if is_tied => *count = count.saturating_add(weight),
            _ => {
                if weight != 1 || !self.weights.is_empty() {
                    self.weights.push(weight);
                }
                self.values.push(value);
            }
        }
    }

    /// Distinct values, ascending.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// How often the value at `index` of [`Sorted::values`] was seen; never zero.
    pub fn weight(&self, index: usize) -> u64 {
        self.weights.get(index).copied().unwrap_or(1)
    }

    /// Distinct values, ascending, each with how often it was seen.
    pub fn pairs(&self) -> impl DoubleEndedIterator<Item = (f64, u64)> + ExactSizeIterator + '_ {
        let weighed = |(index, &value)| (value, self.weight(index));
        self.values.iter().enumerate().map(weighed)
    }

    /// Sum of the weights: the sample's size.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Whether no value was seen twice.
    pub fn is_untied(&self) -> bool {
        self.weights.is_empty()
    }

    /// Whether there is no value at all.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The sample without room to grow: one that is kept between looks.
    pub fn shrunk(mut self) -> Sorted {
        self.values.shrink_to_fit();
        self.weights.shrink_to_fit();
        self
    }

    /// Both samples as one.
    pub fn merge(&self, other: &Sorted) -> Sorted {
        let mut merged = Sorted::with_capacity(self.values.len() + other.values.len());
        let (mut i, mut j) = (0, 0);
        while i < self.values.len() && j < other.values.len() {
            if self.values[i] <= other.values[j] {
                merged.push(self.values[i], self.weight(i));
                i += 1;
            } else {
                merged.push(other.values[j], other.weight(j));
                j += 1;
            }
        }
        for (value, weight) in self.pairs().skip(i).chain(other.pairs().skip(j)) {
            merged.push(value, weight);
        }
        merged
    }

    /// Every value through a monotone non-decreasing `map`; values that become equal are merged.
    pub fn mapped(&self, map: impl Fn(f64) -> f64) -> Sorted {
        let mut mapped = Sorted::with_capacity(self.values.len());
        for (value, weight) in self.pairs() {
            mapped.push(map(value), weight);
        }
        mapped
    }

    /// The sample of negated values: what was lowest is highest.
    pub fn negated(&self) -> Sorted {
        let mut negated = Sorted::default();
        for (value, weight) in self.pairs().rev() {
            // 0.0 - value, so that zero stays positive zero.
            negated.push(0.0 - value, weight);
        }
        negated
    }

    /// The smallest value whose cumulative weight reaches `level` (0 to 1) of the total, the
    /// inverse of the empirical distribution function; `None` for an empty sample.
    pub fn quantile(&self, level: f64) -> Option<f64> {
        let wanted = level * self.total as f64;
        let mut seen = 0_u64;
        for (value, weight) in self.pairs() {
            seen = seen.saturating_add(weight);
            if seen as f64 >= wanted {
                return Some(value);
            }
        }
        self.values.last().copied()
    }
}
