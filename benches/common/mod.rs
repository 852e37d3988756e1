//! What the drivers share: their arguments, the thread's time, the process' memory.
//!
//! Owns no measurement. Times are CPU times of the calling thread, because the machines that
//! benches run on are rarely idle.

#![allow(dead_code, reason = "every driver takes what it needs")]

use std::collections::BTreeMap;
use std::time::Instant;

/// Arguments of the form `name=value`; others (cargo passes `--bench`) are left alone.
pub struct Args(BTreeMap<String, String>);

impl Args {
    /// The process' arguments.
    pub fn read() -> Args {
        let pairs = std::env::args().skip(1).filter_map(|arg| {
            let (name, value) = arg.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        });
        Args(pairs.collect())
    }

    /// A whole number, or what stands in for it.
    pub fn number(&self, name: &str, default: usize) -> usize {
        self.0.get(name).map_or(default, |value| {
            value
                .parse()
                .unwrap_or_else(|_| panic!("{name}={value}: want a whole number"))
        })
    }

    /// A text, or what stands in for it.
    pub fn text(&self, name: &str, default: &str) -> String {
        self.0.get(name).map_or(default, String::as_str).to_owned()
    }
}

/// CPU seconds of this thread so far, from the scheduler; wall seconds where there is none.
pub fn thread_seconds(since: Instant) -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat
        .split_whitespace()
        .next()
        .and_then(|text| text.parse::<f64>().ok());
    nanos.map_or_else(|| since.elapsed().as_secs_f64(), |nanos| nanos * 1e-9)
}

/// Largest resident memory of the process so far, MiB.
pub fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1))
        .and_then(|kib| kib.parse::<f64>().ok())
        .map_or(f64::NAN, |kib| kib / 1024.0)
}

/// The figure that a tenth of them do not exceed: others on the machine only ever add time.
pub fn undisturbed(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 10]
}

/// `holds` or `DOES NOT HOLD`, and keeps count of the latter.
#[derive(Default)]
pub struct Verdicts {
    pub broken: usize,
}

impl Verdicts {
    /// The word for a bound that is met or not.
    pub fn word(&mut self, holds: bool) -> &'static str {
        if !holds {
            self.broken += 1;
        }
        if holds { "holds" } else { "DOES NOT HOLD" }
    }

    /// Ends the process with 1 when any bound was broken.
    pub fn end(self) -> std::process::ExitCode {
        std::process::ExitCode::from(u8::from(self.broken > 0))
    }
}
