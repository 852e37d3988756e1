//! Real interval logs of three formats and four recorders, against the totals and percentiles that
//! the reference implementation asserts of them.
//!
//! The reference adds every interval to one histogram of three digits, at each cell's lowest value,
//! and reads percentiles there; so does this, with the crate `hdrhistogram`. Which value a
//! percentile is, the reference has defined twice: up to 2.1.9 the rank is rounded to the nearest
//! whole number, since then up (as in the crate). Its tests assert numbers that are the same either
//! way; those that were decoded for the corpus are of the older definition.

use std::path::Path;

use davy::codec::Limits;
use davy::codec::hdr::{Interval, Intervals, Naming, decode};
use davy::model::series::PointValue;
use hdrhistogram::Histogram;
use serde_json::Value;

use crate::support::shared_file;

/// Number of intervals, total, value at the 99.9th percentile, highest value; and two percentiles.
#[derive(Debug, PartialEq)]
struct Found {
    histograms: u64,
    total: u64,
    p99_9: u64,
    max: u64,
    p50: u64,
    p99: u64,
}

/// How the rank of a percentile becomes a whole number.
#[derive(Clone, Copy)]
enum Rank {
    Nearest,
    Up,
}

fn percentile(sum: &Histogram<u64>, percent: f64, rank: Rank) -> u64 {
    let rank = match rank {
        Rank::Nearest => (percent / 100.0 * sum.len() as f64 + 0.5) as u64,
        Rank::Up => return sum.value_at_percentile(percent),
    };
    let mut below = 0;
    let at_rank = sum.iter_recorded().find(|recorded| {
        below += recorded.count_at_value();
        below >= rank
    });
    at_rank.map_or(0, |recorded| recorded.value_iterated_to())
}

fn summed(intervals: &[&Interval<'_>], rank: Rank) -> Found {
    let mut sum = Histogram::<u64>::new(3).expect("three digits");
    sum.auto(true);
    for cell in intervals.iter().flat_map(|interval| &interval.cells) {
        sum.record_n(cell.lowest, cell.count).expect("it grows");
    }
    Found {
        histograms: intervals.len() as u64,
        total: sum.len(),
        p99_9: percentile(&sum, 99.9, rank),
        max: sum.max(),
        p50: percentile(&sum, 50.0, rank),
        p99: percentile(&sum, 99.0, rank),
    }
}

fn expect(expected: &Value, found: &Found, what: &str) -> usize {
    let pairs = [
        ("histograms", found.histograms),
        ("total", found.total),
        ("p99_9", found.p99_9),
        ("max", found.max),
        ("p50", found.p50),
        ("p99", found.p99),
    ];
    let given = pairs.iter().filter(|(name, _)| !expected[name].is_null());
    given
        .map(|(name, value)| assert_eq!(expected[name], *value, "{what}: {name}"))
        .count()
}

fn check(folder: &Path, name: &str, expected: &Value) -> usize {
    let body = std::fs::read(folder.join(name)).expect("a log beside expected.json");
    let mut reader = Intervals::new(&body, &Limits::default()).expect("an interval log");
    let intervals: Vec<Interval<'_>> = reader
        .by_ref()
        .map(|item| item.expect("every line can be read"))
        .collect();
    let start = reader.start_time().expect("the logs say it").millis();
    let all: Vec<&Interval<'_>> = intervals.iter().collect();
    let (upstream, here) = (
        &expected["asserted_by_upstream_tests"],
        &expected["decoded_here"],
    );
    let mut checked = expect(upstream, &summed(&all, Rank::Up), name);
    checked += expect(upstream, &summed(&all, Rank::Nearest), name);
    checked += expect(here, &summed(&all, Rank::Nearest), name);
    let start_secs = here["start_time"].as_f64().expect("a time");
    assert_eq!(start as f64 / 1_000.0, start_secs, "{name}: start_time");
    let mut tags: Vec<&str> = intervals.iter().map(|i| i.tag.unwrap_or("")).collect();
    tags.sort_unstable();
    tags.dedup();
    assert_eq!(here["tags"], serde_json::json!(tags), "{name}: tags");
    for range in upstream["ranges"].as_array().into_iter().flatten() {
        let bound = |at: usize| range["range"][at].as_i64().expect("seconds") * 1_000;
        let within = bound(0)..bound(1);
        let inside = |i: &&Interval<'_>| within.contains(&(i.start.millis() - start));
        let inside: Vec<&Interval<'_>> = intervals.iter().filter(inside).collect();
        checked += expect(
            range,
            &summed(&inside, Rank::Up),
            &format!("{name} in {within:?}"),
        );
    }
    let naming = Naming {
        metric: "pause",
        labels: &[],
        divisor: std::num::NonZeroU64::MIN,
    };
    let decoded = decode(&body, naming, &Limits::default(), &mut |_| true).expect("series");
    let histograms = decoded
        .batch
        .iter()
        .flat_map(|series| series.points)
        .map(|point| {
            let PointValue::Histogram(number) = point.value else {
                panic!("{name}: a point without a histogram");
            };
            decoded.batch.histogram(number).expect("kept")
        });
    let total: f64 = histograms
        .flat_map(|h| &h.cells)
        .map(|cell| cell.count)
        .sum();
    assert_eq!(
        total,
        summed(&all, Rank::Up).total as f64,
        "{name}: the series' total"
    );
    assert_eq!(decoded.refusals, [], "{name}");
    checked
}

#[test]
fn the_shared_logs_have_the_totals_and_percentiles_of_the_reference() {
    let Some(file) = shared_file("corpus/hlog/expected.json") else {
        println!("left out: there are no shared interval logs to read");
        return;
    };
    let expected = std::fs::read_to_string(&file).expect("expected.json");
    let expected: Value = serde_json::from_str(&expected).expect("JSON");
    let expected = expected.as_object().expect("logs by name");
    let folder = file.parent().expect("a folder");
    let checked = expected
        .iter()
        .map(|(name, of_log)| check(folder, name, of_log));
    let checked: Vec<usize> = checked.collect();
    println!(
        "{} logs, {} numbers",
        checked.len(),
        checked.iter().sum::<usize>()
    );
    assert_eq!(checked.len(), 8);
}
