//! What stands for the noise that Kayenta puts on two constant sides.
//!
//! Owns a deterministic stand-in for it. Where each side holds a single value, Kayenta adds normal
//! noise of 1e-5 of that value from a source without a seed, so the same data may be judged
//! otherwise the next time. Three rules could stand for that:
//!
//! - No noise, the limit: every difference would be High or Low. But Kayenta passes differences that
//!   are small beside the noise, and answers Error for one value a side, whose shift then ties.
//! - Normal quantiles instead of draws: one value a side gets no noise at all, which is Error, while
//!   Kayenta judges 10 against 1 by what rounding leaves, and says High nine times of ten.
//! - Draws, but always the same: the procedure stays Kayenta's own, rounding included.
//!
//! The last is taken, nine times over: [`DRAWS`] fixed draws are judged, and the answer is the label
//! that most of them give, with the evidence of the first draw that gave it. So a label that
//! Kayenta gives nearly always is given always. Where Kayenta is of two minds, this is of one.

use crate::stats::sampler::{Stream, seed_from};

/// Draws that are judged. An odd number: two labels cannot be equally frequent.
pub const DRAWS: u64 = 9;
/// Standard deviation of the noise, as a share of the value.
const SHARE: f64 = 1e-5;

/// Both sides with the noise of one draw, in the order baseline, canary.
pub fn with_noise(draw: u64, baseline: &[f64], canary: &[f64]) -> [Vec<f64>; 2] {
    [("baseline", baseline), ("canary", canary)].map(|(side, values)| {
        let mut stream = Stream::new(&seed_from("kayenta jitter", side), draw);
        let scale = values.first().map_or(0.0, |value| value * SHARE);
        let noisy = |value: &f64| value + scale * stream.normal();
        values.iter().map(noisy).collect()
    })
}

/// The answer that most of the draws give: `of_draw` judges one, `same` compares two answers.
/// Stops as soon as no other can be more frequent.
pub fn most_frequent<T>(mut of_draw: impl FnMut(u64) -> T, same: impl Fn(&T, &T) -> bool) -> T {
    let mut counted: Vec<(T, u64)> = vec![(of_draw(0), 1)];
    for draw in 1..DRAWS {
        let answer = of_draw(draw);
        match counted.iter_mut().find(|(known, _)| same(known, &answer)) {
            Some((_, times)) => *times += 1,
            None => counted.push((answer, 1)),
        }
        if counted.iter().any(|(_, times)| *times > DRAWS / 2) {
            break;
        }
    }
    let most = counted.iter().map(|(_, times)| *times).max();
    let first = counted.iter().position(|(_, times)| Some(*times) == most);
    // There is one at least: that of the first draw.
    counted.swap_remove(first.unwrap_or(0)).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_the_same_every_time_and_small() {
        let (baseline, canary) = ([100.0; 50], [200.0; 30]);
        let [first, second] = with_noise(3, &baseline, &canary);
        assert_eq!(
            [first.clone(), second.clone()],
            with_noise(3, &baseline, &canary)
        );
        assert_ne!(first, with_noise(4, &baseline, &canary)[0]);
        assert!(first.iter().all(|v| (v - 100.0).abs() < 100.0 * 6e-5));
        let spread = second
            .iter()
            .map(|v| (v - 200.0) * (v - 200.0))
            .sum::<f64>()
            / 30.0;
        assert!((0.5..2.0).contains(&(spread / (2e-3 * 2e-3))), "{spread}");
        // A side of zeros stays one.
        assert_eq!(with_noise(0, &[0.0; 4], &[1.0])[0], [0.0; 4]);
    }

    #[test]
    fn a_side_has_its_noise_whatever_the_other_is() {
        assert_eq!(
            with_noise(1, &[5.0; 4], &[1.0; 2])[1],
            with_noise(1, &[7.0; 9], &[1.0; 2])[1]
        );
    }

    #[test]
    fn the_most_frequent_answer_wins_with_its_first_draw() {
        let answers = ["a", "b", "b", "a", "b", "c", "b", "b", "a"];
        let mut judged = 0;
        let found = most_frequent(
            |draw| {
                judged += 1;
                (answers[draw as usize], draw)
            },
            |x, y| x.0 == y.0,
        );
        assert_eq!((found, judged), (("b", 1), 8));
    }
}
