//! What is kept of one analysis: its readable state, its last events, its recording.
//!
//! Owns the bounds of each. It must not know of other analyses. Next: `packed`, the form in which
//! events and lines wait for a reader, who may never come.

use std::collections::VecDeque;
use std::sync::Arc;

use super::packed::{Lines, Packed};
use crate::engine::{AnalysisView, Event, EventKind};
use crate::store::{
    EVENTS_KEPT_FINAL_MAX, EVENTS_KEPT_MAX, EventsAfter, KeptEvent, Recording, StoreError,
};

/// What is kept of one analysis.
#[derive(Debug)]
pub(super) struct Room {
    /// Its readable state.
    pub view: Arc<AnalysisView>,
    events: VecDeque<PackedEvent>,
    lines: Lines,
    truncated: bool,
}

#[derive(Debug, Clone)]
struct PackedEvent {
    sequence: u64,
    kind: EventKind,
    is_last: bool,
    body: Packed,
}

/// Events that a reader has asked for, to be read once nobody else has to wait for it.
pub(super) struct Unread {
    events: Vec<PackedEvent>,
    gap: bool,
}

// === impl Room ===

impl Room {
    /// Of an analysis that has just begun.
    pub fn new(view: Arc<AnalysisView>) -> Room {
        Room {
            view,
            events: VecDeque::new(),
            lines: Lines::default(),
            truncated: false,
        }
    }

    /// Keeps an event, which may push out the oldest.
    pub fn push(&mut self, event: &Event) {
        let is_last = event.is_last();
        let body = serde_json::to_string(&*event.body).expect("a verdict body is plain data");
        self.events.push_back(PackedEvent {
            sequence: event.sequence,
            kind: event.kind,
            is_last,
            body: Packed::new(&body),
        });
        let kept_max = if is_last {
            EVENTS_KEPT_FINAL_MAX
        } else {
            EVENTS_KEPT_MAX
        };
        let surplus = self.events.len().saturating_sub(kept_max);
        self.events.drain(..surplus);
        if is_last {
            self.events.shrink_to_fit();
            self.lines.seal();
        }
    }

    /// Events with a sequence number above `after`.
    pub fn events_after(&self, after: u64) -> Unread {
        let next = after.saturating_add(1);
        let oldest = self.events.front().map_or(next, |event| event.sequence);
        let later = |event: &&PackedEvent| event.sequence > after;
        Unread {
            events: self.events.iter().filter(later).cloned().collect(),
            gap: oldest > next,
        }
    }

    /// Keeps a line of the recording as long as it stays within `bytes_max`.
    pub fn record(&mut self, line: &str, bytes_max: u64) {
        // Once a line is lost the rest is worth nothing for a replay, and would only mislead.
        let bytes = line.len() as u64 + 1;
        if self.truncated || self.lines.text_bytes() + bytes > bytes_max {
            self.truncated = true;
        } else {
            self.lines.push(line);
        }
    }

    /// Gives the recording up.
    pub fn drop_recording(&mut self) {
        self.lines = Lines::default();
        self.truncated = true;
    }

    /// Whether lines are missing from the recording.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Whether there is a line of the recording.
    pub fn has_lines(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Bytes the recording takes.
    pub fn recording_bytes(&self) -> u64 {
        self.lines.kept_bytes()
    }

    /// The recording as it is now.
    pub fn recording(&self) -> Recording {
        let bytes = self.lines.text_bytes();
        Recording {
            text: self.lines.pieces(),
            bytes,
            truncated_at_bytes: self.truncated.then_some(bytes),
        }
    }
}

// === impl Unread ===

impl Unread {
    /// The events as they are read.
    pub fn read(self) -> Result<EventsAfter, StoreError> {
        let read = |event: PackedEvent| {
            Ok(KeptEvent {
                sequence: event.sequence,
                kind: event.kind,
                is_last: event.is_last,
                body: event.body.text()?,
            })
        };
        Ok(EventsAfter {
            events: self
                .events
                .into_iter()
                .map(read)
                .collect::<Result<_, _>>()?,
            gap: self.gap,
        })
    }
}
