//! The folder of plans, read at the start and whenever a file in it changes.
//!
//! Owns what is done with what it says: new analyses begin with the plans of now, those that run keep
//! the one they began with. What a plan must be is [`crate::config::plans`]' and
//! [`crate::pull::rules`]', when the folder is read [`super::rereading`]'s.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Daemon;
use super::rereading::{Mark, Watched};
use crate::config::layers::Places;
use crate::config::plans::{self, Loaded};
use crate::config::{Config, Problem, Problems, Severity};
use crate::http::plans::Plans;
use crate::plan::Plan;
use crate::pull::rules;
use crate::telemetry::{Metrics, PLAN_LABELS_MAX};

/// A folder whose plans are good for this configuration.
pub struct PlanFolder {
    config: Config,
    places: Places,
    looked: Mutex<Looked>,
}

/// What came of the looks before.
#[derive(Default)]
struct Looked {
    /// What was made of what the folder said, so that plans are made anew only where that changed.
    last: Option<(Mark, Result<Loaded, Problems>)>,
    /// What it says since the last look. It is taken once it says so twice: files may be written one
    /// after the other, and in place.
    since: Option<Mark>,
}

/// Gives the API the plans of the folder.
struct PlanKeeper {
    folder: PlanFolder,
    plans: Arc<Plans>,
    metrics: Arc<Metrics>,
}

/// Tells the metrics how many there are, and begins their counters, where each of them has a label:
/// those of a folder of more plans begin as they are used.
pub(super) fn count(plans: &BTreeMap<String, Arc<Plan>>, metrics: &Metrics) {
    let number = i64::try_from(plans.len()).unwrap_or(i64::MAX);
    metrics.plan_files.plans.set(number);
    if plans.len() <= PLAN_LABELS_MAX {
        plans.keys().for_each(|plan| metrics.begin_plan(plan));
    }
}

/// Logs what is wrong with plans that can be used all the same.
pub fn warn(warnings: &[Problem]) {
    for warning in warnings {
        tracing::warn!(
            file = warning.file,
            line = warning.line,
            "{}",
            warning.message
        );
    }
}

// === impl PlanFolder ===

impl PlanFolder {
    /// The folder that a configuration names.
    pub fn of(config: &Config, places: Places) -> PlanFolder {
        PlanFolder {
            config: config.clone(),
            places,
            looked: Mutex::default(),
        }
    }

    /// Reads all of its plans. It waits for the disk.
    ///
    /// # Errors
    /// The problems of all files, and plans that ask for what no source has.
    pub fn load(&self) -> Result<Loaded, Problems> {
        self.read().map(|(_, loaded)| loaded)
    }

    fn read(&self) -> Result<(Mark, Loaded), Problems> {
        let written = plans::read_directory(&self.config.plans.directory)?;
        let mark = Mark::of(written.iter().flat_map(plans::Written::parts));
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let since = looked.since.replace(mark);
        if let Some((last, made)) = &looked.last
            && (*last == mark || since != Some(mark))
        {
            return made.clone().map(|loaded| (*last, loaded));
        }
        let made = self.make(&written);
        looked.last = Some((mark, made.clone()));
        made.map(|loaded| (mark, loaded))
    }

    fn make(&self, written: &[plans::Written]) -> Result<Loaded, Problems> {
        let mut loaded = plans::parse_all(written)?;
        let all = loaded.plans.values().map(|plan| &**plan);
        let found = rules::misfits(&self.config, &self.places, all);
        let found: Vec<Problem> = found.collect();
        let is_error = |problem: &Problem| problem.severity == Severity::Error;
        if found.iter().any(is_error) {
            return Err(Problems::sorted(found));
        }
        loaded.warnings.extend(found);
        Ok(loaded)
    }
}

// === impl Daemon ===

impl Daemon {
    /// Has the folder of its plans looked at for as long as it runs.
    pub fn follow_plans(&mut self, folder: PlanFolder) {
        let keeper = PlanKeeper {
            plans: self.shared.plans.clone(),
            metrics: self.shared.metrics.clone(),
            folder,
        };
        let looked = keeper.folder.looked.lock();
        let looked = looked.unwrap_or_else(PoisonError::into_inner);
        let mark = looked.last.as_ref().map(|(mark, _)| *mark);
        drop(looked);
        match mark {
            Some(mark) => self.beside.rereading.add(keeper, mark),
            None => self.beside.rereading.add_unread(keeper),
        }
    }
}

// === impl PlanKeeper ===

impl Watched for PlanKeeper {
    type Said = Loaded;

    fn read(&self) -> Result<(Mark, Loaded), String> {
        self.folder.read().map_err(|found| found.to_string())
    }

    fn take(&mut self, loaded: Loaded) {
        warn(&loaded.warnings);
        let (before, now) = (self.plans.current(), &loaded.plans);
        let not_in = |names: &BTreeMap<String, Arc<Plan>>, others: &BTreeMap<String, Arc<Plan>>| {
            let missing = names.keys().filter(|name| !others.contains_key(*name));
            missing.cloned().collect::<Vec<String>>().join(" ")
        };
        let differs = |(name, plan): &(&String, &Arc<Plan>)| {
            before
                .get(*name)
                .is_some_and(|old| old.hash() != plan.hash())
        };
        let changed = now.iter().filter(differs).map(|(name, _)| name.as_str());
        tracing::info!(
            plans = now.len(),
            added = not_in(now, &before),
            changed = changed.collect::<Vec<&str>>().join(" "),
            removed = not_in(&before, now),
            "plans loaded again; analyses that run keep theirs"
        );
        count(now, &self.metrics);
        self.plans.replace(loaded.plans);
    }

    fn complain(&self, fault: &str) {
        self.metrics.plan_files.reload_failures.inc();
        tracing::error!("the plans cannot be used; those before stay:\n{fault}");
    }
}
