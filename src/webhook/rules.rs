//! What an entry of `webhooks` must satisfy before anything is sent to it.
//!
//! Owns the one list of rules, which `davy check` tells and without which `davy serve` does not
//! start. It must not open files: where a secret lies is the caller's. Next: [`super::endpoint`],
//! which is made of an entry that satisfies them.

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::endpoint::{Endpoint, FIELDS};
use super::github::Github;
use super::guard;
use super::template::{self, Template};
use crate::config::daemon::{Config, Webhook, WebhookKind, WebhookMethod};
use crate::config::layers::Places;
use crate::config::{Problem, Severity};

/// Headers that belong to HTTP or to davy; those of the signature begin with `webhook-`.
const OWN_HEADERS: [&str; 4] = ["host", "content-length", "transfer-encoding", "connection"];

/// What is wrong with a value, and what to do about it.
pub(super) type Checked<T> = Result<T, (String, String)>;

/// Every problem of every entry, located. `read_secret` gives the text of an entry's secret, where
/// it names one that can be read. `plans` are the names of the daemon's plans, where they are
/// known: a filter by another name is a warning, for a request may bring a plan of that name.
pub fn check(
    config: &Config,
    places: &Places,
    plans: Option<&[String]>,
    read_secret: impl Fn(&Webhook) -> Option<Result<String, String>>,
) -> Vec<Problem> {
    let mut found = Vec::new();
    for (index, entry) in config.webhooks.iter().enumerate() {
        let at = |key: &str| format!("webhooks[{index}].{key}");
        if let Err(problems) = Endpoint::build(entry, &read_secret) {
            found.extend(
                problems.into_iter().map(|problem| {
                    places.problem(&at(&problem.key), problem.message, &problem.help)
                }),
            );
        }
        let (Some(known), Some(names)) = (plans, &entry.plans) else {
            continue;
        };
        for (item, name) in names.iter().enumerate() {
            if !known.contains(name) {
                let message = format!("no plan of the folder has the name `{name}`");
                let path = at(&format!("plans[{item}]"));
                let help = "correct the name, unless requests bring a plan of that name";
                found.push(Problem {
                    severity: Severity::Warning,
                    ..places.problem(&path, message, help)
                });
            }
        }
    }
    found
}

/// An address with placeholders, and its scheme, host and port, which are fixed. Messages never repeat it: its path is often the
/// secret.
pub(super) fn url(text: &str) -> Checked<(Template, String)> {
    let help = "write https://host/path; placeholders only after the host";
    let refuse = |what: &str| Err((what.to_owned(), help.to_owned()));
    if let Some((before, _)) = text.split_once("{{") {
        // Who is called must not depend on what is told.
        let rest = before.split_once("://").map(|(_, rest)| rest);
        if !rest.is_some_and(|rest| rest.contains('/')) {
            return refuse("a placeholder stands in the host");
        }
    }
    let template = Template::parse(text, &FIELDS).map_err(told)?;
    let filled = |value: &str| Url::parse(&template.with_all(value));
    let (Ok(url), Ok(other)) = (filled("x"), filled("y")) else {
        return refuse("this is not an address");
    };
    // What stands before the first slash is not all there is to it: `https:///{{..}}/` has no host
    // of its own, and takes the first name that comes.
    if url.origin() != other.origin() {
        return refuse("a placeholder stands in the host");
    }
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return refuse("the address is not http or https");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("the address holds a user name or password");
    }
    if template::has_dot_segment(text) {
        return refuse("the address has a segment that is . or ..");
    }
    if guard::host_is_refused(&url) {
        let message = "the address is one of a metadata service";
        let help = "davy never sends there; give another address";
        return Err((message.to_owned(), help.to_owned()));
    }
    Ok((template, url.origin().ascii_serialization()))
}

/// What an endpoint of GitHub's needs; `None` for another kind.
pub(super) fn github(entry: &Webhook) -> Checked<Option<Github>> {
    let refuse = |what: &str, help: &str| Err((what.to_owned(), help.to_owned()));
    if entry.kind == WebhookKind::Event {
        return match entry.token_file {
            None => Ok(None),
            Some(_) => refuse(
                "token_file is for the kind github-deployment",
                "give a header, or that kind",
            ),
        };
    }
    let Some(token_file) = &entry.token_file else {
        return refuse(
            "the kind github-deployment needs a token",
            "give token_file: a file with a token that may write deployments",
        );
    };
    let has_own = entry.body_template.is_some() || entry.url.contains("{{");
    let is_signed = entry.secret_file.is_some() || entry.secret_env.is_some();
    if has_own || is_signed || entry.method != WebhookMethod::Post {
        return refuse(
            "the kind github-deployment has a body, a path and a method of its own, and signs nothing",
            "give the address of the API alone: url = \"https://api.github.com\"",
        );
    }
    Ok(Some(Github {
        token_file: token_file.clone(),
    }))
}

/// A body with placeholders; `None` for the usual one.
pub(super) fn body(text: Option<&str>) -> Checked<Option<Template>> {
    text.map(|text| Template::parse(text, &FIELDS).map_err(told))
        .transpose()
}

fn told(bad: template::BadTemplate) -> (String, String) {
    (format!("{bad}, at byte {}", bad.offset), bad.help)
}

/// One header.
pub(super) fn header(name: &str, value: &str, into: &mut HeaderMap) -> Checked<()> {
    let refuse = |what: &str, help: &str| Err((what.to_owned(), help.to_owned()));
    let Ok(key) = HeaderName::from_bytes(name.as_bytes()) else {
        return refuse("this is not a header's name", "letters, digits and -");
    };
    if key.as_str().starts_with("webhook-") || OWN_HEADERS.contains(&key.as_str()) {
        return refuse("davy sets this header itself", "remove it");
    }
    let Ok(mut value) = HeaderValue::from_str(value) else {
        let help = "write visible ASCII characters and blanks";
        return refuse("the value holds characters a header cannot", help);
    };
    value.set_sensitive(true);
    into.insert(key, value);
    Ok(())
}
