//! `davy compare`: one comparison of two files of numbers, now.
//!
//! Owns what the command asks and answers: arguments, the one-sided tests at the boundary of the
//! tolerance, and the verdict they give. Reading is in [`read`], printing in [`report`], the
//! statistics in `stats`. It must not know of plans, ticks or looks: this is a single look, which
//! spends all of alpha.

pub mod read;
mod report;

use std::io::Write;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};

use crate::cli::OutputForm;
use crate::cli::exit::Exit;
use crate::model::{Outcome, Reason};
use crate::stats::hodges_lehmann::{Bound, Differences};
use crate::stats::mann_whitney::{Choice, MannWhitney, mann_whitney};
use read::{ArmValues, Arms};

/// Above this share of missing values in an arm the comparison is inconclusive.
const MISSING_SHARE_MAX: f64 = 0.2;

/// Compare two samples once: is the canary worse than the baseline by more than the tolerance?
///
/// Values are taken as independent; nothing is known of clusters or of time here.
#[derive(Debug, Clone, Args)]
pub struct CompareArgs {
    /// File of the baseline: one number a line; blank lines and # comments are skipped
    #[arg(required_unless_present = "csv", requires = "canary")]
    pub baseline: Option<PathBuf>,
    /// File of the canary
    pub canary: Option<PathBuf>,
    /// One CSV file instead, with the columns role (baseline or canary), value and, if present,
    /// weight; other columns are ignored
    #[arg(long, value_name = "FILE", conflicts_with_all = ["baseline", "canary"])]
    pub csv: Option<PathBuf>,
    /// How to print the answer
    #[arg(long, value_enum, default_value_t = OutputForm::Text)]
    pub output: OutputForm,
    /// Confidence of the intervals for shift and ratio, between 0 and 1
    #[arg(long, default_value = "0.95", value_parser = parse_confidence)]
    pub confidence: f64,
    /// How much worse is acceptable: relative ("5%"), absolute in the values' unit ("0.5"), or both
    /// ("5%,0.5"), of which the larger counts
    #[arg(long, default_value = "5%")]
    pub tolerance: Allowance,
    /// Probability of a false fail, above 0 and at most 0.5
    #[arg(long, default_value = "0.05", value_parser = parse_error_probability)]
    pub alpha: f64,
    /// Probability of a false pass, above 0 and at most 0.5
    #[arg(long, default_value = "0.05", value_parser = parse_error_probability)]
    pub beta: f64,
    /// Which direction is worse
    #[arg(long, value_enum, default_value_t = WorseDirection::Higher)]
    pub worse: WorseDirection,
    /// Exit 0 on pass, 1 on fail, 2 on inconclusive; without it, 0 whatever the verdict
    #[arg(long)]
    pub exit_code: bool,
}

/// Which direction is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WorseDirection {
    /// Higher values are worse, as for durations
    Higher,
    /// Lower values are worse, as for throughput
    Lower,
}

/// The tolerance as typed: a relative part (a fraction) and an absolute part, neither negative.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Allowance {
    /// 0.05 for "5%"; 0 where only an absolute part was given.
    pub relative: f64,
    /// In the values' unit.
    pub absolute: f64,
}

impl Allowance {
    /// The worst value acceptable where the baseline has `value`. Monotone in `value`.
    fn boundary(self, value: f64, worse: WorseDirection) -> f64 {
        match worse {
            WorseDirection::Higher => (value * (1.0 + self.relative)).max(value + self.absolute),
            WorseDirection::Lower => (value * (1.0 - self.relative)).min(value - self.absolute),
        }
    }
}

impl FromStr for Allowance {
    type Err = String;

    fn from_str(text: &str) -> Result<Allowance, String> {
        let help = || format!("`{text}` is no tolerance; write `5%`, `0.5` or `5%,0.5`");
        let mut allowance = Allowance::default();
        for part in text.split(',') {
            let part = part.trim();
            let (number, percent) = match part.strip_suffix('%') {
                Some(number) => (number.trim_end(), true),
                None => (part, false),
            };
            let number: f64 = number.parse().map_err(|_| help())?;
            if !(0.0..f64::INFINITY).contains(&number) {
                return Err(help());
            }
            if percent && number >= 100.0 {
                return Err("a relative tolerance is below 100%".to_owned());
            }
            if percent {
                allowance.relative = number / 100.0;
            } else {
                allowance.absolute = number;
            }
        }
        Ok(allowance)
    }
}

fn parse_confidence(text: &str) -> Result<f64, String> {
    let inside = |&value: &f64| value > 0.0 && value < 1.0;
    let value = text.parse().ok().filter(inside);
    value.ok_or_else(|| "the confidence lies between 0 and 1, such as 0.95".to_owned())
}

fn parse_error_probability(text: &str) -> Result<f64, String> {
    let inside = |&value: &f64| value > 0.0 && value <= 0.5;
    let value = text.parse().ok().filter(inside);
    value.ok_or_else(|| "the probability lies above 0 and at most at 0.5, such as 0.05".to_owned())
}

/// Everything the answer says, before it is printed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Comparison {
    pub baseline: ArmSize,
    pub canary: ArmSize,
    /// Canary against the baseline as it is, without tolerance.
    pub plain: Option<MannWhitney>,
    /// Canary against the worst the tolerance accepts.
    pub at_boundary: Option<MannWhitney>,
    pub shift: Option<Estimate>,
    pub ratio: Option<Estimate>,
    pub verdict: Outcome,
    pub reason: Reason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ArmSize {
    pub values: u64,
    pub missing: u64,
}

impl ArmSize {
    pub fn too_many_missing(self) -> bool {
        let all = self.missing as f64 + self.values as f64;
        self.missing as f64 > MISSING_SHARE_MAX * all
    }
}

/// An estimate with its confidence interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Estimate {
    pub estimate: f64,
    pub interval: [f64; 2],
}

/// Runs the command and writes the answer to `out`.
///
/// # Errors
/// When a file cannot be read, holds a line that is no number, or `out` cannot be written.
pub fn run(args: &CompareArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let arms = match (&args.csv, &args.baseline, &args.canary) {
        (Some(csv), ..) => read::csv_file(csv)?,
        (None, Some(baseline), Some(canary)) => {
            let (baseline, canary) =
                at_once(|| read::number_file(baseline), || read::number_file(canary));
            Arms {
                baseline: baseline?,
                canary: canary?,
            }
        }
        _ => anyhow::bail!("nothing to compare; name two files, or one with --csv"),
    };
    let comparison = compare(args, &arms);
    match args.output {
        OutputForm::Json => report::write_json(&comparison, args, out)?,
        OutputForm::Text => report::write_text(&comparison, args, out)?,
    }
    Ok(match args.exit_code {
        true => Exit::of(comparison.verdict),
        false => Exit::Pass,
    })
}

fn compare(args: &CompareArgs, arms: &Arms) -> Comparison {
    let (baseline, canary) = (&arms.baseline.values, &arms.canary.values);
    let boundary = |value: f64| args.tolerance.boundary(value, args.worse);
    let estimate = |differences: Differences| Estimate {
        estimate: differences.median(),
        interval: differences.interval(args.confidence, Bound::Auto),
    };
    let ((plain, at_boundary, shift), ratio) = at_once(
        || {
            (
                mann_whitney(canary, baseline, |value| value, Choice::Auto),
                mann_whitney(canary, baseline, boundary, Choice::Auto),
                Differences::new(canary, baseline).map(estimate),
            )
        },
        || Differences::of_logs(canary, baseline).map(estimate),
    );
    let (verdict, reason) = judge(args, arms, at_boundary.as_ref());
    Comparison {
        baseline: size(&arms.baseline),
        canary: size(&arms.canary),
        plain,
        at_boundary,
        shift,
        ratio: ratio.map(|logs| Estimate {
            estimate: libm::exp(logs.estimate),
            interval: logs.interval.map(libm::exp),
        }),
        verdict,
        reason,
    }
}

/// Both results, computed side by side: a person waits for them.
fn at_once<T, U: Send>(first: impl FnOnce() -> T, second: impl FnOnce() -> U + Send) -> (T, U) {
    std::thread::scope(|scope| {
        let second = scope.spawn(second);
        let first = first();
        (
            first,
            second
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        )
    })
}

fn size(arm: &ArmValues) -> ArmSize {
    ArmSize {
        values: arm.values.total(),
        missing: arm.missing,
    }
}

/// Fail when the canary is shown to be beyond the boundary, pass when it is shown to be within it.
fn judge(args: &CompareArgs, arms: &Arms, at_boundary: Option<&MannWhitney>) -> (Outcome, Reason) {
    if let Some(reason) = trouble_with_data(args.tolerance, arms) {
        return (Outcome::Inconclusive, reason);
    }
    let Some(tested) = at_boundary else {
        return (Outcome::Inconclusive, Reason::NoTraffic);
    };
    let (p_beyond, p_within) = match args.worse {
        WorseDirection::Higher => (tested.p_greater, tested.p_less),
        WorseDirection::Lower => (tested.p_less, tested.p_greater),
    };
    if p_beyond <= args.alpha {
        (Outcome::Fail, Reason::Degraded)
    } else if p_within <= args.beta {
        (Outcome::Pass, Reason::WithinTolerance)
    } else {
        (Outcome::Inconclusive, Reason::NeedsSamples)
    }
}

/// What makes the values unfit to be judged, if anything does.
fn trouble_with_data(tolerance: Allowance, arms: &Arms) -> Option<Reason> {
    if size(&arms.baseline).too_many_missing() || size(&arms.canary).too_many_missing() {
        return Some(Reason::BadData);
    }
    match (
        arms.baseline.values.values().first(),
        arms.canary.values.values().first(),
    ) {
        (None, None) => Some(Reason::NoTraffic),
        (None, Some(_)) => Some(Reason::BaselineMissing),
        (Some(_), None) => Some(Reason::CanaryMissing),
        // 5 % worse than a negative value is not defined; an absolute tolerance is.
        (Some(&baseline), Some(&canary)) => {
            let negative = baseline < 0.0 || canary < 0.0;
            (negative && tolerance.relative > 0.0).then_some(Reason::BadData)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerances_as_typed() {
        let parse = |text: &str| text.parse::<Allowance>();
        assert_eq!(
            parse("5%"),
            Ok(Allowance {
                relative: 0.05,
                absolute: 0.0
            })
        );
        assert_eq!(
            parse("0.5"),
            Ok(Allowance {
                relative: 0.0,
                absolute: 0.5
            })
        );
        assert_eq!(
            parse("10 % , 2"),
            Ok(Allowance {
                relative: 0.1,
                absolute: 2.0
            })
        );
        for wrong in ["", "5%%", "-1%", "NaN", "inf", "100%", "five"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_larger_part_of_the_tolerance_counts() {
        let both = Allowance {
            relative: 0.1,
            absolute: 2.0,
        };
        let boundary = |value| both.boundary(value, WorseDirection::Higher);
        assert_eq!(
            [boundary(0.0), boundary(10.0), boundary(100.0)],
            [2.0, 12.0, 100.0 * 1.1]
        );
        let boundary = |value| both.boundary(value, WorseDirection::Lower);
        assert_eq!(
            [boundary(0.0), boundary(10.0), boundary(100.0)],
            [-2.0, 8.0, 90.0]
        );
    }

    #[test]
    fn probabilities_outside_their_range_are_refused() {
        assert_eq!(parse_confidence("0.95"), Ok(0.95));
        assert_eq!(parse_error_probability("0.5"), Ok(0.5));
        for wrong in ["0", "1", "-0.1", "NaN", "95%"] {
            assert!(parse_confidence(wrong).is_err(), "{wrong}");
            assert!(parse_error_probability(wrong).is_err(), "{wrong}");
        }
    }
}
