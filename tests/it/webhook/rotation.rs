//! Secrets that are changed while davy runs.

use std::time::Duration;

use serde_json::json;

use super::{Arrived, SECRET, entry, receiver};
use crate::daemon::TestDaemon;
use crate::door::counted;
use crate::support::PATIENCE;

const NEWER: &str = "whsec_ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

/// Whether who knows a secret takes a request for davy's.
fn verifies(secret: &str, request: &Arrived) -> bool {
    let receiver = standardwebhooks::Webhook::new(secret).expect("valid");
    receiver.verify(&request.body, &request.headers).is_ok()
}

async fn until(daemon: &TestDaemon, metric: &str, expected: u64) {
    let name = format!("{metric}{{endpoint=\"deployer\"}}");
    let waiting = async {
        while counted(daemon, &name).await != expected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    waited.unwrap_or_else(|_| panic!("{name} is never {expected}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_change_without_a_restart_and_a_broken_file_changes_nothing() {
    const FAILURES: &str = "davy_webhook_secret_reload_failures_total";
    const SECRETS: &str = "davy_webhook_secrets";
    let (url, mut arrived) = receiver(&[]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secrets");
    // Put in place whole, as whatever mounts secrets does.
    let beside = folder.path().join("beside");
    let write = |text: &str| {
        std::fs::write(&beside, text).expect("written");
        std::fs::rename(&beside, &file).expect("renamed");
    };
    write(&format!("{SECRET}\n"));
    let daemon = TestDaemon::start_with(|config| {
        config.webhooks = vec![entry(&format!(
            "name = \"deployer\"\nurl = \"{url}\"\nevents = [\"analysis.started\"]\nsecret_file = {file:?}"
        ))];
    })
    .await;
    let mut signed_with = async |expected: [bool; 2]| {
        let (status, body) = daemon.post("/v1/analyses", &json!({"plan": "walk"})).await;
        assert_eq!(status, 201, "{body}");
        let request = arrived.recv().await.expect("a delivery");
        let by = [SECRET, NEWER].map(|secret| verifies(secret, &request));
        assert_eq!(by, expected);
    };
    until(&daemon, SECRETS, 1).await;
    signed_with([true, false]).await;
    write(&format!(
        "# from today\n{NEWER}\n# until tomorrow\n{SECRET}\n"
    ));
    until(&daemon, SECRETS, 2).await;
    signed_with([true, true]).await;
    for (number, broken) in (1..).zip(["hunter2\n", "", "# none\n"]) {
        write(broken);
        // Two texts without a secret are the same mistake.
        until(&daemon, FAILURES, number.min(2)).await;
        signed_with([true, true]).await;
    }
    std::fs::remove_file(&file).expect("removed");
    until(&daemon, FAILURES, 3).await;
    signed_with([true, true]).await;
    write(NEWER);
    until(&daemon, SECRETS, 1).await;
    signed_with([false, true]).await;
    daemon.stop().await;
}
