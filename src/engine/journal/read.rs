//! Frames back to inputs.
//!
//! Owns what is refused: bytes that no journal of this form writes. It must not trust a length or a
//! number that it reads. Frames of one chapter are read in the order they were written.

use std::sync::Arc;

use serde::Deserialize;

use super::bytes::Reader;
use super::*;
use crate::engine::pull::PulledPart;
use crate::model::series::{Histogram, HistogramCell, SeriesKey};
use crate::model::{Address, Labels};
use crate::plan::Plan;

/// A frame that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of the sample log {0}")]
pub struct UnreadableFrame(pub(super) &'static str);

/// An input as it was given to the machine, without what nobody asked for.
#[derive(Debug, Clone)]
pub struct Logged {
    /// When it was given.
    pub at: Timestamp,
    /// The input.
    pub input: Input,
    /// Samples that came with it and that nobody asked for.
    pub unmatched: u64,
}

/// Reads the frames of one chapter.
#[derive(Debug, Default)]
pub struct Chapter {
    /// Keys of series, by number.
    series: Vec<Box<[u8]>>,
    /// Names and labels of samples, by number.
    names: Vec<(String, Labels)>,
}

type Read<T> = Result<T, UnreadableFrame>;

/// A frame being read, and what its times stand against.
struct Frame<'b> {
    from: Reader<'b>,
    last: i64,
    addressed: String,
}

// === impl Chapter ===

impl Chapter {
    /// Reads the next frame.
    ///
    /// # Errors
    /// [`UnreadableFrame`]; nothing after it in the chapter can be read either.
    pub fn read(&mut self, frame: &[u8]) -> Read<Logged> {
        let mut from = Reader::new(frame);
        let kind = kind_of(from.byte()?)?;
        let at = Timestamp(from.signed()?);
        let mut frame = Frame {
            from,
            last: at.millis(),
            addressed: String::new(),
        };
        let mut unmatched = 0;
        let input = match kind {
            Kind::Start => Input::Start(Box::new(frame.start()?)),
            Kind::Samples => {
                let samples = self.samples(&mut frame)?;
                unmatched = frame.from.number()?;
                Input::Samples(samples)
            }
            Kind::Series => {
                let batch = self.batch(&mut frame)?;
                unmatched = frame.from.number()?;
                Input::Series(Box::new(batch))
            }
            Kind::Pulled => Input::Pulled(Box::new(self.pulled(&mut frame)?)),
            Kind::Tick => Input::Tick,
            Kind::Resumed => Input::Resumed,
            Kind::Step => {
                let text: ChangeText = frame.json()?;
                Input::Step {
                    analysis: text.analysis,
                    name: text.name.unwrap_or_default(),
                    weight: text.weight,
                    steps_follow: text.follow,
                    by: text.by,
                }
            }
            Kind::Cancel => {
                let text: ChangeText = frame.json()?;
                Input::Cancel {
                    analysis: text.analysis,
                    actor: text.name,
                    reason: text.why,
                    by: text.by,
                }
            }
            Kind::Override => {
                let text: ChangeText = frame.json()?;
                let to = text.to.ok_or(UnreadableFrame("has no decision"))?;
                Input::Override {
                    analysis: text.analysis,
                    to,
                    actor: text.name,
                    reason: text.why.unwrap_or_default(),
                    by: text.by,
                }
            }
            Kind::Asked => Input::Asked {
                analysis: frame.from.text()?.to_owned(),
            },
        };
        if !frame.from.is_at_end() {
            return Err(UnreadableFrame("goes on behind its end"));
        }
        Ok(Logged {
            at,
            input,
            unmatched,
        })
    }

    fn batch(&mut self, frame: &mut Frame<'_>) -> Read<SeriesBatch> {
        let mut batch = SeriesBatch::default();
        loop {
            let key = match frame.from.number()? {
                END => return Ok(batch),
                SPELLED => {
                    let key = key_of(frame.from.slice()?)?;
                    self.series.push(key.as_bytes().into());
                    key
                }
                ONCE => key_of(frame.from.slice()?)?,
                number => {
                    let known = usize::try_from(number - FIRST).ok();
                    let known = known.and_then(|number| self.series.get(number));
                    SeriesKey::of_sorted(known.ok_or(UnreadableFrame("names an unknown series"))?)
                }
            };
            let kind = series_kind(frame.from.byte()?)?;
            batch
                .begin_key(key, kind)
                .map_err(|_| UnreadableFrame("has too many series"))?;
            for _ in 0..frame.from.count(2)? {
                let point = frame.point(&mut batch)?;
                batch.point(point);
            }
        }
    }

    fn samples(&mut self, frame: &mut Frame<'_>) -> Read<Vec<Sample>> {
        let mut samples = Vec::new();
        loop {
            let (metric, labels) = match frame.from.number()? {
                END => return Ok(samples),
                SPELLED => {
                    let name = frame.name()?;
                    self.names.push(name.clone());
                    name
                }
                ONCE => frame.name()?,
                number => {
                    let known = usize::try_from(number - FIRST).ok();
                    let known = known.and_then(|number| self.names.get(number));
                    known
                        .cloned()
                        .ok_or(UnreadableFrame("names an unknown sample"))?
                }
            };
            samples.push(frame.sample(metric, labels)?);
        }
    }

    fn pulled(&mut self, frame: &mut Frame<'_>) -> Read<PulledMetric> {
        let analysis = frame.from.text()?.to_owned();
        let metric = frame.size()?;
        let outcome = match frame.from.byte()? {
            NOT_ASKED => PullOutcome::NotAsked,
            FAILED => PullOutcome::Failed(frame.from.text()?.to_owned()),
            ANSWERED => {
                let warning = frame.from.text()?;
                let warning = (!warning.is_empty()).then(|| warning.to_owned());
                let mut answers = Vec::new();
                for _ in 0..frame.from.count(3)? {
                    let arm = arm_of(frame.from.byte()? != 0);
                    let part = part_of(frame.from.byte()?)?;
                    let batch = self.batch(frame)?;
                    answers.push(PulledPart { arm, part, batch });
                }
                PullOutcome::Answered { answers, warning }
            }
            _ => return Err(UnreadableFrame("has an unknown outcome")),
        };
        Ok(PulledMetric {
            analysis,
            metric,
            outcome,
        })
    }
}

// === impl Frame ===

impl Frame<'_> {
    fn start(&mut self) -> Read<Start> {
        let text: StartText<Plan> = self.json()?;
        Ok(Start {
            id: text.id,
            plan: Arc::new(text.plan),
            arms: text.arms,
            change: text.change,
            idempotency_key: text.key,
            request_digest: text.digest,
            by: text.by,
        })
    }

    fn json<T: for<'d> Deserialize<'d>>(&mut self) -> Read<T> {
        serde_json::from_str(self.from.text()?).map_err(|_| UnreadableFrame("has unknown JSON"))
    }

    fn size(&mut self) -> Read<usize> {
        usize::try_from(self.from.number()?).map_err(|_| UnreadableFrame("has too large a number"))
    }

    fn time(&mut self) -> Read<Timestamp> {
        self.last = self.last.wrapping_add(self.from.signed()?);
        Ok(Timestamp(self.last))
    }

    fn name(&mut self) -> Read<(String, Labels)> {
        let metric = self.from.text()?.to_owned();
        let mut labels = Labels::new();
        for _ in 0..self.from.count(2)? {
            let (name, value) = (self.from.text()?, self.from.text()?);
            labels.insert(name, value);
        }
        Ok((metric, labels))
    }

    fn sample(&mut self, metric: String, labels: Labels) -> Read<Sample> {
        let has = self.from.byte()?;
        let ts = self.time()?;
        let text = |frame: &mut Self, flag| match has & flag {
            0 => Ok(None),
            _ => frame.from.text().map(|text| Some(text.to_owned())),
        };
        let unit = text(self, HAS_UNIT)?;
        let id = text(self, HAS_ID)?;
        let mut address = None;
        if has & HAS_ADDRESS != 0 {
            let analysis = self.from.text()?;
            if !analysis.is_empty() {
                analysis.clone_into(&mut self.addressed);
            }
            address = Some(Address {
                analysis: self.addressed.clone(),
                arm: arm_of(has & IS_CANARY != 0),
            });
        }
        let missing = match has & HAS_MISSING {
            0 => 0,
            _ => small(self.from.number()?)?,
        };
        let reading = self.reading()?;
        Ok(Sample {
            ts,
            metric,
            labels,
            reading,
            unit,
            id,
            address,
            missing,
        })
    }

    fn reading(&mut self) -> Read<Reading> {
        let from = &mut self.from;
        Ok(match from.byte()? {
            VALUES => Reading::Values {
                values: from.floats()?,
                weights: Vec::new(),
            },
            WEIGHTED => Reading::Values {
                values: from.floats()?,
                weights: from.numbers()?,
            },
            RATIO => Reading::Ratio {
                bad: from.number()?,
                total: from.number()?,
            },
            BUCKETS => Reading::Buckets {
                lows: from.floats()?,
                highs: from.floats()?,
                counts: from.numbers()?,
            },
            UP_TO => Reading::UpTo {
                of: from.number()?,
                bounds: from.floats()?,
                counts: from.numbers()?,
                points: from
                    .numbers()?
                    .into_iter()
                    .map(small)
                    .collect::<Read<_>>()?,
                resets: {
                    let flat: Vec<u32> = from
                        .numbers()?
                        .into_iter()
                        .map(small)
                        .collect::<Read<_>>()?;
                    let (pairs, _) = flat.as_chunks::<2>();
                    pairs.to_vec()
                },
            },
            RATE => Reading::Rate {
                events: from.number()?,
                exposure: from.float()?,
            },
            _ => return Err(UnreadableFrame("has an unknown reading")),
        })
    }

    fn point(&mut self, batch: &mut SeriesBatch) -> Read<Point> {
        let tag = self.from.byte()?;
        let ts = self.time()?;
        let start = match tag & HAS_START {
            0 => None,
            _ => Some(ts.plus(self.from.signed()?)),
        };
        let value = match tag & !HAS_START {
            NUMBER => PointValue::Number(self.from.float()?),
            WHOLE_NUMBER => PointValue::Number(self.from.signed()? as f64),
            INCREMENT => PointValue::Increment(self.from.float()?),
            WHOLE_INCREMENT => PointValue::Increment(self.from.signed()? as f64),
            HISTOGRAM => batch.add_histogram(self.histogram()?),
            STALE => PointValue::Stale,
            _ => return Err(UnreadableFrame("has an unknown point")),
        };
        Ok(Point { ts, start, value })
    }

    fn histogram(&mut self) -> Read<Histogram> {
        let flags = self.from.byte()?;
        let sum = match flags & 2 {
            0 => None,
            _ => Some(self.from.float()?),
        };
        let mut cells = Vec::new();
        for _ in 0..self.from.count(3 * size_of::<f64>())? {
            cells.push(HistogramCell {
                low: self.from.float()?,
                high: self.from.float()?,
                count: self.from.float()?,
            });
        }
        Ok(Histogram {
            is_increment: flags & 1 != 0,
            cells,
            sum,
        })
    }
}

fn small(number: u64) -> Read<u32> {
    u32::try_from(number).map_err(|_| UnreadableFrame("has too large a number"))
}

fn arm_of(is_canary: bool) -> Arm {
    if is_canary {
        Arm::Canary
    } else {
        Arm::Baseline
    }
}

/// A key as a batch writes it: sorted, each label once, a name among them.
fn key_of(bytes: &[u8]) -> Read<SeriesKey<'_>> {
    SeriesKey::checked(bytes).ok_or(UnreadableFrame("has a series that is none"))
}

fn kind_of(code: u8) -> Read<Kind> {
    const KINDS: [Kind; 10] = [
        Kind::Start,
        Kind::Samples,
        Kind::Series,
        Kind::Pulled,
        Kind::Tick,
        Kind::Step,
        Kind::Cancel,
        Kind::Asked,
        Kind::Resumed,
        Kind::Override,
    ];
    let found = KINDS.into_iter().find(|kind| *kind as u8 == code);
    found.ok_or(UnreadableFrame("is of an unknown kind"))
}

fn series_kind(code: u8) -> Read<SeriesKind> {
    use SeriesKind::*;
    let kinds = [Unknown, Counter, Gauge, Histogram, Summary];
    let found = kinds.into_iter().find(|kind| kind_code(*kind) == code);
    found.ok_or(UnreadableFrame("has a series of an unknown kind"))
}

fn part_of(code: u8) -> Read<Part> {
    let parts = [Part::Points, Part::Bad, Part::Total, Part::Buckets];
    let found = parts.into_iter().find(|part| part_code(*part) == code);
    found.ok_or(UnreadableFrame("has an unknown part"))
}
