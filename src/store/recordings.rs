//! Recordings: the lines of every analysis.
//!
//! Owns their bounds, of one and of all together, and who loses lines when there is no room. Samples
//! never enter a database, so every store keeps its recordings here. Where there is a shelf they go
//! there with each checkpoint of the engine, and leave memory; lines that came since come again from
//! the sample log. It must not know what a line says. Next: `packed`, the form in which lines wait for
//! a reader, who may never come; `shelf`, the files.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::packed::Lines;
use super::shelf::{Append, Shelf, Shelved};
use super::{Bounds, CutRecording, Losses, Recording, StoreError};
use crate::engine::AnalysisView;
use crate::judge::verdict::Status;

/// The recordings of all analyses.
#[derive(Debug)]
pub(super) struct Recordings {
    one_bytes_max: u64,
    all_bytes_max: u64,
    kept: HashMap<String, Kept>,
    /// By start and id.
    order: BTreeSet<(i64, String)>,
    /// Bytes that all of them take.
    bytes: u64,
    /// Where they go with a checkpoint.
    shelf: Option<Shelf>,
}

#[derive(Debug)]
struct Kept {
    started_at: i64,
    is_final: bool,
    /// What is on the shelf; `lines` follow it.
    shelved: Shelved,
    lines: Lines,
    /// Lines are missing.
    truncated: bool,
}

/// A recording as a checkpoint tells of it.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    analysis: String,
    started_at: i64,
    is_final: bool,
    shelved: Shelved,
    truncated: bool,
}

/// What a checkpoint tells of the store.
#[derive(Debug, Serialize, Deserialize)]
struct ToldOfAll {
    /// The store's position in the sample log: a database that is behind it is an older one.
    position: u64,
    recordings: Vec<Told>,
}

/// What is to be written to the shelf with a checkpoint, and what the checkpoint is to tell.
#[derive(Debug)]
pub struct Shelving {
    shelf: Shelf,
    appends: Vec<Append>,
    told: Vec<u8>,
}

// === impl Shelving ===

impl Shelving {
    /// What the checkpoint is to tell.
    pub fn told(&self) -> &[u8] {
        &self.told
    }

    /// Writes, and waits until the disk has it. Until a checkpoint tells of it, it does not count.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self) -> std::io::Result<()> {
        for append in &self.appends {
            self.shelf.append(append)?;
        }
        self.shelf.sync()
    }
}

// === impl Recordings ===

impl Recordings {
    /// None yet.
    pub fn new(bounds: &Bounds) -> Recordings {
        Recordings {
            one_bytes_max: bounds.recording_bytes_max,
            all_bytes_max: bounds.recordings_bytes_max,
            kept: HashMap::new(),
            order: BTreeSet::new(),
            bytes: 0,
            shelf: None,
        }
    }

    /// As [`Recordings::new`], with a shelf.
    pub fn on(shelf: Shelf, bounds: &Bounds) -> Recordings {
        Recordings {
            shelf: Some(shelf),
            ..Recordings::new(bounds)
        }
    }

    /// What is not on the shelf yet; `None` without one.
    pub fn shelve(&mut self, position: u64) -> Option<Shelving> {
        let shelf = self.shelf.clone()?;
        let (mut appends, mut told) = (Vec::new(), Vec::new());
        for (analysis, kept) in &mut self.kept {
            self.bytes -= kept.bytes();
            kept.lines.seal();
            self.bytes += kept.bytes();
            let mut shelved = kept.shelved;
            if !kept.lines.blocks().is_empty() {
                let append = Append {
                    analysis: analysis.clone(),
                    from: shelved.file_bytes,
                    blocks: kept.lines.blocks().to_vec(),
                };
                shelved.file_bytes += append.bytes();
                shelved.text_bytes = kept.text_bytes();
                appends.push(append);
            }
            told.push(Told {
                analysis: analysis.clone(),
                started_at: kept.started_at,
                is_final: kept.is_final,
                shelved,
                truncated: kept.truncated,
            });
        }
        // Files and checkpoints of the same are the same.
        told.sort_by(|a, b| a.analysis.cmp(&b.analysis));
        let told = ToldOfAll {
            position,
            recordings: told,
        };
        let told = serde_json::to_vec(&told).expect("plain data");
        Some(Shelving {
            shelf,
            appends,
            told,
        })
    }

    /// It is on the disk, and a checkpoint tells of it: memory may forget it.
    pub fn shelved(&mut self, done: &Shelving) {
        for append in &done.appends {
            // One that lost its lines meanwhile has none there either.
            let Some(kept) = self.kept.get_mut(&append.analysis) else {
                continue;
            };
            if kept.shelved.file_bytes == append.from && !kept.lines.blocks().is_empty() {
                self.bytes -= kept.bytes();
                kept.lines.forget_first(append.blocks.len());
                kept.shelved.file_bytes += append.bytes();
                kept.shelved.text_bytes += append.text_bytes();
                self.bytes += kept.bytes();
            }
        }
    }

    /// Takes what a checkpoint tells; lines that came after it come again. The store's position then.
    ///
    /// # Errors
    /// When it tells nothing that can be read.
    pub fn remember(&mut self, told: &[u8]) -> Result<u64, StoreError> {
        let told: ToldOfAll = serde_json::from_slice(told).map_err(|error| StoreError {
            message: format!("a checkpoint tells of its recordings what cannot be read: {error}"),
        })?;
        for one in told.recordings {
            let holds = |shelf: &Shelf| shelf.holds(&one.analysis, one.shelved);
            let is_there = self.shelf.as_ref().is_some_and(holds);
            let kept = Kept {
                started_at: one.started_at,
                is_final: one.is_final,
                shelved: if is_there {
                    one.shelved
                } else {
                    Shelved::default()
                },
                lines: Lines::default(),
                truncated: one.truncated || !is_there,
            };
            self.bytes += kept.bytes();
            self.order.insert((one.started_at, one.analysis.clone()));
            self.kept.insert(one.analysis, kept);
        }
        Ok(told.position)
    }

    /// Nothing comes again any more: files that belong to nothing go.
    pub fn tidy(&self) {
        if let Some(shelf) = &self.shelf
            && let Err(error) = shelf.keep_only(|analysis| self.kept.contains_key(analysis))
        {
            tracing::warn!(%error, "cannot look through the recordings");
        }
    }

    /// Learns how an analysis stands: a new one gets an empty recording.
    pub fn note(&mut self, view: &AnalysisView) {
        let is_final = view.status == Status::Final;
        if let Some(kept) = self.kept.get_mut(&view.id) {
            kept.is_final = is_final;
            return;
        }
        self.order.insert((view.started_at, view.id.clone()));
        let kept = Kept {
            started_at: view.started_at,
            is_final,
            shelved: Shelved::default(),
            lines: Lines::default(),
            truncated: false,
        };
        self.kept.insert(view.id.clone(), kept);
    }

    /// Keeps a line as long as there is room for it; says which recording has just been cut.
    pub fn record(&mut self, analysis: &str, line: &str, losses: &mut Losses) {
        let mut cut = |analysis: String, limit| losses.cut.push(CutRecording { analysis, limit });
        if let Some(kept) = self.kept.get_mut(analysis) {
            let was_whole = !kept.truncated;
            self.bytes -= kept.bytes();
            kept.push(line, self.one_bytes_max);
            self.bytes += kept.bytes();
            if was_whole && kept.truncated {
                cut(analysis.to_owned(), "recording_bytes");
            }
        }
        if self.bytes > self.all_bytes_max {
            cut(self.drop_one(analysis), "recordings_bytes");
        }
    }

    /// No line is expected to follow.
    pub fn seal(&mut self, analysis: &str) {
        if let Some(kept) = self.kept.get_mut(analysis) {
            self.bytes -= kept.bytes();
            kept.lines.seal();
            self.bytes += kept.bytes();
        }
    }

    /// The analysis is gone, and its recording with it.
    pub fn forget(&mut self, analysis: &str) {
        if let Some(kept) = self.kept.remove(analysis) {
            self.bytes -= kept.bytes();
            self.order.remove(&(kept.started_at, analysis.to_owned()));
        }
        if let Some(shelf) = &self.shelf {
            shelf.remove(analysis);
        }
    }

    /// The recording as it is now; `None` for an analysis that nobody told of.
    pub fn read(&self, analysis: &str) -> Option<Recording> {
        let shelf = self.shelf.as_ref();
        let Some(kept) = self.kept.get(analysis) else {
            // Of a process whose checkpoint is gone: what is on the disk, and who knows what more.
            let shelved = shelf?.whole(analysis)?;
            return Some(Recording {
                text: shelf?.pieces(analysis, shelved),
                bytes: shelved.text_bytes,
                truncated_at_bytes: Some(shelved.text_bytes),
            });
        };
        let bytes = kept.text_bytes();
        let before = shelf.map(|shelf| shelf.pieces(analysis, kept.shelved));
        Some(Recording {
            text: Box::new(before.into_iter().flatten().chain(kept.lines.pieces())),
            bytes,
            truncated_at_bytes: kept.truncated.then_some(bytes),
        })
    }

    /// Makes room: the oldest final analysis that has a recording loses it; where none is final,
    /// the one that was just written to. Its id.
    fn drop_one(&mut self, last_written: &str) -> String {
        let is_final_with_lines = |id: &&String| {
            let kept = self.kept.get(*id);
            kept.is_some_and(|kept| kept.is_final && kept.text_bytes() > 0)
        };
        let mut ids = self.order.iter().map(|(_, id)| id);
        let oldest = ids.find(is_final_with_lines).cloned();
        let chosen = oldest.unwrap_or_else(|| last_written.to_owned());
        if let Some(kept) = self.kept.get_mut(&chosen) {
            self.bytes -= kept.bytes();
            kept.lines = Lines::default();
            kept.shelved = Shelved::default();
            kept.truncated = true;
            if let Some(shelf) = &self.shelf {
                shelf.remove(&chosen);
            }
        }
        chosen
    }
}

// === impl Kept ===

impl Kept {
    /// Bytes it takes, here and on the shelf.
    fn bytes(&self) -> u64 {
        self.lines.kept_bytes() + self.shelved.file_bytes
    }

    /// Bytes of all its lines.
    fn text_bytes(&self) -> u64 {
        self.shelved.text_bytes + self.lines.text_bytes()
    }

    fn push(&mut self, line: &str, bytes_max: u64) {
        // Once a line is lost the rest is worth nothing for a replay, and would only mislead.
        let bytes = line.len() as u64 + 1;
        if self.truncated || self.text_bytes() + bytes > bytes_max {
            self.truncated = true;
        } else {
            self.lines.push(line);
        }
    }
}
