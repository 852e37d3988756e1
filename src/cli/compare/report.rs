//! What `davy compare` prints: one JSON object, or a table and a sentence.
//!
//! Owns the output contract and the words. It must not compute anything but roundings.

use std::io::{self, Write};

use comfy_table::{Table, presets};
use serde::Serialize;

use super::{Allowance, ArmSize, CompareArgs, Comparison, Estimate, WorseDirection};
use crate::model::{Outcome, Reason};

/// The JSON contract. What does not exist (an empty arm, a shift of infinite values, a ratio of
/// values that are not all positive) is `null`.
#[derive(Serialize)]
struct Answer {
    samples: Samples,
    mann_whitney: Tails,
    shift: Shift,
    theta: Option<f64>,
    ratio: Ratio,
    verdict: Outcome,
    reason: Reason,
}

#[derive(Serialize)]
struct Samples {
    baseline: u64,
    canary: u64,
}

#[derive(Serialize)]
struct Tails {
    u: Option<f64>,
    p_two_sided: Option<f64>,
    p_greater: Option<f64>,
    p_less: Option<f64>,
    method: Option<&'static str>,
    continuity: Option<bool>,
}

#[derive(Serialize)]
struct Shift {
    hodges_lehmann: Option<f64>,
    interval: Option<[f64; 2]>,
    confidence: f64,
}

#[derive(Serialize)]
struct Ratio {
    estimate: Option<f64>,
    interval: Option<[f64; 2]>,
    confidence: f64,
}

/// Writes the answer as one line of JSON. Missing values that were dropped are told on stderr.
pub fn write_json(found: &Comparison, args: &CompareArgs, out: &mut dyn Write) -> io::Result<()> {
    let plain = found.plain.as_ref();
    let answer = Answer {
        samples: Samples {
            baseline: found.baseline.values,
            canary: found.canary.values,
        },
        mann_whitney: Tails {
            u: plain.map(|test| test.u),
            p_two_sided: plain.map(|test| test.p_two_sided),
            p_greater: plain.map(|test| test.p_greater),
            p_less: plain.map(|test| test.p_less),
            method: plain.map(|test| test.method.as_str()),
            continuity: plain.map(|test| test.continuity),
        },
        shift: Shift {
            hodges_lehmann: found.shift.map(|shift| shift.estimate),
            interval: found.shift.map(|shift| shift.interval),
            confidence: args.confidence,
        },
        theta: plain.map(|test| test.theta),
        ratio: Ratio {
            estimate: found.ratio.map(|ratio| ratio.estimate),
            interval: found.ratio.map(|ratio| ratio.interval),
            confidence: args.confidence,
        },
        verdict: found.verdict,
        reason: found.reason,
    };
    for (arm, size) in [("baseline", found.baseline), ("canary", found.canary)] {
        if size.missing > 0 {
            eprintln!(
                "davy: {} missing values of the {arm} were dropped",
                size.missing
            );
        }
    }
    serde_json::to_writer(&mut *out, &answer)?;
    out.write_all(b"\n")
}

/// Writes a table of the evidence, then a sentence.
pub fn write_text(found: &Comparison, args: &CompareArgs, out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let percent = args.confidence * 100.0;
    table.add_row(["samples", "baseline", &size(found.baseline)]);
    table.add_row(["", "canary", &size(found.canary)]);
    if let Some(test) = &found.plain {
        table.add_row(["U", "canary above baseline", &format!("{}", test.u)]);
        table.add_row([
            "theta",
            "P(canary > baseline)",
            &format!("{:.4}", test.theta),
        ]);
        let method = match (test.method.as_str(), test.continuity) {
            (name, true) => format!("{name}, continuity corrected"),
            (name, false) => name.to_owned(),
        };
        table.add_row([
            "p",
            &format!("if there is no difference, two-sided, {method}"),
            &probability(test.p_two_sided),
        ]);
    }
    if let Some(test) = &found.at_boundary {
        let (beyond, within) = match args.worse {
            WorseDirection::Higher => (test.p_greater, test.p_less),
            WorseDirection::Lower => (test.p_less, test.p_greater),
        };
        let allowance = allowance(args.tolerance);
        // A small p speaks against the hypothesis it stands beside.
        table.add_row([
            "",
            &format!("if worse by at most {allowance} (small: worse by more)"),
            &probability(beyond),
        ]);
        table.add_row([
            "",
            &format!("if worse by at least {allowance} (small: worse by less)"),
            &probability(within),
        ]);
    }
    let header = format!("with {percent} % interval");
    if let Some(shift) = &found.shift {
        table.add_row(["shift", &header, &interval(shift)]);
    }
    if let Some(ratio) = &found.ratio {
        table.add_row(["ratio", &header, &interval(ratio)]);
    }
    writeln!(out, "{}\n", table.trim_fmt())?;
    writeln!(out, "{}: {}", found.verdict.as_str(), sentence(found, args))
}

fn sentence(found: &Comparison, args: &CompareArgs) -> String {
    let allowance = allowance(args.tolerance);
    match found.reason {
        Reason::Degraded => {
            format!("the canary is worse than the baseline by more than {allowance}.")
        }
        Reason::WithinTolerance => {
            format!("the canary is not worse than the baseline by more than {allowance}.")
        }
        Reason::BaselineMissing => "the baseline has no values to compare with.".to_owned(),
        Reason::CanaryMissing => "the canary has no values.".to_owned(),
        Reason::NoTraffic => "there are no values at all.".to_owned(),
        Reason::BadData if found.baseline.too_many_missing() => {
            "too many values of the baseline are missing.".to_owned()
        }
        Reason::BadData if found.canary.too_many_missing() => {
            "too many values of the canary are missing.".to_owned()
        }
        Reason::BadData => {
            "a relative tolerance has no meaning for negative values; give an absolute one, such \
             as --tolerance 0.5."
                .to_owned()
        }
        _ => format!(
            "neither more nor less than {allowance} worse could be shown; more samples are needed."
        ),
    }
}

fn allowance(tolerance: Allowance) -> String {
    let percent = tolerance.relative * 100.0;
    match (tolerance.relative > 0.0, tolerance.absolute > 0.0) {
        (true, true) => format!("{} % and {}", digits(percent), tolerance.absolute),
        (false, true) => tolerance.absolute.to_string(),
        _ => format!("{} %", digits(percent)),
    }
}

fn size(arm: ArmSize) -> String {
    match arm.missing {
        0 => arm.values.to_string(),
        missing => format!("{} ({missing} missing)", arm.values),
    }
}

fn probability(p: f64) -> String {
    if p < 0.001 {
        format!("{p:.2e}")
    } else {
        format!("{p:.4}")
    }
}

fn interval(found: &Estimate) -> String {
    let [low, high] = found.interval.map(digits);
    format!("{} [{low}, {high}]", digits(found.estimate))
}

/// Five significant digits, without trailing zeros.
fn digits(value: f64) -> String {
    let short: f64 = format!("{value:.4e}").parse().unwrap_or(value);
    if short != 0.0 && !(1e-4..1e9).contains(&short.abs()) {
        format!("{short:e}")
    } else {
        format!("{short}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_digits_are_enough_for_people() {
        let shown = [0.0, 1.0 / 3.0, -12345.678, 1e-300, 2.5e12, 0.07 * 100.0].map(digits);
        assert_eq!(shown, ["0", "0.33333", "-12346", "1e-300", "2.5e12", "7"]);
    }
}
