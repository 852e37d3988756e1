//! An analysis after its pass, where the plan asks for a watch.
//!
//! Owns what is told then: alarms as they come, and the end. The verdict stays what it was. Next:
//! `judge::watch`, which finds the alarms.

use serde::{Deserialize, Serialize};

use super::analysis::Analysis;
use super::audit::Cause;
use super::messages::{Effect, EventKind};
use crate::judge::watch::{WatchAlarm, WatchView};
use crate::model::Timestamp;
use crate::plan::WatchFor;
use crate::window::ClosedTick;

/// A watch that has begun.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Watch {
    plan: WatchFor,
    /// Ticks closed at the pass.
    began: usize,
    checks: Vec<usize>,
    alarms: Vec<(usize, WatchAlarm)>,
    pub(super) ended: bool,
}

// === impl Analysis ===

impl Analysis {
    /// Whether samples still mean something: it is not final, or it is watched after its pass.
    pub fn takes_samples(&self) -> bool {
        !self.is_final() || self.watch.as_ref().is_some_and(|watch| !watch.ended)
    }

    /// Begins the watch of a plan that asks for one.
    pub(super) fn begin_watch(&mut self) {
        let Some(plan) = self.plan.watch else { return };
        let ticks = (plan.duration / self.plan.tick) as usize;
        self.judge.begin_watching();
        self.watch = Some(Watch {
            plan,
            began: self.window.closed(),
            checks: self.judge.watched(),
            alarms: Vec::new(),
            ended: false,
        });
        self.window.go_on_for(ticks);
    }

    /// Takes a tick after the pass.
    pub(super) fn watch_tick(
        &mut self,
        tick: &ClosedTick,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let Some(watch) = self.watch.as_mut() else {
            return;
        };
        let every = watch.plan.false_alarms_every;
        let after = self.plan.tick * (self.window.closed() - watch.began) as i64;
        let known = |alarms: &[(usize, _)], check| alarms.iter().any(|(index, _)| *index == check);
        let mut news = false;
        for check in self.judge.close_and_watch(tick, every) {
            if !known(&watch.alarms, check) {
                let alarm = self.judge.alarm(check, after, every);
                watch.alarms.push((check, alarm));
                news = true;
            }
        }
        if news {
            self.emit(EventKind::WatchAlarm, &Cause::own(None), now, effects);
        }
        if self.window.is_over() {
            self.end_watch(&Cause::own(None), now, effects);
        } else if news {
            effects.push(Effect::Changed(Box::new(self.view())));
        }
    }

    /// Ends the watch: its time is over, or a newer revision took the place.
    pub(super) fn end_watch(&mut self, cause: &Cause, now: Timestamp, effects: &mut Vec<Effect>) {
        if let Some(watch) = self.watch.as_mut().filter(|watch| !watch.ended) {
            watch.ended = true;
            self.emit(EventKind::WatchEnded, cause, now, effects);
            effects.push(Effect::Changed(Box::new(self.view())));
            self.rest();
        }
    }

    /// The watch as a verdict shows it.
    pub(super) fn watch_view(&self) -> Option<WatchView> {
        let watch = self.watch.as_ref()?;
        let secs = |millis: i64| millis as f64 / 1000.0;
        let name = |&index: &usize| self.plan.checks[index].name.clone();
        Some(WatchView {
            checks: watch.checks.iter().map(name).collect(),
            elapsed_secs: secs(self.plan.tick * (self.window.closed() - watch.began) as i64),
            for_secs: secs(watch.plan.duration),
            false_alarms_every_secs: secs(watch.plan.false_alarms_every),
            ended: watch.ended,
            alarms: watch
                .alarms
                .iter()
                .map(|(_, alarm)| alarm.clone())
                .collect(),
        })
    }
}
