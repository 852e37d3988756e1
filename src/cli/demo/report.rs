//! What the demo says: a line a look, and at the end the verdict, its evidence and what was done.
//!
//! Owns wording and layout. It reads verdict bodies as any client would, tolerant of what it does
//! not know. Next: [`super::drawing`], the intervals.

use comfy_table::{CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};

use super::controller::Action;
use super::drawing::{Axis, Marks};

/// Columns of the drawn axes.
const AXIS_COLUMNS: usize = 48;

/// A verdict body, as far as the demo reads it.
#[derive(Debug, Clone, Deserialize)]
pub struct Verdict {
    /// pass, fail or inconclusive.
    pub verdict: String,
    /// Whether it can still change.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// promote, rollback or hold.
    pub decision: String,
    /// Why, for people.
    pub message: String,
    /// Seconds of event time since the start.
    pub elapsed_secs: f64,
    /// What the verdict promises.
    pub guarantee: Guarantee,
    /// One a check.
    pub checks: Vec<Check>,
}

/// What a verdict promises.
#[derive(Debug, Clone, Deserialize)]
pub struct Guarantee {
    /// P(false fail), at most.
    pub alpha: f64,
    /// P(false pass) per check, at most.
    pub beta: f64,
    /// Share of alpha spent.
    pub spent: f64,
    /// Looks taken.
    pub looks: u64,
}

/// One check's outcome.
#[derive(Debug, Clone, Deserialize)]
pub struct Check {
    /// Its name.
    pub check: String,
    /// pass, fail or inconclusive.
    pub verdict: String,
    /// Why, for people.
    pub message: String,
    /// `ratio`, `odds_ratio`, `difference`, `value` or `periods`.
    pub scale: String,
    /// Best estimate.
    pub estimate: Option<f64>,
    /// Interval; open ends are absent.
    pub interval: [Option<f64>; 2],
    /// Tolerance on the same scale.
    pub tolerance: Option<f64>,
    /// Samples so far.
    pub samples: Samples,
}

/// A number for each arm.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Samples {
    /// The baseline's.
    pub baseline: u64,
    /// The canary's.
    pub canary: u64,
}

/// How the demo ended, for programs.
#[derive(Debug, Clone, Serialize)]
pub struct Ending {
    /// Whether it ended as it should: a bad canary rolled back, a healthy one promoted.
    pub as_expected: bool,
    /// What each notification made the controller do.
    pub actions: Vec<Action>,
    /// Requests answered after the verdict.
    pub served_after: ServedAfter,
    /// The whole verdict body.
    pub verdict: serde_json::Value,
}

/// Requests by arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ServedAfter {
    /// The baseline's.
    pub baseline: u64,
    /// The canary's.
    pub canary: u64,
}

/// One line about a look.
pub fn progress_line(verdict: &Verdict) -> String {
    let checks: Vec<String> = verdict
        .checks
        .iter()
        .map(|check| match check.verdict.as_str() {
            "inconclusive" => format!("{} {}", check.check, estimate(check)),
            decided => format!("{} {} {decided}", check.check, estimate(check)),
        })
        .collect();
    let elapsed = verdict.elapsed_secs;
    format!(
        "{elapsed:3.0} s  {}: {}",
        verdict.verdict,
        checks.join(", ")
    )
}

/// The table of checks and their drawn intervals.
pub fn evidence(verdict: &Verdict) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "check",
        "verdict",
        "estimate",
        "interval",
        "tolerance",
        "baseline",
        "canary",
    ]);
    for check in &verdict.checks {
        table.add_row([
            check.check.clone(),
            check.verdict.clone(),
            estimate(check),
            interval(check),
            check
                .tolerance
                .map_or_else(String::new, |value| number(value, &check.scale)),
            check.samples.baseline.to_string(),
            check.samples.canary.to_string(),
        ]);
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{}\n\n{}", table.trim_fmt(), drawings(&verdict.checks))
}

/// Each check's interval on an axis; checks of one scale share theirs.
fn drawings(checks: &[Check]) -> String {
    let width = checks.iter().map(|check| check.check.len()).max();
    let width = width.unwrap_or(0);
    let mut text = String::new();
    for check in checks {
        let same = checks.iter().filter(|other| other.scale == check.scale);
        let all: Vec<Marks> = same.map(marks).collect();
        let axis = Axis::around(&all, is_relative(&check.scale), AXIS_COLUMNS);
        let line = axis.draw(&marks(check));
        let scale = scale_words(&check.scale);
        text += &format!("  {:width$}  {line}  {scale}\n", check.check);
    }
    let place = " ".repeat(width);
    text + &format!("  {place}  o estimate   [=] interval   T tolerance   : no difference\n")
}

fn marks(check: &Check) -> Marks {
    Marks {
        estimate: check.estimate,
        interval: check.interval,
        tolerance: check.tolerance,
        neutral: if is_relative(&check.scale) { 1.0 } else { 0.0 },
    }
}

fn is_relative(scale: &str) -> bool {
    matches!(scale, "ratio" | "odds_ratio")
}

fn scale_words(scale: &str) -> &'static str {
    match scale {
        "ratio" => "canary / baseline, log scale",
        "odds_ratio" => "ratio of the odds, log scale",
        "difference" => "canary - baseline",
        _ => "canary",
    }
}

fn estimate(check: &Check) -> String {
    check
        .estimate
        .map_or_else(|| "-".into(), |value| number(value, &check.scale))
}

fn interval(check: &Check) -> String {
    let end = |end: Option<f64>| end.map_or_else(|| "..".into(), |v| number(v, &check.scale));
    let [low, high] = check.interval;
    match (low, high) {
        (None, None) => "-".into(),
        _ => format!("{} to {}", end(low), end(high)),
    }
}

fn number(value: f64, scale: &str) -> String {
    match scale {
        "ratio" | "odds_ratio" => format!("x{value:.2}"),
        "difference" => format!("{value:+.4}"),
        _ => format!("{value:.3}"),
    }
}

/// What the controller heard and did, in words.
pub fn action_line(action: &Action) -> String {
    let signature = match action.signature_ok {
        true => "signature right",
        false => "signature wrong, ignored",
    };
    let decision = action.decision.as_deref().unwrap_or("no decision");
    let done = match action.canary_percent {
        Some((before, after)) => format!("canary traffic {before} % -> {after} %"),
        None => "nothing to do".into(),
    };
    format!("{} ({signature}): {decision}; {done}", action.event)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, scale: &str, verdict: &str) -> Check {
        Check {
            check: name.into(),
            verdict: verdict.into(),
            message: String::new(),
            scale: scale.into(),
            estimate: Some(2.5),
            interval: [Some(2.1), None],
            tolerance: Some(1.25),
            samples: Samples {
                baseline: 500,
                canary: 498,
            },
        }
    }

    fn verdict() -> Verdict {
        Verdict {
            verdict: "fail".into(),
            is_final: true,
            decision: "rollback".into(),
            message: "it is worse".into(),
            elapsed_secs: 9.0,
            guarantee: Guarantee {
                alpha: 0.01,
                beta: 0.05,
                spent: 0.0015,
                looks: 9,
            },
            checks: vec![
                check("latency", "ratio", "fail"),
                check("errors", "difference", "inconclusive"),
            ],
        }
    }

    #[test]
    fn every_check_has_a_row_and_a_drawing() {
        let text = evidence(&verdict());
        let rows = text.lines().filter(|line| line.contains("latency"));
        assert_eq!(rows.count(), 2, "{text}");
        let rows = text.lines().filter(|line| line.contains("errors"));
        assert_eq!(rows.count(), 2, "{text}");
        for part in ["x2.50", "x2.10 to ..", "x1.25", "+2.5000", "498", "o", "T"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let line = progress_line(&verdict());
        assert!(line.contains("latency x2.50 fail"), "{line}");
    }

    #[test]
    fn the_action_says_what_moved() {
        let action = Action {
            event: "verdict.final".into(),
            signature_ok: true,
            decision: Some("rollback".into()),
            canary_percent: Some((50, 0)),
        };
        let line = action_line(&action);
        assert!(
            line.contains("rollback; canary traffic 50 % -> 0 %"),
            "{line}"
        );
    }
}
