//! The answer to a range query of Prometheus' HTTP API: bytes to series.
//!
//! Owns what an answer may be. Anything else than a whole matrix of the points that were asked for
//! is an error with a sentence: an empty answer of a source that failed must not be taken for a
//! service without traffic. The form: <https://prometheus.io/docs/prometheus/latest/querying/api/>.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::model::series::{BadLabels, NAME_LABEL, Point, PointValue, SeriesBatch, SeriesKind};
use crate::model::{Millis, Timestamp};

/// Characters of a source's own words that are kept.
const SAID_CHARS_MAX: usize = 200;

/// Takes out of a source's words what must not be shown.
pub type Clear<'c> = &'c dyn Fn(&str) -> String;

/// The instants of a range query: `points` of them from `start`, a `step` apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first instant.
    pub start: Timestamp,
    /// Milliseconds from one to the next.
    pub step: Millis,
    /// How many; at least one.
    pub points: usize,
}

/// What a source answered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// Its series.
    pub series: Vec<AnswerSeries>,
    /// What it warned of.
    pub warning: Option<String>,
}

/// One series.
#[derive(Debug, Clone, PartialEq)]
pub struct AnswerSeries {
    /// Its labels, its name among them where it has one.
    pub labels: BTreeMap<String, String>,
    /// Its points at instants that were asked for, ascending; `None` for a NaN.
    pub points: Vec<(Timestamp, Option<f64>)>,
}

/// Why an answer is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// It is not of the form.
    #[error("{0}")]
    Malformed(String),
    /// The source refused the query, in its own words.
    #[error("{0}")]
    Refused(String),
    /// More series than are taken.
    #[error(
        "more than {0} series came, which is the limit; narrow the query's matchers, or raise sources.prometheus.series_per_query_max"
    )]
    TooManySeries(usize),
}

#[derive(Deserialize)]
struct Body<'b> {
    #[serde(borrow)]
    status: Cow<'b, str>,
    #[serde(borrow, default)]
    data: Option<Data<'b>>,
    #[serde(borrow, rename = "errorType", default)]
    error_type: Option<Cow<'b, str>>,
    #[serde(borrow, default)]
    error: Option<Cow<'b, str>>,
    #[serde(default)]
    warnings: Option<Vec<String>>,
    #[serde(rename = "isPartial", default)]
    is_partial: bool,
}

#[derive(Deserialize)]
struct Data<'b> {
    #[serde(borrow, rename = "resultType")]
    result_type: Cow<'b, str>,
    #[serde(borrow)]
    result: &'b RawValue,
}

#[derive(Deserialize)]
struct Item {
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<(f64, String)>,
    #[serde(default)]
    histograms: Option<IgnoredAny>,
}

// === impl Range ===

impl Range {
    /// The last instant.
    pub fn end(&self) -> Timestamp {
        let steps = i64::try_from(self.points.saturating_sub(1)).unwrap_or(i64::MAX);
        self.start.plus(self.step.saturating_mul(steps))
    }

    fn holds(&self, ts: Timestamp) -> bool {
        ts >= self.start && ts <= self.end() && ts.since(self.start) % self.step.max(1) == 0
    }
}

// === impl Answer ===

impl Answer {
    /// The points from one instant to another as a batch. Series without a name, as aggregations
    /// make them, bear `name`.
    ///
    /// # Errors
    /// A sentence, when a series cannot be held.
    pub fn batch(
        &self,
        name: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<SeriesBatch, NoAnswer> {
        let mut batch = SeriesBatch::default();
        for series in &self.series {
            let points = series
                .points
                .iter()
                .filter(|(ts, _)| (from..=to).contains(ts));
            let mut points = points.peekable();
            if points.peek().is_none() {
                continue;
            }
            let own = series.labels.iter();
            let own = own.map(|(label, value)| (label.as_str(), value.as_str()));
            let is_named = series.labels.get(NAME_LABEL).is_some_and(|n| !n.is_empty());
            let named = (!is_named).then_some((NAME_LABEL, name));
            let labels = own.chain(named);
            batch
                .begin(labels, SeriesKind::Unknown)
                .map_err(|bad: BadLabels| {
                    NoAnswer::Malformed(format!("a series' labels cannot be taken: {bad:?}"))
                })?;
            for &(ts, value) in points {
                batch.point(Point {
                    ts,
                    start: None,
                    value: value.map_or(PointValue::Stale, PointValue::Number),
                });
            }
        }
        Ok(batch)
    }

    /// Points of all series.
    pub fn points(&self) -> usize {
        self.series.iter().map(|series| series.points.len()).sum()
    }
}

// === functions ===

/// Reads an answer to a query about `range`. The source's own words go through `clear` before they
/// are cut short: half of a secret could not be told any more.
///
/// # Errors
/// [`NoAnswer`] for everything that is not a whole answer.
pub fn decode(
    body: &[u8],
    range: &Range,
    series_max: usize,
    clear: Clear<'_>,
) -> Result<Answer, NoAnswer> {
    let malformed = |what: String| NoAnswer::Malformed(what);
    let body: Body<'_> = serde_json::from_slice(body).map_err(|error| {
        malformed(format!(
            "the answer is not one of Prometheus' HTTP API ({}); is the address right?",
            place(&error)
        ))
    })?;
    if body.status != "success" {
        return Err(NoAnswer::Refused(refusal(&body, clear)));
    }
    if body.is_partial {
        return Err(malformed(
            "the answer is partial, and a part of a sum is a wrong number; see to the source's storage nodes"
                .to_owned(),
        ));
    }
    let Some(data) = body.data else {
        return Err(malformed("the answer holds no data".to_owned()));
    };
    if data.result_type != "matrix" {
        return Err(malformed(format!(
            "the answer is a {}, and a range query gives a matrix; is the address that of the HTTP API?",
            shown(&data.result_type, clear)
        )));
    }
    let items: Vec<Item> = serde_json::from_str(data.result.get()).map_err(|error| {
        malformed(format!(
            "the answer's matrix cannot be read: {}",
            place(&error)
        ))
    })?;
    if items.len() > series_max {
        return Err(NoAnswer::TooManySeries(series_max));
    }
    let series: Result<Vec<AnswerSeries>, NoAnswer> = items
        .into_iter()
        .map(|item| series_of(item, range))
        .collect();
    let warnings = body.warnings.unwrap_or_default();
    Ok(Answer {
        series: series?,
        warning: warnings.first().map(|warning| shown(warning, clear)),
    })
}

/// What is wrong with a text and where, without its words: those may repeat what was sent.
fn place(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        Category::Data => "something else stands there than should",
        Category::Eof => "it ends early",
        Category::Syntax | Category::Io => "it is no JSON",
    };
    format!("{what}, at line {} column {}", error.line(), error.column())
}

/// The source's own words, where the body is an error of its HTTP API.
pub fn refused(body: &[u8], clear: Clear<'_>) -> Option<String> {
    let body: Body<'_> = serde_json::from_slice(body).ok()?;
    (body.status != "success").then(|| refusal(&body, clear))
}

fn refusal(body: &Body<'_>, clear: Clear<'_>) -> String {
    let words = |text: &Option<Cow<'_, str>>| text.as_deref().map(|text| shown(text, clear));
    match (words(&body.error_type), words(&body.error)) {
        (Some(kind), Some(error)) => format!("{kind}: {error}"),
        (None, Some(error)) => error,
        (Some(kind), None) => kind,
        (None, None) => format!("the status {}", shown(&body.status, clear)),
    }
}

fn series_of(item: Item, range: &Range) -> Result<AnswerSeries, NoAnswer> {
    let malformed = |what: &str| Err(NoAnswer::Malformed(what.to_owned()));
    if item.histograms.is_some() {
        return malformed(
            "the query gives native histograms, which cannot be pulled; query numbers, such as histogram_count()",
        );
    }
    let mut points = Vec::with_capacity(item.values.len());
    let mut before = None;
    for (secs, value) in item.values {
        let ts = Timestamp((secs * 1000.0).round() as i64);
        if !range.holds(ts) || before >= Some(ts) {
            return malformed("the answer holds points that were not asked for, or one twice");
        }
        before = Some(ts);
        let Ok(value) = value.parse::<f64>() else {
            return malformed("the answer holds a value that is no number");
        };
        points.push((ts, Some(value).filter(|value| !value.is_nan())));
    }
    Ok(AnswerSeries {
        labels: item.metric,
        points,
    })
}

fn shown(text: &str, clear: Clear<'_>) -> String {
    clear(text).chars().take(SAID_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests;
