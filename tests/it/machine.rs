//! A driver of the engine for tests: sends samples, moves the clock, keeps what came out.
//!
//! Owns the small language in which tests of the engine are written. It must not know what is
//! expected: that is the test's.

use std::collections::BTreeMap;
use std::sync::Arc;

use davy::config::plan_file::parse_plan;
use davy::engine::journal::Chapter;
use davy::engine::{
    Effect, Event, Ingested, Input, Limits, Refusal, Start, State, apply, apply_logged, recording,
};
use davy::judge::verdict::{GateKind, VerdictBody};
use davy::model::{Address, Arm, Change, Labels, Reading, Sample, Timestamp};
use davy::plan::Plan;
use davy::stats::sampler::Stream;

/// When every analysis of a test begins, unless the test moved the clock before.
pub const START: Timestamp = Timestamp(1_700_000_000_000);

/// A plan from the text after its first two lines.
pub fn plan(text: &str) -> Arc<Plan> {
    let text = format!("version: davy/v1\nplan: tested\n{text}");
    let parsed = parse_plan("tested.yaml", &text).unwrap_or_else(|problems| panic!("{problems}"));
    Arc::new(parsed.plan)
}

/// An engine, its clock and everything it has said.
pub struct Machine {
    pub state: State,
    pub now: Timestamp,
    pub effects: Vec<Effect>,
    twin: Twin,
}

/// An engine that knows only what is in the journal of another: it must come to the same.
struct Twin {
    state: State,
    chapter: Chapter,
    frames: usize,
}

/// Inputs after which a chapter of the journal ends.
const CHAPTER_FRAMES: usize = 7;

impl Twin {
    fn of(limits: &Limits) -> Twin {
        let limits = Limits {
            series_seed: limits.series_seed + 1,
            ..limits.clone()
        };
        Twin {
            state: State::new(limits),
            chapter: Chapter::default(),
            frames: 0,
        }
    }

    /// Takes what the journal holds of an input with these effects.
    fn follow(&mut self, state: &mut State, effects: &[Effect]) {
        let frame = state.frame();
        if frame.is_empty() {
            assert_eq!(told(effects), [""; 0], "not in the journal");
            return;
        }
        let logged = self.chapter.read(frame).expect("as it was written");
        let again = apply_logged(&mut self.state, logged);
        assert_eq!(told(&again), told(effects), "played from the journal");
        self.frames += 1;
        if self.frames.is_multiple_of(CHAPTER_FRAMES) {
            state.begin_chapter();
            self.chapter = Chapter::default();
        }
    }
}

/// Effects as text, without what is said of samples that nobody asked for.
fn told(effects: &[Effect]) -> Vec<String> {
    let told = |effect: &Effect| match effect {
        Effect::Ingested(Ingested {
            accepted: 0,
            late: 0,
            duplicate: 0,
            ambiguous: 0,
            ..
        })
        | Effect::Refused(_)
        | Effect::Started { existing: true, .. } => None,
        Effect::Ingested(answer) => Some(format!(
            "accepted {} late {} duplicate {} ambiguous {}",
            answer.accepted, answer.late, answer.duplicate, answer.ambiguous
        )),
        other => Some(format!("{other:?}")),
    };
    effects.iter().filter_map(told).collect()
}

impl Machine {
    /// An engine that abandons nothing.
    pub fn new() -> Machine {
        Machine::limited(Limits {
            abandoned_after: i64::MAX,
            ..Limits::default()
        })
    }

    pub fn limited(limits: Limits) -> Machine {
        let twin = Twin::of(&limits);
        let mut state = State::new(limits);
        state.keep_journal();
        Machine {
            state,
            now: START,
            effects: Vec::new(),
            twin,
        }
    }

    /// An engine with an analysis of this plan.
    pub fn running(id: &str, plan: &Arc<Plan>) -> Machine {
        let mut machine = Machine::new();
        machine.start(start(id, plan)).expect("the analysis starts");
        machine
    }

    /// Goes on with another state, as one does that is started again.
    pub fn go_on_with(&mut self, state: State) {
        self.state = state;
        self.state.keep_journal();
        self.twin.chapter = Chapter::default();
    }

    pub fn apply(&mut self, input: Input) -> Vec<Effect> {
        let effects = apply(&mut self.state, input, self.now);
        self.twin.follow(&mut self.state, &effects);
        self.effects.extend(effects.iter().cloned());
        effects
    }

    /// Id of the analysis, and whether it had existed.
    pub fn start(&mut self, start: Start) -> Result<(String, bool), Refusal> {
        match self.apply(Input::Start(Box::new(start))).remove(0) {
            Effect::Started {
                analysis, existing, ..
            } => Ok((analysis, existing)),
            Effect::Refused(refusal) => Err(refusal),
            other => panic!("a start was answered with {other:?}"),
        }
    }

    pub fn send(&mut self, samples: Vec<Sample>) -> Ingested {
        let effects = self.apply(Input::Samples(samples));
        let answer = effects.into_iter().find_map(|effect| match effect {
            Effect::Ingested(answer) => Some(answer),
            _ => None,
        });
        answer.expect("samples are always answered")
    }

    /// Moves the clock to so many seconds after [`START`] and tells the engine.
    pub fn clock(&mut self, secs: f64) {
        self.now = at(secs);
        self.apply(Input::Tick);
    }

    /// Moves the clock without telling the engine.
    pub fn silently(&mut self, secs: f64) -> &mut Machine {
        self.now = at(secs);
        self
    }

    pub fn refused(&mut self, input: Input) -> Option<Refusal> {
        self.apply(input)
            .into_iter()
            .find_map(|effect| match effect {
                Effect::Refused(refusal) => Some(refusal),
                _ => None,
            })
    }

    pub fn body(&self, id: &str) -> VerdictBody {
        self.state
            .analysis(id)
            .expect("the analysis is known")
            .body(GateKind::Final)
    }

    pub fn step_body(&self, id: &str) -> VerdictBody {
        self.state
            .analysis(id)
            .expect("the analysis is known")
            .body(GateKind::Step)
    }

    pub fn events(&self, id: &str) -> Vec<Event> {
        let mine = self.effects.iter().filter_map(|effect| match effect {
            Effect::Event(event) if event.analysis == id => Some(event.clone()),
            _ => None,
        });
        mine.collect()
    }

    /// Kinds of the events so far, without looks.
    pub fn told(&self, id: &str) -> Vec<&'static str> {
        let kinds = self.events(id).into_iter().map(|event| event.kind.as_str());
        kinds.filter(|&kind| kind != "look").collect()
    }

    /// The recording's lines so far.
    pub fn recording(&self, id: &str) -> Vec<String> {
        let lines = self.effects.iter().filter_map(|effect| match effect {
            Effect::Record { analysis, line } if analysis == id => Some(line.clone()),
            _ => None,
        });
        lines.collect()
    }

    /// Plays the recording into an empty engine: the last verdict is this one's, byte for byte.
    pub fn assert_replays(&self, id: &str) {
        let lines = self.recording(id);
        let mut replayed = None;
        recording::play(lines.iter().map(String::as_str), None, |effects| {
            for effect in effects {
                if let Effect::Changed(view) = effect {
                    replayed = Some(view.body);
                }
            }
        })
        .expect("the recording plays");
        let text = |body: &VerdictBody| serde_json::to_string(body).expect("JSON");
        let replayed = replayed.expect("it looked");
        assert_eq!(text(&replayed), text(&self.body(id)));
    }
}

/// So many seconds after [`START`].
pub fn at(secs: f64) -> Timestamp {
    START.plus((secs * 1_000.0).round() as i64)
}

/// A start of this plan for nothing in particular.
pub fn start(id: &str, plan: &Arc<Plan>) -> Start {
    Start {
        id: id.to_owned(),
        plan: plan.clone(),
        arms: BTreeMap::new(),
        change: Change::default(),
        idempotency_key: None,
        request_digest: String::new(),
        by: None,
    }
}

/// A sample addressed to an arm of an analysis.
pub fn sample(id: &str, metric: &str, arm: Arm, secs: f64, reading: Reading) -> Sample {
    Sample {
        ts: at(secs),
        metric: metric.to_owned(),
        labels: Labels::new(),
        reading,
        unit: None,
        id: None,
        address: Some(Address {
            analysis: id.to_owned(),
            arm,
        }),
        missing: 0,
    }
}

/// Unweighted values.
pub fn values(values: Vec<f64>) -> Reading {
    Reading::Values {
        values,
        weights: Vec::new(),
    }
}

/// Log-normal values with this median and a deviation of 0.5 on the log scale.
pub fn durations(stream: &mut Stream, count: usize, median: f64) -> Vec<f64> {
    (0..count)
        .map(|_| median * libm::exp(0.5 * stream.normal()))
        .collect()
}
