//! Repetitions: one stream through one judge, many of them on all cores.
//!
//! Owns what a repetition ends in and how repetitions are counted. A repetition is named by its
//! label: its data, its thresholds and so its end do not depend on how many cores there are. Next:
//! `power` and `suite`, which ask.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::draw::{self, Drawn};
use super::recorded::{self, Recorded};
use crate::judge::Judge;
use crate::judge::calibrate::Calibrator;
use crate::judge::check::Detail;
use crate::judge::scratch::Scratch;
use crate::model::Outcome;
use crate::plan::{Plan, Question};
use crate::stats::sampler::{self, Stream};
use crate::window::ClosedTick;

/// Where a stream's numbers come from.
#[derive(Debug)]
pub enum World {
    /// From laws.
    Drawn(Drawn),
    /// From laws, after a healthy history of so many ticks on which the plan was calibrated.
    Calibrated {
        /// What the history is drawn from.
        history: Drawn,
        /// Its length in ticks.
        ticks: usize,
        /// What the run is drawn from.
        run: Drawn,
    },
    /// From a recording's baseline.
    Recorded(Recorded),
}

/// What one repetition came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ended {
    /// Look at which it failed, from 1.
    pub failed_at: Option<usize>,
    /// First look that said pass, from 1.
    pub passed_at: Option<usize>,
    /// The verdict that is final at the end: what `stop_on_pass` and the horizon make of it.
    pub last: Ending,
    /// Looks until then.
    pub looks: usize,
}

/// A final verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ending {
    /// Degraded.
    Fail,
    /// Within tolerance.
    Pass,
    /// Neither was shown before the horizon.
    #[default]
    Inconclusive,
}

/// How repetitions are to be made.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// How many.
    pub replicates: u64,
    /// Null paths behind each test's thresholds.
    pub paths: usize,
    /// Names all data and thresholds together with a label.
    pub seed: u64,
}

/// Runs the repetitions named `label` on all cores, in the order of their numbers.
pub fn repeat(
    plan: &Arc<Plan>,
    world: &World,
    label: &str,
    effort: Effort,
    done: &(dyn Fn() + Sync),
) -> Vec<Ended> {
    let next = AtomicU64::new(0);
    let ended = Mutex::new(vec![Ended::default(); effort.replicates as usize]);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut scratch = Scratch::with_paths(effort.paths);
        loop {
            let replicate = next.fetch_add(1, Ordering::Relaxed);
            if replicate >= effort.replicates {
                break;
            }
            let label = format!("{label}/{}/{replicate}", effort.seed);
            let one = one_run(plan, world, &label, &mut scratch);
            let mut all = ended
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            all[replicate as usize] = one;
            drop(all);
            done();
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    ended
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn one_run(plan: &Arc<Plan>, world: &World, label: &str, scratch: &mut Scratch) -> Ended {
    let mut stream = Stream::new(&sampler::seed_from(label, "data"), 0);
    let plan = &world.calibrated(plan, label);
    let mut judge = Judge::seeded(plan.clone(), Detail::Outcome, label);
    let mut going = world.begin(&mut stream);
    let mut ended = Ended::default();
    for index in 0..plan.looks() {
        let tick = going.tick(index, &mut stream);
        ended.looks = index + 1;
        match judge.close_and_look(&tick, scratch).outcome {
            Outcome::Fail => {
                ended.failed_at = Some(ended.looks);
                ended.last = Ending::Fail;
                break;
            }
            Outcome::Pass => {
                ended.passed_at = ended.passed_at.or(Some(ended.looks));
                ended.last = Ending::Pass;
                if plan.stop_on_pass {
                    break;
                }
            }
            Outcome::Inconclusive => ended.last = Ending::Inconclusive,
        }
    }
    ended
}

/// A repetition under way.
enum Going<'w> {
    Drawn(&'w Drawn, draw::Going),
    Recorded(&'w Recorded, recorded::Going),
}

// === impl World ===

impl World {
    /// The plan as this repetition's own history calibrates it.
    fn calibrated(&self, plan: &Arc<Plan>, label: &str) -> Arc<Plan> {
        let World::Calibrated { history, ticks, .. } = self else {
            return plan.clone();
        };
        let mut stream = Stream::new(&sampler::seed_from(label, "history"), 0);
        let mut calibrator = Calibrator::new(plan);
        let mut going = history.begin(&mut stream);
        for index in 0..*ticks {
            calibrator.close(&history.tick(index, &mut going, &mut stream));
        }
        calibrator.end_recording();
        let mut plan = Plan::clone(plan);
        for measure in calibrator.measures() {
            let question = &mut plan.checks[measure.check].question;
            if let (Question::Compare { dispersion, .. }, Some(found)) =
                (question, measure.dispersion)
            {
                *dispersion = found;
            }
        }
        Arc::new(plan)
    }

    fn begin(&self, stream: &mut Stream) -> Going<'_> {
        match self {
            World::Drawn(drawn) | World::Calibrated { run: drawn, .. } => {
                Going::Drawn(drawn, drawn.begin(stream))
            }
            World::Recorded(recorded) => Going::Recorded(recorded, recorded.begin(stream)),
        }
    }
}

// === impl Going ===

impl Going<'_> {
    fn tick(&mut self, index: usize, stream: &mut Stream) -> ClosedTick {
        match self {
            Going::Drawn(drawn, going) => drawn.tick(index, going, stream),
            Going::Recorded(recorded, going) => recorded.tick(index, going, stream),
        }
    }
}
