//! GitHub's deployment protection rules: a job that waits for davy is approved or rejected.
//!
//! Owns the request of a decision: which run it is for, and what it says. A run is named by the change's
//! link `github_run`, as its page is addressed; whoever starts an analysis without one is not heard of
//! here. The token is read anew for every attempt, since those of an app last an hour. It must not
//! know when a request is made: that is [`super::worker`]'s.

use std::path::PathBuf;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::model::{Change, Decision};

/// The link of a change that names the run: `https://github.com/OWNER/REPOSITORY/actions/runs/1`.
pub const RUN_LINK: &str = "github_run";
/// The link that names the environment, where it is not `change.environment`.
pub const ENVIRONMENT_LINK: &str = "github_environment";
/// Version of the API.
const API_VERSION: &str = "2022-11-28";
/// Characters of a comment that GitHub takes.
const COMMENT_CHARS_MAX: usize = 1_024;
/// Bytes of a file with a token.
const TOKEN_BYTES_MAX: u64 = 4_096;

/// An endpoint that speaks GitHub's words.
#[derive(Debug)]
pub(super) struct Github {
    /// Holds a token that may write deployments.
    pub token_file: PathBuf,
}

/// A run of a workflow.
#[derive(Debug, PartialEq, Eq)]
struct Run<'l> {
    owner: &'l str,
    repository: &'l str,
    id: &'l str,
}

// === impl Github ===

impl Github {
    /// The token.
    ///
    /// # Errors
    /// Why it cannot be read; never what it is.
    pub async fn bearer(&self) -> Result<HeaderValue, String> {
        let shown = self.token_file.display();
        let size = tokio::fs::metadata(&self.token_file).await;
        let size = size.map_err(|error| format!("{shown}: {error}"))?;
        if !size.is_file() || size.len() > TOKEN_BYTES_MAX {
            return Err(format!("{shown}: it is no file of a token"));
        }
        let text = tokio::fs::read_to_string(&self.token_file).await;
        let text = text.map_err(|error| format!("{shown}: {error}"))?;
        let value = HeaderValue::from_str(&format!("Bearer {}", text.trim()));
        let mut value = value.map_err(|_| format!("{shown}: it holds what no token does"))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// Whether a change is one that GitHub waits for, and the decision one that it knows.
pub(super) fn is_for(change: &Change, decision: Decision) -> bool {
    decision != Decision::Hold && change.links.contains_key(RUN_LINK)
}

/// Path of the request, behind the address of the API, and its body.
///
/// # Errors
/// What the change does not say, or not in its form.
pub(super) fn request(verdict: &Value) -> Result<(String, String), String> {
    let change = &verdict["change"];
    let link = change["links"][RUN_LINK].as_str().unwrap_or_default();
    let run = run_of(link).ok_or_else(|| {
        format!("change.links.{RUN_LINK} is not https://HOST/OWNER/REPOSITORY/actions/runs/NUMBER")
    })?;
    let named = change["links"][ENVIRONMENT_LINK].as_str();
    let environment = named.or(change["environment"].as_str());
    let environment = environment.ok_or_else(|| {
        format!("the change names no environment, nor change.links.{ENVIRONMENT_LINK}")
    })?;
    let state = match verdict["decision"].as_str() {
        Some("promote") => "approved",
        Some("rollback") => "rejected",
        _ => return Err("only promote and rollback are told to GitHub".to_owned()),
    };
    let message = verdict["message"].as_str().unwrap_or_default();
    let comment: String = format!("davy: {message}")
        .chars()
        .take(COMMENT_CHARS_MAX)
        .collect();
    let Run {
        owner,
        repository,
        id,
    } = run;
    let path = format!("/repos/{owner}/{repository}/actions/runs/{id}/deployment_protection_rule");
    let body = json!({"environment_name": environment, "state": state, "comment": comment});
    Ok((path, body.to_string()))
}

/// Headers of every request.
pub(super) fn headers(into: &mut HeaderMap) {
    let accept = HeaderValue::from_static("application/vnd.github+json");
    into.insert(ACCEPT, accept);
    let version = HeaderName::from_static("x-github-api-version");
    into.insert(version, HeaderValue::from_static(API_VERSION));
    // Set with each attempt.
    into.remove(AUTHORIZATION);
}

/// The run of a page's address. Nothing in it can lead a request elsewhere.
fn run_of(link: &str) -> Option<Run<'_>> {
    let (_, rest) = link.split_once("://")?;
    let parts: Vec<&str> = rest.split('/').collect();
    let [_, owner, repository, "actions", "runs", id, ..] = parts[..] else {
        return None;
    };
    let is_name = |name: &str| {
        let letters = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !name.is_empty() && name.chars().all(letters) && !matches!(name, "." | "..")
    };
    let is_number = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    (is_name(owner) && is_name(repository) && is_number).then_some(Run {
        owner,
        repository,
        id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(decision: &str, run: &str) -> Value {
        json!({"decision": decision, "message": "all is well",
            "change": {"environment": "production", "links": {"github_run": run}}})
    }

    #[test]
    fn a_decision_is_told_to_the_run_that_waits() {
        let run = "https://github.com/acme/shop.web/actions/runs/17/job/3";
        for (decision, state) in [("promote", "approved"), ("rollback", "rejected")] {
            let (path, body) = request(&verdict(decision, run)).expect("a request");
            assert_eq!(
                path,
                "/repos/acme/shop.web/actions/runs/17/deployment_protection_rule"
            );
            let body: Value = serde_json::from_str(&body).expect("JSON");
            let expected = json!({"environment_name": "production", "state": state, "comment": "davy: all is well"});
            assert_eq!(body, expected);
        }
        assert!(request(&verdict("hold", run)).is_err());
    }

    #[test]
    fn no_link_leads_elsewhere() {
        for run in [
            "",
            "https://github.com/acme/shop/actions/runs/",
            "https://github.com/acme/../actions/runs/17",
            "https://github.com/acme/shop%2f..%2fx/actions/runs/17",
            "https://github.com/acme/shop/actions/runs/17?x=1",
            "https://github.com/acme/shop/pull/17",
        ] {
            assert!(request(&verdict("promote", run)).is_err(), "{run}");
        }
    }

    #[test]
    fn a_comment_is_no_longer_than_github_takes() {
        let mut long = verdict("promote", "https://github.com/a/b/actions/runs/1");
        long["message"] = json!("é".repeat(3_000));
        let (_, body) = request(&long).expect("a request");
        let body: Value = serde_json::from_str(&body).expect("JSON");
        let comment = body["comment"].as_str().expect("text");
        assert_eq!(comment.chars().count(), COMMENT_CHARS_MAX);
    }
}
