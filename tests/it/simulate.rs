//! `davy simulate --plan` and the forecasts of `davy check`: what a plan can be expected to do.

use davy::cli::OutputForm;
use davy::cli::simulate::effect::Effect;
use davy::cli::simulate::traffic::TrafficArgs;
use davy::cli::simulate::{SimulateArgs, run};
use davy::config::plan_file::parse_plan;

const PLAN: &str = "version: davy/v1\nplan: p\nhorizon: 2m\ntick: 10s\nmin_duration: 20s\n\
    metrics: {m: {kind: latency}}\nchecks:\n\
    - {compare: m, tolerance: 20%}\n- {compare: m, at: p90, tolerance: 30%}\n";

fn simulated(args: SimulateArgs, plan: &str) -> serde_json::Value {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("plan.yaml");
    std::fs::write(&path, plan).unwrap();
    let args = SimulateArgs {
        plan: Some(path),
        replicates: Some(60),
        paths: 500,
        seed: 7,
        output: OutputForm::Json,
        ..args
    };
    let mut out = Vec::new();
    run(&args, &mut out).unwrap();
    serde_json::from_slice(&out).unwrap()
}

fn effects() -> Vec<Effect> {
    [0.0, 1.0, 3.0].map(Effect::Tolerances).to_vec()
}

fn share(result: &serde_json::Value, effect: usize, verdict: &str) -> f64 {
    result["effects"][effect][verdict]["share"]
        .as_f64()
        .unwrap()
}

#[test]
fn a_plan_finds_what_is_large_and_says_the_same_twice() {
    let dir = tempfile::tempdir().unwrap();
    let svg = dir.path().join("power.svg");
    let args = SimulateArgs {
        effects: effects(),
        svg: Some(svg.clone()),
        ..SimulateArgs::default()
    };
    let plan = format!("{PLAN}traffic: {{per_second: 40, metrics: {{m: {{sigma: 0.5}}}}}}\n");
    let result = simulated(args.clone(), &plan);
    assert!(share(&result, 0, "pass") > 0.8, "{result}");
    // Six of sixty have a probability of .08 where it is 5 %; twelve one of 1e-5.
    assert!(share(&result, 1, "fail") < 0.2 && share(&result, 1, "pass") < 0.2);
    assert!(share(&result, 2, "fail") > 0.9, "{result}");
    let mean = |effect: usize| result["effects"][effect]["secs"]["mean"].as_f64().unwrap();
    assert!(mean(2) < mean(1), "a large effect is found sooner");
    assert_eq!(simulated(args, &plan), result);
    let picture = std::fs::read_to_string(&svg).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains(">inconclusive<"));
}

#[test]
fn a_recording_is_resampled_from_its_baseline_alone() {
    let dir = tempfile::tempdir().unwrap();
    let recording = dir.path().join("recording.csv");
    let mut text = "role,value,t_rel\n".to_owned();
    for i in 0..4_000_u32 {
        // Any spread will do; the canary is a hundred times worse, which must not matter.
        let value = 50 + (i * 7_919) % 101;
        let (role, value) = if i % 2 == 0 {
            ("baseline", value)
        } else {
            ("canary", 100 * value)
        };
        text.push_str(&format!("{role},{value},{}\n", f64::from(i) * 0.03));
    }
    std::fs::write(&recording, text).unwrap();
    let args = SimulateArgs {
        effects: effects(),
        traffic: TrafficArgs {
            recording: Some(recording),
            ..TrafficArgs::default()
        },
        ..SimulateArgs::default()
    };
    let result = simulated(args, PLAN);
    assert!(
        share(&result, 0, "fail") == 0.0 && share(&result, 0, "pass") > 0.8,
        "{result}"
    );
    assert!(share(&result, 2, "fail") > 0.9, "{result}");
}

#[test]
fn check_forecasts_what_the_traffic_cannot_carry() {
    let warnings = |per_second: f64| {
        let plan = format!("{PLAN}traffic: {{per_second: {per_second}, canary_share: 10%}}\n");
        let parsed = parse_plan("p", &plan).unwrap();
        parsed
            .warnings
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(warnings(1_000.0), [""; 0]);
    let few = warnings(1.0);
    assert!(
        few.iter()
            .any(|text| text.contains("at the expected traffic") && text.contains("times")),
        "{few:?}"
    );
}

#[test]
fn a_traffic_section_is_read_strictly() {
    let refused = |section: &str| {
        let problems = parse_plan("p", &format!("{PLAN}traffic: {section}\n")).unwrap_err();
        problems.to_string()
    };
    for (section, said) in [
        (
            "{canary_share: 10%}",
            "nothing says how many samples `m` has",
        ),
        ("{per_second: 5, canary_share: 100%}", "`100%` is no share"),
        ("{per_second: 5, metrics: {n: {}}}", "unknown key `n`"),
        (
            "{per_second: 5, metrics: {m: {share: 1%}}}",
            "says nothing of a metric of this kind",
        ),
        (
            "{per_second: 5, metrics: {m: {units: {size: 3}}}}",
            "the metric has no cluster",
        ),
        ("{per_second: 5, load: {ar: 1}}", "1 is out of range"),
    ] {
        let text = refused(section);
        assert!(text.contains(said), "{section}: {text}");
    }
}

#[test]
fn a_simulation_of_nothing_is_refused_on_the_command_line() {
    let davy = |arguments: &[&str]| {
        let mut davy = std::process::Command::new(env!("CARGO_BIN_EXE_davy"));
        let output = davy.arg("simulate").args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), text)
    };
    for nothing in [
        ["--replicates", "0"],
        ["--looks", "0"],
        ["--looks", "1025"],
        ["--paths", "0"],
    ] {
        let (code, told) = davy(&nothing);
        assert_eq!(code, Some(64), "{nothing:?}: {told}");
        assert!(told.contains(nothing[0]), "{told}");
    }
    let (code, told) = davy(&["--only", "nosuch"]);
    assert_eq!(code, Some(64), "{told}");
    assert!(
        told.contains("names no cell") && told.contains("gauge AR"),
        "{told}"
    );
    let (code, told) = davy(&["--looks", "7"]);
    assert_eq!(code, Some(64), "{told}");
    assert!(told.contains("there are ") && told.contains("60"), "{told}");
}
