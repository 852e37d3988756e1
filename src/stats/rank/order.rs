//! Sorting doubles by their order-preserving integer images.
//!
//! Owns the image and the choice of sort. It must not know of weights or of ranks.

/// From this many values on, a radix sort over the integer images is faster than a comparison sort.
const RADIX_LEN_MIN: usize = 3_000;
/// Above this many values the scattered writes of the radix sort leave the cache and it loses again.
const RADIX_LEN_MAX: usize = 1_000_000;
/// Digit width of the radix sort: 2048 counters fit the first-level cache, six digits cover 64 bits.
const RADIX_BITS: u32 = 11;

/// The image of a double among the integers that keeps the order: `a < b` exactly when
/// `order_key(a) < order_key(b)`, with `-0.0` taken as `0.0`. Not meant for NaN.
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
pub(super) fn sort_keys(keys: &mut Vec<u64>) {
    if keys.is_sorted() {
        return;
    }
    if (RADIX_LEN_MIN..=RADIX_LEN_MAX).contains(&keys.len()) {
        radix_sort(keys);
    } else {
        keys.sort_unstable();
    }
}

/// Least-significant-digit radix sort; digits in which all keys agree cost one look.
fn radix_sort(keys: &mut Vec<u64>) {
    const BUCKETS: usize = 1 << RADIX_BITS;
    const DIGITS: usize = 64_usize.div_ceil(RADIX_BITS as usize);
    const MASK: u64 = (1 << RADIX_BITS) - 1;
    let digit_of = |key: u64, digit: usize| (key >> (digit as u32 * RADIX_BITS) & MASK) as usize;

    let mut counts = vec![[0_u32; BUCKETS]; DIGITS];
    for &key in keys.iter() {
        for (digit, count) in counts.iter_mut().enumerate() {
            count[digit_of(key, digit)] += 1;
        }
    }
    let mut scratch = vec![0_u64; keys.len()];
    for (digit, count) in counts.iter_mut().enumerate() {
        if count[digit_of(keys[0], digit)] as usize == keys.len() {
            continue;
        }
        let mut start = 0;
        for slot in count.iter_mut() {
            let size = *slot;
            *slot = start;
            start += size;
        }
        for &key in keys.iter() {
            let slot = &mut count[digit_of(key, digit)];
            scratch[*slot as usize] = key;
            *slot += 1;
        }
        std::mem::swap(keys, &mut scratch);
    }
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

    #[test]
    fn every_way_of_sorting_agrees() {
        // A multiplicative generator: spread over signs and magnitudes, no dependence on chance.
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        for len in [RADIX_LEN_MIN - 1, RADIX_LEN_MIN, 20_000] {
            let mut keys: Vec<u64> = (0..len)
                .map(|_| {
                    state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
                    state
                })
                .collect();
            let mut expected = keys.clone();
            expected.sort_unstable();
            sort_keys(&mut keys);
            assert_eq!(keys, expected);
        }
    }
}
