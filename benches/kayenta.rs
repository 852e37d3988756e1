//! One metric judged as Kayenta does, against the times of Kayenta's own class.
//!
//!     cargo bench --bench kayenta -- [runs=9]
//!
//! Kayenta's times are recorded ones: its `classify` in a warm JVM with reading the text included,
//! and its Mann-Whitney class alone, both on as many values and on two shared cores. davy's are measured
//! here, from raw values of both sides to the label, each call on data of its own; the time that a
//! tenth of the calls do not exceed is reported, beside the median.

#![expect(clippy::disallowed_methods, reason = "it measures time")]

mod common;

use std::hint::black_box;
use std::time::Instant;

use common::{Args, Verdicts, undisturbed};
use davy::judge::kayenta::{Settings, judge_pair};
use davy::stats::sampler::{Stream, seed_from};

/// How many times faster than Kayenta davy has to be.
const FASTER_MIN: f64 = 25.0;

/// Values a side, Kayenta's milliseconds, and whether its whole `classify` took them.
const RECORDED: [(usize, f64, bool); 7] = [
    (60, 1.3, true),
    (60, 0.884, false),
    (1_000, 29.6, false),
    (1_440, 29.0, true),
    (5_000, 128.0, false),
    (10_000, 385.0, true),
    (20_000, 941.0, false),
];

/// Log-normal latencies of some 100 ms; `decimals` rounds them, which makes ties.
fn side(len: usize, shift: f64, decimals: Option<f64>, stream: &mut Stream) -> Vec<f64> {
    let value = |stream: &mut Stream| 100.0 * libm::exp(shift + 0.5 * stream.normal());
    let rounded = |value: f64| match decimals {
        Some(scale) => (value * scale).round() / scale,
        None => value,
    };
    (0..len).map(|_| rounded(value(stream))).collect()
}

/// Milliseconds of one judgement: the least disturbed, and the median.
fn measured(len: usize, decimals: Option<f64>, runs: usize, stream: &mut Stream) -> (f64, f64) {
    let settings = Settings::default();
    let repeats = (20_000 / len).clamp(3, 200);
    let mut times = Vec::new();
    for round in 0..=runs {
        for _ in 0..repeats {
            let (baseline, canary) = (
                side(len, 0.0, decimals, stream),
                side(len, 0.05, decimals, stream),
            );
            let begun = Instant::now();
            black_box(judge_pair(&baseline, &canary, &settings));
            // The first round warms up and is not counted.
            if round > 0 {
                times.push(begun.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    let mut sorted = times.clone();
    sorted.sort_by(f64::total_cmp);
    (undisturbed(times), sorted[sorted.len() / 2])
}

fn main() -> std::process::ExitCode {
    let args = Args::read();
    let runs = args.number("runs", 9);
    let mut verdicts = Verdicts::default();
    let mut stream = Stream::new(&seed_from("bench", "kayenta"), 0);
    println!("values a side   davy ms   median   Kayenta ms   times faster");
    for (len, recorded, whole) in RECORDED {
        let (davy, median) = measured(len, None, runs, &mut stream);
        let what = if whole { "classify" } else { "its test alone" };
        println!(
            "{len:13} {davy:9.4} {median:8.4} {recorded:12.3} {:14.0}   {} ({what})",
            recorded / davy,
            verdicts.word(davy * FASTER_MIN <= recorded),
        );
    }
    println!("whole milliseconds, so that most values tie:");
    for len in [60, 1_440, 10_000] {
        let (davy, median) = measured(len, Some(1.0), runs, &mut stream);
        println!("{len:13} {davy:9.4} {median:8.4}");
    }
    println!("two constant sides, nine draws of noise at most:");
    for len in [60, 1_440, 10_000] {
        let begun = Instant::now();
        black_box(judge_pair(
            &vec![10.0; len],
            &vec![10.1; len],
            &Settings::default(),
        ));
        println!("{len:13} {:9.4}", begun.elapsed().as_secs_f64() * 1e3);
    }
    verdicts.end()
}
