//! Every observed row through the command: labels equal, numbers to 1e-6.

use serde_json::Value;

use super::{Files, is_close, lines, number, shared_rows};

/// Holds one answer against what was observed, and says what differs.
fn differences(answer: &Value, expected: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for key in ["classification", "critical"] {
        if answer[key] != expected[key] {
            found.push(format!(
                "{key} {} instead of {}",
                answer[key], expected[key]
            ));
        }
    }
    for key in ["ci_low", "ci_high", "estimate", "effectSize", "deviation"] {
        match (answer.get(key), expected.get(key)) {
            (None | Some(Value::Null), None | Some(Value::Null)) => {}
            (Some(ours), Some(theirs)) if !ours.is_null() => {
                if !is_close(number(ours), number(theirs)) {
                    found.push(format!("{key} {ours} instead of {theirs}"));
                }
            }
            (ours, theirs) => found.push(format!("{key} {ours:?} instead of {theirs:?}")),
        }
    }
    for key in ["n_baseline_used", "n_canary_used"] {
        if expected.get(key).is_some() && answer[key] != expected[key] {
            found.push(format!(
                "{key} {} instead of {}",
                answer[key], expected[key]
            ));
        }
    }
    found
}

#[test]
fn every_observed_row_is_answered_as_it_was() {
    let Some(rows) = shared_rows("kayenta_observed_cases.json") else {
        return;
    };
    let text = serde_json::to_string(&rows).expect("JSON");
    let files = Files::new(&[("rows.json", &text)]);
    let output = files.davy(&["judge", "--kayenta", "rows.json"]);
    assert!(output.stderr.is_empty(), "no parameter is unknown");
    let answers = lines(&output);
    assert_eq!(answers.len(), rows.len());
    assert!(rows.len() >= 80, "{} rows", rows.len());
    let mut told = Vec::new();
    for (row, answer) in rows.iter().zip(&answers) {
        for difference in differences(answer, &row["expected"]) {
            told.push(format!("{}: {difference}", row["name"]));
        }
    }
    assert!(told.is_empty(), "{}", told.join("\n"));
}
