//! Prometheus queries of a configuration, with davy's variables.
//!
//! Owns the way from `${scope}` to `{{arm}}`: matchers that hold a variable tell the sides apart, so
//! they become the plan's `arms`, the same for all metrics, and `{{arm}}` stands where they were. It
//! reads as much of PromQL as tells selectors and strings from the rest. What it cannot bring over is
//! told, never guessed.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::codec::kayenta::configuration::{CanaryConfig, MetricConfig};
use crate::plan::SelectorTemplate;
use crate::plan::query::QueryTemplate;

/// What marks an inline template as a whole expression.
const EXPRESSION: &str = "PromQL:";
/// Kayenta's variable for the side.
const SCOPE: &str = "${scope}";

/// A query whose variable matchers were taken out.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Split {
    /// The query with `{{arm}}` in their place.
    pub text: String,
    /// The matchers, in their order: what the plan's arms have to be.
    pub arms: Vec<String>,
}

/// What became of a metric's query: `Err` says why it was left.
pub(super) type Queried = Result<Split, String>;

impl Split {
    /// The query, where its matchers are those of the plan's arms.
    pub(super) fn under(self, arms: Option<&Vec<String>>) -> Queried {
        if arms == Some(&self.arms) {
            return Ok(self);
        }
        let own = self.arms.join(", ");
        Err(format!(
            "its sides are told apart by {own}, others' by something else, and a plan has one pair of arms"
        ))
    }
}

/// The matchers that most queries share; the first of them where as many share others.
pub(super) fn shared_arms(queries: &[Queried]) -> Option<Vec<String>> {
    let mut counts: Vec<(&Vec<String>, usize)> = Vec::new();
    for split in queries.iter().flatten() {
        match counts.iter_mut().find(|(arms, _)| **arms == split.arms) {
            Some((_, times)) => *times += 1,
            None => counts.push((&split.arms, 1)),
        }
    }
    let most = counts.iter().map(|(_, times)| *times).max()?;
    let first = counts.into_iter().find(|(_, times)| *times == most);
    first.map(|(arms, _)| arms.clone())
}

/// The plan's matchers of one arm: `${scope}` is the arm's own name, other variables keep theirs.
pub(super) fn arm(matchers: &[String], arm: &str) -> String {
    let scoped = matchers
        .join(", ")
        .replace(SCOPE, &format!("{{{{{arm}}}}}"));
    scoped
        .replace("${", "{{")
        .replace('}', "}}")
        .replace("}}}}", "}}")
}

/// The query of a metric, as far as it can be brought over.
pub(super) fn of(metric: &MetricConfig, config: &CanaryConfig) -> Queried {
    let query = metric.query.as_ref().unwrap_or(&Value::Null);
    let text = |key: &str| {
        query[key]
            .as_str()
            .map(str::trim)
            .filter(|text| !text.is_empty())
    };
    match text("type") {
        Some("prometheus") => {}
        Some(other) => return Err(format!("it was fetched from {other}")),
        None => return Err("its query names no type".to_owned()),
    }
    let expression = text("customInlineTemplate").and_then(|text| text.strip_prefix(EXPRESSION));
    if let Some(expression) = expression {
        return split(&one_line(expression)?);
    }
    let filter = match (text("customInlineTemplate"), text("customFilterTemplate")) {
        (Some(inline), _) => one_line(inline)?,
        (None, Some(name)) => {
            let templates: Option<&BTreeMap<String, String>> = config.templates.as_ref();
            let template = templates.and_then(|templates| templates.get(name));
            one_line(template.ok_or_else(|| format!("there is no template {name:?}"))?)?
        }
        (None, None) if text("resourceType").is_some() => {
            return Err("its filter is made by Kayenta of the type of resource".to_owned());
        }
        (None, None) => String::new(),
    };
    let name = text("metricName").ok_or("its query names no metric")?;
    let bindings = query["labelBindings"].as_array().into_iter().flatten();
    let bindings = bindings.filter_map(Value::as_str).map(one_line);
    let mut matchers = bindings.collect::<Result<Vec<String>, String>>()?;
    matchers.push(filter);
    matchers.retain(|one| !one.is_empty());
    split(&format!("avg({name}{{{}}})", matchers.join(", ")))
}

/// Whether a grouping of the query may leave several series: `by` or `without` labels, other than the
/// bounds of a histogram's buckets, which its quantile takes together.
pub(super) fn leaves_groups(query: &str) -> bool {
    let outside: String = outside_quotes(query).map(|(_, char)| char).collect();
    let is_part = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | ':');
    ["by", "without"].into_iter().any(|word| {
        outside.match_indices(word).any(|(at, _)| {
            let rest = outside[at + word.len()..].trim_start();
            let labels = rest.strip_prefix('(').and_then(|rest| rest.split_once(')'));
            let is_word = !outside[..at].ends_with(is_part);
            let is_bound = |label: &str| matches!(label.trim(), "" | "le");
            let leaves = |labels: &str| word == "without" || !labels.split(',').all(is_bound);
            is_word && labels.is_some_and(|(labels, _)| leaves(labels))
        })
    })
}

/// Takes the matchers with variables out of every selector.
fn split(query: &str) -> Queried {
    let mut text = String::with_capacity(query.len());
    let mut arms: Option<Vec<String>> = None;
    let mut rest = query;
    while let Some((before, selector, after)) = next_selector(rest)? {
        let matchers = matchers(selector);
        let (variable, fixed): (Vec<&str>, Vec<&str>) = matchers
            .into_iter()
            .partition(|matcher| matcher.contains("${"));
        text.push_str(before);
        text.push('{');
        if variable.is_empty() {
            text.push_str(selector);
        } else {
            let own: Vec<String> = variable
                .into_iter()
                .map(arm_matcher)
                .collect::<Result<_, _>>()?;
            if arms.as_ref().is_some_and(|known| *known != own) {
                return Err("its selectors tell the sides apart in different ways".to_owned());
            }
            arms = Some(own);
            for matcher in fixed {
                text.push_str(matcher);
                text.push_str(", ");
            }
            if text.ends_with('{') {
                text.push(' ');
            }
            text.push_str("{{arm}} ");
        }
        text.push('}');
        rest = after;
    }
    text.push_str(rest);
    let arms = arms.ok_or("its query is the same for both sides: no matcher holds ${scope}")?;
    if !arms.iter().any(|matcher| matcher.contains(SCOPE)) {
        return Err("no matcher of its query holds ${scope}".to_owned());
    }
    if text.contains("${") {
        return Err("a variable of its query stands outside of a matcher's value".to_owned());
    }
    // What a plan would refuse is better left than found out later.
    QueryTemplate::parse(&text).map_err(|error| error.message)?;
    for name in ["baseline", "canary"] {
        SelectorTemplate::parse(&arm(&arms, name)).map_err(|error| error.message)?;
    }
    Ok(Split { text, arms })
}

/// A matcher as the plan's arms have it, with double quotes; only its value may hold variables.
fn arm_matcher(matcher: &str) -> Result<String, String> {
    let refused = || format!("{matcher} cannot be a matcher of a plan's arms");
    let quote = matcher.find(['"', '\'', '`']).ok_or_else(refused)?;
    let (label, value) = matcher.split_at(quote);
    let inner = value[1..].strip_suffix(&value[..1]).ok_or_else(refused)?;
    if label.contains("${") || inner.contains(['"', '\'', '\\', '`']) {
        return Err(refused());
    }
    let mut names = inner
        .split("${")
        .skip(1)
        .map(|from| from.split('}').next().unwrap_or_default());
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    let braces = inner.replace("${", "").matches(['{', '}']).count();
    if !names.clone().all(is_name) || braces != names.by_ref().count() {
        return Err(refused());
    }
    Ok(format!("{}\"{inner}\"", label.trim()))
}

/// What stands before the next selector, its content, what stands after.
fn next_selector(text: &str) -> Result<Option<(&str, &str, &str)>, String> {
    let Some(open) =
        outside_quotes(text).find(|&(at, char)| char == '{' && !text[..at].ends_with('$'))
    else {
        return Ok(None);
    };
    let inside = &text[open.0 + 1..];
    let close = outside_quotes(inside).find(|&(_, char)| char == '}');
    let (close, _) = close.ok_or("a selector of its query is not closed")?;
    Ok(Some((
        &text[..open.0],
        &inside[..close],
        &inside[close + 1..],
    )))
}

/// Matchers of a selector, split at commas.
fn matchers(selector: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start = 0;
    for (at, char) in outside_quotes(selector) {
        if char == ',' {
            found.push(selector[start..at].trim());
            start = at + 1;
        }
    }
    found.push(selector[start..].trim());
    found.retain(|matcher| !matcher.is_empty());
    found
}

/// Characters that are not within a string, with their places.
fn outside_quotes(text: &str) -> impl Iterator<Item = (usize, char)> {
    let mut within = None;
    let mut escaped = false;
    text.char_indices().filter(move |&(_, char)| match within {
        None => {
            within = matches!(char, '"' | '\'' | '`').then_some(char);
            within.is_none()
        }
        Some(quote) => {
            if char == quote && !escaped {
                within = None;
            }
            escaped = char == '\\' && !escaped && quote != '`';
            false
        }
    })
}

/// Line breaks and runs of blanks as one blank, but within strings: a plan's query is one line.
///
/// # Errors
/// Where it has a comment, which would go on to the end of that line.
fn one_line(text: &str) -> Result<String, String> {
    let outside: BTreeMap<usize, char> = outside_quotes(text).collect();
    if outside.values().any(|&char| char == '#') {
        return Err("its query has a comment".to_owned());
    }
    let mut line = String::with_capacity(text.len());
    for (at, char) in text.char_indices() {
        let is_blank = outside.contains_key(&at) && char.is_whitespace();
        match is_blank {
            true if line.ends_with(' ') => {}
            true => line.push(' '),
            false => line.push(char),
        }
    }
    Ok(line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(query: &str) -> (String, Vec<String>) {
        let found = split(query).expect("split");
        (found.text, found.arms)
    }

    #[test]
    fn matchers_with_variables_become_the_arms() {
        let (text, arms) = told(
            r#"sum(rate(a{code=~"5..",hash="${scope}"}[1m])) / sum(rate(a{ hash='${scope}' }[1m]))"#,
        );
        assert_eq!(
            text,
            r#"sum(rate(a{code=~"5..", {{arm}} }[1m])) / sum(rate(a{ {{arm}} }[1m]))"#
        );
        assert_eq!(arms, [r#"hash="${scope}""#]);
        let (text, arms) = told(r#"b{ns="${namespace}", x="a,b{c}", pod=~"${scope}-.*"}"#);
        assert_eq!(text, r#"b{x="a,b{c}", {{arm}} }"#);
        assert_eq!(
            arm(&arms, "canary"),
            r#"ns="{{namespace}}", pod=~"{{canary}}-.*""#
        );
    }

    #[test]
    fn what_is_no_matcher_is_left_alone() {
        let refused = |query: &str| split(query).expect_err("left");
        assert!(refused(r#"rate(a{b="c"}[1m])"#).contains("the same for both sides"));
        assert!(refused(r#"rate(a{b="${scope}"}[${interval}])"#).contains("outside"));
        assert!(
            refused(r#"a{b="${scope}"} + a{b="${scope}", c="${zone}"}"#).contains("different ways")
        );
        assert!(refused(r#"a{b="${zone}"}"#).contains("no matcher of its query holds"));
        assert!(refused(r#"a{${label}="${scope}"}"#).contains("cannot be a matcher"));
        assert!(refused(r#"a{b="${the-scope}", c="${scope}"}"#).contains("cannot be a matcher"));
        assert!(refused(r#"a{b="${scope}""#).contains("not closed"));
    }

    #[test]
    fn groupings_that_may_leave_several_series_are_seen() {
        for (query, expected) in [
            ("sum by (pod) (rate(a{b=\"c\"}[1m]))", true),
            ("sum(rate(a[1m])) by(pod, zone)", true),
            ("avg without (pod) (a)", true),
            (
                "histogram_quantile(0.9, sum by (le) (rate(a_bucket[1m])))",
                false,
            ),
            ("sum by () (a)", false),
            ("sum(a{b=\"by (pod)\"})", false),
            ("standby (a)", false),
            ("by_pod(a)", false),
            ("a / b", false),
        ] {
            assert_eq!(leaves_groups(query), expected, "{query}");
        }
    }

    #[test]
    fn the_most_frequent_matchers_win() {
        let queries: Vec<Queried> = [
            r#"a{x="${scope}"}"#,
            r#"a{y="${scope}"}"#,
            r#"b{y="${scope}"}"#,
            "c",
        ]
        .map(split)
        .into();
        let arms = shared_arms(&queries);
        assert_eq!(arms, Some(vec![r#"y="${scope}""#.to_owned()]));
        assert!(
            queries[0]
                .clone()
                .and_then(|query| query.under(arms.as_ref()))
                .is_err()
        );
        assert_eq!(shared_arms(&[Err("none".to_owned())]), None);
    }
}
