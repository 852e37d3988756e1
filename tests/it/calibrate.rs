//! `davy calibrate`: from healthy recordings to a file beside the plan, and from there into plans.

use std::path::{Path, PathBuf};

use clap::Parser;
use davy::cli::OutputForm;
use davy::cli::calibrate::{self, CalibrateArgs};
use davy::cli::check::{self, CheckArgs};
use davy::cli::exit::Exit;
use davy::cli::replay::{self, ReplayArgs};
use davy::config::plans;
use davy::plan::{Dispersion, Question};
use davy::stats::sampler::{Stream, seed_from};
use serde_json::Value;

const PLAN: &str = "version: davy/v1
plan: checkout
horizon: 60s
tick: 1s
lateness: 0s
min_duration: 2s
metrics:
  errors: {kind: ratio}
  rps: {kind: gauge}
checks:
  - {compare: errors, tolerance: {relative: 20%, absolute: 1pp}, dispersion: calibrated}
  - {compare: rps, worse: lower, tolerance: 10%, dispersion: calibrated}
";

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: CalibrateArgs,
}

/// Two arms that run the same: errors in bursts whose gamma factor has the variance .5, and points
/// of a first-order autoregression of .5 whose log-ratio has the long-run variance 2 * .01 * 3.
fn recording(ticks: u32, seed: &str) -> String {
    let mut stream = Stream::new(&seed_from(seed, "recording"), 0);
    let mut text = "role,metric,value,weight,t_rel\n".to_owned();
    let mut levels = [stream.normal(), stream.normal()];
    for tick in 0..ticks {
        for (arm, level) in ["baseline", "canary"].into_iter().zip(&mut levels) {
            let exponential = |stream: &mut Stream| -libm::log(1.0 - stream.uniform());
            let burst = 0.5 * (exponential(&mut stream) + exponential(&mut stream));
            let bad = (0..200).filter(|_| stream.uniform() < 0.05 * burst).count();
            let share = bad as f64 / 200.0;
            text.push_str(&format!("{arm},errors,{share},200,{tick}\n"));
            *level = 0.5 * *level + 0.75_f64.sqrt() * stream.normal();
            let point = 100.0 * libm::exp(0.1 * *level);
            text.push_str(&format!("{arm},rps,{point},,{tick}\n"));
        }
    }
    text
}

/// A folder with the plan and a recording.
fn folder(ticks: u32) -> (tempfile::TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (plan, file) = (
        folder.path().join("checkout.yaml"),
        folder.path().join("healthy.csv"),
    );
    std::fs::write(&plan, PLAN).expect("a file");
    std::fs::write(&file, recording(ticks, "a")).expect("a file");
    (folder, plan, file)
}

fn calibrated(plan: &Path, files: &[&Path]) -> anyhow::Result<Value> {
    let mut words = vec!["calibrate".to_owned(), "--output".into(), "json".into()];
    words.extend(["--plan".to_owned(), plan.display().to_string()]);
    words.extend(files.iter().map(|file| file.display().to_string()));
    let mut out = Vec::new();
    let exit = calibrate::run(&Line::parse_from(words).args, &mut out)?;
    assert_eq!(exit, Exit::Pass);
    Ok(serde_json::from_slice(&out).expect("one JSON object"))
}

#[test]
fn what_was_measured_becomes_part_of_the_plan() {
    let (_folder, plan, file) = folder(1_440);
    let missing = plans::read_plan(&plan).unwrap_err().to_string();
    assert!(missing.contains("no calibration beside"), "{missing}");

    let report = calibrated(&plan, &[&file]).expect("it is measured");
    let (errors, rps) = (&report["checks"][0], &report["checks"][1]);
    assert_eq!(
        (&errors["batches"], &rps["batches"]),
        (&48.into(), &48.into())
    );
    // 200 events at 5 %: 1 + 10 * .5 / .95 of the binomial variance.
    let factor = errors["factor"].as_f64().expect("a factor");
    assert!((4.5..11.0).contains(&factor), "{errors}");
    assert!(errors["measured"].as_f64() < Some(factor));
    let sd = rps["sd"].as_f64().expect("a deviation");
    assert!((0.2..0.35).contains(&sd), "{rps}");

    let parsed = plans::read_plan(&plan).expect("the calibration fits").plan;
    let taken: Vec<Dispersion> = parsed
        .checks
        .iter()
        .map(|check| match check.question {
            Question::Compare { dispersion, .. } => dispersion,
            _ => unreachable!("the plan only compares"),
        })
        .collect();
    assert_eq!(taken, [Dispersion::Factor(factor), Dispersion::Sd(sd)]);
    // The same numbers written into the plan are the same plan.
    let written = PLAN
        .replacen("calibrated", &format!("{{factor: {factor}}}"), 1)
        .replacen("calibrated", &format!("{{sd: {sd}}}"), 1);
    let inline = davy::config::plan_file::parse_plan("inline", &written).expect("a plan");
    assert_eq!(inline.plan.hash(), parsed.hash());

    let args = CheckArgs {
        files: vec![plan.parent().expect("a folder").to_owned()],
        output: OutputForm::Json,
    };
    let mut out = Vec::new();
    let exit = check::run(&args, &mut out).expect("a report");
    assert_eq!(exit, Exit::Pass, "{}", String::from_utf8_lossy(&out));
}

#[test]
fn the_factor_and_the_deviation_are_in_the_evidence() {
    #[derive(Parser)]
    struct Replayed {
        #[command(flatten)]
        args: ReplayArgs,
    }
    let (_folder, plan, file) = folder(600);
    calibrated(&plan, &[&file]).expect("it is measured");
    let (plan, file) = (plan.display().to_string(), file.display().to_string());
    let line = Replayed::parse_from(["replay", "--plan", &plan, &file, "--output", "json"]);
    let mut out = Vec::new();
    replay::run(&line.args, &mut out).expect("the replay runs");
    let text = String::from_utf8(out).expect("UTF-8");
    let last = text.lines().last().expect("a look");
    let last: Value = serde_json::from_str(last).expect("an object");
    let errors = &last["checks"][0];
    assert!(
        errors["factors"]["dispersion"].as_f64() > Some(3.0),
        "{last}"
    );
    let message = errors["message"].as_str().expect("a sentence");
    assert!(message.contains("times for dispersion"), "{message}");
    let assumes = last["guarantee"]["assumes"].to_string();
    assert!(assumes.contains("long-run standard deviation of"), "{last}");
    assert!(
        assumes.contains("no more over time than calibrated"),
        "{last}"
    );
}

#[test]
fn a_calibration_of_something_else_is_refused_with_the_fix() {
    let (_folder, plan, file) = folder(330);
    calibrated(&plan, &[&file]).expect("it is measured");
    for (from, to, told) in [
        ("tick: 1s", "tick: 2s", "another definition of this check"),
        (
            "kind: ratio",
            "kind: ratio, value_unit: req",
            "another definition",
        ),
        (
            "compare: errors",
            "name: e, compare: errors",
            "has no check `e`",
        ),
        (
            "plan: checkout",
            "plan: basket",
            "the calibration of the plan `checkout`",
        ),
    ] {
        std::fs::write(&plan, PLAN.replacen(from, to, 1)).expect("a file");
        let problems = plans::read_plan(&plan).unwrap_err().to_string();
        assert!(problems.contains(told), "{problems}");
        assert!(problems.contains("davy calibrate"), "{problems}");
    }
}

#[test]
fn short_recordings_are_refused_and_several_count_together() {
    let (folder, plan, file) = folder(299);
    let error = calibrated(&plan, &[&file]).unwrap_err().to_string();
    assert!(error.contains("too few for any check"), "{error}");
    assert!(!folder.path().join("checkout.calibration.yaml").exists());
    let second = folder.path().join("second.csv");
    std::fs::write(&second, recording(45, "b")).expect("a file");
    // Nine batches and one: what is left of a stretch joins no other.
    let report = calibrated(&plan, &[&file, &second]).expect("it is measured");
    assert_eq!(report["checks"][0]["batches"], 10);
}
