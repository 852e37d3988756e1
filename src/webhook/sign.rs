//! Signatures by the Standard Webhooks specification, version 1 (symmetric).
//!
//! Owns the secret and the signature: HMAC-SHA256 over `id.timestamp.body`, in base64, after
//! `v1,`. The secret never shows in a log.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What a secret begins with.
pub const PREFIX: &str = "whsec_";
/// Fewest bytes of a key: the specification's.
pub const KEY_BYTES_MIN: usize = 24;
/// Most bytes of a key: the specification's.
pub const KEY_BYTES_MAX: usize = 64;

/// A signing key.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Why a secret cannot be used. The text never repeats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    /// `whsec_` is missing.
    #[error("the secret does not begin with whsec_")]
    Prefix,
    /// The rest is not base64.
    #[error("what follows whsec_ is not base64")]
    Base64,
    /// Too short or too long.
    #[error("the key has {0} bytes; it needs {KEY_BYTES_MIN} to {KEY_BYTES_MAX}")]
    Length(usize),
}

impl BadSecret {
    /// What to do about it.
    pub fn help(self) -> &'static str {
        "make one with: printf 'whsec_%s\\n' \"$(head -c 32 /dev/urandom | base64)\""
    }
}

impl Secret {
    /// From the text `whsec_<base64>`; white space around it does not count.
    ///
    /// # Errors
    /// [`BadSecret`].
    pub fn parse(text: &str) -> Result<Secret, BadSecret> {
        let encoded = text.trim().strip_prefix(PREFIX).ok_or(BadSecret::Prefix)?;
        let key = STANDARD.decode(encoded).map_err(|_| BadSecret::Base64)?;
        if !(KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&key.len()) {
            return Err(BadSecret::Length(key.len()));
        }
        Ok(Secret(key))
    }

    /// The value of the header `webhook-signature`. `timestamp_secs` is the unix time of this
    /// attempt, as in the header `webhook-timestamp`.
    pub fn sign(&self, id: &str, timestamp_secs: i64, body: &[u8]) -> String {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(format!("{id}.{timestamp_secs}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_implementation_makes_the_same_signature() {
        let text = format!("{PREFIX}{}", STANDARD.encode([7_u8; 32]));
        let secret = Secret::parse(&format!(" {text}\n")).expect("valid");
        let oracle = standardwebhooks::Webhook::new(&text).expect("valid");
        for (id, at, body) in [
            ("msg_1", 1_764_000_000, "{}"),
            ("x-1-y", 0, "grüße"),
            ("", -5, ""),
        ] {
            let expected = oracle.sign(id, at, body.as_bytes()).expect("signs");
            assert_eq!(secret.sign(id, at, body.as_bytes()), expected);
        }
    }

    #[test]
    fn bad_secrets_are_refused_and_never_shown() {
        let key = |bytes: usize| format!("{PREFIX}{}", STANDARD.encode(vec![1_u8; bytes]));
        assert_eq!(Secret::parse("hunter2"), Err(BadSecret::Prefix));
        assert_eq!(Secret::parse("whsec_%%%"), Err(BadSecret::Base64));
        assert_eq!(
            Secret::parse(&key(KEY_BYTES_MIN - 1)),
            Err(BadSecret::Length(23))
        );
        assert_eq!(
            Secret::parse(&key(KEY_BYTES_MAX + 1)),
            Err(BadSecret::Length(65))
        );
        for bytes in [KEY_BYTES_MIN, KEY_BYTES_MAX] {
            let secret = Secret::parse(&key(bytes)).expect("at the limit");
            assert_eq!(format!("{secret:?}"), "Secret(..)");
        }
    }
}
