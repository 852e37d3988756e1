//! Recordings: the lines of every analysis, in this process.
//!
//! Owns their bounds, of one and of all together, and who loses lines when there is no room. Samples
//! never enter a database, so every store keeps its recordings here, and they end with the process.
//! It must not know what a line says. Next: `packed`, the form in which lines wait for a reader, who
//! may never come.

use std::collections::{BTreeSet, HashMap};

use super::packed::Lines;
use super::{Bounds, CutRecording, Losses, Recording};
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
}

#[derive(Debug)]
struct Kept {
    started_at: i64,
    is_final: bool,
    lines: Lines,
    /// Lines are missing.
    truncated: bool,
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
            self.bytes -= kept.lines.kept_bytes();
            kept.push(line, self.one_bytes_max);
            self.bytes += kept.lines.kept_bytes();
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
            self.bytes -= kept.lines.kept_bytes();
            kept.lines.seal();
            self.bytes += kept.lines.kept_bytes();
        }
    }

    /// The analysis is gone, and its recording with it.
    pub fn forget(&mut self, analysis: &str) {
        if let Some(kept) = self.kept.remove(analysis) {
            self.bytes -= kept.lines.kept_bytes();
            self.order.remove(&(kept.started_at, analysis.to_owned()));
        }
    }

    /// The recording as it is now; `None` for an analysis that nobody told of.
    pub fn read(&self, analysis: &str) -> Option<Recording> {
        let kept = self.kept.get(analysis)?;
        let bytes = kept.lines.text_bytes();
        Some(Recording {
            text: kept.lines.pieces(),
            bytes,
            truncated_at_bytes: kept.truncated.then_some(bytes),
        })
    }

    /// Makes room: the oldest final analysis that has a recording loses it; where none is final,
    /// the one that was just written to. Its id.
    fn drop_one(&mut self, last_written: &str) -> String {
        let is_final_with_lines = |id: &&String| {
            let kept = self.kept.get(*id);
            kept.is_some_and(|kept| kept.is_final && !kept.lines.is_empty())
        };
        let mut ids = self.order.iter().map(|(_, id)| id);
        let oldest = ids.find(is_final_with_lines).cloned();
        let chosen = oldest.unwrap_or_else(|| last_written.to_owned());
        if let Some(kept) = self.kept.get_mut(&chosen) {
            self.bytes -= kept.lines.kept_bytes();
            kept.lines = Lines::default();
            kept.truncated = true;
        }
        chosen
    }
}

// === impl Kept ===

impl Kept {
    fn push(&mut self, line: &str, bytes_max: u64) {
        // Once a line is lost the rest is worth nothing for a replay, and would only mislead.
        let bytes = line.len() as u64 + 1;
        if self.truncated || self.lines.text_bytes() + bytes > bytes_max {
            self.truncated = true;
        } else {
            self.lines.push(line);
        }
    }
}
