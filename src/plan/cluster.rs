//! Which samples of a metric belong together.
//!
//! Owns the form of a cluster. How it weakens the evidence is the judge's.

use serde::{Deserialize, Serialize};

/// Which samples belong together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Label that carries the unit where the sample itself does not.
    pub by: String,
    /// How long a unit lives.
    pub lifetime: Lifetime,
    /// Units of one arm that a tick keeps (lifetime tick). Beyond that the same share of units is
    /// kept in both arms, by a hash of their names.
    #[serde(default = "units_per_tick_default")]
    pub units_per_tick_max: u64,
}

/// Units of one arm that a tick keeps where a plan is silent.
pub const UNITS_PER_TICK_DEFAULT: u64 = 10_000;
fn units_per_tick_default() -> u64 {
    UNITS_PER_TICK_DEFAULT
}

/// Largest such number in a plan.
pub const UNITS_PER_TICK_LIMIT: u64 = 1_000_000;

/// How long a unit lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifetime {
    /// A trace or request group: gone within a tick or so.
    Tick,
    /// A pod, host or client: there for the whole run.
    Run,
}
