//! The laws of a run's ticks, in little room.
//!
//! Owns how they are kept: the newest as it is, because every look needs it, and those before as
//! what it takes to have them again. It must not know what is tested. Next: `side`, which asks for
//! old ones only when it simulates.

use std::borrow::Cow;

use serde::{Deserialize, Serialize, Serializer};

use crate::stats::count_law::CountLaw;
use crate::stats::law::Law;
use crate::stats::recipe::Recipe;

/// One law a tick. Saved as what is kept: the newest follows from it.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Vec<Kept>")]
pub struct Laws {
    kept: Vec<Kept>,
    newest: Law,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Kept {
    Empty,
    Gaussian { variance: f64 },
    // Boxed: most sides have Gaussian ticks only.
    Count(Box<Recipe>),
}

// === impl Laws ===

impl Laws {
    /// None yet, with room for so many.
    pub fn with_room(ticks: usize) -> Laws {
        Laws {
            kept: Vec::with_capacity(ticks),
            newest: Law::Empty,
        }
    }

    /// Appends a tick without information.
    pub fn push_empty(&mut self) {
        self.newest = Law::Empty;
        self.kept.push(Kept::Empty);
    }

    /// Appends a tick with a Gaussian score.
    pub fn push_gaussian(&mut self, variance: f64) {
        self.newest = Law::gaussian(variance);
        self.kept.push(Kept::Gaussian { variance });
    }

    /// Appends a tick whose law is that of the recipe.
    pub fn push_count(&mut self, law: Law, recipe: Recipe) {
        self.newest = law;
        self.kept.push(Kept::Count(Box::new(recipe)));
    }

    /// Ticks so far.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// The law of the last tick.
    pub fn newest(&self) -> &Law {
        &self.newest
    }

    /// The law of the tick with this number, from 0.
    pub fn at(&self, tick: usize) -> Cow<'_, Law> {
        if tick + 1 == self.kept.len() {
            return Cow::Borrowed(&self.newest);
        }
        Cow::Owned(self.kept[tick].law())
    }
}

impl Serialize for Laws {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Laws { kept, newest: _ } = self;
        kept.serialize(serializer)
    }
}

impl TryFrom<Vec<Kept>> for Laws {
    type Error = &'static str;

    fn try_from(kept: Vec<Kept>) -> Result<Laws, &'static str> {
        let newest = match kept.last() {
            None => Law::Empty,
            // From bytes anything may come, also what no machine could enumerate.
            Some(Kept::Count(recipe)) => match CountLaw::again(recipe) {
                Some(CountLaw::Exact { lattice, .. }) => Law::lattice(lattice),
                Some(CountLaw::Wide { .. }) | None => return Err("a law that is none"),
            },
            Some(other) => other.law(),
        };
        Ok(Laws { kept, newest })
    }
}

// === impl Kept ===

impl Kept {
    fn law(&self) -> Law {
        match self {
            Kept::Empty => Law::Empty,
            Kept::Gaussian { variance } => Law::gaussian(*variance),
            Kept::Count(recipe) => Law::lattice(recipe.lattice()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::count_law::CountLaw;

    #[test]
    fn a_law_that_is_made_again_has_the_same_bits() {
        let laws = [
            CountLaw::binomial(200, 0.031),
            CountLaw::binomial(40, 0.3).negated(),
            CountLaw::poisson(5.7),
            CountLaw::fisher_noncentral_hypergeometric(200, 190, 7, 1.2),
            CountLaw::permutation_scores(50, 60, 5, 0, 0),
            CountLaw::permutation_scores(50, 60, 5, 3, 7),
        ];
        let (mut kept, mut given) = (Laws::with_room(3), Vec::new());
        for law in laws {
            let CountLaw::Exact { lattice, recipe } = law else {
                panic!("a narrow law");
            };
            let law = Law::lattice(lattice);
            given.push(format!("{law:?}"));
            kept.push_count(law, recipe);
        }
        kept.push_gaussian(2.5);
        given.push(format!("{:?}", Law::gaussian(2.5)));
        kept.push_empty();
        given.push(format!("{:?}", Law::Empty));
        // Floats are written so that they can be read back to the same bits.
        let again: Vec<String> = (0..kept.len())
            .map(|tick| format!("{:?}", kept.at(tick).as_ref()))
            .collect();
        assert_eq!(again, given);
    }
}
