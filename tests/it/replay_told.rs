//! `davy replay` on a daemon's recording, as a person sees it: nothing ends without a word.

use std::process::{Command, Output};
use std::sync::Arc;

use davy::judge::ENGINE_REVISION;
use davy::model::Arm;
use davy::plan::Plan;
use davy::stats::sampler::Stream;
use serde_json::Value;
use tempfile::TempDir;

use crate::machine::{Machine, at, durations, plan, sample, start, values};

/// Fails within a few looks on the recorded traffic.
const STRICT: &str = "horizon: 20s\ntick: 1s\nlateness: 1s\nmin_duration: 5s\nmetrics:\n\
    \x20 latency: {kind: latency}\nchecks:\n  - {compare: latency, tolerance: 5%}\n";
/// Cannot say anything about so little of it.
const PATIENT: &str = "horizon: 10m\ntick: 2s\nlateness: 1s\nmetrics:\n\
    \x20 latency: {kind: latency}\nchecks:\n  - {compare: latency, tolerance: 200%}\n";

/// The recording of an analysis whose canary is twice as slow.
fn recording(plan: &Arc<Plan>) -> Vec<String> {
    let mut machine = Machine::running("x", plan);
    let mut stream = Stream::new(&[7; 32], 0);
    for second in 0..20 {
        let secs = f64::from(second) + 0.5;
        let arm = |arm, median, stream: &mut Stream| {
            sample(
                "x",
                "latency",
                arm,
                secs,
                values(durations(stream, 40, median)),
            )
        };
        let batch = vec![
            arm(Arm::Baseline, 50.0, &mut stream),
            arm(Arm::Canary, 100.0, &mut stream),
        ];
        machine.now = at(secs);
        machine.send(batch);
    }
    assert!(machine.body("x").is_final, "the strict plan fails on it");
    machine.recording("x")
}

struct Files(TempDir);

impl Files {
    fn of(lines: &[String], plan: &str) -> Files {
        let files = Files(tempfile::tempdir().expect("a folder"));
        files.write("rec.ndjson", &lines.join("\n"));
        files.write(
            "plan.yaml",
            &format!("version: davy/v1\nplan: other\n{plan}"),
        );
        files
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).expect("a file");
    }

    fn davy(&self, arguments: &[&str]) -> (Output, String, String) {
        let mut davy = Command::new(env!("CARGO_BIN_EXE_davy"));
        davy.args(arguments).current_dir(self.0.path());
        let output = davy.output().expect("davy runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        (output, out, err)
    }
}

const UNDER_ANOTHER: [&str; 4] = ["replay", "rec.ndjson", "--plan", "plan.yaml"];

#[test]
fn a_plan_that_cannot_be_started_is_an_error_with_its_reason() {
    let arms = "arms:\n  baseline: 'v=\"{{baseline}}\"'\n  canary: 'v=\"{{canary}}\"'\n";
    let files = Files::of(&recording(&plan(STRICT)), &format!("{arms}{PATIENT}"));
    let (output, out, err) = files.davy(&UNDER_ANOTHER);
    assert_eq!(output.status.code(), Some(3), "{out}{err}");
    assert_eq!(out, "");
    assert!(
        err.contains("cannot be started") && err.contains("baseline"),
        "{err}"
    );
    assert!(err.contains("leave `arms` out"), "{err}");

    let owner = format!("change: {{require: [owner]}}\n{PATIENT}");
    files.write(
        "plan.yaml",
        &format!("version: davy/v1\nplan: other\n{owner}"),
    );
    let (output, _, err) = files.davy(&UNDER_ANOTHER);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        err.contains("change.owner") && err.contains("leave `change` out"),
        "{err}"
    );
}

#[test]
fn another_plan_goes_as_far_as_the_samples_do_and_says_where_they_end() {
    let lines = recording(&plan(STRICT));
    let files = Files::of(&lines, PATIENT);
    let (output, out, err) = files.davy(&UNDER_ANOTHER);
    assert_eq!(output.status.code(), Some(0), "{err}");
    let shown: Vec<&str> = out.lines().collect();
    let last = shown.last().expect("a last line");
    assert!(
        last.starts_with("the recording ends here; the original analysis was final at "),
        "{out}"
    );
    assert!(last.contains("(fail)"), "{out}");

    // Every tick that holds a recorded sample was looked at: the newest decides.
    let newest = lines
        .iter()
        .filter(|line| line.contains("\"samples\""))
        .count();
    let (_, out, err) = files.davy(&[&UNDER_ANOTHER[..], &["--output", "json"]].concat());
    let looks: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let last = looks.last().expect("a look");
    let ticks = newest.div_ceil(2);
    assert_eq!(looks.len(), ticks);
    assert_eq!(last["elapsed_secs"], 2.0 * ticks as f64);
    assert_eq!(last["final"], false);
    assert!(err.contains("the recording ends here"), "{err}");

    // Under its own plan it comes to its end, and there is nothing more to say.
    let (_, out, err) = files.davy(&["replay", "rec.ndjson"]);
    assert!(
        out.trim_end()
            .lines()
            .last()
            .is_some_and(|line| line.contains("fail")),
        "{out}"
    );
    assert!(!out.contains("ends here"), "{out}");
    assert_eq!(err, "");
}

#[test]
fn the_exit_code_is_the_verdict_where_it_is_asked_for() {
    let files = Files::of(&recording(&plan(STRICT)), PATIENT);
    let code = |arguments: &[&str]| files.davy(arguments).0.status.code();
    assert_eq!(code(&["replay", "rec.ndjson"]), Some(0));
    assert_eq!(code(&["replay", "rec.ndjson", "--exit-code"]), Some(1));
    assert_eq!(
        code(&[&UNDER_ANOTHER[..], &["--exit-code"]].concat()),
        Some(2)
    );
}

#[test]
fn a_recording_of_a_running_analysis_says_that_it_was_running() {
    let mut machine = Machine::new();
    machine
        .start(start("x", &plan(PATIENT)))
        .expect("it starts");
    for second in 0..6 {
        let reading = values(vec![f64::from(second) + 1.0]);
        machine.now = at(f64::from(second));
        let one = sample("x", "latency", Arm::Baseline, f64::from(second), reading);
        machine.send(vec![one]);
    }
    let files = Files::of(&machine.recording("x"), PATIENT);
    let (output, out, _) = files.davy(&["replay", "rec.ndjson"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        out.contains("the original analysis was not final when it was exported"),
        "{out}"
    );
}

#[test]
fn selectors_that_differ_are_told_of_once() {
    let arms = "arms:\n  baseline: 'v=\"1\"'\n  canary: 'v=\"2\"'\n";
    let files = Files::of(&recording(&plan(STRICT)), &format!("{arms}{PATIENT}"));
    let (output, _, err) = files.davy(&UNDER_ANOTHER);
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert_eq!(err.matches("selectors").count(), 1, "{err}");
    let same = Files::of(&recording(&plan(STRICT)), STRICT);
    let (_, _, err) = same.davy(&UNDER_ANOTHER);
    assert_eq!(err, "");
}

#[test]
fn recorded_samples_of_another_metric_are_counted() {
    let files = Files::of(
        &recording(&plan(STRICT)),
        &PATIENT
            .replace("latency:", "latencies:")
            .replace("compare: latency", "compare: latencies"),
    );
    let (_, _, err) = files.davy(&UNDER_ANOTHER);
    assert!(err.contains("samples left out (unknown_metric)"), "{err}");
}

#[test]
fn a_cut_recording_is_told_once_with_its_line() {
    let lines = recording(&plan(STRICT));
    let whole = lines.join("\n");
    let files = Files::of(&lines, PATIENT);
    files.write("rec.ndjson", &whole[..whole.len() - 20]);
    let (output, _, err) = files.davy(&["replay", "rec.ndjson"]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(err.matches("EOF").count(), 1, "{err}");
    assert!(err.contains(&format!("line {}", lines.len())), "{err}");
}

#[test]
fn csv_rows_of_an_unknown_metric_are_counted_with_the_nearest_name() {
    let two = PATIENT.replace("metrics:\n", "metrics:\n  errors: {kind: ratio}\n");
    let files = Files::of(&[], &two);
    let mut text = "role,metric,value,t_rel\n".to_owned();
    for second in 0..5 {
        for arm in ["baseline", "canary"] {
            text.push_str(&format!(
                "{arm},latency,{},{second}\n{arm},eror,0,{second}\n",
                10 + second
            ));
        }
    }
    files.write("rec.csv", &text);
    let (output, _, err) = files.davy(&["replay", "rec.csv", "--plan", "plan.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
    assert!(
        err.contains("10 rows left out: the plan has no metric \"eror\""),
        "{err}"
    );
    // Without a row of the plan's it is no recording of it, and the same words say why.
    files.write("rec.csv", &text.replace(",latency,", ",latancy,"));
    let (output, _, err) = files.davy(&["replay", "rec.csv", "--plan", "plan.yaml"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        err.contains("20 rows left out") && err.contains("did you mean"),
        "{err}"
    );
}

#[test]
fn a_recording_of_another_engine_is_replayed_with_a_warning() {
    let lines = recording(&plan(STRICT));
    let own = format!("\"engine_revision\":{ENGINE_REVISION},");
    assert!(lines[0].contains(&own), "{}", lines[0]);
    let files = Files::of(&lines, STRICT);
    let json = ["replay", "rec.ndjson", "--output", "json"];
    let (_, own_out, err) = files.davy(&json);
    assert_eq!(err, "");
    assert!(!own_out.contains("engine_changed"), "{own_out}");

    let mut older = lines.clone();
    older[0] = older[0].replace(&own, "\"engine_revision\":1,");
    let files = Files::of(&older, STRICT);
    let says = format!("recorded by engine revision 1 and replayed by revision {ENGINE_REVISION}");
    let (output, out, err) = files.davy(&["replay", "rec.ndjson", "--exit-code"]);
    assert_eq!(output.status.code(), Some(1), "{out}{err}");
    assert!(err.contains(&says), "{err}");
    let (_, out, err) = files.davy(&json);
    assert!(err.contains(&says), "{err}");
    // Every line says it, and is otherwise what it was.
    let added =
        format!(",\"engine_changed\":{{\"recorded\":1,\"replayed\":{ENGINE_REVISION}}}}}\n");
    assert!(out.contains(&added), "{out}");
    assert_eq!(out.replace(&added, "}\n"), own_out);
}
