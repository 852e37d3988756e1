//! Labels to group scores, to one number, to a verdict.
//!
//! Owns the arithmetic, its surprises included: a weighted group without results loses its weight, a
//! group of nothing but errors counts as full, and whatever is muted was never there.

use std::collections::BTreeMap;

use super::classify::Label;

/// Share of metrics without data, in percent, from which a run fails.
pub const NODATA_PERCENT_MAX: f64 = 50.0;

/// What the score asks of one metric's result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored<'a> {
    /// Its label.
    pub label: Label,
    /// Whether it fails the run.
    pub critical: bool,
    /// Whether it is left out.
    pub muted: bool,
    /// Its groups, each of which it counts in.
    pub groups: &'a [String],
    /// Why it has its label, for the run's reason.
    pub reason: &'a str,
}

/// Weights of groups, in percent, by name.
pub type Weights = std::collections::BTreeMap<String, f64>;

/// One group's score.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupScore {
    /// The group.
    pub name: String,
    /// Percent of its metrics that passed; 0 where none could be judged.
    pub score: f64,
    /// Whether none could be judged.
    pub no_data: bool,
}

/// The run's score.
#[derive(Debug, Clone, PartialEq)]
pub struct RunScore {
    /// From 0 to 100 with sane weights, rounded to two decimals.
    pub score: f64,
    /// Why it is 0, where a rule made it so.
    pub reason: Option<String>,
    /// Which rule that was.
    pub zeroed: Option<Zeroed>,
    /// The groups, in the order in which results name them.
    pub groups: Vec<GroupScore>,
}

/// A rule that makes a score 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zeroed {
    /// The result of this number is critical.
    Critical(usize),
    /// Too many have no data.
    NoData,
    /// The weights are no numbers.
    Weights,
}

/// What a score amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunLabel {
    /// At the pass threshold or above.
    Pass,
    /// Below it, at the marginal threshold or above.
    Marginal,
    /// Below both.
    Fail,
}

/// Where a score becomes a pass, and where it stops being a failure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunThresholds {
    /// Least score that passes.
    pub pass: f64,
    /// Least score that is marginal.
    pub marginal: f64,
}

// === impl RunLabel ===

impl RunLabel {
    /// Kayenta's word.
    pub fn as_str(self) -> &'static str {
        match self {
            RunLabel::Pass => "Pass",
            RunLabel::Marginal => "Marginal",
            RunLabel::Fail => "Fail",
        }
    }
}

// === impl RunThresholds ===

impl RunThresholds {
    /// What this score amounts to.
    pub fn label(self, score: f64) -> RunLabel {
        if score >= self.pass {
            RunLabel::Pass
        } else if score >= self.marginal {
            RunLabel::Marginal
        } else {
            RunLabel::Fail
        }
    }
}

/// The score of a run.
pub fn score(results: &[Scored<'_>], weights: &Weights) -> RunScore {
    let counted: Vec<&Scored<'_>> = results.iter().filter(|result| !result.muted).collect();
    let groups = group_scores(&counted);
    let failed = |zeroed: Zeroed, reason: &str| RunScore {
        score: 0.0,
        reason: Some(format!("Canary Failed: {reason}")),
        zeroed: Some(zeroed),
        groups: groups.clone(),
    };
    let is_failure =
        |result: &Scored<'_>| !result.muted && result.critical && result.label != Label::Pass;
    if let Some(first) = results.iter().position(is_failure) {
        return failed(Zeroed::Critical(first), results[first].reason);
    }
    let is_nodata = |result: &&&Scored<'_>| result.label == Label::Nodata;
    let nodata = counted.iter().filter(is_nodata).count() as f64;
    // Of no results at all the share is NaN, and fails nothing.
    if 100.0 * nodata / counted.len() as f64 >= NODATA_PERCENT_MAX {
        return failed(Zeroed::NoData, "50% or more metrics returned NODATA");
    }
    let score = weighted(&groups, weights);
    if !score.is_finite() {
        let reason = "the weights of the groups do not add up to a number";
        return failed(Zeroed::Weights, reason);
    }
    RunScore {
        // No zero below zero.
        score: half_up(score) + 0.0,
        reason: None,
        zeroed: None,
        groups,
    }
}

/// Scores of the groups, in the order in which they are first named.
fn group_scores(counted: &[&Scored<'_>]) -> Vec<GroupScore> {
    let mut labels: BTreeMap<&str, (usize, Vec<Label>)> = BTreeMap::new();
    for result in counted {
        for name in result.groups {
            let order = labels.len();
            // A result that names a group twice counts twice there.
            let (_, of_group) = labels.entry(name).or_insert_with(|| (order, Vec::new()));
            of_group.push(result.label);
        }
    }
    let mut groups: Vec<(usize, GroupScore)> = labels
        .into_iter()
        .map(|(name, (order, labels))| (order, group_score(name, labels.into_iter())))
        .collect();
    groups.sort_unstable_by_key(|(order, _)| *order);
    groups.into_iter().map(|(_, group)| group).collect()
}

fn group_score(name: &str, labels: impl Iterator<Item = Label>) -> GroupScore {
    let (mut passed, mut judged) = (0_u32, 0_u32);
    for label in labels {
        passed += u32::from(label == Label::Pass);
        judged += u32::from(!matches!(label, Label::Nodata | Label::Error));
    }
    let no_data = judged == 0;
    let score = if no_data {
        0.0
    } else {
        f64::from(passed) / f64::from(judged) * 100.0
    };
    GroupScore {
        name: name.to_owned(),
        score,
        no_data,
    }
}

/// Groups by weight; those without one share what the configured weights leave of 100, which may
/// be less than nothing.
fn weighted(groups: &[GroupScore], weights: &Weights) -> f64 {
    let configured: f64 = weights.values().fold(0.0, |sum, weight| sum + weight);
    let is_unweighted = |group: &&GroupScore| !weights.contains_key(&group.name);
    let unweighted = groups.iter().filter(is_unweighted).count();
    let share = if unweighted == 0 {
        0.0
    } else {
        (100.0 - configured) / unweighted as f64
    };
    groups.iter().fold(0.0, |sum, group| {
        let score = if group.no_data { 100.0 } else { group.score };
        let weight = weights.get(&group.name).copied().unwrap_or(share);
        sum + score * (weight / 100.0)
    })
}

/// Two decimals of the shortest decimal form, a half going up. The decimal form, because the nearest
/// double of 33.335 lies below it, and Kayenta rounds what it would print.
fn half_up(value: f64) -> f64 {
    let shortest = format!("{value}");
    let Some((whole, decimals)) = shortest.split_once('.') else {
        return value;
    };
    if decimals.len() <= 2 {
        return value;
    }
    let cut: f64 = format!("{whole}.{}", &decimals[..2])
        .parse()
        .unwrap_or(value);
    let up = decimals.as_bytes()[2] >= b'5';
    if !up {
        return cut;
    }
    // Hundredths are whole up to the size of any score, so this step is exact but for its last bit.
    let hundredths = (cut.abs() * 100.0).round() + 1.0;
    (hundredths / 100.0).copysign(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result<'a>(label: Label, groups: &'a [String]) -> Scored<'a> {
        Scored {
            label,
            critical: false,
            muted: false,
            groups,
            reason: "",
        }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn weights(pairs: &[(&str, f64)]) -> Weights {
        let owned = pairs
            .iter()
            .map(|&(name, weight)| (name.to_owned(), weight));
        owned.collect()
    }

    #[test]
    fn groups_without_a_weight_share_the_rest() {
        let (a, b, c) = (names(&["a"]), names(&["b"]), names(&["c"]));
        let results = [
            result(Label::Pass, &a),
            result(Label::High, &b),
            result(Label::Pass, &c),
        ];
        assert_eq!(score(&results, &weights(&[("b", 40.0)])).score, 60.0);
        assert_eq!(score(&results, &weights(&[])).score, 66.67);
        // A weight for a group that is not there is lost.
        assert_eq!(
            score(&results, &weights(&[("b", 40.0), ("z", 20.0)])).score,
            40.0
        );
        // More than 100 leaves less than nothing.
        assert_eq!(score(&results, &weights(&[("b", 140.0)])).score, -40.0);
    }

    #[test]
    fn what_could_not_be_judged_counts_as_full_in_its_group() {
        let (a, b) = (names(&["a"]), names(&["b"]));
        let results = [
            result(Label::Error, &a),
            result(Label::High, &b),
            result(Label::Pass, &b),
        ];
        let found = score(&results, &weights(&[]));
        assert_eq!(found.score, 75.0);
        assert!(found.groups[0].no_data && found.groups[0].score == 0.0);
        let failing = [result(Label::NodataFailMetric, &a), result(Label::Pass, &b)];
        assert_eq!(score(&failing, &weights(&[])).score, 50.0);
    }

    #[test]
    fn half_without_data_fails_and_muted_results_do_not_count() {
        let a = names(&["a"]);
        let mut results = vec![result(Label::Nodata, &a), result(Label::Pass, &a)];
        let found = score(&results, &weights(&[]));
        assert_eq!(found.score, 0.0);
        let reason = "Canary Failed: 50% or more metrics returned NODATA";
        assert_eq!(found.reason.as_deref(), Some(reason));
        results[0].muted = true;
        assert_eq!(score(&results, &weights(&[])).score, 100.0);
        results[1].muted = true;
        let nothing = score(&results, &weights(&[]));
        assert_eq!((nothing.score, nothing.groups.len()), (0.0, 0));
    }

    #[test]
    fn a_critical_failure_fails_the_run_with_its_reason() {
        let a = names(&["a"]);
        let critical = |label, reason| Scored {
            critical: true,
            reason,
            ..result(label, &a)
        };
        let results = [
            critical(Label::Pass, "none"),
            critical(Label::High, "too high"),
            critical(Label::Low, "too low"),
        ];
        let found = score(&results, &weights(&[]));
        assert_eq!(found.reason.as_deref(), Some("Canary Failed: too high"));
        assert_eq!((found.score, found.groups.len()), (0.0, 1));
    }

    #[test]
    fn a_metric_counts_in_each_of_its_groups_or_in_none() {
        let (both, a, none) = (names(&["a", "b"]), names(&["a"]), names(&[]));
        let results = [
            result(Label::High, &both),
            result(Label::Pass, &a),
            result(Label::High, &none),
        ];
        assert_eq!(score(&results, &weights(&[])).score, 25.0);
    }

    #[test]
    fn rounding_is_of_the_decimal_form() {
        let found = [33.333_333, 66.666_667, 2.675, 1.005, -2.675, 99.995, 12.5].map(half_up);
        assert_eq!(found, [33.33, 66.67, 2.68, 1.01, -2.68, 100.0, 12.5]);
    }

    #[test]
    fn thresholds_include_themselves() {
        let at = RunThresholds {
            pass: 95.0,
            marginal: 75.0,
        };
        let found = [95.0, 94.99, 75.0, 74.99].map(|score| at.label(score).as_str());
        assert_eq!(found, ["Pass", "Marginal", "Marginal", "Fail"]);
    }
}
