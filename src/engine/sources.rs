//! Which series a metric received lately: what a person wants to see when nothing matches, or
//! something that should not.
//!
//! Owns a short list by metric and arm. It decides nothing and is no part of a recording.

use std::sync::Arc;

use super::messages::SourceView;
use crate::model::{Arm, Millis, Timestamp};

/// Series named by metric and arm.
pub const SOURCES_SHOWN_MAX: usize = 5;
/// A series that sent nothing for so long gives its place to another.
const GONE_AFTER: Millis = 5 * 60_000;

/// The series of one metric.
#[derive(Debug, Clone, Default)]
pub(super) struct Sources {
    seen: [Vec<(Arc<str>, Timestamp)>; 2],
}

// === impl Sources ===

impl Sources {
    /// A point of a series came for an arm. A series is always given as the same text.
    pub fn note(&mut self, arm: Arm, series: &Arc<str>, ts: Timestamp) {
        let seen = &mut self.seen[arm.index()];
        let known = seen.iter_mut().find(|(known, _)| {
            // Nearly always it is the same allocation, too.
            Arc::ptr_eq(known, series) || known == series
        });
        if let Some((_, newest)) = known {
            *newest = (*newest).max(ts);
        } else if seen.len() < SOURCES_SHOWN_MAX {
            seen.push((series.clone(), ts));
        } else if let Some(oldest) = seen.iter_mut().min_by_key(|(_, newest)| *newest)
            && ts.since(oldest.1) > GONE_AFTER
        {
            *oldest = (series.clone(), ts);
        }
    }

    /// As it is shown.
    pub fn view(&self) -> Vec<SourceView> {
        let of_arm = |arm: Arm| {
            self.seen[arm.index()]
                .iter()
                .map(move |(series, newest)| SourceView {
                    arm,
                    series: series.to_string(),
                    newest: newest.millis(),
                })
        };
        Arm::BOTH.into_iter().flat_map(of_arm).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_series_are_named_until_they_are_gone() {
        let mut sources = Sources::default();
        let series: Vec<Arc<str>> = (0..=SOURCES_SHOWN_MAX)
            .map(|number| Arc::from(format!("m{{pod=\"{number}\"}}")))
            .collect();
        for series in &series {
            sources.note(Arm::Canary, series, Timestamp(1_000));
        }
        assert_eq!(sources.view().len(), SOURCES_SHOWN_MAX);
        for series in &series[1..] {
            sources.note(Arm::Canary, series, Timestamp(1_000 + GONE_AFTER));
        }
        let last = &series[SOURCES_SHOWN_MAX];
        assert!(sources.view().iter().all(|seen| seen.series != **last));
        sources.note(Arm::Canary, last, Timestamp(1_001 + GONE_AFTER));
        let view = sources.view();
        assert!(view.iter().any(|seen| seen.series == **last));
        assert!(view.iter().all(|seen| seen.series != *series[0]));
        assert!(view.iter().all(|seen| seen.arm == Arm::Canary));
    }
}
