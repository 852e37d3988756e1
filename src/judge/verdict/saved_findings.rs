//! Findings in a form that leaves nothing out, for formats that do not describe themselves.
//!
//! Owns that form, for serde's `with`; what people read leaves out what is absent.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Classification, Finding, Needs, PartEvidence, PerArm, Scale};
use crate::model::{Outcome, Reason};

/// The fields of a [`Finding`]; one that is missing here does not compile.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Finding")]
struct Form {
    check: String,
    metric: String,
    gating: bool,
    verdict: Outcome,
    reason: Reason,
    message: String,
    scale: Scale,
    estimate: Option<f64>,
    interval: [Option<f64>; 2],
    tolerance: Option<f64>,
    window_secs: f64,
    other_part: Option<PartEvidence>,
    samples: PerArm<u64>,
    needs: Option<Needs>,
    units: Option<PerArm<u64>>,
    factors: BTreeMap<String, f64>,
    classification: Option<Classification>,
    sampled_out: Option<PerArm<u64>>,
}

struct Saving<'f>(&'f Finding);

impl Serialize for Saving<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Form::serialize(self.0, serializer)
    }
}

#[derive(Deserialize)]
struct Saved(#[serde(with = "Form")] Finding);

/// Writes findings.
///
/// # Errors
/// The serialiser's.
pub fn serialize<S: Serializer>(findings: &[Finding], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(findings.iter().map(Saving))
}

/// Reads what [`serialize`] wrote.
///
/// # Errors
/// The deserialiser's.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Finding>, D::Error> {
    let saved = Vec::<Saved>::deserialize(from)?;
    Ok(saved.into_iter().map(|Saved(finding)| finding).collect())
}
