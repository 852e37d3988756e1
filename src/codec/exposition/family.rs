//! What a TYPE makes of the lines behind it.
//!
//! Owns the types and the suffixes of both formats, and which of a family's lines can be taken. It
//! knows nothing of labels and numbers. Next: `line`.

use crate::codec::number::quoted;
use crate::model::series::SeriesKind;

/// The family that a TYPE began; before the first, one of no name and no type.
#[derive(Debug, Default)]
pub(super) struct Family {
    name: String,
    kind: FamilyKind,
    /// Number of series in the batch when it began, or when it last said a start.
    pub series_from: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum FamilyKind {
    #[default]
    Unknown,
    Counter,
    Gauge,
    Histogram,
    GaugeHistogram,
    Summary,
    StateSet,
    Info,
}

/// What a sample of a given name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A series of its own.
    Series(SeriesKind),
    /// A bucket of a histogram.
    Bucket,
    /// Since when the series beside it count.
    Start,
    /// Nothing that can be taken: code and reason.
    Refused(&'static str, &'static str),
}

// === impl Family ===

impl Family {
    /// Begins the family of `rest`, the text behind the word TYPE. When that cannot be read, the
    /// lines behind it have no type.
    ///
    /// # Errors
    /// The reason, for the sender.
    pub fn begin(&mut self, rest: &str, series_from: usize) -> Result<(), String> {
        self.name.clear();
        self.kind = FamilyKind::Unknown;
        self.series_from = series_from;
        let rest = rest.trim_ascii();
        let shape = || "a type is written `# TYPE name counter`".to_owned();
        let word = match rest.strip_prefix('"') {
            Some(quoted_name) => self.unquote(quoted_name).ok_or_else(shape)?,
            None => {
                let (name, word) = rest.split_once([' ', '\t']).ok_or_else(shape)?;
                self.name.push_str(name);
                word
            }
        };
        self.kind = match word.trim_ascii() {
            "counter" => FamilyKind::Counter,
            "gauge" => FamilyKind::Gauge,
            "histogram" => FamilyKind::Histogram,
            "gaugehistogram" => FamilyKind::GaugeHistogram,
            "summary" => FamilyKind::Summary,
            "stateset" => FamilyKind::StateSet,
            "info" => FamilyKind::Info,
            "unknown" | "untyped" => FamilyKind::Unknown,
            other => {
                return Err(format!(
                    "unknown type {}; the types are counter, gauge, histogram, gaugehistogram, \
                     summary, stateset, info, unknown and untyped",
                    quoted(other)
                ));
            }
        };
        Ok(())
    }

    /// Reads a name up to its closing quote; the rest of the line is returned.
    fn unquote<'t>(&mut self, text: &'t str) -> Option<&'t str> {
        let mut characters = text.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => return Some(&text[at + 1..]),
                '\\' => match characters.next()?.1 {
                    'n' => self.name.push('\n'),
                    escaped @ ('\\' | '"') => self.name.push(escaped),
                    other => self.name.extend(['\\', other]),
                },
                other => self.name.push(other),
            }
        }
        None
    }

    /// The label that tells the series of one family and label set apart.
    pub fn own_label(&self) -> &'static str {
        match self.kind {
            FamilyKind::Histogram => "le",
            FamilyKind::Summary => "quantile",
            _ => "",
        }
    }

    /// What a sample of this name is.
    pub fn meaning(&self, name: &str) -> Meaning {
        use FamilyKind as Kind;
        let Some(suffix) = name.strip_prefix(self.name.as_str()) else {
            return Meaning::Series(SeriesKind::Unknown);
        };
        match (self.kind, suffix) {
            (Kind::Counter, "" | "_total") => Meaning::Series(SeriesKind::Counter),
            (Kind::Gauge | Kind::StateSet | Kind::Info, "") | (Kind::Info, "_info") => {
                Meaning::Series(SeriesKind::Gauge)
            }
            (Kind::Histogram, "_bucket") => Meaning::Bucket,
            (Kind::Histogram | Kind::Summary, "_count" | "_sum") => {
                Meaning::Series(SeriesKind::Counter)
            }
            (Kind::Counter | Kind::Histogram | Kind::Summary, "_created") => Meaning::Start,
            (Kind::Summary, "") => Meaning::Refused(
                "summary_quantile",
                "a summary's quantile can be neither added nor compared over instances; \
                 expose a histogram, its `_count` and `_sum` were taken",
            ),
            (Kind::GaugeHistogram, "_bucket" | "_gcount" | "_gsum") => Meaning::Refused(
                "gauge_histogram",
                "a gauge histogram's buckets go down as well as up, so they cannot be counted; \
                 expose a histogram",
            ),
            _ => Meaning::Series(SeriesKind::Unknown),
        }
    }
}
