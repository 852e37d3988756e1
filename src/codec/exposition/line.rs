//! One sample line: `name{label="value",...} number [time] [# exemplar]`.
//!
//! Owns the memory that lines take turns to use; a line is walked once, as bytes, and what it names
//! is laid out as the key of its series. It must not know of types and families: those are the
//! business of who reads line after line. Next: `letters` and `tail`.

use std::cmp::Ordering;

use super::Dialect;
use super::letters::{
    BLANK, COLON, NAME, NAME_START, common_prefix, find, head, is, skip, skip_blanks,
};
use super::tail::{bad_value, read_tail};
use crate::codec::lines::{self, first_quote};
use crate::codec::number::quoted;
use crate::codec::series::KeyShape;
use crate::codec::{Limits, METRIC_BYTES_MAX};
use crate::model::Timestamp;
use crate::model::series::{KEY_END, NAME_LABEL, SeriesKey};

/// A part of the line, or of the text whose escapes were taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    from: usize,
    end: usize,
    is_unescaped: bool,
}

/// The text [`NAME_LABEL`], with which the text without escapes begins.
const NAME_SPAN: Span = Span {
    from: 0,
    end: NAME_LABEL.len(),
    is_unescaped: true,
};

/// A label, or the name as the label it becomes, in the order they stand.
#[derive(Debug, Clone, Copy)]
struct Entry {
    name: Span,
    /// The first bytes of the name: what most names differ in.
    head: u64,
    value: Span,
    /// Where in the line something else follows; what stands before needs no second look as long
    /// as lines are the same up to here, this byte included.
    end: usize,
    unescaped_end: usize,
    /// Where its part of the key ends, while labels stand sorted.
    key_end: usize,
    /// Whether the labels up to this one stand sorted.
    is_sorted: bool,
}

/// What a line says, labels apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub value: f64,
    pub ts: Option<Timestamp>,
    /// Where its name and labels end.
    pub head_end: usize,
}

/// Why a line cannot be read.
#[derive(Debug)]
pub(super) struct Fault {
    /// Where in the line, in bytes from its start.
    pub at: usize,
    /// Stable code, snake_case.
    pub code: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

/// Reads lines, one at a time. Most begin as the one before did, and only what differs is read.
pub(super) struct Scanner<'b> {
    line: &'b str,
    /// Labels that have a value, the name among them.
    entries: Vec<Entry>,
    /// Which entry is the name.
    name: Option<usize>,
    unescaped: String,
    /// The key, as far as labels stand sorted.
    key: Vec<u8>,
    /// The key of a line whose labels do not.
    sorted_key: Vec<u8>,
    sorted: Vec<Entry>,
    label_count_max: usize,
    label_bytes_max: usize,
}

#[cold]
pub(super) fn fault<T>(
    at: usize,
    code: &'static str,
    message: impl Into<String>,
) -> Result<T, Fault> {
    let message = message.into();
    Err(Fault { at, code, message })
}

#[inline]
fn put(key: &mut Vec<u8>, text: &str) {
    key.reserve(text.len() + 1);
    key.extend_from_slice(text.as_bytes());
    key.push(KEY_END);
}

// === impl Span ===

impl Span {
    #[inline]
    fn of_line(from: usize, end: usize) -> Span {
        Span {
            from,
            end,
            is_unescaped: false,
        }
    }

    #[inline]
    fn of<'t>(self, line: &'t str, unescaped: &'t str) -> &'t str {
        let whole = if self.is_unescaped { unescaped } else { line };
        &whole[self.from..self.end]
    }

    #[inline]
    fn len(self) -> usize {
        self.end - self.from
    }
}

// === impl Scanner ===

impl<'b> Scanner<'b> {
    pub fn new(limits: &Limits) -> Scanner<'b> {
        Scanner {
            line: "",
            entries: Vec::new(),
            name: None,
            unescaped: NAME_LABEL.to_owned(),
            key: Vec::new(),
            sorted_key: Vec::new(),
            sorted: Vec::new(),
            label_count_max: limits.label_count_max,
            label_bytes_max: limits.label_bytes_max,
        }
    }

    #[inline]
    fn bytes(&self, span: Span) -> &[u8] {
        span.of(self.line, &self.unescaped).as_bytes()
    }

    fn text(&self, span: Span) -> &str {
        span.of(self.line, &self.unescaped)
    }

    /// The name of the line last read.
    pub fn name(&self) -> &str {
        self.name
            .map_or("", |name| self.text(self.entries[name].value))
    }

    /// The value of a label of the line last read.
    pub fn label(&self, name: &str) -> Option<&str> {
        let mut labels = self.entries.iter().rev();
        let entry = labels.find(|entry| self.bytes(entry.name) == name.as_bytes())?;
        Some(self.text(entry.value))
    }

    /// The key of the line last read.
    ///
    /// # Errors
    /// [`Fault`] for a label that is given twice.
    #[inline]
    pub fn key(&mut self) -> Result<(SeriesKey<'_>, KeyShape), Fault> {
        let is_sorted = self.entries.last().is_none_or(|entry| entry.is_sorted);
        if !is_sorted {
            self.sort()?;
        }
        let key = if is_sorted {
            &self.key
        } else {
            &self.sorted_key
        };
        let name_bytes = self.name.map_or(0, |name| self.entries[name].value.len());
        // Each text is followed by its end.
        let texts = 2 * self.entries.len();
        let shape = KeyShape {
            name_bytes,
            label_count: self.entries.len() - 1,
            label_bytes: key.len() - texts - NAME_LABEL.len() - name_bytes,
        };
        Ok((SeriesKey::of_sorted(key), shape))
    }

    /// Makes the key of labels that do not stand sorted.
    fn sort(&mut self) -> Result<(), Fault> {
        self.sorted_key.clear();
        // Histograms write `le` last, behind labels that stand sorted.
        if let [sorted @ .., last] = self.entries.as_slice()
            && sorted.last().is_none_or(|entry| entry.is_sorted)
        {
            let place = sorted.partition_point(|entry| self.order(entry, last).is_lt());
            let is_twice = |other: &Entry| self.order(other, last).is_eq();
            if sorted.get(place).is_some_and(is_twice) {
                return self.twice(last.name);
            }
            let before = place.checked_sub(1).map_or(0, |at| sorted[at].key_end);
            let (before, behind) = self.key.split_at(before);
            self.sorted_key.extend_from_slice(before);
            for span in [last.name, last.value] {
                put(&mut self.sorted_key, span.of(self.line, &self.unescaped));
            }
            self.sorted_key.extend_from_slice(behind);
            return Ok(());
        }
        let mut sorted = std::mem::take(&mut self.sorted);
        sorted.clear();
        sorted.extend_from_slice(&self.entries);
        sorted.sort_unstable_by(|a, b| self.order(a, b));
        let mut pairs = sorted.windows(2);
        let twice = pairs.find(|pair| self.order(&pair[0], &pair[1]).is_eq());
        let twice = twice.map(|pair| pair[1].name);
        for span in sorted.iter().flat_map(|entry| [entry.name, entry.value]) {
            put(&mut self.sorted_key, span.of(self.line, &self.unescaped));
        }
        self.sorted = sorted;
        twice.map_or(Ok(()), |name| self.twice(name))
    }

    #[inline]
    fn order(&self, a: &Entry, b: &Entry) -> Ordering {
        let heads = a.head.cmp(&b.head);
        heads.then_with(|| self.bytes(a.name).cmp(self.bytes(b.name)))
    }

    #[cold]
    fn twice(&self, name: Span) -> Result<(), Fault> {
        let at = if name.is_unescaped { 0 } else { name.from };
        let name = quoted(self.text(name));
        let message = format!("the label {name} is given twice; give it once");
        fault(at, "duplicate_label", message)
    }

    /// Reads a line that does not begin with a blank.
    ///
    /// # Errors
    /// [`Fault`] with the place in the line.
    pub fn scan(&mut self, line: &'b str, dialect: Dialect) -> Result<Sample, Fault> {
        let bytes = line.as_bytes();
        let mut at = self.begin(line);
        if self.entries.is_empty() {
            at = if is(bytes, 0, NAME_START | COLON) {
                skip(bytes, 0, NAME | COLON)
            } else {
                0
            };
            if at > 0 {
                self.add_name(0, Span::of_line(0, at), at)?;
            }
        }
        // An entry that is not the name before the braces stands in them.
        let is_in_braces = match self.entries.last() {
            Some(last) => last.name != NAME_SPAN || last.value.from > 0,
            None => false,
        };
        let mut head_end = at;
        if is_in_braces {
            head_end = self.braces(at, true)?;
            at = skip_blanks(bytes, head_end);
        } else {
            let end_of_name = at;
            at = skip_blanks(bytes, at);
            if bytes.get(at) == Some(&b'{') {
                head_end = self.braces(at + 1, false)?;
                at = skip_blanks(bytes, head_end);
            } else if at == end_of_name && at < bytes.len() {
                return fault(
                    at,
                    "bad_metric_name",
                    "a line begins with the name of a metric: letters, digits, _ and :, or any \
                     text in quotes inside the braces",
                );
            }
        }
        if self.name.is_none() {
            let message = "the line has no name; write name{..} or {\"name\",..}";
            return fault(0, "bad_metric_name", message);
        }
        let end = find(bytes, at, BLANK);
        let Some(value) = lines::number(&line[at..end]) else {
            return fault(at, "bad_value", bad_value(&line[at..end]));
        };
        let at = skip_blanks(bytes, end);
        let ts = match bytes.get(at) {
            None => None,
            Some(_) => read_tail(line, at, dialect)?,
        };
        Ok(Sample {
            value,
            ts,
            head_end,
        })
    }

    /// Begins a line with the entries that the line before had at the same places; returns where
    /// to go on.
    #[inline]
    fn begin(&mut self, line: &'b str) -> usize {
        let same = common_prefix(self.line.as_bytes(), line.as_bytes());
        self.line = line;
        while self.entries.last().is_some_and(|last| last.end >= same) {
            self.entries.pop();
        }
        self.name = self.name.filter(|name| *name < self.entries.len());
        let last = self.entries.last();
        let (unescaped_end, key_end, at) = last.map_or((NAME_LABEL.len(), 0, 0), |last| {
            (last.unescaped_end, last.key_end, last.end)
        });
        self.unescaped.truncate(unescaped_end);
        self.key.truncate(key_end);
        at
    }

    fn add_name(&mut self, at: usize, name: Span, end: usize) -> Result<(), Fault> {
        if self.name.is_some() {
            let message = "the line has two names; give it one, before the braces or in them";
            return fault(at, "bad_metric_name", message);
        }
        if !(1..=METRIC_BYTES_MAX).contains(&name.len()) {
            let message = format!("a metric's name must have 1 to {METRIC_BYTES_MAX} bytes");
            return fault(at, "bad_metric_name", message);
        }
        self.add(at, NAME_SPAN, name, end)?;
        self.name = Some(self.entries.len() - 1);
        Ok(())
    }

    /// Reads what stands in braces, from behind the first, or from behind a label; returns the
    /// place behind the last.
    fn braces(&mut self, mut at: usize, is_behind_label: bool) -> Result<usize, Fault> {
        let bytes = self.line.as_bytes();
        let mut is_behind_label = is_behind_label;
        loop {
            if is_behind_label {
                match bytes.get(at) {
                    Some(b',') => at += 1,
                    Some(b'}') => return Ok(at + 1),
                    _ => {
                        let message = "a comma or } is missing behind a label";
                        return fault(at, "bad_labels", message);
                    }
                }
            }
            is_behind_label = true;
            at = skip_blanks(bytes, at);
            let from = at;
            let name = match bytes.get(at) {
                Some(b'}') => return Ok(at + 1),
                Some(b'"') => {
                    let (name, end) = self.quoted(at + 1)?;
                    at = end;
                    name
                }
                _ if is(bytes, at, NAME_START) => {
                    at = skip(bytes, at, NAME);
                    Span::of_line(from, at)
                }
                _ => {
                    let message = "a label is written name=\"value\"; a name that is not letters, \
                                   digits and _ goes in quotes, and the last label ends with }";
                    return fault(at, "bad_labels", message);
                }
            };
            at = skip_blanks(bytes, at);
            if bytes.get(at) != Some(&b'=') {
                if bytes[from] != b'"' {
                    let message = "a label has no value; write name=\"value\"";
                    return fault(at, "bad_labels", message);
                }
                self.add_name(from, name, at)?;
                continue;
            }
            at = skip_blanks(bytes, at + 1);
            if bytes.get(at) != Some(&b'"') {
                let message = "a label's value stands in quotes: name=\"value\"";
                return fault(at, "bad_labels", message);
            }
            let (value, end) = self.quoted(at + 1)?;
            at = skip_blanks(bytes, end);
            self.add(from, name, value, at)?;
        }
    }

    /// Reads up to the closing quote; returns the text and the place behind the quote.
    #[inline]
    fn quoted(&mut self, from: usize) -> Result<(Span, usize), Fault> {
        let bytes = self.line.as_bytes();
        let end = from + first_quote(&bytes[from..]);
        if bytes.get(end) == Some(&b'"') {
            return Ok((Span::of_line(from, end), end + 1));
        }
        self.unescape(from)
    }

    /// As `quoted`, for text with escapes: `\\`, `\"` and `\n`. What else a backslash precedes
    /// stands as it is, with it.
    #[cold]
    fn unescape(&mut self, from: usize) -> Result<(Span, usize), Fault> {
        let bytes = self.line.as_bytes();
        let start = self.unescaped.len();
        let mut at = from;
        loop {
            let Some(length) = memchr::memchr2(b'"', b'\\', &bytes[at..]) else {
                let message = "a quote is not closed; write \\\" for one inside a text";
                return fault(from - 1, "bad_labels", message);
            };
            let found = at + length;
            self.unescaped.push_str(&self.line[at..found]);
            if self.unescaped.len() - start > self.label_bytes_max {
                return self.too_long(from);
            }
            if bytes[found] == b'"' {
                let span = Span {
                    from: start,
                    end: self.unescaped.len(),
                    is_unescaped: true,
                };
                return Ok((span, found + 1));
            }
            at = found + 2;
            match bytes.get(found + 1) {
                Some(b'n') => self.unescaped.push('\n'),
                Some(b'\\') => self.unescaped.push('\\'),
                Some(b'"') => self.unescaped.push('"'),
                _ => {
                    self.unescaped.push('\\');
                    at = found + 1;
                }
            }
        }
    }

    /// Keeps a label. One without a value is the same as none.
    #[inline]
    fn add(&mut self, at: usize, name: Span, value: Span, end: usize) -> Result<(), Fault> {
        if name.len() == 0 {
            let message = "a label has an empty name; give it one, or leave the label out";
            return fault(at, "bad_labels", message);
        }
        if value.len() == 0 {
            return Ok(());
        }
        // What is past the limits is not even copied; one more for the name.
        if self.entries.len() > self.label_count_max {
            let count = self.label_count_max;
            let message = format!("more than {count} labels; at most so many are allowed");
            return fault(at, "too_many_labels", message);
        }
        if name != NAME_SPAN && name.len() + value.len() > self.label_bytes_max {
            return self.too_long(at);
        }
        let head = head(self.bytes(name));
        let is_sorted = match self.entries.last() {
            Some(last) if last.head != head => last.is_sorted && last.head < head,
            Some(last) => last.is_sorted && self.bytes(last.name) < self.bytes(name),
            None => true,
        };
        if is_sorted {
            for span in [name, value] {
                put(&mut self.key, span.of(self.line, &self.unescaped));
            }
        }
        self.entries.push(Entry {
            name,
            head,
            value,
            end,
            unescaped_end: self.unescaped.len(),
            key_end: self.key.len(),
            is_sorted,
        });
        Ok(())
    }

    #[cold]
    fn too_long<T>(&self, at: usize) -> Result<T, Fault> {
        let bytes_max = self.label_bytes_max;
        let message = format!("a text of more than {bytes_max} bytes; make it shorter");
        fault(at, "labels_too_long", message)
    }
}
