//! The issuer's public keys (JWKS, RFC 7517).
//!
//! Owns which key may check which algorithm. A key that is not for signatures, is too short, or is no
//! public key at all is left out by itself; a set is never refused for one of its keys.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// Keys of one issuer that are kept.
pub const KEYS_MAX: usize = 64;
/// Shortest modulus of an RSA key, in bytes: 2048 bits.
const RSA_BYTES_MIN: usize = 256;
/// Longest modulus, in bytes: 8192 bits. To check with a longer one costs davy too much.
const RSA_BYTES_MAX: usize = 1024;

/// Keys that check signatures.
#[derive(Debug, Default)]
pub struct KeySet {
    /// By id; the keys without one under the empty text.
    keys: BTreeMap<String, Vec<Key>>,
}

#[derive(Debug)]
struct Key {
    kind: Kind,
    /// The only algorithm it is for, where it says so.
    only: Option<String>,
    key: DecodingKey,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

/// Why no key checks a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoKey {
    /// None has this id.
    Unknown,
    /// That of this id is not for this algorithm.
    Unfit,
}

/// A key as it is written.
#[derive(Deserialize)]
struct Written {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

// === impl KeySet ===

impl KeySet {
    /// Reads a set; with how many of its keys were left out.
    ///
    /// # Errors
    /// A sentence where it is no set, or holds no key that could be used.
    pub fn parse(text: &[u8]) -> Result<(KeySet, usize), String> {
        let set: Value = serde_json::from_slice(text)
            .map_err(|error| format!("the keys are not JSON: {error}"))?;
        let all = set["keys"]
            .as_array()
            .ok_or("the answer has no list `keys`")?;
        let mut keys: BTreeMap<String, Vec<Key>> = BTreeMap::new();
        let mut taken = 0;
        for written in all {
            let written: Result<Written, _> = Written::deserialize(written);
            let Some((id, key)) = written.ok().and_then(Written::usable) else {
                continue;
            };
            if taken < KEYS_MAX {
                taken += 1;
                keys.entry(id).or_default().push(key);
            }
        }
        if taken == 0 {
            return Err(format!(
                "none of the {} keys can check a signature: RSA of 2048 bits and more, EC (P-256, P-384) \
                 and Ed25519 can",
                all.len()
            ));
        }
        Ok((KeySet { keys }, all.len() - taken))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.keys.values().map(Vec::len).sum()
    }

    /// The key that checks a token which names this one and this algorithm. Where a token names none
    /// there must be only one that it could be.
    ///
    /// # Errors
    /// [`NoKey`].
    pub fn choose(&self, id: Option<&str>, algorithm: Algorithm) -> Result<&DecodingKey, NoKey> {
        let named: Vec<&Key> = match id {
            Some(id) => self.keys.get(id).into_iter().flatten().collect(),
            None => self.keys.values().flatten().collect(),
        };
        if named.is_empty() {
            return Err(NoKey::Unknown);
        }
        let mut fit = named.into_iter().filter(|key| key.checks(algorithm));
        match (fit.next(), fit.next(), id) {
            (Some(key), None, _) | (Some(key), _, Some(_)) => Ok(&key.key),
            _ => Err(NoKey::Unfit),
        }
    }
}

// === impl Key ===

impl Key {
    /// Whether its kind, and what it says of itself, are for this algorithm.
    fn checks(&self, algorithm: Algorithm) -> bool {
        let kind = match algorithm {
            Algorithm::RS256 | Algorithm::RS384 | Algorithm::RS512 => Kind::Rsa,
            Algorithm::PS256 | Algorithm::PS384 | Algorithm::PS512 => Kind::Rsa,
            Algorithm::ES256 => Kind::P256,
            Algorithm::ES384 => Kind::P384,
            Algorithm::EdDSA => Kind::Ed25519,
            // Those with a shared secret: no public key is one.
            _ => return false,
        };
        let named = format!("{algorithm:?}");
        self.kind == kind && self.only.as_ref().is_none_or(|only| *only == named)
    }
}

// === impl Written ===

impl Written {
    /// Its id and the key, where it is a public key for signatures.
    fn usable(self) -> Option<(String, Key)> {
        let for_signatures = self.usage.as_ref().is_none_or(|usage| usage == "sig");
        let verifies = |ops: &Vec<String>| ops.iter().any(|op| op == "verify");
        if !for_signatures || !self.key_ops.as_ref().is_none_or(verifies) {
            return None;
        }
        let bytes = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_ref()?).ok();
        let (kind, key) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => {
                let (n, e) = (bytes(&self.n)?, bytes(&self.e)?);
                let length = n.iter().skip_while(|byte| **byte == 0).count();
                if !(RSA_BYTES_MIN..=RSA_BYTES_MAX).contains(&length) {
                    return None;
                }
                (Kind::Rsa, DecodingKey::from_rsa_raw_components(&n, &e))
            }
            ("EC", Some(curve @ ("P-256" | "P-384"))) => {
                let (kind, length) = match curve {
                    "P-256" => (Kind::P256, 32),
                    _ => (Kind::P384, 48),
                };
                let (x, y) = (bytes(&self.x)?, bytes(&self.y)?);
                if x.len() != length || y.len() != length {
                    return None;
                }
                let point = [&[4], x.as_slice(), &y].concat();
                (kind, DecodingKey::from_ec_der(&point))
            }
            ("OKP", Some("Ed25519")) => {
                let x = bytes(&self.x)?;
                (x.len() == 32).then(|| (Kind::Ed25519, DecodingKey::from_ed_der(&x)))?
            }
            // `oct` is a secret that both sides share: who can read it here could sign.
            _ => return None,
        };
        let only = self.alg;
        let id = self.kid.unwrap_or_default();
        Some((id, Key { kind, only, key }))
    }
}

#[cfg(test)]
mod tests;
