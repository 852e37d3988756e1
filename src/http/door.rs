//! Who is let in: the token of a request against what its route asks for.
//!
//! Owns the reading of `Authorization`, the check, and the words of a refusal. Which route asks for
//! what is in [`super::routes`]; what a token is, in [`crate::tokens`]. The public id by which a token
//! is looked up is no secret, so the lookup need not hide how long it takes; the comparison of hashes
//! does. It must not read a body: who is not let in costs nothing more than his headers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::problem::{BUSY_RETRY_SECS, Problem};
use crate::engine::audit::Requester;
use crate::model::Timestamp;
use crate::telemetry::Metrics;
use crate::tokens::{Digest, Scope, Token, TokenState, id_in};

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

/// Why somebody was not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// No credentials.
    Missing,
    /// Credentials that are no token.
    Malformed,
    /// A token that is none of davy's.
    Unknown,
    /// The token of this id is expired.
    Expired(String),
    /// The token of this id was taken back.
    Revoked(String),
    /// The token of this id has not this scope.
    Scope(String, Scope),
    /// The token of this id is limited to namespaces, and the answer would not be.
    Namespace(String),
    /// The token of this id asks too often.
    TooFast(String, u32),
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

// === impl Refusal ===

impl Refusal {
    /// Of a metric's label.
    pub fn reason(&self) -> &'static str {
        match self {
            Refusal::Missing => "missing",
            Refusal::Malformed => "malformed",
            Refusal::Unknown => "unknown",
            Refusal::Expired(_) => "expired",
            Refusal::Revoked(_) => "revoked",
            Refusal::Scope(..) => "scope",
            Refusal::Namespace(_) => "namespace",
            Refusal::TooFast(..) => "too_fast",
        }
    }

    /// The public id of a token that is davy's.
    fn token(&self) -> Option<&str> {
        match self {
            Refusal::Missing | Refusal::Malformed | Refusal::Unknown => None,
            Refusal::Expired(id)
            | Refusal::Revoked(id)
            | Refusal::Scope(id, _)
            | Refusal::Namespace(id)
            | Refusal::TooFast(id, _) => Some(id),
        }
    }

    /// Counts it, and logs it by the token's id. Where no token of davy's was shown that is for
    /// those who look for it only: anybody could fill the log.
    pub fn note(&self, metrics: &Metrics, route: &str) {
        let reason = self.reason();
        let refused = &metrics.door.refused;
        refused.with_label_values(&[reason]).inc();
        if let Refusal::TooFast(..) = self {
            metrics.limit("requests_per_second");
        }
        match self.token() {
            Some(token) => tracing::info!(token, reason, route, "not let in"),
            None => tracing::debug!(reason, route, "not let in"),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        const HOW: &str = "send the header authorization: Bearer TOKEN, or Basic with the token as \
                           the password; davy token create makes one";
        let stranger = |detail: &str| Problem::new("unauthenticated", detail);
        match refusal {
            Refusal::Missing => stranger("this asks for a token, and none was sent").help(HOW),
            Refusal::Malformed => {
                stranger("the authorization header holds no token of davy's form").help(HOW)
            }
            // The same whether there is a token of this id or not.
            Refusal::Unknown => stranger("the token is not known here").help(HOW),
            Refusal::Expired(id) => stranger(&format!("the token {id} is expired")).help(HOW),
            Refusal::Revoked(id) => stranger(&format!("the token {id} is revoked")).help(HOW),
            Refusal::Scope(id, scope) => {
                let detail = format!("the token {id} does not have the scope {scope}");
                let help = format!("use a token made with --scope {scope}");
                Problem::new("forbidden", detail).help(help)
            }
            Refusal::Namespace(id) => {
                let detail =
                    format!("the token {id} is limited to namespaces, and this address knows none");
                Problem::new("forbidden", detail).help("use a token made without --namespace")
            }
            Refusal::TooFast(id, most) => {
                let detail = format!("the token {id} may ask {most} times a second");
                Problem::new("busy", detail)
                    .help("send it again after the stated time, or raise auth.requests_per_second_max")
                    .retry_after(BUSY_RETRY_SECS)
            }
        }
    }
}

/// How often one token asks: a bucket of one second's requests, as the instant at which it is full
/// again.
#[derive(Debug, Default)]
struct Pace {
    full_at_micros: Mutex<i64>,
}

// === impl Pace ===

impl Pace {
    /// Whether one more fits into `most` a second.
    fn admits(&self, most: u32, now: Timestamp) -> bool {
        const SECOND: i64 = 1_000_000;
        let now = now.millis().saturating_mul(1_000);
        let mut full_at = self
            .full_at_micros
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Never more than a second ahead, even where the clock was set back.
        let ahead = full_at.saturating_sub(now).clamp(0, SECOND);
        let after = ahead + SECOND / i64::from(most);
        let fits = after <= SECOND;
        *full_at = now.saturating_add(if fits { after } else { ahead });
        fits
    }
}

#[cfg(test)]
mod tests;
