//! The signing secrets that a configuration names.
//!
//! Owns where they are read from. It must not show them, nor know what a secret looks like: that
//! is [`crate::webhook`]'s.

use crate::config::daemon::Webhook;

/// Bytes of a file with a secret.
pub const SECRET_FILE_BYTES_MAX: u64 = 4_096;

/// The text of the secret that an entry names; `None` where it names none.
///
/// # Errors
/// A sentence that names the variable or the file, where it cannot be read or is too long.
pub fn read(entry: &Webhook) -> Option<Result<String, String>> {
    if let Some(name) = &entry.secret_env {
        return Some(std::env::var(name).map_err(|error| format!("{name}: {error}")));
    }
    let path = entry.secret_file.as_ref()?;
    let explain = |error: std::io::Error| format!("{}: {error}", path.display());
    let bytes = match std::fs::metadata(path) {
        // A pipe without a writer would hold whoever opens it.
        Ok(metadata) if !metadata.is_file() => {
            return Some(Err(format!("{}: it is no file", path.display())));
        }
        Ok(metadata) => metadata.len(),
        Err(error) => return Some(Err(explain(error))),
    };
    if bytes > SECRET_FILE_BYTES_MAX {
        let path = path.display();
        return Some(Err(format!(
            "{path}: {bytes} bytes are too many for a secret"
        )));
    }
    Some(std::fs::read_to_string(path).map_err(explain))
}
