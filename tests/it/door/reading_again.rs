//! The file of tokens is read again when it changes; a broken one changes nothing.

use std::time::Duration;

use davy::tokens::Scope;

use super::{Keys, ask, counted, text};
use crate::daemon::TestDaemon;
use crate::support::PATIENCE;

/// Waits until the token of a number is answered so.
async fn until(daemon: &TestDaemon, number: u8, expected: u16) {
    let given = format!("Bearer {}", text(number));
    let asking = async {
        loop {
            let (status, _) = ask(daemon, "get", "/v1/plans", Some(&given), None).await;
            if status == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let asked = tokio::time::timeout(PATIENCE, asking).await;
    asked.unwrap_or_else(|_| panic!("the token {number} is never answered {expected}"));
}

async fn failures(daemon: &TestDaemon, expected: u64) {
    let waiting = async {
        while counted(daemon, "davy_auth_reload_failures_total").await != expected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    waited.unwrap_or_else(|_| panic!("never {expected} failures"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_added_comes_in_what_is_revoked_does_not_and_a_broken_file_changes_nothing() {
    let keys = Keys::new();
    let daemon = keys.daemon().await;
    until(&daemon, 1, 401).await;
    keys.add(1, &[Scope::Read], |_| ());
    until(&daemon, 1, 200).await;
    let good = std::fs::read_to_string(keys.path()).expect("text");
    std::fs::write(keys.path(), format!("{good}\n[[tokens]]\nid = 7\n")).expect("written");
    failures(&daemon, 1).await;
    until(&daemon, 0, 200).await;
    until(&daemon, 1, 200).await;
    std::fs::remove_file(keys.path()).expect("removed");
    failures(&daemon, 2).await;
    until(&daemon, 1, 200).await;
    keys.add(0, &[Scope::Admin], |_| ());
    keys.add(2, &[Scope::Read], |_| ());
    until(&daemon, 2, 200).await;
    until(&daemon, 1, 401).await;
    keys.revoke(2);
    until(&daemon, 2, 401).await;
    let given = format!("Bearer {}", text(2));
    let (_, told) = ask(&daemon, "get", "/v1/plans", Some(&given), None).await;
    assert_eq!(told["detail"], "the token 02020202 is revoked");
    assert_eq!(counted(&daemon, "davy_auth_reload_failures_total").await, 2);
    daemon.stop().await;
}
