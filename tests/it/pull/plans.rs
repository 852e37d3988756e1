//! Plans that are pulled, and configurations with a source, as they are written.

use davy::config::layers::check_config_file;
use davy::config::plan_file::parse_plan;
use davy::config::{Config, Severity};
use davy::plan::{Pulled, Source};
use davy::pull::rules;

const HEAD: &str = "version: davy/v1\nplan: pulled\nhorizon: 30m\nlateness: 30s\n";
const ARMS: &str =
    "arms: {baseline: 'v=\"{{baseline}}\"', canary: 'v=\"{{canary}}\", ns=\"{{ns}}\"'}\n";

fn plan(metric: &str) -> String {
    format!(
        "{HEAD}{ARMS}metrics:\n  m: {{{metric}}}\nchecks: [{{compare: m, tolerance: {{relative: 20%, absolute: 1}}}}]\n"
    )
}

fn problem(text: &str) -> String {
    let problems = parse_plan("p.yaml", text).expect_err("it is refused");
    let first = &problems.items[0];
    let help = first.help.as_deref().unwrap_or_default();
    format!(
        "{}:{} {}: {} | {help}",
        first.line, first.column, first.path, first.message
    )
}

#[test]
fn every_form_is_read_and_round_trips() {
    for metric in [
        "kind: gauge, prometheus: 'sum(depth{ {{arm}} })'",
        "kind: ratio, prometheus: {bad: 'e{ {{arm}} }', total: 't{ {{arm}} }'}",
        "kind: ratio, from: counter, prometheus: {bad: 'e{ {{arm}} }', total: 't{ {{arm}} }'}",
        "kind: ratio, above: {bound: 0.25}, prometheus: 'b_bucket{ {{arm}}, ns=\"{{ns}}\" }'",
        "kind: rate, prometheus: {events: 'e{ {{arm}} }'}",
        "kind: rate, prometheus: {events: 'e{ {{arm}} }', exposure: 't{ {{arm}} }'}",
    ] {
        let text = plan(metric);
        let text = match metric.contains("ratio") {
            true => text.replace("absolute: 1}", "absolute: 1pp}"),
            false => text,
        };
        let read = parse_plan("p.yaml", &text)
            .unwrap_or_else(|problems| panic!("{problems}"))
            .plan;
        assert!(read.metrics[0].source.pulled().is_some(), "{metric}");
        let json = serde_json::to_string(&read).expect("plain data");
        let again: davy::plan::Plan = serde_json::from_str(&json).expect("it was a plan");
        assert_eq!(again, read);
        assert_eq!(again.hash(), read.hash());
        let timed = matches!(
            &read.metrics[0].source,
            Source::Pulled(Pulled::Rate { exposure: None, .. })
        );
        assert_eq!(read.metrics[0].source.is_timed(), timed);
    }
}

#[test]
fn what_turns_totals_into_something_else_is_doubted() {
    let warned = |metric: &str| -> Vec<String> {
        let text = plan(metric).replace("absolute: 1}", "absolute: 1pp}");
        let text = match metric.contains("ratio") {
            true => text,
            false => plan(metric),
        };
        let parsed = parse_plan("p.yaml", &text);
        let parsed = parsed.unwrap_or_else(|problems| panic!("{problems}"));
        let told = |problem: &davy::config::Problem| {
            assert_eq!(problem.severity, Severity::Warning);
            let help = problem.help.as_deref().unwrap_or_default();
            format!(
                "{} {}: {} | {help}",
                problem.line, problem.path, problem.message
            )
        };
        let told = parsed.warnings.iter().map(told);
        told.filter(|told| told.contains("the query")).collect()
    };
    for (metric, path, applied) in [
        (
            "kind: ratio, prometheus: {bad: 'sum(e{ {{arm}} })', total: 't{ {{arm}} }'}",
            "prometheus.bad",
            "sum",
        ),
        (
            "kind: ratio, prometheus: {bad: 'e{ {{arm}} }', total: 'sum(increase(t{ {{arm}} }[1m]))'}",
            "prometheus.total",
            "increase",
        ),
        (
            "kind: rate, prometheus: {events: 'e{ {{arm}} }', exposure: 'rate(t{ {{arm}} }[1m])'}",
            "prometheus.exposure",
            "rate",
        ),
        (
            "kind: ratio, above: {bound: 0.25}, prometheus: 'sum by (le) (b_bucket{ {{arm}} })'",
            "prometheus",
            "sum",
        ),
        (
            "kind: latency, from: histogram, prometheus: 'sum by (le) (b_bucket{ {{arm}} })'",
            "prometheus",
            "sum",
        ),
    ] {
        let warned = warned(metric);
        let [told] = &warned[..] else {
            panic!("{metric}: {warned:?}")
        };
        let (at, fix) = told.split_once(": the query applies ").expect("the place");
        assert_eq!(at, format!("7 metrics.m.{path}"));
        assert!(fix.starts_with(&format!("{applied}()")), "{told}");
        assert!(fix.contains(&format!("| leave {applied}() ")), "{told}");
    }
    for metric in [
        "kind: gauge, prometheus: 'sum(rate(depth{ {{arm}} }[1m]))'",
        "kind: rate, prometheus: {events: 'e_sum{ {{arm}}, job=\"sum(x)\" }'}",
    ] {
        assert_eq!(warned(metric), Vec::<String>::new(), "{metric}");
    }
}

#[test]
fn mistakes_are_told_with_place_and_fix() {
    let ratio = "kind: ratio, prometheus: {bad: 'e{ {{arm}} }', total: 't{ {{arm}} }'}";
    for (metric, told) in [
        (
            "kind: gauge, prometheus: 'sum(x)'",
            "the same for both arms (at character 1 of the text) | put {{arm}} among",
        ),
        (
            "kind: gauge, prometheus: 'x{ {{arm}}, ns=\"{{nss}}\" }'",
            "`arms` has no variable `nss` | did you mean `{{ns}}`?",
        ),
        (
            "kind: gauge, prometheus: 'x{ {{arm}} } > {{ns}}'",
            "does not stand within quotes (at character 16 of the text) | write \"{{ns}}\"",
        ),
        (
            "kind: gauge, prometheus: {bad: x}",
            "takes one query | write one query",
        ),
        (
            "kind: ratio, prometheus: 'x{ {{arm}} }'",
            "a query of each of its counters | write prometheus: {bad: .., total: ..}",
        ),
        (
            "kind: latency, prometheus: 'x{ {{arm}} }'",
            "a query gives no values of a distribution, only the buckets of one | write from: histogram",
        ),
        (
            "kind: rate, from: increments, prometheus: {events: 'x{ {{arm}} }'}",
            "from: increments is not what a query gives for this kind | query the counters themselves",
        ),
        (
            "kind: gauge, select: x, prometheus: 'x{ {{arm}} }'",
            "`select` does not belong to a metric that is pulled",
        ),
        (
            "kind: ratio, above: {histogram: b, bound: 1}, prometheus: 'x{ {{arm}} }'",
            "unknown key `histogram`",
        ),
        (
            "kind: ratio, prometheus: {bad: 'e{ {{arm}} }', total: 'e{ {{arm}} }'}",
            "the same query",
        ),
    ] {
        let shown = problem(&plan(metric));
        assert!(shown.contains(told), "{metric}\n{shown}");
        assert!(shown.starts_with("7:"), "{shown}");
    }
    let shown = problem(&plan(ratio).replace(ARMS, ""));
    assert!(
        shown.contains("the plan has no `arms` | add arms:"),
        "{shown}"
    );
}

fn configured(text: &str, lateness: &str) -> Vec<(Severity, String)> {
    let (config, places) = match check_config_file("davy.toml", text) {
        Ok(loaded) => loaded,
        Err(problems) => {
            return problems
                .items
                .into_iter()
                .map(|p| (p.severity, p.to_string()))
                .collect();
        }
    };
    let text = plan("kind: gauge, prometheus: 'sum(depth{ {{arm}} })'").replace("30s", lateness);
    let plan = parse_plan("p.yaml", &text)
        .unwrap_or_else(|p| panic!("{p}"))
        .plan;
    let found = rules::check(&config, &places, [&plan]);
    found
        .into_iter()
        .map(|p| (p.severity, p.to_string()))
        .collect()
}

#[test]
fn a_source_is_held_to_its_rules_and_to_the_plans() {
    let source =
        |rest: &str| format!("[sources.prometheus]\nurl = \"http://prometheus:9090\"\n{rest}");
    assert_eq!(configured(&source(""), "30s"), []);
    for (text, lateness, severity, told) in [
        (
            String::new(),
            "30s",
            Severity::Error,
            "the plan `pulled` pulls metrics, and there is no source",
        ),
        (
            source(""),
            "5s",
            Severity::Error,
            "every answer would be too late",
        ),
        (
            source(""),
            "14s",
            Severity::Warning,
            "a slow answer would be too late",
        ),
        (
            source("delay_ms = 600001"),
            "30s",
            Severity::Error,
            "davy.toml:3:12",
        ),
        (
            source("token = \"x\""),
            "30s",
            Severity::Error,
            "unknown key `token`",
        ),
        (
            source("bearer_token_file = \"a\"\nbasic = {username = \"a\", password_file = \"b\"}"),
            "30s",
            Severity::Error,
            "davy.toml:4:9: error: sources.prometheus.basic: bearer_token_file and basic are both given",
        ),
        (
            source("headers = {Authorization = \"Bearer x\"}"),
            "30s",
            Severity::Error,
            "a secret does not belong",
        ),
        (
            source("tls = {cert_file = \"x\"}"),
            "30s",
            Severity::Error,
            "needs its key",
        ),
        (
            source("").replace("http://", "http://me:geheim@"),
            "30s",
            Severity::Error,
            "the address holds a user name",
        ),
        (
            source("").replace("9090", "9090/api/v1"),
            "30s",
            Severity::Error,
            "goes on into the HTTP API",
        ),
        (
            source("").replace("http:", "ftp:"),
            "30s",
            Severity::Error,
            "not http or https",
        ),
        (
            "[sources.prometheus]\ntimeout_ms = 1000".to_owned(),
            "30s",
            Severity::Error,
            "`url` is missing",
        ),
    ] {
        let found = configured(&text, lateness);
        let (found_severity, shown) = found.first().unwrap_or_else(|| panic!("{told}"));
        assert_eq!(*found_severity, severity, "{shown}");
        assert!(shown.contains(told), "{told}\n{shown}");
        assert!(
            !shown.contains("geheim") && !shown.contains("Bearer x"),
            "{shown}"
        );
    }
}

#[test]
fn the_defaults_that_are_documented_are_those_that_hold() {
    let text = davy::config::layers::DEFAULT_TOML;
    let (_, shown) = text
        .split_once("# [sources.prometheus]")
        .expect("documented");
    let lines = shown.lines().filter_map(|line| line.strip_prefix("# "));
    let own = lines.filter(|line| !line.contains("# none"));
    let text = format!(
        "[sources.prometheus]\n{}",
        own.collect::<Vec<_>>().join("\n")
    );
    let (config, _) = check_config_file("davy.toml", &text).unwrap_or_else(|p| panic!("{p}"));
    let shown = config.sources.prometheus.expect("a source");
    assert_eq!(
        shown,
        davy::config::sources::PrometheusSource::at(&shown.url)
    );
    assert_eq!(Config::defaults().expect("valid").sources.prometheus, None);
}
