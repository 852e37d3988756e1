//! What is kept of one analysis: its readable state and its last events.
//!
//! Owns how many events. It must not know of other analyses. Next: `packed`, the form in which
//! events wait for a reader, who may never come.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::engine::{AnalysisView, Event, EventKind};
use crate::store::packed::Packed;
use crate::store::{EVENTS_KEPT_FINAL_MAX, EVENTS_KEPT_MAX, EventsAfter, KeptEvent, StoreError};

/// What is kept of one analysis.
#[derive(Debug)]
pub(super) struct Room {
    /// Its readable state.
    pub view: Arc<AnalysisView>,
    events: VecDeque<PackedEvent>,
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
}

// === impl Unread ===

impl Unread {
    /// The events as they are read.
    pub fn read(self) -> Result<EventsAfter, StoreError> {
        let read = |event: PackedEvent| {
            Ok::<_, StoreError>(KeptEvent {
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
