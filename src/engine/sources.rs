//! Which series a metric received lately: what a person wants to see when nothing matches, or
//! something that should not.
//!
//! Owns a short list by metric and arm. It decides nothing and is no part of a recording.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::messages::SourceView;
use crate::model::{Arm, Millis, Timestamp};

/// Series named by metric and arm.
pub const SOURCES_SHOWN_MAX: usize = 5;
/// A series that sent nothing for so long gives its place to another.
const GONE_AFTER: Millis = 5 * 60_000;

/// The series of one metric.
#[derive(Debug, Clone, Default)]
pub(super) struct Sources {
    seen: [Vec<(Named, Timestamp)>; 2],
}

/// A series in words for people. It is asked with every point whether it is one of those that are
/// shown, so it is told apart by a number; the words decide only where that is the same.
#[derive(Debug, Clone)]
pub(super) struct Named {
    text: Arc<str>,
    hash: u64,
}

// === impl Named ===

impl Named {
    pub fn new(text: impl Into<Arc<str>>) -> Named {
        let text = text.into();
        let hash = FixedState::default().hash_one(&*text);
        Named { text, hash }
    }

    fn is(&self, other: &Named) -> bool {
        let is_one = Arc::ptr_eq(&self.text, &other.text);
        is_one || (self.hash == other.hash && self.text == other.text)
    }
}

impl std::ops::Deref for Named {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

// === impl Sources ===

impl Sources {
    /// A point of a series came for an arm. A series is always given as the same text.
    pub fn note(&mut self, arm: Arm, series: &Named, ts: Timestamp) {
        let seen = &mut self.seen[arm.index()];
        let known = seen.iter_mut().find(|(known, _)| known.is(series));
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
                    series: series.text.to_string(),
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
        let series: Vec<Named> = (0..=SOURCES_SHOWN_MAX)
            .map(|number| Named::new(format!("m{{pod=\"{number}\"}}")))
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
