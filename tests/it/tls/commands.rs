//! `davy serve` with TLS, and commands that ask it, as people run them.

use std::process::Command;

use davy::tokens::Scope;

use super::trusting;
use crate::door::{Keys, text};
use crate::shutdown::{signal, spawn};
use crate::tls::made::Made;

#[tokio::test(flavor = "multi_thread")]
async fn a_command_trusts_the_ca_it_is_given_and_shows_its_own_certificate() {
    let made = Made::new();
    let keys = Keys::new();
    keys.add(1, &[Scope::Read], |_| ());
    let folder = tempfile::tempdir().expect("a folder");
    let set = |key: &str, name: &str| format!("server.tls.{key}={}", made.path(name).display());
    let tokens = format!("auth.tokens_file={}", keys.path().display());
    let settings = [
        set("certificate_file", "tls.crt"),
        set("key_file", "tls.key"),
        set("client_ca_file", "ca.pem"),
        tokens,
    ];
    let settings: Vec<&str> = settings.iter().flat_map(|set| ["--set", set]).collect();
    let (child, mut lines, url) = spawn(folder.path(), &settings);
    let url = url.replace("http://", "https://");
    let ready = std::fs::read_to_string(folder.path().join("ready")).expect("text");
    assert_eq!(ready.trim(), url);
    let client = made.authority.client();
    let files = [
        ("client.crt", client.certificate.as_str()),
        ("client.key", &client.key),
        ("token", &text(1)),
    ];
    let paths = files.map(|(name, content)| made.write(name, content));
    let [certificate, key, token] = paths.each_ref().map(|path| path.to_str().expect("text"));
    let ca = made.path("ca.pem");
    let ca = ca.to_str().expect("text");
    let run = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_davy"));
        command.args(["webhooks", "list", "--server", &url, "--token-file", token]);
        let output = command.args(more).output().expect("runs");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, told) = run(&[]);
    assert_eq!(code, Some(3));
    assert!(told.contains("UnknownIssuer"), "{told}");
    let (code, told) = run(&["--ca-file", ca]);
    assert_eq!(code, Some(3), "no certificate: {told}");
    let own = ["--cert-file", certificate, "--key-file", key];
    let (code, told) = run(&[&["--ca-file", ca], &own[..]].concat());
    assert_eq!(code, Some(0), "{told}");
    let (code, told) = run(&["--ca-file", key]);
    assert_eq!(code, Some(3));
    assert!(told.contains("client.key: holds no certificate"), "{told}");
    // SIGHUP reads the files again, and says so.
    signal(&child, "-HUP");
    let is_loaded = |line: &String| line.contains("\"message\":\"certificate loaded\"");
    let loaded = lines.find(is_loaded).expect("it says so");
    assert!(loaded.contains("4102444800"), "{loaded}");
    let stranger = trusting(&made).build().expect("a client");
    assert!(stranger.get(&url).send().await.is_err());
}

#[test]
fn check_tells_files_that_do_not_fit_and_is_silent_where_they_are_not_here() {
    let made = Made::new();
    let config = made.path("davy.toml");
    let text = |key: &str| {
        let certificate = made.path("tls.crt");
        format!(
            "[server.tls]\ncertificate_file = {certificate:?}\nkey_file = {:?}\n",
            made.path(key)
        )
    };
    let check = |key: &str| {
        std::fs::write(&config, text(key)).expect("written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_davy"));
        let output = command.arg("check").arg(&config).output().expect("runs");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    made.write("other.key", &made.authority.server().key);
    assert_eq!(check("tls.key").0, Some(0));
    assert_eq!(check("none.key").0, Some(0), "secrets may be elsewhere");
    let (code, told) = check("other.key");
    assert_eq!(code, Some(3), "{told}");
    assert!(told.contains("the key does not belong"), "{told}");
}

#[test]
fn a_daemon_does_not_start_with_files_that_it_cannot_use() {
    let made = Made::new();
    made.write("tls.key", &made.authority.server().key);
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_davy"));
    command
        .current_dir(folder.path())
        .args(["serve", "--set", "server.port=0"]);
    let plans = format!("plans.directory={}", folder.path().display());
    command.args(["--set", &plans]);
    for (key, name) in [("certificate_file", "tls.crt"), ("key_file", "tls.key")] {
        let set = format!("server.tls.{key}={}", made.path(name).display());
        command.args(["--set", &set]);
    }
    let output = command.output().expect("runs");
    assert_eq!(output.status.code(), Some(3));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("server.tls cannot be used"), "{told}");
    assert!(told.contains("tls.key: the key does not belong"), "{told}");
}
