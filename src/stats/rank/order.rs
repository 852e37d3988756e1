//! Sorting doubles by their order-preserving integer images.
//!
//! Owns the image and the choice of sort. It must not know of weights or of ranks.

/// From this many values on, scattering by digits is faster than comparing.
const RADIX_LEN_MIN: usize = 400;
/// Leading bits looked at beyond the logarithm of the number of values. With `b` of them, of
/// evenly spread values one in `2^b` finds its neighbour with the same leading bits, so few are
/// left to compare; values spread less evenly (a far outlier takes bits of the exponent) leave more.
const SLACK_BITS: u32 = 6;
/// A wider digit has more counters than the first-level cache and the address buffers hold.
const DIGIT_BITS_MAX: u32 = 11;
/// Steps an insertion sort may take for each value before the values count as unsorted.
const STEPS_PER_VALUE_MAX: usize = 8;

/// The image of a double among the integers that keeps the order: `a < b` exactly when
/// `order_key(a) < order_key(b)`, with `-0.0` taken as `0.0`. A NaN comes before or
/// after everything else, by its sign.
pub fn order_key(value: f64) -> u64 {
    const SIGN: u64 = 1 << 63;
    // Adding zero turns -0.0 into 0.0 and leaves everything else alone.
    let bits = (value + 0.0).to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

/// The double whose [`order_key`] this is.
pub fn from_order_key(key: u64) -> f64 {
    const SIGN: u64 = 1 << 63;
    f64::from_bits(if key & SIGN == 0 { !key } else { key ^ SIGN })
}

/// Sorts images ascending, by whichever way is fastest for their number.
pub fn sort_keys(keys: &mut Vec<u64>) {
    if keys.is_sorted() {
        return;
    }
    if keys.len() < RADIX_LEN_MIN || keys.len() > u32::MAX as usize {
        return keys.sort_unstable();
    }
    sort_by_leading_bits(keys);
    if !insertion_sort(keys) {
        keys.sort_unstable();
    }
}

/// Sorts by the first bits in which the images differ, as many as tell most of them apart, from
/// the least significant digit up.
fn sort_by_leading_bits(keys: &mut Vec<u64>) {
    let first = keys[0];
    let differing = keys.iter().fold(0, |bits, &key| bits | (key ^ first));
    let width = u64::BITS - differing.leading_zeros();
    let wanted = (keys.len().ilog2() + SLACK_BITS).min(width);
    let digits = wanted.div_ceil(DIGIT_BITS_MAX);
    let digit_bits = wanted.div_ceil(digits);
    // The digits end at the first differing bit; the lowest may reach below what was wanted.
    let lowest = width.saturating_sub(digits * digit_bits);
    let buckets = 1_usize << digit_bits;
    let mask = buckets as u64 - 1;
    let digit_of = |key: u64, digit: u32| (key >> (lowest + digit * digit_bits) & mask) as usize;

    let mut counts = vec![0_u32; buckets * digits as usize];
    for &key in keys.iter() {
        for digit in 0..digits {
            counts[digit as usize * buckets + digit_of(key, digit)] += 1;
        }
    }
    let mut scratch = vec![0_u64; keys.len()];
    for (digit, slots) in counts.chunks_exact_mut(buckets).enumerate() {
        let mut start = 0;
        for slot in slots.iter_mut() {
            let size = *slot;
            *slot = start;
            start += size;
        }
        for &key in keys.iter() {
            let slot = &mut slots[digit_of(key, digit as u32)];
            scratch[*slot as usize] = key;
            *slot += 1;
        }
        std::mem::swap(keys, &mut scratch);
    }
}

/// Sorts what is nearly sorted; `false`, leaving some order, where it takes too many steps.
fn insertion_sort(keys: &mut [u64]) -> bool {
    let mut steps_left = keys.len().saturating_mul(STEPS_PER_VALUE_MAX);
    for i in 1..keys.len() {
        let key = keys[i];
        if keys[i - 1] <= key {
            continue;
        }
        let mut at = i;
        while at > 0 && keys[at - 1] > key {
            keys[at] = keys[at - 1];
            at -= 1;
        }
        keys[at] = key;
        match steps_left.checked_sub(i - at) {
            Some(left) => steps_left = left,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_key_keeps_the_order_and_turns_back() {
        let ascending = [
            f64::NEG_INFINITY,
            f64::MIN,
            -1.0,
            -f64::MIN_POSITIVE,
            -5e-324,
            0.0,
            5e-324,
            1.0,
            1.0 + f64::EPSILON,
            f64::MAX,
            f64::INFINITY,
        ];
        for pair in ascending.windows(2) {
            assert!(order_key(pair[0]) < order_key(pair[1]), "{pair:?}");
            assert_eq!(from_order_key(order_key(pair[0])), pair[0]);
        }
        assert_eq!(order_key(-0.0), order_key(0.0));
    }

    /// A multiplicative generator: spread over signs and magnitudes, no dependence on chance.
    fn spread(len: usize) -> impl Iterator<Item = u64> {
        let state = std::iter::successors(Some(0x9E37_79B9_7F4A_7C15_u64), |state| {
            Some(state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1))
        });
        state.map(|state| state ^ (state >> 29)).take(len)
    }

    fn check(keys: Vec<u64>) {
        let mut expected = keys.clone();
        expected.sort_unstable();
        let mut sorted = keys;
        sort_keys(&mut sorted);
        assert!(sorted == expected);
    }

    #[test]
    fn every_way_of_sorting_agrees() {
        for len in [0, 1, 2, RADIX_LEN_MIN - 1, RADIX_LEN_MIN, 5_000, 100_000] {
            check(spread(len).collect());
            // Like the images of latencies: a few exponents, mantissas of any bits.
            check(
                spread(len)
                    .map(|key| order_key(1.0) + (key >> 10))
                    .collect(),
            );
            // Whole numbers, many equal; an outlier that takes all the leading bits.
            check(
                spread(len)
                    .map(|key| order_key((key % 300) as f64))
                    .collect(),
            );
            let mut outlier: Vec<u64> = spread(len).map(|key| key >> 30).collect();
            outlier.push(u64::MAX);
            check(outlier);
            check((0..len as u64).rev().collect());
            check(vec![7; len]);
        }
    }

    #[test]
    fn values_that_leading_bits_do_not_tell_apart_are_compared() {
        let mut keys: Vec<u64> = spread(50_000).map(|key| key >> 40).collect();
        keys.push(u64::MAX);
        let mut by_bits = keys.clone();
        sort_by_leading_bits(&mut by_bits);
        assert!(!insertion_sort(&mut by_bits), "it took few steps");
        check(keys);
    }
}
