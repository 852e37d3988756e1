//! Signatures by the Standard Webhooks specification, version 1 (symmetric).
//!
//! Owns the secrets and the signatures: HMAC-SHA256 over `id.timestamp.body`, in base64, after
//! `v1,`, one with each secret. A secret never shows in a log.

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

/// Most secrets of one endpoint. A rotation needs two; each costs a signature of every attempt.
pub const SECRETS_MAX: usize = 8;

/// A signing key.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// The secrets of one endpoint, at least one. A delivery is signed with each, so that a receiver may
/// know the old one or the new one while they are changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secrets(Vec<Secret>);

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
    /// There is none.
    #[error("there is no secret")]
    None,
    /// There are too many.
    #[error("there are {0} secrets, over {SECRETS_MAX}")]
    TooMany(usize),
}

impl BadSecret {
    /// What to do about it.
    pub fn help(self) -> &'static str {
        match self {
            BadSecret::TooMany(_) => "keep the new one and the one it replaces",
            _ => "make one with: printf 'whsec_%s\\n' \"$(head -c 32 /dev/urandom | base64)\"",
        }
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

    /// One signature. `timestamp_secs` is the unix time of this attempt, as in the header
    /// `webhook-timestamp`.
    pub fn sign(&self, id: &str, timestamp_secs: i64, body: &[u8]) -> String {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(format!("{id}.{timestamp_secs}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

// === impl Secrets ===

impl Secrets {
    /// From text: one secret a line, or several with blanks between them. Lines that begin with `#`
    /// do not count.
    ///
    /// # Errors
    /// [`BadSecret`] of the first that cannot be used.
    pub fn parse(text: &str) -> Result<Secrets, BadSecret> {
        let lines = text
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'));
        let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
        match words.len() {
            0 => Err(BadSecret::None),
            1..=SECRETS_MAX => Ok(Secrets(
                words
                    .into_iter()
                    .map(Secret::parse)
                    .collect::<Result<_, _>>()?,
            )),
            many => Err(BadSecret::TooMany(many)),
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The value of the header `webhook-signature`: a signature with each secret, in their order,
    /// blanks between them.
    pub fn sign(&self, id: &str, timestamp_secs: i64, body: &[u8]) -> String {
        let signatures = self
            .0
            .iter()
            .map(|secret| secret.sign(id, timestamp_secs, body));
        signatures.collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SystemClock};

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
    #[test]
    fn whoever_knows_one_of_the_secrets_verifies() {
        let text = |byte: u8| format!("{PREFIX}{}", STANDARD.encode([byte; 32]));
        let (new, old) = (text(1), text(2));
        for written in [
            format!("{new}\n{old}\n"),
            format!("# since March\n{new}\r\n\n  # until April\n  {old}"),
            format!("{new} {old}"),
        ] {
            let secrets = Secrets::parse(&written).expect("two secrets");
            assert_eq!(secrets.count(), 2, "{written}");
            let now = SystemClock.now().millis() / 1000;
            let value = secrets.sign("msg_1", now, b"{}");
            assert_eq!(value.split(' ').count(), 2, "{value}");
            let mut headers = reqwest::header::HeaderMap::new();
            let mut set = |name: &'static str, value: &str| {
                headers.insert(name, value.parse().expect("a value"));
            };
            set("webhook-id", "msg_1");
            set("webhook-timestamp", &now.to_string());
            set("webhook-signature", &value);
            for known in [&new, &old] {
                let receiver = standardwebhooks::Webhook::new(known).expect("valid");
                receiver.verify(b"{}", &headers).expect("it is signed");
            }
            let stranger = standardwebhooks::Webhook::new(&text(3)).expect("valid");
            stranger.verify(b"{}", &headers).expect_err("not signed");
        }
    }

    #[test]
    fn none_and_too_many_secrets_are_refused_and_one_bad_one_is_enough() {
        let text = format!("{PREFIX}{}\n", STANDARD.encode([1; 32]));
        assert_eq!(Secrets::parse(" \n# whsec_\n"), Err(BadSecret::None));
        let most = Secrets::parse(&text.repeat(SECRETS_MAX));
        assert_eq!(most.expect("at the limit").count(), SECRETS_MAX);
        let over = Secrets::parse(&text.repeat(SECRETS_MAX + 1));
        assert_eq!(over, Err(BadSecret::TooMany(SECRETS_MAX + 1)));
        let bad = Secrets::parse(&format!("{text}hunter2"));
        assert_eq!(bad, Err(BadSecret::Prefix));
    }
}
