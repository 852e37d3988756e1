//! The table of reported cases in docs/kayenta.md, computed again.
//!
//! Owns how its cells are written. The data are what people attached to their reports; they lie
//! beside the project and nowhere in it.

use serde_json::Value;

use super::{Files, lines, number, numbers, shared_rows};
use crate::support::project_root;

/// Cells of the table's rows, without its head.
fn table() -> Vec<Vec<String>> {
    let path = project_root().join("docs/kayenta.md");
    let text = std::fs::read_to_string(path).expect("the page");
    let section = text
        .split("## Seven reported cases")
        .nth(1)
        .expect("the section");
    let section = section.split("\n## ").next().unwrap_or(section);
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    let cells = |row: &str| {
        row.trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect()
    };
    rows.map(cells).collect()
}

fn label_of_kayenta(files: &Files) -> (String, Value) {
    let answer = lines(&files.davy(&["judge", "--kayenta", "row.json"])).remove(0);
    let label = answer["classification"]
        .as_str()
        .expect("a label")
        .to_owned();
    let critical = if answer["critical"] == true {
        ", critical"
    } else {
        ""
    };
    (format!("{label}{critical}"), answer)
}

/// `davy compare` with its defaults on the same points; what is replaced by 0 for one is for the other.
fn verdict_of_davy(row: &Value) -> String {
    let column = |arm: &str| -> String {
        let replaced = row["params"]["nanStrategy"] == "replace";
        let known = |value: f64| {
            if replaced && value.is_nan() {
                0.0
            } else {
                value
            }
        };
        numbers(&row[arm])
            .into_iter()
            .map(|value| format!("{}\n", known(value)))
            .collect()
    };
    let files = Files::new(&[("b", &column("baseline")), ("c", &column("canary"))]);
    let found = lines(&files.davy(&["compare", "b", "c", "--output", "json"])).remove(0);
    let word = |key: &str| found[key].as_str().expect("a word").to_owned();
    format!("{}: {}", word("verdict"), word("reason"))
}

#[test]
fn the_documented_table_is_what_both_judges_say() {
    let Some(rows) = shared_rows("kayenta_issue_cases.json") else {
        return;
    };
    let documented = table();
    assert_eq!((rows.len(), documented.len()), (7, 7));
    for (row, cells) in rows.iter().zip(&documented) {
        let mut row = row.clone();
        let told = row["expected"].clone();
        // What the reporter wanted is no setting.
        row["params"]
            .as_object_mut()
            .expect("params")
            .remove("reporter");
        let files = Files::new(&[("row.json", &Value::from(vec![row.clone()]).to_string())]);
        let (label, answer) = label_of_kayenta(&files);
        let thread = row["name"]
            .as_str()
            .and_then(|name| name.split(' ').next())
            .expect("a thread");
        assert!(cells[0].contains(thread), "{cells:?} is not about {thread}");
        assert_eq!(cells[3], label, "{}", row["name"]);
        assert_eq!(cells[4], verdict_of_davy(&row), "{}", row["name"]);
        // And Kayenta's own answer is the same.
        assert_eq!(answer["classification"], told["kayenta_classification"]);
        assert_eq!(answer["critical"], told["kayenta_critical"]);
        for key in ["ci_low", "ci_high", "estimate", "deviation"] {
            let (found, expected) = (number(&answer[key]), number(&told[key]));
            assert!(
                super::is_close(found, expected),
                "{}: {key} {found} {expected}",
                row["name"]
            );
        }
    }
}
