//! Tokens that an identity provider signs (JWT, OpenID Connect), and what they allow here.
//!
//! Owns the check of such a token: its form, its signature by a key of the issuer's, who it is from, whom
//! it is for and when ([`claims`]), what it allows. Keys are in [`keys`], where they come from in
//! [`fetch`], when they are fetched in [`keeper`]. It must not know of requests; what a refusal looks
//! like is `http::door`'s. Where a token says what it is to be checked with (its algorithm, its key) it
//! is believed only as far as the configuration pins it and the key fits.

pub mod claims;
pub mod fetch;
pub mod keeper;
pub mod keys;

use std::sync::Arc;

use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde_json::Value;

use crate::config::oidc;
use crate::model::Timestamp;
use claims::{Rules, Unfit};
use keeper::Keys;
use keys::NoKey;

/// Longest token, in bytes. Those of usual issuers have one to three thousand.
pub const TOKEN_BYTES_MAX: usize = 8 << 10;
/// Longest name of a subject, in bytes: what OpenID Connect allows.
pub const SUBJECT_BYTES_MAX: usize = 255;
/// What the public id of such a token begins with. No token of a file has one of this form.
pub const ID_PREFIX: &str = "oidc:";

/// An identity provider whose tokens are good here.
#[derive(Debug)]
pub struct Issuer {
    keys: Arc<Keys>,
    algorithms: Vec<Algorithm>,
    rules: Rules,
}

/// Whose token it was, and what it allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Who, as the issuer names him.
    pub subject: String,
    /// What he may do: each for itself.
    pub grants: Vec<claims::Granted>,
}

/// Why a token is not good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotGood {
    /// It is none, or not one of the issuer's. Of what is not signed nothing is believed, and nothing
    /// told but that.
    Forged(&'static str),
    /// It names a key that is not known, which may be a new one.
    UnknownKey,
    /// The issuer signed it, and it is not good here or not now.
    Unfit(Unfit),
}

// === impl Issuer ===

impl Issuer {
    /// By these settings, with keys that somebody keeps.
    pub fn new(settings: &oidc::Oidc, keys: Arc<Keys>) -> Issuer {
        Issuer {
            keys,
            algorithms: settings.algorithms.iter().map(algorithm).collect(),
            rules: Rules::of(settings),
        }
    }

    /// Whom tokens are from.
    pub fn name(&self) -> &str {
        &self.rules.issuer
    }

    /// Its keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Whose token this is, where it is good now.
    ///
    /// # Errors
    /// [`NotGood`].
    pub fn examine(&self, token: &str, now: Timestamp) -> Result<Identity, NotGood> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(NotGood::Forged("malformed"));
        }
        // `none` is no algorithm that could be read, whatever its case.
        let header = decode_header(token).map_err(|_| NotGood::Forged("malformed"))?;
        // What must be understood, and is not.
        if header.crit.is_some() {
            return Err(NotGood::Forged("malformed"));
        }
        if !self.algorithms.contains(&header.alg) {
            return Err(NotGood::Forged("jwt_algorithm"));
        }
        let set = self.keys.current();
        let key = set
            .choose(header.kid.as_deref(), header.alg)
            .map_err(|none| match none {
                NoKey::Unknown => NotGood::UnknownKey,
                NoKey::Unfit => NotGood::Forged("jwt_key"),
            })?;
        let claims = decode::<Value>(token, key, &signature_only(header.alg))
            .map_err(|_| NotGood::Forged("jwt_signature"))?
            .claims;
        self.rules.read(&claims, now).map_err(NotGood::Unfit)
    }
}

/// What is asked of the library: the signature, by this algorithm. Claims are looked at by [`claims`],
/// where time is an argument.
fn signature_only(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}

fn algorithm(written: &oidc::Algorithm) -> Algorithm {
    match written {
        oidc::Algorithm::RS256 => Algorithm::RS256,
        oidc::Algorithm::RS384 => Algorithm::RS384,
        oidc::Algorithm::RS512 => Algorithm::RS512,
        oidc::Algorithm::PS256 => Algorithm::PS256,
        oidc::Algorithm::PS384 => Algorithm::PS384,
        oidc::Algorithm::PS512 => Algorithm::PS512,
        oidc::Algorithm::ES256 => Algorithm::ES256,
        oidc::Algorithm::ES384 => Algorithm::ES384,
        oidc::Algorithm::EdDSA => Algorithm::EdDSA,
    }
}
