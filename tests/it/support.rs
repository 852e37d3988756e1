//! What several test modules need: where the project lies, and what lies beside it.
//!
//! It knows nothing of what is tested. Starting daemons, writing plans and the like belong to the
//! module that tests them.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

/// Longest wait for something to become true. It is no measure of how long that may take: long, so
/// that a machine with other work to do is no failure.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The project's root: the folder of Cargo.toml, as cargo gives it at run time, so that a test
/// binary built elsewhere reads the tree it is run in.
pub fn project_root() -> PathBuf {
    let given = std::env::var_os("CARGO_MANIFEST_DIR");
    given.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from)
}

/// A file of the read-only material beside the project (`../shared`, or `DAVY_SHARED`), such as
/// `reference/reference_mwu.json`.
///
/// `None` when it is not there: the caller returns, and what was left out stands in the output.
#[allow(
    dead_code,
    reason = "the modules that cross-check come and go with the material"
)]
pub fn shared_file(path: &str) -> Option<PathBuf> {
    let beside = std::env::var_os("DAVY_SHARED").map(PathBuf::from);
    let root = beside.unwrap_or_else(|| project_root().join("../shared"));
    let file = root.join(path);
    if file.exists() {
        return Some(file);
    }
    // Straight to standard error: what a passing test prints is not shown.
    let _ = writeln!(
        std::io::stderr(),
        "left out: {} is not here, so nothing was cross-checked against it",
        file.display()
    );
    None
}
