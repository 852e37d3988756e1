//! The promise itself, in small: on streams that sit exactly on the boundary, verdicts are wrong
//! no more often than they may be. `davy simulate` is the same suite at full size.

use davy::cli::OutputForm;
use davy::cli::simulate::{SimulateArgs, calibration};

fn suite(looks: usize, replicates: u64, only: &str) -> Vec<davy::cli::simulate::CellResult> {
    let args = SimulateArgs {
        replicates,
        looks: vec![looks],
        only: only.to_owned(),
        paths: 2_000,
        seed: 1,
        output: OutputForm::Text,
    };
    let results = calibration(&args);
    for result in &results {
        println!(
            "{} at {} looks: false fail {:.4}, false pass {:.4} +- {:.4}",
            result.scenario,
            result.looks,
            result.false_fail,
            result.false_pass,
            result.standard_error
        );
    }
    results
}

#[test]
fn errors_of_either_kind_stay_within_their_probability() {
    let results = suite(10, 500, "");
    assert!(results.len() >= 6);
    for result in &results {
        assert!(result.holds, "{result:?}");
    }
    // The suite must be able to see a level that is not 5 %: latencies spend all they may.
    let spent: f64 = results
        .iter()
        .filter(|result| result.scenario.starts_with("log-normal"))
        .map(|result| result.false_fail + result.false_pass)
        .sum();
    assert!(
        spent > 4.0 * 0.02,
        "far below the level: the streams are not on the boundary, {spent}"
    );
}

#[test]
fn sixty_looks_are_no_worse_than_ten() {
    for result in suite(60, 100, "log-normal 50/50") {
        assert!(result.holds, "{result:?}");
    }
}
