//! Files by which somebody is let in: read to a limit, and not where others may write them.
//!
//! Owns what is asked of their mode. What they hold is for who reads them.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Group and others may write.
pub(crate) const WRITABLE_BITS: u32 = 0o022;
/// Others may read.
const READABLE_BITS: u32 = 0o004;

/// A file that was read.
pub struct Guarded {
    /// What it holds.
    pub bytes: Vec<u8>,
    mode: u32,
}

/// Reads a file of at most `bytes_max`.
///
/// # Errors
/// A sentence without the file's name.
pub fn read(path: &Path, bytes_max: u64) -> Result<Guarded, String> {
    // A pipe without a writer would hold whoever opens it.
    let named = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !named.is_file() {
        return Err("it is no file".to_owned());
    }
    let file = File::open(path).map_err(|error| error.to_string())?;
    // Of the file that is open: by its name another one may be found by now.
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let mut limited = file.take(bytes_max + 1);
    let read = limited.read_to_end(&mut bytes);
    read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > bytes_max {
        return Err(format!("it is longer than {bytes_max} bytes"));
    }
    let mode = metadata.permissions().mode();
    Ok(Guarded { bytes, mode })
}

// === impl Guarded ===

impl Guarded {
    /// Refuses a file that others than its owner may write. `so` is what they could do.
    ///
    /// # Errors
    /// A sentence without the file's name.
    pub fn refuse_writable(&self, so: &str) -> Result<(), String> {
        if self.mode & WRITABLE_BITS == 0 {
            return Ok(());
        }
        let mode = self.mode & 0o777;
        Err(format!(
            "its mode {mode:03o} lets others than its owner write it, and so {so}; chmod 600 mends that"
        ))
    }

    /// Whether everybody on the machine may read it.
    pub fn is_open(&self) -> bool {
        self.mode & READABLE_BITS != 0
    }
}
