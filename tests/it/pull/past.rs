//! `davy replay --prometheus`: a past interval, as a person asks for it.

use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use super::fake::{Asked, Fake, plain};

/// 14 November 2023, 22:13:20 UTC.
const FROM: i64 = 1_700_000_000;
const PLAN: &str = r#"version: davy/v1
plan: past
horizon: 12m
tick: 1s
lateness: 3s
min_duration: 10m
stop_on_pass: false
arms:
  baseline: 'job="shop", version="{{baseline}}"'
  canary: 'job="shop", version="{{canary}}"'
metrics:
  errors: {kind: ratio, prometheus: {bad: 'failed{ {{arm}} }', total: 'all{ {{arm}} }'}}
  depth: {kind: gauge, prometheus: 'depth{ {{arm}} }'}
checks:
  - {compare: errors, tolerance: {relative: 50%, absolute: 1pp}}
  - {compare: depth, tolerance: 20%, gating: false}
"#;

fn answers(asked: &Asked) -> axum::response::Response {
    let since = |secs: f64| secs - 1.7e9 + 1_000.0;
    match asked.query() {
        query if query.starts_with("depth") => asked.series(|secs| 10.0 + (secs * 7.0) % 3.0),
        query if query.starts_with("failed") => {
            asked.series(move |secs| (since(secs) * 2.0).round())
        }
        _ => asked.series(move |secs| (since(secs) * 500.0).round()),
    }
}

struct Folder(TempDir);

impl Folder {
    fn new(plan: &str) -> Folder {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("plan.yaml"), plan).expect("written");
        Folder(folder)
    }

    async fn davy(&self, arguments: &[&str]) -> (Output, String, String) {
        let mut davy = Command::new(env!("CARGO_BIN_EXE_davy"));
        davy.args(arguments).current_dir(self.0.path());
        let output = tokio::task::spawn_blocking(move || davy.output()).await;
        let output = output.expect("no panic").expect("davy runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        (output, out, err)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interval_is_fetched_in_pieces_recorded_and_judged() {
    let fake = Fake::start(answers).await;
    let folder = Folder::new(PLAN);
    let arguments = [
        "replay",
        "--plan",
        "plan.yaml",
        "--prometheus",
        &fake.url,
        "--from",
        "2023-11-14T22:13:20Z",
        "--to",
        "1700000725",
        "--arms",
        "baseline=v1,canary=v2",
        "--record",
        "rec.ndjson",
        "--header",
        "X-Scope-OrgID=payments",
        "--output",
        "json",
        "--exit-code",
    ];
    let (output, out, err) = folder.davy(&arguments).await;
    let last: Value = serde_json::from_str(out.lines().last().expect("a look")).expect("json");
    assert_eq!(output.status.code(), Some(0), "{err}{last}");
    assert_eq!(
        (&last["verdict"], &last["final"]),
        (&"pass".into(), &true.into()),
        "{last}"
    );
    assert_eq!(last["elapsed_secs"], 720.0);
    let checks = last["checks"].as_array().expect("checks");
    assert_eq!(checks[0]["samples"]["canary"], 720 * 500, "{last}");
    // No query about more than 500 ticks and the instant before the first; none is left out.
    let asked = fake.asked();
    let all: Vec<&Asked> = asked
        .iter()
        .filter(|a| a.query() == "all{ job=\"shop\",version=\"v1\" }")
        .collect();
    let counts: Vec<usize> = all.iter().map(|asked| asked.instants().len()).collect();
    assert_eq!(counts, [501, 225]);
    assert_eq!(all[0].instants()[0], FROM as f64 - 0.001);
    assert_eq!(asked[0].headers["x-scope-orgid"], "payments");
    // The recording needs no network, and says the same.
    drop(fake);
    let (output, again, err) = folder
        .davy(&["replay", "rec.ndjson", "--output", "json", "--exit-code"])
        .await;
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert_eq!(again, out);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_fetched_or_judged_is_an_error_with_its_reason() {
    let fake = Fake::start(|_| {
        plain(
            400,
            r#"{"status":"error","errorType":"bad_data","error":"no such function"}"#,
        )
    })
    .await;
    let folder = Folder::new(PLAN);
    let with = |change: &[(&str, &str)]| {
        let mut arguments = vec![
            "replay",
            "--plan",
            "plan.yaml",
            "--prometheus",
            &fake.url,
            "--from",
            "1700000000",
            "--to",
            "1700000060",
            "--arms",
            "baseline=v1,canary=v2",
        ];
        for (option, value) in change {
            let at = arguments
                .iter()
                .position(|known| known == option)
                .expect("there");
            arguments[at + 1] = value;
        }
        arguments
            .iter()
            .map(|argument| argument.to_string())
            .collect::<Vec<String>>()
    };
    for (change, told) in [
        (&[][..], "no such function"),
        (&[("--to", "1700000000.5")][..], "shorter than a tick"),
        (&[("--to", "4000000000")][..], "lies in the future"),
        (
            &[("--arms", "baseline=v1")][..],
            "`canary`, which was not given",
        ),
        (&[("--arms", "v1")][..], "is not NAME=VALUE"),
        (&[("--prometheus", "ftp://x")][..], "not http or https"),
    ] {
        let arguments = with(change);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (output, out, err) = folder.davy(&arguments).await;
        assert_eq!(output.status.code(), Some(3), "{out}{err}");
        assert!(err.contains(told), "{told}\n{err}");
    }
    let (output, _, err) = folder
        .davy(&["replay", "--prometheus", "http://localhost"])
        .await;
    assert_eq!(output.status.code(), Some(64), "{err}");
    let (output, _, err) = folder.davy(&["replay"]).await;
    assert_eq!(output.status.code(), Some(64), "{err}");
    // An interval that ends before the plan does.
    fake.answer(answers);
    let arguments = with(&[]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (output, out, err) = folder.davy(&arguments).await;
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert!(out.trim_end().ends_with("give a later --to"), "{out}");
    assert_eq!(out.lines().count(), 61, "{out}");
}
