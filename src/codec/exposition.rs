//! Text exposition: OpenMetrics 1.0 and the Prometheus text format 0.0.4.
//!
//! Written from "OpenMetrics 1.0" (prometheus.io/docs/specs/om/open_metrics_spec) and "Exposition
//! formats" (prometheus.io/docs/instrumenting/exposition_formats), with the quoted UTF-8 names that
//! Prometheus 3 added to both. Owns what a body of lines means: one series with one point for each
//! sample. How a line is cut is in `line`, what a TYPE makes of its family in `family`. It must not
//! know the time, which is an argument, nor what becomes of a series.
//!
//! - A type holds for the lines after it until the next type: both formats keep a family together.
//! - `_created` of a counter, histogram or summary is no series. It is the start of the series of
//!   its family with the same labels that stand next to it, before or behind: both formats keep the
//!   lines of one label set together too.
//! - Quantiles and gauge histograms are refused, each with the reason: they cannot be counted.
//! - State sets and infos are gauges. Exemplars, HELP, UNIT and comments are read over.
//! - Columns in messages count characters, from 1.

mod family;
mod letters;
mod line;
mod short;
mod tail;

use family::{Family, Meaning};
use line::{Fault, Sample, Scanner};

use super::heads::{Form, Found, Heads};
use super::lines::{Line, Lines, expect_text, millis};
use super::series::{Collecting, DecodedSeries};
use super::{Limits, Origin, TS_MILLIS_MAX, TS_MILLIS_MIN, Unreadable, UnreadableCode};
use crate::model::Timestamp;
use crate::model::series::{KEY_END, NAME_LABEL, Point, PointValue, SeriesKey, SeriesKind};

/// Which of the two formats a body is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// The Prometheus text format 0.0.4: times in milliseconds.
    Prometheus,
    /// OpenMetrics 1.0: times in seconds, exemplars, an end that is said.
    OpenMetrics,
}

/// Decodes a body. `taken_at` is the time of lines that say none. `room` is asked, while the
/// samples grow, whether they may take so many bytes of memory in all, about. `heads` knows labels
/// from requests before.
///
/// # Errors
/// [`Unreadable`] when the body is no exposition, holds too many samples, or finds no room.
pub fn decode(
    body: &[u8],
    dialect: Dialect,
    taken_at: Timestamp,
    heads: &mut Heads,
    limits: &Limits,
    room: &mut dyn FnMut(u64) -> bool,
) -> Result<DecodedSeries, Unreadable> {
    expect_text(body, dialect.name())?;
    let mut reader = Reader {
        dialect,
        taken_at,
        scanner: Scanner::new(limits),
        heads,
        family: Family::default(),
        name: Vec::new(),
        meaning: None,
        start: None,
        start_labels: Vec::new(),
        tail: short::Tail::default(),
        index: 0,
        indent: 0,
        is_any_read: false,
        collecting: Collecting::new(limits, room),
    };
    let mut lines = Lines::new(body);
    let mut last = None;
    for line in &mut lines {
        if reader.line(line)? {
            reader.after_end(lines)?;
            return reader.finish();
        }
        last = Some(line);
    }
    if dialect == Dialect::OpenMetrics {
        reader.cut_off(last)?;
    }
    reader.finish()
}

/// A body while it is read.
struct Reader<'b, 'l> {
    dialect: Dialect,
    taken_at: Timestamp,
    scanner: Scanner<'b>,
    /// Names and labels that are known.
    heads: &'l mut Heads,
    family: Family,
    /// The name of the sample before.
    name: Vec<u8>,
    /// What samples of that name are.
    meaning: Option<Meaning>,
    /// What `_created` said last in this family, for the lines behind it.
    start: Option<Timestamp>,
    /// The labels it was said for: as in a key.
    start_labels: Vec<u8>,
    /// What stood behind the value of a line before.
    tail: short::Tail<'b>,
    /// Number of sample lines so far.
    index: usize,
    /// Blanks before the line being read.
    indent: usize,
    /// Whether any line was what the format knows.
    is_any_read: bool,
    collecting: Collecting<'l>,
}

// === impl Dialect ===

impl Dialect {
    /// The format a content type names; parameters are ignored. `None` for anything else.
    pub fn of_content_type(content_type: &str) -> Option<Dialect> {
        let essence = content_type.split(';').next().unwrap_or("").trim();
        if essence.eq_ignore_ascii_case("application/openmetrics-text") {
            return Some(Dialect::OpenMetrics);
        }
        let is_text = essence.eq_ignore_ascii_case("text/plain");
        is_text.then_some(Dialect::Prometheus)
    }

    fn name(self) -> &'static str {
        match self {
            Dialect::Prometheus => "the Prometheus text format",
            Dialect::OpenMetrics => "OpenMetrics",
        }
    }
}

// === impl Reader ===

impl<'b> Reader<'b, '_> {
    /// Reads one line; tells whether it was the end of the exposition.
    fn line(&mut self, line: Line<'b>) -> Result<bool, Unreadable> {
        let text = match line.text {
            Ok(text) => text,
            // Cut off within a character, perhaps; see `cut_off`.
            Err(_) if self.dialect == Dialect::OpenMetrics && !line.is_ended => return Ok(false),
            Err(at) => {
                let message = format!("byte {} of the line is not UTF-8; send UTF-8", at + 1);
                self.refuse(line.number, "not_utf8", message)?;
                return Ok(false);
            }
        };
        let whole = text;
        let text = whole.trim_ascii_start();
        self.indent = whole.len() - text.len();
        match text.as_bytes().first() {
            None => {}
            Some(b'#') => return self.comment(text, line.number),
            // Of a number that was cut off nobody can tell; see `cut_off`.
            Some(_) if self.dialect == Dialect::OpenMetrics && !line.is_ended => {}
            Some(_) => self.sample(text, line.number)?,
        }
        Ok(false)
    }

    fn comment(&mut self, text: &str, number: usize) -> Result<bool, Unreadable> {
        let rest = text[1..].trim_ascii_start();
        let word = rest
            .split([' ', '\t'])
            .next()
            .unwrap_or("")
            .trim_ascii_end();
        match word {
            "EOF" if self.dialect == Dialect::OpenMetrics => {
                self.is_any_read = true;
                return Ok(true);
            }
            "HELP" | "UNIT" => self.is_any_read = true,
            "TYPE" => {
                let series_from = self.collecting.batch().len();
                self.start = None;
                self.meaning = None;
                match self.family.begin(&rest[word.len()..], series_from) {
                    Ok(()) => self.is_any_read = true,
                    Err(message) => {
                        let origin = self.origin(number);
                        self.collecting
                            .refuse_series(origin, "bad_type", message, 0)?;
                    }
                }
            }
            _ => {}
        }
        Ok(false)
    }

    fn sample(&mut self, text: &'b str, number: usize) -> Result<(), Unreadable> {
        if let Some((head, behind)) = short::split(text)
            && let Some(Found { key, shape, name }) = self.heads.find(Form::Text, head.as_bytes())
            && name == self.name
            && let Some(kind) = self.meaning.and_then(|meaning| kind_of(meaning, key))
            && self.start.is_none()
            && let Some((value, ts)) = short::numbers(behind, self.dialect, &mut self.tail)
        {
            let (index, line) = (self.index, Some(number));
            self.index += 1;
            self.collecting
                .begin_key(key, shape, kind, Origin { index, line });
            return self.collecting.point(Point {
                ts: ts.unwrap_or(self.taken_at),
                start: None,
                value: PointValue::Number(value),
            });
        }
        self.any_sample(text, number)
    }

    /// Reads any line, and says what is wrong with it.
    fn any_sample(&mut self, text: &'b str, number: usize) -> Result<(), Unreadable> {
        let sample = match self.scanner.scan(text, self.dialect) {
            Ok(sample) => sample,
            Err(fault) => return self.refuse_fault(text, number, fault),
        };
        self.is_any_read = true;
        let name = self.scanner.name();
        let is_same_name = self.name == name.as_bytes();
        let known = self.meaning.filter(|_| is_same_name);
        let meaning = known.unwrap_or_else(|| self.family.meaning(name));
        if !is_same_name {
            self.name.clear();
            self.name.extend_from_slice(name.as_bytes());
        }
        self.meaning = Some(meaning);
        match meaning {
            Meaning::Series(kind) => self.take(text, number, sample, kind),
            Meaning::Bucket => {
                let bound = self.scanner.label("le");
                match bound.map(super::lines::number) {
                    Some(Some(end)) if !end.is_nan() => {
                        self.take(text, number, sample, SeriesKind::Histogram)
                    }
                    _ => {
                        let found = bound.map_or("has no label `le`".to_owned(), |bound| {
                            format!("has le={}", super::number::quoted(bound))
                        });
                        let message = format!(
                            "a bucket {found}; give its upper end as a number, +Inf for the last"
                        );
                        self.refuse(number, "bad_bucket", message)
                    }
                }
            }
            Meaning::Start => self.created(text, number, sample),
            Meaning::Refused(code, message) => self.refuse(number, code, message.into()),
        }
    }

    fn take(
        &mut self,
        text: &str,
        number: usize,
        sample: Sample,
        kind: SeriesKind,
    ) -> Result<(), Unreadable> {
        let (key, shape) = match self.scanner.key() {
            Ok(key) => key,
            Err(fault) => return self.refuse_fault(text, number, fault),
        };
        if let Some((head, _)) = short::split(text)
            && head.len() == sample.head_end
        {
            self.heads.keep(Form::Text, head.as_bytes(), key, shape);
        }
        let (index, line) = (self.index, Some(number));
        self.index += 1;
        self.collecting
            .begin_key(key, shape, kind, Origin { index, line });
        if self.start.is_some() {
            let labels = labels_of(key, self.family.own_label());
            if !is_same(&self.start_labels, labels) {
                // Lines of one label set stand together, so no more of them will come.
                self.start = None;
            }
        }
        self.collecting.point(Point {
            ts: sample.ts.unwrap_or(self.taken_at),
            start: self.start,
            value: PointValue::Number(sample.value),
        })
    }

    /// Takes the start of the series that stand next to this line.
    fn created(&mut self, text: &str, number: usize, sample: Sample) -> Result<(), Unreadable> {
        self.start = None;
        let range = TS_MILLIS_MIN..=TS_MILLIS_MAX;
        let Some(start) = millis(sample.value).filter(|start| range.contains(start)) else {
            let message = format!(
                "created at {}: give unix seconds between the years 2000 and 2200",
                sample.value
            );
            let origin = self.origin(number);
            // No point is lost: the line has none.
            return self
                .collecting
                .refuse_series(origin, "bad_created", message, 0);
        };
        let start = Timestamp(start);
        let own = self.family.own_label();
        let key = match self.scanner.key() {
            Ok((key, _)) => key,
            Err(fault) => return self.refuse_fault(text, number, fault),
        };
        self.start_labels.clear();
        for text in labels_of(key, own).flat_map(|(name, value)| [name, value]) {
            self.start_labels.extend_from_slice(text.as_bytes());
            self.start_labels.push(KEY_END);
        }
        self.start = Some(start);
        self.index += 1;
        let count = self.collecting.batch().len();
        for series in (self.family.series_from..count).rev() {
            let key = self.collecting.batch().get(series).map(|series| series.key);
            if !key.is_some_and(|key| is_same(&self.start_labels, labels_of(key, own))) {
                break;
            }
            self.collecting.set_start(series, start);
        }
        // The next one need not look further back than here, however many there are.
        self.family.series_from = count;
        Ok(())
    }

    fn origin(&mut self, number: usize) -> Origin {
        let index = self.index;
        self.index += 1;
        let line = Some(number);
        Origin { index, line }
    }

    fn refuse_fault(&mut self, text: &str, number: usize, fault: Fault) -> Result<(), Unreadable> {
        // What is too much of something is that something.
        self.is_any_read |= matches!(fault.code, "too_many_labels" | "labels_too_long");
        let before = text.get(..fault.at).unwrap_or(text);
        let column = self.indent + before.chars().count() + 1;
        let message = format!("{} (column {column})", fault.message);
        self.refuse(number, fault.code, message)
    }

    fn refuse(
        &mut self,
        number: usize,
        code: &'static str,
        message: String,
    ) -> Result<(), Unreadable> {
        let origin = self.origin(number);
        self.collecting.refuse_series(origin, code, message, 1)
    }

    /// The end that OpenMetrics asks for did not come. Lines that ended are whole all the same.
    fn cut_off(&mut self, last: Option<Line<'_>>) -> Result<(), Unreadable> {
        let message = "the body ends without `# EOF`, so it was cut off; send it whole, or as \
                       text/plain; version=0.0.4 if that is what it is";
        let origin = self.origin(last.map_or(1, |line| line.number));
        // What was cut off may have been a sample, unless it began as a comment.
        let is_sample = |line: Line<'_>| {
            let text = line.text.map_or("?", str::trim_ascii_start);
            !text.is_empty() && !text.starts_with('#')
        };
        let is_lost = last.is_some_and(|line| !line.is_ended && is_sample(line));
        self.collecting
            .refuse_series(origin, "missing_eof", message.into(), is_lost.into())
    }

    /// What follows the end was not promised to be whole, so none of it is taken.
    fn after_end(&mut self, lines: Lines<'_>) -> Result<(), Unreadable> {
        for line in lines {
            if line.text.is_ok_and(|text| text.trim_ascii().is_empty()) {
                continue;
            }
            let message = "the line stands behind `# EOF`; send one exposition a request";
            self.refuse(line.number, "after_eof", message.into())?;
        }
        Ok(())
    }

    fn finish(self) -> Result<DecodedSeries, Unreadable> {
        let form = self.dialect.name();
        let decoded = self.collecting.finish()?;
        match decoded.refusals.first() {
            Some(first) if !self.is_any_read => Err(Unreadable {
                code: UnreadableCode::MalformedText,
                message: format!(
                    "no line of the body is {form}; line {}: {}",
                    first.line.unwrap_or(1),
                    first.message
                ),
                help:
                    "a line is `name{label=\"value\"} number`, with a time behind it if need be; \
                       samples in JSON are sent as application/json"
                        .into(),
            }),
            _ => Ok(decoded),
        }
    }
}

/// What a line of this meaning is, where it is fit to be one.
fn kind_of(meaning: Meaning, key: SeriesKey<'_>) -> Option<SeriesKind> {
    match meaning {
        Meaning::Series(kind) => Some(kind),
        Meaning::Bucket => {
            let bound = key.pairs().find(|(name, _)| *name == "le")?.1;
            let bound = super::lines::number(bound)?;
            (!bound.is_nan()).then_some(SeriesKind::Histogram)
        }
        Meaning::Start | Meaning::Refused(..) => None,
    }
}

/// A series' labels but its name and the label of its family's parts.
fn labels_of<'k>(key: SeriesKey<'k>, own: &'k str) -> impl Iterator<Item = (&'k str, &'k str)> {
    let is_other = move |name: &str| name != NAME_LABEL && name != own;
    key.pairs().filter(move |(name, _)| is_other(name))
}

/// Whether these are the labels of `flat`.
fn is_same<'t>(flat: &[u8], labels: impl Iterator<Item = (&'t str, &'t str)>) -> bool {
    let mut rest = flat;
    for text in labels.flat_map(|(name, value)| [name, value]) {
        let tail = rest.strip_prefix(text.as_bytes());
        match tail.and_then(|tail| tail.strip_prefix(&[KEY_END])) {
            Some(tail) => rest = tail,
            None => return false,
        }
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests;
