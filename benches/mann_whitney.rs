//! One Mann-Whitney comparison, unsorted values to p-values: davy, scipy, statrs, and the floor.
//!
//!     cargo bench --bench mann_whitney -- [python=/path/to/python/with/scipy] [runs=9]
//!
//! The floor is what any exact method pays: sort both arms as integers, merge them once. scipy
//! times itself inside one process (import and start-up do not count); statrs is quadratic and
//! stops at 10,000. Calls are interleaved, each on
//! data of its own; the time that a tenth of the calls do not exceed is reported. Then the
//! cost of U and p from sorted values, which any number of looks share.

#![expect(clippy::disallowed_methods, reason = "it measures time")]

mod common;

use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use common::{Args, Verdicts, undisturbed};
use davy::stats::mann_whitney::{Choice, mann_whitney};
use davy::stats::rank::Sorted;
use davy::stats::sampler::{Stream, seed_from};

/// davy takes at most this share of scipy's time, and this many times the floor's.
const SCIPY_SHARE_MAX: f64 = 0.1;
const FLOOR_MAX: f64 = 1.3;
const STATRS_LEN_MAX: usize = 10_000;

/// Reads a length a line, answers with its seconds and p.
const SCIPY: &str = "
import sys, time
import numpy as np
from scipy.stats import mannwhitneyu
print('ready', flush=True)
for line in sys.stdin:
    n, path = line.split()
    both = np.fromfile(path)
    x, y = both[:int(n)].copy(), both[int(n):].copy()
    t = time.perf_counter()
    p = mannwhitneyu(x, y, alternative='two-sided', method='asymptotic').pvalue
    print(time.perf_counter() - t, repr(float(p)), flush=True)
";

struct Scipy {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Scipy {
    /// `None` where there is no such interpreter or no scipy.
    fn begin(python: &str) -> Option<Scipy> {
        let mut child = Command::new(python)
            .args(["-c", SCIPY])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut answers = BufReader::new(child.stdout.take()?);
        let mut ready = String::new();
        answers.read_line(&mut ready).ok()?;
        (ready.trim() == "ready").then_some(Scipy { child, answers })
    }

    fn ask(&mut self, len: usize, path: &std::path::Path) -> Option<(f64, f64)> {
        writeln!(self.child.stdin.as_mut()?, "{len} {}", path.display()).ok()?;
        let mut line = String::new();
        self.answers.read_line(&mut line).ok()?;
        let (seconds, p) = line.split_once(' ')?;
        Some((seconds.trim().parse().ok()?, p.trim().parse().ok()?))
    }

    fn end(mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let begun = Instant::now();
    let answer = black_box(work());
    (begun.elapsed().as_secs_f64(), answer)
}

/// Sort both as integers that keep the order, then count in one merge without branches.
fn floor([canary, baseline]: [Vec<f64>; 2]) -> u64 {
    let keys = |values: Vec<f64>| {
        let mut keys: Vec<u64> = values
            .into_iter()
            .map(|value| {
                let bits = value.to_bits();
                if bits >> 63 == 0 {
                    bits | 1 << 63
                } else {
                    !bits
                }
            })
            .collect();
        keys.sort_unstable();
        keys
    };
    let (canary, baseline) = (keys(canary), keys(baseline));
    let (mut i, mut j, mut u) = (0, 0, 0_u64);
    while i < canary.len() && j < baseline.len() {
        let below = baseline[j] < canary[i];
        u += if below { 0 } else { j as u64 };
        j += usize::from(below);
        i += usize::from(!below);
    }
    u + (canary.len() - i) as u64 * baseline.len() as u64
}

fn davy([canary, baseline]: [Vec<f64>; 2]) -> (f64, f64) {
    let sorted = |values| Sorted::new(values, None).unwrap_or_default();
    let (canary, baseline) = (sorted(canary), sorted(baseline));
    let choice = Choice::Normal { continuity: true };
    mann_whitney(&canary, &baseline, |y| y, choice).map_or((0.0, 1.0), |t| (t.u, t.p_two_sided))
}

fn draw(len: usize, shift: f64, stream: &mut Stream) -> Vec<f64> {
    (0..len)
        .map(|_| 100.0 * libm::exp(shift + 0.5 * stream.normal()))
        .collect()
}

fn main() -> std::process::ExitCode {
    let args = Args::read();
    let runs = args.number("runs", 9);
    let mut scipy = Scipy::begin(&args.text("python", "python3"));
    if scipy.is_none() {
        println!("no scipy here: give python=/path/to/an/interpreter/that/has/it");
    }
    let directory = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
    let mut verdicts = Verdicts::default();
    let mut stream = Stream::new(&seed_from("bench", "mann-whitney"), 0);
    println!("values an arm     davy ms   floor ms   scipy ms  statrs ms   davy/floor  davy/scipy");
    for len in [1_000, 10_000, 100_000, 1_000_000] {
        let mut times: [Vec<f64>; 4] = Default::default();
        // Short calls are repeated within a round, on data of their own each time.
        let repeats = (100_000 / len).clamp(1, 50);
        for round in 0..=runs {
            let sets: Vec<_> = (0..repeats)
                .map(|_| (draw(len, 0.01, &mut stream), draw(len, 0.0, &mut stream)))
                .collect();
            for (canary, baseline) in &sets {
                let mut spent = [0.0; 4];
                // Both consume their arms; copies are made outside, as scipy's are.
                let own = || [canary.clone(), baseline.clone()];
                let arms = own();
                let (seconds, (u, p)) = timed(|| davy(arms));
                spent[0] += seconds;
                let arms = own();
                let (seconds, floor_u) = timed(|| floor(arms));
                spent[1] += seconds;
                assert_eq!(u, floor_u as f64, "the floor counts the same pairs");
                if let Some(peer) = scipy.as_mut() {
                    let path = directory.path().join("values");
                    let both = canary.iter().chain(baseline);
                    let bytes: Vec<u8> = both.flat_map(|v| v.to_le_bytes()).collect();
                    std::fs::write(&path, bytes).unwrap_or_else(|e| panic!("{e}"));
                    let (seconds, theirs) = peer.ask(len, &path).unwrap_or((f64::NAN, p));
                    spent[2] += seconds;
                    assert!((p - theirs).abs() <= 1e-10 * theirs, "{p} against {theirs}");
                }
                if len <= STATRS_LEN_MAX && times[3].len() < 5 && round > 0 {
                    use statrs::stats_tests::Alternative;
                    use statrs::stats_tests::mannwhitneyu::{MannWhitneyUMethod, mannwhitneyu};
                    let (seconds, _) = timed(|| {
                        let method = MannWhitneyUMethod::AsymptoticInclContinuityCorrection;
                        mannwhitneyu(canary, baseline, method, Alternative::TwoSided).ok()
                    });
                    spent[3] += seconds;
                }
                // The first round warms up and is not counted.
                for (times, spent) in times.iter_mut().zip(spent) {
                    if round > 0 && spent > 0.0 {
                        times.push(spent * 1e3);
                    }
                }
            }
        }
        let [davy, floor, scipy, statrs] = times.map(|times| {
            if times.is_empty() {
                f64::NAN
            } else {
                undisturbed(times)
            }
        });
        println!(
            "{len:13} {davy:11.3} {floor:10.3} {scipy:10.3} {statrs:10.3} {:9.2} {} {:8.3} {}",
            davy / floor,
            verdicts.word(davy <= FLOOR_MAX * floor),
            davy / scipy,
            if scipy.is_nan() {
                ""
            } else {
                verdicts.word(davy <= SCIPY_SHARE_MAX * scipy)
            },
        );
    }
    if let Some(peer) = scipy {
        peer.end();
    }
    verdicts.end()
}
