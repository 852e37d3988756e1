//! What the machine is given, as bytes: enough to give it the same again after a crash.
//!
//! Owns the form of a *frame*, one input with its time. It holds what somebody asks for only: series
//! and samples that no analysis wants change nothing but a count, and are left out. Names and labels
//! that come again and again are spelled out once a *chapter* and named by number from then on, so
//! that a chapter can be read by itself. What a frame is kept in, and when it is safe, is
//! [`crate::log`]'s. Next: `bytes`, numbers and texts; `texts`, what
//! people and controllers ask for; `read`, the way back.

mod bytes;
mod read;
mod texts;

use serde::Serialize;

pub use read::{Chapter, Logged, UnreadableFrame};

use super::messages::{Input, Start};
use super::pull::{PullOutcome, PulledMetric};
use crate::model::series::{Point, PointValue, Series, SeriesBatch, SeriesKind};
use crate::model::{Arm, Reading, Sample, Timestamp};
use crate::plan::query::Part;
use bytes::Writer;
use texts::{ChangeText, StartText};

/// Version of the form. Frames of another cannot be read.
pub const FORM: u32 = 1;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Start = 1,
    Samples = 2,
    Series = 3,
    Pulled = 4,
    Tick = 5,
    Step = 6,
    Cancel = 7,
    Asked = 8,
    Resumed = 9,
    Override = 10,
}

/// Ends the entries of a frame.
const END: u64 = 0;
/// Begins one whose name is spelled out, to be known by number from now on.
const SPELLED: u64 = 1;
/// Begins one whose name is spelled out for this once.
const ONCE: u64 = 2;
/// Numbers of names begin here.
const FIRST: u64 = 3;

// What a sample has besides its reading.
const HAS_UNIT: u8 = 1;
const HAS_ID: u8 = 1 << 1;
const HAS_ADDRESS: u8 = 1 << 2;
const IS_CANARY: u8 = 1 << 3;
const HAS_MISSING: u8 = 1 << 4;

// What a point has besides its value.
const HAS_START: u8 = 1 << 3;
// How its value is written.
const NUMBER: u8 = 0;
const WHOLE_NUMBER: u8 = 1;
const INCREMENT: u8 = 2;
const WHOLE_INCREMENT: u8 = 3;
const HISTOGRAM: u8 = 4;
const STALE: u8 = 5;

// How a reading is written.
const VALUES: u8 = 0;
const WEIGHTED: u8 = 1;
const RATIO: u8 = 2;
const BUCKETS: u8 = 3;
const UP_TO: u8 = 4;
const RATE: u8 = 5;

// How a source answered.
const ANSWERED: u8 = 0;
const FAILED: u8 = 1;
const NOT_ASKED: u8 = 2;

/// Where a name stands in the chapter being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::engine) struct Spelled {
    /// 0 where it was in none.
    chapter: u64,
    number: u64,
}

/// Writes frames, one at a time.
#[derive(Debug)]
pub(in crate::engine) struct Journal {
    frame: Writer,
    chapter: u64,
    /// Names that have a number in this chapter, of series and of samples.
    series: u64,
    names: u64,
    /// What times are written against: the last one written.
    last: i64,
    /// The analysis that the last addressed sample was for.
    addressed: String,
    /// Whether it is a frame of samples or series.
    has_entries: bool,
    /// Whether anything was written that must come again.
    holds: bool,
}

// === impl Journal ===

impl Journal {
    pub fn new() -> Journal {
        Journal {
            frame: Writer::default(),
            chapter: 1,
            series: 0,
            names: 0,
            last: 0,
            addressed: String::new(),
            has_entries: false,
            holds: false,
        }
    }

    /// Whatever is named from now on is spelled out again.
    pub fn turn_over(&mut self) {
        self.chapter += 1;
        self.series = 0;
        self.names = 0;
    }

    /// The frame of the last input; empty where it need not come again.
    pub fn frame(&self) -> &[u8] {
        if self.holds {
            self.frame.as_bytes()
        } else {
            &[]
        }
    }

    /// The last input changed something, whatever else became of it.
    pub fn hold_frame(&mut self) {
        self.holds = true;
    }

    /// The last input changed nothing.
    pub fn drop_frame(&mut self) {
        self.holds = false;
    }

    /// Begins the frame of an input and writes whatever does not depend on what becomes of it.
    pub fn begin(&mut self, input: &Input, now: Timestamp) {
        self.frame.clear();
        self.has_entries = matches!(input, Input::Samples(_) | Input::Series(_));
        self.holds = !self.has_entries;
        self.last = now.millis();
        self.addressed.clear();
        let kind = match input {
            Input::Start(_) => Kind::Start,
            Input::Samples(_) => Kind::Samples,
            Input::Series(_) => Kind::Series,
            Input::Pulled(_) => Kind::Pulled,
            Input::Tick => Kind::Tick,
            Input::Step { .. } => Kind::Step,
            Input::Cancel { .. } => Kind::Cancel,
            Input::Asked { .. } => Kind::Asked,
            Input::Resumed => Kind::Resumed,
            Input::Override { .. } => Kind::Override,
        };
        self.frame.byte(kind as u8);
        self.frame.signed(now.millis());
        match input {
            Input::Start(start) => self.start(start),
            Input::Pulled(pulled) => self.pulled(pulled),
            Input::Step { .. } | Input::Cancel { .. } | Input::Override { .. } => {
                self.json(&ChangeText::of(input));
            }
            Input::Asked { analysis } => self.frame.text(analysis),
            Input::Samples(_) | Input::Series(_) | Input::Tick | Input::Resumed => {}
        }
    }

    /// Ends the frame of samples or series, of which so many were `unmatched`; `is_noted` tells
    /// whether that meant anything to anybody.
    pub fn end(&mut self, unmatched: u64, is_noted: bool) {
        if !self.has_entries {
            return;
        }
        self.frame.number(END);
        self.frame.number(unmatched);
        self.holds |= is_noted;
    }

    fn start(&mut self, start: &Start) {
        self.json(&StartText {
            id: start.id.clone(),
            plan: &*start.plan,
            arms: start.arms.clone(),
            change: start.change.clone(),
            key: start.idempotency_key.clone(),
            digest: start.request_digest.clone(),
            by: start.by.clone(),
        });
    }

    fn json(&mut self, value: &impl Serialize) {
        let text = serde_json::to_string(value).expect("plain data");
        self.frame.text(&text);
    }

    /// A series that somebody asks for, with its points.
    pub fn series(&mut self, spelled: &mut Spelled, series: &Series<'_>, batch: &SeriesBatch) {
        self.holds = true;
        if spelled.chapter == self.chapter {
            self.frame.number(FIRST + spelled.number);
        } else {
            *spelled = Spelled {
                chapter: self.chapter,
                number: self.series,
            };
            self.series += 1;
            self.frame.number(SPELLED);
            self.frame.slice(series.key.as_bytes());
        }
        self.points(series, batch);
    }

    fn points(&mut self, series: &Series<'_>, batch: &SeriesBatch) {
        self.frame.byte(kind_code(series.kind));
        self.frame.number(series.points.len() as u64);
        for point in series.points {
            self.point(point, batch);
        }
    }

    fn point(&mut self, point: &Point, batch: &SeriesBatch) {
        let tag = match point.value {
            PointValue::Number(value) => NUMBER | u8::from(bytes::is_whole(value)),
            PointValue::Increment(value) => INCREMENT | u8::from(bytes::is_whole(value)),
            PointValue::Histogram(_) => HISTOGRAM,
            PointValue::Stale => STALE,
        };
        let has_start = point.start.map_or(0, |_| HAS_START);
        self.frame.byte(tag | has_start);
        self.time(point.ts);
        if let Some(start) = point.start {
            self.frame.signed(start.since(point.ts));
        }
        match point.value {
            PointValue::Number(value) | PointValue::Increment(value) => {
                if bytes::is_whole(value) {
                    self.frame.signed(value as i64);
                } else {
                    self.frame.float(value);
                }
            }
            PointValue::Histogram(number) => self.histogram(number, batch),
            PointValue::Stale => {}
        }
    }

    fn histogram(&mut self, number: u32, batch: &SeriesBatch) {
        let empty = Default::default();
        let histogram = batch.histogram(number).unwrap_or(&empty);
        let flags = u8::from(histogram.is_increment) | u8::from(histogram.sum.is_some()) << 1;
        self.frame.byte(flags);
        if let Some(sum) = histogram.sum {
            self.frame.float(sum);
        }
        self.frame.number(histogram.cells.len() as u64);
        for cell in &histogram.cells {
            for end in [cell.low, cell.high, cell.count] {
                self.frame.float(end);
            }
        }
    }

    fn time(&mut self, ts: Timestamp) {
        self.frame.signed(ts.millis().wrapping_sub(self.last));
        self.last = ts.millis();
    }

    /// A sample that somebody asks for; without `spelled` it says for whom it is.
    pub fn sample(&mut self, spelled: Option<&mut Spelled>, sample: &Sample) {
        self.holds = true;
        match spelled {
            Some(spelled) if spelled.chapter == self.chapter => {
                self.frame.number(FIRST + spelled.number);
            }
            Some(spelled) => {
                *spelled = Spelled {
                    chapter: self.chapter,
                    number: self.names,
                };
                self.names += 1;
                self.frame.number(SPELLED);
                self.name(sample);
            }
            None => {
                self.frame.number(ONCE);
                self.name(sample);
            }
        }
        self.body(sample);
    }

    fn name(&mut self, sample: &Sample) {
        self.frame.text(&sample.metric);
        self.frame.number(sample.labels.iter().count() as u64);
        for (name, value) in sample.labels.iter() {
            self.frame.text(name);
            self.frame.text(value);
        }
    }

    fn body(&mut self, sample: &Sample) {
        let address = sample.address.as_ref();
        let has = |flag, has: bool| if has { flag } else { 0 };
        self.frame.byte(
            has(HAS_UNIT, sample.unit.is_some())
                | has(HAS_ID, sample.id.is_some())
                | has(HAS_ADDRESS, address.is_some())
                | has(IS_CANARY, address.is_some_and(|to| to.arm == Arm::Canary))
                | has(HAS_MISSING, sample.missing > 0),
        );
        self.time(sample.ts);
        for text in [&sample.unit, &sample.id].into_iter().flatten() {
            self.frame.text(text);
        }
        if let Some(to) = address {
            // Mostly all of a request are for one; ids are never empty.
            if self.addressed == to.analysis {
                self.frame.number(0);
            } else {
                self.frame.text(&to.analysis);
                self.addressed.clone_from(&to.analysis);
            }
        }
        if sample.missing > 0 {
            self.frame.number(u64::from(sample.missing));
        }
        self.reading(&sample.reading);
    }

    fn reading(&mut self, reading: &Reading) {
        let frame = &mut self.frame;
        match reading {
            Reading::Values { values, weights } if weights.is_empty() => {
                frame.byte(VALUES);
                frame.floats(values);
            }
            Reading::Values { values, weights } => {
                frame.byte(WEIGHTED);
                frame.floats(values);
                frame.numbers(weights);
            }
            Reading::Ratio { bad, total } => {
                frame.byte(RATIO);
                frame.number(*bad);
                frame.number(*total);
            }
            Reading::Buckets {
                lows,
                highs,
                counts,
            } => {
                frame.byte(BUCKETS);
                frame.floats(lows);
                frame.floats(highs);
                frame.numbers(counts);
            }
            Reading::UpTo {
                of,
                bounds,
                counts,
                points,
                resets,
            } => {
                frame.byte(UP_TO);
                frame.number(*of);
                frame.floats(bounds);
                frame.numbers(counts);
                let points: Vec<u64> = points.iter().map(|&n| u64::from(n)).collect();
                frame.numbers(&points);
                let resets: Vec<u64> = resets.as_flattened().iter().map(|&n| n.into()).collect();
                frame.numbers(&resets);
            }
            Reading::Rate { events, exposure } => {
                frame.byte(RATE);
                frame.number(*events);
                frame.float(*exposure);
            }
        }
    }

    fn pulled(&mut self, pulled: &PulledMetric) {
        self.frame.text(&pulled.analysis);
        self.frame.number(pulled.metric as u64);
        match &pulled.outcome {
            PullOutcome::NotAsked => self.frame.byte(NOT_ASKED),
            PullOutcome::Failed(why) => {
                self.frame.byte(FAILED);
                self.frame.text(why);
            }
            PullOutcome::Answered { answers, warning } => {
                self.frame.byte(ANSWERED);
                self.frame.text(warning.as_deref().unwrap_or_default());
                self.frame.number(answers.len() as u64);
                for answer in answers {
                    self.frame.byte(u8::from(answer.arm == Arm::Canary));
                    self.frame.byte(part_code(answer.part));
                    for series in answer.batch.iter() {
                        self.frame.number(ONCE);
                        self.frame.slice(series.key.as_bytes());
                        self.points(&series, &answer.batch);
                    }
                    self.frame.number(END);
                }
            }
        }
    }
}

fn kind_code(kind: SeriesKind) -> u8 {
    match kind {
        SeriesKind::Unknown => 0,
        SeriesKind::Counter => 1,
        SeriesKind::Gauge => 2,
        SeriesKind::Histogram => 3,
        SeriesKind::Summary => 4,
    }
}

fn part_code(part: Part) -> u8 {
    match part {
        Part::Points => 0,
        Part::Bad => 1,
        Part::Total => 2,
        Part::Buckets => 3,
    }
}
