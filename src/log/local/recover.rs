//! What lies in the folder when davy starts: segments, of which a crash may have torn the last.
//!
//! Owns the difference between the two: an end that was never acknowledged is cut off; damage before
//! it is told, and nothing is touched.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use super::segment::{self, HEAD_BYTES, MAGIC};
use super::{checkpoint, sync_folder};
use crate::log::frame;

/// Why the log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The system does not let it be read.
    #[error(
        "cannot read the sample log in {path}: {error}; davy must be able to read and write what is in store.path"
    )]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Something is wrong before the end.
    #[error(
        "the sample log is damaged: {path} at byte {offset}; put the folder of store.path back from a backup, or move its folder `log` away: analyses that ran then end inconclusive, and nothing else is lost"
    )]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where.
        offset: u64,
    },
}

/// A piece of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'b> {
    /// A segment begins, and with it a chapter. What its frames are to be read under.
    Head(&'b [u8]),
    /// A frame and its number.
    Frame(u64, &'b [u8]),
}

/// How a segment was read.
enum End {
    /// To its end; this many frames.
    Whole(u64),
    /// Up to here; this many frames.
    Torn(u64, u64),
}

/// Puts right what a crash left, before anything is believed; the number of the frame to be appended
/// next. A checkpoint stands for the frames up to `known`, and segments that hold no others go.
/// Consequences of frames up to `written` are in the store, so these were whole once.
///
/// What is whole was perhaps read from memory that no sync has reached, or that a failed one has
/// given up: the last segment is written once more, and synced.
///
/// # Errors
/// [`OpenError`]; nothing that may be worth something is touched then.
pub fn repair(folder: &Path, known: Option<u64>, written: u64) -> Result<u64, OpenError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |error| OpenError::Unreadable {
            path: path.clone(),
            error,
        }
    };
    std::fs::create_dir_all(folder).map_err(unreadable(folder))?;
    if let Some(parent) = folder.parent() {
        sync_folder(parent).map_err(unreadable(parent))?;
    }
    checkpoint::remove_unfinished(folder).map_err(unreadable(folder))?;
    let stood_for = known.map_or(1, |known| known + 1);
    segment::delete_below(folder, stood_for).map_err(unreadable(folder))?;
    let segments = segment::list(folder).map_err(unreadable(folder))?;
    let mut next = segments.first().map_or(stood_for, |(first, _)| *first);
    for (number, (first, path)) in segments.iter().enumerate() {
        let is_last = number + 1 == segments.len();
        let damaged = |offset| OpenError::Damaged {
            path: path.clone(),
            offset,
        };
        // Only a checkpoint can stand for frames that are not there.
        if *first != next || known.is_some() && *first > stood_for && number == 0 {
            return Err(damaged(0));
        }
        let read = read(path, *first, &mut |_| Ok(()), unreadable(path));
        match read? {
            End::Whole(frames) => next += frames,
            End::Torn(offset, frames) if is_last && next + frames > written => {
                cut(folder, path, offset).map_err(unreadable(path))?;
                next += frames;
            }
            End::Torn(offset, _) => return Err(damaged(offset)),
        }
    }
    if let Some((_, last)) = segments.last().filter(|(_, path)| path.exists()) {
        write_again(folder, last).map_err(unreadable(last))?;
    }
    Ok(next.max(stood_for))
}

/// Copies a segment to a file that is synced as a whole, and puts it in its place.
fn write_again(folder: &Path, path: &Path) -> io::Result<()> {
    let copy = path.with_extension("copy");
    std::fs::copy(path, &copy)?;
    File::open(&copy)?.sync_all()?;
    std::fs::rename(&copy, path)?;
    sync_folder(folder)
}

/// Hands over the whole log in order, once it was put right.
///
/// # Errors
/// [`OpenError`], or what `take` refuses.
pub fn replay<E: From<OpenError>>(
    folder: &Path,
    mut take: impl FnMut(Found<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let unreadable = |path: &Path, error| OpenError::Unreadable {
        path: path.to_owned(),
        error,
    };
    let segments = segment::list(folder).map_err(|error| unreadable(folder, error))?;
    for (first, path) in &segments {
        let found = read(path, *first, &mut take, |error| unreadable(path, error))?;
        if let End::Torn(offset, _) = found {
            let path = path.clone();
            return Err(OpenError::Damaged { path, offset }.into());
        }
    }
    Ok(())
}

/// Hands over the frames of a segment until its end or the first that is not whole.
fn read<E: From<OpenError>>(
    path: &Path,
    first: u64,
    take: &mut impl FnMut(Found<'_>) -> Result<(), E>,
    unreadable: impl Fn(io::Error) -> OpenError,
) -> Result<End, E> {
    let file = File::open(path).map_err(&unreadable)?;
    let length = file.metadata().map_err(&unreadable)?.len();
    let mut file = BufReader::with_capacity(1 << 20, file);
    let mut head = [0; HEAD_BYTES];
    if length < HEAD_BYTES as u64 {
        return Ok(End::Torn(0, 0));
    }
    file.read_exact(&mut head).map_err(&unreadable)?;
    let (magic, named) = head.split_at(MAGIC.len());
    if magic != MAGIC || named != first.to_le_bytes() {
        return Ok(End::Torn(0, 0));
    }
    let mut at = HEAD_BYTES as u64;
    let mut frames = None;
    let mut bytes = Vec::new();
    while at < length {
        let count = frames.unwrap_or(0);
        if !frame::read(&mut file, length - at, &mut bytes).map_err(&unreadable)? {
            // One that does not say what its frames are read under has none.
            return Ok(End::Torn(frames.map_or(0, |_| at), count));
        }
        match &mut frames {
            None => {
                take(Found::Head(&bytes))?;
                frames = Some(0);
            }
            Some(count) => {
                take(Found::Frame(first + *count, &bytes))?;
                *count += 1;
            }
        }
        at += (frame::HEAD_BYTES + bytes.len()) as u64;
    }
    Ok(match frames {
        None => End::Torn(0, 0),
        Some(frames) => End::Whole(frames),
    })
}

/// Deletes whatever the log has in a folder.
///
/// # Errors
/// What the system says.
pub fn clear_folder(folder: &Path) -> io::Result<()> {
    checkpoint::remove_unfinished(folder)?;
    for (_, path) in segment::list(folder)?
        .into_iter()
        .chain(checkpoint::list(folder)?)
    {
        std::fs::remove_file(path)?;
    }
    sync_folder(folder)
}

/// Cuts off what is not whole; a segment that has nothing goes.
fn cut(folder: &Path, path: &Path, offset: u64) -> io::Result<()> {
    if offset == 0 {
        std::fs::remove_file(path)?;
        return sync_folder(folder);
    }
    let file = File::options().write(true).open(path)?;
    let torn_bytes = file.metadata()?.len() - offset;
    tracing::warn!(path = %path.display(), torn_bytes, "cut off the end of the sample log, which was never acknowledged");
    file.set_len(offset)?;
    file.sync_all()
}
