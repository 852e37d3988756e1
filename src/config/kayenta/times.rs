//! What stood in Kayenta's requests and not in its configurations: how long, how often.
//!
//! Owns how that becomes a horizon and a tick that a plan takes: a whole number of ticks, and no more
//! looks than there may be. What is moved is moved to the longer side, so that a canary is never judged
//! for a shorter time than was asked for.

use crate::codec::kayenta::configuration::CanaryConfig;
use crate::config::plan_file::TICK_MILLIS_MIN;
use crate::config::quantity::DURATION_MILLIS_MAX;
use crate::judge::kayenta::JUDGE_NAME;
use crate::judge::kayenta::score::RunThresholds;
use crate::model::Millis;
use crate::plan::LOOKS_MAX;

/// Where nothing was requested.
const HORIZON_DEFAULT: Millis = 3_600_000;
const TICK_DEFAULT: Millis = 60_000;

/// What a request says of its canary, and what its plan is to be called. Durations are positive, or not
/// there.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Requested {
    /// Name of the plan; the configuration's own, as far as it can be, without it.
    pub plan: Option<String>,
    /// How long it is judged: an hour without it.
    pub horizon: Option<Millis>,
    /// Between two points of a series: a minute without it.
    pub tick: Option<Millis>,
    /// How often Kayenta would have judged.
    pub interval: Option<Millis>,
    /// How far back it would have looked each time; from the beginning on without it.
    pub lookback: Option<Millis>,
    /// Who judges by the plan.
    pub judge: Judged,
    /// Where its score passes; Kayenta's usual thresholds without them.
    pub thresholds: Option<RunThresholds>,
}

/// Who judges by a plan that was made of a configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Judged {
    /// davy.
    #[default]
    ByDavy,
    /// Kayenta's judge, as before.
    ByKayenta,
    /// Kayenta's judge where the configuration names it; davy where it names another one, or none.
    AsWritten,
}

/// Durations that a plan takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    pub horizon: Millis,
    pub tick: Millis,
}

// === impl Requested ===

impl Requested {
    /// Whether it says anything of times.
    pub(super) fn has_times(&self) -> bool {
        self.horizon.is_some() || self.tick.is_some()
    }

    /// Whether Kayenta's judge goes on judging.
    pub(super) fn keeps_judge(&self, config: &CanaryConfig) -> bool {
        let written = config
            .judge
            .as_ref()
            .and_then(|judge| judge.name.as_deref());
        match self.judge {
            Judged::ByDavy => false,
            Judged::ByKayenta => true,
            Judged::AsWritten => written == Some(JUDGE_NAME),
        }
    }

    /// The nearest durations that a plan takes.
    pub(super) fn times(&self) -> Times {
        let most = DURATION_MILLIS_MAX;
        let horizon = self.horizon.unwrap_or(HORIZON_DEFAULT);
        let horizon = horizon.clamp(TICK_MILLIS_MIN, most);
        let tick = self.tick.unwrap_or(TICK_DEFAULT);
        let tick = tick.clamp(TICK_MILLIS_MIN, horizon);
        // As many of the requested ticks in one as it takes to stay within the looks.
        let tick = tick * ceiling(horizon, LOOKS_MAX * tick);
        // A year is not passed for the sake of a last tick that is whole.
        let horizon = (ceiling(horizon, tick) * tick).min(most / tick * tick);
        Times { horizon, tick }
    }
}

fn ceiling(amount: Millis, of: Millis) -> Millis {
    (amount + of - 1) / of
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(horizon: Option<Millis>, tick: Option<Millis>) -> (Millis, Millis) {
        let requested = Requested {
            horizon,
            tick,
            ..Requested::default()
        };
        let times = requested.times();
        (times.horizon, times.tick)
    }

    #[test]
    fn requested_times_are_kept_where_a_plan_takes_them() {
        assert_eq!(of(None, None), (3_600_000, 60_000));
        assert_eq!(of(Some(1_800_000), Some(10_000)), (1_800_000, 10_000));
        assert_eq!(of(Some(90_000), None), (120_000, 60_000));
        assert_eq!(of(Some(30_000), Some(60_000)), (30_000, 30_000));
        // A day of seconds is more looks than there may be.
        assert_eq!(of(Some(86_400_000), Some(1_000)), (86_445_000, 85_000));
    }

    proptest! {
        #[test]
        fn whatever_is_requested_a_plan_takes_it(
            horizon in prop::option::of(1_i64..4_000_000_000_000),
            tick in prop::option::of(1_i64..4_000_000_000_000),
        ) {
            let (horizon, tick) = of(horizon, tick);
            prop_assert_eq!(horizon % tick, 0);
            prop_assert!(tick >= TICK_MILLIS_MIN && horizon <= LOOKS_MAX * tick);
            prop_assert!((tick..=DURATION_MILLIS_MAX).contains(&horizon));
        }
    }
}
