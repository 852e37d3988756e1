//! What a board must be: the seventeen rules of Grafana's dashboard-linter, and the house's own.
//!
//! Written anew from what the rules say; the linter itself is a Go program that is not run here. Each
//! rule is a function of the board, so that `broken` can show it one that breaks it. Rules of the
//! linter have its names, less the suffix `-rule`; ours begin with `davy-`. None is excluded: those
//! about Loki hold since no board asks it.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::Value;

use super::queries::{annotations, label_values, panels, queries, query_of, variables};

/// A board in, complaints out.
pub type Rule = fn(&Value) -> Vec<String>;

/// The rules, by name.
pub const RULES: [(&str, Rule); 22] = [
    ("template-datasource", template_datasource),
    ("template-job", |board| template(board, "job")),
    ("template-instance", |board| template(board, "instance")),
    ("template-label-promql", template_label_promql),
    ("template-on-time-change-reload", template_reload),
    ("panel-datasource", panel_datasource),
    ("panel-title-description", panel_title_description),
    ("panel-units", panel_units),
    ("panel-no-targets", panel_no_targets),
    ("target-promql", target_promql),
    ("target-rate-interval", target_rate_interval),
    ("target-job", |board| target_matcher(board, "job")),
    ("target-instance", |board| target_matcher(board, "instance")),
    ("target-counter-agg", target_counter_agg),
    ("target-logql", no_loki),
    ("target-logql-auto", no_loki),
    ("uneditable-dashboard", uneditable),
    ("davy-identity", identity),
    ("davy-places", places),
    ("davy-panels", panels_of_ours),
    ("davy-annotations", annotations_of_ours),
    ("davy-links", links),
];

/// Units in use: ids of `@grafana/data` 13.2.3, `valueFormats/categories`.
const UNITS: [&str; 9] = [
    "none",
    "short",
    "percentunit",
    "s",
    "bytes",
    "Bps",
    "reqps",
    "ops",
    "cps",
];

/// How long a board's uid may be.
const UID_CHARS_MAX: usize = 40;

/// Complaints about a board, each with its rule.
pub fn lint(board: &Value) -> Vec<String> {
    let complaints = RULES.iter().flat_map(|(name, rule)| {
        let found = rule(board).into_iter();
        found.map(move |complaint| format!("{name}: {complaint}"))
    });
    complaints.collect()
}

fn regex(text: &str) -> Regex {
    Regex::new(text).expect("a regex")
}

fn is_source(value: &Value) -> bool {
    let uid = value["uid"].as_str();
    value["type"] == "prometheus" && matches!(uid, Some("$datasource" | "${datasource}"))
}

fn unless(is_right: bool, complaint: impl Into<String>) -> Vec<String> {
    if is_right {
        Vec::new()
    } else {
        vec![complaint.into()]
    }
}

fn variable<'b>(board: &'b Value, name: &str) -> Option<&'b Value> {
    variables(board).find(|variable| variable["name"] == name)
}

// === variables ===

fn template_datasource(board: &Value) -> Vec<String> {
    let is_right = variable(board, "datasource").is_some_and(|it| {
        (&it["type"], &it["query"], &it["label"])
            == (
                &"datasource".into(),
                &"prometheus".into(),
                &"Data source".into(),
            )
    });
    unless(is_right, "no variable datasource, labelled Data source")
}

fn template(board: &Value, name: &str) -> Vec<String> {
    let is_right = variable(board, name).is_some_and(|it| {
        it["type"] == "query"
            && is_source(&it["datasource"])
            && it["label"] == name
            && it["multi"] == true
            && it["includeAll"] == true
            && it["allValue"] == ".+"
    });
    unless(is_right, format!("no variable {name} as it is to be"))
}

fn template_label_promql(board: &Value) -> Vec<String> {
    let asked = variables(board).filter(|it| it["type"] == "query");
    let wrong = asked.filter(|it| label_values(query_of(it)).is_none());
    wrong.map(|it| format!("variable {}", it["name"])).collect()
}

fn template_reload(board: &Value) -> Vec<String> {
    let asked = variables(board).filter(|it| it["type"] == "query" && it["refresh"] != 2);
    asked.map(|it| format!("variable {}", it["name"])).collect()
}

// === panels ===

fn each(board: &Value, is_right: impl Fn(&Value) -> bool) -> Vec<String> {
    let wrong = panels(board).filter(|panel| !is_right(panel));
    wrong
        .map(|panel| format!("panel {}", panel["title"]))
        .collect()
}

fn targets(panel: &Value) -> &[Value] {
    panel["targets"].as_array().map_or(&[], Vec::as_slice)
}

fn panel_datasource(board: &Value) -> Vec<String> {
    each(board, |panel| {
        is_source(&panel["datasource"])
            && targets(panel)
                .iter()
                .all(|target| is_source(&target["datasource"]))
    })
}

fn panel_title_description(board: &Value) -> Vec<String> {
    let says = |value: &Value| value.as_str().is_some_and(|text| !text.trim().is_empty());
    each(board, |panel| {
        says(&panel["title"]) && says(&panel["description"])
    })
}

fn panel_units(board: &Value) -> Vec<String> {
    let is_known = |unit: &Value| unit.as_str().is_some_and(|unit| UNITS.contains(&unit));
    each(board, |panel| {
        is_known(&panel["fieldConfig"]["defaults"]["unit"])
    })
}

fn panel_no_targets(board: &Value) -> Vec<String> {
    each(board, |panel| {
        let asks = |target: &Value| target["expr"].as_str().is_some_and(|text| !text.is_empty());
        !targets(panel).is_empty() && targets(panel).iter().all(asks)
    })
}

// === queries ===

/// Brackets and quotes that do not close. What a query means Prometheus says, in `live`.
fn target_promql(board: &Value) -> Vec<String> {
    let closes = |text: &str| {
        let mut open = Vec::new();
        let mut in_quotes = false;
        for letter in text.chars() {
            match letter {
                '"' => in_quotes = !in_quotes,
                _ if in_quotes => {}
                '(' | '[' | '{' => open.push(letter),
                ')' if open.pop() != Some('(') => return false,
                ']' if open.pop() != Some('[') => return false,
                '}' if open.pop() != Some('{') => return false,
                _ => {}
            }
        }
        open.is_empty() && !in_quotes
    };
    let wrong = queries(board)
        .into_iter()
        .filter(|query| !closes(&query.text));
    wrong.map(|query| query.place).collect()
}

/// A query without what stands in quotes.
fn bare(text: &str) -> String {
    regex("\"[^\"]*\"").replace_all(text, "\"\"").into_owned()
}

/// Ranges stand in rate, irate and increase only: of what Grafana computes for the resolution, and of
/// the whole time for numbers over it.
fn target_rate_interval(board: &Value) -> Vec<String> {
    let ranges = regex(r"(\w+)\(\s*\w+(?:\{[^}]*\})?\[([^\]]*)\]");
    let is_right = |text: &str| {
        let text = bare(text);
        let found: Vec<_> = ranges.captures_iter(&text).collect();
        let is_known = |function: &str, over: &str| match over {
            "$__rate_interval" => matches!(function, "rate" | "irate" | "increase"),
            "$__range" => function == "increase",
            _ => false,
        };
        let known = found.iter().all(|range| is_known(&range[1], &range[2]));
        known && found.len() == text.matches('[').count()
    };
    let wrong = queries(board)
        .into_iter()
        .filter(|query| !is_right(&query.text));
    wrong.map(|query| query.place).collect()
}

fn target_matcher(board: &Value, label: &str) -> Vec<String> {
    let matcher = format!("{label}=~\"${label}\"");
    let selectors = regex(r"\b(?:davy|process|up)_?\w*\b(\{[^}]*\})?");
    let is_right = |text: &str| {
        let found: Vec<_> = selectors.captures_iter(text).collect();
        let has = |selector: &regex::Captures<'_>| {
            let braces = selector.get(1).map_or("", |braces| braces.as_str());
            braces.contains(&matcher)
        };
        !found.is_empty() && found.iter().all(has)
    };
    let wrong = queries(board)
        .into_iter()
        .filter(|query| !is_right(&query.text));
    wrong.map(|query| query.place).collect()
}

fn target_counter_agg(board: &Value) -> Vec<String> {
    let counters = regex(r"(?:\b(\w+)\(\s*)?\b\w+_total\b");
    let is_right = |text: &str| {
        let text = bare(text);
        let within = |found: regex::Captures<'_>| {
            let function = found.get(1).map_or("", |name| name.as_str());
            matches!(function, "rate" | "irate" | "increase")
        };
        counters.captures_iter(&text).all(within)
    };
    let wrong = queries(board)
        .into_iter()
        .filter(|query| !is_right(&query.text));
    wrong.map(|query| query.place).collect()
}

fn no_loki(board: &Value) -> Vec<String> {
    unless(!board.to_string().contains("\"loki\""), "Loki is asked")
}

fn uneditable(board: &Value) -> Vec<String> {
    unless(board["editable"] == false, "it can be edited")
}

// === of the house ===

fn identity(board: &Value) -> Vec<String> {
    let uid = board["uid"].as_str().unwrap_or_default();
    let mut found = unless(
        uid.starts_with("davy-") && uid.len() <= UID_CHARS_MAX,
        "the uid is not davy's",
    );
    found.extend(unless(board["id"].is_null(), "the id is Grafana's to give"));
    let schema = board["schemaVersion"].as_u64().unwrap_or(0);
    found.extend(unless(schema >= 39, "the schema is older than 39"));
    found.extend(unless(
        board["graphTooltip"] == 1,
        "the crosshair is not shared",
    ));
    found.extend(unless(
        board["timezone"] == "browser",
        "the time zone is fixed",
    ));
    let tags = board["tags"].to_string();
    found.extend(unless(tags.contains("\"davy\""), "the tag davy is missing"));
    found
}

fn number(panel: &Value, key: &str) -> u64 {
    panel["gridPos"][key].as_u64().unwrap_or(u64::MAX / 4)
}

fn places(board: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in board["panels"].as_array().into_iter().flatten() {
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| number(panel, key));
        let fits = x.saturating_add(w) <= 24 && h <= 100;
        found.extend(unless(
            fits,
            format!("panel {} is too wide", panel["title"]),
        ));
        found.extend(unless(
            ids.insert(panel["id"].as_u64()),
            format!("panel {} has the id of another", panel["title"]),
        ));
        let mut cells = (x..x + w).flat_map(|column| (y..y + h).map(move |line| (column, line)));
        let is_free = fits && cells.all(|cell| taken.insert(cell));
        found.extend(unless(
            is_free,
            format!("panel {} lies over another", panel["title"]),
        ));
    }
    found
}

fn panels_of_ours(board: &Value) -> Vec<String> {
    each(board, |panel| {
        let none = panel["fieldConfig"]["defaults"]["noValue"].as_str();
        let exact = |target: &Value| target["exemplar"] == false;
        none.is_some_and(|text| !text.is_empty()) && targets(panel).iter().all(exact)
    })
}

fn annotations_of_ours(board: &Value) -> Vec<String> {
    let all: Vec<&Value> = annotations(board).collect();
    let tells = all.iter().any(|it| {
        let asked = it["expr"].as_str().unwrap_or_default();
        asked.contains("davy_verdict_changes_total")
    });
    let mut found = unless(tells, "no annotation tells of verdicts that change");
    found.extend(unless(
        all.iter().all(|it| is_source(&it["datasource"])),
        "an annotation asks another source",
    ));
    found
}

fn links(board: &Value) -> Vec<String> {
    let links = board["links"].as_array().map_or(&[][..], Vec::as_slice);
    let to_boards = links
        .iter()
        .any(|link| link["type"] == "dashboards" && link["includeVars"] == true);
    let to_davy = links.iter().any(|link| {
        link["url"]
            .as_str()
            .is_some_and(|url| url.starts_with("${davy}/"))
    });
    let mut found = unless(to_boards, "no link to the other boards");
    found.extend(unless(to_davy, "no link to davy"));
    found
}

#[test]
fn every_board_keeps_every_rule() {
    let mut uids = BTreeSet::new();
    for name in super::BOARDS {
        let board = super::board(name);
        assert_eq!(lint(&board), Vec::<String>::new(), "{name}");
        assert!(uids.insert(board["uid"].to_string()), "{name}: a uid twice");
    }
}
