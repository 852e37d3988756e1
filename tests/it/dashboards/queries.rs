//! The queries of a board, and how Grafana fills in their variables.

use serde_json::Value;

/// A query of a board, and where it stands.
#[derive(Debug, Clone)]
pub struct Query {
    /// Such as `panel "Verdicts" A`.
    pub place: String,
    /// As it is written.
    pub text: String,
    /// Asked once, for now, instead of over time.
    pub is_instant: bool,
}

/// The values of variables.
#[derive(Debug, Clone, Copy)]
pub struct Filled {
    pub job: &'static str,
    pub rate_interval_secs: u64,
    pub range_secs: u64,
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list<'v>(value: &'v Value, pointer: &str) -> impl Iterator<Item = &'v Value> {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// Its panels, without the rows.
pub fn panels(board: &Value) -> impl Iterator<Item = &Value> {
    list(board, "/panels").filter(|panel| panel["type"] != "row")
}

/// Its variables.
pub fn variables(board: &Value) -> impl Iterator<Item = &Value> {
    list(board, "/templating/list")
}

/// Its annotations, without Grafana's own.
pub fn annotations(board: &Value) -> impl Iterator<Item = &Value> {
    list(board, "/annotations/list").filter(|annotation| annotation["builtIn"] != 1)
}

/// Every query of panels and annotations.
pub fn queries(board: &Value) -> Vec<Query> {
    let of_panels = panels(board).flat_map(|panel| {
        list(panel, "/targets").map(|target| Query {
            place: format!("panel {} {}", panel["title"], text(&target["refId"])),
            text: text(&target["expr"]).to_owned(),
            is_instant: target["instant"] == true,
        })
    });
    let of_annotations = annotations(board).map(|annotation| Query {
        place: format!("annotation {}", annotation["name"]),
        text: text(&annotation["expr"]).to_owned(),
        is_instant: false,
    });
    of_panels.chain(of_annotations).collect()
}

/// What a variable lists: the selector, and the label.
pub fn label_values(query: &str) -> Option<(&str, &str)> {
    let inner = query.strip_prefix("label_values(")?.strip_suffix(')')?;
    let (selector, label) = inner.rsplit_once(',')?;
    let is_word = |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let label = label.trim();
    (is_word(label) && !label.is_empty()).then_some((selector.trim(), label))
}

/// The query of a variable.
pub fn query_of(variable: &Value) -> &str {
    text(&variable["query"]["query"])
}

// === impl Filled ===

impl Filled {
    /// The text as Grafana sends it. Longer names first: `$instance` is no `$inst`.
    pub fn fill(&self, query: &str) -> String {
        let rate = format!("{}s", self.rate_interval_secs);
        let range = format!("{}s", self.range_secs);
        let pairs = [
            ("$__rate_interval", rate.as_str()),
            ("$__interval", "1s"),
            ("$__range", &range),
            ("$instance", ".+"),
            ("$service", ".+"),
            ("$plan", ".+"),
            ("$job", self.job),
        ];
        let fill = |text: String, (name, value): (&str, &str)| text.replace(name, value);
        pairs.into_iter().fold(query.to_owned(), fill)
    }
}
