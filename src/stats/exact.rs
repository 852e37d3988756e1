//! The exact permutation distribution of the Mann-Whitney U, for any pattern of ties.
//!
//! Owns the counting of arrangements, in whole numbers: a probability is one division of two exact
//! integers. It must not know of samples or of approximations; [`super::mann_whitney`] decides
//! when it is used.

/// Largest sample size per arm that is counted exactly: C(100, 50) = 1.0e29 fits in 97 bits, and
/// the counts of the recurrences below with it.
pub const EXACT_LEN_MAX: u64 = 50;

/// The number of ways in which each value of the doubled U can arise, given the sizes and the ties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExactNull {
    /// `at_most[v]`: arrangements with doubled U <= v, for v from 0 to twice the number of pairs.
    at_most: Vec<u128>,
}

impl ExactNull {
    /// The distribution without ties: coefficients of the Gaussian binomial [m+n choose m]_q
    /// (Mann and Whitney 1947, eq. 7), by multiplying with `1 - q^(n+i)` and dividing by `1 - q^i`.
    /// `None` when a size is zero or above [`EXACT_LEN_MAX`].
    pub fn untied(canary_len: u64, baseline_len: u64) -> Option<ExactNull> {
        let (m, n) = sizes(canary_len, baseline_len)?;
        let pairs = m * n;
        let mut ways = vec![0_i128; pairs + 1];
        ways[0] = 1;
        for i in 1..=m {
            for u in (n + i..=pairs).rev() {
                ways[u] -= ways[u - n - i];
            }
            for u in i..=pairs {
                ways[u] += ways[u - i];
            }
        }
        let mut at_most = Vec::with_capacity(2 * pairs + 1);
        let mut sum = 0_u128;
        for (u, &count) in ways.iter().enumerate() {
            sum += count.unsigned_abs();
            at_most.push(sum);
            if u < pairs {
                // No arrangement has an odd doubled U without ties.
                at_most.push(sum);
            }
        }
        Some(ExactNull { at_most })
    }

    /// The distribution given the sizes of the pooled sample's groups of equal values, ascending
    /// by value: over the groups, counts the ways to have chosen c canary values with doubled
    /// midrank sum s, weighted with C(group, chosen) (Streitberg and Roehmel 1986, the shift
    /// algorithm). `None` when a size is zero or above [`EXACT_LEN_MAX`], or when the groups do
    /// not add up to the pooled size.
    pub fn tied(canary_len: u64, baseline_len: u64, groups: &[u64]) -> Option<ExactNull> {
        let (m, n) = sizes(canary_len, baseline_len)?;
        if groups
            .iter()
            .try_fold(0_u64, |sum, &t| sum.checked_add(t))?
            != canary_len + baseline_len
        {
            return None;
        }
        if groups.iter().all(|&t| t == 1) {
            return ExactNull::untied(canary_len, baseline_len);
        }
        // A canary value of the group adds (2 x baseline below + baseline equal) to the doubled U,
        // which depends on the arrangement; its doubled midrank does not. So count doubled rank
        // sums, which exceed the doubled U by m(m+1).
        let offset = m * (m + 1);
        let span = 2 * m * n + offset;
        let mut ways = vec![vec![0_u128; span + 1]; m + 1];
        ways[0][0] = 1;
        let mut before = 0;
        for &group in groups {
            let size = group as usize;
            add_group(&mut ways, size, 2 * before + size + 1, before);
            before += size;
        }
        let mut sum = 0_u128;
        let at_most = ways[m][offset..].iter().map(|&count| {
            sum += count;
            sum
        });
        Some(ExactNull {
            at_most: at_most.collect(),
        })
    }

    /// P(doubled U <= `two_u`).
    pub fn p_less(&self, two_u: i128) -> f64 {
        self.share(self.count_at_most(two_u))
    }

    /// P(doubled U >= `two_u`).
    pub fn p_greater(&self, two_u: i128) -> f64 {
        self.share(self.arrangements() - self.count_at_most(two_u - 1))
    }

    /// P(|U - mn/2| >= |u - mn/2|): both tails at least as far from the centre. Without ties the
    /// distribution is symmetric and this is twice the smaller tail.
    pub fn p_two_sided(&self, two_u: i128) -> f64 {
        // The doubled U runs to 2mn, so its centre is mn, half of the last index.
        let last = self.at_most.len() as i128 - 1;
        let (low, high) = (two_u.min(last - two_u), two_u.max(last - two_u));
        if low == high {
            return 1.0;
        }
        let inside = self.count_at_most(high - 1) - self.count_at_most(low);
        self.share(self.arrangements() - inside)
    }

    /// The smallest whole U with P(U <= that) >= `tail`, as the order statistic that bounds an
    /// interval. Ten machine epsilons of slack keep a tail that is a quotient of counts (such as
    /// 1/20) from being missed by its own rounding.
    pub fn quantile_u(&self, tail: f64) -> u64 {
        let wanted = tail - 10.0 * f64::EPSILON;
        let pairs = (self.at_most.len() as u64 - 1) / 2;
        let reaches = |&u: &u64| self.share(self.at_most[2 * u as usize]) >= wanted;
        (0..=pairs).find(reaches).unwrap_or(pairs)
    }

    /// All arrangements: C(m+n, m).
    fn arrangements(&self) -> u128 {
        self.at_most.last().copied().unwrap_or(0)
    }

    fn count_at_most(&self, two_u: i128) -> u128 {
        match usize::try_from(two_u) {
            Err(_) if two_u < 0 => 0,
            Ok(index) if index < self.at_most.len() => self.at_most[index],
            _ => self.arrangements(),
        }
    }

    fn share(&self, count: u128) -> f64 {
        count as f64 / self.arrangements() as f64
    }
}

fn sizes(canary_len: u64, baseline_len: u64) -> Option<(usize, usize)> {
    let fits = |len: u64| (1..=EXACT_LEN_MAX).contains(&len);
    (fits(canary_len) && fits(baseline_len)).then_some((canary_len as usize, baseline_len as usize))
}

/// Adds a group of `size` equal values of doubled midrank `midrank` to the table of ways;
/// `before` values are lower.
fn add_group(ways: &mut [Vec<u128>], size: usize, midrank: usize, before: usize) {
    let chosen_max = ways.len() - 1;
    // From the top down, so that a row is read before the group's own choices reach it.
    for chosen in (1..=chosen_max.min(before + size)).rev() {
        let (lower_rows, rows) = ways.split_at_mut(chosen);
        let row = &mut rows[0];
        let mut choices = 1_u128;
        for taken in 1..=size.min(chosen) {
            // C(size, taken) from C(size, taken - 1); the division is exact.
            choices = choices * (size + 1 - taken) as u128 / taken as u128;
            let shift = taken * midrank;
            let from = chosen - taken;
            if from > before {
                continue;
            }
            // Only these doubled rank sums of `from` among the `before` lowest can occur.
            let (lowest, highest) = (from * (from + 1), from * (2 * before + 1 - from));
            let source = &lower_rows[from][lowest..=highest];
            let last = lowest + shift + source.len();
            for (target, &count) in row[lowest + shift..last].iter_mut().zip(source) {
                *target += choices * count;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every arrangement of the pooled sample, one by one.
    fn brute_force(canary_len: usize, groups: &[u64]) -> Vec<u128> {
        let ranks: Vec<usize> = (0..groups.len())
            .flat_map(|g| std::iter::repeat_n(g, groups[g] as usize))
            .collect();
        let baseline_len = ranks.len() - canary_len;
        let mut counts = vec![0_u128; 2 * canary_len * baseline_len + 1];
        for subset in 0_u32..1 << ranks.len() {
            if subset.count_ones() as usize != canary_len {
                continue;
            }
            let chosen = |i: usize| subset >> i & 1 == 1;
            let mut two_u = 0;
            for i in (0..ranks.len()).filter(|&i| chosen(i)) {
                for j in (0..ranks.len()).filter(|&j| !chosen(j)) {
                    two_u +=
                        2 * usize::from(ranks[i] > ranks[j]) + usize::from(ranks[i] == ranks[j]);
                }
            }
            counts[two_u] += 1;
        }
        let mut sum = 0;
        counts
            .iter()
            .map(|&count| {
                sum += count;
                sum
            })
            .collect()
    }

    #[test]
    fn counts_equal_every_arrangement_counted_one_by_one() {
        let patterns: [&[u64]; 7] = [
            &[1; 9],
            &[3, 1, 2, 3],
            &[9],
            &[1, 7, 1],
            &[4, 5],
            &[2, 2, 2, 2, 1],
            &[1, 1, 5, 1, 1],
        ];
        for groups in patterns {
            for canary_len in 1..9_u64 {
                let null = ExactNull::tied(canary_len, 9 - canary_len, groups).expect("small");
                assert_eq!(
                    null.at_most,
                    brute_force(canary_len as usize, groups),
                    "{groups:?}"
                );
            }
        }
    }

    #[test]
    fn the_largest_sizes_count_all_arrangements() {
        let all = 100_891_344_545_564_193_334_812_497_256_u128; // C(100, 50)
        let untied = ExactNull::untied(50, 50).expect("in range");
        assert_eq!(untied.arrangements(), all);
        let mut groups = vec![1_u64; 98];
        groups.push(2);
        let tied = ExactNull::tied(50, 50, &groups).expect("in range");
        assert_eq!(tied.arrangements(), all);
        assert_eq!(
            ExactNull::tied(50, 50, &[100])
                .expect("in range")
                .arrangements(),
            all
        );
    }

    #[test]
    fn sizes_outside_the_limit_are_left_to_the_approximation() {
        assert_eq!(ExactNull::untied(51, 1), None);
        assert_eq!(ExactNull::untied(0, 5), None);
        assert_eq!(ExactNull::tied(2, 2, &[1, 1, 1]), None);
        assert_eq!(ExactNull::tied(2, 2, &[u64::MAX, 5]), None);
    }

    #[test]
    fn tails_of_separated_samples() {
        let null = ExactNull::untied(4, 4).expect("small");
        assert_eq!(null.p_greater(32), 1.0 / 70.0);
        assert_eq!(null.p_two_sided(32), 2.0 / 70.0);
        assert_eq!(null.p_less(32), 1.0);
        assert_eq!(null.p_greater(-5), 1.0);
        assert_eq!(null.p_less(-1), 0.0);
        assert_eq!(null.p_two_sided(16), 1.0);
    }

    #[test]
    fn a_tail_that_is_a_quotient_of_counts_is_not_missed() {
        // 3 against 3: P(U <= 0) = 1/20 exactly, and 0.05 is not exactly 1/20.
        let null = ExactNull::untied(3, 3).expect("small");
        assert_eq!(null.quantile_u(0.05), 0);
        assert_eq!(null.quantile_u(0.051), 1);
        assert_eq!(null.quantile_u(1.0), 9);
    }
}
