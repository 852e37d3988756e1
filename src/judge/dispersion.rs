//! How much less a score says than its law: every reason put together.
//!
//! Owns the one factor that a check's variance is multiplied by, made of the reasons for it, and
//! their names in the evidence. It must not know what a score is nor how a reason was measured:
//! units are `units`' business, shape `rank`'s, and what calibration measured comes with the plan.
//! Next: `side`, which applies the factor.

use std::collections::BTreeMap;

use crate::judge::check::Setting;
use crate::judge::side::Adjust;
use crate::judge::units;
use crate::plan::{Dispersion, Lifetime, Question};

/// Name, among an evidence's factors, of what was calibrated or written in the plan.
pub const DISPERSION: &str = "dispersion";
/// Name of the factor for arms that differ in spread.
pub const SHAPE: &str = "shape";

/// The reasons for which a score varies more than its law says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weakening {
    /// Between units, where samples belong to such.
    between: Adjust,
    lifetime: Option<Lifetime>,
    between_name: &'static str,
    /// Where the arms differ in spread.
    shape: f64,
    /// As calibrated.
    dispersion: f64,
}

// === impl Weakening ===

impl Weakening {
    /// What the plan says of this check, beside what its units and its shape showed in the run.
    pub fn new(setting: &Setting<'_>, between: Adjust, shape: f64) -> Weakening {
        let cluster = setting.metric.cluster.as_ref();
        Weakening {
            between,
            lifetime: cluster.map(|cluster| cluster.lifetime),
            between_name: units::factor_name(setting.metric),
            shape,
            dispersion: calibrated(&setting.check.question),
        }
    }

    /// The factor of the variance, and how well it is known.
    ///
    /// Calibration measures ticks of arms that are alike, so a difference in spread comes on top
    /// of it: a product. Units of a tick lie within what was measured: the larger of both. Units
    /// of the run are constant over it and drop out of what was measured, while what they show
    /// says nothing of bursts that hit a whole arm: what calibration found beyond independence is
    /// added to theirs.
    pub fn adjust(&self) -> Adjust {
        let (between, own) = (self.between.factor, self.shape * self.dispersion);
        match self.lifetime {
            None => Adjust {
                factor: own,
                df: f64::INFINITY,
            },
            Some(Lifetime::Tick) => Adjust {
                factor: between.max(own),
                df: self.between.df,
            },
            Some(Lifetime::Run) => {
                let estimated = between.max(self.shape);
                let factor = estimated + own - self.shape;
                // Only the estimated part is uncertain (Satterthwaite 1946).
                let known = factor / estimated;
                Adjust {
                    factor,
                    df: self.between.df * known * known,
                }
            }
        }
    }

    /// Names what was applied.
    pub fn record(&self, factors: &mut BTreeMap<String, f64>) {
        let is_run = self.lifetime == Some(Lifetime::Run);
        let against = if is_run {
            self.shape
        } else {
            self.shape * self.dispersion
        };
        let between_counts = self.lifetime.is_some() && self.between.factor > against;
        let mut name = |name: &str, factor: f64| {
            if factor > 1.0 {
                factors.insert(name.to_owned(), factor);
            }
        };
        if between_counts {
            name(self.between_name, self.between.factor);
        } else {
            name(SHAPE, self.shape);
        }
        if is_run || !between_counts {
            name(DISPERSION, self.dispersion);
        }
    }

    /// The one that weakens most, of a check's directions.
    pub fn most(all: &[Weakening]) -> Option<&Weakening> {
        let mut most = all.first()?;
        for one in all {
            if one.adjust().factor > most.adjust().factor {
                most = one;
            }
        }
        Some(most)
    }
}

// === functions ===

/// The factor that a plan gives a check's variance; 1 where it gives none.
pub fn calibrated(question: &Question) -> f64 {
    match question {
        Question::Compare {
            dispersion: Dispersion::Factor(factor),
            ..
        } => factor.max(1.0),
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weakening(lifetime: Option<Lifetime>, between: f64) -> Weakening {
        Weakening {
            between: Adjust {
                factor: between,
                df: 4.0,
            },
            lifetime,
            between_name: "between",
            shape: 1.5,
            dispersion: 2.0,
        }
    }

    fn names(weakening: &Weakening) -> Vec<String> {
        let mut factors = BTreeMap::new();
        weakening.record(&mut factors);
        factors.into_keys().collect()
    }

    #[test]
    fn shape_comes_on_top_of_dispersion_and_units_of_a_tick_lie_within() {
        let free = weakening(None, 1.0);
        assert_eq!(free.adjust().factor, 3.0);
        assert_eq!(names(&free), ["dispersion", "shape"]);
        let few = weakening(Some(Lifetime::Tick), 2.5);
        assert_eq!(few.adjust().factor, 3.0);
        let loud = weakening(Some(Lifetime::Tick), 4.0);
        assert_eq!(loud.adjust().factor, 4.0);
        assert_eq!(names(&loud), ["between"]);
        assert_eq!(Weakening::most(&[few, loud, free]), Some(&loud));
    }

    #[test]
    fn units_of_the_run_and_dispersion_add_up() {
        let pods = weakening(Some(Lifetime::Run), 5.0);
        assert_eq!(pods.adjust().factor, 6.5);
        assert!((pods.adjust().df - 4.0 * 1.3 * 1.3).abs() < 1e-12);
        assert_eq!(names(&pods), ["between", "dispersion"]);
        let alike = Weakening {
            dispersion: 1.0,
            ..pods
        };
        assert_eq!((alike.adjust().factor, alike.adjust().df), (5.0, 4.0));
    }
}
