//! The text of the plan: YAML, with a comment on everything that changed its meaning.
//!
//! Owns the layout and the quoting. It decides nothing.

use std::fmt::Write as _;

use super::metric::Imported;
use super::query;
use super::scored;
use super::times::Requested;
use crate::codec::kayenta::configuration::CanaryConfig;
use crate::config::plan_file::{DESCRIPTION_BYTES_MAX, NAME_CHARS_MAX};
use crate::config::quantity::duration_text;
use crate::judge::kayenta::JUDGE_NAME;

/// Widest line of a comment.
const COMMENT_CHARS_MAX: usize = 110;
/// Longest query that is repeated in a comment, in characters.
const REPEATED_CHARS_MAX: usize = 800;

/// What is true of every configuration.
const HEADER: &str = "Made by `davy import kayenta`. Read the comments: davy asks another question. Kayenta passes what \
it could not tell apart; here a pass is proven, and without enough data the verdict is inconclusive. Kayenta's \
metrics add up to a score; here each gating check that fails fails the analysis, and all must pass.";

/// The plan's text; `strangers` are keys that meant nothing.
pub(super) fn plan(
    config: &CanaryConfig,
    requested: &Requested,
    arms: Option<&Vec<String>>,
    metrics: &[Imported],
    strangers: &[String],
) -> String {
    let mut text = String::new();
    let header = match requested.keeps_judge(config) {
        true => scored::HEADER,
        false => HEADER,
    };
    comment(&mut text, 0, header);
    for line in about(config, requested).iter().chain(strangers) {
        comment(&mut text, 0, line);
    }
    text.push_str("version: davy/v1\n");
    let _ = writeln!(text, "plan: {}", quoted(&name(config, requested)));
    if let Some(description) = config
        .description
        .as_deref()
        .filter(|text| !text.trim().is_empty())
    {
        let _ = writeln!(text, "description: {}", described(description));
    }
    judging(&mut text, config, requested);
    if let Some(matchers) = arms {
        comment(
            &mut text,
            0,
            "Values of {{..}} come with the start of an analysis, and are taken literally, also within a regex. Kayenta had a value of each for either side; here only baseline and canary differ.",
        );
        text.push_str("arms:\n");
        for arm in ["baseline", "canary"] {
            let _ = writeln!(text, "  {arm}: {}", quoted(&query::arm(matchers, arm)));
        }
    }
    text.push_str("metrics:\n");
    for metric in metrics {
        if metric.original != metric.name {
            comment(&mut text, 2, &format!("called {:?} there", metric.original));
        }
        let _ = writeln!(text, "  {}:", quoted(&metric.name));
        text.push_str("    kind: gauge\n");
        for line in &metric.about_query {
            comment(&mut text, 4, line);
        }
        if let Some(query) = &metric.query {
            let _ = writeln!(text, "    prometheus: {}", quoted(query));
        }
    }
    text.push_str("checks:\n");
    for metric in metrics {
        let _ = writeln!(text, "  - compare: {}", quoted(&metric.name));
        match requested.keeps_judge(config) {
            true => scored::check(&mut text, metric),
            false => check(&mut text, metric),
        }
    }
    text
}

/// How long and how often is judged, and by which judge.
fn judging(text: &mut String, config: &CanaryConfig, requested: &Requested) {
    let about = match requested.has_times() {
        true => "The times of the request, as far as a plan takes them.",
        false => {
            "The times stood in the request, not in the configuration: lifetimeDurationMins is the horizon, step the tick."
        }
    };
    comment(text, 0, about);
    let has_windows = requested.interval.is_some() || requested.lookback.is_some();
    if has_windows && !requested.keeps_judge(config) {
        comment(
            text,
            0,
            "analysisIntervalMins, lookbackMins: davy looks at every tick, through windows of every length.",
        );
    }
    let times = requested.times();
    let _ = writeln!(text, "horizon: {}", duration_text(times.horizon));
    let _ = writeln!(text, "tick: {}", duration_text(times.tick));
    if requested.keeps_judge(config) {
        text.push_str(&scored::judge(config, requested, &times));
    }
}

fn about(config: &CanaryConfig, requested: &Requested) -> Vec<String> {
    let mut lines = Vec::new();
    let applications = config.applications.as_deref().unwrap_or_default();
    if !applications.is_empty() {
        lines.push(format!("Applications: {}.", applications.join(", ")));
    }
    let judge = config
        .judge
        .as_ref()
        .and_then(|judge| judge.name.as_deref());
    if let Some(other) = judge.filter(|judge| *judge != JUDGE_NAME) {
        lines.push(format!(
            "It was written for the judge {other}, whose rules are not known here."
        ));
    }
    let classifier = config.classifier.as_ref();
    if let Some(at) = classifier.and_then(|classifier| classifier.score_thresholds.as_ref()) {
        let here = match requested.keeps_judge(config) {
            true if requested.thresholds.is_some() => "So they do here: pass and marginal below.",
            true => "Here they do, where they are two numbers: pass and marginal below.",
            false => "Here there is no score to reach; see the first lines.",
        };
        lines.push(format!(
            "scoreThresholds {at}: nothing there used them, those of the request counted. {here}"
        ));
    }
    lines
}

fn check(text: &mut String, metric: &Imported) {
    for line in &metric.about_check {
        comment(text, 4, line);
    }
    let _ = writeln!(text, "    worse: {}", metric.worse);
    if let Some(percent) = metric.tolerance {
        let _ = writeln!(text, "    tolerance: {percent}%");
    }
    if metric.gating {
        let _ = writeln!(text, "    weight: {}", metric.weight);
    } else {
        text.push_str("    gating: false\n");
    }
}

fn name(config: &CanaryConfig, requested: &Requested) -> String {
    let given = requested.plan.clone();
    given.unwrap_or_else(|| plan_name(config))
}

/// A name that a plan takes, made of the configuration's.
pub fn plan_name(config: &CanaryConfig) -> String {
    let name = config
        .name
        .as_deref()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let is_part =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
    let safe: String = name
        .chars()
        .map(|c| if is_part(c) { c } else { '-' })
        .collect();
    let safe = safe.trim_matches(['-', '.', '_']);
    let safe = if safe.is_empty() { "imported" } else { safe };
    safe[..safe.len().min(NAME_CHARS_MAX)].to_owned()
}

/// A description in double quotes, cut where it is too long.
fn described(text: &str) -> String {
    let text = one_line(text);
    let mut end = text.len().min(DESCRIPTION_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    quoted(&text[..end])
}

/// A text in single quotes, in which only they mean something.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn one_line(text: &str) -> String {
    let blank = |c: char| if c.is_control() { ' ' } else { c };
    text.chars()
        .map(blank)
        .collect::<String>()
        .trim()
        .to_owned()
}

/// Comment lines of bounded width.
fn comment(text: &mut String, indent: usize, line: &str) {
    let line: String = one_line(line).chars().take(REPEATED_CHARS_MAX).collect();
    let margin = " ".repeat(indent);
    let mut row = String::new();
    for word in line.split_whitespace() {
        if !row.is_empty() && row.chars().count() + word.chars().count() >= COMMENT_CHARS_MAX {
            let _ = writeln!(text, "{margin}# {row}");
            row.clear();
        }
        if !row.is_empty() {
            row.push(' ');
        }
        row.push_str(word);
    }
    let _ = writeln!(text, "{margin}# {row}");
}
