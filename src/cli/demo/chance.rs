//! Chance with a seed, for what the demo varies: which requests are slow, in which order the arms
//! are asked, how large an order is.
//!
//! It must not be used for anything that has to be secret or exact: the verdict's own chance is
//! `stats::sampler`.

/// A sequence of pseudo-random numbers: `SplitMix64` (Steele, Lea and Flood, "Fast splittable
/// pseudorandom number generators", 2014, figure 15).
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    /// The sequence that begins at place `number` of a seed's sequence.
    pub fn at(seed: u64, number: u64) -> Chance {
        Chance(seed.wrapping_add(GAMMA.wrapping_mul(number)))
    }

    /// Draws the next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A whole number from `from` to `to`, both included; the bias of the remainder is below 2^-32
    /// for the small ranges used here.
    pub fn between(&mut self, from: u32, to: u32) -> u32 {
        let width = u64::from(to.saturating_sub(from)) + 1;
        from + (self.draw() % width) as u32
    }

    /// A whole number from 0 to 99.
    pub fn percent(&mut self) -> u8 {
        (self.draw() % 100) as u8
    }

    /// Brings a slice into a random order (Fisher-Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = (self.draw() % (last as u64 + 1)) as usize;
            items.swap(last, other);
        }
    }
}

/// The golden ratio's odd 64-bit fraction.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_published_generator() {
        // First outputs of SplitMix64 for seed 1234567, as the reference program prints them.
        let mut chance = Chance::new(1_234_567);
        let first: Vec<u64> = (0..3).map(|_| chance.draw()).collect();
        let published = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
        ];
        assert_eq!(first, published);
        assert_eq!(Chance::at(1_234_567, 2).draw(), published[2]);
    }

    #[test]
    fn a_range_has_both_its_ends_and_a_shuffle_loses_nothing() {
        let mut chance = Chance::new(1);
        let drawn: Vec<u32> = (0..1_000).map(|_| chance.between(8, 12)).collect();
        assert_eq!(drawn.iter().min(), Some(&8));
        assert_eq!(drawn.iter().max(), Some(&12));
        let mut items: Vec<u32> = (0..10).collect();
        chance.shuffle(&mut items);
        assert_ne!(items, (0..10).collect::<Vec<u32>>());
        items.sort_unstable();
        assert_eq!(items, (0..10).collect::<Vec<u32>>());
    }
}
