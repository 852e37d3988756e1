//! A past interval, fetched from a source and judged.
//!
//! Owns the drive of the machine over what a source still knows: the queries, the instants and what
//! is taken of the answers are those of a daemon that had pulled at the time, so the recording that
//! is written is one, too.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;

use super::{ReplayArgs, Shown, each_look, replayed_change};
use crate::app::pulling::puller;
use crate::cli::exit::Exit;
use crate::cli::progress;
use crate::clock::{Clock, SystemClock};
use crate::config::sources::{BasicAuthentication, PrometheusSource};
use crate::engine::pull::{Pull, PullMetric, PullOutcome, PullProgress, PulledMetric, PulledPart};
use crate::engine::{self, Effect, Event, Input, Limits, Start, State};
use crate::model::Timestamp;
use crate::plan::Plan;
use crate::pull::Puller;
use crate::pull::answer::Answer;
use crate::pull::prometheus::Blame;
use crate::pull::scheduler::{Hand, Handed, Ticks};
use crate::telemetry::Metrics;

/// Ticks that one query asks for: progress is seen, and an answer stays far below its limit.
const TICKS_PER_QUERY_MAX: usize = 500;
/// Attempts to have one query answered.
const ATTEMPTS_MAX: u32 = 4;
/// Numbers from here on are milliseconds: in seconds they would lie beyond the year 5000.
const UNIX_MILLIS_MIN: f64 = 1e11;
/// Id of the analysis.
const ID: &str = "replay";

/// Options about a past interval.
#[derive(Debug, Args)]
pub struct IntervalArgs {
    /// Address of a source that speaks Prometheus' HTTP API, to judge a past interval of.
    #[arg(long, value_name = "URL", requires_all = ["plan", "from", "to", "arms"])]
    pub prometheus: Option<String>,
    /// Begin of the interval: RFC 3339, or unix seconds.
    #[arg(long, value_name = "TIME", requires = "prometheus", value_parser = instant)]
    pub from: Option<Timestamp>,
    /// End of the interval: RFC 3339, or unix seconds.
    #[arg(long, value_name = "TIME", requires = "prometheus", value_parser = instant)]
    pub to: Option<Timestamp>,
    /// Variables of the plan's arms: baseline=v1,canary=v2; may be repeated.
    #[arg(
        long,
        value_name = "NAME=VALUE",
        requires = "prometheus",
        value_delimiter = ','
    )]
    pub arms: Vec<String>,
    /// Write what was fetched as a recording, for davy replay, backtest and calibrate.
    #[arg(long, value_name = "FILE", requires = "prometheus")]
    pub record: Option<PathBuf>,
    /// File with a bearer token for the source.
    #[arg(
        long,
        value_name = "FILE",
        requires = "prometheus",
        conflicts_with = "basic_username"
    )]
    pub bearer_token_file: Option<PathBuf>,
    /// Name to give to the source.
    #[arg(long, value_name = "NAME", requires = "basic_password_file")]
    pub basic_username: Option<String>,
    /// File with the password of that name.
    #[arg(long, value_name = "FILE", requires = "basic_username")]
    pub basic_password_file: Option<PathBuf>,
    /// File with certificates (PEM) to trust besides the system's.
    #[arg(long, value_name = "FILE", requires = "prometheus")]
    pub ca_file: Option<PathBuf>,
    /// Header for the source, such as X-Scope-OrgID=payments; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", requires = "prometheus")]
    pub header: Vec<String>,
}

/// Fetches the interval and judges it under the plan.
pub(super) fn run(
    args: &ReplayArgs,
    plan: Option<Arc<Plan>>,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let interval = &args.interval;
    let (Some(url), Some(plan)) = (&interval.prometheus, plan) else {
        bail!("a recording, or --prometheus with --plan, --from, --to and --arms, is to be given");
    };
    let (Some(from), Some(to)) = (interval.from, interval.to) else {
        bail!("--prometheus needs --from and --to");
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    if to > clock.now() {
        bail!("--to lies in the future; give a time that is over");
    }
    let ticks = usize::try_from(to.since(from) / plan.tick).unwrap_or(0);
    if ticks == 0 {
        bail!("--from to --to is shorter than a tick of the plan");
    }
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION"))?);
    let nobody: Hand = Arc::new(|_| Box::pin(async { Handed::Stopped }));
    let puller = puller(&source(interval, url)?, nobody, &clock, &metrics)?;
    let mut record = match &interval.record {
        Some(path) => {
            let file = std::fs::File::create(path);
            let file = file.with_context(|| format!("cannot write {}", path.display()))?;
            Some(std::io::BufWriter::new(file))
        }
        None => None,
    };
    let mut shown = Shown::new(args, None, out);
    let mut drive = Drive {
        state: State::new(Limits {
            abandoned_after: i64::MAX,
            pulls: true,
            ..Limits::default()
        }),
        errors: BTreeMap::new(),
        on_effects: |effects: &[Effect]| {
            for effect in effects {
                if let (Effect::Record { line, .. }, Some(file)) = (effect, &mut record) {
                    writeln!(file, "{line}").context("cannot write the recording")?;
                }
            }
            each_look(effects, &mut |event: &Event| shown.show(event));
            Ok(())
        },
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let arms = pairs(&interval.arms, "--arms")?;
    let is_over = runtime.block_on(drive.run(&puller, &plan, arms, from, ticks))?;
    for (metric, (error, count)) in &drive.errors {
        eprintln!("davy: warning: {metric}: {count} ticks left out: {error}");
    }
    if let Some(file) = &mut record {
        file.flush().context("cannot write the recording")?;
    }
    let ending = (!is_over).then(|| {
        "the interval ends here, before the plan came to a final verdict; give a later --to"
            .to_owned()
    });
    shown.finish(ending, url)
}

/// The machine over an interval.
struct Drive<F> {
    state: State,
    /// What could not be taken, by metric: the last reason, and how many ticks.
    errors: BTreeMap<String, (String, u64)>,
    on_effects: F,
}

// === impl Drive ===

impl<F: FnMut(&[Effect]) -> anyhow::Result<()>> Drive<F> {
    /// Whether the verdict is final at the end of the interval.
    async fn run(
        &mut self,
        puller: &Puller,
        plan: &Arc<Plan>,
        arms: BTreeMap<String, String>,
        from: Timestamp,
        count: usize,
    ) -> anyhow::Result<bool> {
        let ticks = Ticks {
            origin: from,
            tick: plan.tick,
        };
        let start = Input::Start(Box::new(Start {
            id: ID.to_owned(),
            plan: plan.clone(),
            arms,
            change: replayed_change(),
            idempotency_key: None,
            request_digest: String::new(),
            by: None,
        }));
        let pull = self.begin(start, from)?;
        let bar = progress::bar(count as u64, "ticks fetched");
        let mut first = 0;
        while first < count {
            let end = count.min(first + TICKS_PER_QUERY_MAX.min(puller.points_max - 1));
            let fetched = fetch(puller, &pull, ticks, first, end).await?;
            bar.inc((end - first) as u64);
            for index in first..end {
                if self.take(&pull, &fetched, ticks, index)?.open.is_none() {
                    bar.finish_and_clear();
                    return Ok(true);
                }
            }
            first = end;
        }
        bar.finish_and_clear();
        // The last ticks are looked at too; nothing is known of those after them.
        let idle = plan.tick.max(1_000);
        let closed = ticks
            .instant(count as i64)
            .plus(plan.lateness + idle - plan.tick + 1);
        self.apply(Input::Tick, closed)?;
        let analysis = self.state.analysis(ID);
        Ok(analysis.is_none_or(engine::Analysis::is_final))
    }

    fn begin(&mut self, start: Input, now: Timestamp) -> anyhow::Result<Pull> {
        let effects = engine::apply(&mut self.state, start, now);
        (self.on_effects)(&effects)?;
        for effect in effects {
            match effect {
                Effect::Pull(pull) => return Ok(*pull),
                Effect::Refused(refusal) => {
                    let help = refusal.help.map_or_else(String::new, |h| format!("; {h}"));
                    let message = refusal.message;
                    bail!("the plan cannot be started: {message}{help} (here: --arms)");
                }
                _ => {}
            }
        }
        bail!("the plan pulls no metric: write prometheus: with a query into its metrics")
    }

    /// Lets a tick pass and hands over what was fetched of it.
    fn take(
        &mut self,
        pull: &Pull,
        fetched: &[Vec<Answer>],
        ticks: Ticks,
        index: usize,
    ) -> anyhow::Result<PullProgress> {
        let at = ticks.instant(index as i64);
        // Totals count from the instant before the start; later ones are known from the tick before.
        let from = match index {
            0 => ticks.instant(-1),
            _ => at,
        };
        let now = at.plus(1);
        let mut progress = self.apply(Input::Tick, now)?;
        for (metric, answers) in pull.metrics.iter().zip(fetched) {
            let from = if metric.are_totals { from } else { at };
            let pulled = PulledMetric {
                analysis: pull.analysis.clone(),
                metric: metric.metric,
                outcome: PullOutcome::Answered {
                    answers: parts(metric, answers, from, at)?,
                    warning: None,
                },
            };
            progress = self.apply(Input::Pulled(Box::new(pulled)), now)?;
        }
        Ok(progress)
    }

    fn apply(&mut self, input: Input, now: Timestamp) -> anyhow::Result<PullProgress> {
        let pulled = match &input {
            Input::Pulled(pulled) => {
                let plan = self.state.analysis(ID).map(engine::Analysis::plan);
                plan.map(|plan| plan.metrics[pulled.metric].name.clone())
            }
            _ => None,
        };
        let effects = engine::apply(&mut self.state, input, now);
        (self.on_effects)(&effects)?;
        let mut progress = PullProgress::default();
        let mut shown = None;
        for effect in &effects {
            match effect {
                Effect::Pulled(told) => progress = *told,
                Effect::Changed(view) => shown = Some(view),
                _ => {}
            }
        }
        let healths = shown.iter().flat_map(|view| &view.pulled);
        for health in healths.filter(|health| Some(&health.metric) == pulled.as_ref()) {
            if let Some(error) = &health.last_error {
                let entry = self.errors.entry(health.metric.clone()).or_default();
                *entry = (error.clone(), entry.1 + 1);
            }
        }
        Ok(progress)
    }
}

// === functions ===

/// The answers to all queries about some ticks, by metric.
async fn fetch(
    puller: &Puller,
    pull: &Pull,
    ticks: Ticks,
    first: usize,
    end: usize,
) -> anyhow::Result<Vec<Vec<Answer>>> {
    let mut fetched = Vec::new();
    for metric in &pull.metrics {
        let is_first = first == 0 && metric.are_totals;
        let range = ticks.range(first, end, is_first, usize::MAX);
        let range = range.context("there is nothing to ask for")?;
        let mut answers = Vec::new();
        for query in &metric.queries {
            let mut attempt = 1;
            let answer = loop {
                let begun = puller.clock.now();
                let error = match puller.query(query, &range).await {
                    Ok(answer) => break answer,
                    Err(error) => error,
                };
                let Blame::Source { retry_after, .. } = error.blame else {
                    bail!("{}: {}: {error}", metric.name, query.text);
                };
                if attempt >= ATTEMPTS_MAX {
                    bail!("{}: {error}, {attempt} times", metric.name);
                }
                attempt += 1;
                let now = puller.clock.now();
                puller
                    .pace
                    .failed(begun, now, retry_after, (puller.chance)());
                let wait = puller.pace.not_before().since(now);
                tokio::time::sleep(Duration::from_millis(u64::try_from(wait).unwrap_or(0))).await;
            };
            puller.pace.succeeded();
            answers.push(answer);
        }
        fetched.push(answers);
    }
    Ok(fetched)
}

fn parts(
    metric: &PullMetric,
    answers: &[Answer],
    from: Timestamp,
    to: Timestamp,
) -> anyhow::Result<Vec<PulledPart>> {
    let mut parts = Vec::with_capacity(answers.len());
    for (query, answer) in metric.queries.iter().zip(answers) {
        parts.push(PulledPart {
            arm: query.arm,
            part: query.part,
            batch: answer.batch(&metric.name, from, to)?,
        });
    }
    Ok(parts)
}

fn source(interval: &IntervalArgs, url: &str) -> anyhow::Result<PrometheusSource> {
    let mut source = PrometheusSource::at(url);
    source.bearer_token_file = interval.bearer_token_file.clone();
    if let (Some(username), Some(file)) = (&interval.basic_username, &interval.basic_password_file)
    {
        source.basic = Some(BasicAuthentication {
            username: username.clone(),
            password_file: file.clone(),
        });
    }
    source.tls.ca_file = interval.ca_file.clone();
    source.headers = pairs(&interval.header, "--header")?;
    Ok(source)
}

fn pairs(written: &[String], option: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for text in written {
        let Some((name, value)) = text.split_once('=') else {
            bail!("{option}: `{text}` is not NAME=VALUE");
        };
        if found
            .insert(name.trim().to_owned(), value.to_owned())
            .is_some()
        {
            bail!("{option}: `{name}` is given twice");
        }
    }
    Ok(found)
}

/// RFC 3339, unix seconds, or unix milliseconds.
fn instant(text: &str) -> Result<Timestamp, String> {
    if let Ok(number) = text.parse::<f64>() {
        let millis = match number.abs() < UNIX_MILLIS_MIN {
            true => number * 1000.0,
            false => number,
        };
        return match millis.is_finite() && millis.abs() < 1e15 {
            true => Ok(Timestamp(millis.round() as i64)),
            false => Err("this is no time".to_owned()),
        };
    }
    let at: Result<jiff::Timestamp, _> = text.parse();
    at.map(|at| Timestamp(at.as_millisecond()))
        .map_err(|_| "write 2026-05-01T12:00:00Z, or unix seconds".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_or_unix() {
        let at = Ok(Timestamp(1_700_000_000_500));
        for text in [
            "1700000000.5",
            "1700000000500",
            "2023-11-14T22:13:20.5Z",
            "2023-11-14T23:13:20.5+01:00",
        ] {
            assert_eq!(instant(text), at, "{text}");
        }
        for text in ["yesterday", "NaN", "1e300", ""] {
            assert!(instant(text).is_err(), "{text}");
        }
    }
}
