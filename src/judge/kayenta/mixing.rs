//! Which series of the two sides belong together, and how long each should be.
//!
//! Owns the pairing by tags and the padding. A metric whose query groups by a tag gives several
//! series a side, so one metric can become several pairs, each of which is judged and counted.

use std::collections::{BTreeMap, BTreeSet};

/// Tags of a series, or what a pair carries along.
pub type Tags = BTreeMap<String, String>;

/// Values that a series is padded to, at most: a year of minutes, and some.
pub const PADDED_VALUES_MAX: usize = 1 << 20;

/// One series of one side, as a source gave it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MetricSet {
    /// The metric's name in the configuration.
    pub name: String,
    /// What tells it from other series of the metric; empty where there is one, or none.
    pub tags: Tags,
    /// When its first value was, and when the interval that was asked for ends.
    pub window: Window,
    /// Milliseconds from one value to the next.
    pub step_millis: i64,
    /// Its values, NaN where there was none.
    pub values: Vec<f64>,
    /// What else is known of it, such as its query.
    pub attributes: Tags,
}

/// An interval, in milliseconds and as text.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Window {
    /// Its begin.
    pub start_millis: i64,
    /// The same, ISO 8601.
    pub start_iso: Option<String>,
    /// Its end.
    pub end_millis: i64,
}

/// One side of a pair.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Side {
    /// Its values, padded.
    pub values: Vec<f64>,
    /// When it begins.
    pub start_millis: i64,
    /// The same, ISO 8601.
    pub start_iso: Option<String>,
    /// Milliseconds from one value to the next.
    pub step_millis: i64,
    /// What else is known of it.
    pub attributes: Tags,
}

/// Two series that are judged against each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// The metric's name.
    pub name: String,
    /// A name of its own, unique.
    pub id: String,
    /// The tags that both have.
    pub tags: Tags,
    /// The baseline.
    pub baseline: Side,
    /// The canary.
    pub canary: Side,
}

/// Why a metric's series cannot be paired.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MixError {
    /// A series without a name.
    #[error("a series of the {arm} has no name; give it that of its metric")]
    Unnamed {
        /// `baseline` or `canary`.
        arm: &'static str,
    },
    /// The two sides are grouped by different tags.
    #[error(
        "metric {metric:?}: the baseline's series have the tags {baseline}, the canary's {canary}; group both by the same"
    )]
    OtherTags {
        /// The metric.
        metric: String,
        /// Tag names of the baseline.
        baseline: String,
        /// Tag names of the canary.
        canary: String,
    },
    /// A series would have more values than are kept.
    #[error(
        "metric {metric:?}: {expected} values a series, more than {PADDED_VALUES_MAX}; take a longer step"
    )]
    TooLong {
        /// The metric.
        metric: String,
        /// Values by its interval and step.
        expected: i64,
    },
}

/// Pairs the series of each of these metrics, in their order. `next_id` names a pair.
///
/// # Errors
/// [`MixError`], and nothing is paired.
pub fn mix<'n>(
    metrics: impl IntoIterator<Item = &'n str>,
    baseline: &[MetricSet],
    canary: &[MetricSet],
    mut next_id: impl FnMut() -> String,
) -> Result<Vec<Pair>, MixError> {
    for (arm, sets) in [("baseline", baseline), ("canary", canary)] {
        if sets.iter().any(|set| set.name.is_empty()) {
            return Err(MixError::Unnamed { arm });
        }
    }
    let mut pairs = Vec::new();
    for metric in metrics {
        let of_metric = |sets: &'_ [MetricSet]| -> Vec<MetricSet> {
            sets.iter()
                .filter(|set| set.name == metric)
                .cloned()
                .collect()
        };
        for [baseline, canary] in matched(metric, of_metric(baseline), of_metric(canary))? {
            let tags = baseline.tags.clone();
            pairs.push(Pair {
                name: metric.to_owned(),
                id: next_id(),
                tags,
                baseline: padded(baseline)?,
                canary: padded(canary)?,
            });
        }
    }
    Ok(pairs)
}

/// Series side by side, those of one side only beside an empty one.
fn matched(
    metric: &str,
    mut baseline: Vec<MetricSet>,
    mut canary: Vec<MetricSet>,
) -> Result<Vec<[MetricSet; 2]>, MixError> {
    let has_untagged = |sets: &[MetricSet]| sets.iter().any(|set| set.tags.is_empty());
    let (in_baseline, in_canary) = (has_untagged(&baseline), has_untagged(&canary));
    // A side that could not be grouped has no series that is any of the other's: its data are left.
    let template_of_baseline = template(baseline.first(), canary.first());
    let template_of_canary = template(canary.first(), baseline.first());
    if in_baseline && !in_canary && !canary.is_empty() {
        baseline.clear();
    } else if in_canary && !in_baseline && !baseline.is_empty() {
        canary.clear();
    } else if !in_baseline && !in_canary {
        same_tag_names(metric, &baseline, &canary)?;
    }
    let mut pairs = Vec::new();
    for mine in baseline {
        let found = canary.iter().position(|other| other.tags == mine.tags);
        let other = match found {
            Some(index) => canary.remove(index),
            None => with_tags(&template_of_canary, &mine.tags),
        };
        pairs.push([mine, other]);
    }
    for mine in canary {
        pairs.push([with_tags(&template_of_baseline, &mine.tags), mine]);
    }
    Ok(pairs)
}

/// A series without values, of the interval that the side was asked about.
fn template(own: Option<&MetricSet>, other: Option<&MetricSet>) -> MetricSet {
    own.or(other)
        .map_or_else(MetricSet::default, |set| MetricSet {
            values: Vec::new(),
            ..set.clone()
        })
}

fn with_tags(template: &MetricSet, tags: &Tags) -> MetricSet {
    MetricSet {
        tags: tags.clone(),
        ..template.clone()
    }
}

fn same_tag_names(
    metric: &str,
    baseline: &[MetricSet],
    canary: &[MetricSet],
) -> Result<(), MixError> {
    let names = |sets: &[MetricSet]| -> BTreeSet<String> {
        sets.iter()
            .flat_map(|set| set.tags.keys().cloned())
            .collect()
    };
    let (of_baseline, of_canary) = (names(baseline), names(canary));
    if baseline.is_empty() || canary.is_empty() || of_baseline == of_canary {
        return Ok(());
    }
    let told = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>().join(", ");
    Err(MixError::OtherTags {
        metric: metric.to_owned(),
        baseline: told(of_baseline),
        canary: told(of_canary),
    })
}

/// Appends NaN until the values fill the interval. They go to the end wherever values are missing:
/// the judge does not look at their order.
fn padded(set: MetricSet) -> Result<Side, MixError> {
    let length = set
        .window
        .end_millis
        .saturating_sub(set.window.start_millis);
    let expected = match set.step_millis {
        step if step > 0 => length / step,
        _ => 0,
    };
    let wanted = usize::try_from(expected).unwrap_or(0);
    if wanted > PADDED_VALUES_MAX {
        let metric = set.name;
        return Err(MixError::TooLong { metric, expected });
    }
    let mut values = set.values;
    if values.len() < wanted {
        values.resize(wanted, f64::NAN);
    }
    Ok(Side {
        values,
        start_millis: set.window.start_millis,
        start_iso: set.window.start_iso,
        step_millis: set.step_millis,
        attributes: set.attributes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(tags: &[(&str, &str)], values: &[f64]) -> MetricSet {
        let owned = tags
            .iter()
            .map(|&(key, value)| (key.to_owned(), value.to_owned()));
        MetricSet {
            name: "cpu".to_owned(),
            tags: owned.collect(),
            values: values.to_vec(),
            ..MetricSet::default()
        }
    }

    fn mixed(baseline: &[MetricSet], canary: &[MetricSet]) -> Result<Vec<Pair>, MixError> {
        let mut ids = 0;
        mix(["cpu"], baseline, canary, || {
            ids += 1;
            ids.to_string()
        })
    }

    #[test]
    fn series_meet_by_their_tags_and_none_is_lost() {
        let baseline = [set(&[("pod", "a")], &[1.0]), set(&[("pod", "b")], &[2.0])];
        let canary = [set(&[("pod", "c")], &[3.0]), set(&[("pod", "a")], &[4.0])];
        let pairs = mixed(&baseline, &canary).expect("paired");
        let told: Vec<_> = pairs
            .iter()
            .map(|pair| {
                (
                    &*pair.tags["pod"],
                    pair.baseline.values.len(),
                    pair.canary.values.len(),
                )
            })
            .collect();
        assert_eq!(told, [("a", 1, 1), ("b", 1, 0), ("c", 0, 1)]);
        assert_eq!(pairs[0].canary.values, [4.0]);
        let ids: Vec<&str> = pairs.iter().map(|pair| &*pair.id).collect();
        assert_eq!(ids, ["1", "2", "3"]);
    }

    #[test]
    fn a_side_without_tags_only_stands_there() {
        let tagged = [
            set(&[("pod", "a")], &[1.0, 2.0]),
            set(&[("pod", "b")], &[3.0]),
        ];
        let plain = [set(&[], &[9.0, 9.0])];
        let pairs = mixed(&tagged, &plain).expect("paired");
        assert_eq!(pairs.len(), 2);
        assert!(pairs.iter().all(|pair| pair.canary.values.is_empty()));
        let pairs = mixed(&plain, &tagged).expect("paired");
        assert!(pairs.iter().all(|pair| pair.baseline.values.is_empty()));
        assert_eq!(pairs[1].canary.values, [3.0]);
        // Two without tags are a pair.
        assert_eq!(mixed(&plain, &plain).expect("paired").len(), 1);
    }

    #[test]
    fn other_tag_names_are_refused() {
        let error = mixed(&[set(&[("pod", "a")], &[])], &[set(&[("host", "a")], &[])]);
        let message = error.expect_err("refused").to_string();
        assert!(
            message.contains("the tags pod, the canary's host"),
            "{message}"
        );
        let unnamed = MetricSet::default();
        assert_eq!(
            mixed(&[unnamed], &[]),
            Err(MixError::Unnamed { arm: "baseline" })
        );
    }

    #[test]
    fn short_series_are_padded_at_their_end() {
        let timed = |values: &[f64], step_millis| MetricSet {
            window: Window {
                start_millis: 60_000,
                end_millis: 300_000,
                start_iso: None,
            },
            step_millis,
            ..set(&[], values)
        };
        let pairs = mixed(&[timed(&[1.0], 60_000)], &[timed(&[1.0; 9], 60_000)]);
        let pair = &pairs.expect("paired")[0];
        assert_eq!(
            (pair.baseline.values.len(), pair.canary.values.len()),
            (4, 9)
        );
        assert!(pair.baseline.values[1..].iter().all(|value| value.is_nan()));
        // Without a step nothing is expected.
        let pairs = mixed(&[timed(&[1.0], 0)], &[timed(&[], -5)]).expect("paired");
        assert_eq!(
            (pairs[0].baseline.values.len(), pairs[0].canary.values.len()),
            (1, 0)
        );
        let error = mixed(&[timed(&[], 1)], &[timed(&[], 1)]);
        assert!(error.is_ok());
        let long = MetricSet {
            window: Window {
                end_millis: i64::MAX,
                ..Window::default()
            },
            step_millis: 1,
            ..set(&[], &[])
        };
        assert!(matches!(mixed(&[long], &[]), Err(MixError::TooLong { .. })));
    }
}
