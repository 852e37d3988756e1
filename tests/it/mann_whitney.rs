//! One-shot statistics against scipy, R and brute force.
//!
//! Two files of the same form are read: the project's own oracle (`tests/oracle/mann_whitney.json`,
//! written by the script beside it) always, and a larger set of reference cases where the
//! directory that holds it is there.

use std::path::{Path, PathBuf};

use davy::stats::hodges_lehmann::{Bound, Differences};
use davy::stats::mann_whitney::{Choice, MannWhitney, Method, mann_whitney};
use davy::stats::rank::{Sorted, two_u};
use proptest::prelude::*;
use serde_json::Value;

/// Both peers agree to 4e-14 relative at p = 4e-117; these are the bounds the design asks for.
const P_ABSOLUTE_MAX: f64 = 1e-12;
const P_RELATIVE_MAX: f64 = 1e-10;
/// Where the peer underflows before we do, only the absolute bound speaks.
const P_RELATIVE_DOWN_TO: f64 = 1e-300;
/// R searches its asymptotic ends with `uniroot(tol = 1e-13)`: an absolute slack in the data's unit.
const ROOT_TOLERANCE: f64 = 1e-13;
const END_RELATIVE_MAX: f64 = 2e-14;

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .expect("an array")
        .iter()
        .map(number)
        .collect()
}

fn number(value: &Value) -> f64 {
    match value.as_str() {
        Some("Infinity") => f64::INFINITY,
        Some("-Infinity") => f64::NEG_INFINITY,
        Some("NaN") => f64::NAN,
        Some(other) => panic!("unexpected text {other}"),
        None => value.as_f64().expect("a number"),
    }
}

/// The value at `path` unless it is absent or null.
fn given<'v>(case: &'v Value, path: &str) -> Option<&'v Value> {
    case.pointer(path).filter(|value| !value.is_null())
}

/// `off + scale * frac(i * step)`, evenly spread and free of chance; `weylq` floors it.
fn generated(arm: &Value) -> Vec<f64> {
    let field = |name: &str| arm[name].as_f64().expect("a number");
    let (start, len) = (field("start"), arm["n"].as_u64().expect("a count"));
    let value = |i: u64| {
        let turns = (start + i as f64) * field("a");
        let value = field("off") + field("scale") * (turns - turns.floor());
        if arm["fn"] == "weylq" {
            value.floor()
        } else {
            value
        }
    };
    (0..len).map(value).collect()
}

fn arm(case: &Value, name: &str) -> Vec<f64> {
    let stated = given(case, &format!("/{name}")).map(numbers);
    stated.unwrap_or_else(|| generated(&case["generator"][name]))
}

fn sorted(values: &[f64]) -> Sorted {
    Sorted::new(values.to_vec(), None).expect("no NaN")
}

fn assert_p(name: &str, ours: f64, theirs: f64) {
    let difference = (ours - theirs).abs();
    assert!(
        difference <= P_ABSOLUTE_MAX,
        "{name}: p {ours:e} against {theirs:e}"
    );
    if theirs >= P_RELATIVE_DOWN_TO {
        assert!(
            difference <= P_RELATIVE_MAX * theirs,
            "{name}: p {ours:e} against {theirs:e}"
        );
    }
}

/// What a row of an oracle was checked for, to tell an empty check from a passed one.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Checked {
    rows: usize,
    p_values: usize,
    estimates: usize,
    exact_ends: usize,
    asymptotic_ends: usize,
}

impl Checked {
    fn row(&mut self, case: &Value) {
        let name = case["name"].as_str().expect("a name");
        let (canary, baseline) = (sorted(&arm(case, "x")), sorted(&arm(case, "y")));
        assert_eq!(
            canary.total(),
            case["m"].as_u64().expect("a count"),
            "{name}"
        );
        assert_eq!(
            baseline.total(),
            case["n"].as_u64().expect("a count"),
            "{name}"
        );
        let doubled = two_u(&canary, &baseline, |y| y);
        assert_eq!(doubled as f64, 2.0 * number(&case["U_x"]), "{name}: 2U");
        self.tails(name, case, &canary, &baseline);
        self.shift(name, case, &canary, &baseline);
        self.rows += 1;
    }

    fn tails(&mut self, name: &str, case: &Value, canary: &Sorted, baseline: &Sorted) {
        let compare = |choice| mann_whitney(canary, baseline, |y| y, choice).expect("not empty");
        let exact = case["method"] == "exact";
        let continuity = case["continuity"].as_bool().expect("a flag");
        let choice = if exact {
            Choice::Auto
        } else {
            Choice::Normal { continuity }
        };
        let ours = compare(choice);
        assert_eq!(
            ours.method,
            if exact { Method::Exact } else { Method::Normal },
            "{name}"
        );
        let tail = |ours: &MannWhitney| match case["alternative"].as_str() {
            Some("two-sided") => ours.p_two_sided,
            Some("greater") => ours.p_greater,
            Some("less") => ours.p_less,
            other => panic!("{name}: alternative {other:?}"),
        };
        for peer in ["/scipy/p", "/r/p"] {
            // R answers NaN where all values are equal; scipy's 1 is the better answer.
            if let Some(p) = given(case, peer).map(number).filter(|p| !p.is_nan()) {
                assert_p(name, tail(&ours), p);
                self.p_values += 1;
            }
        }
        if let Some(permutation) = given(case, "/p_exact_permutation") {
            let ours = compare(Choice::Auto);
            assert_eq!(ours.method, Method::Exact, "{name}");
            assert_p(name, ours.p_two_sided, number(&permutation["two_sided"]));
            assert_p(name, ours.p_greater, number(&permutation["greater"]));
            assert_p(name, ours.p_less, number(&permutation["less"]));
            self.p_values += 3;
        }
    }

    fn shift(&mut self, name: &str, case: &Value, canary: &Sorted, baseline: &Sorted) {
        let differences = Differences::new(canary, baseline);
        let estimate = differences.as_ref().map(Differences::median);
        let expected = given(case, "/hl_median_of_differences").map(number);
        assert_eq!(
            estimate.map(f64::to_bits),
            expected.map(f64::to_bits),
            "{name}: estimate"
        );
        self.estimates += usize::from(expected.is_some());
        let (Some(differences), Some(ends)) = (differences, given(case, "/r/conf_int")) else {
            return;
        };
        let error = 1.0 - case["conf_level"].as_f64().expect("a level");
        let two_sided = case["alternative"] == "two-sided";
        let tail = if two_sided { error / 2.0 } else { error };
        let exact = case["method"] == "exact";
        let continuity = case["continuity"].as_bool().expect("a flag");
        let bound = if exact {
            Bound::Auto
        } else {
            Bound::Normal { continuity }
        };
        let ours = [
            differences.lower_end(tail, bound),
            differences.upper_end(tail, bound),
        ];
        for (ours, theirs) in ours.into_iter().zip(numbers(ends)) {
            if theirs.is_infinite() {
                continue;
            }
            if exact {
                assert_eq!(
                    ours.to_bits(),
                    theirs.to_bits(),
                    "{name}: {ours:e} against {theirs:e}"
                );
                self.exact_ends += 1;
            } else {
                let slack = (END_RELATIVE_MAX * theirs.abs()).max(ROOT_TOLERANCE);
                assert!(
                    (ours - theirs).abs() <= slack,
                    "{name}: {ours:e} against {theirs:e}"
                );
                self.asymptotic_ends += 1;
            }
        }
    }

    fn file(path: &Path) -> Checked {
        let text = std::fs::read_to_string(path).expect("readable");
        let oracle: Value = serde_json::from_str(&text).expect("JSON");
        let mut checked = Checked::default();
        oracle["cases"]
            .as_array()
            .expect("cases")
            .iter()
            .for_each(|case| checked.row(case));
        checked
    }
}

#[test]
fn the_own_oracle_holds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let checked = Checked::file(&root.join("tests/oracle/mann_whitney.json"));
    println!("{checked:?}");
    assert!(checked.rows >= 35 && checked.estimates >= 30, "{checked:?}");
    assert!(
        checked.exact_ends >= 16 && checked.asymptotic_ends >= 24,
        "{checked:?}"
    );
}

#[test]
fn the_shared_reference_holds() {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let shared = std::env::var_os("DAVY_SHARED").map_or_else(beside, PathBuf::from);
    let path = shared.join("reference/reference_mwu.json");
    if !path.exists() {
        println!(
            "left out: {} is not there; set DAVY_SHARED to its directory",
            path.display()
        );
        return;
    }
    let checked = Checked::file(&path);
    println!("{checked:?}");
    assert_eq!(checked.rows, 61);
}

#[test]
fn twenty_thousand_a_side_agree_with_the_definition() {
    // The rank of any returned difference can be recounted without forming the pairs.
    let spread = |len: u64, step: f64, scale: f64| -> Vec<f64> {
        (1..=len)
            .map(|i| libm::exp(scale * (i as f64 * step).fract()))
            .collect()
    };
    let canary = sorted(&spread(20_000, 0.618_033_988_749_894_9, 3.0));
    let baseline = sorted(&spread(15_000, 0.414_213_562_373_095_15, 2.9));
    let differences = Differences::new(&canary, &baseline).expect("finite");
    let pairs = differences.pairs();
    for k in [1, 1_000, pairs / 40, pairs / 2, pairs / 40 * 39, pairs] {
        let found = differences.kth(k);
        let (mut below, mut up_to) = (0_u128, 0_u128);
        for x in canary.values() {
            below += baseline
                .values()
                .iter()
                .rev()
                .take_while(|&y| x - y < found)
                .count() as u128;
            up_to += baseline
                .values()
                .iter()
                .rev()
                .take_while(|&y| x - y <= found)
                .count() as u128;
        }
        assert!(
            below < k && k <= up_to,
            "rank {k}: {below} below, {up_to} up to {found}"
        );
    }
}

/// Few distinct values, so that ties within and between the arms abound.
fn sample(len_max: usize) -> impl Strategy<Value = Vec<f64>> {
    let value = prop_oneof![(-5_i32..5).prop_map(f64::from), -20.0..20.0_f64, Just(-0.0)];
    prop::collection::vec(value, 1..len_max)
}

proptest! {
    #[test]
    fn u_is_the_pairs_counted(canary in sample(40), baseline in sample(40), rate in 1.0..1.5_f64) {
        let mut counted = 0_i128;
        for x in &canary {
            for y in &baseline {
                counted += 2 * i128::from(*x > y * rate) + i128::from(*x == y * rate);
            }
        }
        prop_assert_eq!(two_u(&sorted(&canary), &sorted(&baseline), |y| y * rate), counted);
    }

    #[test]
    fn swapping_the_arms_swaps_the_tails(canary in sample(80), baseline in sample(80)) {
        let (canary, baseline) = (sorted(&canary), sorted(&baseline));
        for choice in [Choice::Auto, Choice::Normal { continuity: true }] {
            let there = mann_whitney(&canary, &baseline, |y| y, choice).expect("not empty");
            let back = mann_whitney(&baseline, &canary, |y| y, choice).expect("not empty");
            prop_assert_eq!(there.p_greater, back.p_less);
            prop_assert_eq!(there.p_less, back.p_greater);
            prop_assert_eq!(there.p_two_sided, back.p_two_sided);
            let pairs = i128::from(canary.total()) * i128::from(baseline.total());
            prop_assert_eq!(there.two_u + back.two_u, 2 * pairs);
        }
    }

    #[test]
    fn the_order_of_arrival_does_not_count(canary in sample(60), baseline in sample(60)) {
        let there = mann_whitney(&sorted(&canary), &sorted(&baseline), |y| y, Choice::Auto);
        let reversed = |values: &[f64]| sorted(&values.iter().rev().copied().collect::<Vec<_>>());
        let back = mann_whitney(&reversed(&canary), &reversed(&baseline), |y| y, Choice::Auto);
        prop_assert_eq!(there, back);
    }

    #[test]
    fn only_ranks_count(canary in sample(60), baseline in sample(60)) {
        // Cubing keeps the order, and ties; of these values it makes no new ones.
        let cubed = |values: &[f64]| sorted(&values.iter().map(|v| v * v * v).collect::<Vec<_>>());
        let there = mann_whitney(&sorted(&canary), &sorted(&baseline), |y| y, Choice::Auto);
        let cubes = mann_whitney(&cubed(&canary), &cubed(&baseline), |y| y, Choice::Auto);
        prop_assert_eq!(there, cubes);
    }

    #[test]
    fn the_interval_holds_the_shifts_that_are_not_rejected(
        canary in prop::collection::vec(0_i32..12, 51..70),
        baseline in prop::collection::vec(0_i32..5, 51..70),
    ) {
        // Shifts by half a unit tie nothing between the arms; within them ties abound.
        let whole = |values: &[i32]| sorted(&values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>());
        let (canary, baseline) = (whole(&canary), whole(&baseline));
        let (tail, continuity) = (0.025, true);
        let differences = Differences::new(&canary, &baseline).expect("finite");
        let [low, high] = differences.interval(0.95, Bound::Normal { continuity });
        for half in -11..24 {
            let shift = f64::from(half) / 2.0 + 0.25;
            let choice = Choice::Normal { continuity };
            let moved = mann_whitney(&canary, &baseline, |y| y + shift, choice).expect("not empty");
            prop_assert_eq!(moved.p_greater >= tail, shift >= low, "shift {}, low {}", shift, low);
            prop_assert_eq!(moved.p_less >= tail, shift <= high, "shift {}, high {}", shift, high);
        }
    }

    #[test]
    fn a_canary_moved_up_never_looks_better(
        canary in sample(60), baseline in sample(60), shift in 0.0..8.0_f64,
    ) {
        let moved = sorted(&canary.iter().map(|x| x + shift).collect::<Vec<_>>());
        let (canary, baseline) = (sorted(&canary), sorted(&baseline));
        prop_assert!(two_u(&moved, &baseline, |y| y) >= two_u(&canary, &baseline, |y| y));
        let before = Differences::new(&canary, &baseline).expect("finite");
        let after = Differences::new(&moved, &baseline).expect("finite");
        prop_assert!(after.median() >= before.median());
        let ends = |found: &Differences| found.interval(0.9, Bound::Auto);
        prop_assert!(ends(&after)[0] >= ends(&before)[0] && ends(&after)[1] >= ends(&before)[1]);
    }
}
