//! `docs/walkthrough.md`, run word for word.

use std::process::Command;

use serde_json::Value;

use crate::daemon::TestDaemon;
use crate::support::project_root;

/// The ```bash blocks of a Markdown text, in order. ```sh blocks are for reading.
fn bash_blocks(markdown: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut block: Option<String> = None;
    for line in markdown.lines() {
        match (&mut block, line) {
            (None, "```bash") => block = Some(String::new()),
            (Some(_), "```") => blocks.extend(block.take()),
            (Some(text), line) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, _) => {}
        }
    }
    blocks
}

#[test]
fn only_bash_blocks_are_run() {
    let markdown = "a\n```sh\nno\n```\n```bash\nyes\n  too\n```\n```\nno\n```\n";
    assert_eq!(bash_blocks(markdown), ["yes\n  too\n"]);
}

#[test]
fn the_plan_in_the_readme_is_the_one_in_the_repository_shortened() {
    let read = |path: &str| std::fs::read_to_string(project_root().join(path)).expect(path);
    let readme = read("README.md");
    let shown = readme.split("```yaml\n").nth(1).expect("a plan");
    let shown = shown.split("```").next().expect("its end");
    // Comments may be others, lines may be left out, but none may be added or moved.
    let meaning = |line: &str| -> String {
        let bare = line.split(" #").next().unwrap_or_default();
        bare.trim_end().to_owned()
    };
    let whole = read("config/plans/checkout.yaml");
    let mut rest = whole.lines().map(meaning);
    for line in shown.lines().map(meaning).filter(|line| !line.is_empty()) {
        assert!(
            rest.any(|written| written == line),
            "{line:?} is not there, or not in this order"
        );
    }
    let parsed = davy::config::plan_file::parse_plan("README.md", shown);
    let parsed = parsed.unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(parsed.plan.name, "checkout");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_walkthrough_works() {
    let daemon = TestDaemon::start().await;
    let text = std::fs::read_to_string(project_root().join("docs/walkthrough.md")).expect("there");
    let blocks = bash_blocks(&text);
    assert!(blocks.len() >= 9, "the walkthrough has lost its commands");
    let folder = tempfile::tempdir().expect("a folder");
    let davy = std::path::Path::new(env!("CARGO_BIN_EXE_davy"));
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", davy.parent().expect("a folder").display());
    let script = format!("set -euo pipefail\n{}", blocks.join("\n"));
    let url = daemon.url.clone();
    let working = folder.path().to_path_buf();
    let run = tokio::task::spawn_blocking(move || {
        let mut bash = Command::new("bash");
        bash.args(["-c", &script])
            .current_dir(working)
            .env("DAVY", url)
            .env("PATH", path);
        bash.env("no_proxy", "127.0.0.1")
            .output()
            .expect("bash runs")
    });
    let output = run.await.expect("no panic");
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{out}\n{err}");
    let read = |name: &str| -> Value {
        let text = std::fs::read_to_string(folder.path().join(name)).expect(name);
        serde_json::from_str(&text).expect(name)
    };
    let verdict = read("verdict.json");
    assert_eq!(verdict["verdict"], "fail", "as the text says: {verdict}");
    assert_eq!(verdict["decision"], "rollback");
    assert_eq!(read("replayed.json")["verdict"], "fail");
    assert!(out.contains("\"accepted\":1000"), "{out}");
    assert!(out.contains("\"bare_nan\""), "{out}");
    assert!(out.contains("\"analysis_final\""), "{out}");
    daemon.stop().await;
}
