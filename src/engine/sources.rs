//! Which series a metric received lately: what a person wants to see when nothing matches, or
//! something that should not.
//!
//! Owns a short list by metric and arm, and what their times tell of their senders' clocks. It decides
//! nothing and is no part of a recording.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::messages::{AHEAD_MIN, SourceView};
use crate::model::{Arm, Millis, Timestamp};

/// Series named by metric and arm.
pub const SOURCES_SHOWN_MAX: usize = 5;
/// A series that sent nothing for so long gives its place to another.
const GONE_AFTER: Millis = 5 * 60_000;

/// The series of one metric.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Sources {
    seen: [Vec<Source>; 2],
    /// No source of an arm is older than this; `None` where nobody has looked.
    oldest: [Option<Timestamp>; 2],
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Source {
    id: u64,
    /// Name and labels, for people.
    series: Arc<str>,
    newest: Timestamp,
    /// From the newest sample's time to its arrival.
    lag: Millis,
}

// === impl Sources ===

impl Sources {
    /// A point of a series came for an arm. It is asked with every point whether the series is one of
    /// those that are shown, so it is told apart by a number, `id`, and put into words only then.
    pub fn note(
        &mut self,
        arm: Arm,
        (id, text): (u64, impl Fn() -> String),
        ts: Timestamp,
        now: Timestamp,
    ) {
        let seen = &mut self.seen[arm.index()];
        let lag = now.since(ts);
        let known = seen.iter_mut().find(|known| known.id == id);
        let source = || Source {
            id,
            series: text().into(),
            newest: ts,
            lag,
        };
        if let Some(known) = known {
            if ts >= known.newest {
                (known.newest, known.lag) = (ts, lag);
            }
        } else if seen.len() < SOURCES_SHOWN_MAX {
            seen.push(source());
        } else if lag < -AHEAD_MIN
            && let Some(calm) = seen.iter_mut().find(|known| known.lag >= -AHEAD_MIN)
        {
            // One whose clock is wrong is worth more than one that is right.
            *calm = source();
            self.oldest[arm.index()] = None;
        } else if self.oldest[arm.index()].is_none_or(|oldest| ts.since(oldest) > GONE_AFTER)
            && let Some(oldest) = seen.iter_mut().min_by_key(|known| known.newest)
        {
            self.oldest[arm.index()] = Some(oldest.newest);
            if ts.since(oldest.newest) > GONE_AFTER {
                *oldest = source();
            }
        }
    }

    /// What is odd about the times of those shown, where the plan waits for `lateness`.
    pub fn hint(&self, lateness: Millis) -> Option<String> {
        let shown = || self.seen.iter().flatten();
        let secs = |millis: Millis| millis as f64 / 1000.0;
        let ahead = shown().min_by_key(|source| source.lag);
        if let Some(source) = ahead.filter(|source| source.lag < -AHEAD_MIN) {
            let (series, ahead) = (&*source.series, secs(-source.lag));
            return Some(format!(
                "the clock behind {series} runs {ahead:.1} s ahead of davy's; its samples fall into later ticks than others of their time: set the clock"
            ));
        }
        let behind = shown().max_by_key(|source| source.lag)?;
        // A tick is waited for that long after its end; what is older when it comes is too late.
        (behind.lag > lateness).then(|| {
            let (series, lag, lateness) = (&*behind.series, secs(behind.lag), secs(lateness));
            format!(
                "samples of {series} came {lag:.1} s after their time, and the plan waits {lateness:.1} s: raise lateness, send more often, or set the sender's clock"
            )
        })
    }

    /// As it is shown.
    pub fn view(&self) -> Vec<SourceView> {
        let of_arm = |arm: Arm| {
            self.seen[arm.index()].iter().map(move |source| SourceView {
                arm,
                series: source.series.clone(),
                newest: source.newest.millis(),
                lag_secs: source.lag as f64 / 1000.0,
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
        let series = |number: u64| (number, move || format!("m{{pod=\"{number}\"}}"));
        let most = SOURCES_SHOWN_MAX as u64;
        for number in 0..=most {
            let (ts, now) = (Timestamp(1_000), Timestamp(1_500));
            sources.note(Arm::Canary, series(number), ts, now);
        }
        assert_eq!(sources.view().len(), SOURCES_SHOWN_MAX);
        let now = Timestamp(1_500 + GONE_AFTER);
        for number in 1..=most {
            let ts = Timestamp(1_000 + GONE_AFTER);
            sources.note(Arm::Canary, series(number), ts, now);
        }
        let [first, last] = [0, most].map(|number| series(number).1());
        assert!(sources.view().iter().all(|seen| *seen.series != *last));
        let ts = Timestamp(1_001 + GONE_AFTER);
        sources.note(Arm::Canary, series(most), ts, now);
        let view = sources.view();
        assert!(view.iter().any(|seen| *seen.series == *last));
        assert!(view.iter().all(|seen| *seen.series != *first));
        assert!(view.iter().all(|seen| seen.arm == Arm::Canary));
    }

    #[test]
    fn clocks_and_lags_that_matter_are_told() {
        let mut sources = Sources::default();
        let series = |name: &'static str| (name.len() as u64, move || name.to_owned());
        sources.note(
            Arm::Canary,
            series("fine"),
            Timestamp(9_000),
            Timestamp(10_000),
        );
        assert_eq!(sources.hint(1_000), None);
        let hint = sources.hint(999).expect("it is late");
        assert!(
            hint.starts_with("samples of fine came 1.0 s after their time"),
            "{hint}"
        );
        for number in 0..SOURCES_SHOWN_MAX {
            let series = (100 + number as u64, || format!("fine {number}"));
            sources.note(Arm::Canary, series, Timestamp(9_000), Timestamp(10_000));
        }
        sources.note(
            Arm::Canary,
            (7, || "fast".to_owned()),
            Timestamp(13_500),
            Timestamp(10_000),
        );
        let hint = sources.hint(5_000).expect("its clock is ahead");
        assert!(
            hint.starts_with("the clock behind fast runs 3.5 s ahead"),
            "{hint}"
        );
        let view = sources.view();
        let fast = view.iter().find(|source| &*source.series == "fast");
        assert_eq!(fast.map(|source| source.lag_secs), Some(-3.5));
        assert_eq!(view.len(), SOURCES_SHOWN_MAX);
    }
}
