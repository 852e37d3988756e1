//! Series of points, as those send them who expose whole registries: scrapers, remote-writers,
//! OTLP exporters.
//!
//! Owns how one request's series are held: label sets as flat bytes beside each other, so that a
//! thousand known series cost no allocation each. It must not know of plans, arms or formats; what
//! a number means (a counter's total, a gauge's point) is decided by who asks for the series.

use serde::{Deserialize, Serialize};

use super::{Labels, Timestamp};

/// Ends a label's name, and its value. It occurs in no text, since UTF-8 has no such byte.
pub(crate) const KEY_END: u8 = 0xff;
/// The label that carries a series' name.
pub const NAME_LABEL: &str = "__name__";

/// A label set with the series' name among it: `name KEY_END value KEY_END` for each label, sorted by
/// name. Two series are the same exactly when their keys are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SeriesKey<'b>(&'b [u8]);

/// What the sender says a series is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SeriesKind {
    /// It does not say.
    #[default]
    Unknown,
    /// A total that grows until its process starts anew.
    Counter,
    /// A value that goes up and down.
    Gauge,
    /// A part of a classic histogram or a histogram.
    Histogram,
    /// A part of a summary: quantiles that cannot be compared or added.
    Summary,
}

/// One point of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Event time.
    pub ts: Timestamp,
    /// Since when a total or an increment counts, where the sender says so.
    pub start: Option<Timestamp>,
    /// What was observed.
    pub value: PointValue,
}

/// What a point holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PointValue {
    /// A number: a counter's total or a gauge's value. Never NaN.
    Number(f64),
    /// What came on top since the last point of the series (delta temporality). Never NaN.
    Increment(f64),
    /// Number of a histogram of the batch, from 0.
    Histogram(u32),
    /// The series ended here.
    Stale,
}

/// A histogram at one point: how many observations lay in each cell.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Histogram {
    /// Whether it holds what came since the last point, instead of everything since the start.
    pub is_increment: bool,
    /// Cells that are not empty, ascending, not overlapping.
    pub cells: Vec<HistogramCell>,
    /// Sum of all observations, where it is known.
    pub sum: Option<f64>,
}

/// Observations above `low`, up to and including `high` (a cell of negative values includes its
/// low end instead; the zero cell both).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HistogramCell {
    /// Lower end, possibly minus infinity.
    pub low: f64,
    /// Upper end, possibly infinity.
    pub high: f64,
    /// Number of observations; not negative, and whole but for histograms of weighted events.
    pub count: f64,
}

/// One request's series with their points.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SeriesBatch {
    /// The keys, one after another.
    keys: Vec<u8>,
    series: Vec<Entry>,
    points: Vec<Point>,
    histograms: Vec<Histogram>,
}

/// One series of a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Series<'b> {
    /// Which series it is.
    pub key: SeriesKey<'b>,
    /// What the sender says it is.
    pub kind: SeriesKind,
    /// Its points, in the order they stood.
    pub points: &'b [Point],
}

/// Where a series' parts end; they begin where those of the one before end.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Entry {
    key_end: u32,
    points_end: u32,
    kind: SeriesKind,
}

/// Why a label set cannot be a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadLabels {
    /// There is no name.
    NoName,
    /// This label is given twice.
    Twice(String),
    /// The batch holds as much as it can.
    BatchFull,
}

// === impl SeriesKey ===

impl<'b> SeriesKey<'b> {
    /// The key laid out in `bytes`: texts and their ends, sorted by name, no name twice, no value
    /// empty, the series' name among them.
    #[inline]
    pub(crate) fn of_sorted(bytes: &'b [u8]) -> SeriesKey<'b> {
        let key = SeriesKey(bytes);
        debug_assert!(key.pairs().is_sorted_by(|a, b| a.0 < b.0) && !key.name().is_empty());
        key
    }

    /// The key laid out in bytes of unknown origin; `None` where they are no key.
    pub(crate) fn checked(bytes: &'b [u8]) -> Option<SeriesKey<'b>> {
        let key = SeriesKey(bytes);
        std::str::from_utf8(
            &bytes
                .iter()
                .map(|&b| if b == KEY_END { 0 } else { b })
                .collect::<Vec<u8>>(),
        )
        .ok()?;
        let ends = bytes.iter().filter(|&&byte| byte == KEY_END).count();
        let is_whole = bytes.last() == Some(&KEY_END) && ends % 2 == 0;
        let is_sorted = key.pairs().is_sorted_by(|a, b| a.0 < b.0);
        let is_full = key.pairs().all(|(_, value)| !value.is_empty());
        (is_whole && is_sorted && is_full && !key.name().is_empty()).then_some(key)
    }

    /// The bytes: what to look a series up by.
    pub fn as_bytes(self) -> &'b [u8] {
        self.0
    }

    /// Names and values, sorted by name, the series' name among them.
    pub fn pairs(self) -> impl Iterator<Item = (&'b str, &'b str)> {
        let mut texts = self.0.split(|&byte| byte == KEY_END);
        std::iter::from_fn(move || {
            let (name, value) = (texts.next()?, texts.next()?);
            // Keys are made of text only.
            Some((
                std::str::from_utf8(name).unwrap_or_default(),
                std::str::from_utf8(value).unwrap_or_default(),
            ))
        })
    }

    /// The series' name.
    pub fn name(self) -> &'b str {
        let mut pairs = self.pairs();
        pairs
            .find(|(name, _)| *name == NAME_LABEL)
            .map_or("", |(_, value)| value)
    }

    /// The labels without the series' name.
    pub fn labels(self) -> Labels {
        self.pairs()
            .filter(|(name, _)| *name != NAME_LABEL)
            .collect()
    }
}

// === impl SeriesBatch ===

impl SeriesBatch {
    /// Number of series.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether there is no series.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Number of points of all series.
    pub fn point_count(&self) -> usize {
        self.points.len()
    }

    /// Number of cells of all histograms.
    pub fn cell_count(&self) -> usize {
        let cells = self
            .histograms
            .iter()
            .map(|histogram| histogram.cells.len());
        cells.sum()
    }

    /// The series, in the order they stood.
    pub fn iter(&self) -> impl Iterator<Item = Series<'_>> {
        let (mut key_from, mut points_from) = (0, 0);
        self.series.iter().map(move |entry| {
            let (key_end, points_end) = (entry.key_end as usize, entry.points_end as usize);
            let series = Series {
                key: SeriesKey(&self.keys[key_from..key_end]),
                kind: entry.kind,
                points: &self.points[points_from..points_end],
            };
            (key_from, points_from) = (key_end, points_end);
            series
        })
    }

    /// One series, by its place among them.
    pub fn get(&self, series: usize) -> Option<Series<'_>> {
        let entry = self.series.get(series)?;
        let before = series.checked_sub(1).map(|before| self.series[before]);
        let (key_from, points_from) = before.map_or((0, 0), |e| (e.key_end, e.points_end));
        Some(Series {
            key: SeriesKey(&self.keys[key_from as usize..entry.key_end as usize]),
            kind: entry.kind,
            points: &self.points[points_from as usize..entry.points_end as usize],
        })
    }

    /// Says since when the totals of a series count, for the points it has so far.
    pub fn set_start(&mut self, series: usize, start: Timestamp) {
        let Some(entry) = self.series.get(series) else {
            return;
        };
        let before = series.checked_sub(1).map(|before| self.series[before]);
        let from = before.map_or(0, |e| e.points_end) as usize;
        for point in &mut self.points[from..entry.points_end as usize] {
            point.start = Some(start);
        }
    }

    /// The histogram of a point.
    pub fn histogram(&self, number: u32) -> Option<&Histogram> {
        self.histograms.get(number as usize)
    }

    /// Begins a series; points are added to the last one begun. Labels with an empty value are
    /// the same as none and left out.
    ///
    /// # Errors
    /// [`BadLabels`]; the batch is then as it was.
    pub fn begin<'t>(
        &mut self,
        labels: impl Iterator<Item = (&'t str, &'t str)>,
        kind: SeriesKind,
    ) -> Result<SeriesKey<'_>, BadLabels> {
        let from = self.keys.len();
        match self.write_key(labels, from) {
            Ok(key_end) => {
                self.series.push(Entry {
                    key_end,
                    points_end: self.points.len() as u32,
                    kind,
                });
                Ok(SeriesKey(&self.keys[from..]))
            }
            Err(bad) => {
                self.keys.truncate(from);
                Err(bad)
            }
        }
    }

    /// As [`SeriesBatch::begin`], with a key that has been made.
    ///
    /// # Errors
    /// [`BadLabels::BatchFull`]; the batch is then as it was.
    pub(crate) fn begin_key(
        &mut self,
        key: SeriesKey<'_>,
        kind: SeriesKind,
    ) -> Result<(), BadLabels> {
        let key_end = self.keys.len() + key.0.len();
        let key_end = u32::try_from(key_end).map_err(|_| BadLabels::BatchFull)?;
        self.keys.extend_from_slice(key.0);
        self.series.push(Entry {
            key_end,
            points_end: self.points.len() as u32,
            kind,
        });
        Ok(())
    }

    fn write_key<'t>(
        &mut self,
        labels: impl Iterator<Item = (&'t str, &'t str)>,
        from: usize,
    ) -> Result<u32, BadLabels> {
        let (mut before, mut is_sorted, mut is_named) = ("", true, false);
        for (name, value) in labels.filter(|(_, value)| !value.is_empty()) {
            is_sorted &= before < name;
            is_named |= name == NAME_LABEL;
            before = name;
            for text in [name, value] {
                self.keys.extend_from_slice(text.as_bytes());
                self.keys.push(KEY_END);
            }
        }
        if !is_named {
            return Err(BadLabels::NoName);
        }
        if !is_sorted {
            self.sort_key(from)?;
        }
        u32::try_from(self.keys.len()).map_err(|_| BadLabels::BatchFull)
    }

    /// Senders sort their labels; this is for those that do not.
    fn sort_key(&mut self, from: usize) -> Result<(), BadLabels> {
        let key = self.keys.split_off(from);
        let mut pairs: Vec<(&str, &str)> = SeriesKey(&key).pairs().collect();
        pairs.sort_unstable();
        if let Some(pair) = pairs.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(BadLabels::Twice(pair[0].0.to_owned()));
        }
        for text in pairs.into_iter().flat_map(|(name, value)| [name, value]) {
            self.keys.extend_from_slice(text.as_bytes());
            self.keys.push(KEY_END);
        }
        Ok(())
    }

    /// Adds a point to the last series; without one it goes nowhere.
    pub fn point(&mut self, point: Point) {
        let Ok(points_end) = u32::try_from(self.points.len() + 1) else {
            return;
        };
        if let Some(entry) = self.series.last_mut() {
            self.points.push(point);
            entry.points_end = points_end;
        }
    }

    /// Adds points to the last series; how many there were. Without a series they go nowhere.
    pub(crate) fn extend_last(&mut self, points: impl Iterator<Item = Point>) -> usize {
        let Some(entry) = self.series.last_mut() else {
            return 0;
        };
        let before = self.points.len();
        self.points.extend(points);
        match u32::try_from(self.points.len()) {
            Ok(points_end) => entry.points_end = points_end,
            Err(_) => self.points.truncate(before),
        }
        self.points.len() - before
    }

    /// Takes the last series away again; tells how many points it had.
    pub fn take_back(&mut self) -> usize {
        if self.series.pop().is_none() {
            return 0;
        }
        let last = self.series.last();
        let (key_end, points_end) = last.map_or((0, 0), |e| (e.key_end, e.points_end));
        self.keys.truncate(key_end as usize);
        let points = self.points.len() - points_end as usize;
        self.points.truncate(points_end as usize);
        points
    }

    /// Keeps a histogram for a point that is to be added.
    pub fn add_histogram(&mut self, histogram: Histogram) -> PointValue {
        self.histograms.push(histogram);
        PointValue::Histogram(self.histograms.len() as u32 - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(ts: i64, value: f64) -> Point {
        Point {
            ts: Timestamp(ts),
            start: None,
            value: PointValue::Number(value),
        }
    }

    #[test]
    fn label_sets_are_the_same_in_any_order_and_without_empty_values() {
        let mut batch = SeriesBatch::default();
        let sorted = [("__name__", "up"), ("job", "a"), ("pod", "b")];
        let shuffled = [("pod", "b"), ("zone", ""), ("__name__", "up"), ("job", "a")];
        batch
            .begin(sorted.into_iter(), SeriesKind::Gauge)
            .expect("named");
        batch.point(number(1, 1.0));
        batch.point(number(2, 0.0));
        batch
            .begin(shuffled.into_iter(), SeriesKind::Unknown)
            .expect("named");
        batch.point(number(3, 1.0));
        let series: Vec<Series<'_>> = batch.iter().collect();
        assert_eq!(series[0].key, series[1].key);
        assert_eq!(series[0].key.name(), "up");
        assert_eq!(series[1].key.pairs().collect::<Vec<_>>(), sorted);
        let labels = series[1].key.labels();
        let labels: Vec<_> = labels.iter().collect();
        assert_eq!(labels, [("job", "a"), ("pod", "b")]);
        assert_eq!(series[0].points, [number(1, 1.0), number(2, 0.0)]);
        assert_eq!(series[1].points, [number(3, 1.0)]);
        assert_eq!((batch.len(), batch.point_count()), (2, 3));
    }

    #[test]
    fn bad_label_sets_leave_the_batch_as_it_was() {
        let mut batch = SeriesBatch::default();
        let nameless = [("job", "a"), ("__name__", "")];
        let found = batch.begin(nameless.into_iter(), SeriesKind::Gauge);
        assert_eq!(found, Err(BadLabels::NoName));
        let twice = [("__name__", "up"), ("job", "a"), ("job", "a")];
        let found = batch.begin(twice.into_iter(), SeriesKind::Gauge);
        assert_eq!(found, Err(BadLabels::Twice("job".into())));
        batch.point(number(1, 1.0));
        assert_eq!(batch, SeriesBatch::default());
    }

    #[test]
    fn a_series_is_found_by_its_place_and_told_its_start() {
        let mut batch = SeriesBatch::default();
        for (name, values) in [("a", &[1.0][..]), ("b", &[]), ("c", &[2.0, 3.0])] {
            let labels = std::iter::once((NAME_LABEL, name));
            batch.begin(labels, SeriesKind::Counter).expect("named");
            values.iter().for_each(|v| batch.point(number(5, *v)));
        }
        batch.set_start(2, Timestamp(4));
        batch.set_start(3, Timestamp(4));
        let all: Vec<Series<'_>> = batch.iter().collect();
        assert_eq!(
            (0..3).filter_map(|at| batch.get(at)).collect::<Vec<_>>(),
            all
        );
        assert_eq!(batch.get(3), None);
        let starts: Vec<_> = all.iter().flat_map(|s| s.points).map(|p| p.start).collect();
        assert_eq!(starts, [None, Some(Timestamp(4)), Some(Timestamp(4))]);
    }

    #[test]
    fn histograms_are_found_by_their_points() {
        let mut batch = SeriesBatch::default();
        let cell = HistogramCell {
            low: 0.0,
            high: 1.0,
            count: 3.0,
        };
        let histogram = Histogram {
            is_increment: false,
            cells: vec![cell],
            sum: Some(1.5),
        };
        batch
            .begin([("__name__", "h")].into_iter(), SeriesKind::Histogram)
            .expect("named");
        let value = batch.add_histogram(histogram.clone());
        assert_eq!(value, PointValue::Histogram(0));
        assert_eq!(batch.histogram(0), Some(&histogram));
        assert_eq!(batch.histogram(1), None);
    }
}
