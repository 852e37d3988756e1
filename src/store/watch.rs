//! Wakes those who wait for an analysis to change.
//!
//! Owns who waits for what, and nothing of what changed: the woken one reads the store. So a slow
//! reader can never fall behind a queue, and nothing is lost between reading and waiting when one
//! subscribes first and reads then.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Who waits for which analysis.
#[derive(Debug, Default)]
pub struct Watchers {
    bells: Mutex<HashMap<String, watch::Sender<()>>>,
}

impl Watchers {
    /// A receiver that is woken at every later [`Watchers::ring`] of this analysis, and whose
    /// channel closes when it is forgotten.
    pub fn subscribe(&self, analysis: &str) -> watch::Receiver<()> {
        let mut bells = self.lock();
        // Nobody removes a bell when its last listener leaves; this is the moment to do it.
        if bells.len() > 64 && bells.len().is_power_of_two() {
            bells.retain(|_, bell| bell.receiver_count() > 0);
        }
        let bell = bells
            .entry(analysis.to_string())
            .or_insert_with(|| watch::channel(()).0);
        bell.subscribe()
    }

    /// Wakes everybody who waits for this analysis.
    pub fn ring(&self, analysis: &str) {
        let mut bells = self.lock();
        let Some(bell) = bells.get(analysis) else {
            return;
        };
        if bell.send(()).is_err() {
            bells.remove(analysis);
        }
    }

    /// The analysis is gone: wakes everybody for the last time.
    pub fn forget(&self, analysis: &str) {
        self.lock().remove(analysis);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<()>>> {
        // A panic elsewhere leaves the map whole: every change to it is one call.
        self.bells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_ring_after_subscribing_is_never_missed() {
        let watchers = Watchers::default();
        let mut bell = watchers.subscribe("an_1");
        watchers.ring("an_1");
        watchers.ring("an_2");
        assert!(bell.changed().await.is_ok());
        watchers.forget("an_1");
        assert!(bell.changed().await.is_err(), "closed once forgotten");
    }

    #[test]
    fn bells_without_listeners_do_not_pile_up() {
        let watchers = Watchers::default();
        for number in 0..5_000 {
            drop(watchers.subscribe(&format!("an_{number}")));
        }
        assert!(watchers.lock().len() < 256);
    }
}
