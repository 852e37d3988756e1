//! A broken copy of a board for each rule: the rule says so.

use serde_json::{Value, json};

use super::lint::{RULES, lint};

/// How a board is broken.
type Break = fn(&mut Value);

fn at<'b>(board: &'b mut Value, pointer: &str) -> &'b mut Value {
    let found = board.pointer_mut(pointer);
    found.unwrap_or_else(|| panic!("the board has a {pointer}"))
}

/// The place of a variable in the list.
fn variable<'b>(board: &'b mut Value, name: &str) -> &'b mut Value {
    let all = at(board, "/templating/list")
        .as_array_mut()
        .expect("a list");
    let found = all.iter_mut().find(|it| it["name"] == name);
    found.expect("the variable is there")
}

/// The query of the first panel; the panel before it is a row.
fn expr(board: &mut Value) -> &mut Value {
    at(board, "/panels/1/targets/0/expr")
}

fn replace(board: &mut Value, from: &str, to: &str) {
    let text = expr(board).as_str().expect("a query").to_owned();
    assert!(text.contains(from), "{text}");
    *expr(board) = json!(text.replace(from, to));
}

const BROKEN: [(&str, Break); 22] = [
    ("template-datasource", |board| {
        variable(board, "datasource")["label"] = json!("source");
    }),
    ("template-job", |board| {
        variable(board, "job")["allValue"] = json!(".*");
    }),
    ("template-instance", |board| {
        variable(board, "instance")["multi"] = json!(false);
    }),
    ("template-label-promql", |board| {
        variable(board, "job")["query"]["query"] = json!("label_values(davy_build_info)");
    }),
    ("template-on-time-change-reload", |board| {
        variable(board, "instance")["refresh"] = json!(1);
    }),
    ("panel-datasource", |board| {
        *at(board, "/panels/1/datasource/uid") = json!("P1809F7CD0C75ACF3");
    }),
    ("panel-title-description", |board| {
        *at(board, "/panels/1/description") = json!("");
    }),
    ("panel-units", |board| {
        *at(board, "/panels/1/fieldConfig/defaults/unit") = json!("seconds");
    }),
    ("panel-no-targets", |board| {
        *at(board, "/panels/1/targets") = json!([]);
    }),
    ("target-promql", |board| replace(board, ")", "")),
    ("target-rate-interval", |board| {
        replace(board, "$__range", "5m");
    }),
    ("target-job", |board| {
        replace(board, "job=~\"$job\", ", "");
    }),
    ("target-instance", |board| {
        replace(board, ", instance=~\"$instance\"", "");
    }),
    ("target-counter-agg", |board| {
        let alone = "davy_looks_total{job=~\"$job\", instance=~\"$instance\"}";
        *expr(board) = json!(alone);
    }),
    ("target-logql", |board| {
        *at(board, "/panels/1/targets/0/datasource/type") = json!("loki");
    }),
    ("target-logql-auto", |board| {
        *at(board, "/panels/1/datasource/type") = json!("loki");
    }),
    ("uneditable-dashboard", |board| {
        board["editable"] = json!(true);
    }),
    ("davy-identity", |board| board["id"] = json!(7)),
    ("davy-places", |board| {
        *at(board, "/panels/2/gridPos/x") = json!(1);
    }),
    ("davy-panels", |board| {
        *at(board, "/panels/1/fieldConfig/defaults/noValue") = json!("");
    }),
    ("davy-annotations", |board| {
        board["annotations"] = json!({"list": []});
    }),
    ("davy-links", |board| board["links"] = json!([])),
];

#[test]
fn every_rule_tells_of_a_board_that_breaks_it() {
    for ((name, _), (broken, breaks)) in RULES.into_iter().zip(BROKEN) {
        assert_eq!(name, broken, "in the order of the rules");
        let mut board = super::board("executive");
        breaks(&mut board);
        let complaints = lint(&board);
        let told = complaints
            .iter()
            .any(|told| told.starts_with(&format!("{name}: ")));
        assert!(told, "{name}: {complaints:?}");
    }
}
