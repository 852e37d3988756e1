//! The rules of `alerts.yml`, as promtool reads and tests them, and where they send people.

use std::collections::BTreeSet;

use regex::Regex;

use super::{complaint, folder, promtool};
use crate::support::project_root;

/// Whether promtool takes these rules.
fn check(text: &str) -> Option<Result<(), String>> {
    let copy = tempfile::tempdir().expect("a folder");
    std::fs::write(copy.path().join("rules.yml"), text).expect("written");
    let output = promtool(&["check", "rules", "rules.yml"], copy.path())?;
    Some(complaint(&output).map_or(Ok(()), Err))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).expect("the file is there")
}

fn found(text: &str, pattern: &str) -> Vec<String> {
    let pattern = Regex::new(pattern).expect("a regex");
    let found = pattern.captures_iter(text);
    found.map(|found| found[1].to_owned()).collect()
}

#[test]
fn promtool_takes_the_rules_and_each_alert_fires_when_it_should() {
    let rules = read("alerts.yml");
    let Some(taken) = check(&rules) else { return };
    assert_eq!(taken, Ok(()));
    let broken = rules.replacen("rate(", "rate((", 1);
    assert!(check(&broken).is_some_and(|taken| taken.is_err()));
    let tested = promtool(&["test", "rules", "alerts.test.yml"], &folder()).expect("as before");
    assert_eq!(complaint(&tested), None);
    // Tests that nothing can fail would be none: with another threshold one fails.
    let copy = tempfile::tempdir().expect("a folder");
    let other = rules.replace("{limit=\"analyses\"} > 0.9", "{limit=\"analyses\"} > 2");
    assert_ne!(other, rules);
    std::fs::write(copy.path().join("alerts.yml"), other).expect("written");
    let tests = read("alerts.test.yml");
    std::fs::write(copy.path().join("alerts.test.yml"), &tests).expect("written");
    let tested = promtool(&["test", "rules", "alerts.test.yml"], copy.path()).expect("as before");
    let said = complaint(&tested).expect("one fails");
    assert!(said.contains("DavyAnalysesNearLimit"), "{said}");
    // Each alert is tested both ways.
    for alert in found(&rules, r"- alert: (\w+)") {
        let named = found(&tests, &format!(r"(alertname: {alert}\b)")).len();
        assert!(named >= 2, "{alert} is tested {named} times");
    }
}

/// Anchors as the usual renderers make them of headings.
fn anchors(document: &str) -> BTreeSet<String> {
    let headings = found(document, r"(?m)^#+ (.+)$").into_iter();
    let anchor = |heading: String| {
        let kept = heading.to_lowercase().replace(' ', "-");
        let is_kept = |letter: &char| letter.is_alphanumeric() || matches!(letter, '-' | '_');
        kept.chars().filter(is_kept).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn every_alert_says_what_it_is_and_where_to_read_on() {
    let rules = read("alerts.yml");
    let alerts: Vec<&str> = rules.split("- alert: ").skip(1).collect();
    assert!(alerts.len() > 15);
    for alert in &alerts {
        for part in ["severity: ", "summary: ", "description: ", "runbook: "] {
            assert!(alert.contains(part), "{part} is missing: {alert}");
        }
    }
    let operations = std::fs::read_to_string(project_root().join("docs/operations.md"));
    let anchors = anchors(&operations.expect("the document"));
    let guide = std::fs::read_to_string(project_root().join("docs/dashboards.md"));
    let guide = guide.expect("the document");
    for alert in found(&rules, r"- alert: (\w+)") {
        assert!(
            guide.contains(&format!("`{alert}`")),
            "docs/dashboards.md lacks {alert}"
        );
    }
    for place in found(&rules, r"runbook: (\S+)") {
        let anchor = place
            .strip_prefix("docs/operations.md#")
            .expect("a runbook");
        assert!(anchors.contains(anchor), "{anchor} is none of {anchors:?}");
    }
}
