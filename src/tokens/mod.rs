//! Tokens: who may ask davy for what.
//!
//! Owns their text form, their scopes, and when one is good. A token is 256 bits of chance, so davy
//! keeps its SHA-256 and no slow hash: what makes slow hashes needed is that people choose passwords
//! that can be guessed. It must not know of requests; the file of tokens is [`mod@file`]'s, and what a
//! refusal looks like is `http::door`'s.

pub mod file;
pub mod guarded;

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use crate::model::Timestamp;

/// What a token begins with, so that people and scanners of repositories know one.
pub const PREFIX: &str = "davy_";
/// Hexadecimal digits of a token's public id.
pub const ID_DIGITS: usize = 8;
/// Hexadecimal digits of its secret: 256 bits.
pub const SECRET_DIGITS: usize = 64;
/// Longest name of a token or a namespace, in bytes.
pub const NAME_BYTES_MAX: usize = 63;

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// To send samples.
    Ingest,
    /// To read whatever there is.
    Read,
    /// To start, step and cancel analyses, and to read: who acts on a verdict must see it.
    Control,
    /// Everything.
    Admin,
}

/// A token as its holder has it. It is shown by [`Minted::reveal`] only.
pub struct Minted {
    text: String,
}

/// What is kept of a token's text.
#[derive(Clone, Copy)]
pub struct Digest([u8; 32]);

/// A token as davy knows it.
#[derive(Debug, Clone)]
pub struct Token {
    /// Its public id, which stands in its text: not secret.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it allows; never empty.
    pub scopes: Vec<Scope>,
    /// The namespaces it is limited to; `None` for all analyses.
    pub namespaces: Option<Vec<String>>,
    /// Of its text.
    pub digest: Digest,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is refused.
    pub expires_at: Option<Timestamp>,
    /// When it was taken back.
    pub revoked_at: Option<Timestamp>,
}

/// Whether a token is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenState {
    /// It is.
    Valid,
    /// Its time is over.
    Expired,
    /// It was taken back.
    Revoked,
}

// === impl Scope ===

impl Scope {
    /// All of them.
    pub const ALL: [Scope; 4] = [Scope::Ingest, Scope::Read, Scope::Control, Scope::Admin];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Ingest => "ingest",
            Scope::Read => "read",
            Scope::Control => "control",
            Scope::Admin => "admin",
        }
    }

    /// The scope that is written so.
    pub fn named(text: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.as_str() == text)
    }

    /// Whether who has this scope may do what asks for `asked`.
    pub fn includes(self, asked: Scope) -> bool {
        match self {
            Scope::Admin => true,
            Scope::Control => matches!(asked, Scope::Control | Scope::Read),
            Scope::Ingest | Scope::Read => self == asked,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Minted ===

impl Minted {
    /// A token of this id and secret, both by chance.
    pub fn of(id: [u8; ID_DIGITS / 2], secret: [u8; SECRET_DIGITS / 2]) -> Minted {
        Minted {
            text: format!("{PREFIX}{}_{}", hex(&id), hex(&secret)),
        }
    }

    /// The text, for its holder.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// Its public id.
    pub fn id(&self) -> &str {
        &self.text[PREFIX.len()..PREFIX.len() + ID_DIGITS]
    }

    /// What is kept of it.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.text)
    }
}

/// The public id in a text that has a token's form; `None` where it has another.
pub fn id_in(text: &str) -> Option<&str> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let fits = |part: &str, digits| part.len() == digits && part.bytes().all(is_hex_digit);
    (fits(id, ID_DIGITS) && fits(secret, SECRET_DIGITS)).then_some(id)
}

/// Whether a text has the form of a public id.
pub fn is_id(text: &str) -> bool {
    text.len() == ID_DIGITS && text.bytes().all(is_hex_digit)
}

/// Whether a text may name a token or a namespace: letters, digits and `. _ -`.
pub fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

// Lower case only: a token has one spelling.
fn is_hex_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

// === impl Digest ===

impl Digest {
    /// The SHA-256 of a token's whole text.
    pub fn of(text: &str) -> Digest {
        Digest(Sha256::digest(text).into())
    }

    /// Reads it as it is written.
    pub fn from_hex(text: &str) -> Option<Digest> {
        let mut bytes = [0; 32];
        if text.len() != 2 * bytes.len() || !text.bytes().all(is_hex_digit) {
            return None;
        }
        for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
        }
        Some(Digest(bytes))
    }

    /// Equality that takes as long wherever the two differ.
    pub fn equals(&self, other: &Digest) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

// === impl Token ===

impl Token {
    /// Whether it is good at this instant.
    pub fn state(&self, now: Timestamp) -> TokenState {
        if self.revoked_at.is_some() {
            TokenState::Revoked
        } else if self.expires_at.is_some_and(|end| end <= now) {
            TokenState::Expired
        } else {
            TokenState::Valid
        }
    }

    /// Whether one of its scopes includes this one.
    pub fn allows(&self, asked: Scope) -> bool {
        self.scopes.iter().any(|scope| scope.includes(asked))
    }

    /// Why it must not be limited to namespaces, where it is and must not. Samples find their
    /// analyses by labels, whatever the namespace, so who sends them can move every verdict.
    pub fn contradiction(&self) -> Option<&'static str> {
        match &self.namespaces {
            Some(names) if names.is_empty() => Some("it is limited to no namespace at all"),
            Some(_) if self.allows(Scope::Ingest) => Some(
                "a token with the scope ingest or admin cannot be limited to namespaces: samples \
                 find their analyses by labels, in all of them",
            ),
            _ => None,
        }
    }
}

impl TokenState {
    /// For a list.
    pub fn as_str(self) -> &'static str {
        match self {
            TokenState::Valid => "valid",
            TokenState::Expired => "expired",
            TokenState::Revoked => "revoked",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_itself_by_a_public_id_and_has_one_spelling() {
        let minted = Minted::of([0xab, 1, 2, 3], [7; 32]);
        let text = minted.reveal();
        assert_eq!(minted.id(), "ab010203");
        assert_eq!(text, format!("davy_ab010203_{}", "07".repeat(32)));
        assert_eq!(id_in(text), Some("ab010203"));
        let upper = text.replace("ab", "AB");
        let long = format!("{text}0");
        let short = &text[..text.len() - 1];
        for wrong in [
            "",
            "davy_",
            "davy_ab010203",
            "davy_é_",
            &upper,
            &long,
            short,
        ] {
            assert_eq!(id_in(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_digest_is_of_the_whole_text_and_comes_back_from_its_hex() {
        // `printf abc | sha256sum`
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let digest = Digest::of("abc");
        assert_eq!(digest.to_string(), known);
        assert!(Digest::from_hex(known).expect("hex").equals(&digest));
        assert!(!Digest::of("abd").equals(&digest));
        assert_eq!(format!("{digest:?}"), "..");
        for wrong in ["", "ba", &known.to_uppercase(), &known.replace('b', "g")] {
            assert!(Digest::from_hex(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn scopes_include_what_is_told_of_them() {
        use Scope::{Admin, Control, Ingest, Read};
        let included = |scope: Scope| -> Vec<Scope> {
            let all = Scope::ALL.into_iter();
            all.filter(|asked| scope.includes(*asked)).collect()
        };
        assert_eq!(included(Ingest), [Ingest]);
        assert_eq!(included(Read), [Read]);
        assert_eq!(included(Control), [Read, Control]);
        assert_eq!(included(Admin), Scope::ALL);
        for scope in Scope::ALL {
            assert_eq!(Scope::named(scope.as_str()), Some(scope));
        }
        assert_eq!(Scope::named("write"), None);
    }

    #[test]
    fn a_token_expires_at_its_instant_and_stays_revoked() {
        let mut token = Token {
            id: "00000000".into(),
            name: "t".into(),
            scopes: vec![Scope::Read],
            namespaces: None,
            digest: Digest::of("t"),
            created_at: Timestamp(0),
            expires_at: Some(Timestamp(10)),
            revoked_at: None,
        };
        assert_eq!(token.state(Timestamp(9)), TokenState::Valid);
        assert_eq!(token.state(Timestamp(10)), TokenState::Expired);
        token.revoked_at = Some(Timestamp(5));
        assert_eq!(token.state(Timestamp(0)), TokenState::Revoked);
        token.namespaces = Some(vec!["payments".into()]);
        assert_eq!(token.contradiction(), None);
        for scope in [Scope::Ingest, Scope::Admin] {
            token.scopes = vec![Scope::Read, scope];
            assert!(token.contradiction().is_some(), "{scope}");
        }
    }
}
