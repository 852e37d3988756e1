//! A view that is read is the view that was written, byte for byte as JSON.

use davy::engine::{AnalysisView, Effect, EventKind};
use davy::model::Arm;
use davy::stats::sampler::Stream;
use davy::store::Write;
use serde_json::Value;

use super::{bounds, commit, open, view_of};
use crate::machine::{Machine, durations, plan, sample, start, values};

/// Everything a view shows.
fn shown(view: &AnalysisView) -> [String; 3] {
    let body = |verdict: &davy::engine::Verdict| {
        let json = verdict.json().expect("plain data");
        String::from_utf8(json.to_vec()).expect("UTF-8")
    };
    let outside = serde_json::to_string(view).expect("plain data");
    [outside, body(&view.body), body(&view.step_body)]
}

/// An analysis with steps, refusals, several kinds of check, an alarm and a watch.
fn lived_through() -> Vec<Effect> {
    let plan = plan(
        "horizon: 30s
tick: 1s
lateness: 0s
min_duration: 2s
watch: {for: 20s, false_alarms_every: 1h}
metrics:
  latency: {kind: latency, value_unit: ms, from: values, cluster: {by: trace_id, lifetime: tick}}
  queue: {kind: gauge, from: values}
checks:
  - {compare: latency, worse: higher, tolerance: 30%}
  - {compare: latency, at: p90, worse: higher, tolerance: 30%, gating: false}
  - {name: slow, threshold: latency, at: p90, limit: '< 8000ms', gating: false}
  - {compare: queue, worse: higher, tolerance: {relative: 50%, absolute: 1}, gating: false}
",
    );
    let mut machine = Machine::new();
    let mut request = start("an_1", &plan);
    request.change.service = Some("\"quoted\" \u{1F426}\u{0}".to_owned());
    request.arms.insert("baseline".into(), "v1".into());
    machine.start(request).expect("it starts");
    machine.apply(davy::engine::Input::Step {
        by: None,
        analysis: "an_1".into(),
        name: "50%".into(),
        weight: Some(0.1 + 0.2),
        steps_follow: None,
    });
    let mut stream = Stream::new(&[7; 32], 0);
    for second in 0..30 {
        let at = f64::from(second) + 0.5;
        machine.silently(at);
        let canary = if second < 10 { 100.0 } else { 300.0 };
        for (arm, median) in [(Arm::Baseline, 100.0), (Arm::Canary, canary)] {
            let mut latency = sample(
                "an_1",
                "latency",
                arm,
                at,
                values(durations(&mut stream, 60, median)),
            );
            latency.unit = Some(format!("t{second}"));
            let queue = sample("an_1", "queue", arm, at, values(vec![median / 7.0]));
            let wrong = sample("an_1", "nonsense", arm, at, values(vec![1.0]));
            machine.send(vec![latency, queue, wrong]);
        }
        machine.clock(f64::from(second) + 1.0);
    }
    machine.effects
}

#[tokio::test]
async fn views_and_events_come_back_as_they_were_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let effects = lived_through();
    let last = effects.iter().rev().find_map(|effect| match effect {
        Effect::Changed(view) => Some(view.clone()),
        _ => None,
    });
    let last = last.expect("it changed");
    let mut kinds = Vec::new();
    for effect in effects {
        let Effect::Changed(view) = effect else {
            if let Effect::Event(event) = &effect {
                kinds.push(event.kind);
            }
            continue;
        };
        let store = open(folder.path(), bounds(0, 1)).await;
        let written = shown(&view);
        commit(&store, vec![Write::Forget("an_1".into())]).await;
        commit(&store, vec![Write::View(view)]).await;
        drop(store);
        let store = open(folder.path(), bounds(0, 1)).await;
        assert_eq!(shown(&view_of(&store, "an_1").await), written);
    }
    assert!(kinds.contains(&EventKind::VerdictFinal), "{kinds:?}");
    assert!(kinds.contains(&EventKind::WatchAlarm), "{kinds:?}");
    let body: Value = serde_json::from_str(&shown(&last)[1]).expect("JSON");
    assert_eq!(body["watch"]["alarms"][0]["metric"], "latency");
    assert!(body["checks"][0]["interval"][1].is_number(), "{body:#}");
}
