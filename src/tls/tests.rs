//! What the files of a listener must hold, and what is said where they do not.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::*;
use crate::config::listening::ClientAuth;

const NOW: Timestamp = Timestamp(1_900_000_000_000);

/// A folder with a certificate and its key.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Files {
        let files = Files {
            folder: tempfile::tempdir().expect("a folder"),
        };
        files.pair("tls", (2000, 2100));
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.path(name), text).expect("written");
        self.mode(name, 0o600);
        self.path(name)
    }

    fn mode(&self, name: &str, mode: u32) {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(self.path(name), mode).expect("set");
    }

    /// `NAME.crt` and `NAME.key`, good from one year to another.
    fn pair(&self, name: &str, years: (i32, i32)) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["davy.example".to_owned()]).expect("names");
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let certificate = params.self_signed(&key).expect("signed");
        self.write(&format!("{name}.crt"), &certificate.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    fn settings(&self) -> ServerTls {
        ServerTls::of(self.path("tls.crt"), self.path("tls.key"))
    }

    /// Why the files cannot be used.
    fn fault(&self, change: impl FnOnce(&mut ServerTls)) -> String {
        let mut settings = self.settings();
        change(&mut settings);
        let loaded = load(&settings, NOW);
        let fault = loaded.map(|_| ()).expect_err("not usable");
        let folder = self.folder.path().display().to_string();
        let fault = fault.replace(&format!("{folder}/"), "");
        assert!(!fault.contains("PRIVATE KEY-----\n"), "{fault}");
        fault
    }
}

#[test]
fn a_good_pair_speaks_both_versions_and_http_1_and_says_when_it_ends() {
    let files = Files::new();
    let loaded = load(&files.settings(), NOW).expect("usable");
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert_eq!(loaded.expires, 4_102_444_800, "the first of 2100");
    assert_eq!(loaded.config.alpn_protocols, [b"http/1.1"]);
    let again = load(&files.settings(), NOW).expect("usable");
    assert_eq!(loaded.bytes, again.bytes);
    files.pair("tls", (2000, 2100));
    let other = load(&files.settings(), NOW).expect("usable");
    assert_ne!(loaded.bytes, other.bytes);
}

#[test]
fn what_cannot_be_used_is_told_with_its_file_and_what_mends_it() {
    let files = Files::new();
    files.pair("other", (2000, 2100));
    files.write("empty.pem", "");
    files.write("words.pem", "no certificate at all\n");
    let base64 = "-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n";
    files.write("base64.pem", base64);
    let not_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    files.write("not_der.pem", not_der);
    let locked =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    files.write("locked.key", locked);
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    files.write("old.key", old);
    let long = "x".repeat(usize::try_from(PEM_BYTES_MAX).expect("small") + 1);
    files.write("long.pem", &long);
    let fault = |certificate: &str, key: &str| {
        files.fault(|tls| {
            tls.certificate_file = files.path(certificate);
            tls.key_file = files.path(key);
        })
    };
    for (certificate, key, file, words) in [
        ("none.crt", "tls.key", "none.crt", "No such file"),
        ("tls.crt", "none.key", "none.key", "No such file"),
        ("empty.pem", "tls.key", "empty.pem", "holds no certificate"),
        ("words.pem", "tls.key", "words.pem", "holds no certificate"),
        ("tls.key", "tls.key", "tls.key", "holds no certificate"),
        ("base64.pem", "tls.key", "base64.pem", "is not PEM"),
        ("not_der.pem", "tls.key", "not_der.pem", "cannot be read"),
        (
            "long.pem",
            "tls.key",
            "long.pem",
            "longer than 1048576 bytes",
        ),
        ("tls.crt", "tls.crt", "tls.crt", "holds no key"),
        ("tls.crt", "words.pem", "words.pem", "holds no key"),
        ("tls.crt", "locked.key", "locked.key", "openssl pkey"),
        ("tls.crt", "old.key", "old.key", "is encrypted"),
        (
            "tls.crt",
            "other.key",
            "other.key",
            "does not belong to the first certificate in ",
        ),
    ] {
        let told = fault(certificate, key);
        assert!(told.starts_with(&format!("{file}: ")), "{told}");
        assert!(told.contains(words), "{told}");
    }
}

#[test]
fn a_certificate_out_of_its_time_is_used_with_a_warning() {
    let files = Files::new();
    for (years, words) in [
        ((2000, 2001), "is expired"),
        ((2090, 2100), "not valid yet"),
    ] {
        files.pair("tls", years);
        let loaded = load(&files.settings(), NOW).expect("usable");
        assert_eq!(loaded.warnings.len(), 1);
        assert!(loaded.warnings[0].contains(words), "{:?}", loaded.warnings);
        assert!(loaded.warnings[0].contains("tls.crt: "));
    }
}

#[test]
fn a_key_that_others_may_write_is_refused_and_one_they_may_read_is_told() {
    let files = Files::new();
    for mode in [0o620, 0o602, 0o666] {
        files.mode("tls.key", mode);
        let told = files.fault(|_| ());
        assert!(told.starts_with("tls.key: its mode "), "{told}");
        assert!(told.contains("chmod 600"), "{told}");
    }
    for (mode, warnings) in [(0o600, 0), (0o640, 0), (0o644, 1)] {
        files.mode("tls.key", mode);
        let loaded = load(&files.settings(), NOW).expect("usable");
        assert_eq!(loaded.warnings.len(), warnings, "{mode:o}");
    }
}

#[test]
fn whose_clients_are_taken_is_in_a_file_that_others_may_not_write() {
    let files = Files::new();
    let ca = files.path("tls.crt");
    let with = |change: fn(&Files, &mut ServerTls)| {
        files.fault(|tls| {
            tls.client_ca_file = Some(ca.clone());
            change(&files, tls);
        })
    };
    let mut settings = files.settings();
    settings.client_ca_file = Some(ca.clone());
    let asked = load(&settings, NOW).expect("usable");
    assert_eq!(asked.bytes.len(), 3, "a change of it is seen");
    settings.client_auth = Some(ClientAuth::Off);
    settings.client_ca_file = Some(files.path("none.pem"));
    let off = load(&settings, NOW).expect("it is not read");
    assert_eq!(off.bytes.len(), 2);
    let told = with(|files, tls| tls.client_ca_file = Some(files.path("none.pem")));
    assert!(told.starts_with("none.pem: No such file"), "{told}");
    let told = with(|files, tls| tls.client_ca_file = Some(files.path("tls.key")));
    assert!(told.contains("holds no certificate"), "{told}");
    files.mode("tls.crt", 0o664);
    let told = with(|_, _| ());
    assert!(told.starts_with("tls.crt: its mode 664"), "{told}");
}

#[test]
fn every_failure_has_its_word_and_the_list_has_them_all() {
    use rustls::{CertificateError, Error, InvalidMessage, PeerIncompatible};
    use std::io::ErrorKind;
    let of = |error: Error| failure(&std::io::Error::new(ErrorKind::InvalidData, error));
    let bare = |kind: ErrorKind| failure(&kind.into());
    let found = [
        bare(ErrorKind::TimedOut),
        of(Error::InvalidMessage(InvalidMessage::InvalidContentType)),
        of(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered)),
        of(Error::NoCertificatesPresented),
        of(Error::InvalidCertificate(CertificateError::Expired)),
        of(Error::AlertReceived(rustls::AlertDescription::UnknownCA)),
        bare(ErrorKind::UnexpectedEof),
    ];
    assert_eq!(found, FAILURES);
}
