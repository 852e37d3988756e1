//! Why somebody was not let in, and what he is told.
//!
//! Owns the words of a refusal, its metric and its line in the log. Of a token that nobody vouches for
//! nothing is told but that; what is wrong with a good one is its holder's to know.

use std::num::NonZeroU32;

use crate::http::problem::{BUSY_RETRY_SECS, Problem};
use crate::oidc::claims::Unfit;
use crate::oidc::{ID_PREFIX, NotGood};
use crate::telemetry::Metrics;
use crate::tokens::Scope;

/// Seconds after which the issuer may be asked again.
const KEYS_RETRY_SECS: NonZeroU32 = NonZeroU32::MIN.saturating_add(4);

/// Why somebody was not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// No credentials.
    Missing,
    /// Credentials that are no token.
    Malformed,
    /// A token that is none of davy's.
    Unknown,
    /// A token that the issuer did not sign, or nobody can say that it did; the word is for a metric.
    Forged(&'static str),
    /// A token that names a key of the issuer's which is not known.
    UnknownKey,
    /// The same, while the issuer cannot be asked.
    KeysUnavailable,
    /// A token that the issuer signed, and that is not good here: the word for a metric, and why.
    Unfit(&'static str, String),
    /// The issuer signed this one's token, and no grant is for him. Issuers may sign for the whole world,
    /// so he is a stranger.
    NoGrant(String),
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

// === impl Refusal ===

impl Refusal {
    /// Of a metric's label.
    pub fn reason(&self) -> &'static str {
        match self {
            Refusal::Missing => "missing",
            Refusal::Malformed => "malformed",
            Refusal::Unknown => "unknown",
            Refusal::Forged(reason) | Refusal::Unfit(reason, _) => reason,
            Refusal::UnknownKey => "jwt_key",
            Refusal::KeysUnavailable => "keys_unavailable",
            Refusal::NoGrant(_) => "jwt_grant",
            Refusal::Expired(_) => "expired",
            Refusal::Revoked(_) => "revoked",
            Refusal::Scope(..) => "scope",
            Refusal::Namespace(_) => "namespace",
            Refusal::TooFast(..) => "too_fast",
        }
    }

    /// The public id of a token that is davy's, or that the issuer signed.
    fn token(&self) -> Option<&str> {
        match self {
            Refusal::Missing
            | Refusal::Malformed
            | Refusal::Unknown
            | Refusal::Forged(_)
            | Refusal::UnknownKey
            | Refusal::KeysUnavailable
            | Refusal::Unfit(..)
            | Refusal::NoGrant(_) => None,
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

impl From<NotGood> for Refusal {
    fn from(not_good: NotGood) -> Refusal {
        match not_good {
            NotGood::Forged("malformed") => Refusal::Malformed,
            NotGood::Forged(reason) => Refusal::Forged(reason),
            NotGood::UnknownKey => Refusal::UnknownKey,
            NotGood::Unfit(unfit) => match unfit {
                Unfit::Issuer => Refusal::Unfit("jwt_issuer", "it is of another issuer".to_owned()),
                Unfit::Audience => {
                    Refusal::Unfit("jwt_audience", "it is for another audience".to_owned())
                }
                Unfit::Expired => Refusal::Unfit("expired", "it is expired".to_owned()),
                Unfit::NotYet => {
                    Refusal::Unfit("jwt_not_yet", "its time has not come (nbf)".to_owned())
                }
                Unfit::Claim(what) => Refusal::Unfit("jwt_claim", what),
            },
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        const HOW: &str = "send the header authorization: Bearer TOKEN, or Basic with the token as \
                           the password; davy token create makes one";
        const SIGNED: &str = "auth.oidc of davy says whose tokens are good, for whom, and which claims \
                              they need";
        let stranger = |detail: &str| Problem::new("unauthenticated", detail);
        match refusal {
            Refusal::Missing => stranger("this asks for a token, and none was sent").help(HOW),
            Refusal::Malformed => {
                stranger("the authorization header holds no token of davy's form").help(HOW)
            }
            // The same whether there is a token of this id or not, and whatever is wrong with one that
            // nobody signed.
            Refusal::Unknown | Refusal::Forged(_) | Refusal::UnknownKey => {
                stranger("the token is not known here").help(HOW)
            }
            Refusal::KeysUnavailable => {
                let detail = "the identity provider cannot be asked whether it signed this token";
                let help = "send it again later; the log of davy says why";
                Problem::new("keys_unavailable", detail)
                    .help(help)
                    .retry_after(KEYS_RETRY_SECS)
            }
            Refusal::Unfit(_, why) => {
                stranger(&format!("the token is not good here: {why}")).help(SIGNED)
            }
            Refusal::NoGrant(id) => {
                let detail = format!("no grant is for the token {id}");
                Problem::new("forbidden", detail).help(SIGNED)
            }
            Refusal::Expired(id) => stranger(&format!("the token {id} is expired")).help(HOW),
            Refusal::Revoked(id) => stranger(&format!("the token {id} is revoked")).help(HOW),
            Refusal::Scope(id, scope) => {
                let detail = format!("the token {id} does not have the scope {scope}");
                let help = if id.starts_with(ID_PREFIX) {
                    format!(
                        "a grant of auth.oidc.grants must give {scope} to a value of its scope_claim"
                    )
                } else {
                    format!("use a token made with --scope {scope}")
                };
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
