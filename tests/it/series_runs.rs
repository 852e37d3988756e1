//! Totals that one analysis asks for are taken all at once, those that two ask for point by point:
//! either way the same comes of them.

use davy::engine::Limits;

use crate::formats::recording::Chance;
use crate::machine::{Machine, plan, start};
use crate::series::{Request, SHAPE};

const ROUNDS: u64 = 60;

fn plan_text() -> String {
    format!(
        "{SHAPE}metrics:
  errors: {{kind: ratio, from: counter, bad: 'requests_total{{code=~\"5..\"}}', total: 'requests_total'}}
  calls: {{kind: rate, from: counter, events: 'requests_total'}}
checks:
  - {{compare: errors, tolerance: {{relative: 20%, absolute: 1pp}}}}
"
    )
}

/// One pod's series of a code: its total, and when it counts since.
struct Counter {
    labels: [(&'static str, String); 3],
    total: f64,
    start: Option<f64>,
}

impl Counter {
    /// Some points up to this time, most of them as they should be.
    fn write(&mut self, mut request: Request, secs: f64, chance: &mut Chance) -> Request {
        let [version, pod, code] = &self.labels;
        let labels = [version, pod, code].map(|(name, value)| (*name, value.as_str()));
        request = request.series("requests_total", &labels);
        for number in 0..chance.below(5) {
            let mut at = secs - 1.0 + 0.2 * number as f64;
            match chance.below(20) {
                0 => self.total = 0.0,
                1 => at -= 3.0,
                2 => at += 100.0,
                3 => self.start = Some(secs - 1.0),
                _ => {}
            }
            self.total += chance.below(4) as f64;
            request = match self.start {
                Some(start) => request.since(start, at, self.total),
                None => request.at(at, self.total),
            };
        }
        request
    }
}

#[test]
fn totals_are_taken_all_at_once_as_they_are_one_by_one() {
    let plan = plan(&plan_text());
    let mut taken = 0;
    for seed in 0..ROUNDS {
        let mut chance = Chance(seed);
        let limits = || Limits {
            abandoned_after: i64::MAX,
            ..Limits::default()
        };
        let [mut alone, mut beside] = [(); 2].map(|()| Machine::limited(limits()));
        for machine in [&mut alone, &mut beside] {
            machine.start(start("x", &plan)).expect("it starts");
        }
        beside.start(start("y", &plan)).expect("it starts");
        let mut counters = Vec::new();
        for (version, pod) in [("old", "a"), ("old", "b"), ("new", "a"), ("both", "c")] {
            for code in ["200", "500"] {
                counters.push(Counter {
                    labels: [
                        ("version", version.to_owned()),
                        ("pod", pod.to_owned()),
                        ("code", code.to_owned()),
                    ],
                    total: chance.below(3) as f64 * 10.0,
                    start: (chance.below(2) == 0).then_some(-60.0),
                });
            }
        }
        for second in 1..20 {
            let secs = f64::from(second);
            let mut requests = [Request::default(), Request::default()];
            for counter in &mut counters {
                // The same chance twice: both get the same points.
                let before = (counter.total, counter.start, chance.clone());
                requests = requests.map(|request| {
                    (counter.total, counter.start) = (before.0, before.1);
                    chance = before.2.clone();
                    counter.write(request, secs, &mut chance)
                });
            }
            let [one, other] = requests;
            let answers = [
                one.to(alone.silently(secs)),
                other.to(beside.silently(secs)),
            ];
            taken += answers[0].accepted;
            assert_eq!(answers[0], answers[1], "seed {seed}, second {second}");
        }
        let told = [&mut alone, &mut beside].map(|machine| {
            machine.clock(30.0);
            let view = machine.state.analysis("x").expect("it runs").view();
            let received = serde_json::to_string(&view.received).expect("JSON");
            (machine.recording("x"), received)
        });
        assert_eq!(told[0], told[1], "seed {seed}");
    }
    assert!(taken > 10_000, "{taken}");
}
