//! How an enumerated law came about, in a fraction of its room.
//!
//! Owns what it takes to have a law again: a test keeps one law a tick, a law of many events has a
//! thousand probabilities, and most are never looked at again. It must not choose between laws:
//! that is `count_law`'s. Next: `law`, which enumerates.

use serde::{Deserialize, Serialize};

use crate::stats::law::Lattice;

/// What a law is made of; the same recipe gives the same bits every time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    family: Family,
    negated: bool,
}

/// Families of laws, named as [`Lattice`] names them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) enum Family {
    Binomial {
        trials: u64,
        p: f64,
    },
    Poisson {
        mean: f64,
    },
    Hypergeometric {
        canary: u64,
        baseline: u64,
        events: u64,
        odds: f64,
    },
    Permutation {
        canary: u64,
        baseline: u64,
        beyond: u64,
        tied: u64,
        tied_sixteenths: u8,
    },
}

// === impl Recipe ===

impl Recipe {
    /// A law of this family.
    pub(super) fn of(family: Family) -> Recipe {
        Recipe {
            family,
            negated: false,
        }
    }

    /// Of the law of the negated number.
    pub(super) fn negated(self) -> Recipe {
        Recipe {
            negated: !self.negated,
            ..self
        }
    }

    /// Its family, and whether its number is negated.
    pub(super) fn parts(&self) -> (Family, bool) {
        (self.family, self.negated)
    }

    /// The law.
    pub fn lattice(&self) -> Lattice {
        let lattice = match self.family {
            Family::Binomial { trials, p } => Lattice::binomial(trials, p),
            Family::Poisson { mean } => Lattice::poisson(mean),
            Family::Hypergeometric {
                canary,
                baseline,
                events,
                odds,
            } => Lattice::fisher_noncentral_hypergeometric(canary, baseline, events, odds),
            Family::Permutation {
                canary,
                baseline,
                beyond,
                tied,
                tied_sixteenths,
            } => Lattice::permutation_scores(canary, baseline, beyond, tied, tied_sixteenths),
        };
        if self.negated {
            lattice.negated()
        } else {
            lattice
        }
    }
}
