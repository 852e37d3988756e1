//! Series into a batch, and refusals of those that cannot be taken.
//!
//! Owns the limits on series, labels and points, which hold for every format that sends series,
//! and the memory their batch takes. How a format is read is the business of its own file.

use super::{
    ItemRefusal, Limits, METRIC_BYTES_MAX, Origin, REFUSALS_SPELLED_MAX, TS_MILLIS_MAX,
    TS_MILLIS_MIN, Unreadable, UnreadableCode,
};
use crate::model::Timestamp;
use crate::model::series::{
    BadLabels, Histogram, NAME_LABEL, Point, PointValue, SeriesBatch, SeriesKey, SeriesKind,
};

/// Cells of one histogram at one point. A native histogram has 160 by default, an exponential one
/// as many in each direction.
pub const HISTOGRAM_CELLS_MAX: usize = 1_024;
/// Bytes by which a batch grows before room is asked for.
const STEP_BYTES: u64 = 1 << 20;

/// Bytes that a point takes, with what is made of it.
const POINT_BYTES: u64 = 2 * size_of::<Point>() as u64;

/// Points that are added before room is asked for.
const PLAIN_POINTS_MAX: usize = 4_096;

/// Whether a time can be.
#[inline]
pub(super) fn is_in_range(ts: Timestamp) -> bool {
    (TS_MILLIS_MIN..=TS_MILLIS_MAX).contains(&ts.millis())
}

/// What a request of series held.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DecodedSeries {
    /// The series that can be taken.
    pub batch: SeriesBatch,
    /// Where each series of the batch stood; as long as the batch.
    pub origins: Vec<Origin>,
    /// What was refused: whole series, or single points of one (then under the series' number).
    pub refusals: Vec<ItemRefusal>,
    /// Points that were refused, alone or with their series.
    pub refused_points: u64,
}

/// What a key is made of, for the limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct KeyShape {
    /// Bytes of the series' name.
    pub name_bytes: usize,
    /// Labels, without the name.
    pub label_count: usize,
    /// Bytes of their names and values.
    pub label_bytes: usize,
}

/// A request's series while they are read.
pub(super) struct Collecting<'l> {
    decoded: DecodedSeries,
    limits: &'l Limits,
    cells_max: usize,
    /// Where the series being read stood; `None` where it was refused.
    current: Option<Origin>,
    points: usize,
    bytes: u64,
    /// What the format holds beside the batch until it is read.
    held: u64,
    asked: u64,
    room: &'l mut dyn FnMut(u64) -> bool,
}

// === impl KeyShape ===

impl KeyShape {
    /// That of a key.
    pub fn of(key: SeriesKey<'_>) -> KeyShape {
        let mut shape = KeyShape::default();
        for (name, value) in key.pairs() {
            if name == NAME_LABEL {
                shape.name_bytes = value.len();
            } else {
                shape.label_count += 1;
                shape.label_bytes += name.len() + value.len();
            }
        }
        shape
    }
}

// === impl Collecting ===

impl<'l> Collecting<'l> {
    /// Nothing yet. `room` is asked whether so many bytes in all may be taken.
    pub fn new(limits: &'l Limits, room: &'l mut dyn FnMut(u64) -> bool) -> Collecting<'l> {
        Collecting {
            decoded: DecodedSeries::default(),
            limits,
            cells_max: HISTOGRAM_CELLS_MAX,
            current: None,
            points: 0,
            bytes: 0,
            held: 0,
            asked: 0,
            room,
        }
    }

    /// With another limit on the cells of one histogram than [`HISTOGRAM_CELLS_MAX`].
    pub fn with_cells_max(self, cells_max: usize) -> Collecting<'l> {
        Collecting { cells_max, ..self }
    }

    /// Begins a series, or refuses it; points that follow belong to it, and are refused with it.
    pub fn begin<'t>(
        &mut self,
        labels: impl Iterator<Item = (&'t str, &'t str)>,
        kind: SeriesKind,
        origin: Origin,
    ) {
        let (mut count, mut bytes, mut name_bytes, mut names) = (0, 0, 0, 0);
        let (count_max, bytes_max) = (self.limits.label_count_max, self.limits.label_bytes_max);
        // What goes past a limit is counted and not written: a format that refers to its texts may
        // name a long one as often as it likes.
        let labels = labels.filter(|(name, value)| {
            if value.is_empty() {
                return false;
            }
            if *name == NAME_LABEL {
                (names, name_bytes) = (names + 1, value.len().max(name_bytes));
                return names <= 2 && value.len() <= METRIC_BYTES_MAX;
            }
            count += 1;
            bytes += name.len() + value.len();
            count <= count_max && bytes <= bytes_max
        });
        let begun = self.decoded.batch.begin(labels, kind);
        let key_bytes = begun.as_ref().map_or(0, |key| key.as_bytes().len());
        let problem = match begun {
            _ if name_bytes > METRIC_BYTES_MAX => Some((
                "bad_metric_name",
                format!("a metric's name must have 1 to {METRIC_BYTES_MAX} bytes"),
            )),
            _ if count > count_max => Some((
                "too_many_labels",
                format!("{count} labels; at most {count_max} are allowed"),
            )),
            _ if bytes > bytes_max => Some((
                "labels_too_long",
                format!("labels of {bytes} bytes; at most {bytes_max} are allowed"),
            )),
            Err(BadLabels::NoName) => Some((
                "bad_metric_name",
                format!("a series without a name; give it the label {NAME_LABEL}"),
            )),
            Err(BadLabels::Twice(name)) => Some((
                "duplicate_label",
                format!("the label {name:?} is given twice; give it once"),
            )),
            Err(BadLabels::BatchFull) => Some((
                "labels_too_long",
                "the labels of one request take more than 4 GiB; send fewer series at once".into(),
            )),
            Ok(_) => None,
        };
        match problem {
            None => {
                self.current = Some(origin);
                self.decoded.origins.push(origin);
                self.bytes += key_bytes as u64 + 64;
            }
            Some((code, message)) => {
                if key_bytes > 0 {
                    self.decoded.batch.take_back();
                }
                self.current = None;
                self.refuse(origin, code, message);
            }
        }
    }

    /// As [`Collecting::begin`], with a key that has been made.
    #[inline]
    pub fn begin_key(
        &mut self,
        key: SeriesKey<'_>,
        shape: KeyShape,
        kind: SeriesKind,
        origin: Origin,
    ) {
        let is_within = shape.name_bytes <= METRIC_BYTES_MAX
            && shape.label_count <= self.limits.label_count_max
            && shape.label_bytes <= self.limits.label_bytes_max;
        if !is_within || self.decoded.batch.begin_key(key, kind).is_err() {
            // It says why.
            return self.begin(key.pairs(), kind, origin);
        }
        self.current = Some(origin);
        self.decoded.origins.push(origin);
        self.bytes += key.as_bytes().len() as u64 + 64;
    }

    /// Adds a point to the series that was begun last. One with a time or a number that cannot be
    /// is refused by itself; a NaN that is no staleness marker counts as one that was not measured,
    /// and is left out by the caller.
    ///
    /// # Errors
    /// Too many points for one request, or no room for them.
    #[inline]
    pub fn point(&mut self, point: Point) -> Result<(), Unreadable> {
        // Nearly all are plain numbers, and the request is still short and small.
        if let (PointValue::Number(value), Some(_)) = (point.value, self.current)
            && is_in_range(point.ts)
            && !value.is_nan()
            && self.points < self.limits.samples_per_request_max
            && self.bytes - self.asked < STEP_BYTES
        {
            self.points += 1;
            self.decoded.batch.point(point);
            self.bytes += POINT_BYTES;
            return Ok(());
        }
        self.checked_point(point)
    }

    /// Adds plain numbers of possible times to the series that was begun last, at most so many; how
    /// many there were. Takes none where anything has to be looked at.
    #[inline]
    pub fn plain_points(&mut self, most: usize, points: impl Iterator<Item = Point>) -> usize {
        let is_within = most <= PLAIN_POINTS_MAX
            && self.points + most <= self.limits.samples_per_request_max
            && self.bytes - self.asked < STEP_BYTES;
        if !is_within || self.current.is_none() {
            return 0;
        }
        let count = self.decoded.batch.extend_last(points);
        self.points += count;
        self.bytes += count as u64 * POINT_BYTES;
        count
    }

    fn checked_point(&mut self, point: Point) -> Result<(), Unreadable> {
        self.count(1)?;
        let Some(origin) = self.current else {
            self.decoded.refused_points += 1;
            return Ok(());
        };
        if let Some((code, message)) = self.problem_of(&point) {
            self.decoded.refused_points += 1;
            self.refuse(origin, code, message);
            return Ok(());
        }
        self.decoded.batch.point(point);
        self.bytes += POINT_BYTES;
        Ok(())
    }

    /// Counts points against the request, and asks for room where it has grown by a step.
    fn count(&mut self, points: usize) -> Result<(), Unreadable> {
        self.points = self.points.saturating_add(points);
        if self.points > self.limits.samples_per_request_max {
            let most = self.limits.samples_per_request_max;
            return Err(Unreadable {
                code: UnreadableCode::TooManySamples,
                message: format!("more than {most} samples in one request"),
                help: "send them in several requests, or raise limits.samples_per_request_max"
                    .into(),
            });
        }
        match self.bytes - self.asked {
            STEP_BYTES.. => self.ask(),
            _ => Ok(()),
        }
    }

    fn problem_of(&self, point: &Point) -> Option<(&'static str, String)> {
        if !is_in_range(point.ts) {
            return Some((
                "bad_timestamp",
                format!(
                    "the time {} is not in unix milliseconds between the years 2000 and 2200",
                    point.ts.millis()
                ),
            ));
        }
        match point.value {
            PointValue::Number(value) | PointValue::Increment(value) if value.is_nan() => Some((
                "nan",
                "the value is not a number; leave such points out".into(),
            )),
            PointValue::Histogram(number) => {
                let cells = self
                    .decoded
                    .batch
                    .histogram(number)
                    .map_or(0, |h| h.cells.len());
                let cells_max = self.cells_max;
                (cells > cells_max).then(|| {
                    (
                        "too_many_cells",
                        format!("a histogram of {cells} buckets; at most {cells_max} are allowed"),
                    )
                })
            }
            _ => None,
        }
    }

    /// Keeps a histogram for a point that is to be added.
    pub fn histogram(&mut self, histogram: Histogram) -> PointValue {
        self.bytes += 128 + 24 * histogram.cells.len() as u64;
        self.decoded.batch.add_histogram(histogram)
    }

    /// Refuses something that stood at `origin`.
    pub fn refuse(&mut self, origin: Origin, code: &'static str, message: String) {
        let spelled = self.decoded.refusals.len() < REFUSALS_SPELLED_MAX;
        let message = if spelled { message } else { String::new() };
        self.bytes += 128 + message.len() as u64;
        self.decoded.refusals.push(ItemRefusal {
            index: origin.index,
            line: origin.line,
            code,
            message,
        });
    }

    /// Refuses a series that cannot be begun, with the points that could be told apart.
    ///
    /// # Errors
    /// Those of [`Collecting::point`]; the series counts as one point at least.
    pub fn refuse_series(
        &mut self,
        origin: Origin,
        code: &'static str,
        message: String,
        points: usize,
    ) -> Result<(), Unreadable> {
        self.current = None;
        self.refuse(origin, code, message);
        self.decoded.refused_points += points as u64;
        self.count(points.max(1))
    }

    /// Refuses a point, of the series begun last, that could not be read; one of a refused series
    /// is only counted.
    ///
    /// # Errors
    /// Those of [`Collecting::point`].
    pub fn lose_point(&mut self, code: &'static str, message: String) -> Result<(), Unreadable> {
        if let Some(origin) = self.current {
            self.refuse(origin, code, message);
        }
        self.decoded.refused_points += 1;
        self.count(1)
    }

    /// Whether the series begun last was refused, so that its points need not be read.
    pub fn is_refused(&self) -> bool {
        self.current.is_none()
    }

    /// The series kept so far.
    pub fn batch(&self) -> &SeriesBatch {
        &self.decoded.batch
    }

    /// Says since when the totals of a series kept count, for the points it has so far.
    pub fn set_start(&mut self, series: usize, start: Timestamp) {
        self.decoded.batch.set_start(series, start);
    }

    /// Points refused until now.
    pub fn refused_points(&self) -> u64 {
        self.decoded.refused_points
    }

    /// Takes room for what a format must hold beside the batch until [`Collecting::finish`].
    ///
    /// # Errors
    /// [`UnreadableCode::NoRoom`].
    pub fn hold(&mut self, bytes: u64) -> Result<(), Unreadable> {
        self.held += bytes;
        self.ask()
    }

    /// Counts points that were refused where they could not even be read.
    pub fn lost_points(&mut self, points: u64) {
        self.decoded.refused_points += points;
    }

    /// The result, for which there is room.
    ///
    /// # Errors
    /// [`UnreadableCode::NoRoom`].
    pub fn finish(mut self) -> Result<DecodedSeries, Unreadable> {
        self.held = 0;
        self.ask()?;
        Ok(self.decoded)
    }

    fn ask(&mut self) -> Result<(), Unreadable> {
        self.asked = self.bytes;
        if (self.room)(self.bytes + self.held) {
            return Ok(());
        }
        Err(super::no_room())
    }
}

#[cfg(test)]
mod tests;
