//! `davy token` and `davy serve` as people run them.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};

use super::assert_no_secret;
use crate::daemon::{answer, client};
use crate::shutdown::{signal, spawn};
use crate::support::PATIENCE;

fn davy(folder: &Path, arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_davy"))
        .args(arguments)
        .current_dir(folder)
        .output();
    output.expect("davy runs")
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// What a command that succeeds prints.
fn printed(folder: &Path, arguments: &[&str]) -> String {
    let output = davy(folder, arguments);
    assert!(output.status.success(), "{}", said(&output.stderr));
    said(&output.stdout)
}

fn create(folder: &Path, name: &str, scopes: &str) -> String {
    let arguments = [
        "token", "create", "--file", "t.toml", "--name", name, "--scope", scopes,
    ];
    let token = printed(folder, &arguments);
    let token = token.strip_suffix('\n').expect("a line");
    assert!(
        token.starts_with("davy_") && !token.contains('\n'),
        "{token}"
    );
    token.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_made_used_and_revoked_and_shown_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let control = create(folder, "deployer", "control,ingest");
    let secrets = [control.as_str()];
    let more = [
        "--set",
        "auth.tokens_file=t.toml",
        "--set",
        "server.listen_address=0.0.0.0",
    ];
    let (mut child, mut log, url) = spawn(folder, &more);
    let url = url.replace("0.0.0.0", "127.0.0.1");
    let client = client();
    let start = |token: &str| {
        let request = client.post(format!("{url}/v1/analyses")).bearer_auth(token);
        answer(request.json(&json!({"plan": "walk", "change": {"id": "c"}})))
    };
    let (status, begun) = start(&control).await;
    assert_eq!(status, 201, "{begun}");
    // As clients that take credentials in the address only.
    let samples = url.replace("http://", &format!("http://any:{control}@")) + "/v1/samples";
    let sent = answer(client.post(samples).body("{}\n")).await;
    assert_eq!((sent.0, &sent.1["refused"]), (200, &json!(1)));
    let reader = create(folder, "reader", "read");
    signal(&child, "-HUP");
    assert!(log.any(|line| line.contains("\"message\":\"SIGHUP\"")));
    assert!(log.any(|line| line.contains("\"tokens\":2")), "loaded");
    let (status, told) = start(&reader).await;
    assert_eq!((status, &told["code"]), (403, &json!("forbidden")));
    let id = begun["id"].as_str().expect("an id");
    std::fs::write(folder.join("secret"), format!("{reader}\n")).expect("written");
    let export = ["export", id, "--server", &url, "--token-file", "secret"];
    assert!(printed(folder, &export).contains(id));
    let refused = davy(folder, &export[..4]);
    assert!(
        said(&refused.stderr).contains("401"),
        "{}",
        said(&refused.stderr)
    );
    printed(folder, &["token", "revoke", "--file", "t.toml", "deployer"]);
    signal(&child, "-HUP");
    // The file may have been read of itself before, so that its line in the log tells nothing.
    let revoked = async {
        while start(&control).await.0 != 401 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, revoked).await;
    waited.expect("the token is good for ever");
    let metrics = client.get(format!("{url}/metrics")).bearer_auth(&reader);
    let metrics = metrics
        .send()
        .await
        .expect("answered")
        .text()
        .await
        .expect("text");
    assert!(
        metrics.contains("davy_auth_refused_total{reason=\"revoked\"} 1"),
        "{metrics}"
    );
    let both = [secrets[0], reader.as_str()];
    assert_no_secret(Path::new("metrics"), &metrics, &both);
    signal(&child, "-TERM");
    let rest: Vec<String> = log.collect();
    assert_no_secret(Path::new("log"), &rest.join("\n"), &both);
    assert!(
        rest.iter().any(|line| line.contains("not let in")),
        "{rest:?}"
    );
    assert!(child.0.wait().expect("it ended").success());
    let kept = std::fs::read_to_string(folder.join("t.toml")).expect("text");
    assert_no_secret(Path::new("t.toml"), &kept, &both);
}

#[test]
fn a_list_tells_what_there_is_and_a_slip_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let base = ["token", "create", "--file", "t.toml", "--name", "ci"];
    let with = |more: &[&str]| davy(folder, &[&base[..], more].concat());
    for (more, told) in [
        (
            &["--scope", "write"][..],
            "the scopes are ingest, read, control and admin",
        ),
        (&[], "--scope"),
        (
            &["--scope", "ingest", "--namespace", "a"],
            "cannot be limited to namespaces",
        ),
        (&["--scope", "read", "--expires", "90"], "has no unit"),
        (&["--scope", "read", "--expires", "0s"], "never be good"),
    ] {
        let output = with(more);
        assert!(
            !output.status.success() && output.stdout.is_empty(),
            "{more:?}"
        );
        assert!(
            said(&output.stderr).contains(told),
            "{}",
            said(&output.stderr)
        );
    }
    let named = |name| {
        let output = davy(
            folder,
            &[
                "token", "create", "--file", "t.toml", "--scope", "read", "--name", name,
            ],
        );
        said(&output.stderr)
    };
    assert!(named("a b").contains("letters, digits"));
    assert!(named("0badcafe").contains("taken for the id"));
    assert!(!folder.join("t.toml").exists(), "nothing was made");
    let output = with(&[
        "--scope",
        "read",
        "--scope",
        "control",
        "--namespace",
        "a,b",
        "--expires",
        "90d",
    ]);
    let token = said(&output.stdout);
    let id = &token["davy_".len()..][..8];
    assert!(
        said(&output.stderr).contains(id),
        "{}",
        said(&output.stderr)
    );
    assert_no_secret(
        Path::new("standard error"),
        &said(&output.stderr),
        &[token.trim()],
    );
    let list = ["token", "list", "--file", "t.toml", "--output", "json"];
    let listed = printed(folder, &list);
    assert_no_secret(Path::new("list"), &listed, &[token.trim()]);
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    let one = &listed["tokens"][0];
    assert_eq!((&one["id"], &one["name"]), (&json!(id), &json!("ci")));
    assert_eq!(
        (&one["state"], &one["scopes"]),
        (&json!("valid"), &json!(["read", "control"]))
    );
    assert_eq!(
        (&one["namespaces"], &one["revoked_at"]),
        (&json!(["a", "b"]), &Value::Null)
    );
    let text = printed(folder, &list[..4]);
    assert!(text.contains(id) && text.contains("read,control"), "{text}");
    printed(folder, &["token", "revoke", "--file", "t.toml", id]);
    assert!(printed(folder, &list).contains("\"state\":\"revoked\""));
    let again = davy(folder, &["token", "revoke", "--file", "t.toml", "ci"]);
    assert_eq!(again.status.code(), Some(3));
    let none = davy(folder, &["token", "list", "--file", "nothing.toml"]);
    assert!(
        said(&none.stderr).contains("nothing.toml"),
        "{}",
        said(&none.stderr)
    );
}

#[test]
fn a_daemon_does_not_start_with_a_file_that_it_cannot_use() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    std::fs::create_dir(folder.join("plans")).expect("made");
    let serve = |more: &[&str]| {
        let base = [
            "serve",
            "--set",
            "server.port=0",
            "--set",
            "plans.directory=plans",
        ];
        let file = ["--set", "auth.tokens_file=t.toml"];
        let output = davy(folder, &[&base[..], &file, more].concat());
        assert_eq!(output.status.code(), Some(3));
        said(&output.stderr)
    };
    assert!(serve(&[]).contains("davy token create --file makes one"));
    std::fs::write(folder.join("t.toml"), "tokens = 3\n").expect("written");
    let told = serve(&[]);
    assert!(told.contains("t.toml:1: "), "{told}");
    let told = serve(&["--set", "server.allow_unauthenticated=true"]);
    assert!(told.contains("keep one of the two"), "{told}");
}
