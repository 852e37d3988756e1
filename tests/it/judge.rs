//! What the judge promises of every kind of check, on streams whose truth is known.
//!
//! Owns the properties that hold whatever the data (`properties`) and a failing, a passing and an
//! open stream for each kind of check (`kinds`), what limits, alarm rules and both directions show
//! (`limits`), the time after the horizon (`extension`), and data as senders record them
//! (`recorded`, `buckets`). Streams are seeded, so every outcome is fixed.

mod buckets;
mod extension;
mod kinds;
mod limits;
mod pods;
mod properties;
mod recorded;
mod strata;
mod told;

use std::sync::Arc;

use davy::judge::check::Detail;
use davy::judge::scratch::Scratch;
use davy::judge::verdict::Finding;
use davy::judge::{Judge, Judgement};
use davy::model::Outcome;
use davy::plan::Plan;
use davy::stats::sampler::{Stream, seed_from};
use davy::window::{Cell, ClosedTick};

use crate::machine::plan;

/// Looks of every plan here, a second each.
const LOOKS: usize = 20;

/// A plan of one metric and one check.
fn one_check(metric: &str, check: &str) -> Arc<Plan> {
    plan(&format!(
        "horizon: {LOOKS}s\ntick: 1s\nlateness: 0s\nmin_duration: 2s\nmetrics: {{m: {{{metric}}}}}\n\
        checks: [{{{check}, min_samples: 1}}]\n"
    ))
}

/// Judgements of every look over ticks of one metric.
fn judged(plan: &Arc<Plan>, ticks: impl IntoIterator<Item = [Cell; 2]>) -> Vec<Judgement> {
    let mut judge = Judge::new(plan.clone(), Detail::Full);
    let mut scratch = Scratch::default();
    let mut look = |(index, cells)| {
        let cells = vec![cells];
        judge.close_and_look(&ClosedTick { index, cells }, &mut scratch)
    };
    ticks.into_iter().enumerate().map(&mut look).collect()
}

/// The finding of the first fail or pass, or of the last look where there is neither.
fn decided(plan: &Arc<Plan>, ticks: impl IntoIterator<Item = [Cell; 2]>) -> (usize, Finding) {
    let looks = judged(plan, ticks);
    let at = looks
        .iter()
        .position(|look| look.outcome != Outcome::Inconclusive);
    let at = at.unwrap_or(looks.len() - 1);
    (at + 1, looks[at].findings[0].clone())
}

fn stream(label: &str, index: u64) -> Stream {
    Stream::new(&seed_from("judge", label), index)
}

fn of_values(values: Vec<f64>) -> Cell {
    Cell {
        samples: values.len() as u64,
        values,
        ..Cell::default()
    }
}

fn of_ratio(bad: u64, total: u64) -> Cell {
    Cell {
        samples: total,
        bad,
        total,
        ..Cell::default()
    }
}

fn of_rate(events: u64, exposure: f64) -> Cell {
    Cell {
        samples: 1,
        bad: events,
        exposure,
        ..Cell::default()
    }
}

fn of_point(tick: usize, value: f64) -> Cell {
    Cell {
        samples: 1,
        points: vec![(1_000 * tick as i64, value)],
        ..Cell::default()
    }
}

/// A binomial count.
fn count(stream: &mut Stream, total: u64, share: f64) -> u64 {
    (0..total).filter(|_| stream.uniform() < share).count() as u64
}
