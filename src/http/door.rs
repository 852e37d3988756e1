//! Who is let in: the token of a request against what its route asks for.
//!
//! Owns the reading of `Authorization` and the check; the words of a refusal are [`refusal`]'s. Which
//! route asks for what is in [`super::routes`]; what a token of the file is, in [`crate::tokens`], and one
//! that an identity provider signed, in [`crate::oidc`]. The public id by which a token
//! is looked up is no secret, so the lookup need not hide how long it takes; the comparison of hashes
//! does. It must not read a body: who is not let in costs nothing more than his headers.

mod pace;
mod refusal;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::problem::Problem;
use crate::engine::audit::Requester;
use crate::model::Timestamp;
use crate::oidc::{ID_PREFIX, Issuer};
use crate::tokens::{Digest, PREFIX, Scope, Token, TokenState, id_in};
use pace::{Pace, Paces};
pub use refusal::Refusal;

/// What a route asks of who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// Nothing: whoever reaches davy may ask.
    Nothing,
    /// A token with this scope that is limited to no namespace, for the answer knows none.
    Scope(Scope),
    /// A token with this scope; the handler keeps to its namespaces by the [`Caller`].
    Within(Scope),
    /// As `Scope(Read)`, unless `auth.metrics_open` opens it.
    Metrics,
}

/// Who was let in, as far as a handler needs to know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// The namespaces that the caller is limited to; `None` for all.
    pub namespaces: Option<Arc<[String]>>,
    /// Whose token it was; `None` where nobody is asked for one.
    pub by: Option<Requester>,
}

/// Lets in who has a token; everybody where davy has no file of tokens.
#[derive(Debug)]
pub struct Door {
    /// By id; `None` where nobody is asked.
    known: RwLock<Option<Arc<Known>>>,
    /// Whose signed tokens are good, too.
    issuer: Option<Issuer>,
    subjects: Paces,
    settings: Settings,
}

/// Settings of a door; the daemon's configuration names each of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether the metrics are for everybody.
    pub metrics_open: bool,
    /// Requests in a second with one token; 0 for any number.
    pub requests_per_second_max: u32,
}

type Known = BTreeMap<String, Holder>;

#[derive(Debug)]
struct Holder {
    token: Token,
    namespaces: Option<Arc<[String]>>,
    pace: Arc<Pace>,
}

// === impl Caller ===

impl Caller {
    /// Whether the caller may know of an analysis in this namespace.
    pub fn sees(&self, namespace: Option<&str>) -> bool {
        match &self.namespaces {
            None => true,
            Some(names) => namespace.is_some_and(|own| names.iter().any(|name| name == own)),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Caller, Problem> {
        // Absent where the route's `Asks` is not `Within`: a mistake in the table of routes.
        parts.extensions.get::<Caller>().cloned().ok_or_else(|| {
            tracing::error!("a handler asks who calls, and its route does not");
            Problem::new("internal", "this should not have happened")
        })
    }
}

// === impl Door ===

impl Door {
    /// Lets everybody in.
    pub fn open() -> Door {
        Door {
            known: RwLock::new(None),
            issuer: None,
            subjects: Paces::default(),
            settings: Settings::default(),
        }
    }

    /// Lets in who has one of these tokens.
    pub fn with(tokens: Vec<Token>, settings: Settings) -> Door {
        let door = Door {
            settings,
            ..Door::open()
        };
        door.replace(tokens);
        door
    }

    /// The same, for tokens that this issuer signs, too.
    pub fn trusting(self, issuer: Issuer) -> Door {
        Door {
            issuer: Some(issuer),
            ..self
        }
    }

    /// Whether tokens that somebody signs are good here.
    pub fn knows_an_issuer(&self) -> bool {
        self.issuer.is_some()
    }

    /// Whether the issuer's keys of now may say otherwise.
    pub fn is_in_doubt(&self, admitted: &Result<Caller, Refusal>) -> bool {
        matches!(
            admitted,
            Err(Refusal::UnknownKey | Refusal::KeysUnavailable)
        )
    }

    /// Asks the issuer for its keys, where that was not done just now; whether there was an answer.
    pub async fn asks_anew(&self) -> bool {
        match &self.issuer {
            Some(issuer) => issuer.keys().renewed().await,
            None => false,
        }
    }

    /// Takes other tokens from now on. Those that stay keep how much they have asked.
    pub fn replace(&self, tokens: Vec<Token>) {
        let before = self.known();
        let holder = |token: Token| {
            let old = before.as_ref().and_then(|known| known.get(&token.id));
            let holder = Holder {
                namespaces: token.namespaces.as_deref().map(Arc::from),
                pace: old.map(|old| old.pace.clone()).unwrap_or_default(),
                token,
            };
            (holder.token.id.clone(), holder)
        };
        let known: Known = tokens.into_iter().map(holder).collect();
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(known));
    }

    fn known(&self) -> Option<Arc<Known>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.clone()
    }

    /// Who asks, where he may ask this now.
    ///
    /// # Errors
    /// Why he may not.
    pub fn admit(&self, asks: Asks, given: &HeaderMap, now: Timestamp) -> Result<Caller, Refusal> {
        let scope = match asks {
            Asks::Nothing => return Ok(Caller::default()),
            Asks::Metrics if self.settings.metrics_open => return Ok(Caller::default()),
            Asks::Scope(scope) | Asks::Within(scope) => scope,
            Asks::Metrics => Scope::Read,
        };
        let Some(known) = self.known() else {
            return Ok(Caller::default());
        };
        let text = credentials(given)?;
        match &self.issuer {
            // A signed token has two dots, and one of the file has none.
            Some(issuer) if !text.starts_with(PREFIX) && text.contains('.') => {
                return self.admit_signed(issuer, &text, (asks, scope), now);
            }
            _ => {}
        }
        let id = id_in(&text).ok_or(Refusal::Malformed)?;
        let digest = Digest::of(&text);
        let holder = known.get(id).ok_or(Refusal::Unknown)?;
        if !holder.token.digest.equals(&digest) {
            return Err(Refusal::Unknown);
        }
        // From here on the caller holds the token: what is told of it is his to know.
        let id = || holder.token.id.clone();
        match holder.token.state(now) {
            TokenState::Expired => return Err(Refusal::Expired(id())),
            TokenState::Revoked => return Err(Refusal::Revoked(id())),
            TokenState::Valid => {}
        }
        if !holder.token.allows(scope) {
            return Err(Refusal::Scope(id(), scope));
        }
        if holder.namespaces.is_some() && !matches!(asks, Asks::Within(_)) {
            return Err(Refusal::Namespace(id()));
        }
        let most = self.settings.requests_per_second_max;
        if most > 0 && !holder.pace.admits(most, now) {
            return Err(Refusal::TooFast(id(), most));
        }
        Ok(Caller {
            namespaces: holder.namespaces.clone(),
            by: Some(Requester {
                token: id(),
                name: holder.token.name.clone(),
            }),
        })
    }

    /// The same for a token that an issuer signs.
    fn admit_signed(
        &self,
        issuer: &Issuer,
        token: &str,
        (asks, scope): (Asks, Scope),
        now: Timestamp,
    ) -> Result<Caller, Refusal> {
        let identity = issuer.examine(token, now).map_err(Refusal::from);
        let identity = identity.map_err(|refusal| match refusal {
            Refusal::UnknownKey if issuer.keys().are_doubtful() => Refusal::KeysUnavailable,
            refusal => refusal,
        })?;
        let id = format!("{ID_PREFIX}{}", identity.subject);
        if identity.grants.is_empty() {
            return Err(Refusal::NoGrant(id));
        }
        let allowing: Vec<_> = identity
            .grants
            .iter()
            .filter(|one| one.allows(scope))
            .collect();
        if allowing.is_empty() {
            return Err(Refusal::Scope(id, scope));
        }
        let limited: Option<Vec<_>> = allowing.iter().map(|one| one.namespaces.as_ref()).collect();
        let namespaces: Option<Arc<[String]>> = limited.map(|all| {
            let names: BTreeSet<&String> = all.into_iter().flat_map(|names| names.iter()).collect();
            names.into_iter().cloned().collect()
        });
        if namespaces.is_some() && !matches!(asks, Asks::Within(_)) {
            return Err(Refusal::Namespace(id));
        }
        let most = self.settings.requests_per_second_max;
        if most > 0 && !self.subjects.of(&identity.subject, now).admits(most, now) {
            return Err(Refusal::TooFast(id, most));
        }
        Ok(Caller {
            namespaces,
            by: Some(Requester {
                token: id,
                name: issuer.name().to_owned(),
            }),
        })
    }
}

/// The text of the token in `Authorization`: as a bearer, or as the password of any user, for
/// clients that take credentials as a part of an address only.
fn credentials(given: &HeaderMap) -> Result<String, Refusal> {
    let mut all = given.get_all(header::AUTHORIZATION).iter();
    let value = all.next().ok_or(Refusal::Missing)?;
    // Which of two is meant nobody can say; something in front may have looked at the other.
    if all.next().is_some() {
        return Err(Refusal::Malformed);
    }
    let value = value.to_str().map_err(|_| Refusal::Malformed)?;
    let (scheme, rest) = value.split_once(' ').ok_or(Refusal::Malformed)?;
    let rest = rest.trim_matches(' ');
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(rest.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(Refusal::Malformed);
    }
    let plain = STANDARD.decode(rest).map_err(|_| Refusal::Malformed)?;
    let plain = String::from_utf8(plain).map_err(|_| Refusal::Malformed)?;
    let (_user, password) = plain.split_once(':').ok_or(Refusal::Malformed)?;
    Ok(password.to_owned())
}

#[cfg(test)]
mod tests;
