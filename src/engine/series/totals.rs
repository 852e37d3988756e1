//! Samples of counters that come as samples of the native form.
//!
//! Owns how they become series, so that they are taken as those of exporters are.

use super::{Writing, take_all};
use crate::engine::State;
use crate::engine::messages::*;
use crate::engine::placing::{Lines, Taking};
use crate::model::series::{NAME_LABEL, Point, PointValue, SeriesBatch, SeriesKind};
use crate::model::{Reading, Sample};

/// Samples of counters' totals, as a batch of series.
#[derive(Debug, Default)]
pub(in crate::engine) struct Totals {
    batch: SeriesBatch,
    /// Number of each series' sample in its own batch.
    indexes: Vec<usize>,
}

// === impl Totals ===

impl Totals {
    /// Adds a sample; one that holds no single number is refused.
    pub fn add(&mut self, index: usize, sample: &Sample, answer: &mut Ingested) {
        let value = match &sample.reading {
            Reading::Values { values, weights } if weights.is_empty() => match values.as_slice() {
                [value] => Some(*value),
                _ => None,
            },
            _ => None,
        };
        let Some(value) = value else {
            let message = format!(
                "the series {:?} counts, so its samples hold one number: the total so far",
                sample.metric
            );
            return answer.refuse(index, "wrong_form", message);
        };
        let name = (NAME_LABEL, sample.metric.as_str());
        let labels = sample.labels.iter();
        let labels = std::iter::once(name).chain(labels);
        if self.batch.begin(labels, SeriesKind::Counter).is_err() {
            let message = "its labels cannot be told apart from the series' name; rename __name__";
            return answer.refuse(index, "duplicate_label", message.to_owned());
        }
        self.batch.point(Point {
            ts: sample.ts,
            start: None,
            value: PointValue::Number(value),
        });
        self.indexes.push(index);
    }

    /// Takes what was added.
    pub fn take(self, state: &mut State, taking: Taking, lines: &mut Lines, answer: &mut Ingested) {
        let index_of = |number| self.indexes.get(number).copied().unwrap_or(number);
        // They are in the journal as the samples they came as.
        let writing = Writing {
            index_of,
            journal: None,
        };
        take_all(state, &self.batch, writing, taking, lines, answer);
    }
}
