//! What a signed token says, and what of it is good here: who it is from, whom it is for, when, and what
//! it allows.
//!
//! Owns the rules on claims. It reads what somebody signed already, and it must not ask the clock.

use std::sync::Arc;

use serde_json::Value;

use super::{Identity, SUBJECT_BYTES_MAX};
use crate::config::oidc::{GrantedScope, Oidc};
use crate::model::Timestamp;
use crate::tokens::{Scope, is_name};

/// Claims whose text is a list of words, as OAuth has it. Elsewhere a blank is a letter like others.
const LISTS_OF_WORDS: [&str; 2] = ["scope", "scp"];
/// Values of one claim that are looked at, and namespaces of one token.
pub const VALUES_MAX: usize = 256;

/// What tokens must say.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) issuer: String,
    audience: Vec<String>,
    leeway_secs: f64,
    scope_claim: String,
    namespaces_claim: Option<String>,
    subject_claim: String,
    grants: Vec<(String, Granted)>,
}

/// What one value of a claim allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// What.
    pub scopes: Vec<Scope>,
    /// Only in these namespaces; `None` for all.
    pub namespaces: Option<Arc<[String]>>,
}

/// Why a token that the issuer signed is not good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// It is from somebody else.
    Issuer,
    /// It is for somebody else.
    Audience,
    /// It is expired.
    Expired,
    /// Its time has not come.
    NotYet,
    /// A claim is missing, or of a kind that cannot be used.
    Claim(String),
}

// === impl Granted ===

impl Granted {
    /// Whether it allows what asks for this scope.
    pub fn allows(&self, asked: Scope) -> bool {
        self.scopes.iter().any(|scope| scope.includes(asked))
    }

    /// The same in these namespaces only.
    fn within(self, names: &[String]) -> Granted {
        let namespaces = match &self.namespaces {
            None => names.into(),
            Some(own) => own
                .iter()
                .filter(|own| names.contains(own))
                .cloned()
                .collect(),
        };
        Granted {
            namespaces: Some(namespaces),
            ..self
        }
    }
}

// === impl Rules ===

impl Rules {
    pub(super) fn of(settings: &Oidc) -> Rules {
        let scope = |written: &GrantedScope| match written {
            GrantedScope::Ingest => Scope::Ingest,
            GrantedScope::Read => Scope::Read,
            GrantedScope::Control => Scope::Control,
            GrantedScope::Admin => Scope::Admin,
        };
        let grants = settings.grants.iter().map(|grant| {
            let granted = Granted {
                scopes: grant.scopes.iter().map(scope).collect(),
                namespaces: grant.namespaces.as_deref().map(Arc::from),
            };
            (grant.value.clone(), granted)
        });
        Rules {
            issuer: settings.issuer.clone(),
            audience: settings.audience.clone(),
            leeway_secs: settings.leeway_secs as f64,
            scope_claim: settings.scope_claim.clone(),
            namespaces_claim: settings.namespaces_claim.clone(),
            subject_claim: settings.subject_claim.clone(),
            grants: grants.collect(),
        }
    }

    /// Whose token it is and what it allows, where its claims are good now.
    pub(super) fn read(&self, claims: &Value, now: Timestamp) -> Result<Identity, Unfit> {
        if claims["iss"].as_str() != Some(&self.issuer) {
            return Err(Unfit::Issuer);
        }
        let meant = values(&claims["aud"]);
        if !meant
            .iter()
            .any(|one| self.audience.iter().any(|own| own == one))
        {
            return Err(Unfit::Audience);
        }
        let subject = self.subject(claims)?;
        let now = now.millis() as f64 / 1_000.0;
        let ends = time(claims, "exp")?.ok_or_else(|| missing("exp"))?;
        if now >= ends + self.leeway_secs {
            return Err(Unfit::Expired);
        }
        let begins = time(claims, "nbf")?;
        if begins.is_some_and(|begins| now + self.leeway_secs < begins) {
            return Err(Unfit::NotYet);
        }
        let grants = self.grants(claims)?;
        Ok(Identity { subject, grants })
    }

    fn subject(&self, claims: &Value) -> Result<String, Unfit> {
        let name = &self.subject_claim;
        let subject = find(claims, name).and_then(Value::as_str);
        let subject = subject.ok_or_else(|| missing(name))?;
        // It is written to the log, and to the audit for good.
        let fits = (1..=SUBJECT_BYTES_MAX).contains(&subject.len())
            && !subject.chars().any(char::is_control);
        if !fits {
            let what =
                format!("{name} is empty, longer than {SUBJECT_BYTES_MAX} bytes or no plain text");
            return Err(Unfit::Claim(what));
        }
        Ok(subject.to_owned())
    }

    fn grants(&self, claims: &Value) -> Result<Vec<Granted>, Unfit> {
        let mut given = find(claims, &self.scope_claim)
            .map(values)
            .unwrap_or_default();
        if LISTS_OF_WORDS.contains(&self.scope_claim.as_str()) {
            given = given.iter().flat_map(|text| text.split(' ')).collect();
        }
        bounded(&self.scope_claim, &given)?;
        let allowed = |value: &String| given.iter().any(|one| one == value);
        let granted = self.grants.iter().filter(|(value, _)| allowed(value));
        let granted = granted.map(|(_, granted)| granted.clone());
        let Some(claim) = &self.namespaces_claim else {
            return Ok(granted.collect());
        };
        let names = find(claims, claim).map(values).unwrap_or_default();
        bounded(claim, &names)?;
        // What is no name names none of the analyses.
        let names = names.into_iter().filter(|name| is_name(name));
        let names: Vec<String> = names.map(str::to_owned).collect();
        Ok(granted.map(|granted| granted.within(&names)).collect())
    }
}

fn bounded(claim: &str, values: &[&str]) -> Result<(), Unfit> {
    if values.len() > VALUES_MAX {
        let what = format!("{claim} holds more than {VALUES_MAX} values");
        return Err(Unfit::Claim(what));
    }
    Ok(())
}

fn missing(claim: &str) -> Unfit {
    Unfit::Claim(format!(
        "{claim} is missing, or no text or number as it should be"
    ))
}

/// A claim by its name, or by its path where that begins with a slash.
fn find<'c>(claims: &'c Value, name: &str) -> Option<&'c Value> {
    if name.starts_with('/') {
        claims.pointer(name)
    } else {
        claims.get(name)
    }
}

/// A text, or those of a list; what is neither is left out.
fn values(claim: &Value) -> Vec<&str> {
    match claim {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Unix seconds, which may have a fraction.
fn time(claims: &Value, name: &str) -> Result<Option<f64>, Unfit> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or_else(|| missing(name)),
    }
}

#[cfg(test)]
mod tests;
