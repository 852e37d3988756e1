//! TLS of davy's own listener: its certificate and key, and whose clients it takes.
//!
//! Owns what the files must hold, what is said where they do not, and the settings of the protocol:
//! TLS 1.2 and 1.3, by one provider of cryptography, and HTTP/1.1, which is all the listener speaks.
//! It must not know when the files are read again (`app::certificates`) nor what is
//! asked of a request; a client's certificate opens a connection, never a route.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};

use crate::config::listening::ServerTls;
use crate::model::Timestamp;
use crate::tokens::guarded::{self, Guarded};

/// Longest file of certificates or a key, in bytes.
pub const PEM_BYTES_MAX: u64 = 1 << 20;
/// What is agreed on during the handshake; the listener speaks nothing else.
const ALPN: &[u8] = b"http/1.1";
/// Of keys that need a passphrase, in both forms there are.
const ENCRYPTED: &[u8] = b"ENCRYPTED";

/// What new connections are answered with. Those that are open keep what they began with.
pub struct Listener {
    current: RwLock<Arc<ServerConfig>>,
    /// How long a client may take for the handshake.
    pub handshake_timeout: Duration,
}

/// The files as they were read, checked.
pub struct Loaded {
    config: Arc<ServerConfig>,
    /// All they hold, by which a change is seen.
    pub bytes: Vec<Vec<u8>>,
    /// What is not as it should be, and no reason to refuse them.
    pub warnings: Vec<String>,
    /// When davy's certificate ends, in unix seconds.
    pub expires: u64,
}

// === impl Listener ===

impl Listener {
    /// Answers with these.
    pub fn new(loaded: &Loaded, settings: &ServerTls) -> Listener {
        Listener {
            current: RwLock::new(loaded.config.clone()),
            handshake_timeout: Duration::from_secs(settings.handshake_timeout_secs),
        }
    }

    /// Answers new connections with these. No session of before is taken up again: its client may
    /// have a certificate that is good no longer.
    pub fn replace(&self, loaded: &Loaded) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = loaded.config.clone();
    }

    /// What a connection that comes now is answered with.
    pub fn current(&self) -> Arc<ServerConfig> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }
}

/// Reads and checks the files. It waits for the disk.
///
/// # Errors
/// A sentence that names the file and what mends it.
pub fn load(settings: &ServerTls, now: Timestamp) -> Result<Loaded, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let path = &settings.certificate_file;
    let certificate_file = read(path)?;
    let chain = certificates(path, &certificate_file.bytes)?;
    let key_file = read(&settings.key_file)?;
    key_file
        .refuse_writable("put a key of theirs in its place")
        .map_err(|message| told(&settings.key_file, &message))?;
    let key = key(&settings.key_file, &key_file.bytes)?;
    let client_ca_file = settings.asked_of_clients();
    let client_ca_file = client_ca_file.map(|path| Ok::<_, String>((path, read(path)?)));
    let client_ca_file = client_ca_file.transpose()?;
    let (expires, warning) = validity(path, &chain[0], now)?;
    let mut warnings: Vec<String> = warning.into_iter().collect();
    if key_file.is_open() {
        let message = "everybody on this machine may read the key; chmod 600 mends that";
        warnings.push(told(&settings.key_file, message));
    }
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| error.to_string())?;
    let builder = match &client_ca_file {
        None => builder.with_no_client_auth(),
        Some((path, file)) => builder.with_client_cert_verifier(clients(path, file, provider)?),
    };
    let config = builder.with_single_cert(chain, key);
    let mut config = config.map_err(|error| misfit(settings, &error))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    if client_ca_file.is_some() {
        // A session that is taken up again is not asked for its certificate, which may be expired by
        // then, and each gives the next one.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    let files = [Some(certificate_file), Some(key_file)];
    let files = files.into_iter().flatten();
    let files = files.chain(client_ca_file.map(|(_, file)| file));
    Ok(Loaded {
        config: Arc::new(config),
        bytes: files.map(|file| file.bytes).collect(),
        warnings,
        expires,
    })
}

fn told(path: &Path, message: &str) -> String {
    format!("{}: {message}", path.display())
}

fn read(path: &Path) -> Result<Guarded, String> {
    guarded::read(path, PEM_BYTES_MAX).map_err(|message| told(path, &message))
}

/// At least one.
fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|error| told(path, &format!("it is not PEM: {error}")))?;
    if all.is_empty() {
        let message = "it holds no certificate, which in PEM begins with -----BEGIN CERTIFICATE-----; \
                       write davy's own first, then those that lead to the CA's";
        return Err(told(path, message));
    }
    Ok(all)
}

fn key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    if pem.windows(ENCRYPTED.len()).any(|part| part == ENCRYPTED) {
        let message = "the key is encrypted, and davy can ask nobody for its passphrase; \
                       openssl pkey -in FILE -out PLAIN writes it without";
        return Err(told(path, message));
    }
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            let message = "it holds no key, which in PEM begins with -----BEGIN PRIVATE KEY-----, \
                           or RSA or EC before PRIVATE";
            told(path, message)
        }
        // What a parser says of a key must not show any of it.
        _ => told(path, "it is not PEM"),
    })
}

/// Who takes clients with a certificate of one of these, and no others.
fn clients(
    path: &Path,
    file: &Guarded,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    file.refuse_writable("let their own clients connect")
        .map_err(|message| told(path, &message))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, &file.bytes)? {
        let added = roots.add(certificate);
        added.map_err(|error| told(path, &format!("a certificate in it is none: {error}")))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    verifier
        .build()
        .map_err(|error| told(path, &error.to_string()))
}

/// Why a certificate and a key cannot be used together.
fn misfit(settings: &ServerTls, error: &rustls::Error) -> String {
    let certificate = settings.certificate_file.display();
    match error {
        rustls::Error::InconsistentKeys(_) => {
            let message = format!(
                "the key does not belong to the first certificate in {certificate}; davy's own must \
                 stand first there, and both files must be of one pair"
            );
            told(&settings.key_file, &message)
        }
        rustls::Error::InvalidCertificate(_) => {
            told(&settings.certificate_file, &error.to_string())
        }
        _ => {
            let message = format!("the key cannot be used ({error}); RSA, EC and Ed25519 can");
            told(&settings.key_file, &message)
        }
    }
}

/// When a certificate ends, in unix seconds, and what is to be said of it now.
fn validity(
    path: &Path,
    certificate: &CertificateDer<'_>,
    now: Timestamp,
) -> Result<(u64, Option<String>), String> {
    let parsed = webpki::EndEntityCert::try_from(certificate);
    let parsed = parsed.map_err(|error| {
        told(
            path,
            &format!("the first certificate cannot be read: {error}"),
        )
    })?;
    // The times are looked at before the issuer, and no issuer is given: what it says of a time is all
    // that is wanted. At the end of time it says when the certificate ended.
    let at = |secs: u64| {
        let time = UnixTime::since_unix_epoch(Duration::from_secs(secs));
        let usage = webpki::KeyUsage::server_auth();
        let algorithms = webpki::ALL_VERIFICATION_ALGS;
        parsed
            .verify_for_usage(algorithms, &[], &[], time, usage, None, None)
            .map(|_| ())
    };
    let expires = match at(u64::MAX) {
        Err(webpki::Error::CertExpired { not_after, .. }) => not_after.as_secs(),
        _ => {
            return Err(told(
                path,
                "the first certificate does not say when it ends",
            ));
        }
    };
    let now = u64::try_from(now.millis() / 1_000).unwrap_or(0);
    let warning = match at(now) {
        Err(webpki::Error::CertExpired { .. }) => Some("is expired: clients refuse it; renew it"),
        Err(webpki::Error::CertNotValidYet { .. }) => {
            Some("is not valid yet: clients refuse it; is the clock of this machine right?")
        }
        _ => None,
    };
    let warning = warning.map(|what| told(path, &format!("the first certificate {what}")));
    Ok((expires, warning))
}

/// All that [`failure`] answers.
pub const FAILURES: [&str; 7] = [
    "timeout",
    "not_tls",
    "incompatible",
    "client_certificate_missing",
    "client_certificate",
    "alert",
    "closed",
];

/// Why a handshake failed, for a metric's label.
pub fn failure(error: &std::io::Error) -> &'static str {
    use rustls::Error;
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        _ if error.kind() == std::io::ErrorKind::TimedOut => "timeout",
        Some(Error::InvalidMessage(_)) => "not_tls",
        Some(Error::PeerIncompatible(_) | Error::NoApplicationProtocol) => "incompatible",
        Some(Error::NoCertificatesPresented) => "client_certificate_missing",
        Some(Error::InvalidCertificate(_)) => "client_certificate",
        Some(Error::AlertReceived(_)) => "alert",
        _ => "closed",
    }
}

#[cfg(test)]
mod tests;
