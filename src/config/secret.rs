//! Secrets: read where they lie, never shown.
//!
//! Owns reading a signing secret and keeping it out of logs. It must not know what is signed.

use std::collections::BTreeMap;
use std::fmt;

use super::daemon::Webhook;
use super::problem::{Problem, ProblemCode};

/// Longest secret, in bytes.
pub const SECRET_BYTES_MAX: u64 = 4_096;

/// A secret's text. `Debug` does not show it, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a text, without blanks around it.
    pub fn new(text: &str) -> Secret {
        Secret(text.trim().to_owned())
    }

    /// The text, for the one who signs.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Webhook {
    /// Reads the signing secret from its file or variable.
    ///
    /// # Errors
    /// One problem that names the file or variable, never its content: unreadable, empty or over
    /// [`SECRET_BYTES_MAX`].
    pub fn read_secret(&self, environment: &BTreeMap<String, String>) -> Result<Secret, Problem> {
        use std::io::Read;
        let (source, text) = match (&self.secret_file, &self.secret_env) {
            (Some(path), _) => {
                let mut text = String::new();
                let read = std::fs::File::open(path)
                    .and_then(|file| file.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text));
                (
                    path.display().to_string(),
                    read.map(|_| text).map_err(|error| error.to_string()),
                )
            }
            (None, Some(name)) => {
                let value = environment.get(name).cloned();
                let source = format!("environment {name}");
                (
                    source,
                    value.ok_or_else(|| "the variable is not set".to_owned()),
                )
            }
            (None, None) => (String::new(), Err("no secret is configured".to_owned())),
        };
        let refused = |message: String| {
            let message = format!("the secret of webhook `{}`: {message}", self.name);
            Problem::of_file(&source, ProblemCode::Unreadable, message)
        };
        let text = text.map_err(&refused)?;
        if text.len() as u64 > SECRET_BYTES_MAX {
            return Err(refused(format!("longer than {SECRET_BYTES_MAX} bytes")));
        }
        let secret = Secret::new(&text);
        if secret.expose().is_empty() {
            return Err(refused("it is empty".to_owned()));
        }
        Ok(secret)
    }
}
