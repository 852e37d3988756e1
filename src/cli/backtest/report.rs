//! What a backtest prints: the cases and the table of truth against verdict.

use std::collections::BTreeMap;
use std::io::Write;

use comfy_table::{Table, presets};
use serde::Serialize;

use super::{Judged, Truth};
use crate::model::Outcome;

#[derive(Debug, Default, Clone, Serialize)]
struct Counts {
    cases: u64,
    pass: u64,
    fail: u64,
    inconclusive: u64,
    unacceptable: u64,
}

#[derive(Debug, Serialize)]
struct Summary {
    cases: usize,
    scored: usize,
    false_fails: u64,
    false_passes: u64,
    by_truth: BTreeMap<String, Counts>,
    /// What they were judged then, for analyses of a store.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    by_truth_then: BTreeMap<String, Counts>,
    by_subtype: BTreeMap<String, Counts>,
    by_tier: BTreeMap<String, Counts>,
}

#[derive(Serialize)]
struct Report<'a> {
    cases: &'a [Judged],
    summary: Summary,
}

/// One JSON object.
pub(super) fn json(judged: &[Judged], out: &mut dyn Write) -> anyhow::Result<()> {
    serde_json::to_writer(
        &mut *out,
        &Report {
            cases: judged,
            summary: summary(judged),
        },
    )?;
    writeln!(out)?;
    Ok(())
}

/// A table for people, then every case whose verdict was not acceptable; with `explain` every
/// case, and what each of its checks found.
pub(super) fn text(judged: &[Judged], explain: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let summary = summary(judged);
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "scored cases",
        "",
        "n",
        "pass",
        "fail",
        "inconclusive",
        "unacceptable",
    ]);
    for (title, groups) in [
        ("truth", &summary.by_truth),
        ("truth, as judged then", &summary.by_truth_then),
        ("subtype", &summary.by_subtype),
        ("tier", &summary.by_tier),
    ] {
        for (name, counts) in groups {
            table.add_row([
                title.to_owned(),
                name.clone(),
                counts.cases.to_string(),
                counts.pass.to_string(),
                counts.fail.to_string(),
                counts.inconclusive.to_string(),
                counts.unacceptable.to_string(),
            ]);
        }
    }
    writeln!(out, "{table}")?;
    for case in judged {
        if explain || (case.scored && !case.acceptable) {
            one_case(case, explain, out)?;
        }
    }
    Ok(())
}

fn one_case(case: &Judged, explain: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let label = case.tier.as_deref().or(case.subtype.as_deref());
    let label = label.map_or(String::new(), |label| format!(" {label}"));
    let unscored = if case.scored { "" } else { ", not scored" };
    let not_acceptable = if case.acceptable {
        ""
    } else {
        ", not acceptable"
    };
    let then = case.then.map_or(String::new(), |then| {
        format!("; judged {} then", then.as_str())
    });
    writeln!(
        out,
        "{} ({}{label}{unscored}): {}, {}{not_acceptable}{then}",
        case.case,
        case.truth,
        case.verdict.as_str(),
        case.reason.as_str()
    )?;
    for check in case.checks.iter().filter(|_| explain) {
        let reason = check.reason.as_str();
        writeln!(out, "    {} ({reason}): {}", check.check, check.message)?;
    }
    if !explain {
        writeln!(out, "    {}", case.message)?;
    }
    Ok(())
}

fn summary(judged: &[Judged]) -> Summary {
    let scored: Vec<&Judged> = judged.iter().filter(|case| case.scored).collect();
    let group = |key: &dyn Fn(&Judged) -> Option<String>| {
        let mut groups: BTreeMap<String, Counts> = BTreeMap::new();
        for case in &scored {
            if let Some(key) = key(case) {
                groups
                    .entry(key)
                    .or_default()
                    .add(case.verdict, case.acceptable);
            }
        }
        groups
    };
    let count = |truth: Truth, verdict: Outcome| {
        scored
            .iter()
            .filter(|case| case.truth == truth && case.verdict == verdict)
            .count() as u64
    };
    let mut then: BTreeMap<String, Counts> = BTreeMap::new();
    for case in &scored {
        if let Some(verdict) = case.then {
            let counts = then.entry(case.truth.to_string()).or_default();
            counts.add(verdict, case.truth.accepts(verdict));
        }
    }
    Summary {
        cases: judged.len(),
        scored: scored.len(),
        false_fails: count(Truth::Healthy, Outcome::Fail),
        false_passes: count(Truth::Degraded, Outcome::Pass),
        by_truth_then: then,
        by_truth: group(&|case| Some(case.truth.to_string())),
        by_subtype: group(&|case| {
            case.subtype
                .as_ref()
                .map(|subtype| format!("{} {subtype}", case.truth))
        }),
        by_tier: group(&|case| case.tier.clone()),
    }
}

// === impl Counts ===

impl Counts {
    fn add(&mut self, verdict: Outcome, acceptable: bool) {
        self.cases += 1;
        match verdict {
            Outcome::Pass => self.pass += 1,
            Outcome::Fail => self.fail += 1,
            Outcome::Inconclusive => self.inconclusive += 1,
        }
        self.unacceptable += u64::from(!acceptable);
    }
}
