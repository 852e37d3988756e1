//! The form of a segment: a file of frames, each with its length and checksum.
//!
//! Owns its bytes: `davylog1`, the number of the first frame (8 bytes, little end first), then frames.
//! The first of them has no number: it says under what the others are to be read.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::sync_folder;
use crate::log::frame;

/// What a segment begins with.
pub(super) const MAGIC: &[u8; 8] = b"davylog1";
/// Bytes of that and of the first frame's number.
pub(super) const HEAD_BYTES: usize = 16;
/// Ends the name of a segment.
const EXTENSION: &str = "log";
/// Digits of a segment's name.
const DIGITS: usize = 20;

/// The file being written.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    /// Where the next frame goes.
    at: u64,
}

/// Name of the segment that begins with this frame.
pub(super) fn name(first: u64) -> String {
    format!("{first:0DIGITS$}.{EXTENSION}")
}

/// Segments of a folder with the number of the first frame of each, in order.
pub(super) fn list(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let is_segment = path.extension().is_some_and(|end| end == EXTENSION);
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let first = stem.filter(|stem| is_segment && stem.len() == DIGITS);
        if let Some(first) = first.and_then(|first| first.parse().ok()) {
            found.push((first, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Bytes of all segments.
pub(super) fn bytes_of_all(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for (_, path) in list(folder)? {
        bytes += std::fs::metadata(path)?.len();
    }
    Ok(bytes)
}

/// Deletes segments whose frames are all below this number. What cannot be deleted is tried again
/// with the next ones.
pub(super) fn delete_below(folder: &Path, number: u64) -> io::Result<()> {
    let found = list(folder)?;
    for pair in found.windows(2) {
        // The next one's first frame follows its last.
        if pair[1].0 <= number {
            std::fs::remove_file(&pair[0].1)?;
        }
    }
    Ok(())
}

// === impl Segment ===

impl Segment {
    /// Begins a segment. One of this name holds nothing that counts: it would have frames otherwise,
    /// and the next segment another name.
    pub fn create(folder: &Path, first: u64, head: &[u8]) -> io::Result<Segment> {
        let file = File::create(folder.join(name(first)))?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&first.to_le_bytes());
        bytes.extend_from_slice(&frame::head(head));
        bytes.extend_from_slice(head);
        let mut segment = Segment { file, at: 0 };
        segment.write(&bytes)?;
        segment.file.sync_all()?;
        sync_folder(folder)?;
        Ok(segment)
    }

    /// Writes behind what was written before; after an error it may be tried again.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.at)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Waits until the disk has it.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
