//! Who davy says it is to a source: a bearer token, or a name and a password.
//!
//! Owns the secret from its file to the header. It is read anew when it was refused, so that a token
//! can be changed without a restart, and it is never shown: what a source says is cleared of it, of
//! the one before it, and of what further headers hold.

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
/// Bytes from which on the value of a header may be a secret; shorter ones occur by chance.
const HEADER_SECRET_BYTES_MIN: usize = 4;

/// What identifies davy to one source.
pub struct Credentials {
    scheme: Scheme,
    held: Mutex<Secrets>,
    /// What further headers hold, which may be secrets too.
    of_headers: Vec<String>,
}

/// The secret, and the one before it: an answer to a request that bore it may be under way.
#[derive(Default)]
struct Secrets {
    now: Option<Held>,
    before: Option<Held>,
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
            held: Mutex::default(),
            of_headers: settings
                .headers
                .values()
                .flat_map(|value| header_parts(value))
                .collect(),
        };
        credentials.read_anew()?;
        Ok(credentials)
    }

    /// The header's value, where there is any.
    pub fn header(&self) -> Option<HeaderValue> {
        self.held().now.as_ref().map(|held| held.header.clone())
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
        let mut secrets = self.held();
        let is_other = secrets.now != held;
        if is_other {
            secrets.before = std::mem::replace(&mut secrets.now, held);
        }
        Ok(is_other)
    }

    /// A text from outside without the secret, should it hold it.
    pub fn cleared(&self, text: &str) -> String {
        without(text, &self.secrets())
    }

    /// Words of a source without the secret, and without what further headers hold. Only words:
    /// labels of series may well hold the name of a tenant.
    pub fn cleared_words(&self, text: &str) -> String {
        let mut parts = self.secrets();
        parts.extend_from_slice(&self.of_headers);
        without(text, &parts)
    }

    /// Whether a text from outside holds the secret.
    pub fn are_in(&self, text: &str) -> bool {
        self.secrets().iter().any(|part| text.contains(&**part))
    }

    /// What must not be shown: the secret and the one before it, and how they are sent.
    fn secrets(&self) -> Vec<String> {
        let secrets = self.held();
        let held = secrets.now.iter().chain(&secrets.before);
        held.flat_map(|held| {
            let header = held.header.to_str().unwrap_or_default();
            let encoded = header
                .split_once(' ')
                .map_or(header, |(_, encoded)| encoded);
            [encoded.to_owned(), held.secret.clone()]
        })
        .collect()
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Secrets> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The value of a header, and what follows its first word, as of `Token abc`; none where it is too
/// short for a secret.
fn header_parts(value: &str) -> Vec<String> {
    let behind = value.split_once(' ').map_or("", |(_, behind)| behind);
    [value.trim(), behind.trim()]
        .into_iter()
        .filter(|part| part.len() >= HEADER_SECRET_BYTES_MIN)
        .map(str::to_owned)
        .collect()
}

/// A text without these parts. Where several begin it is the longest that is taken out: of a shorter
/// one, which may be a part of it, the rest would stay.
fn without(text: &str, parts: &[String]) -> String {
    let mut parts: Vec<&str> = parts.iter().map(|part| &**part).collect();
    parts.retain(|part| !part.is_empty());
    parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
    let mut cleared = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(char) = rest.chars().next() {
        let found = parts.iter().find(|part| rest.starts_with(**part));
        match found {
            Some(_) => cleared.push_str(HIDDEN),
            None => cleared.push(char),
        }
        rest = &rest[found.map_or(char.len_utf8(), |part| part.len())..];
    }
    cleared
}

/// The text of a file with a secret, without blanks around it.
///
/// # Errors
/// A sentence that names the file.
pub fn read_secret(path: &Path) -> Result<String, String> {
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
        assert_eq!(bearer.cleared("it was first"), "it was (secret)");
        assert_eq!(bearer.read_anew(), Ok(false));
        assert!(
            bearer.are_in("it was first"),
            "reading the same again forgets nothing"
        );
        assert_eq!(basic.cleared("no ZGF2eTpmaXJzdA=="), "no (secret)");
        assert_eq!(basic.cleared("first"), "(secret)");
    }

    #[test]
    fn values_of_headers_are_cleared_from_words_where_they_are_long_enough() {
        let mut settings = PrometheusSource::at("http://localhost");
        for (name, value) in [
            ("X-Key", "Token a-key"),
            ("X-Other", "a-key-of-more"),
            ("X-Version", "1"),
        ] {
            settings.headers.insert(name.to_owned(), value.to_owned());
        }
        let credentials = Credentials::read(&settings).expect("read");
        for (words, cleared) in [
            ("1:4: no Token a-key", "1:4: no (secret)"),
            ("no a-key", "no (secret)"),
            ("no \u{fc}a-key-of-more", "no \u{fc}(secret)"),
        ] {
            assert_eq!(credentials.cleared_words(words), cleared);
            assert_eq!(credentials.cleared(words), words, "a label is no word");
        }
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
