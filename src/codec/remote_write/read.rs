//! One series of a request.
//!
//! Owns where a series of either message has its labels, points and metadata, and what becomes of a
//! series or a point that cannot be read. It must not know how series follow each other, nor the
//! inside of a native histogram: that is [`super::histogram`].

use super::histogram::{self, Head};
use super::kinds::{self, Families, GAUGE_HISTOGRAM};
use super::plain::{self, Plain, PlainLabels, SAMPLE_BYTES_MIN, next_plain, plain_sample};
use super::{DecodedWrite, Written};
use crate::codec::heads::{Form, Found, Heads};
use crate::codec::protobuf::{Fields, Malformed, Value, varints};
use crate::codec::series::Collecting;
use crate::codec::{Limits, Origin, Unreadable};
use crate::model::Timestamp;
use crate::model::series::{HistogramCell, NAME_LABEL, Point, PointValue, SeriesKind};

/// The bits of the NaN that says a series has ended; any other NaN is a value.
pub(super) const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

/// Where the texts of labels are, and what else the request says of all series.
#[derive(Debug)]
pub(super) enum Texts<'b> {
    /// 1.0: each series has its own; the request may describe families.
    InPlace(Families<'b>),
    /// 2.0: in one table. One that is no text is `None`.
    Symbols(Vec<Option<&'b str>>),
}

/// Why a series or a point is refused.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Trouble {
    pub code: &'static str,
    pub message: String,
}

/// Reads series after series.
pub(super) struct Reader<'b, 'l> {
    texts: Texts<'b>,
    collecting: Collecting<'l>,
    labels: LabelSet<'b>,
    /// Reads series as nearly all are written.
    plain: Plain,
    /// Their labels that are known.
    heads: &'l mut Heads,
    /// Cells of the histogram being read; kept for the next.
    cells: Vec<HistogramCell>,
    written: Written,
}

/// The labels of the series being read, in memory that the next one uses again.
struct LabelSet<'b> {
    labels: Vec<(&'b str, &'b str)>,
    most: usize,
}

/// What a series has beside its labels, found before its points are read: fields may stand in any
/// order.
#[derive(Debug, Default)]
struct Outline {
    samples: usize,
    histograms: usize,
    metric_type: u64,
    /// Since when all its points count: 2.0 until rc.3.
    created: Option<Timestamp>,
}

// === impl Trouble ===

impl Trouble {
    pub fn new(code: &'static str, message: impl Into<String>) -> Trouble {
        let message = message.into();
        Trouble { code, message }
    }
}

impl From<Malformed> for Trouble {
    fn from(malformed: Malformed) -> Trouble {
        let advice = "see whether the sender, or a proxy between, cut or changed it";
        Trouble::new("malformed", format!("{malformed}; {advice}"))
    }
}

// === impl Reader ===

impl<'b, 'l> Reader<'b, 'l> {
    pub fn new(
        texts: Texts<'b>,
        heads: &'l mut Heads,
        limits: &Limits,
        collecting: Collecting<'l>,
    ) -> Reader<'b, 'l> {
        Reader {
            texts,
            collecting,
            labels: LabelSet::new(limits),
            plain: Plain::new(limits),
            heads,
            cells: Vec::new(),
            written: Written::default(),
        }
    }

    pub fn finish(self) -> Result<DecodedWrite, Unreadable> {
        Ok(DecodedWrite {
            series: self.collecting.finish()?,
            written: self.written,
        })
    }

    /// Reads one series. One without points, such as one with exemplars alone, is nothing.
    ///
    /// # Errors
    /// Those of [`Collecting::point`].
    pub fn series(&mut self, series: &'b [u8], origin: Origin) -> Result<(), Unreadable> {
        if let Texts::InPlace(families) = &self.texts
            && let Some((labels, samples)) = plain::split(series)
        {
            let kind = |name: &[u8]| kinds::kind_of_type(families.metric_type_of_bytes(name));
            let collecting = &mut self.collecting;
            if let Some(Found { key, shape, name }) = self.heads.find(Form::Write, labels) {
                collecting.begin_key(key, shape, kind(name), origin);
                return self.plain_points(samples);
            }
            if let Some(PlainLabels { key, shape, name }) = self.plain.read(labels) {
                self.heads.keep(Form::Write, labels, key, shape);
                collecting.begin_key(key, shape, kind(name), origin);
                return self.plain_points(samples);
            }
        }
        self.labels.labels.clear();
        let mut outline = Outline::default();
        let labels = &mut self.labels;
        let read = match &self.texts {
            Texts::InPlace(families) => outline.v1(series, labels).map(|()| {
                outline.metric_type = families.metric_type(labels.series_name());
            }),
            Texts::Symbols(symbols) => outline
                .v2(series)
                .and_then(|()| labels.look_up(series, symbols)),
        };
        match read {
            Ok(()) if outline.samples + outline.histograms == 0 => Ok(()),
            Ok(()) => {
                let labels = self.labels.labels.iter().copied();
                self.collecting.begin(labels, outline.kind(), origin);
                self.points(series, &outline)
            }
            Err(Trouble { code, message }) => {
                // The outline may have ended before its points.
                let points = self.point_messages(series).count();
                let collecting = &mut self.collecting;
                collecting.refuse_series(origin, code, message, points)
            }
        }
    }

    fn is_v2(&self) -> bool {
        matches!(self.texts, Texts::Symbols(_))
    }

    /// The messages of the points that can be told apart, and whether each is a histogram.
    fn point_messages<'s>(
        &self,
        series: &'s [u8],
    ) -> impl Iterator<Item = (bool, &'s [u8])> + use<'s> {
        let histograms_field = if self.is_v2() { 3 } else { 4 };
        let fields = Fields::new(series).flatten();
        fields.filter_map(move |(number, value)| match value {
            Value::Bytes(message) if number == 2 => Some((false, message)),
            Value::Bytes(message) if number == histograms_field => Some((true, message)),
            _ => None,
        })
    }

    fn points(&mut self, series: &[u8], outline: &Outline) -> Result<(), Unreadable> {
        for (is_histogram, message) in self.point_messages(series) {
            if self.collecting.is_refused() {
                self.collecting.lose_point("", String::new())?;
                continue;
            }
            let read = match is_histogram {
                false => self.sample(message, outline),
                true => self.histogram(message, outline),
            };
            let refused_before = self.collecting.refused_points();
            match read {
                Ok(point) => self.collecting.point(point)?,
                Err(Trouble { code, message }) => self.collecting.lose_point(code, message)?,
            }
            if self.collecting.refused_points() == refused_before {
                match is_histogram {
                    false => self.written.samples += 1,
                    true => self.written.histograms += 1,
                }
            }
        }
        Ok(())
    }

    /// Reads the points of a series that is written plainly: one sample after another.
    fn plain_points(&mut self, samples: &[u8]) -> Result<(), Unreadable> {
        let mut left = samples;
        let most = samples.len() / SAMPLE_BYTES_MIN;
        let plain = self
            .collecting
            .plain_points(most, std::iter::from_fn(|| next_plain(&mut left)));
        self.written.samples += plain as u64;
        while let [_, length, rest @ ..] = left {
            let (message, behind) = rest.split_at(usize::from(*length));
            left = behind;
            let read = match plain_sample(message) {
                Some(point) => Ok(point),
                None => self.sample(message, &Outline::default()),
            };
            let refused_before = self.collecting.refused_points();
            match read {
                Ok(point) => self.collecting.point(point)?,
                Err(Trouble { code, message }) => self.collecting.lose_point(code, message)?,
            }
            let is_taken = self.collecting.refused_points() == refused_before;
            self.written.samples += u64::from(is_taken);
        }
        Ok(())
    }

    /// Reads any sample.
    fn sample(&self, message: &[u8], outline: &Outline) -> Result<Point, Trouble> {
        let is_v2 = self.is_v2();
        let (mut value, mut ts, mut start) = (0.0_f64, 0, outline.created);
        for field in Fields::new(message) {
            match field? {
                (1, number) => value = number.double(1)?,
                (2, millis) => ts = millis.varint(2)? as i64,
                (3, millis) if is_v2 => start = instant(millis.varint(3)?).or(start),
                _ => {}
            }
        }
        let value = match value.to_bits() {
            STALE_BITS => PointValue::Stale,
            _ => PointValue::Number(value),
        };
        Ok(point_at(Timestamp(ts), start, value))
    }

    fn histogram(&mut self, message: &[u8], outline: &Outline) -> Result<Point, Trouble> {
        let head = Head::of(message)?;
        let start = instant(head.start).filter(|_| self.is_v2());
        let start = start.or(outline.created);
        if head.sum.to_bits() == STALE_BITS {
            return Ok(point_at(head.ts, start, PointValue::Stale));
        }
        if outline.metric_type == GAUGE_HISTOGRAM {
            return Err(histogram::gauge());
        }
        let histogram = head.read(message, &mut self.cells)?;
        let value = self.collecting.histogram(histogram);
        Ok(point_at(head.ts, start, value))
    }
}

/// A start after the point itself, as a clock that runs ahead gives it, says nothing.
fn point_at(ts: Timestamp, start: Option<Timestamp>, value: PointValue) -> Point {
    let start = start.filter(|start| *start <= ts);
    Point { ts, start, value }
}

/// An optional instant: 0 stands for none.
fn instant(bits: u64) -> Option<Timestamp> {
    (bits != 0).then_some(Timestamp(bits as i64))
}

// === impl Outline ===

impl Outline {
    /// Reads a 1.0 series but for its points.
    fn v1<'b>(&mut self, series: &'b [u8], labels: &mut LabelSet<'b>) -> Result<(), Trouble> {
        for field in Fields::new(series) {
            match field? {
                (1, label) => {
                    let (mut name, mut value) = ("", "");
                    for field in Fields::new(label.bytes(1)?) {
                        match field? {
                            (1, text) => name = text.text(1)?,
                            (2, text) => value = text.text(2)?,
                            _ => {}
                        }
                    }
                    labels.add(name, value)?;
                }
                (2, sample) => {
                    sample.bytes(2)?;
                    self.samples += 1;
                }
                (4, histogram) => {
                    histogram.bytes(4)?;
                    self.histograms += 1;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads a 2.0 series but for its labels and points.
    fn v2(&mut self, series: &[u8]) -> Result<(), Trouble> {
        for field in Fields::new(series) {
            match field? {
                (2, sample) => {
                    sample.bytes(2)?;
                    self.samples += 1;
                }
                (3, histogram) => {
                    histogram.bytes(3)?;
                    self.histograms += 1;
                }
                (5, metadata) => self.metric_type = kinds::metric_type(metadata.bytes(5)?)?,
                (6, created) => self.created = instant(created.varint(6)?),
                _ => {}
            }
        }
        Ok(())
    }

    /// A series of native histograms says by itself what it is.
    fn kind(&self) -> SeriesKind {
        match kinds::kind_of_type(self.metric_type) {
            SeriesKind::Unknown if self.samples == 0 => SeriesKind::Histogram,
            kind => kind,
        }
    }
}

// === impl LabelSet ===

impl<'b> LabelSet<'b> {
    fn new(limits: &Limits) -> LabelSet<'b> {
        LabelSet {
            labels: Vec::new(),
            // A name, and two more: a set that is cut off there has too many labels, or its name
            // too often, and is refused all the same.
            most: limits.label_count_max.saturating_add(3),
        }
    }

    fn add(&mut self, name: &'b str, value: &'b str) -> Result<(), Trouble> {
        if value.is_empty() || self.labels.len() == self.most {
            return Ok(());
        }
        if name.is_empty() {
            return Err(Trouble::new(
                "bad_label_name",
                "a label with a value and without a name; give it one",
            ));
        }
        self.labels.push((name, value));
        Ok(())
    }

    fn series_name(&self) -> &'b str {
        let mut labels = self.labels.iter();
        let name = labels.find(|(name, _)| *name == NAME_LABEL);
        name.map_or("", |(_, value)| value)
    }

    /// Adds the labels of a 2.0 series: pairs of numbers of symbols.
    fn look_up(&mut self, series: &[u8], symbols: &[Option<&'b str>]) -> Result<(), Trouble> {
        let symbol = |reference: u64| {
            let at = usize::try_from(reference).ok();
            match at.and_then(|at| symbols.get(at)) {
                Some(Some(text)) => Ok(*text),
                Some(None) => {
                    let message = format!("symbol {reference}, of a label, is not UTF-8");
                    Err(Trouble::new("malformed", message))
                }
                None => {
                    let count = symbols.len();
                    let message =
                        format!("a label refers to symbol {reference}, counted from 0, of {count}");
                    Err(Trouble::new("malformed", message))
                }
            }
        };
        let mut refs = varints(series, 1);
        while let Some(name) = refs.next() {
            let Some(value) = refs.next() else {
                let message = "labels_refs must be pairs of a name and a value";
                return Err(Trouble::new("malformed", message));
            };
            self.add(symbol(name?)?, symbol(value?)?)?;
        }
        Ok(())
    }
}
