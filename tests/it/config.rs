//! The daemon's configuration from outside: layers, places, and `davy check` over all of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use davy::cli::OutputForm;
use davy::cli::check::{self, CheckArgs};
use davy::cli::exit::Exit;
use davy::cli::schema::{self, SchemaOf};
use davy::config::daemon::{LogFormat, WebhookDecision, WebhookEvent, WebhookMethod};
use davy::config::layers::{self, DEFAULT_TOML};
use davy::config::{Config, Sources};
use davy::webhook::rules;
use proptest::prelude::*;

use crate::support::project_root;

fn sources(file: &str, environment: &[(&str, &str)], overrides: &[&str]) -> Sources {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Sources {
        files: vec![("davy.toml".to_owned(), file.to_owned())],
        environment: environment.iter().map(owned).collect(),
        overrides: overrides.iter().map(|text| (*text).to_owned()).collect(),
    }
}

fn told(sources: &Sources) -> Vec<String> {
    let problems = match Config::load_located(sources) {
        Err(problems) => problems.items,
        Ok((config, places)) => rules::check(&config, &places, None, |_| None),
    };
    assert!(!problems.is_empty(), "it has problems");
    let told = |p: &davy::config::Problem| {
        let help = p.help.as_deref().unwrap_or("");
        format!(
            "{}:{}:{} {}: {} | {help}",
            p.file, p.line, p.column, p.path, p.message
        )
    };
    problems.iter().map(told).collect()
}

pub const WEBHOOK: &str = "[[webhooks]]\nname = \"w\"\nurl = \"https://h.example.com/x\"\nevents = \
                       [\"verdict.final\"]\nsecret_file = \"/s\"\n";

#[test]
fn the_defaults_are_what_the_documentation_says() {
    let config = Config::defaults().unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(
        (config.server.listen_address.as_str(), config.server.port),
        ("127.0.0.1", 8088)
    );
    assert_eq!(config.server.request_body_bytes_max, 8 << 20);
    assert_eq!(config.server.decoded_body_bytes_max, 32 << 20);
    assert_eq!(config.plans.directory, PathBuf::from("config/plans"));
    assert_eq!(
        (config.log.format, config.log.filter.as_str()),
        (LogFormat::Text, "info")
    );
    assert_eq!(config.webhooks, []);
    // The default file is itself a sound file: every key known, every value in range.
    assert_eq!(
        layers::check_config_file("default.toml", DEFAULT_TOML).map(|(config, _)| config),
        Ok(config)
    );
}

#[test]
fn later_layers_win() {
    let file = "[server]\nport = 1000\nconnections_max = 7\nlong_poll_secs_max = 5\n";
    let environment = [
        ("DAVY_SERVER__PORT", "2000"),
        ("DAVY_SERVER__CONNECTIONS_MAX", "8"),
        ("DAVY_LOG__FORMAT", "json"),
        ("DAVY_PLANS__DIRECTORY", "00123"),
        ("DAVY_SERVER__ALLOW_UNAUTHENTICATED", "true"),
        // Others' variables.
        ("DAVY_SHARED", "x"),
        ("SERVER__PORT", "9"),
    ];
    let config = Config::load(&sources(file, &environment, &["server.port=3000"])).unwrap();
    assert_eq!(config.server.port, 3000, "flag over environment over file");
    assert_eq!(config.server.connections_max, 8, "environment over file");
    assert_eq!(config.server.long_poll_secs_max, 5, "file over default");
    assert_eq!(config.server.request_timeout_secs, 30, "default");
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(
        config.plans.directory,
        PathBuf::from("00123"),
        "a text of digits stays a text"
    );
    assert!(config.server.allow_unauthenticated);
}

#[test]
fn the_example_is_sound_and_says_what_it_says() {
    let path = project_root().join("config/davy.toml");
    let text = layers::read_file(&path).unwrap();
    let (config, _) =
        layers::check_config_file("davy.toml", &text).unwrap_or_else(|p| panic!("{p}"));
    let [deployer, on_call] = config.webhooks.as_slice() else {
        panic!("two webhooks")
    };
    assert_eq!(deployer.events, [WebhookEvent::VerdictFinal]);
    assert_eq!(
        (deployer.method, deployer.timeout_secs),
        (WebhookMethod::Post, 10)
    );
    assert_eq!(on_call.decisions, Some(vec![WebhookDecision::Rollback]));
    assert_eq!(
        on_call.headers.get("X-Team").map(String::as_str),
        Some("payments")
    );
    assert!(on_call.body_template.is_some());
}

#[test]
fn mistakes_in_a_file_are_located_all_at_once() {
    let file = "[server]\nprot = 1\nport = 99999\nconnections_max = \"many\"\n\
                allow_unauthenticated = \"yes\"\n\n[sever]\nx = 1\n\n[log]\nformat = \"xml\"\nfilter = 5\n\n\
                [[webhooks]]\nname = \"w\"\nurl = \"https://h/\"\nevents = [\"verdict.finale\"]\n\
                secret = \"x\"\n";
    assert_eq!(
        told(&sources(file, &[], &[])),
        [
            "davy.toml:2:1 server.prot: unknown key `prot` | did you mean `port`?",
            "davy.toml:3:8 server.port: 99999 is not allowed here | a whole number, 0 to 65535",
            "davy.toml:4:19 server.connections_max: expected a whole number, found a text | remove the quotes",
            "davy.toml:5:25 server.allow_unauthenticated: expected true or false, found a text | write true",
            "davy.toml:7:2 sever: unknown key `sever` | did you mean `server`?",
            "davy.toml:11:10 log.format: `xml` is not text or json | ",
            "davy.toml:12:10 log.filter: expected a text, found a number | put it in quotes",
            "davy.toml:17:11 webhooks[0].events[0]: `verdict.finale` is not analysis.started, verdict.changed, verdict.final, watch.alarm or analysis.overridden | did you mean `verdict.final`?",
            "davy.toml:18:1 webhooks[0].secret: unknown key `secret` | did you mean `secret_env`?",
        ]
    );
}

#[test]
fn syntax_errors_are_located() {
    let told = told(&sources("[server]\nport = \n[log\n", &[], &[]));
    assert!(told[0].starts_with("davy.toml:2:8 "), "{told:?}");
    assert!(told.len() > 1, "both errors: {told:?}");
}

#[test]
fn mistakes_in_the_environment_and_flags_name_their_source() {
    let environment = [("DAVY_SERVER__PROT", "1"), ("DAVY_SERVER__PORT", "eighty")];
    let overrides = ["limits.analyses_max=0", "port", "=", "webhooks=x", "a.b=c"];
    assert_eq!(
        told(&sources("", &environment, &overrides)),
        [
            "--set:0:0 : `=` is not key=value | write --set server.port=9000",
            "--set:0:0 : `port` is not key=value | write --set server.port=9000",
            "--set a.b=c:0:0 a.b: unknown key `a` | known keys here: auth, limits, log, plans, server, sources, store, telemetry, webhook, webhooks",
            "--set limits.analyses_max=0:0:0 limits.analyses_max: 0 is not allowed here | a whole number, 1 to 1000000",
            "--set webhooks=x:0:0 webhooks: a list cannot be given here | write it in a file",
            "environment DAVY_SERVER__PORT:0:0 server.port: expected a whole number, found a text | a whole number, 0 to 65535",
            "environment DAVY_SERVER__PROT:0:0 server.prot: unknown key `server.prot` | did you mean `server.port`?",
        ]
    );
}

#[test]
fn contradictions_are_told_where_the_value_came_from() {
    let file = "[server]\nlisten_address = \"0.0.0.0\"\nrequest_body_bytes_max = 2048\n\
                decoded_body_bytes_max = 1024\n[log]\nfilter = \"a=b=c\"\n";
    let found = told(&sources(
        file,
        &[("DAVY_WEBHOOK__BACKOFF_MAX_MS", "10")],
        &[],
    ));
    assert_eq!(found.len(), 4, "{found:#?}");
    assert!(
        found[0].starts_with(
            "davy.toml:2:18 server.listen_address: 0.0.0.0 can be reached from outside"
        ),
        "{found:#?}"
    );
    assert!(
        found[1].starts_with("davy.toml:4:26 server.decoded_body_bytes_max"),
        "{found:#?}"
    );
    assert!(
        found[2].starts_with("davy.toml:6:10 log.filter: not a filter"),
        "{found:#?}"
    );
    assert!(
        found[3].starts_with("environment DAVY_WEBHOOK__BACKOFF_MAX_MS:0:0 webhook.backoff_max_ms"),
        "{found:#?}"
    );
    for listen in ["127.0.0.1", "::1"] {
        assert!(
            Config::load(&sources(
                "",
                &[("DAVY_SERVER__LISTEN_ADDRESS", listen)],
                &[]
            ))
            .is_ok()
        );
    }
    let open = [
        ("DAVY_SERVER__LISTEN_ADDRESS", "::"),
        ("DAVY_SERVER__ALLOW_UNAUTHENTICATED", "true"),
    ];
    assert!(Config::load(&sources("", &open, &[])).is_ok());
}

#[test]
fn webhooks_are_checked_one_by_one() {
    assert!(Config::load(&sources(WEBHOOK, &[], &[])).is_ok());
    let cases = [
        (
            "https://h.example.com/x",
            "ftp://h/x",
            "webhooks[0].url: the address is not http or https",
        ),
        (
            "https://h.example.com/x",
            "h.example.com",
            "webhooks[0].url: this is not an address",
        ),
        (
            "https://h.example.com/x",
            "https://u:p@h/x",
            "webhooks[0].url: the address holds a user name or password",
        ),
        (
            "https://h.example.com/x",
            "https://{{change.id}}/x",
            "webhooks[0].url: a placeholder stands in the host",
        ),
        (
            "https://h.example.com/x",
            "https://h{{change.id}}/x",
            "webhooks[0].url: a placeholder stands in the host",
        ),
        (
            "secret_file = \"/s\"\n",
            "secret_file = \"/s\"\nsecret_env = \"S\"\n",
            "webhooks[0].secret_env: secret_file and secret_env are both given",
        ),
        (
            "name = \"w\"",
            "name = \"two words\"",
            "webhooks[0].name: `two words` cannot name a webhook",
        ),
        (
            "secret_file",
            "headers = { \"Webhook-Id\" = \"1\" }\nsecret_file",
            "webhooks[0].headers.Webhook-Id: davy sets this header itself",
        ),
        ("name = \"w\"\n", "", "webhooks[0]: `name` is missing"),
        (
            "[\"verdict.final\"]",
            "[]",
            "webhooks[0].events: the list is empty",
        ),
    ];
    for (from, to, expected) in cases {
        assert!(WEBHOOK.contains(from), "{from}");
        let found = told(&sources(&WEBHOOK.replacen(from, to, 1), &[], &[]));
        assert!(
            found.len() == 1 && found[0].contains(expected),
            "{to}: {found:?}"
        );
    }
    let twice = told(&sources(&WEBHOOK.repeat(2), &[], &[]));
    assert!(
        twice[0].starts_with("davy.toml:7:8 webhooks[1].name: two webhooks are named `w`"),
        "{twice:?}"
    );
    let templated = WEBHOOK.replace("com/x", "com/gate/{{change.id}}?v={{verdict}}");
    assert!(Config::load(&sources(&templated, &[], &[])).is_ok());
}

#[test]
fn what_may_be_secret_is_not_shown() {
    let file = WEBHOOK.replace("com/x", "com/T0KEN")
        + "headers = { Authorization = \"Bearer hunter2\" }\n";
    let config = Config::load(&sources(&file, &[], &[])).unwrap();
    let shown = format!("{config:?}");
    for hidden in ["hunter2", "T0KEN"] {
        assert!(!shown.contains(hidden), "{hidden} is shown: {shown}");
    }
    assert!(
        shown.contains("Authorization") && shown.contains("h.example.com"),
        "{shown}"
    );
}

#[test]
fn the_named_file_must_be_there() {
    let absent = project_root().join("config/absent.toml");
    let problems = Sources::gather(Some(&absent), BTreeMap::new(), Vec::new()).unwrap_err();
    assert!(
        problems
            .to_string()
            .contains("absent.toml: error: cannot read"),
        "{problems}"
    );
}

#[test]
fn a_plan_is_no_configuration_and_is_told_so_once() {
    let plan = project_root().join("config/plans/checkout.yaml");
    let problems = Sources::gather(Some(&plan), BTreeMap::new(), Vec::new()).unwrap_err();
    let told = problems.to_string();
    assert_eq!(problems.items.len(), 1, "{told}");
    assert!(told.contains("the configuration is TOML"), "{told}");
    assert!(told.contains("plans.directory"), "{told}");
}

#[test]
fn schemas_are_no_plans_and_what_is_not_there_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("plan.schema.json"),
        schema::text(SchemaOf::Plan),
    )
    .unwrap();
    let plan = project_root().join("config/plans/checkout.yaml");
    std::fs::copy(plan, folder.path().join("checkout.yaml")).unwrap();
    let broken = folder.path().join("broken.json");
    std::fs::write(&broken, "{\"version\": \"davy/v1\",, }").unwrap();
    let paths = [folder.path().to_owned()];
    let (_, text) = checked(&paths, OutputForm::Text);
    assert!(
        text.contains("checkout.yaml: ok") && !text.contains("schema"),
        "{text}"
    );
    assert!(text.contains("not valid JSON"), "{text}");
    let (exit, text) = checked(&[folder.path().join("absent")], OutputForm::Text);
    assert_eq!(exit, Exit::Error);
    assert!(text.contains("there is no such file or folder"), "{text}");
}

#[test]
fn committed_schemas_are_those_of_the_types() {
    for (of, path) in [
        (SchemaOf::Plan, "config/plan.schema.json"),
        (SchemaOf::Config, "config/config.schema.json"),
    ] {
        let committed = std::fs::read_to_string(project_root().join(path)).unwrap_or_default();
        let name = path
            .trim_start_matches("config/")
            .trim_end_matches(".schema.json");
        assert_eq!(
            committed,
            schema::text(of),
            "run: davy schema {name} > {path}"
        );
    }
}

pub fn checked(paths: &[PathBuf], output: OutputForm) -> (Exit, String) {
    let mut out = Vec::new();
    let args = CheckArgs {
        files: paths.to_vec(),
        output,
    };
    let exit = check::run(&args, &mut out).unwrap();
    (exit, String::from_utf8(out).unwrap())
}

#[test]
fn check_accepts_all_that_is_shipped() {
    let at = |path: &str| project_root().join(path);
    let paths = [
        at("config/plans"),
        at("config/davy.toml"),
        at("config/default.toml"),
    ];
    let (exit, text) = checked(&paths, OutputForm::Text);
    assert_eq!(exit, Exit::Pass, "{text}");
    assert!(
        text.contains("checkout.yaml: ok: plan checkout, 240 looks, hash "),
        "{text}"
    );
    assert!(text.contains("default.toml: ok\n"), "{text}");
}

#[test]
fn check_tells_all_problems_of_all_files() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let plan = "version: davy/v1\nplan: p\nhorizon: 10m\nmetrics: {m: {kind: ratio}}\nchecks: \
                [{compare: m, tolerance: 5%}]\n";
    let paths = [
        write("good.yaml", plan),
        write("bad.yaml", "plan: q\nhorizn: 1h\n"),
        write(
            "twin.json",
            "{\"version\": \"davy/v1\", \"plan\": \"p\", \"horizon\": \"1h\", \"metrics\": {\"m\": {\"kind\": \"gauge\"}}, \"checks\": [{\"compare\": \"m\"}]}",
        ),
        write("davy.toml", "[server]\nport = \"x\"\n"),
        write("notes.txt", ""),
        folder.path().join("absent.yaml"),
        folder.path().join("good.yaml"),
    ];
    let (exit, text) = checked(&paths, OutputForm::Json);
    assert_eq!(exit, Exit::Error);
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["ok"], false);
    let list = |key: &str| report[key].as_array().cloned().unwrap_or_default();
    assert_eq!(list("files").len(), 2, "good.yaml twice: {report:#}");
    assert_eq!(list("files")[0]["looks"], 40);
    let codes: Vec<_> = list("problems")
        .iter()
        .map(|p| p["code"].to_string())
        .collect();
    let expected = [
        "suspicious",
        "missing_key",
        "unknown_key",
        "conflict",
        "wrong_type",
        "unreadable",
        "unreadable",
        "suspicious",
    ];
    let mut expected: Vec<String> = expected.iter().map(|code| format!("\"{code}\"")).collect();
    // bad.yaml misses several keys.
    let missing = codes
        .iter()
        .filter(|code| *code == "\"missing_key\"")
        .count();
    assert_eq!(missing, 4, "version, metrics, checks, horizon: {codes:?}");
    expected.splice(
        1..2,
        std::iter::repeat_n("\"missing_key\"".to_owned(), missing),
    );
    assert_eq!(codes, expected, "{report:#}");
    let (_, text) = checked(&paths[1..2], OutputForm::Text);
    assert!(text.contains("bad.yaml:2:1: error: horizn: unknown key `horizn`\n    2 | horizn: 1h\n      | ^\n  help: did you mean `horizon`?"), "{text}");
    assert!(text.ends_with("5 errors, 0 warnings\n"), "{text}");
}

#[test]
fn check_tells_where_a_plan_and_a_configuration_named_together_do_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let plan = "version: davy/v1\nplan: p\nhorizon: 10m\nlateness: 30s\n\
        arms: {baseline: 'v=\"old\"', canary: 'v=\"new\"'}\n\
        metrics: {m: {kind: gauge, prometheus: 'm{ {{arm}} }'}}\nchecks: [{compare: m}]\n";
    let without = "[plans]\ndirectory = \"none\"\n";
    let with = "[sources.prometheus]\nurl = \"http://prometheus:9090\"\n";
    let pulling = write("pulling.yaml", plan);
    let without = write("without.toml", without);
    let with = write(
        "with.toml",
        &format!("[plans]\ndirectory = \"none\"\n{with}"),
    );
    let told = "warning: sources.prometheus: the plan `p` pulls metrics, and there is no source";
    for (paths, tells) in [
        (vec![pulling.clone(), without.clone()], true),
        (vec![without.clone(), pulling.clone()], true),
        (vec![pulling.clone(), with], false),
        (vec![pulling], false),
        (vec![without], false),
    ] {
        let (exit, text) = checked(&paths, OutputForm::Text);
        assert_eq!(exit, Exit::Pass, "{text}");
        assert_eq!(text.contains(told), tells, "{text}");
        let help = "set sources.prometheus.url";
        assert_eq!(text.contains(help), tells, "{text}");
    }
}

proptest! {
    #[test]
    fn any_text_is_a_configuration_or_problems(text in "[a-z_\\[\\]=\"'0-9\n. {}#,]{0,120}", key in "[A-Z_]{0,20}", flag in "\\PC{0,20}") {
        let name = format!("DAVY_{key}");
        if let Err(problems) = Config::load(&sources(&text, &[(&name, "1")], &[&flag])) {
            prop_assert!(!problems.items.is_empty());
        }
    }
}
