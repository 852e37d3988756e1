//! The promise itself, in small: on streams that sit exactly on the boundary, verdicts are wrong
//! no more often than they may be. `davy simulate` is the same suite at full size.

use davy::cli::simulate::SimulateArgs;
use davy::cli::simulate::suite::{CellResult, calibration};

fn suite(looks: usize, replicates: u64, only: &str) -> Vec<CellResult> {
    let args = SimulateArgs {
        replicates: Some(replicates),
        looks: vec![looks],
        only: only.to_owned(),
        paths: 2_000,
        seed: 1,
        ..SimulateArgs::default()
    };
    calibration(&args, |result| println!("{result:?}")).unwrap()
}

#[test]
fn errors_of_either_kind_stay_within_their_probability() {
    let results = suite(10, 500, "tolerance");
    assert!(results.len() >= 8);
    for result in &results {
        assert!(result.holds, "{result:?}");
    }
    // The suite must be able to see a level that is not 5 %: latencies spend all they may.
    let spent: f64 = results
        .iter()
        .filter(|result| result.cell.starts_with("log-normal 50/50"))
        .chain(
            results
                .iter()
                .filter(|result| result.cell.starts_with("log-normal 95/5, ")),
        )
        .map(|result| result.false_fail + result.false_pass)
        .sum();
    assert!(
        spent > 4.0 * 0.02,
        "far below the level: the streams are not on the boundary, {spent}"
    );
}

#[test]
fn a_calibrated_gauge_is_held_to_its_own_history() {
    for result in suite(60, 100, "gauge AR(.8), calibrated") {
        assert!(result.holds, "{result:?}");
    }
}

#[test]
fn sixty_looks_are_no_worse_than_ten() {
    for result in suite(60, 100, "log-normal 50/50, tolerance") {
        assert!(result.holds, "{result:?}");
    }
}
