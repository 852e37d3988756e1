//! Checkpoints beside the segments: what need not be taken again.
//!
//! Owns the file: `davyckp1`, the number of the last frame it stands for (8 bytes, little end first),
//! then frames: what the log's own frames are read under, what the store's recordings need, and the
//! rest, the state, in pieces. It has its name once it is whole on the disk. It must not know what
//! any of it says.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::recover::OpenError;
use super::sync_folder;
use crate::log::frame;

const MAGIC: &[u8; 8] = b"davyckp1";
const EXTENSION: &str = "checkpoint";
/// Its name while it is written.
const UNFINISHED: &str = "checkpoint.unfinished";
/// Digits of its name.
const DIGITS: usize = 20;
/// Bytes of a piece of the state.
const PIECE_BYTES: usize = 16 << 20;

/// What stands for all frames up to one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Number of the last frame that it stands for.
    pub number: u64,
    /// What the frames were written under.
    pub head: Vec<u8>,
    /// What the store told of its recordings.
    pub recordings: Vec<u8>,
    /// The state of the engine.
    pub state: Vec<u8>,
}

pub(super) fn list(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let is_one = path.extension().is_some_and(|end| end == EXTENSION);
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let number = stem.filter(|stem| is_one && stem.len() == DIGITS);
        if let Some(number) = number.and_then(|number| number.parse().ok()) {
            found.push((number, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// What a crash, or a full disk, left of one.
pub(super) fn remove_unfinished(folder: &Path) -> io::Result<()> {
    match std::fs::remove_file(folder.join(UNFINISHED)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

// === impl Checkpoint ===

impl Checkpoint {
    /// Writes it into a folder, and deletes those before it.
    ///
    /// # Errors
    /// What the system says; those before it are there then.
    pub fn write(&self, folder: &Path) -> io::Result<u64> {
        let written = self.try_write(folder);
        if written.is_err() {
            // On a disk that is full nobody else could make the room.
            let _ = remove_unfinished(folder);
        }
        let bytes = written?;
        // It has its name; what is left to do is done again with the next.
        if let Err(error) = self.delete_older(folder) {
            tracing::warn!(%error, "cannot delete a checkpoint that nobody needs");
        }
        Ok(bytes)
    }

    fn try_write(&self, folder: &Path) -> io::Result<u64> {
        let unfinished = folder.join(UNFINISHED);
        let mut file = File::create(&unfinished)?;
        file.write_all(MAGIC)?;
        file.write_all(&self.number.to_le_bytes())?;
        let pieces = self.state.chunks(PIECE_BYTES);
        for part in [&*self.head, &*self.recordings].into_iter().chain(pieces) {
            file.write_all(&frame::head(part))?;
            file.write_all(part)?;
        }
        file.sync_all()?;
        let bytes = file.metadata()?.len();
        let name = format!("{:0DIGITS$}.{EXTENSION}", self.number);
        std::fs::rename(&unfinished, folder.join(name))?;
        Ok(bytes)
    }

    fn delete_older(&self, folder: &Path) -> io::Result<()> {
        // Before anything goes for which it stands.
        sync_folder(folder)?;
        for (number, path) in list(folder)? {
            if number < self.number {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// The newest of a folder.
    ///
    /// # Errors
    /// [`OpenError`]: one that has its name was whole once.
    pub fn newest(folder: &Path) -> Result<Option<Checkpoint>, OpenError> {
        let unreadable = |path: &Path, error| OpenError::Unreadable {
            path: path.to_owned(),
            error,
        };
        let found = match list(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found.map_err(|error| unreadable(folder, error))?,
        };
        let Some((number, path)) = found.last() else {
            return Ok(None);
        };
        let read = read(path, *number).map_err(|error| unreadable(path, error))?;
        let damaged = || OpenError::Damaged {
            path: path.clone(),
            offset: 0,
        };
        read.ok_or_else(damaged).map(Some)
    }
}

/// Reads one; `None` where it is not whole.
fn read(path: &Path, number: u64) -> io::Result<Option<Checkpoint>> {
    let file = File::open(path)?;
    let mut left = file.metadata()?.len();
    let mut file = BufReader::with_capacity(1 << 20, file);
    let mut begin = [0; MAGIC.len() + size_of::<u64>()];
    if left < begin.len() as u64 {
        return Ok(None);
    }
    file.read_exact(&mut begin)?;
    left -= begin.len() as u64;
    let (magic, named) = begin.split_at(MAGIC.len());
    if magic != MAGIC || named != number.to_le_bytes() {
        return Ok(None);
    }
    let (mut parts, mut state) = (Vec::new(), Vec::new());
    let mut part = Vec::new();
    while left > 0 {
        if !frame::read(&mut file, left, &mut part)? {
            return Ok(None);
        }
        left -= (frame::HEAD_BYTES + part.len()) as u64;
        if parts.len() < 2 {
            parts.push(part.clone());
        } else {
            state.extend_from_slice(&part);
        }
    }
    let mut parts = parts.into_iter();
    Ok(match (parts.next(), parts.next()) {
        (Some(head), Some(recordings)) if !state.is_empty() => Some(Checkpoint {
            number,
            head,
            recordings,
            state,
        }),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(number: u64) -> Checkpoint {
        Checkpoint {
            number,
            head: b"{}".to_vec(),
            recordings: b"[]".to_vec(),
            state: (0..PIECE_BYTES + 5).map(|byte| byte as u8).collect(),
        }
    }

    #[test]
    fn the_newest_comes_back_and_those_before_it_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let newest = || Checkpoint::newest(folder.path()).expect("readable");
        assert_eq!(newest(), None);
        for number in [7, 40] {
            one(number).write(folder.path()).expect("written");
            assert_eq!(newest(), Some(one(number)));
        }
        std::fs::write(folder.path().join(UNFINISHED), "torn").expect("written");
        assert_eq!(newest(), Some(one(40)));
        assert_eq!(list(folder.path()).expect("readable").len(), 1);
    }

    #[test]
    fn one_that_is_damaged_is_told_and_not_passed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        one(7).write(folder.path()).expect("written");
        let (_, path) = list(folder.path()).expect("readable").remove(0);
        let whole = std::fs::read(&path).expect("readable");
        for place in [0, 9, 20, whole.len() / 2, whole.len() - 1] {
            let mut other = whole.clone();
            other[place] ^= 1;
            std::fs::write(&path, other).expect("written");
            let found = Checkpoint::newest(folder.path());
            assert!(matches!(found, Err(OpenError::Damaged { .. })), "{place}");
        }
        std::fs::write(&path, &whole[..whole.len() - 6]).expect("written");
        assert!(Checkpoint::newest(folder.path()).is_err());
    }
}
