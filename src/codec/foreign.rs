//! Words that other formats have for what a sample says.
//!
//! Owns what senders are told who write those: how the same is written here. It takes none of them
//! for its own. Next: `item`, whose keys are the ones that count.

use crate::model::Arm;

/// Keys that other formats have, and how the same is written here.
const WRITTEN_HERE: [(&[&str], &str); 8] = [
    (
        &["bad", "total", "good", "errors", "failed", "failures"],
        "the counts of a ratio go into `value`: \"value\":{\"bad\":3,\"total\":500}",
    ),
    (
        &["events", "exposure"],
        "the counts of a rate go into `value`: \"value\":{\"events\":4,\"exposure\":60}",
    ),
    (
        &["count"],
        "a value that was seen several times has a `weight`; counts go into `value`: \
         \"value\":{\"bad\":3,\"total\":500} of a ratio, \"value\":{\"events\":4,\"exposure\":60} of a rate",
    ),
    (
        &[
            "timestamp",
            "@timestamp",
            "time",
            "datetime",
            "date",
            "t",
            "timestamp_ms",
        ],
        "the time of a sample is `ts`, in unix milliseconds or as RFC 3339 text",
    ),
    (
        &["metric_name", "name", "__name__", "measurement"],
        "the name of the metric is `metric`",
    ),
    (
        &["tags", "attributes", "dimensions"],
        "labels go into `labels`: \"labels\":{\"version\":\"v2\"}",
    ),
    (
        &["role", "variant", "group", "side"],
        "the arm is `arm`, baseline or canary, and goes with `analysis`",
    ),
    (
        &["analysis_id"],
        "the id of the analysis is `analysis`, and goes with `arm`",
    ),
];
/// Words that others have for the two arms.
const ARM_WORDS: [(&str, Arm); 9] = [
    ("control", Arm::Baseline),
    ("stable", Arm::Baseline),
    ("primary", Arm::Baseline),
    ("old", Arm::Baseline),
    ("experiment", Arm::Canary),
    ("treatment", Arm::Canary),
    ("candidate", Arm::Canary),
    ("variant", Arm::Canary),
    ("new", Arm::Canary),
];

/// How what another format calls `key` is written here.
pub(super) fn key(key: &str) -> Option<&'static str> {
    let is_meant = |others: &[&str]| others.iter().any(|other| other.eq_ignore_ascii_case(key));
    let found = WRITTEN_HERE.iter().find(|(others, _)| is_meant(others));
    found.map(|(_, advice)| *advice)
}

/// The arm that is meant by a word for it, or by its own name in other letters.
pub(super) fn arm(word: &str) -> Option<Arm> {
    let own = Arm::BOTH.map(|arm| (arm.as_str(), arm));
    let mut words = own.iter().chain(&ARM_WORDS);
    let found = words.find(|(other, _)| other.eq_ignore_ascii_case(word.trim()));
    found.map(|(_, arm)| *arm)
}
