//! Series as exporters send them, through the engine: totals, resets, pods that come and go,
//! buckets, histograms, and what is said of those that cannot be taken.

use davy::engine::{Effect, Ingested, Input, Limits, recording};
use davy::judge::verdict::VerdictBody;
use davy::model::series::{Histogram, HistogramCell, Point, PointValue, SeriesBatch, SeriesKind};
use davy::model::{Arm, Labels, Outcome, Sample};

use crate::machine::{Machine, at, plan, sample, start, values};

pub const SHAPE: &str = "horizon: 1m\ntick: 1s\nlateness: 0s\nmin_duration: 5s\n\
    arms: {baseline: 'version=\"old\"', canary: 'version=\"new\"'}\n";
const CHECK: &str = "checks: [{compare: errors, tolerance: {relative: 20%, absolute: 1pp}}]\n";

fn counted(from: &str) -> String {
    format!(
        "{SHAPE}metrics:\n  errors: {{kind: ratio, from: {from}, bad: 'requests_total{{code=~\"5..\"}}', total: 'requests_total'}}\n{CHECK}"
    )
}

fn above(bound: f64) -> String {
    format!(
        "{SHAPE}metrics:\n  errors: {{kind: ratio, above: {{histogram: 'duration_seconds', bound: {bound}}}}}\n{CHECK}"
    )
}

/// A request of series, built as a codec would.
#[derive(Default)]
pub struct Request(SeriesBatch);

impl Request {
    pub fn series(mut self, name: &str, labels: &[(&str, &str)]) -> Request {
        let labels = std::iter::once(("__name__", name)).chain(labels.iter().copied());
        let begun = self.0.begin(labels, SeriesKind::Unknown);
        begun.expect("good labels");
        self
    }

    pub fn at(self, secs: f64, value: f64) -> Request {
        self.point(secs, None, PointValue::Number(value))
    }

    pub fn since(self, start: f64, secs: f64, value: f64) -> Request {
        self.point(secs, Some(start), PointValue::Number(value))
    }

    pub fn histogram(
        mut self,
        secs: f64,
        is_increment: bool,
        cells: &[(f64, f64, f64)],
    ) -> Request {
        let cell = |&(low, high, count)| HistogramCell { low, high, count };
        let value = self.0.add_histogram(Histogram {
            is_increment,
            cells: cells.iter().map(cell).collect(),
            sum: None,
        });
        self.point(secs, None, value)
    }

    fn point(mut self, secs: f64, start: Option<f64>, value: PointValue) -> Request {
        self.0.point(Point {
            ts: at(secs),
            start: start.map(at),
            value,
        });
        self
    }

    pub fn to(self, machine: &mut Machine) -> Ingested {
        let effects = machine.apply(Input::Series(Box::new(self.0)));
        let answer = effects.into_iter().find_map(|effect| match effect {
            Effect::Ingested(answer) => Some(answer),
            _ => None,
        });
        answer.expect("series are always answered")
    }
}

/// Bad and total of each arm, as the verdict's only check has them.
fn samples(body: &VerdictBody) -> [u64; 2] {
    [
        body.checks[0].samples.baseline,
        body.checks[0].samples.canary,
    ]
}

fn codes(answer: &Ingested) -> Vec<&'static str> {
    answer.refused.iter().map(|refused| refused.code).collect()
}

#[test]
fn totals_of_many_pods_judge_as_their_increments_do() {
    let mut by_totals = Machine::running("x", &plan(&counted("counter")));
    let mut by_increments = Machine::running("x", &plan(&counted("increments")));
    let pods = ["a", "b", "c"];
    let arms = [("old", 1.0), ("new", 100.0)];
    let mut totals = [[[0.0_f64; 2]; 3]; 2];
    for second in 0..25 {
        let secs = f64::from(second) + 0.5;
        let (mut scraped, mut pushed) = (Request::default(), Vec::new());
        for (arm, (version, bad)) in arms.into_iter().enumerate() {
            for (number, pod) in pods.into_iter().enumerate() {
                // The second pod of the canary starts anew half-way.
                let pod_totals = &mut totals[arm][number];
                if (arm, number, second) == (1, 1, 12) {
                    *pod_totals = [0.0; 2];
                }
                for (i, (code, amount)) in [("200", 1_000.0 - bad), ("500", bad)]
                    .into_iter()
                    .enumerate()
                {
                    pod_totals[i] += amount;
                    let labels = [("version", version), ("pod", pod), ("code", code)];
                    scraped = scraped
                        .series("requests_total", &labels)
                        .at(secs, pod_totals[i]);
                    if second == 0 {
                        continue;
                    }
                    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
                    pushed.push(Sample {
                        labels: Labels::from_iter(labels),
                        address: None,
                        ..sample(
                            "",
                            "requests_total",
                            Arm::Canary,
                            secs,
                            values(vec![amount]),
                        )
                    });
                }
            }
        }
        let is_final = by_totals.body("x").is_final;
        let answer = scraped.to(by_totals.silently(secs));
        let expected = if is_final { (0, 12) } else { (12, 0) };
        assert_eq!((answer.accepted, answer.unmatched), expected);
        assert!(answer.refused.is_empty(), "{:?}", answer.refused);
        by_increments.silently(secs);
        if !pushed.is_empty() {
            by_increments.send(pushed);
        }
    }
    let bodies = [&mut by_totals, &mut by_increments].map(|machine| {
        machine.clock(40.0);
        machine.body("x")
    });
    assert_eq!(bodies[0].verdict, Outcome::Fail, "{}", bodies[0].message);
    // Thresholds are simulated from the plan's hash, so intervals differ in their last digits.
    let told = bodies.map(|body| {
        let check = &body.checks[0];
        (
            body.verdict,
            body.elapsed_secs,
            check.estimate,
            samples(&body),
        )
    });
    assert_eq!(told[0], told[1]);
}

#[test]
fn only_what_came_since_the_start_counts() {
    let mut machine = Machine::new();
    machine.silently(10.0);
    machine
        .start(start("x", &plan(&counted("counter"))))
        .expect("it starts");
    let scrape = |secs: f64, total: f64| {
        let old = [("version", "old"), ("code", "200")];
        let new = [("version", "new"), ("code", "200")];
        Request::default()
            .series("requests_total", &old)
            .at(secs, total)
            .series("requests_total", &new)
            .since(10.5, secs, total)
    };
    // The first total of the baseline counts from nobody knows when, the canary's since it began.
    scrape(11.0, 100.0).to(machine.silently(11.0));
    let seen = scrape(12.0, 130.0).to(machine.silently(12.0));
    assert_eq!((seen.accepted, seen.duplicate), (2, 0));
    let again = scrape(12.0, 130.0).to(&mut machine);
    assert_eq!((again.accepted, again.duplicate), (0, 2));
    let older = scrape(11.5, 120.0).to(&mut machine);
    assert_eq!((older.accepted, older.late), (0, 2));
    machine.clock(14.0);
    assert_eq!(samples(&machine.body("x")), [30, 130]);
}

#[test]
fn the_share_above_a_bound_is_the_same_from_buckets_and_from_histograms() {
    let shares = [("old", 2.0), ("new", 60.0)];
    let mut machines = [(); 3].map(|()| Machine::running("x", &plan(&above(0.5))));
    for second in 0..20 {
        let secs = f64::from(second) + 0.5;
        let scrapes = f64::from(second + 1);
        let mut requests = [(); 3].map(|()| Request::default());
        for (version, slow) in shares {
            let [buckets, whole, delta] = requests;
            let bucket = |request: Request, le: &str, count: f64| {
                let labels = [("version", version), ("le", le)];
                request
                    .series("duration_seconds_bucket", &labels)
                    .since(0.0, secs, count * scrapes)
            };
            let buckets = bucket(buckets, "0.25", 500.0);
            let buckets = bucket(buckets, "5e-01", 1_000.0 - slow);
            let buckets = bucket(buckets, "+Inf", 1_000.0);
            let cells = |times: f64| {
                [
                    (0.0, 0.25, 500.0 * times),
                    (0.25, 0.5, (500.0 - slow) * times),
                    (0.5, f64::INFINITY, slow * times),
                ]
            };
            let labels = [("version", version)];
            let mut whole = whole.series("duration_seconds", &labels);
            if second == 0 {
                let empty = whole.0.add_histogram(Histogram::default());
                whole = whole.point(0.0, None, empty);
            }
            let whole = whole.histogram(secs, false, &cells(scrapes));
            let delta =
                delta
                    .series("duration_seconds", &labels)
                    .histogram(secs, true, &cells(1.0));
            requests = [buckets, whole, delta];
        }
        for (machine, request) in machines.iter_mut().zip(requests) {
            let answer = request.to(machine.silently(secs));
            assert!(answer.refused.is_empty(), "{:?}", answer.refused);
        }
    }
    let bodies = machines.map(|mut machine| {
        machine.clock(30.0);
        machine.body("x")
    });
    assert_eq!(bodies[0].verdict, Outcome::Fail, "{}", bodies[0].message);
    let checks = bodies.map(|body| serde_json::to_string(&body.checks).expect("JSON"));
    assert_eq!(checks[0], checks[1]);
    assert_eq!(checks[0], checks[2]);
}

#[test]
fn buckets_may_come_in_requests_of_their_own() {
    let mut machine = Machine::running("x", &plan(&above(0.5)));
    let bucket = |version: &str, le: &str, count: f64| {
        let labels = [("version", version), ("le", le)];
        Request::default()
            .series("duration_seconds_bucket", &labels)
            .since(0.0, 0.5, count)
    };
    machine.silently(0.5);
    for (version, good) in [("old", 990.0), ("new", 700.0)] {
        bucket(version, "+Inf", 1_000.0).to(&mut machine);
        bucket(version, "0.5", good).to(&mut machine);
    }
    machine.clock(5.0);
    let body = machine.body("x");
    assert_eq!(samples(&body), [1_000, 1_000]);
    let difference = body.checks[0].estimate.expect("an estimate");
    assert!(difference > 0.2, "{difference}");
}

#[test]
fn what_cannot_be_taken_says_why_and_the_rest_lives() {
    let mut machine = Machine::running("x", &plan(&above(0.4)));
    let old = [("version", "old")];
    let answer = Request::default()
        .series("duration_seconds", &old)
        .histogram(0.2, true, &[(0.25, 0.5, 3.0)])
        .series("duration_seconds", &[("version", "new")])
        .histogram(0.2, true, &[(0.25, 0.4, 3.0)])
        .series("duration_seconds", &[("version", "new"), ("pod", "a")])
        .at(0.3, 4.0)
        .series("duration_seconds", &[("version", "other")])
        .at(0.3, 4.0)
        .to(machine.silently(0.5));
    assert_eq!(codes(&answer), ["bound_within_bucket", "wrong_form"]);
    let message = &answer.refused[0].message;
    assert!(message.contains("from 0.25 to 0.5"), "{message}");
    assert_eq!((answer.accepted, answer.unmatched), (1, 1));
    assert!(answer.unplaced[0].message.contains("neither of its arms"));
    let mut machine = Machine::running("x", &plan(&counted("counter")));
    let labels = [("version", "old"), ("code", "200")];
    for total in [1.0, 1.5] {
        let secs = 0.1 + total / 10.0;
        let answer = Request::default()
            .series("requests_total", &labels)
            .at(secs, total)
            .to(machine.silently(0.5));
        let expected: &[&str] = if total == 1.0 { &[] } else { &["wrong_form"] };
        assert_eq!(codes(&answer), expected);
        assert_eq!(answer.accepted, u64::from(total == 1.0));
    }
}

#[test]
fn series_past_the_limit_are_refused_one_by_one() {
    let mut machine = Machine::limited(Limits {
        series_max: 2,
        ..Limits::default()
    });
    machine
        .start(start("x", &plan(&counted("counter"))))
        .expect("it starts");
    let mut request = Request::default();
    for pod in ["a", "b", "c"] {
        let labels = [("version", "old"), ("code", "200"), ("pod", pod)];
        request = request.series("requests_total", &labels).at(0.2, 1.0);
    }
    let answer = request.to(machine.silently(0.5));
    assert_eq!(
        (answer.accepted, codes(&answer)),
        (2, vec!["too_many_series"])
    );
}

#[test]
fn totals_may_come_as_samples_too() {
    let mut machine = Machine::running("x", &plan(&counted("counter")));
    let total = |version: &str, secs: f64, reading| {
        let labels = [("version", version), ("code", "200")];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Sample {
            labels: Labels::from_iter(labels),
            address: None,
            ..sample("", "requests_total", Arm::Canary, secs, reading)
        }
    };
    for (secs, count) in [(0.2, 100.0), (0.4, 130.0), (0.6, 7.0)] {
        machine.silently(secs).send(vec![
            total("old", secs, values(vec![count])),
            total("new", secs, values(vec![2.0 * count])),
        ]);
    }
    let answer = machine.send(vec![total("old", 0.7, values(vec![1.0, 2.0]))]);
    assert_eq!(codes(&answer), ["wrong_form"]);
    machine.clock(5.0);
    assert_eq!(samples(&machine.body("x")), [37, 74]);
}

fn distribution() -> String {
    format!(
        "{SHAPE}metrics:\n  duration_seconds: {{kind: latency, from: histogram}}\n\
         checks: [{{compare: duration_seconds, worse: higher, tolerance: 0%}}]\n"
    )
}

#[test]
fn a_distribution_is_the_same_from_buckets_and_from_histograms() {
    let mut machines = [(); 3].map(|()| Machine::running("x", &plan(&distribution())));
    let arms = [
        ("old", [500.0, 400.0, 100.0]),
        ("new", [200.0, 500.0, 300.0]),
    ];
    for second in 0..20 {
        let secs = f64::from(second) + 0.5;
        let scrapes = f64::from(second + 1);
        for (number, machine) in machines.iter_mut().enumerate() {
            let mut request = Request::default();
            for (version, counts) in arms {
                let bounds = [0.25, 0.5, f64::INFINITY];
                if number == 0 {
                    let mut upto = 0.0;
                    for (bound, count) in bounds.into_iter().zip(counts) {
                        upto += count;
                        let le = if bound.is_finite() {
                            bound.to_string()
                        } else {
                            "+Inf".into()
                        };
                        let labels = [("version", version), ("le", le.as_str())];
                        request = request.series("duration_seconds_bucket", &labels).since(
                            0.0,
                            secs,
                            upto * scrapes,
                        );
                    }
                    continue;
                }
                let times = if number == 1 { scrapes } else { 1.0 };
                let cells = [
                    (0.0, 0.25, counts[0] * times),
                    (0.25, 0.5, counts[1] * times),
                    (0.5, f64::INFINITY, counts[2] * times),
                ];
                request = request.series("duration_seconds", &[("version", version)]);
                if number == 1 && second == 0 {
                    let empty = request.0.add_histogram(Histogram::default());
                    request = request.point(0.0, None, empty);
                }
                request = request.histogram(secs, number == 2, &cells);
            }
            let answer = request.to(machine.silently(secs));
            assert!(answer.refused.is_empty(), "{:?}", answer.refused);
        }
    }
    let bodies = machines.map(|mut machine| {
        machine.clock(30.0);
        let (mut replayed, lines) = (Vec::new(), machine.recording("x"));
        recording::play(lines.iter().map(String::as_str), None, |effects| {
            replayed.extend(effects);
        })
        .expect("it plays");
        let last = replayed.into_iter().rev().find_map(|effect| match effect {
            Effect::Changed(view) => Some(view.verdict),
            _ => None,
        });
        let body = machine.body("x");
        assert_eq!(last, Some(body.verdict));
        body
    });
    assert_eq!(bodies[0].verdict, Outcome::Fail, "{}", bodies[0].message);
    assert_eq!(samples(&bodies[0])[0] % 1_000, 0);
    let checks = bodies.map(|body| serde_json::to_string(&body.checks).expect("JSON"));
    assert_eq!(checks[0], checks[1]);
    assert_eq!(checks[0], checks[2]);
}
