//! Recordings on the disk: a file each, of compressed blocks of lines.
//!
//! Owns the files. Blocks are only ever added behind those that are known to be whole; what a crash
//! left behind them is written over. It must not know what a line says, nor when blocks are to be
//! written: that goes with checkpoints of the engine.

use std::fs::File;
use std::io::{self, BufReader, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::packed::Packed;
use super::{Pieces, StoreError};
use crate::log::frame;

/// Ends the name of a recording's file.
const EXTENSION: &str = "recording";

/// The folder of recordings.
#[derive(Debug, Clone)]
pub struct Shelf {
    folder: PathBuf,
}

/// How much of a recording is on the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shelved {
    /// Bytes of its file.
    pub file_bytes: u64,
    /// Bytes of the lines in it.
    pub text_bytes: u64,
}

/// Blocks of one recording that are to be written.
#[derive(Debug, Clone)]
pub(super) struct Append {
    pub analysis: String,
    /// Bytes of its file that are whole.
    pub from: u64,
    pub blocks: Vec<Packed>,
}

// === impl Append ===

impl Append {
    /// Bytes it adds to the file.
    pub fn bytes(&self) -> u64 {
        let bytes = self.blocks.iter().map(Packed::bytes_written);
        bytes.map(|bytes| (frame::HEAD_BYTES + bytes) as u64).sum()
    }

    /// Bytes of the lines in it.
    pub fn text_bytes(&self) -> u64 {
        self.blocks.iter().map(Packed::text_bytes).sum()
    }
}

// === impl Shelf ===

impl Shelf {
    /// The shelf in this folder, which is made where it is missing.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(folder: PathBuf) -> io::Result<Shelf> {
        std::fs::create_dir_all(&folder)?;
        Ok(Shelf { folder })
    }

    /// The file of an analysis; ids are davy's own and name no other folder.
    fn path(&self, analysis: &str) -> PathBuf {
        self.folder.join(format!("{analysis}.{EXTENSION}"))
    }

    /// Writes blocks, and waits until the disk has them.
    pub(super) fn append(&self, append: &Append) -> io::Result<()> {
        let mut options = File::options();
        options.create(true).truncate(false).write(true);
        let mut file = options.open(self.path(&append.analysis))?;
        file.set_len(append.from)?;
        file.seek(SeekFrom::Start(append.from))?;
        let mut bytes = Vec::new();
        for block in &append.blocks {
            let block = block.to_bytes();
            bytes.extend_from_slice(&frame::head(&block));
            bytes.extend_from_slice(&block);
        }
        file.write_all(&bytes)?;
        file.sync_data()
    }

    /// Makes the names of new files last.
    pub(super) fn sync(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    /// How much of a recording is there, of which nothing else is known.
    pub(super) fn whole(&self, analysis: &str) -> Option<Shelved> {
        let file = File::open(self.path(analysis)).ok()?;
        let length = file.metadata().ok()?.len();
        let mut from = BufReader::new(file);
        let (mut shelved, mut bytes) = (Shelved::default(), Vec::new());
        while frame::read(&mut from, length - shelved.file_bytes, &mut bytes).ok()? {
            shelved.file_bytes += (frame::HEAD_BYTES + bytes.len()) as u64;
            shelved.text_bytes += Packed::from_bytes(&bytes).ok()?.text_bytes();
        }
        Some(shelved)
    }

    /// Whether so many bytes of a recording are there.
    pub(super) fn holds(&self, analysis: &str, shelved: Shelved) -> bool {
        let found = std::fs::metadata(self.path(analysis));
        shelved.file_bytes == 0 || found.is_ok_and(|found| found.len() >= shelved.file_bytes)
    }

    /// The lines, a block at a time.
    pub(super) fn pieces(&self, analysis: &str, shelved: Shelved) -> Pieces {
        if shelved.file_bytes == 0 {
            return Box::new(std::iter::empty());
        }
        let path = self.path(analysis);
        let mut file = None;
        let mut left = shelved.file_bytes;
        Box::new(std::iter::from_fn(move || {
            (left > 0).then(|| {
                let piece = next_piece(&path, &mut file, &mut left);
                if piece.is_err() {
                    left = 0;
                }
                piece
            })
        }))
    }

    /// Forgets a recording.
    pub(super) fn remove(&self, analysis: &str) {
        match std::fs::remove_file(self.path(analysis)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(analysis, %error, "cannot delete a recording that nobody needs");
            }
            _ => {}
        }
    }

    /// Deletes the files of all but these.
    pub(super) fn keep_only(&self, is_known: impl Fn(&str) -> bool) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let is_recording = path.extension().is_some_and(|end| end == EXTENSION);
            let name = path.file_stem().and_then(|stem| stem.to_str());
            if let Some(analysis) = name.filter(|name| is_recording && !is_known(name)) {
                self.remove(analysis);
            }
        }
        Ok(())
    }
}

fn next_piece(
    path: &Path,
    file: &mut Option<BufReader<File>>,
    left: &mut u64,
) -> Result<String, StoreError> {
    let failed = |error: io::Error| StoreError {
        message: format!("cannot read {}: {error}", path.display()),
    };
    let opened = match file.take() {
        Some(opened) => opened,
        None => BufReader::new(File::open(path).map_err(failed)?),
    };
    let from = file.insert(opened);
    let mut bytes = Vec::new();
    if !frame::read(from, *left, &mut bytes).map_err(failed)? {
        return Err(StoreError {
            message: format!("{} is damaged", path.display()),
        });
    }
    *left -= (frame::HEAD_BYTES + bytes.len()) as u64;
    Packed::from_bytes(&bytes)?.text()
}
