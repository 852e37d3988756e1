//! What is in memory: analyses that take samples, some of the others, all recordings.
//!
//! Owns which views are newer here than in the database, and what of a commit must be written at
//! once. It must not wait: it is used under a lock. Next: `recordings`.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::{Batch, is_live};
use crate::engine::AnalysisView;
use crate::store::recordings::Recordings;
use crate::store::{Losses, Recording, Write};

/// Views kept of analyses that take no samples: a page of a list, and then some. 30 kB each with ten
/// checks.
const REMEMBERED_MAX: usize = 256;

/// The memory of a store.
#[derive(Debug)]
pub(super) struct Live {
    live: HashMap<String, Arc<AnalysisView>>,
    remembered: HashMap<String, Arc<AnalysisView>>,
    /// Ids of what is remembered, the first to go first.
    order: VecDeque<String>,
    /// Counts changes of what is read from the database: a view read before one is not remembered.
    generation: u64,
    recordings: Recordings,
}

// === impl Live ===

impl Live {
    pub fn new(recordings: Recordings, running: Vec<AnalysisView>) -> Live {
        let by_id = |view: AnalysisView| (view.id.clone(), Arc::new(view));
        Live {
            live: running.into_iter().map(by_id).collect(),
            remembered: HashMap::new(),
            order: VecDeque::new(),
            generation: 0,
            recordings,
        }
    }

    pub fn view(&self, id: &str) -> Option<Arc<AnalysisView>> {
        let found = self.live.get(id).or_else(|| self.remembered.get(id));
        found.cloned()
    }

    /// All that take samples.
    pub fn views(&self) -> Vec<Arc<AnalysisView>> {
        self.live.values().cloned().collect()
    }

    pub fn recordings_mut(&mut self) -> &mut Recordings {
        &mut self.recordings
    }

    pub fn recording(&self, id: &str) -> Option<Recording> {
        self.recordings.read(id)
    }

    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Keeps a view that was read at this generation, unless something was written since.
    pub fn remember(&mut self, view: &Arc<AnalysisView>, generation: u64) {
        if generation == self.generation && !is_live(view) {
            self.put(view.clone());
        }
    }

    fn put(&mut self, view: Arc<AnalysisView>) {
        let id = view.id.clone();
        if self.remembered.insert(id.clone(), view).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.remembered.remove(&oldest);
        }
    }

    /// Whether anything of it must be in the database before it counts as done.
    pub fn must_last(&self, batch: &Batch) -> bool {
        let is_kept_here = |write: &Write| matches!(write, Write::Record { .. });
        !batch.plans.is_empty()
            || !batch.others.iter().all(is_kept_here)
            || batch.views.values().any(|view| self.is_news(view))
    }

    /// Views that are to be written: those with news, and those of which something else is written.
    pub fn lasting(&self, batch: &Batch) -> Vec<Arc<AnalysisView>> {
        let mut with_events = HashSet::new();
        for write in &batch.others {
            if let Write::Event(event) = write {
                with_events.insert(event.analysis.as_str());
            }
        }
        let lasts =
            |view: &&Arc<AnalysisView>| with_events.contains(&*view.id) || self.is_news(view);
        batch.views.values().filter(lasts).cloned().collect()
    }

    /// Whether it says more than that samples came.
    fn is_news(&self, view: &AnalysisView) -> bool {
        let telling = |view: &AnalysisView| {
            let steps = view.steps.len();
            (view.status, view.verdict, view.decision, steps)
        };
        let known = self.live.get(&view.id);
        !is_live(view) || known.is_none_or(|known| telling(known) != telling(view))
    }

    /// Takes what was written, and what need not be.
    pub fn apply(&mut self, batch: Batch, losses: &mut Losses) {
        for view in batch.views.values().filter(|view| !is_live(view)) {
            self.put(view.clone());
        }
        self.recall(batch, losses);
    }

    /// Takes what an earlier process has written: of an analysis that took no samples at its end the
    /// database may know more, even that it was forgotten.
    pub fn recall(&mut self, batch: Batch, losses: &mut Losses) {
        for (id, view) in batch.views {
            self.recordings.note(&view);
            if is_live(&view) {
                self.live.insert(id, view);
            } else {
                self.generation += 1;
                self.live.remove(&id);
            }
        }
        for write in batch.others {
            match write {
                Write::Event(event) if event.is_last() => self.recordings.seal(&event.analysis),
                Write::Record { analysis, line } => {
                    self.recordings.record(&analysis, &line, losses);
                }
                Write::Forget(analysis) => self.forget(&analysis),
                _ => {}
            }
        }
    }

    pub fn forget(&mut self, analysis: &str) {
        self.generation += 1;
        self.live.remove(analysis);
        self.recordings.forget(analysis);
        if self.remembered.remove(analysis).is_some() {
            self.order.retain(|id| id != analysis);
        }
    }
}
