//! The configuration of TLS on davy's own listener: its types.
//!
//! Owns names, types and ranges. What the files must hold is [`crate::tls`]'s.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

/// TLS of davy's own listener. Its files are read again when they change.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerTls {
    /// Certificates (PEM): davy's own first, then those that lead to the CA's.
    pub certificate_file: PathBuf,
    /// Key (PEM, not encrypted) of davy's own certificate. Only its owner may write it.
    pub key_file: PathBuf,
    /// Certificates (PEM) of those who may issue clients' certificates. With it a client without
    /// such a certificate is refused at the handshake; a token is asked for all the same.
    #[serde(default)]
    pub client_ca_file: Option<PathBuf>,
    /// Whether clients need a certificate: `required`, which it is with a client_ca_file, or `off`.
    #[serde(default)]
    #[schemars(with = "ClientAuth")]
    pub client_auth: Option<ClientAuth>,
    /// How long a client may take for the handshake, in seconds.
    #[serde(default = "handshake_timeout_secs")]
    #[schemars(range(min = 1, max = 300))]
    pub handshake_timeout_secs: u64,
}

/// Whether clients need a certificate of a CA of the client_ca_file; with `off` none is asked for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum ClientAuth {
    Required,
    Off,
}

fn handshake_timeout_secs() -> u64 {
    10
}

// === impl ServerTls ===

impl ServerTls {
    /// These two files, everything else as it is by default.
    pub fn of(certificate_file: PathBuf, key_file: PathBuf) -> ServerTls {
        ServerTls {
            certificate_file,
            key_file,
            client_ca_file: None,
            client_auth: None,
            handshake_timeout_secs: handshake_timeout_secs(),
        }
    }

    /// The file of those who may issue clients' certificates, where clients need one.
    pub fn asked_of_clients(&self) -> Option<&PathBuf> {
        let is_off = self.client_auth == Some(ClientAuth::Off);
        self.client_ca_file.as_ref().filter(|_| !is_off)
    }
}
