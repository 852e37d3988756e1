//! What the values of a whole configuration must satisfy, alone and together.
//!
//! Owns the rules no type or range can say. It must not open files or look names up: a
//! configuration can be checked where its secrets are not. What a webhook's address, headers and
//! template must be is `webhook::rules`'.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use super::daemon::{Config, OTHER_SERVICE, SERVICE_LABELS_MAX, Webhook};
use super::layers::{Origins, problem_at};
use super::listening::{ClientAuth, ServerTls};
use super::problem::Problem;
use super::signed_tokens;

/// Longest name of a webhook, in bytes.
const NAME_BYTES_MAX: usize = 63;

/// Every contradiction, located.
pub(super) fn check(config: &Config, origins: &Origins) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut tell = |path: &str, message: String, help: &str| {
        found.push(problem_at(origins, path, message, help));
    };
    let server = &config.server;
    check_listening(config, &mut tell);
    if let Some(tls) = &server.tls {
        check_tls(tls, &mut tell);
    }
    if server.decoded_body_bytes_max < server.request_body_bytes_max {
        let message = "a body could be longer as sent than after decompression".to_owned();
        tell(
            "server.decoded_body_bytes_max",
            message,
            "at least server.request_body_bytes_max",
        );
    }
    if let Some(oidc) = &config.auth.oidc {
        signed_tokens::check(oidc, &mut tell);
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
    let has_no_name = |path: &PathBuf| path.as_os_str().is_empty();
    if config.store.path.as_ref().is_some_and(has_no_name) {
        let help = "write /var/lib/davy, or leave the key out to keep everything in memory";
        tell("store.path", "the folder has no name".to_owned(), help);
    }
    if let Err(error) = tracing_subscriber::EnvFilter::builder().parse(&config.log.filter) {
        let help = "write info, or info,davy::webhook=debug";
        tell("log.filter", format!("not a filter: {error}"), help);
    }
    check_service_labels(&config.telemetry.service_labels, &mut tell);
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

/// Each is a series of every metric of changes.
fn check_service_labels(services: &[String], tell: &mut dyn FnMut(&str, String, &str)) {
    if services.len() > SERVICE_LABELS_MAX {
        let message = format!(
            "{} services cannot have labels of their own",
            services.len()
        );
        let help = "name at most 100, those that matter; all others are counted together";
        tell("telemetry.service_labels", message, help);
    }
    let mut known = BTreeSet::new();
    for (index, service) in services.iter().enumerate() {
        let path = format!("telemetry.service_labels[{index}]");
        if service.is_empty() || service == OTHER_SERVICE {
            let message = format!("`{service}` cannot be a label");
            let help = "name a service as change.service does; what is not listed is `other`";
            tell(&path, message, help);
        } else if !known.insert(service) {
            tell(&path, format!("`{service}` is named twice"), "name it once");
        }
    }
}

/// Who can reach davy, against whom it asks.
fn check_listening(config: &Config, tell: &mut dyn FnMut(&str, String, &str)) {
    let (server, asks) = (&config.server, config.auth.asks());
    match server.listen_address.parse::<IpAddr>() {
        Err(_) => {
            let message = format!("`{}` is not an IP address", server.listen_address);
            tell(
                "server.listen_address",
                message,
                "write 127.0.0.1, ::1, 0.0.0.0 or ::",
            );
        }
        Ok(_) if asks => {}
        Ok(address) if !address.is_loopback() && !server.allow_unauthenticated => {
            let message = format!(
                "{address} can be reached from outside, and nobody has to show who they are"
            );
            let help = "listen on 127.0.0.1, name a file of tokens (auth.tokens_file) or an \
                        identity provider (auth.oidc), or set \
                        server.allow_unauthenticated = true behind a proxy that authenticates";
            tell("server.listen_address", message, help);
        }
        Ok(_) => {}
    }
    if asks && server.allow_unauthenticated {
        let message = "it lets everybody in, and auth asks everybody for a token";
        let help = "keep one of the two";
        tell("server.allow_unauthenticated", message.to_owned(), help);
    }
}

fn check_tls(tls: &ServerTls, tell: &mut dyn FnMut(&str, String, &str)) {
    let files = [
        ("certificate_file", Some(&tls.certificate_file)),
        ("key_file", Some(&tls.key_file)),
        ("client_ca_file", tls.client_ca_file.as_ref()),
    ];
    for (key, path) in files {
        if path.is_some_and(|path| path.as_os_str().is_empty()) {
            let message = "the file has no name".to_owned();
            let help = "write a path, or leave server.tls out to speak HTTP without TLS";
            tell(&format!("server.tls.{key}"), message, help);
        }
    }
    if tls.client_auth == Some(ClientAuth::Required) && tls.client_ca_file.is_none() {
        let message = "clients need a certificate, and no CA is named that issues them".to_owned();
        let help = "name its certificate (server.tls.client_ca_file)";
        tell("server.tls.client_auth", message, help);
    }
}

fn check_webhook(webhook: &Webhook, tell: &mut dyn FnMut(&str, String, &str)) {
    // No dot: it separates the parts of what is signed, and the name is in the first of them.
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    let name = &webhook.name;
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(allowed) {
        let message = format!("`{name}` cannot name a webhook");
        tell("name", message, "letters, digits and _ -, at most 63");
    }
    if webhook.secret_file.is_some() && webhook.secret_env.is_some() {
        let message = "secret_file and secret_env are both given".to_owned();
        tell("secret_env", message, "keep one of the two");
    }
}
