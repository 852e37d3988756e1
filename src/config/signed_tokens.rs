//! What the settings of an identity provider must satisfy, alone and together.
//!
//! Owns the rules no type or range can say. It asks no issuer.

use std::collections::BTreeSet;

use super::oidc::{Grant, GrantedScope, Oidc, is_safe};

/// Tells what is wrong, by the key.
pub(super) type Tell<'t> = dyn FnMut(&str, String, &str) + 't;

/// Every contradiction, by its key.
pub(super) fn check(oidc: &Oidc, tell: &mut Tell<'_>) {
    let addresses = [
        ("issuer", Some(&oidc.issuer)),
        ("keys_url", oidc.keys_url.as_ref()),
    ];
    for (key, address) in addresses {
        if address.is_some_and(|address| !is_safe(address)) {
            let message = "keys that come without TLS may be anybody's".to_owned();
            let help = "write an https address; http is for 127.0.0.1 and localhost";
            tell(&format!("auth.oidc.{key}"), message, help);
        }
    }
    let claims = [
        ("scope_claim", Some(&oidc.scope_claim)),
        ("subject_claim", Some(&oidc.subject_claim)),
        ("namespaces_claim", oidc.namespaces_claim.as_ref()),
    ];
    for (key, claim) in claims {
        if claim.is_some_and(String::is_empty) {
            let message = "the claim has no name".to_owned();
            tell(&format!("auth.oidc.{key}"), message, "write sub");
        }
    }
    for (index, audience) in oidc.audience.iter().enumerate() {
        if audience.is_empty() {
            let message = "an empty text is nobody's name".to_owned();
            let help = "write what tokens for davy have in the claim aud";
            tell(&format!("auth.oidc.audience[{index}]"), message, help);
        }
    }
    let mut values = BTreeSet::new();
    for (index, grant) in oidc.grants.iter().enumerate() {
        let path = format!("auth.oidc.grants[{index}]");
        if !values.insert(grant.value.as_str()) {
            let message = format!("two grants are for `{}`", grant.value);
            tell(
                &format!("{path}.value"),
                message,
                "write one with the scopes of both",
            );
        }
        check_grant(grant, &path, oidc.namespaces_claim.is_some(), tell);
    }
}

fn check_grant(grant: &Grant, path: &str, are_limited: bool, tell: &mut Tell<'_>) {
    if grant.value.is_empty() {
        let message = "the grant is for nobody".to_owned();
        let help = "write the value of the scope_claim, letter by letter";
        tell(&format!("{path}.value"), message, help);
    }
    let names = grant.namespaces.as_deref();
    if names.is_some_and(<[String]>::is_empty) {
        let message = "it is limited to no namespace at all".to_owned();
        let help = "name some, or leave namespaces out";
        tell(&format!("{path}.namespaces"), message, help);
    }
    let is_wide =
        |scope: &GrantedScope| matches!(scope, GrantedScope::Ingest | GrantedScope::Admin);
    if (are_limited || names.is_some()) && grant.scopes.iter().any(is_wide) {
        let message = "the scopes ingest and admin cannot be limited to namespaces: samples find their \
                       analyses by labels, in all of them";
        let help = "leave namespaces and namespaces_claim out, or the scope";
        tell(&format!("{path}.scopes"), message.to_owned(), help);
    }
}
