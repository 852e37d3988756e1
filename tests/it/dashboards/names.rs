//! Names of metrics: those of the code, of davy's answer, of the boards, of the rules, of the documents.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use regex::Regex;
use serde_json::Value;

use super::queries::{queries, query_of, variables};
use crate::daemon::TestDaemon;
use crate::support::project_root;

/// What looks like a metric of davy's in documents and is none: a table, and what Flagger asks for.
const NO_METRICS: [&str; 2] = ["davy_schema", "davy_verdict"];

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn words(text: &str, pattern: &str) -> BTreeSet<String> {
    let pattern = Regex::new(pattern).expect("a regex");
    let found = pattern.captures_iter(text);
    found.map(|found| found[1].to_owned()).collect()
}

/// The files of a folder with this ending, all that lie below it.
fn files(folder: &Path, ending: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => found.extend(files(&path, ending)),
            false if path.extension().is_some_and(|own| own == ending) => found.push(path),
            false => {}
        }
    }
    found
}

/// Every metric that the code registers.
pub fn in_code() -> BTreeSet<String> {
    let telemetry = project_root().join("src/telemetry");
    let mut sources = files(&telemetry, "rs");
    sources.push(project_root().join("src/telemetry.rs"));
    let text: String = sources.iter().map(|path| read(path)).collect();
    words(&text, r#""(davy_[a-z_]+)""#)
}

/// The metric that a name in a query stands for: a histogram has three.
fn metric<'n>(name: &'n str, known: &BTreeSet<String>) -> &'n str {
    let endings = ["_bucket", "_sum", "_count"];
    let base = endings.iter().find_map(|ending| name.strip_suffix(ending));
    base.filter(|base| known.contains(*base)).unwrap_or(name)
}

/// Names in these texts that no metric has.
pub fn unknown(texts: &[(String, String)], known: &BTreeSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    for (place, text) in texts {
        for name in words(text, r"\b(davy_[a-z_]*[a-z])\b") {
            let own = metric(&name, known);
            if !known.contains(own) && !NO_METRICS.contains(&own) {
                found.push(format!("{place}: no metric is named {name}"));
            }
        }
    }
    found
}

/// What a board asks for, by place.
pub fn asked(board: &Value) -> Vec<(String, String)> {
    let of_queries = queries(board)
        .into_iter()
        .map(|query| (query.place, query.text));
    let of_variables = variables(board).map(|it| {
        let place = format!("variable {}", it["name"]);
        (place, query_of(it).to_owned())
    });
    of_queries.chain(of_variables).collect()
}

#[test]
fn boards_and_rules_ask_only_for_metrics_that_there_are() {
    let known = in_code();
    assert!(known.len() > 60, "{known:?}");
    let mut seen = BTreeMap::new();
    for name in super::BOARDS {
        let asked = asked(&super::board(name));
        assert_eq!(unknown(&asked, &known), Vec::<String>::new(), "{name}");
        seen.insert(name, asked.len());
    }
    let recorded = Regex::new(r"\b[a-z_]+:davy_[a-z_0-9:]+").expect("a regex");
    for name in ["alerts.yml", "alerts.test.yml"] {
        let text = read(&super::folder().join(name));
        let text = recorded.replace_all(&text, "recorded").into_owned();
        let found = unknown(&[(name.to_owned(), text)], &known);
        assert_eq!(found, Vec::<String>::new());
    }
    // It would tell.
    let renamed = [("a panel".to_owned(), "rate(davy_look_total[5m])".to_owned())];
    assert_eq!(unknown(&renamed, &known).len(), 1, "{seen:?}");
}

#[test]
fn the_documents_name_every_metric_and_no_other() {
    let known = in_code();
    let root = project_root();
    let operations = read(&root.join("docs/operations.md"));
    let named = words(&operations, r"\b(davy_[a-z_]*[a-z])\b");
    let forgotten: Vec<&String> = known.difference(&named).collect();
    assert!(
        forgotten.is_empty(),
        "docs/operations.md lacks {forgotten:?}"
    );
    let mut documents = files(&root.join("docs"), "md");
    documents.extend(["README.md", "CHANGELOG.md", "ARCHITECTURE.md"].map(|name| root.join(name)));
    let families = Regex::new(r"\bdavy_[a-z_]*_?\*").expect("a regex");
    let texts: Vec<(String, String)> = documents
        .iter()
        .map(|path| {
            let text = families.replace_all(&read(path), "").into_owned();
            (path.display().to_string(), text)
        })
        .collect();
    assert_eq!(unknown(&texts, &known), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn davy_answers_with_metrics_of_the_code_and_promtool_likes_them() {
    let daemon = TestDaemon::start().await;
    let id = daemon.begin().await;
    daemon
        .post(&format!("/v1/analyses/{id}/cancel"), &Value::Null)
        .await;
    let request = daemon.client.get(format!("{}/metrics", daemon.url));
    let text = request
        .send()
        .await
        .expect("an answer")
        .text()
        .await
        .expect("text");
    let answered = words(&text, r"(?m)^# TYPE (davy_[a-z_]+) ");
    let known = in_code();
    assert!(
        answered.is_subset(&known),
        "{:?}",
        answered.difference(&known)
    );
    // What is left needs a webhook, a source or TLS.
    assert!(answered.len() > 50, "{answered:?}");
    daemon.stop().await;
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("metrics"), &text).expect("written");
    let check = std::process::Command::new("sh")
        .args(["-c", "promtool check metrics < metrics"])
        .current_dir(folder.path())
        .output();
    if super::promtool(&["--version"], folder.path()).is_some() {
        assert_eq!(super::complaint(&check.expect("ran")), None);
    }
}
