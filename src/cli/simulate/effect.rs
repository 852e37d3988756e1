//! What a simulated degradation does to a canary's numbers.
//!
//! Owns the size of an effect and where the boundary between tolerable and degraded lies for each
//! metric of a plan. It must not know how numbers are drawn. Next: `draw` and `recorded`.

use crate::plan::kayenta::{Direction, Measure};
use crate::plan::traffic::{MetricTraffic, Shape, Traffic};
use crate::plan::{LimitSide, MetricKind, Plan, Question, Tolerance, Worse};
use crate::stats::special;

/// Shares are kept this far from 0 and 1.
const SHARE_MARGIN: f64 = 1e-9;
/// Smallest factor an improvement may come to.
const FACTOR_MIN: f64 = 0.01;

/// The size of a degradation; negative sizes are improvements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Effect {
    /// In tolerances: 1 puts every metric exactly on its boundary.
    Tolerances(f64),
    /// As a fraction of the baseline: 0.1 is 10 % worse.
    Change(f64),
}

/// What happens to one metric of the canary.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shift {
    size: f64,
    room: Room,
}

/// How far one metric may move before it counts as degraded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Room {
    lower: bool,
    tolerance: Tolerance,
    /// A relative part is on the odds.
    odds: bool,
}

// === impl Effect ===

impl Effect {
    /// From `2x` (tolerances) or `10%` (a change of the baseline).
    ///
    /// # Errors
    /// Neither; the message says what can be written.
    pub fn parse(text: &str) -> Result<Effect, String> {
        let number = |text: &str| text.trim().parse::<f64>().ok().filter(|x| x.is_finite());
        let text = text.trim();
        if let Some(times) = text.strip_suffix('x').and_then(number) {
            Ok(Effect::Tolerances(times))
        } else if let Some(percent) = text.strip_suffix('%').and_then(number) {
            Ok(Effect::Change(percent / 100.0))
        } else {
            Err(format!(
                "`{text}` is no effect: write 2x (twice the tolerance) or 10% (worse than the baseline)"
            ))
        }
    }

    /// As it was written.
    pub fn text(self) -> String {
        match self {
            Effect::Tolerances(0.0) | Effect::Change(0.0) => "none".to_owned(),
            Effect::Tolerances(size) => format!("{size}x"),
            Effect::Change(size) => format!("{}%", (size * 1e5).round() / 1e3),
        }
    }

    /// Position on the axis of a ladder: tolerances, or per cent.
    pub fn position(self) -> f64 {
        match self {
            Effect::Tolerances(size) => size,
            Effect::Change(size) => 100.0 * size,
        }
    }

    /// What this effect does to each metric; `None` leaves it alone. `only` names the metrics that
    /// are touched; empty means all.
    pub fn shifts(self, plan: &Plan, traffic: &Traffic, only: &[usize]) -> Vec<Option<Shift>> {
        (0..plan.metrics.len())
            .map(|metric| {
                let touched = only.is_empty() || only.contains(&metric);
                let room = touched.then(|| room(plan, metric, &traffic.metrics[metric]))??;
                Some(match self {
                    Effect::Tolerances(size) => Shift { size, room },
                    Effect::Change(size) => Shift {
                        size,
                        room: Room {
                            tolerance: relative(1.0),
                            odds: false,
                            ..room
                        },
                    },
                })
            })
            .collect()
    }
}

// === impl Shift ===

impl Shift {
    /// The canary's number where the baseline has this one.
    pub fn value(&self, value: f64) -> f64 {
        let step = self.size * self.room.step(value);
        let moved = if self.room.lower {
            value - step
        } else {
            value + step
        };
        if value > 0.0 {
            moved.max(FACTOR_MIN * value)
        } else {
            moved
        }
    }

    /// The canary's bad share where the baseline has this one.
    pub fn share(&self, share: f64) -> f64 {
        let boundary = self.room.share(share);
        let moved = share + self.size * (boundary - share);
        moved.clamp(SHARE_MARGIN, 1.0 - SHARE_MARGIN)
    }
}

// === impl Room ===

impl Room {
    fn step(&self, value: f64) -> f64 {
        let Tolerance { relative, absolute } = self.tolerance;
        (relative.unwrap_or(0.0) * value).max(absolute.unwrap_or(0.0))
    }

    /// The share on the boundary: the further of the two parts.
    fn share(&self, share: f64) -> f64 {
        let Tolerance { relative, absolute } = self.tolerance;
        let sign = if self.lower { -1.0 } else { 1.0 };
        let by_ratio = match relative {
            None => share,
            Some(relative) if self.odds => {
                let odds = share / (1.0 - share) * (1.0 + sign * relative);
                odds / (1.0 + odds)
            }
            Some(relative) => share * (1.0 + sign * relative),
        };
        let by_difference = share + sign * absolute.unwrap_or(0.0);
        if self.lower {
            by_ratio.min(by_difference)
        } else {
            by_ratio.max(by_difference)
        }
    }
}

/// The tightest room that the gating checks leave a metric; `None` where none looks at it or the
/// baseline itself is past a limit.
fn room(plan: &Plan, metric: usize, traffic: &MetricTraffic) -> Option<Room> {
    let typical = match traffic.shape {
        Shape::LogNormal { median, .. } => median,
        Shape::Errors { share } => share,
        Shape::Events => traffic.per_second,
        Shape::Level { level, .. } => level,
    };
    let is_ratio = plan.metrics[metric].kind == MetricKind::Ratio;
    let distance = |room: &Room| {
        if is_ratio {
            (room.share(typical) - typical).abs()
        } else {
            room.step(typical)
        }
    };
    let checks = plan.checks.iter();
    let rooms = checks
        .filter(|check| check.gating && check.metric == metric)
        .filter_map(|check| match check.question {
            Question::Compare {
                worse, tolerance, ..
            } => Some(Room {
                lower: worse == Worse::Lower,
                tolerance,
                odds: is_ratio,
            }),
            // The effect that is allowed, where there is one: how much more passes hangs on the spread.
            Question::Classify { settings, .. } => {
                let lower = settings.direction == Direction::Decrease;
                let allowed = match settings.measure {
                    Measure::MeanRatio if lower => 1.0 - settings.allowed.decrease,
                    Measure::MeanRatio => settings.allowed.increase - 1.0,
                    Measure::Cles => 0.0,
                };
                Some(Room {
                    lower,
                    tolerance: relative(allowed.max(0.0)),
                    odds: false,
                })
            }
            Question::Threshold { at, limit, .. } => {
                let level = match (traffic.shape, at) {
                    (Shape::LogNormal { median, sigma, .. }, Some(at)) => {
                        median * libm::exp(sigma * special::normal_quantile(at.level()))
                    }
                    _ => typical,
                };
                let lower = limit.side == LimitSide::Above;
                let room = if lower {
                    level - limit.value
                } else {
                    limit.value - level
                };
                (room > 0.0 && level > 0.0).then(|| Room {
                    lower,
                    tolerance: relative(room / level),
                    odds: false,
                })
            }
        });
    rooms.min_by(|one, other| distance(one).total_cmp(&distance(other)))
}

fn relative(part: f64) -> Tolerance {
    Tolerance {
        relative: Some(part),
        absolute: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_are_read_and_written() {
        assert_eq!(Effect::parse("1.5x"), Ok(Effect::Tolerances(1.5)));
        assert_eq!(Effect::parse("-10%"), Ok(Effect::Change(-0.1)));
        assert_eq!(Effect::Change(0.1).text(), "10%");
        assert_eq!(Effect::Tolerances(0.0).text(), "none");
        for text in ["", "2", "x", "NaN%", "infx"] {
            assert!(Effect::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn one_tolerance_is_the_boundary_in_either_direction() {
        let shift = |size, lower, relative, absolute, odds| Shift {
            size,
            room: Room {
                lower,
                tolerance: Tolerance { relative, absolute },
                odds,
            },
        };
        assert_eq!(shift(1.0, false, Some(0.5), None, false).value(10.0), 15.0);
        assert_eq!(shift(1.0, true, Some(0.5), None, false).value(10.0), 5.0);
        // The larger part counts.
        assert_eq!(
            shift(2.0, false, Some(0.1), Some(3.0), false).value(10.0),
            16.0
        );
        // Odds 1/3 times 1.5 is 1/2.
        let share = shift(1.0, false, Some(0.5), None, true).share(0.25);
        assert!((share - 1.0 / 3.0).abs() < 1e-15);
        let share = shift(1.0, false, Some(0.5), Some(0.25), true).share(0.25);
        assert_eq!(share, 0.5);
        assert_eq!(shift(0.0, false, Some(0.5), None, true).share(0.25), 0.25);
    }
}
