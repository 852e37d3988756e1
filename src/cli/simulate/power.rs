//! One plan against degradations of growing size: how often it fails, passes, and how soon.
//!
//! Owns the ladder of effects, what is counted at each, and the report. It judges nothing. Next:
//! `run` for a repetition, `plot` for the picture.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use comfy_table::{Table, presets};
use serde::Serialize;

use super::draw::Drawn;
use super::effect::Effect;
use super::recorded::Recorded;
use super::run::{self, Effort, Ended, Ending, World};
use super::{SimulateArgs, plot};
use crate::cli::exit::Exit;
use crate::cli::{OutputForm, progress, replay};
use crate::codec::csv::Row;
use crate::judge::sentence::span;
use crate::plan::Plan;
use crate::plan::traffic::Traffic;

/// Power at which a degradation counts as found.
const POWER: f64 = 0.8;
/// Effects measured unless told, in tolerances.
const LADDER: [f64; 9] = [-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];

/// What was measured of a plan.
#[derive(Debug, Clone, Serialize)]
pub struct Power {
    /// Name of the plan.
    pub plan: String,
    /// Version of the plan.
    pub plan_hash: String,
    /// P(false fail) it promises.
    pub alpha: f64,
    /// P(false pass) it promises, per check.
    pub beta: f64,
    /// Event time until the horizon, in seconds.
    pub horizon_secs: f64,
    /// Repetitions of each effect.
    pub replicates: u64,
    /// Seed of everything drawn.
    pub seed: u64,
    /// By size of the effect, ascending.
    pub effects: Vec<Measured>,
    /// Smallest degradation found with 80 % power before the horizon, in the unit of the effects
    /// (tolerances, or per cent), with its Monte-Carlo standard error.
    pub found_with_80_percent: Option<Detectable>,
}

/// One size of effect.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// As written: `2x`, `10%` or `none`.
    pub effect: String,
    /// Position on the axis: tolerances, or per cent.
    pub position: f64,
    /// Whether the canary sits exactly on the boundary, where both error rates are largest.
    pub boundary: bool,
    /// Share of repetitions that ended so, and Monte-Carlo standard error.
    pub fail: Rate,
    /// As `fail`.
    pub pass: Rate,
    /// As `fail`.
    pub inconclusive: Rate,
    /// Event time to the final verdict, the horizon where there was none before, in seconds.
    pub secs: Times,
}

/// A share with its Monte-Carlo standard error.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Rate {
    /// The share.
    pub share: f64,
    /// Standard error of the share.
    pub standard_error: f64,
}

/// Times to a verdict, in seconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Times {
    /// Mean.
    pub mean: f64,
    /// Half were faster.
    pub median: f64,
    /// Nine in ten were faster.
    pub p90: f64,
}

/// An interpolated size of effect.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Detectable {
    /// Position on the axis of the effects.
    pub position: f64,
    /// Its Monte-Carlo standard error.
    pub standard_error: f64,
}

/// Runs the command for a plan.
pub(super) fn run(path: &Path, args: &SimulateArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let plan = Arc::new(replay::read_plan(path)?);
    let traffic = args.traffic.of(&plan)?;
    let rows = match &args.traffic.recording {
        None => None,
        Some(file) => {
            let bytes =
                std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            if bytes.first() == Some(&b'{') {
                bail!(
                    "{}: only CSV recordings can be resampled, with the columns role,value,t_rel",
                    file.display()
                );
            }
            Some(replay::read_rows(file, &bytes)?)
        }
    };
    let effects = ladder(&args.effects)?;
    let only = args
        .effect_on
        .iter()
        .map(|name| {
            let index = plan.metric_index(name);
            index.with_context(|| format!("--effect-on {name}: the plan has no such metric"))
        })
        .collect::<anyhow::Result<Vec<usize>>>()?;
    let setup = Setup {
        plan: &plan,
        traffic: &traffic,
        rows: rows.as_deref(),
        share: args.traffic.canary_share,
        only: &only,
    };
    let power = setup.measure(&effects, args.effort())?;
    if let Some(file) = &args.svg {
        std::fs::write(file, plot::svg(&power))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    match args.output {
        OutputForm::Json => writeln!(out, "{}", serde_json::to_string(&power)?)?,
        OutputForm::Text => write_table(&power, out)?,
    }
    Ok(Exit::Pass)
}

/// The effects to measure, ascending; the default ladder where none is named.
fn ladder(named: &[Effect]) -> anyhow::Result<Vec<Effect>> {
    let mut effects = if named.is_empty() {
        LADDER.map(Effect::Tolerances).to_vec()
    } else {
        named.to_vec()
    };
    let in_tolerances = |effect: &Effect| matches!(effect, Effect::Tolerances(_));
    if effects.iter().any(in_tolerances) && !effects.iter().all(in_tolerances) {
        bail!("--effects mixes tolerances (2x) and changes (10%): write one of the two");
    }
    effects.sort_by(|one, other| one.position().total_cmp(&other.position()));
    Ok(effects)
}

/// What is measured, on what.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'p> {
    /// The plan, whose checks judge together as they would in the daemon.
    pub plan: &'p Arc<Plan>,
    /// The traffic; with a recording only its shapes, which say where the boundary of a limit is.
    pub traffic: &'p Traffic,
    /// A recording whose baseline is resampled instead.
    pub rows: Option<&'p [Row]>,
    /// Share of the canary, where a recording is not to be taken as it is.
    pub share: Option<f64>,
    /// Metrics that are degraded; all where empty.
    pub only: &'p [usize],
}

impl Setup<'_> {
    /// Measures every effect.
    ///
    /// # Errors
    /// Nothing would be degraded, or the recording says nothing.
    pub fn measure(&self, effects: &[Effect], effort: Effort) -> anyhow::Result<Power> {
        let mut measured = Vec::with_capacity(effects.len());
        let bar = progress::bar(effort.replicates * effects.len() as u64, "repetitions");
        for &effect in effects {
            let shifts = effect.shifts(self.plan, self.traffic, self.only);
            if shifts.iter().all(Option::is_none) {
                bail!(
                    "no metric could be degraded: a gating check on it is needed, with a baseline \
                     that is within its limits"
                );
            }
            let world = match self.rows {
                None => World::Drawn(Drawn::new(self.plan, self.traffic, &shifts)),
                Some(rows) => World::Recorded(Recorded::new(self.plan, rows, self.share, &shifts)?),
            };
            let label = format!("power/{}/{}", self.plan.name, effect.text());
            let ended = run::repeat(self.plan, &world, &label, effort, &|| bar.inc(1));
            measured.push(Measured::new(effect, &ended, self.plan));
        }
        bar.finish_and_clear();
        Ok(Power {
            plan: self.plan.name.clone(),
            plan_hash: self.plan.hash(),
            alpha: self.plan.alpha,
            beta: self.plan.beta,
            horizon_secs: self.plan.horizon as f64 / 1000.0,
            replicates: effort.replicates,
            seed: effort.seed,
            found_with_80_percent: detectable(&measured),
            effects: measured,
        })
    }
}

// === impl Measured ===

impl Measured {
    fn new(effect: Effect, ended: &[Ended], plan: &Plan) -> Measured {
        let all = ended.len() as f64;
        let rate = |ending: Ending| {
            let share = ended.iter().filter(|run| run.last == ending).count() as f64 / all;
            Rate {
                share,
                standard_error: (share * (1.0 - share) / all).sqrt(),
            }
        };
        let tick_secs = plan.tick as f64 / 1000.0;
        let mut secs: Vec<f64> = ended
            .iter()
            .map(|run| run.looks as f64 * tick_secs)
            .collect();
        secs.sort_by(f64::total_cmp);
        let quantile = |level: f64| {
            let at = (level * all).ceil() as usize;
            secs.get(at.saturating_sub(1)).copied().unwrap_or(0.0)
        };
        Measured {
            effect: effect.text(),
            position: effect.position(),
            boundary: effect == Effect::Tolerances(1.0),
            fail: rate(Ending::Fail),
            pass: rate(Ending::Pass),
            inconclusive: rate(Ending::Inconclusive),
            secs: Times {
                mean: secs.iter().sum::<f64>() / all,
                median: quantile(0.5),
                p90: quantile(0.9),
            },
        }
    }
}

/// The smallest degradation found with [`POWER`], interpolated linearly between two effects.
fn detectable(measured: &[Measured]) -> Option<Detectable> {
    let worse: Vec<&Measured> = measured.iter().filter(|one| one.position >= 0.0).collect();
    let (below, above) = worse.windows(2).find_map(|pair| {
        let crosses = pair[0].fail.share < POWER && pair[1].fail.share >= POWER;
        crosses.then_some((pair[0], pair[1]))
    })?;
    let rise = above.fail.share - below.fail.share;
    let run = above.position - below.position;
    let part = (POWER - below.fail.share) / rise;
    // Error of the two ends, each by its part, over the slope.
    let ends = [
        (1.0 - part) * below.fail.standard_error,
        part * above.fail.standard_error,
    ];
    let error = ends.iter().map(|end| end * end).sum::<f64>().sqrt();
    Some(Detectable {
        position: below.position + part * run,
        standard_error: error * run / rise,
    })
}

fn write_table(power: &Power, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "degradation",
        "fail",
        "pass",
        "inconclusive",
        "mean time",
        "median",
        "90 %",
        "",
    ]);
    let rate = |rate: Rate| format!("{:.3} +- {:.3}", rate.share, rate.standard_error);
    for one in &power.effects {
        let note = if one.boundary {
            format!(
                "boundary: fail at most {}, pass {}",
                power.alpha, power.beta
            )
        } else {
            String::new()
        };
        table.add_row([
            one.effect.clone(),
            rate(one.fail),
            rate(one.pass),
            rate(one.inconclusive),
            span(one.secs.mean.round()),
            span(one.secs.median),
            span(one.secs.p90),
            note,
        ]);
    }
    let Power {
        plan,
        plan_hash,
        replicates,
        seed,
        ..
    } = power;
    writeln!(
        out,
        "plan {plan} ({}), horizon {}, {replicates} repetitions each, seed {seed}",
        &plan_hash[..12],
        span(power.horizon_secs)
    )?;
    writeln!(out, "{table}")?;
    let is_times = power.effects.iter().any(|one| one.effect.ends_with('x'));
    let unit = if is_times { "times the tolerance" } else { "%" };
    match power.found_with_80_percent {
        Some(found) => writeln!(
            out,
            "found with 80 % power before the horizon: {:.2} +- {:.2} {unit}",
            found.position, found.standard_error
        )?,
        None => writeln!(
            out,
            "no degradation of this ladder is found with 80 % power before the horizon, or the \
             smallest one is already"
        )?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(position: f64, share: f64) -> Measured {
        let rate = |share: f64| Rate {
            share,
            standard_error: 0.01,
        };
        Measured {
            effect: format!("{position}x"),
            position,
            boundary: false,
            fail: rate(share),
            pass: rate(0.0),
            inconclusive: rate(1.0 - share),
            secs: Times {
                mean: 1.0,
                median: 1.0,
                p90: 1.0,
            },
        }
    }

    #[test]
    fn the_degradation_found_is_interpolated() {
        let ladder = [measured(1.0, 0.05), measured(2.0, 0.6), measured(4.0, 1.0)];
        let found = detectable(&ladder).unwrap();
        assert!((found.position - 3.0).abs() < 1e-12);
        assert!((found.standard_error - 0.5_f64.sqrt() * 0.01 * 5.0).abs() < 1e-12);
        assert!(detectable(&ladder[..2]).is_none());
        assert!(detectable(&ladder[2..]).is_none());
    }

    #[test]
    fn a_ladder_has_one_unit_and_ascends() {
        let sorted = ladder(&[Effect::Change(0.2), Effect::Change(0.0)]).unwrap();
        assert_eq!(sorted, [Effect::Change(0.0), Effect::Change(0.2)]);
        assert!(ladder(&[Effect::Change(0.2), Effect::Tolerances(1.0)]).is_err());
        assert_eq!(ladder(&[]).unwrap().len(), LADDER.len());
    }
}
