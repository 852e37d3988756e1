//! Data points into a batch of series.
//!
//! Owns what becomes of each kind of metric and temporality, the numbers of the data points, and
//! what is refused. Both forms are read into it: a reader says what stands where, in the order
//! resource, scope, metric, data points. It must not know how any of it is written.

use super::super::number::{Problem, quoted};
use super::super::series::{Collecting, KeyShape};
use super::super::{Limits, METRIC_BYTES_MAX, Origin, Unreadable, UnreadableCode};
use super::cells::{self, Exponential, Few};
use super::known::PlainNumber;
use super::labels::LabelSet;
use super::names::{self, NameKind};
use crate::model::Timestamp;
use crate::model::series::{Histogram, Point, PointValue, SeriesKey, SeriesKind};

/// Bit of a data point's flags: there is no value, the series has ended.
const NO_RECORDED_VALUE: u32 = 1;
const NANOS_PER_MILLI: u64 = 1_000_000;

/// The kinds of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Data {
    Gauge,
    Sum,
    Histogram,
    Exponential,
    Summary,
}

/// What a metric's points are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub data: Data,
    /// `AggregationTemporality` as it was sent: 1 for delta, 2 for cumulative.
    pub temporality: i64,
    pub is_monotonic: bool,
}

/// What becomes of a metric's points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Treatment {
    Gauge,
    Total,
    Increment,
    Explicit { is_increment: bool },
    Exponential { is_increment: bool },
}

/// A data point as it is read; its attributes are in the label set.
#[derive(Debug, Default)]
pub(super) struct Raw {
    pub start_nanos: u64,
    pub nanos: u64,
    pub flags: u32,
    /// A number's.
    pub value: Option<f64>,
    /// Observations of a histogram; used where it has no buckets.
    pub count: u64,
    pub sum: Option<f64>,
    pub bounds: Few<f64>,
    pub counts: Few<u64>,
    pub exponential: Exponential,
    problem: Option<Problem>,
}

/// A request while it is read.
pub(super) struct Gathering<'l> {
    out: Collecting<'l>,
    limits: &'l Limits,
    /// Attributes of what is read.
    pub labels: LabelSet,
    /// The data point that is read.
    pub raw: Raw,
    /// Number of the next data point.
    next: usize,
    /// What becomes of the metric's points, or why nothing does.
    treatment: Result<Treatment, Problem>,
    is_told: bool,
}

// === impl Raw ===

impl Raw {
    fn clear(&mut self) {
        self.start_nanos = 0;
        self.nanos = 0;
        self.flags = 0;
        self.value = None;
        self.count = 0;
        self.sum = None;
        self.bounds.clear();
        self.counts.clear();
        self.exponential.clear();
        self.problem = None;
    }

    /// Remembers why the point cannot be taken; the first reason stays.
    pub fn spoil(&mut self, code: &'static str, message: impl Into<String>) {
        self.problem
            .get_or_insert_with(|| Problem::new(code, message));
    }

    fn is_stale(&self) -> bool {
        self.flags & NO_RECORDED_VALUE != 0
    }

    /// The time since which a total counts. A point that begins where it ends says that the
    /// beginning is not known (metrics data model, "Cumulative streams: handling unknown start
    /// time"); what begins later than it ends says nothing.
    fn start(&self) -> Option<Timestamp> {
        let is_known = self.start_nanos > 0 && self.start_nanos < self.nanos;
        is_known.then(|| millis(self.start_nanos))
    }

    fn number(&self) -> Result<f64, Problem> {
        self.value.ok_or_else(|| {
            let message = "a data point without as_int and as_double; leave such points out";
            Problem::new("missing_value", message)
        })
    }

    fn histogram(&self, treatment: Treatment) -> Result<Histogram, Problem> {
        let (is_increment, cells) = match treatment {
            Treatment::Exponential { is_increment } => (is_increment, self.exponential.cells()?),
            Treatment::Explicit { is_increment } => {
                let cells = cells::explicit(&self.bounds, &self.counts, self.count)?;
                (is_increment, cells)
            }
            _ => return Err(Problem::new("bad_histogram", "not a histogram")),
        };
        Ok(Histogram {
            is_increment,
            cells,
            sum: self.sum.filter(|sum| !sum.is_nan()),
        })
    }
}

/// Unix nanoseconds as a time; the number of a year past the range stays past it.
fn millis(nanos: u64) -> Timestamp {
    Timestamp(i64::try_from(nanos / NANOS_PER_MILLI).unwrap_or(i64::MAX))
}

// === impl Shape ===

impl Shape {
    fn name_kind(self) -> NameKind {
        match self.data {
            Data::Gauge => NameKind::Gauge,
            Data::Sum if self.is_monotonic => NameKind::Counter,
            _ => NameKind::Other,
        }
    }

    fn treatment(self) -> Result<Treatment, Problem> {
        let is_increment = match (self.data, self.temporality) {
            (Data::Gauge, _) => return Ok(Treatment::Gauge),
            (Data::Summary, _) => {
                return Err(Problem::new(
                    "summary",
                    "a summary's quantiles cannot be compared or added; send a histogram",
                ));
            }
            (_, 1) => true,
            (_, 2) => false,
            (_, other) => {
                let message =
                    format!("aggregation_temporality is {other}; send delta (1) or cumulative (2)");
                return Err(Problem::new("bad_temporality", message));
            }
        };
        match self.data {
            Data::Sum if self.is_monotonic && is_increment => Ok(Treatment::Increment),
            Data::Sum if self.is_monotonic => Ok(Treatment::Total),
            Data::Sum if is_increment => Err(Problem::new(
                "bad_temporality",
                "changes of a sum that goes up and down do not tell its value; send it as \
                 cumulative, or as a gauge",
            )),
            Data::Histogram => Ok(Treatment::Explicit { is_increment }),
            Data::Exponential => Ok(Treatment::Exponential { is_increment }),
            _ => Ok(Treatment::Gauge),
        }
    }
}

// === impl Treatment ===

impl Treatment {
    fn kind(self) -> SeriesKind {
        match self {
            Treatment::Gauge => SeriesKind::Gauge,
            Treatment::Total | Treatment::Increment => SeriesKind::Counter,
            Treatment::Explicit { .. } | Treatment::Exponential { .. } => SeriesKind::Histogram,
        }
    }

    /// Whether its points have a start. An increment has one too: what it holds may have come before
    /// an analysis began.
    fn counts(self) -> bool {
        !matches!(self, Treatment::Gauge)
    }
}

// === impl Gathering ===

impl<'l> Gathering<'l> {
    /// Nothing yet.
    pub fn new(limits: &'l Limits, room: &'l mut dyn FnMut(u64) -> bool) -> Gathering<'l> {
        Gathering {
            out: Collecting::new(limits, room),
            limits,
            labels: LabelSet::new(limits),
            raw: Raw::default(),
            next: 0,
            treatment: Ok(Treatment::Gauge),
            is_told: false,
        }
    }

    /// Another resource begins; its attributes follow.
    pub fn begin_resource(&mut self) {
        self.labels.resource.clear();
    }

    /// The resource's attributes are read.
    pub fn end_resource(&mut self) {
        self.labels.resource.settle();
    }

    /// Another scope begins; its attributes follow.
    pub fn begin_scope(&mut self) {
        self.labels.scope.clear();
    }

    /// The scope's attributes are read; its metrics follow.
    pub fn end_scope(&mut self) {
        self.labels.scope.settle();
        if self.is_readable_around() {
            self.labels.share();
        }
    }

    /// Whether resource and scope have attributes that can be taken.
    pub fn is_readable_around(&self) -> bool {
        let levels = [&self.labels.resource, &self.labels.scope];
        levels.iter().all(|level| level.problem().is_none())
    }

    /// Another metric begins whose points may be known: those follow. Before any that is not comes
    /// [`Gathering::begin_metric`]. Whether points of this shape can be taken.
    pub fn begin_known(&mut self, shape: Shape) -> bool {
        self.treatment = shape.treatment();
        self.treatment.is_ok()
    }

    /// Another metric begins; its points follow. Where none of them can be taken, says so: they
    /// are only to be counted, by [`Gathering::lose`].
    pub fn begin_metric(&mut self, name: &str, unit: &str, shape: Shape) -> bool {
        self.is_told = false;
        self.treatment = self.treat(name, unit, shape).map_err(|problem| Problem {
            message: format!("metric {}: {}", quoted(name), problem.message),
            ..problem
        });
        self.treatment.is_ok()
    }

    fn treat(&mut self, name: &str, unit: &str, shape: Shape) -> Result<Treatment, Problem> {
        for (owner, level) in [
            ("resource", &self.labels.resource),
            ("scope", &self.labels.scope),
        ] {
            if let Some(problem) = level.problem() {
                let message = format!("its {owner} has {}", problem.message);
                return Err(Problem::new(problem.code, message));
            }
        }
        let treatment = shape.treatment()?;
        let kind = shape.name_kind();
        self.labels
            .name(|out| names::metric_name(out, name, unit, kind));
        // Checked here, once: a name is written into the key of each point.
        if !(1..=METRIC_BYTES_MAX).contains(&self.labels.metric_name().len()) {
            let message = format!("as a series' name it must have 1 to {METRIC_BYTES_MAX} bytes");
            return Err(Problem::new("bad_metric_name", message));
        }
        Ok(treatment)
    }

    /// Another data point begins.
    pub fn begin_point(&mut self) {
        self.raw.clear();
        self.labels.point.clear();
    }

    /// The data point is read: it is taken or refused.
    ///
    /// # Errors
    /// Too many points for one request, or no room for them.
    pub fn end_point(&mut self) -> Result<(), Unreadable> {
        let treatment = match &self.treatment {
            Ok(treatment) => *treatment,
            Err(_) => return self.lose(),
        };
        let origin = self.number_point()?;
        self.labels.point.settle();
        let found = match self
            .raw
            .problem
            .take()
            .or(self.labels.point.problem().cloned())
        {
            Some(problem) => Err(problem),
            None => self.value_of(treatment),
        };
        let (value, histogram) = match found {
            Ok(found) => found,
            Err(problem) => {
                self.refuse(origin, problem);
                return Ok(());
            }
        };
        self.out.begin(self.labels.iter(), treatment.kind(), origin);
        let value = match histogram {
            Some(histogram) if !self.out.is_refused() => self.out.histogram(histogram),
            _ => value,
        };
        self.out.point(Point {
            ts: millis(self.raw.nanos),
            start: self.raw.start().filter(|_| treatment.counts()),
            value,
        })
    }

    /// Takes a plain number whose labels are known, as [`Gathering::end_point`] would. `false`, with
    /// nothing done, where something is wrong with it: that is the business of the other.
    ///
    /// # Errors
    /// Those of [`Gathering::end_point`].
    pub fn known_point(
        &mut self,
        key: SeriesKey<'_>,
        shape: KeyShape,
        number: &PlainNumber<'_>,
    ) -> Result<bool, Unreadable> {
        self.raw.clear();
        self.raw.start_nanos = number.start_nanos;
        self.raw.nanos = number.nanos;
        self.raw.value = Some(number.value);
        let Ok(treatment) = self.treatment else {
            return Ok(false);
        };
        let Ok((value, _)) = self.value_of(treatment) else {
            return Ok(false);
        };
        let origin = self.number_point()?;
        self.out.begin_key(key, shape, treatment.kind(), origin);
        self.out.point(Point {
            ts: millis(number.nanos),
            start: self.raw.start().filter(|_| treatment.counts()),
            value,
        })?;
        Ok(true)
    }

    /// Series kept so far.
    pub fn series_count(&self) -> usize {
        self.out.batch().len()
    }

    /// The key of the last series kept.
    pub fn last_key(&self) -> Option<(SeriesKey<'_>, KeyShape)> {
        let last = self.series_count().checked_sub(1)?;
        let key = self.out.batch().get(last)?.key;
        Some((key, KeyShape::of(key)))
    }

    fn value_of(&self, treatment: Treatment) -> Result<(PointValue, Option<Histogram>), Problem> {
        let raw = &self.raw;
        if raw.nanos == 0 {
            let message = "time_unix_nano is missing; give the time of the data point";
            return Err(Problem::new("bad_timestamp", message));
        }
        if raw.is_stale() {
            return Ok((PointValue::Stale, None));
        }
        match treatment {
            Treatment::Gauge | Treatment::Total => Ok((PointValue::Number(raw.number()?), None)),
            Treatment::Increment => {
                let increment = raw.number()?;
                if increment < 0.0 || increment.is_infinite() {
                    let message = format!(
                        "an increment of {increment} in a monotonic sum; it must be finite and not negative"
                    );
                    return Err(Problem::new("bad_increment", message));
                }
                Ok((PointValue::Increment(increment), None))
            }
            Treatment::Explicit { .. } | Treatment::Exponential { .. } => {
                Ok((PointValue::Stale, Some(raw.histogram(treatment)?)))
            }
        }
    }

    /// Counts a data point of a metric none of whose points can be taken.
    ///
    /// # Errors
    /// Too many points for one request.
    pub fn lose(&mut self) -> Result<(), Unreadable> {
        let origin = self.number_point()?;
        self.out.lost_points(1);
        if !std::mem::replace(&mut self.is_told, true)
            && let Err(problem) = &self.treatment
        {
            let Problem { code, message } = problem.clone();
            self.out.refuse(origin, code, message);
        }
        Ok(())
    }

    /// Refuses what could not even be taken apart; it counts as one data point.
    ///
    /// # Errors
    /// Too many points for one request.
    pub fn refuse_part(&mut self, code: &'static str, message: String) -> Result<(), Unreadable> {
        let origin = self.number_point()?;
        self.out.lost_points(1);
        self.out.refuse(origin, code, message);
        Ok(())
    }

    fn refuse(&mut self, origin: Origin, problem: Problem) {
        let Problem { code, message } = problem;
        let message = format!("metric {}: {message}", quoted(self.labels.metric_name()));
        self.out.lost_points(1);
        self.out.refuse(origin, code, message);
    }

    fn number_point(&mut self) -> Result<Origin, Unreadable> {
        let (index, most) = (self.next, self.limits.samples_per_request_max);
        if index >= most {
            return Err(Unreadable {
                code: UnreadableCode::TooManySamples,
                message: format!("more than {most} data points in one request"),
                help:
                    "make the exporter's batches smaller, or raise limits.samples_per_request_max"
                        .into(),
            });
        }
        self.next += 1;
        Ok(Origin { index, line: None })
    }

    /// The result, for which there is room.
    ///
    /// # Errors
    /// [`UnreadableCode::NoRoom`].
    pub fn finish(self) -> Result<super::DecodedSeries, Unreadable> {
        self.out.finish()
    }
}
