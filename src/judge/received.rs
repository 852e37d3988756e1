//! What a metric received: the counts that a verdict rests on.
//!
//! Owns the tallies by arm over closed ticks. What is too little of it is for the judge to say.

use serde::{Deserialize, Serialize};

use crate::window::Cell;

/// What one metric received in closed ticks.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Received {
    /// Samples by arm.
    pub samples: [u64; 2],
    /// Values marked as missing by arm.
    pub missing: [u64; 2],
    /// Samples of units that a crowded tick did not keep, by arm.
    pub sampled_out: [u64; 2],
    /// Closed ticks since the arm's last sample.
    pub silent_ticks: [usize; 2],
}

// === impl Received ===

impl Received {
    /// Takes a closed tick's cells.
    pub fn add(&mut self, cells: &[Cell; 2]) {
        for (arm, cell) in cells.iter().enumerate() {
            self.samples[arm] = self.samples[arm].saturating_add(cell.samples);
            self.missing[arm] = self.missing[arm].saturating_add(cell.missing);
            self.sampled_out[arm] = self.sampled_out[arm].saturating_add(cell.sampled_out);
            let silent = cell.samples == 0 && cell.sampled_out == 0;
            self.silent_ticks[arm] = if silent {
                self.silent_ticks[arm] + 1
            } else {
                0
            };
        }
    }

    /// Share of an arm's values that were marked as missing.
    pub fn missing_share(&self, arm: usize) -> f64 {
        let all = self.samples[arm] + self.sampled_out[arm] + self.missing[arm];
        if all == 0 {
            0.0
        } else {
            self.missing[arm] as f64 / all as f64
        }
    }
}
