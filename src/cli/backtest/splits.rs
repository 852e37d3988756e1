//! `davy backtest --splits`: how often would davy fail a canary that is the baseline?
//!
//! Owns random A/A splits of one healthy recording. In every round each unit (a request, a trace,
//! a client, a host) joins one arm at random, so nothing differs between the arms but chance; any
//! fail is false. The same splits are judged by a plain Mann-Whitney test, once at the end and
//! peeking at every look, to show what the recording does to a test that takes its values as
//! independent and its looks as one. Next: `mod`, whose other form judges labelled cases.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, bail};
use clap::Args;
use comfy_table::{Table, presets};
use serde::Serialize;

use crate::cli::exit::Exit;
use crate::cli::{OutputForm, progress, replay};
use crate::codec::csv::{self, CsvProblem, Row};
use crate::judge::Judge;
use crate::judge::check::Detail;
use crate::judge::scratch::Scratch;
use crate::model::{Arm, Outcome, Reading, Timestamp};
use crate::plan::recording::TICK;
use crate::plan::{
    Check, Dispersion, LOOKS_MAX, Lifetime, Metric, MetricKind, Plan, Quantile, Question,
    Tolerance, Worse,
};
use crate::stats::buckets::{apart, middle};
use crate::stats::law::Lattice;
use crate::stats::mann_whitney::{self, Choice};
use crate::stats::rank::Sorted;
use crate::stats::sampler::{self, Stream};
use crate::window::Window;

/// Level of the test that a count does not contradict alpha: one run in a hundred is rejected by
/// chance, and another seed tells.
const TEST_LEVEL: f64 = 0.01;
/// Units that the smaller arm must be able to get, or no split says anything.
const UNITS_MIN: usize = 6;
const METRIC: &str = "recorded";

/// Arguments of the form `--splits`.
#[derive(Debug, Args)]
pub struct SplitArgs {
    /// Random splits to judge.
    #[arg(long, default_value_t = 1_000, requires = "splits", value_parser = clap::value_parser!(u64).range(1..))]
    pub rounds: u64,
    /// Looks at each split, equally far apart in time.
    #[arg(long, default_value_t = 10, requires = "splits", value_parser = clap::value_parser!(u64).range(1..=LOOKS_MAX as u64))]
    pub looks: u64,
    /// Probability of a false fail, and of a false pass, that davy may spend on a split.
    #[arg(long, default_value_t = 0.01, requires = "splits", value_parser = level)]
    pub alpha: f64,
    /// Share of the units that become the canary.
    #[arg(long, default_value_t = 0.5, requires = "splits", value_parser = share)]
    pub canary_share: f64,
    /// Whether values of one unit depend on each other.
    #[arg(long, value_enum, default_value_t = ClusterBy::Unit, requires = "splits")]
    pub cluster: ClusterBy,
    /// What the values are; without it, a ratio where all are 0 or 1, latencies otherwise.
    #[arg(long, value_enum, requires = "splits")]
    pub kind: Option<SplitKind>,
    /// Compare this tail quantile (such as p99) instead of the whole distribution.
    #[arg(long, requires = "splits", value_parser = quantile)]
    pub at: Option<Quantile>,
    /// Lower values are worse.
    #[arg(long, requires = "splits")]
    pub lower_is_worse: bool,
    /// Seed of the splits.
    #[arg(long, default_value_t = 1, requires = "splits")]
    pub seed: u64,
}

/// Whether a unit is more than one observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ClusterBy {
    /// Allow for dependence within units.
    Unit,
    /// Take all values as independent.
    None,
}

/// What the values of a recording are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum SplitKind {
    /// Measured values, compared by ranks.
    Latency,
    /// 1 bad, 0 good.
    Ratio,
}

/// What came out.
#[derive(Debug, Serialize)]
pub struct SplitReport {
    /// Rows that were split.
    pub rows: usize,
    /// Units they belong to.
    pub units: usize,
    /// Kind of the metric.
    pub kind: MetricKind,
    /// Splits judged.
    pub rounds: u64,
    /// Looks at each.
    pub looks: u64,
    /// Probability of a false fail that a split may have.
    pub alpha: f64,
    /// One line a rule.
    pub rules: Vec<RuleCount>,
}

/// False verdicts of one rule.
#[derive(Debug, Serialize)]
pub struct RuleCount {
    /// Which rule.
    pub rule: &'static str,
    /// Splits with a false verdict.
    pub count: u64,
    /// Their share.
    pub share: f64,
    /// Exact one-sided p of so many or more at [`SplitReport::alpha`].
    pub p: f64,
    /// Whether `p` leaves alpha standing at the level of 1 %.
    pub holds: bool,
}

/// A healthy recording, in order of time.
struct Recording {
    readings: Vec<Reading>,
    /// Unit of each row, numbered from 0.
    unit_of: Vec<usize>,
    units: usize,
    /// Tick of each row's time, and the time on the plan's clock.
    clock: Vec<Timestamp>,
}

/// Which rules were wrong about one split.
#[derive(Debug, Clone, Copy, Default)]
struct Wrong {
    fail: bool,
    pass: bool,
    plain: bool,
    peeking: bool,
}

/// Runs the command's second form.
pub(super) fn run(
    path: &Path,
    args: &SplitArgs,
    form: OutputForm,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let (rows, problems) = csv::parse_arm(&bytes, Arm::Baseline)
        .map_err(|p| anyhow::anyhow!("{}:{}: {}", path.display(), p.line, p.message))?;
    replay::warn_of_rows(path, &problems);
    let report = judge_splits(rows, args).with_context(|| path.display().to_string())?;
    match form {
        OutputForm::Json => {
            serde_json::to_writer(&mut *out, &report)?;
            writeln!(out)?;
        }
        OutputForm::Text => write_table(&report, out)?,
    }
    // The last two rules are there to compare with.
    let holds = report.rules.iter().take(2).all(|rule| rule.holds);
    Ok(if holds { Exit::Pass } else { Exit::Fail })
}

/// Judges random splits of a recording; the rows' own arm is not read.
///
/// # Errors
/// A recording without values or times, or with too few units to be split.
pub fn judge_splits(rows: Vec<Row>, args: &SplitArgs) -> anyhow::Result<SplitReport> {
    let kind = match args.kind {
        Some(SplitKind::Latency) => MetricKind::Latency,
        Some(SplitKind::Ratio) => MetricKind::Ratio,
        None if rows.iter().all(|row| matches!(row.value, Some(0.0 | 1.0))) => MetricKind::Ratio,
        None => MetricKind::Latency,
    };
    let recording = Recording::new(rows, kind, args.looks as usize)?;
    let smaller = args.canary_share.min(1.0 - args.canary_share);
    if recording.units as f64 * smaller < UNITS_MIN as f64 {
        bail!(
            "{} units give an arm fewer than {UNITS_MIN}: record more units, or choose a \
             --canary-share nearer to .5",
            recording.units
        );
    }
    if kind == MetricKind::Ratio && args.at.is_some() {
        bail!("a ratio has no quantiles: leave --at out, or say --kind latency");
    }
    let plan = Arc::new(plan_of(kind, recording.lifetime(), args));
    let wrong = count(&recording, &plan, args);
    let law = Lattice::binomial(args.rounds, args.alpha);
    let names = [
        "davy, false fail",
        "davy, false pass",
        "Mann-Whitney at the end",
        "Mann-Whitney at every look",
    ];
    let rules = names
        .into_iter()
        .zip(wrong)
        .map(|(rule, count)| {
            // Summed tails end a rounding error beside 0 (or at minus zero) and 1.
            let p = law.upper_tail(count as i64).clamp(0.0, 1.0) + 0.0;
            RuleCount {
                rule,
                count,
                share: count as f64 / args.rounds as f64,
                p,
                holds: p >= TEST_LEVEL,
            }
        })
        .collect();
    Ok(SplitReport {
        rows: recording.readings.len(),
        units: recording.units,
        kind,
        rounds: args.rounds,
        looks: args.looks,
        alpha: args.alpha,
        rules,
    })
}

/// Wrong verdicts by rule over all rounds; a round depends on its number alone, not on who does it.
fn count(recording: &Recording, plan: &Arc<Plan>, args: &SplitArgs) -> [u64; 4] {
    let bar = progress::bar(args.rounds, "splits");
    let next = AtomicU64::new(0);
    let counts: [AtomicU64; 4] = Default::default();
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let mut scratch = Scratch::default();
                loop {
                    let round = next.fetch_add(1, Ordering::Relaxed);
                    if round >= args.rounds {
                        break;
                    }
                    let wrong = recording.one_split(plan, args, round, &mut scratch);
                    let wrong = [wrong.fail, wrong.pass, wrong.plain, wrong.peeking];
                    for (count, wrong) in counts.iter().zip(wrong) {
                        count.fetch_add(u64::from(wrong), Ordering::Relaxed);
                    }
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    counts.map(AtomicU64::into_inner)
}

/// The boundary lies at equality, where both error rates are at their largest.
fn plan_of(kind: MetricKind, lifetime: Lifetime, args: &SplitArgs) -> Plan {
    let clustered = args.cluster == ClusterBy::Unit;
    let metric = Metric::recorded(METRIC, kind, clustered.then_some(lifetime));
    let worse = if args.lower_is_worse {
        Worse::Lower
    } else {
        Worse::Higher
    };
    // A ratio at equality is a question about odds; values may be negative, and then a ratio of
    // them says nothing.
    let is_ratio = kind == MetricKind::Ratio;
    let question = Question::Compare {
        at: args.at,
        worse,
        tolerance: Tolerance {
            relative: is_ratio.then_some(0.0),
            absolute: (!is_ratio).then_some(0.0),
        },
        dispersion: Dispersion::Envelope,
    };
    let checks = vec![Check::asking(METRIC, question)];
    Plan {
        alpha: args.alpha,
        beta: args.alpha,
        ..Plan::about(metric, checks, args.looks as usize)
    }
}

// === impl Recording ===

impl Recording {
    fn new(mut rows: Vec<Row>, kind: MetricKind, looks: usize) -> anyhow::Result<Recording> {
        rows.retain(|row| row.value.is_some());
        if rows.iter().any(|row| row.secs.is_none()) {
            bail!("a row has no time: splits need a column t_rel or ts");
        }
        let secs = |row: &Row| row.secs.unwrap_or(0.0);
        rows.sort_by(|one, other| secs(one).total_cmp(&secs(other)));
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
            bail!("the recording holds no value");
        };
        let (first, length) = (secs(first), secs(last) - secs(first));
        let end = TICK * looks as i64;
        let clock = rows
            .iter()
            .map(|row| {
                let share = (secs(row) - first) / length.max(1e-9);
                // The last instant belongs to the last tick.
                Timestamp(((share * end as f64) as i64).min(end - 1))
            })
            .collect();
        let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
        let mut units = 0;
        let unit_of = rows
            .iter()
            .map(|row| {
                let fresh = units;
                // Rows without a unit are independent.
                let number = match &row.unit {
                    Some(unit) => *numbers.entry(unit.clone()).or_insert(fresh),
                    None => fresh,
                };
                units = units.max(number + 1);
                number
            })
            .collect();
        let readings = rows
            .iter()
            .filter_map(|row| row.reading(kind).transpose())
            .collect::<Result<Vec<Reading>, CsvProblem>>()?;
        Ok(Recording {
            readings,
            unit_of,
            units,
            clock,
        })
    }

    fn lifetime(&self) -> Lifetime {
        let ticks = self.clock.iter().map(|time| time.millis() / TICK);
        Lifetime::seen(self.unit_of.iter().copied().zip(ticks))
    }

    fn one_split(
        &self,
        plan: &Arc<Plan>,
        args: &SplitArgs,
        round: u64,
        scratch: &mut Scratch,
    ) -> Wrong {
        let label = format!("split/{}/{round}", args.seed);
        let mut stream = Stream::new(&sampler::seed_from(&label, "units"), 0);
        let arms: Vec<Arm> = (0..self.units)
            .map(|_| {
                if stream.uniform() < args.canary_share {
                    Arm::Canary
                } else {
                    Arm::Baseline
                }
            })
            .collect();
        let mut window = Window::new(plan, Timestamp(0), csv::ROWS_MAX);
        let mut judge = Judge::seeded(plan.clone(), Detail::Outcome, &label);
        let mut seen: [Sorted; 2] = Default::default();
        let (mut wrong, mut at) = (Wrong::default(), 0);
        for look in 0..plan.looks() {
            let end = window.end_of(look);
            let mut fresh: [(Vec<f64>, Vec<u64>); 2] = Default::default();
            while let Some(reading) = self.readings.get(at).filter(|_| self.clock[at] < end) {
                let arm = arms[self.unit_of[at]];
                // Time, kind and size were checked: every row has a place.
                let unit = self.unit_of[at] as u64;
                let _ = window.insert(0, arm, self.clock[at], reading, unit, 0);
                add_plain(&mut fresh[arm.index()], reading);
                at += 1;
            }
            for (seen, (values, weights)) in seen.iter_mut().zip(fresh) {
                *seen = seen.merge(&Sorted::new(values, Some(weights)).unwrap_or_default());
            }
            let tick = window.close();
            match judge.close_and_look(&tick, scratch).outcome {
                Outcome::Fail => wrong.fail = true,
                Outcome::Pass => wrong.pass = true,
                Outcome::Inconclusive => {}
            }
            wrong.plain = plain_fails(&seen, args);
            wrong.peeking |= wrong.plain;
        }
        wrong
    }
}

/// A reading as values with weights: of a ratio, 1 for each bad and 0 for each good.
fn add_plain((values, weights): &mut (Vec<f64>, Vec<u64>), reading: &Reading) {
    match reading {
        Reading::Values {
            values: more,
            weights: theirs,
        } => {
            values.extend(more);
            weights.extend((0..more.len()).map(|i| theirs.get(i).copied().unwrap_or(1)));
        }
        Reading::Ratio { bad, total } => {
            values.extend([0.0, 1.0]);
            weights.extend([total - bad, *bad]);
        }
        Reading::Buckets {
            lows,
            highs,
            counts,
        } => {
            let buckets = lows.iter().zip(highs);
            values.extend(buckets.map(|(&low, &high)| middle([low, high])));
            weights.extend(counts);
        }
        Reading::UpTo { bounds, counts, .. } => {
            let up_to = bounds.iter().copied().zip(counts.iter().copied());
            for (bucket, count) in apart(up_to) {
                values.push(middle(bucket));
                weights.push(count);
            }
        }
        Reading::Rate { .. } => {}
    }
}

/// What most would do: one-sided Mann-Whitney of all values seen so far, each its own unit.
fn plain_fails([baseline, canary]: &[Sorted; 2], args: &SplitArgs) -> bool {
    let test = mann_whitney::mann_whitney(canary, baseline, |value| value, Choice::Auto);
    test.is_some_and(|test| {
        let p = if args.lower_is_worse {
            test.p_less
        } else {
            test.p_greater
        };
        p <= args.alpha
    })
}

fn write_table(report: &SplitReport, out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(
        out,
        "{} rows of {} units, split at random {} times; {} looks; nothing differs between the \
         arms, so every verdict but inconclusive is wrong, and may come {} of {} times",
        report.rows,
        report.units,
        report.rounds,
        report.looks,
        (report.alpha * report.rounds as f64).round(),
        report.rounds
    )?;
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["rule", "wrong", "share", "p", ""]);
    for rule in &report.rules {
        table.add_row([
            rule.rule.to_owned(),
            rule.count.to_string(),
            format!("{:.1} %", 100.0 * rule.share),
            format!("{:.3}", rule.p),
            if rule.holds { "holds" } else { "TOO MANY" }.to_owned(),
        ]);
    }
    writeln!(out, "{table}")?;
    Ok(())
}

fn level(text: &str) -> Result<f64, String> {
    between(text, 0.5)
}

fn share(text: &str) -> Result<f64, String> {
    between(text, 1.0)
}

fn between(text: &str, most: f64) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number < most => Ok(number),
        _ => Err(format!("{text:?} is not a number between 0 and {most}")),
    }
}

fn quantile(text: &str) -> Result<Quantile, String> {
    let per_cent = text
        .strip_prefix('p')
        .and_then(|number| number.parse::<f64>().ok());
    per_cent
        .map(|per_cent| (per_cent * 10.0).round())
        .filter(|per_mille| *per_mille > 0.0 && *per_mille < 1_000.0)
        .and_then(|per_mille| Quantile::from_per_mille(per_mille as u16))
        .ok_or_else(|| format!("{text:?} is not a quantile such as p99 or p99.9"))
}
