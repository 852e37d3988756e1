//! Samples that nobody asked for, by the name of their series.
//!
//! Owns the counts since the daemon began, of a bounded number of names, and how they are read. They
//! answer "why does nothing arrive": because what arrives is called otherwise. Next: an analysis'
//! `received`, which names what did arrive.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::Serialize;

use super::Shared;
use super::analyses::PAGE_DEFAULT;
use super::problem::Problem;
use super::query::{self, Parameters};
use crate::engine::Ingested;

/// Names that are counted one by one; samples of further ones are counted together.
pub const NAMES_MAX: usize = 10_000;

/// Counts by name.
#[derive(Debug, Default)]
pub struct Unmatched {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    by_name: BTreeMap<String, u64>,
    others: u64,
}

/// Names of series that no running analysis asked for, those with most samples first.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct UnmatchedAnswer {
    /// At most as many as asked for.
    pub unmatched: Vec<UnmatchedView>,
    /// Samples under names that are not shown.
    pub others: u64,
}

/// Samples of one name.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct UnmatchedView {
    /// Name of the series.
    pub metric: String,
    /// Samples since the daemon began.
    pub samples: u64,
}

/// `GET /v1/unmatched`
pub async fn list(
    State(shared): State<Arc<Shared>>,
    uri: Uri,
) -> Result<Json<UnmatchedAnswer>, Problem> {
    let given = Parameters::read(&uri, &["limit"])?;
    let limit = query::limit(&given)?.unwrap_or(PAGE_DEFAULT);
    Ok(Json(shared.unmatched.most(limit)))
}

// === impl Unmatched ===

impl Unmatched {
    /// Counts what a request brought.
    pub fn count(&self, ingested: &Ingested) {
        if ingested.unmatched == 0 {
            return;
        }
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut named = 0;
        for (name, samples) in &ingested.unmatched_names {
            named += samples;
            counts.add(name, *samples);
        }
        counts.others += ingested.unmatched.saturating_sub(named);
    }

    fn most(&self, limit: usize) -> UnmatchedAnswer {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut order: Vec<(&String, u64)> = counts.by_name.iter().map(|(n, &s)| (n, s)).collect();
        order.sort_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(other.0)));
        let (shown, rest) = order.split_at(limit.min(order.len()));
        UnmatchedAnswer {
            unmatched: shown
                .iter()
                .map(|&(metric, samples)| UnmatchedView {
                    metric: metric.clone(),
                    samples,
                })
                .collect(),
            others: rest
                .iter()
                .fold(counts.others, |sum, &(_, samples)| sum + samples),
        }
    }
}

// === impl Counts ===

impl Counts {
    fn add(&mut self, name: &str, samples: u64) {
        if let Some(count) = self.by_name.get_mut(name) {
            *count += samples;
        } else if self.by_name.len() < NAMES_MAX {
            self.by_name.insert(name.to_owned(), samples);
        } else {
            self.others += samples;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_counted_up_to_their_limit() {
        let unmatched = Unmatched::default();
        let names = |count: usize| -> Vec<(String, u64)> {
            (0..count).map(|i| (format!("m{i:05}"), 1)).collect()
        };
        for (count, others) in [(NAMES_MAX, 0), (NAMES_MAX + 1, 1)] {
            unmatched.count(&Ingested {
                unmatched: count as u64,
                unmatched_names: names(count),
                ..Ingested::default()
            });
            assert_eq!(unmatched.most(usize::MAX).others, others);
        }
        unmatched.count(&Ingested {
            unmatched: 10,
            unmatched_names: vec![("m00007".into(), 3)],
            ..Ingested::default()
        });
        let answer = unmatched.most(1);
        assert_eq!(answer.unmatched[0].metric, "m00007");
        assert_eq!(answer.unmatched[0].samples, 5);
        assert_eq!(answer.others, 2 * (NAMES_MAX as u64 - 1) + 1 + 7);
    }
}
