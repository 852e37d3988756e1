//! The configuration of an identity provider whose tokens are good here: its types.
//!
//! Owns names, types, ranges and defaults. What addresses and grants must be is `coherence`'s, what a
//! token must hold [`crate::oidc`]'s. There is no algorithm here by which a key that is known to all
//! could sign.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

/// An identity provider (OpenID Connect) whose signed tokens (JWT) are good here.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Oidc {
    /// Who signs: the claim iss of its tokens, letter by letter. Its keys are found behind it at
    /// /.well-known/openid-configuration, unless keys_url is given.
    pub issuer: String,
    /// Whom tokens are for: one of these must be in the claim aud.
    #[schemars(length(min = 1))]
    pub audience: Vec<String>,
    /// Address of the keys (JWKS), https; without it the issuer is asked where they are.
    #[serde(default)]
    pub keys_url: Option<String>,
    /// Algorithms that may sign; no other is taken, whatever a token or a key says.
    #[serde(default = "algorithms")]
    #[schemars(length(min = 1))]
    pub algorithms: Vec<Algorithm>,
    /// Claim that the grants look at: a text, or a list of texts. One that begins with / is a
    /// path (JSON pointer), as /realm_access/roles.
    #[serde(default = "subject")]
    pub scope_claim: String,
    /// Claim with the only namespaces that a token is good for. One without it is good for none.
    #[serde(default)]
    pub namespaces_claim: Option<String>,
    /// Claim that says in the log and the audit who it was.
    #[serde(default = "subject")]
    pub subject_claim: String,
    /// What values of the scope_claim allow. One that is not here allows nothing.
    #[schemars(length(min = 1))]
    pub grants: Vec<Grant>,
    /// How far the issuer's clock may be from davy's, in seconds.
    #[serde(default = "leeway_secs")]
    #[schemars(range(min = 0, max = 300))]
    pub leeway_secs: u64,
    /// How often keys are fetched, in seconds.
    #[serde(default = "keys_refresh_secs")]
    #[schemars(range(min = 1, max = 86_400))]
    pub keys_refresh_secs: u64,
    /// Shortest time from one fetch of keys to the next, in seconds, however many tokens name a key
    /// that is not known.
    #[serde(default = "keys_refetch_secs_min")]
    #[schemars(range(min = 1, max = 3_600))]
    pub keys_refetch_secs_min: u64,
    /// How long a fetch of keys may take, in milliseconds.
    #[serde(default = "timeout_ms")]
    #[schemars(range(min = 100, max = 60_000))]
    pub timeout_ms: u64,
    /// Certificates (PEM) that are trusted besides the system's, to fetch keys.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// File that holds a bearer token, for an issuer that asks for one; read at each fetch.
    #[serde(default)]
    pub bearer_token_file: Option<PathBuf>,
}

/// What one value of a claim allows.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The value, letter by letter.
    pub value: String,
    /// What it allows.
    #[schemars(length(min = 1))]
    pub scopes: Vec<GrantedScope>,
    /// The only namespaces it allows that in; all without it. Not with ingest or admin.
    #[serde(default)]
    pub namespaces: Option<Vec<String>>,
}

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum GrantedScope {
    Ingest,
    Read,
    Control,
    Admin,
}

/// By which a token may be signed: with a private key only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

fn algorithms() -> Vec<Algorithm> {
    vec![Algorithm::RS256, Algorithm::ES256]
}

fn subject() -> String {
    "sub".to_owned()
}

fn leeway_secs() -> u64 {
    30
}

fn keys_refresh_secs() -> u64 {
    300
}

fn keys_refetch_secs_min() -> u64 {
    10
}

fn timeout_ms() -> u64 {
    5_000
}

// === impl Oidc ===

impl Oidc {
    /// Tokens of this issuer for this audience, with these grants; everything else as it is by
    /// default.
    pub fn of(issuer: &str, audience: &str, grants: Vec<Grant>) -> Oidc {
        Oidc {
            issuer: issuer.to_owned(),
            audience: vec![audience.to_owned()],
            keys_url: None,
            algorithms: algorithms(),
            scope_claim: subject(),
            namespaces_claim: None,
            subject_claim: subject(),
            grants,
            leeway_secs: leeway_secs(),
            keys_refresh_secs: keys_refresh_secs(),
            keys_refetch_secs_min: keys_refetch_secs_min(),
            timeout_ms: timeout_ms(),
            ca_file: None,
            bearer_token_file: None,
        }
    }
}

/// Whether who answers at an address is whoever it names: https, or this machine.
pub fn is_safe(address: &str) -> bool {
    reqwest::Url::parse(address).is_ok_and(|url| {
        let is_local = matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
        url.scheme() == "https" || (url.scheme() == "http" && is_local)
    })
}
