//! Certificates that are made for one test: a CA, davy's own, and those of clients.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use davy::config::listening::ServerTls;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// When davy's certificates end: the first of 2100.
pub const EXPIRES: u64 = 4_102_444_800;

/// Who issues certificates.
pub struct Authority {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("signed");
        let issuer = Issuer::new(params, key);
        Authority {
            certificate,
            issuer,
        }
    }

    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    fn issue(&self, purpose: ExtendedKeyUsagePurpose, until: i32) -> Pair {
        let key = KeyPair::generate().expect("a key");
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("names");
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        params.extended_key_usages = vec![purpose];
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    pub fn server(&self) -> Pair {
        self.issue(ExtendedKeyUsagePurpose::ServerAuth, 2100)
    }

    pub fn client(&self) -> Pair {
        self.issue(ExtendedKeyUsagePurpose::ClientAuth, 2100)
    }

    pub fn expired_client(&self) -> Pair {
        self.issue(ExtendedKeyUsagePurpose::ClientAuth, 2001)
    }
}

impl Pair {
    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("PEM")
    }
}

/// A CA and the files of a listener with a certificate of its.
pub struct Made {
    pub folder: tempfile::TempDir,
    pub authority: Authority,
    pub own: Pair,
}

impl Made {
    pub fn new() -> Made {
        let authority = Authority::new();
        let made = Made {
            folder: tempfile::tempdir().expect("a folder"),
            own: authority.server(),
            authority,
        };
        made.write("ca.pem", &made.authority.pem());
        made.put(&made.own);
        made
    }

    /// Puts a pair into davy's files.
    pub fn put(&self, pair: &Pair) {
        self.write("tls.crt", &pair.certificate);
        self.write("tls.key", &pair.key);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Written beside and renamed, as it should be.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let beside = self.path("beside");
        std::fs::write(&beside, text).expect("written");
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&beside, mode).expect("set");
        std::fs::rename(beside, self.path(name)).expect("renamed");
        self.path(name)
    }

    pub fn settings(&self) -> ServerTls {
        ServerTls::of(self.path("tls.crt"), self.path("tls.key"))
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let ca = self.authority.certificate.der().clone();
        roots.add(ca).expect("a certificate");
        roots
    }

    /// Of a client that trusts the CA.
    pub fn client_config(&self) -> ClientConfig {
        ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(self.roots())
            .with_no_client_auth()
    }

    /// Of one that shows a certificate, too.
    pub fn client_config_with(&self, pair: &Pair) -> ClientConfig {
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("PEM");
        ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(self.roots())
            .with_client_auth_cert(vec![pair.der()], key)
            .expect("a pair")
    }
}
