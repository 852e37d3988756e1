//! What the values of a whole configuration must satisfy, alone and together.
//!
//! Owns the rules no type or range can say. It must not open files or look names up: a
//! configuration can be checked where its secrets are not.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::daemon::{Config, Webhook};
use super::layers::{Origins, problem_at};
use super::problem::Problem;

/// Headers davy sets itself.
const OWN_HEADERS: [&str; 7] = [
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
];

/// Every contradiction, located.
pub(super) fn check(config: &Config, origins: &Origins) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut tell = |path: &str, message: String, help: &str| {
        found.push(problem_at(origins, path, message, help));
    };
    let server = &config.server;
    match server.listen_address.parse::<IpAddr>() {
        Err(_) => {
            let message = format!("`{}` is not an IP address", server.listen_address);
            tell(
                "server.listen_address",
                message,
                "write 127.0.0.1, ::1, 0.0.0.0 or ::",
            );
        }
        Ok(address) if !address.is_loopback() && !server.allow_unauthenticated => {
            let message = format!(
                "{address} can be reached from outside, and nobody has to show who they are"
            );
            let help = "listen on 127.0.0.1, or set server.allow_unauthenticated = true behind \
                        a proxy that authenticates";
            tell("server.listen_address", message, help);
        }
        Ok(_) => {}
    }
    if server.decoded_body_bytes_max < server.request_body_bytes_max {
        let message = "a body could be longer as sent than after decompression".to_owned();
        tell(
            "server.decoded_body_bytes_max",
            message,
            "at least server.request_body_bytes_max",
        );
    }
    if config.webhook.backoff_max_ms < config.webhook.backoff_initial_ms {
        let message = "the longest wait is shorter than the first".to_owned();
        tell(
            "webhook.backoff_max_ms",
            message,
            "at least webhook.backoff_initial_ms",
        );
    }
    if config.plans.directory.as_os_str().is_empty() {
        tell(
            "plans.directory",
            "the folder has no name".to_owned(),
            "write config/plans",
        );
    }
    if let Err(error) = tracing_subscriber::EnvFilter::builder().parse(&config.log.filter) {
        let help = "write info, or info,davy::webhook=debug";
        tell("log.filter", format!("not a filter: {error}"), help);
    }
    let mut names = BTreeSet::new();
    for (index, webhook) in config.webhooks.iter().enumerate() {
        let mut tell_of = |key: &str, message: String, help: &str| {
            tell(&format!("webhooks[{index}].{key}"), message, help);
        };
        if !names.insert(webhook.name.as_str()) {
            let message = format!("two webhooks are named `{}`", webhook.name);
            tell_of("name", message, "rename one of them");
        }
        check_webhook(webhook, &mut tell_of);
    }
    found
}

fn check_webhook(webhook: &Webhook, tell: &mut dyn FnMut(&str, String, &str)) {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if webhook.name.is_empty() || webhook.name.len() > 63 || !webhook.name.bytes().all(allowed) {
        let message = format!("`{}` cannot name a webhook", webhook.name);
        tell("name", message, "letters, digits and . _ -, at most 63");
    }
    if let Some(what) = url_fault(&webhook.url) {
        // Not the address itself: its path is often the secret.
        tell(
            "url",
            what.to_owned(),
            "write https://host/path; placeholders only after the host",
        );
    }
    if webhook.secret_file.is_some() && webhook.secret_env.is_some() {
        let message = "secret_file and secret_env are both given".to_owned();
        tell("secret_env", message, "keep one of the two");
    }
    for (name, value) in &webhook.headers {
        let key = format!("headers.{name}");
        if reqwest::header::HeaderName::from_bytes(name.as_bytes()).is_err() {
            tell(
                &key,
                "this is not a header's name".to_owned(),
                "letters, digits and -",
            );
        } else if OWN_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
            tell(&key, "davy sets this header itself".to_owned(), "remove it");
        }
        if reqwest::header::HeaderValue::from_str(value).is_err() {
            tell(
                &key,
                "the value holds characters a header cannot".to_owned(),
                "",
            );
        }
    }
}

/// What is wrong with an address, placeholders counting as letters.
fn url_fault(text: &str) -> Option<&'static str> {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, inner)) = rest.split_once("{{") {
        plain.push_str(before);
        plain.push('x');
        let Some((_, after)) = inner.split_once("}}") else {
            return Some("a placeholder is not closed");
        };
        // Who is called must not depend on what is told.
        if !has_authority(&plain) {
            return Some("a placeholder stands in the host");
        }
        rest = after;
    }
    plain.push_str(rest);
    let Ok(url) = reqwest::Url::parse(&plain) else {
        return Some("this is not an address");
    };
    match url.scheme() {
        "http" | "https" if url.host_str().is_some() => {}
        _ => return Some("the address is not http or https"),
    }
    (!url.username().is_empty() || url.password().is_some())
        .then_some("the address holds a user name or password")
}

/// Whether `https://host/` is complete.
fn has_authority(text: &str) -> bool {
    text.split_once("://")
        .is_some_and(|(_, rest)| rest.contains('/'))
}
