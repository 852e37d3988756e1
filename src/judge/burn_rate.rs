//! `threshold` with `burn_rate`: does the canary burn its error budget too fast?
//!
//! Owns the multi-window alert of SRE practice (Beyer and others, The Site Reliability Workbook,
//! chapter 5): with an objective of 99.9 % the budget is a bad share of 0.1 %, the burn rate is
//! the bad share over the budget, and what is burning in a long window *and* in a short one
//! fails. It is a policy, not a test: it spends no alpha and promises nothing, and its findings
//! say so. Next: `breach`, the other policy.
//!
//! An analysis is younger than its long window at first. What lies before its start counts as
//! free of errors at the same traffic: a first tick with one error in ten requests is no outage,
//! and an outage that would burn the window's budget even if nothing else went wrong fails at
//! once. It passes when the long window is full and not both windows burn, counting every tick
//! without data as one in which everything failed.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::judge::check::{Evidence, Setting};
use crate::judge::verdict::{PartEvidence, Scale};
use crate::model::{Millis, Reason};
use crate::plan::{BurnRate, NoData};
use crate::window::Cell;

/// The burn rate check of one ratio.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BurnRateCheck {
    rule: BurnRate,
    /// Ticks of the long and of the short window.
    windows: [usize; 2],
    no_data: NoData,
    /// Bad of total of the last ticks, as many as the long window has; none without data.
    recent: VecDeque<Option<(u64, u64)>>,
    failed: bool,
}

/// What a tick without data is taken for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Silence {
    /// Nothing: the others speak for it.
    Nothing,
    /// Free of errors.
    Good,
    /// Errors only.
    Bad,
}

// === impl BurnRateCheck ===

impl BurnRateCheck {
    /// The check of a plan.
    pub fn new(setting: &Setting<'_>, rule: BurnRate, no_data: NoData) -> BurnRateCheck {
        let ticks = |window: Millis| (window / setting.plan.tick).max(1) as usize;
        BurnRateCheck {
            rule,
            windows: [ticks(rule.long), ticks(rule.short)],
            no_data,
            recent: VecDeque::new(),
            failed: false,
        }
    }

    /// Takes a closed tick; only the canary's cell counts.
    pub fn close(&mut self, cells: &[Cell; 2]) {
        let canary = &cells[1];
        let seen = (canary.total > 0).then(|| (canary.bad.min(canary.total), canary.total));
        // Where its units were not kept there is no silence.
        if seen.is_none() && (self.no_data == NoData::Ignore || canary.sampled_out > 0) {
            return;
        }
        self.recent.push_back(seen);
        if self.recent.len() > self.windows[0] {
            self.recent.pop_front();
        }
        let silence = match self.no_data {
            NoData::Missing | NoData::Ignore => Silence::Nothing,
            NoData::Breaching => Silence::Bad,
            NoData::NotBreaching => Silence::Good,
        };
        self.failed |= self.is_burning(silence);
    }

    /// The state of the alarm: the window that burns less fast decides, the other is shown too.
    pub fn find(&self, setting: &Setting<'_>) -> Evidence {
        let mut evidence = Evidence::none(Scale::BurnRate);
        evidence.tolerance = Some(self.rule.factor);
        let shown = self.windows.map(|window| {
            let ticks = window.min(self.recent.len());
            (ticks, self.burn(window, Silence::Nothing))
        });
        let [long, short] = shown;
        let (decides, other) = match (long.1, short.1) {
            (Some(long_burn), Some(short_burn)) if short_burn < long_burn => (short, long),
            _ => (long, short),
        };
        evidence.window = decides.0;
        evidence.estimate = decides.1;
        evidence.other_part = Some(PartEvidence {
            scale: Scale::BurnRate,
            estimate: other.1,
            interval: [None, None],
            tolerance: Some(self.rule.factor),
            window_secs: other.0 as f64 * setting.plan.tick as f64 / 1000.0,
        });
        evidence.fail = self.failed;
        let full = self.recent.len() >= self.windows[0];
        let worst = match self.no_data {
            NoData::NotBreaching => Silence::Good,
            _ => Silence::Bad,
        };
        let seen = self.recent.iter().any(Option::is_some);
        evidence.pass = !self.failed && full && seen && !self.is_burning(worst);
        if !evidence.fail && !evidence.pass {
            if full {
                evidence.wanting = Some(Reason::Stale);
            } else {
                evidence.needs_ticks = Some((self.windows[0] - self.recent.len()) as f64);
            }
        }
        evidence
    }

    fn is_burning(&self, silence: Silence) -> bool {
        self.windows.iter().all(|&window| {
            self.burn(window, silence)
                .is_some_and(|burn| burn > self.rule.factor)
        })
    }

    /// How many times too fast the budget burns over the last `window` ticks; `None` where
    /// nothing is known.
    fn burn(&self, window: usize, silence: Silence) -> Option<f64> {
        let (mut bad, mut total, mut silent, mut ticks) = (0_u64, 0_u64, 0_usize, 0_usize);
        for tick in self.recent.iter().rev().take(window) {
            ticks += 1;
            match tick {
                Some((of_bad, of_total)) => {
                    bad = bad.saturating_add(*of_bad);
                    total = total.saturating_add(*of_total);
                }
                None => silent += 1,
            }
        }
        let spoken = (total > 0).then(|| bad as f64 / total as f64);
        let quiet = silent as f64 / ticks.max(1) as f64;
        let share = match (silence, spoken) {
            (_, None) if silence == Silence::Bad && silent > 0 => 1.0,
            (_, None) => return None,
            (Silence::Nothing, Some(share)) => share,
            (Silence::Good, Some(share)) => share * (1.0 - quiet),
            (Silence::Bad, Some(share)) => share * (1.0 - quiet) + quiet,
        };
        let covered = ticks as f64 / window as f64;
        Some(share * covered / self.rule.budget())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Long window of 12 ticks, short of 3, at 10 times a budget of 1 %. Ticks are bad shares in
    /// percent of 1,000 requests; `None` is a tick without data.
    fn outcome(no_data: NoData, ticks: &[Option<u64>]) -> (bool, bool) {
        let rule = BurnRate {
            slo: 0.99,
            long: 12,
            short: 3,
            factor: 10.0,
            period: 1_000,
        };
        let mut check = BurnRateCheck {
            rule,
            windows: [12, 3],
            no_data,
            recent: VecDeque::new(),
            failed: false,
        };
        for tick in ticks {
            let canary = match tick {
                Some(percent) => Cell {
                    bad: percent * 10,
                    total: 1_000,
                    ..Cell::default()
                },
                None => Cell::default(),
            };
            check.close(&[Cell::default(), canary]);
        }
        let full = check.recent.len() >= 12 && check.recent.iter().any(Option::is_some);
        (check.failed, full && !check.is_burning(Silence::Bad))
    }

    fn ticks(runs: &[(usize, Option<u64>)]) -> Vec<Option<u64>> {
        let each = runs.iter().map(|&(count, tick)| vec![tick; count]);
        each.collect::<Vec<_>>().concat()
    }

    #[test]
    fn both_windows_must_burn() {
        let good = Some(0);
        // 10 % in the short window asks for more than 10 %; 12 ticks at 10 % are not above it.
        assert!(!outcome(NoData::Missing, &ticks(&[(12, Some(10))])).0);
        assert!(outcome(NoData::Missing, &ticks(&[(12, Some(11))])).0);
        // A burst of the past: the long window burns still, the short one no longer.
        let burst = ticks(&[(6, good), (2, Some(59)), (4, good)]);
        assert!(!outcome(NoData::Missing, &burst).0);
        // An outage in the short window fails as soon as the long one cannot be saved.
        assert!(!outcome(NoData::Missing, &ticks(&[(9, good), (3, Some(40))])).0);
        assert!(outcome(NoData::Missing, &ticks(&[(9, good), (3, Some(41))])).0);
        assert_eq!(
            outcome(NoData::Missing, &ticks(&[(12, good)])),
            (false, true)
        );
    }

    #[test]
    fn what_lies_before_the_start_counts_as_good() {
        // Ten times the budget, but only for a tick: a twelfth of the long window.
        assert!(!outcome(NoData::Missing, &[Some(50)]).0);
        assert!(!outcome(NoData::Missing, &ticks(&[(2, Some(60))])).0);
        assert!(outcome(NoData::Missing, &ticks(&[(2, Some(61))])).0);
    }

    #[test]
    fn the_four_policies_tell_silence_apart() {
        let gap = ticks(&[(9, Some(0)), (3, None)]);
        for (policy, fails) in [
            (NoData::Missing, false),
            (NoData::Ignore, false),
            (NoData::NotBreaching, false),
            // Three of twelve ticks taken as errors only: 25 % of the long window.
            (NoData::Breaching, true),
        ] {
            assert_eq!(outcome(policy, &gap).0, fails, "{policy:?}");
        }
        // Empty ticks are left out: the older ones take their place.
        let older = ticks(&[(3, Some(50)), (20, None)]);
        assert!(outcome(NoData::Ignore, &older).0);
        assert!(!outcome(NoData::NotBreaching, &ticks(&[(2, Some(60)), (20, None)])).0);
        // Silence is no pass.
        assert!(!outcome(NoData::Missing, &ticks(&[(12, Some(0)), (3, None)])).1);
    }
}
