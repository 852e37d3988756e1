//! From a folder to open connections.
//!
//! Owns that one process has the folder, how the database is to keep what it is given, and what is
//! said when it cannot be opened. It must not know the tables. Next: `schema`, which makes them.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, Connection as _};

use super::schema::{self, MigrateError};

/// Name of the database in its folder.
const DATABASE: &str = "davy.db";
/// Held by the process that has the folder; empty.
const LOCK: &str = "davy.lock";

/// Begins a transaction that will write: it waits for its turn now, and cannot fail for it later.
pub(super) const BEGIN: &str = "BEGIN IMMEDIATE";

/// Connections that read. Each is a thread and, at most, 2 MB of pages.
const READERS: u32 = 4;

/// What is committed is on the disk (FULL syncs the log at every commit), and readers do not wait for
/// the writer (WAL). A tool that holds the file gets 5 s before davy gives up. The log is cut back to
/// 64 MiB once it is taken over.
const PRAGMAS: &str = "PRAGMA busy_timeout = 5000;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA foreign_keys = ON;
PRAGMA journal_size_limit = 67108864;";

/// As long as for davy itself. All that is read is of one moment.
const READER_PRAGMAS: &str = "PRAGMA busy_timeout = 5000;
BEGIN;";

/// The lock on a folder. It is given back in so many words when this is dropped: closing the file is
/// not enough, because a child that is between its fork and its exec holds a copy of it.
#[derive(Debug)]
pub(super) struct Held(File);

/// Why a store could not be opened. The message ends with what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be used.
    #[error(
        "cannot use the folder {folder} (store.path): {error}; it must be a folder that davy may write to, or a place where it may make one"
    )]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// Another process has it.
    #[error(
        "another davy uses the folder {folder} (store.path); stop it first, or give this one a folder of its own"
    )]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// The name of the folder cannot be given to the database.
    #[error("the folder {folder} (store.path) has a name that is not UTF-8; choose another")]
    Name {
        /// The folder.
        folder: PathBuf,
    },
    /// The database does not open, or what is in it is not what davy writes.
    #[error(
        "cannot open the database {path}: {message}; see that davy may write to it and that the disk has room; where it is damaged, move it away and put a backup in its place"
    )]
    Unreadable {
        /// The database.
        path: PathBuf,
        /// What it said.
        message: String,
    },
    /// A later davy has written it.
    #[error("the database {path} has schema {found}, and davy {version} knows schemas up to {known}: a newer davy has written it; run that version or a later one, or put the backup from before the upgrade in its place", version = env!("CARGO_PKG_VERSION"))]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest this davy knows.
        known: i64,
    },
}

// === impl Held ===

impl Drop for Held {
    fn drop(&mut self) {
        // Where that fails, the file is closed next, which gives it back too.
        let _ = self.0.unlock();
    }
}

// === impl OpenError ===

impl OpenError {
    pub(super) fn unreadable(path: &Path, message: &str) -> OpenError {
        OpenError::Unreadable {
            path: path.to_owned(),
            message: message.to_owned(),
        }
    }
}

/// Makes the folder where it is missing and takes it for this process; the path of its database.
pub(super) fn take_folder(folder: &Path) -> Result<(Held, PathBuf), OpenError> {
    let refused = |error| OpenError::Folder {
        folder: folder.to_owned(),
        error,
    };
    private_folder(folder).map_err(refused)?;
    let mut options = File::options();
    options.create(true).truncate(false).write(true);
    let lock = options.open(folder.join(LOCK)).map_err(refused)?;
    match lock.try_lock() {
        Ok(()) => Ok((Held(lock), folder.join(DATABASE))),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse {
            folder: folder.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(refused(error)),
    }
}

/// Makes a folder that nobody else on the machine may look into; one that is there stays as it is.
fn private_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let named = |path: &&Path| !path.as_os_str().is_empty();
    let missing = folder
        .ancestors()
        .take_while(|path| named(path) && !path.exists());
    let missing: Vec<&Path> = missing.collect();
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(folder)?;
    // A crash of the machine may take a folder away whose parent does not have its name on the disk.
    for made in missing {
        let parent = made.parent().filter(named).unwrap_or(Path::new("."));
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// The connection that writes, and those that read, to a database whose tables are up to date.
pub(super) async fn open(path: &Path) -> Result<(AnyPool, AnyPool), OpenError> {
    sqlx::any::install_default_drivers();
    let unreadable = |error: sqlx::Error| OpenError::unreadable(path, &error.to_string());
    let options = AnyConnectOptions::from_str(&address(path, "rwc")?).map_err(unreadable)?;
    if !path.exists() {
        make(options.clone()).await.map_err(unreadable)?;
    }
    let writer = pool(1).connect_with(options.clone()).await;
    let writer = writer.map_err(unreadable)?;
    schema::migrate(&writer)
        .await
        .map_err(|error| match error {
            MigrateError::Sql(error) => unreadable(error),
            MigrateError::Newer { found } => OpenError::Newer {
                path: path.to_owned(),
                found,
                known: schema::NEWEST,
            },
        })?;
    let reader = pool(READERS).connect_with(options).await;
    Ok((writer, reader.map_err(unreadable)?))
}

/// A connection to the database in a folder, which is only read and may be in use.
pub(super) async fn open_to_read(folder: &Path) -> Result<AnyPool, OpenError> {
    sqlx::any::install_default_drivers();
    let path = folder.join(DATABASE);
    let unreadable = |error: sqlx::Error| OpenError::unreadable(&path, &error.to_string());
    let found = std::fs::metadata(&path);
    found.map_err(|error| OpenError::unreadable(&path, &error.to_string()))?;
    let options = AnyConnectOptions::from_str(&address(&path, "ro")?).map_err(unreadable)?;
    let reader = AnyPoolOptions::new()
        .max_connections(1)
        .after_connect(|connection, _| {
            Box::pin(async move {
                sqlx::raw_sql(READER_PRAGMAS).execute(connection).await?;
                Ok(())
            })
        });
    let reader = reader.connect_with(options).await.map_err(unreadable)?;
    let found: i64 = sqlx::query_scalar("SELECT MAX(version) FROM davy_schema")
        .fetch_one(&reader)
        .await
        .map_err(unreadable)?;
    if found > schema::NEWEST {
        return Err(OpenError::Newer {
            path,
            found,
            known: schema::NEWEST,
        });
    }
    Ok(reader)
}

/// Makes an empty database. How pages are given back is settled before all else, and by nothing later.
async fn make(options: AnyConnectOptions) -> Result<(), sqlx::Error> {
    let mut first = AnyConnection::connect_with(&options).await?;
    sqlx::raw_sql("PRAGMA auto_vacuum = INCREMENTAL; VACUUM;")
        .execute(&mut first)
        .await?;
    first.close().await
}

/// Connections that stay: there is nobody on the other side who could close them.
fn pool(connections: u32) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .max_connections(connections)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .after_connect(|connection, _| {
            Box::pin(async move {
                sqlx::raw_sql(PRAGMAS).execute(connection).await?;
                Ok(())
            })
        })
}

/// The path as an address: what has a meaning in one is written as %XX.
fn address(path: &Path, mode: &str) -> Result<String, OpenError> {
    let Some(text) = path.to_str() else {
        return Err(OpenError::Name {
            folder: path.parent().unwrap_or(path).to_owned(),
        });
    };
    let mut address = "sqlite:".to_owned();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(&byte) {
            address.push(char::from(byte));
        } else {
            address.push_str(&format!("%{byte:02X}"));
        }
    }
    address.push_str("?mode=");
    address.push_str(mode);
    Ok(address)
}
