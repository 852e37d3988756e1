//! The file of tokens: TOML that `davy token` writes and the daemon reads.
//!
//! Owns its form, who may write it, and that a reader never sees half of it. It holds hashes, never a
//! token. What a problem says may reach a log, so it repeats nothing that could be a token somebody
//! put there by mistake.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::guarded::{self, Guarded, WRITABLE_BITS};
use super::{Digest, PREFIX, Scope, Token, is_id, is_name};
use crate::model::Timestamp;

/// Longest file of tokens, in bytes: about four thousand of them.
pub const FILE_BYTES_MAX: u64 = 1 << 20;
/// Of a new file: its owner reads and writes it.
const MODE: u32 = 0o600;

const HEAD: &str =
    "# Tokens of davy, by their hashes: written by `davy token`, read by `davy serve`.\n";

/// What is wrong with a file of tokens.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It cannot be read or written, or others may write it.
    #[error("{file}: {message}")]
    Unusable {
        /// Its path.
        file: String,
        /// What keeps it from being used.
        message: String,
    },
    /// Something in it.
    #[error("{file}:{line}: {message}")]
    Broken {
        /// Its path.
        file: String,
        /// From 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// It is as it should be, and what was asked cannot be done.
    #[error("{0}")]
    Refused(String),
}

/// A file that was read.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Its text, by which a change is seen.
    pub text: String,
    /// Its tokens, in its order.
    pub tokens: Vec<Token>,
    /// What is not as it should be, and no reason to refuse it.
    pub warning: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    tokens: Vec<Spanned<WrittenToken>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenToken {
    id: Spanned<String>,
    name: String,
    scopes: Vec<String>,
    namespaces: Option<Vec<String>>,
    sha256: String,
    created_at: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
}

/// Reads a file that only its owner may write: whoever writes it lets himself in.
///
/// # Errors
/// [`FileError`], with the line of what is wrong.
pub fn load(path: &Path) -> Result<Loaded, FileError> {
    let file = guarded(path)?;
    file.refuse_writable("let themselves in")
        .map_err(|message| unusable(path, message))?;
    let warning = file.is_open().then(|| {
        "everybody on this machine may read the file of tokens: it tells their names and scopes; chmod 600 mends that".to_owned()
    });
    let text = text_of(path, file)?;
    let tokens = parse(&text).map_err(|problem| problem.of(path))?;
    Ok(Loaded {
        text,
        tokens,
        warning,
    })
}

/// Adds a token to a file, which is made where there is none.
///
/// # Errors
/// [`FileError`]; the file is then as it was.
pub fn append(path: &Path, token: &Token) -> Result<(), FileError> {
    edit(path, true, |text, tokens| {
        let same = |old: &&Token| old.name == token.name && old.revoked_at.is_none();
        if let Some(old) = tokens.iter().find(same) {
            return Err(FileError::Refused(format!(
                "the token {} is named {:?} already; take another name, or revoke it first",
                old.id, old.name
            )));
        }
        if tokens.iter().any(|old| old.id == token.id) {
            // One in four thousand million for each token there is.
            let message = "the id that came by chance is taken; try again";
            return Err(FileError::Refused(message.to_owned()));
        }
        let gap = if text.is_empty() { HEAD } else { "" };
        let end = if text.is_empty() || text.ends_with('\n') {
            ""
        } else {
            "\n"
        };
        Ok(format!("{text}{end}{gap}{}", entry(token)))
    })
}

/// Takes a token back, by its id or its name; its entry stays, so that its use is told from that of
/// one that never was. Gives its id.
///
/// # Errors
/// [`FileError`]; the file is then as it was.
pub fn revoke(path: &Path, name_or_id: &str, now: Timestamp) -> Result<String, FileError> {
    let mut revoked = String::new();
    edit(path, false, |text, tokens| {
        let named = |token: &&Token| token.id == name_or_id || token.name == name_or_id;
        let Some(known) = tokens.iter().find(named) else {
            let message = format!("no token has the name or id {}", shown(name_or_id));
            return Err(FileError::Refused(message));
        };
        let of_that = |token: &&Token| named(token) && token.revoked_at.is_none();
        let Some(token) = tokens.iter().find(of_that) else {
            let message = format!("the token {} is revoked already", known.id);
            return Err(FileError::Refused(message));
        };
        revoked.clone_from(&token.id);
        with_mark(text, &token.id, now).ok_or_else(|| {
            let message = format!("write revoked_at into the entry of {} by hand", token.id);
            FileError::Refused(message)
        })
    })?;
    Ok(revoked)
}

/// The text with `revoked_at` on a line of its own below the id; comments and order stay.
fn with_mark(text: &str, id: &str, now: Timestamp) -> Option<String> {
    let written: Written = toml::from_str(text).ok()?;
    let mut tokens = written.tokens.into_iter().map(Spanned::into_inner);
    let token = tokens.find(|token| token.id.get_ref() == id)?;
    let rest = &text[token.id.span().end..];
    let at = text.len() - rest.len() + rest.find('\n').map_or(rest.len(), |end| end + 1);
    let (above, below) = text.split_at(at);
    let end = if above.ends_with('\n') { "" } else { "\n" };
    let marked = format!("{above}{end}revoked_at = \"{}\"\n{below}", time_text(now));
    // An entry in one line has no place for another.
    let tokens = parse(&marked).ok()?;
    let is_marked = |token: &Token| token.id == id && token.revoked_at.is_some();
    tokens.iter().any(is_marked).then_some(marked)
}

/// One writer at a time: reads, changes, writes beside, renames.
fn edit(
    path: &Path,
    may_create: bool,
    change: impl FnOnce(&str, &[Token]) -> Result<String, FileError>,
) -> Result<(), FileError> {
    // Behind a link stands the file that is to be replaced, not the link.
    let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
        _ => PathBuf::from("."),
    };
    // The folder is locked, not the file, which the rename replaces. It is free when it is closed.
    let lock = File::open(&folder).map_err(|error| unusable(&folder, error))?;
    lock.lock().map_err(|error| unusable(&folder, error))?;
    let text = match read(path) {
        Err(FileError::Unusable { .. }) if may_create && !path.exists() => String::new(),
        read => read?,
    };
    let tokens = parse(&text).map_err(|problem| problem.of(path))?;
    let changed = change(&text, &tokens)?;
    if changed.len() as u64 > FILE_BYTES_MAX {
        let message = format!("it would be longer than {FILE_BYTES_MAX} bytes; remove old entries");
        return Err(unusable(path, message));
    }
    replace(path, &folder, &changed).map_err(|error| unusable(path, error))
}

fn replace(path: &Path, folder: &Path, text: &str) -> std::io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".writing");
    let beside = PathBuf::from(beside);
    // Of a writer that was killed: nobody else is here, for the folder is locked.
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(&beside)?;
    // The daemon may run as another user than who makes tokens: what it could read it still can.
    if let Ok(old) = std::fs::metadata(path) {
        let new = file.metadata()?;
        if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
            chown(&beside, Some(old.uid()), Some(old.gid()))?;
        }
        let mode = old.mode() & 0o777 & !WRITABLE_BITS;
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    File::open(folder)?.sync_all()
}

fn entry(token: &Token) -> String {
    let list = |words: &[&str]| {
        let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
        quoted.join(", ")
    };
    let scopes: Vec<&str> = token.scopes.iter().map(|scope| scope.as_str()).collect();
    let mut text = format!(
        "\n[[tokens]]\nid = \"{}\"\nname = \"{}\"\nscopes = [{}]\n",
        token.id,
        token.name,
        list(&scopes)
    );
    if let Some(namespaces) = &token.namespaces {
        let namespaces: Vec<&str> = namespaces.iter().map(String::as_str).collect();
        text += &format!("namespaces = [{}]\n", list(&namespaces));
    }
    text += &format!("sha256 = \"{}\"\n", token.digest);
    text += &format!("created_at = \"{}\"\n", time_text(token.created_at));
    if let Some(end) = token.expires_at {
        text += &format!("expires_at = \"{}\"\n", time_text(end));
    }
    text
}

fn read(path: &Path) -> Result<String, FileError> {
    text_of(path, guarded(path)?)
}

fn guarded(path: &Path) -> Result<Guarded, FileError> {
    guarded::read(path, FILE_BYTES_MAX).map_err(|message| unusable(path, message))
}

fn text_of(path: &Path, file: Guarded) -> Result<String, FileError> {
    String::from_utf8(file.bytes).map_err(|_| unusable(path, "it is not UTF-8"))
}

fn unusable(path: &Path, message: impl ToString) -> FileError {
    FileError::Unusable {
        file: path.display().to_string(),
        message: message.to_string(),
    }
}

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    line: usize,
    message: String,
}

// === impl Fault ===

impl Fault {
    fn of(self, path: &Path) -> FileError {
        FileError::Broken {
            file: path.display().to_string(),
            line: self.line,
            message: self.message,
        }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = &text.as_bytes()[..offset.min(text.len())];
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

fn parse(text: &str) -> Result<Vec<Token>, Fault> {
    let written: Written = toml::from_str(text).map_err(|error| Fault {
        line: line_of(text, error.span().map_or(0, |span| span.start)),
        message: without_tokens(error.message()),
    })?;
    let mut tokens: Vec<Token> = Vec::new();
    for spanned in written.tokens {
        let line = line_of(text, spanned.span().start);
        let token = token(spanned.into_inner()).map_err(|message| Fault { line, message })?;
        if tokens.iter().any(|other| other.id == token.id) {
            let message = format!("the id {} is there twice", token.id);
            return Err(Fault { line, message });
        }
        tokens.push(token);
    }
    Ok(tokens)
}

fn token(written: WrittenToken) -> Result<Token, String> {
    let id = written.id.into_inner();
    if !is_id(&id) {
        return Err("the id is not 8 hexadecimal digits in lower case".to_owned());
    }
    let scope = |text: &String| {
        let known = Scope::named(text);
        known.ok_or_else(|| {
            format!(
                "{} is no scope: ingest, read, control or admin",
                shown(text)
            )
        })
    };
    let token = Token {
        name: written.name,
        scopes: written.scopes.iter().map(scope).collect::<Result<_, _>>()?,
        namespaces: written.namespaces,
        digest: Digest::from_hex(&written.sha256)
            .ok_or("sha256 is not 64 hexadecimal digits in lower case")?,
        created_at: time(&written.created_at)?,
        expires_at: written.expires_at.as_deref().map(time).transpose()?,
        revoked_at: written.revoked_at.as_deref().map(time).transpose()?,
        id,
    };
    let names = std::iter::once(&token.name).chain(token.namespaces.iter().flatten());
    if let Some(name) = names.into_iter().find(|name| !is_name(name)) {
        let name = shown(name);
        return Err(format!(
            "{name} is no name: letters, digits and . _ -, at most 63"
        ));
    }
    if token.scopes.is_empty() {
        return Err("the token has no scope".to_owned());
    }
    token
        .contradiction()
        .map_or(Ok(()), |why| Err(why.to_owned()))?;
    Ok(token)
}

fn time(text: &str) -> Result<Timestamp, String> {
    let time: jiff::Timestamp = text.parse().map_err(|_| {
        let text = shown(text);
        format!("{text} is no time such as \"2030-01-31T00:00:00Z\"")
    })?;
    Ok(Timestamp(time.as_millisecond()))
}

/// A time as the file has it.
pub fn time_text(time: Timestamp) -> String {
    let time = jiff::Timestamp::from_millisecond(time.millis());
    time.map_or_else(|_| String::new(), |time| format!("{time:.0}"))
}

/// Text from outside, fit for a message: quoted, short, and without what could be a token.
fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    let text = without_tokens(text);
    format!("{:?}", text.chars().take(CHARS_MAX).collect::<String>())
}

/// The text as far as the first token in it.
fn without_tokens(text: &str) -> String {
    match text.find(PREFIX) {
        Some(at) => format!("{}{PREFIX}..", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
