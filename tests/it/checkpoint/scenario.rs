//! Random inputs of all kinds for an engine, from a seed.
//!
//! Owns what is sent and when. It must not know what becomes of it: much is refused, and that has to
//! be the same for every engine too.

mod meddling;

use std::collections::BTreeMap;
use std::sync::Arc;

use davy::engine::pull::{PullOutcome, PulledMetric, PulledPart};
use davy::engine::{Input, Limits, Start};
use davy::model::series::{Histogram, HistogramCell, Point, PointValue, SeriesBatch, SeriesKind};
use davy::model::{Address, Arm, Labels, Reading, Sample, Timestamp};
use davy::plan::{Plan, Source};
use davy::stats::sampler::{Stream, seed_from};

use crate::machine::{START, plan, start};

/// Metrics, each with checks.
const BLOCKS: [(&str, &[&str]); 14] = [
    (
        "took: {kind: latency}",
        &[
            "compare: took, tolerance: 20%",
            "compare: took, worse: either, tolerance: 30%, gating: false",
            "threshold: took, at: p99, limit: '< 800', breach: {periods: 2, of: 4}",
        ],
    ),
    (
        "tail: {kind: latency}",
        &[
            "compare: tail, at: p90, tolerance: 25%",
            "threshold: tail, at: p90, limit: '< 300'",
        ],
    ),
    (
        "shop: {kind: latency, cluster: {by: pod, lifetime: run}}",
        &["compare: shop, tolerance: 30%"],
    ),
    (
        "trace: {kind: latency, cluster: {by: trace, lifetime: tick, units_per_tick_max: 8}}",
        &["compare: trace, tolerance: 20%"],
    ),
    (
        "errors: {kind: ratio}",
        &[
            "compare: errors, tolerance: {relative: 20%, absolute: 1pp}",
            "threshold: errors, limit: '< 5%'",
            "threshold: errors, burn_rate: {slo: 99%, long: 5s, short: 2s, factor: 4}",
        ],
    ),
    (
        "clicks: {kind: ratio, cluster: {by: pod, lifetime: run}}",
        &["compare: clicks, tolerance: 2pp"],
    ),
    ("jobs: {kind: rate}", &["compare: jobs, tolerance: 20%"]),
    (
        "depth: {kind: gauge}",
        &[
            "compare: depth, tolerance: 20%",
            "compare: depth, tolerance: 20%, dispersion: iid, gating: false",
            "threshold: depth, limit: '< 150'",
        ],
    ),
    (
        "counted: {kind: ratio, from: counter, bad: 'requests_total{code=~\"5..\"}', total: requests_total}",
        &["compare: counted, tolerance: {relative: 20%, absolute: 1pp}"],
    ),
    (
        "slow: {kind: ratio, above: {histogram: slow_seconds, bound: 0.25}}",
        &["threshold: slow, limit: '< 20%'"],
    ),
    (
        "spread: {kind: latency, from: histogram, select: spread_seconds}",
        &[
            "threshold: spread, at: p90, limit: '< 1'",
            "compare: spread, tolerance: 30%",
        ],
    ),
    (
        "asked: {kind: ratio, prometheus: {bad: 'failed{ {{arm}} }', total: 'all{ {{arm}} }'}}",
        &["compare: asked, tolerance: {relative: 20%, absolute: 1pp}"],
    ),
    (
        "level: {kind: gauge, prometheus: 'level{ {{arm}}, zone=\"{{canary}}\" }'}",
        &["compare: level, tolerance: 20%"],
    ),
    (
        "lags: {kind: latency, from: histogram, prometheus: 'lags_bucket{ {{arm}} }'}",
        &["threshold: lags, at: p90, limit: '< 1'"],
    ),
];
/// Seconds of a scenario.
const SECONDS: i64 = 34;
const PODS: u32 = 3;
const BOUNDS: [(&str, f64, f64); 4] = [
    ("0.1", 0.1, 0.5),
    ("0.25", 0.25, 0.9),
    ("1", 1.0, 0.99),
    ("+Inf", f64::INFINITY, 1.0),
];

/// What happens to an engine, in order.
pub struct Scenario {
    pub limits: Limits,
    pub inputs: Vec<(Timestamp, Input)>,
}

/// What a scenario is made with.
struct Making {
    stream: Stream,
    inputs: Vec<(Timestamp, Input)>,
    now: i64,
    /// How much worse the canary is.
    factor: f64,
    started: Vec<(String, Arc<Plan>, i64)>,
    totals: BTreeMap<String, f64>,
}

/// The scenario of a seed.
pub fn scenario(seed: u64) -> Scenario {
    let stream = Stream::new(&seed_from("checkpoint", &seed.to_string()), 0);
    let mut making = Making {
        stream,
        inputs: Vec::new(),
        now: 0,
        factor: 1.0,
        started: Vec::new(),
        totals: BTreeMap::new(),
    };
    making.factor = [1.0, 1.0, 1.1, 1.6][making.below(4) as usize];
    let limits = Limits {
        analyses_max: 3 + making.below(3) as usize,
        retained_analyses_max: 1 + making.below(4) as usize,
        tick_values_max: [20, 60, 65_536][making.below(3) as usize],
        dedupe_ids_max: [5, 100_000][making.below(2) as usize],
        series_max: [25, 100_000, 100_000][making.below(3) as usize],
        pulls: true,
        steps_max: 1,
        abandoned_after: [6_000, 60_000][making.below(2) as usize],
        ..Limits::default()
    };
    let quiet_from = 20 + i64::from(making.below(30));
    let turns_bad_at = 14 + i64::from(making.below(40));
    for second in 0..SECONDS {
        if second == turns_bad_at {
            making.factor *= 2.0;
        }
        making.second(second, second >= quiet_from);
    }
    Scenario {
        limits,
        inputs: making.inputs,
    }
}

// === impl Making ===

impl Making {
    fn below(&mut self, end: u32) -> u32 {
        self.stream.next_u32() % end
    }

    fn one_in(&mut self, many: u32) -> bool {
        self.below(many) == 0
    }

    fn push(&mut self, input: Input) {
        self.inputs.push((START.plus(self.now), input));
    }

    fn second(&mut self, second: i64, is_quiet: bool) {
        if second == 0 || self.one_in(5) {
            self.begin();
        }
        for part in 0..5 {
            self.now = second * 1_000 + part * 190 + i64::from(self.below(150));
            if is_quiet {
                continue;
            }
            match part {
                0 => self.counters(),
                1 | 2 => self.samples(),
                3 => self.pulled(),
                _ => self.meddle(),
            }
        }
        self.now = second * 1_000 + 990;
        if !self.one_in(4) {
            self.push(Input::Tick);
        }
    }

    fn begin(&mut self) {
        let number = self.started.len();
        let plan = match self.one_in(4).then(|| self.started.last()).flatten() {
            Some((_, same, _)) => same.clone(),
            None => self.plan(),
        };
        let id = format!("a{number}");
        let mut start: Start = start(&id, &plan);
        let canary = if self.one_in(3) { "newer" } else { "new" };
        start.arms = BTreeMap::from([("canary".to_owned(), canary.to_owned())]);
        start.request_digest = format!("{}", self.below(2));
        if self.one_in(2) {
            start.idempotency_key = Some(format!("key-{}", self.below(6)));
        }
        if self.one_in(3) {
            start.change.service = Some("shop".to_owned());
            start.change.revision = Some(format!("r{}", self.below(9)));
            start.change.links = BTreeMap::from([("ci".to_owned(), "x".to_owned())]);
        }
        self.push(Input::Start(Box::new(start)));
        self.started.push((id, plan, self.now));
    }

    /// A plan that Kayenta's judge is asked of.
    fn scored(&mut self) -> Arc<Plan> {
        let interval = [2, 3, 15][self.below(3) as usize];
        plan(&format!(
            "horizon: 15s\ntick: 1s\nlateness: 1s\njudge: {{kayenta: {{interval: {interval}s, lookback: 6s}}}}\narms: \
             {{baseline: 'v=\"old\"', canary: 'v=\"{{{{canary}}}}\"'}}\nmetrics: {{tail: {{kind: latency}}, \
             errors: {{kind: ratio}}, depth: {{kind: gauge}}}}\nchecks:\n  - {{compare: tail, at: p90}}\n  - {{compare: \
             errors, worse: higher, kayenta: {{critical: true}}}}\n  - {{compare: depth, gating: false}}\n"
        ))
    }

    fn plan(&mut self) -> Arc<Plan> {
        if self.one_in(6) {
            return self.scored();
        }
        let (mut metrics, mut checks) = (String::new(), String::new());
        let mut is_watched = false;
        let first = self.below(BLOCKS.len() as u32) as usize;
        for step in 0..1 + self.below(3) as usize {
            // Coprime to their number, so none comes twice.
            let (metric, all) = BLOCKS[(first + 3 * step) % BLOCKS.len()];
            metrics.push_str(&format!("  {metric}\n"));
            is_watched |= !metric.contains("gauge");
            for (number, check) in all.iter().enumerate() {
                checks.push_str(&format!(
                    "  - {{name: c{step}-{number}, {check}, min_samples: 5}}\n"
                ));
            }
        }
        let horizon = [8, 15, 30][self.below(3) as usize];
        let more = match self.below(4) {
            0 if is_watched => "watch: {for: 8s, false_alarms_every: 1h}\n",
            1 => "extend: 10s\n",
            2 => "stop_on_pass: false\n",
            _ => "",
        };
        plan(&format!(
            "horizon: {horizon}s\ntick: 1s\nlateness: 1s\nmin_duration: 3s\n{more}arms: \
             {{baseline: 'v=\"old\"', canary: 'v=\"{{{{canary}}}}\"'}}\nmetrics:\n{metrics}checks:\n{checks}"
        ))
    }

    fn ts(&mut self) -> Timestamp {
        let late = if self.one_in(12) { 2_500 } else { 0 };
        START.plus(self.now - late - i64::from(self.below(80)))
    }

    fn samples(&mut self) {
        let is_addressed = self.one_in(3);
        let mut batch = Vec::new();
        for name in [
            "took", "tail", "shop", "trace", "errors", "clicks", "jobs", "depth",
        ] {
            for version in ["old", "new", "newer"] {
                if self.one_in(5) {
                    continue;
                }
                for pod in 0..PODS {
                    let sample = self.sample(name, version, pod, is_addressed);
                    batch.push(sample);
                }
            }
        }
        if self.one_in(6) {
            let mut total = self.sample("requests_total", "new", 0, false);
            let counted = self.total("new 0 200", 40.0);
            total.reading = Reading::value(counted);
            total.labels.insert("code", "200");
            batch.push(total);
        }
        self.push(Input::Samples(batch));
    }

    fn sample(&mut self, name: &str, version: &str, pod: u32, is_addressed: bool) -> Sample {
        let is_old = version == "old";
        let factor = if is_old { 1.0 } else { self.factor };
        let reading = self.reading(name, factor);
        let mut labels: Labels = [("v", version)].into_iter().collect();
        let address = is_addressed.then(|| Address {
            analysis: format!("a{}", self.below(6)),
            arm: if is_old { Arm::Baseline } else { Arm::Canary },
        });
        let mut unit = None;
        match name {
            "shop" | "clicks" if address.is_some() => unit = Some(format!("p{pod}")),
            "shop" | "clicks" => labels.insert("pod", &format!("p{pod}")),
            "trace" => labels.insert("trace", &format!("t{}", self.below(30))),
            _ => {}
        }
        Sample {
            ts: self.ts(),
            metric: name.to_owned(),
            labels,
            reading,
            unit,
            id: self.one_in(3).then(|| format!("id{}", self.below(400))),
            address,
            missing: u32::from(self.one_in(25)),
        }
    }

    fn reading(&mut self, name: &str, factor: f64) -> Reading {
        match name {
            "errors" | "clicks" => Reading::Ratio {
                bad: u64::from(self.below((5.0 * factor * factor) as u32 + 1)),
                total: 100,
            },
            "jobs" => Reading::Rate {
                events: u64::from(self.below((9.0 * factor) as u32 + 2)),
                exposure: 0.5,
            },
            "depth" => Reading::value(100.0 * factor + self.stream.normal()),
            "took" if self.one_in(4) => Reading::Buckets {
                lows: vec![0.0, 64.0, 128.0],
                highs: vec![64.0, 128.0, 256.0],
                counts: vec![2, 9, u64::from(self.below(5))],
            },
            _ => {
                let values = (0..8).map(|_| 100.0 * factor * libm::exp(0.4 * self.stream.normal()));
                let values: Vec<f64> = values.collect();
                let weights = match self.below(6) {
                    0 => vec![3; values.len()],
                    _ => Vec::new(),
                };
                Reading::Values { values, weights }
            }
        }
    }

    /// What a counter says next; now and then it began anew.
    fn total(&mut self, of: &str, amount: f64) -> f64 {
        let begins_anew = self.one_in(20);
        let more = (amount * (0.5 + f64::from(self.below(100)) / 100.0)).round();
        let total = self.totals.entry(of.to_owned()).or_default();
        *total = if begins_anew { more } else { *total + more };
        *total
    }

    fn counters(&mut self) {
        let mut batch = SeriesBatch::default();
        let factor = self.factor;
        for version in ["old", "new", "newer", "other"] {
            let worse = if version == "old" { 1.0 } else { factor };
            for pod in 0..PODS {
                let pod = format!("p{pod}");
                for (code, amount) in [("200", 40.0), ("500", 2.0 * worse)] {
                    let total = self.total(&format!("{version} {pod} {code}"), amount);
                    let labels = [("v", version), ("pod", &pod), ("code", code)];
                    self.point(&mut batch, "requests_total", &labels, total);
                }
                let all = self.total(&format!("{version} {pod}"), 60.0);
                for name in ["slow_seconds_bucket", "spread_seconds_bucket"] {
                    for (le, _, share) in BOUNDS {
                        let labels = [("v", version), ("pod", &pod), ("le", le)];
                        self.point(&mut batch, name, &labels, (all * share).floor());
                    }
                }
            }
            self.histogram(&mut batch, version);
        }
        let odd = format!("x{}", self.below(5));
        self.point(&mut batch, &odd, &[("v", "old")], 1.0);
        self.push(Input::Series(Box::new(batch)));
    }

    fn point(&mut self, batch: &mut SeriesBatch, name: &str, labels: &[(&str, &str)], value: f64) {
        let labels = std::iter::once(("__name__", name)).chain(labels.iter().copied());
        let begun = batch.begin(labels, SeriesKind::Unknown);
        begun.expect("good labels");
        let start = self.one_in(9).then(|| START.plus(self.now - 5_000));
        let ts = self.ts();
        let value = PointValue::Number(value);
        batch.point(Point { ts, start, value });
    }

    fn histogram(&mut self, batch: &mut SeriesBatch, version: &str) {
        let labels = [("__name__", "slow_seconds"), ("v", version)];
        let begun = batch.begin(labels.into_iter(), SeriesKind::Histogram);
        begun.expect("good labels");
        let cells = [(0.125, 0.25, 30.0), (0.25, 0.5, 3.0), (0.5, 1.0, 1.0)];
        let cells = cells.map(|(low, high, amount)| HistogramCell {
            low,
            high,
            count: self.total(&format!("{version} {low}"), amount),
        });
        let value = batch.add_histogram(Histogram {
            is_increment: false,
            cells: cells.to_vec(),
            sum: None,
        });
        let ts = self.ts();
        batch.point(Point {
            ts,
            start: None,
            value,
        });
    }

    /// Answers about everything that is pulled, as a source gives them.
    fn pulled(&mut self) {
        for (id, plan, began) in self.started.clone() {
            let not_asked = PulledMetric {
                analysis: id.clone(),
                metric: 0,
                outcome: PullOutcome::NotAsked,
            };
            self.push(Input::Pulled(Box::new(not_asked)));
            for (metric, of) in plan.metrics.iter().enumerate() {
                let Source::Pulled(source) = &of.source else {
                    continue;
                };
                let parts = source.parts().into_iter().map(|(part, _)| part);
                let parts: Vec<_> = parts.collect();
                let outcome = match self.below(8) {
                    0 => PullOutcome::Failed("connection refused".to_owned()),
                    _ => PullOutcome::Answered {
                        answers: self.answers(&parts, began),
                        warning: self.one_in(9).then(|| "many series".to_owned()),
                    },
                };
                self.push(Input::Pulled(Box::new(PulledMetric {
                    analysis: id.clone(),
                    metric,
                    outcome,
                })));
            }
        }
    }

    fn answers(&mut self, parts: &[davy::plan::query::Part], began: i64) -> Vec<PulledPart> {
        use davy::plan::query::Part;
        let ready = (self.now - began) / 1_000;
        let mut answers = Vec::new();
        for (arm, part) in Arm::BOTH
            .into_iter()
            .flat_map(|arm| parts.iter().map(move |p| (arm, *p)))
        {
            let mut batch = SeriesBatch::default();
            let bounds: &[(&str, f64, f64)] = match part {
                Part::Buckets => &BOUNDS,
                _ => &BOUNDS[..1],
            };
            for (le, _, share) in bounds {
                let labels = [("__name__", "m"), ("le", le), ("pod", "p")];
                let begun = batch.begin(labels.into_iter(), SeriesKind::Unknown);
                begun.expect("good labels");
                // Several ticks again, as long as they are open; the same is answered every time.
                for tick in (ready - 4).max(-1)..ready {
                    let so_far = (tick + 2) as f64;
                    let value = match part {
                        Part::Points => 100.0 + libm::fmod(7.3 * so_far, 5.0),
                        Part::Bad => 3.0 * so_far,
                        Part::Total => 200.0 * so_far,
                        Part::Buckets => (100.0 * so_far * share).floor(),
                    };
                    batch.point(Point {
                        ts: START.plus(began + (tick + 1) * 1_000 - 1),
                        start: None,
                        value: PointValue::Number(value),
                    });
                }
            }
            answers.push(PulledPart { arm, part, batch });
        }
        answers
    }
}
