//! Who davy says it is to a source: a bearer token, or a name and a password.
//!
//! Owns the secret from its file to the header. It is read anew when it was refused, so that a token
//! can be changed without a restart, and it is never shown: what a source says is cleared of it.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;

use crate::config::sources::PrometheusSource;

/// Bytes of a file with a secret.
pub const SECRET_FILE_BYTES_MAX: u64 = 4_096;
/// What a secret is replaced by where it would be shown.
const HIDDEN: &str = "(secret)";

/// What identifies davy to one source.
pub struct Credentials {
    scheme: Scheme,
    held: Mutex<Option<Held>>,
}

enum Scheme {
    None,
    Bearer { file: PathBuf },
    Basic { username: String, file: PathBuf },
}

#[derive(Clone, PartialEq)]
struct Held {
    header: HeaderValue,
    secret: String,
}

// === impl Credentials ===

impl Credentials {
    /// What the settings name, read for the first time.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn read(settings: &PrometheusSource) -> Result<Credentials, String> {
        let scheme = match (&settings.bearer_token_file, &settings.basic) {
            (Some(file), _) => Scheme::Bearer { file: file.clone() },
            (None, Some(basic)) => Scheme::Basic {
                username: basic.username.clone(),
                file: basic.password_file.clone(),
            },
            (None, None) => Scheme::None,
        };
        let credentials = Credentials {
            scheme,
            held: Mutex::new(None),
        };
        credentials.read_anew()?;
        Ok(credentials)
    }

    /// The header's value, where there is any.
    pub fn header(&self) -> Option<HeaderValue> {
        self.held().as_ref().map(|held| held.header.clone())
    }

    /// Reads the file again; whether it holds something else now. It waits for the disk.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn read_anew(&self) -> Result<bool, String> {
        let (file, username) = match &self.scheme {
            Scheme::None => return Ok(false),
            Scheme::Bearer { file } => (file, None),
            Scheme::Basic { username, file } => (file, Some(username)),
        };
        let secret = read_secret(file)?;
        let text = match username {
            None => format!("Bearer {secret}"),
            Some(username) => {
                format!("Basic {}", STANDARD.encode(format!("{username}:{secret}")))
            }
        };
        let mut header = HeaderValue::from_str(&text)
            .map_err(|_| format!("{}: holds what a header cannot", file.display()))?;
        header.set_sensitive(true);
        let held = Some(Held { header, secret });
        let mut before = self.held();
        let is_other = *before != held;
        *before = held;
        Ok(is_other)
    }

    /// A text from outside without the secret, should it hold it.
    pub fn cleared(&self, text: &str) -> String {
        let parts = self.cleared_parts();
        parts
            .iter()
            .fold(text.to_owned(), |text, part| text.replace(&**part, HIDDEN))
    }

    /// Whether a text from outside holds the secret.
    pub fn are_in(&self, text: &str) -> bool {
        self.cleared_parts()
            .iter()
            .any(|part| text.contains(&**part))
    }

    /// What must not be shown: the secret, and how it is sent.
    fn cleared_parts(&self) -> Vec<String> {
        let held = self.held();
        let Some(held) = held.as_ref() else {
            return Vec::new();
        };
        let header = held.header.to_str().unwrap_or_default();
        let encoded = header
            .split_once(' ')
            .map_or(header, |(_, encoded)| encoded);
        vec![encoded.to_owned(), held.secret.clone()]
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first line of a file with a secret, without blanks around it.
fn read_secret(path: &Path) -> Result<String, String> {
    let name = path.display();
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| {
            file.take(SECRET_FILE_BYTES_MAX + 1)
                .read_to_string(&mut text)
        })
        .map_err(|error| format!("{name}: {error}"))?;
    if text.len() as u64 > SECRET_FILE_BYTES_MAX {
        return Err(format!(
            "{name}: more than {SECRET_FILE_BYTES_MAX} bytes are too many for a secret"
        ));
    }
    match text.trim() {
        "" => Err(format!("{name}: the file is empty")),
        secret => Ok(secret.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sources::BasicAuthentication;

    fn credentials(basic: bool, path: &Path) -> Result<Credentials, String> {
        let mut settings = PrometheusSource::at("http://localhost");
        if basic {
            settings.basic = Some(BasicAuthentication {
                username: "davy".to_owned(),
                password_file: path.to_owned(),
            });
        } else {
            settings.bearer_token_file = Some(path.to_owned());
        }
        Credentials::read(&settings)
    }

    #[test]
    fn a_secret_is_read_anew_and_cleared_from_what_is_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        std::fs::write(&path, "first\n").expect("written");
        let bearer = credentials(false, &path).expect("read");
        let basic = credentials(true, &path).expect("read");
        assert_eq!(bearer.header().expect("one"), "Bearer first");
        assert_eq!(basic.header().expect("one"), "Basic ZGF2eTpmaXJzdA==");
        assert_eq!(bearer.read_anew(), Ok(false));
        std::fs::write(&path, "second").expect("written");
        assert_eq!(bearer.read_anew(), Ok(true));
        assert_eq!(bearer.header().expect("one"), "Bearer second");
        assert_eq!(bearer.cleared("no second!"), "no (secret)!");
        assert_eq!(basic.cleared("no ZGF2eTpmaXJzdA=="), "no (secret)");
        assert_eq!(basic.cleared("first"), "(secret)");
    }

    #[test]
    fn a_file_that_holds_no_secret_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        let read = |bytes: usize| {
            std::fs::write(&path, "x".repeat(bytes)).expect("written");
            credentials(false, &path).err()
        };
        assert_eq!(read(SECRET_FILE_BYTES_MAX as usize), None);
        assert!(read(SECRET_FILE_BYTES_MAX as usize + 1).is_some_and(|e| e.contains("too many")));
        assert!(read(0).is_some_and(|e| e.contains("empty")));
        std::fs::write(&path, "a\nb").expect("written");
        let error = credentials(false, &path).err().expect("refused");
        assert!(
            error.contains("a header cannot") && !error.contains("a\nb"),
            "{error}"
        );
        std::fs::remove_file(&path).expect("removed");
        assert!(credentials(false, &path).is_err());
    }
}
