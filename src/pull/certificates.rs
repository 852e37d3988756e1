//! Certificates of a client: whom it trusts besides the system, and what it shows.
//!
//! Owns how the files get into a client, and what is said where they do not.

use std::path::Path;

use reqwest::ClientBuilder;
use reqwest::tls::{Certificate, Identity};

use crate::config::sources::TlsFiles;
use crate::webhook::attempt::causes;

/// A client that trusts and shows what the files hold.
///
/// # Errors
/// A sentence that names the file.
pub fn trust(mut builder: ClientBuilder, files: &TlsFiles) -> Result<ClientBuilder, String> {
    let read =
        |path: &Path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    if let Some(path) = &files.ca_file {
        let told = |error: reqwest::Error| format!("{}: {}", path.display(), causes(&error));
        let certificates = Certificate::from_pem_bundle(&read(path)?).map_err(told)?;
        if certificates.is_empty() {
            return Err(format!("{}: holds no certificate (PEM)", path.display()));
        }
        builder = builder.tls_certs_merge(certificates);
    }
    if let (Some(certificate), Some(key)) = (&files.cert_file, &files.key_file) {
        let mut pem = read(certificate)?;
        pem.extend_from_slice(b"\n");
        pem.extend_from_slice(&read(key)?);
        let told = |error: reqwest::Error| format!("{}: {}", certificate.display(), causes(&error));
        builder = builder.identity(Identity::from_pem(&pem).map_err(told)?);
    }
    Ok(builder)
}
