//! Queries by which a metric is pulled: their text, their variables, and how these are filled in.
//!
//! Owns what may stand where in a query, so that a value can never become anything but the content
//! of a string. It must not know who is asked, nor when: that is `pull`. Next: `selector`, whose
//! matchers stand for `{{arm}}`.
//!
//! Only as much of PromQL is read as tells strings and comments from the rest: whether a query is
//! one is for the source to say.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::selector::{MissingVariable, SelectorError, VARIABLE_BYTES_MAX};
use super::{Selector, Source};

/// Longest text of a query, in bytes.
pub const QUERY_BYTES_MAX: usize = 4_096;
/// The variable that stands for the matchers of the arm that is asked about.
pub const ARM_VARIABLE: &str = "arm";

/// A query with its variables: `sum(rate(http_requests_total{ {{arm}} }[1m]))`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryTemplate {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    /// The matchers of the arm.
    Arm,
    /// A value within a string; within a regex where the string is one.
    Value {
        name: String,
        in_regex: bool,
    },
}

/// Queries of one metric, by what their results count for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "form")]
pub enum Pulled {
    /// Points of a gauge.
    Points {
        /// One number a series and tick.
        query: QueryTemplate,
    },
    /// Ratio from the totals of counters.
    Ratio {
        /// Totals of bad events.
        bad: QueryTemplate,
        /// Totals of all events.
        total: QueryTemplate,
    },
    /// Rate from the totals of counters.
    Rate {
        /// Totals of events.
        events: QueryTemplate,
        /// Totals of exposure; without it, exposure is time (seconds, equal in both arms).
        exposure: Option<QueryTemplate>,
    },
    /// Ratio from the buckets of a classic histogram: observations above a bound, of all.
    Above {
        /// Totals of the buckets, told apart by the label `le`.
        buckets: QueryTemplate,
        /// The bound, that of a bucket.
        bound: f64,
    },
    /// Latency from the buckets of a classic histogram.
    Distribution {
        /// Totals of the buckets, told apart by the label `le`.
        buckets: QueryTemplate,
    },
}

/// What a query's results count for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Part {
    /// The points themselves.
    Points,
    /// Bad events of a ratio, events of a rate.
    Bad,
    /// All events of a ratio, exposure of a rate.
    Total,
    /// Buckets of a histogram.
    Buckets,
}

// === impl QueryTemplate ===

impl QueryTemplate {
    /// Reads a query's variables.
    ///
    /// # Errors
    /// [`SelectorError`]: a variable that stands where its value could become more than a text, a
    /// query that would be the same for both arms, or one that is too long.
    pub fn parse(text: &str) -> Result<QueryTemplate, SelectorError> {
        let refuse = |offset, message: &str, help: &str| {
            Err(SelectorError {
                offset,
                message: message.to_owned(),
                help: Some(help.to_owned()),
            })
        };
        if text.len() > QUERY_BYTES_MAX {
            let message = format!("the query is longer than {QUERY_BYTES_MAX} bytes");
            return refuse(0, &message, "make it a recording rule of the source");
        }
        let pieces = Scanner::new(text).pieces()?;
        if !pieces.contains(&Piece::Arm) {
            return refuse(
                0,
                "the query would be the same for both arms",
                "put {{arm}} among the matchers of each series: requests_total{ {{arm}} }",
            );
        }
        Ok(QueryTemplate {
            text: text.trim().to_owned(),
            pieces,
        })
    }

    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Names of its variables, sorted, without `arm`.
    pub fn variables(&self) -> BTreeSet<&str> {
        let names = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Value { name, .. } => Some(name.as_str()),
            Piece::Literal(_) | Piece::Arm => None,
        });
        names.collect()
    }

    /// The first function or aggregation of these names that it applies, outside of strings and
    /// comments: `sum(..)`, `sum by (le) (..)`.
    pub fn applies<'n>(&self, names: &[&'n str]) -> Option<&'n str> {
        let mut scanner = Scanner::new(&self.text);
        let is_word = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | ':');
        while let Some(char) = self.text[scanner.at..].chars().next() {
            let rest = &self.text[scanner.at..];
            let word = rest.find(|char| !is_word(char)).unwrap_or(rest.len());
            if scanner.within != Within::Nothing || word == 0 {
                scanner.at += scanner.step(char);
                continue;
            }
            let behind = rest[word..].trim_start();
            let grouped = ["by", "without"].iter().any(|grouping| {
                let labels = behind.strip_prefix(grouping);
                labels.is_some_and(|labels| labels.trim_start().starts_with('('))
            });
            let name = names
                .iter()
                .find(|name| rest[..word].eq_ignore_ascii_case(name));
            if let Some(name) = name.filter(|_| grouped || behind.starts_with('(')) {
                return Some(name);
            }
            scanner.at += word;
        }
        None
    }

    /// The query about one arm.
    ///
    /// # Errors
    /// [`MissingVariable`], as for the arms' matchers.
    pub fn fill(
        &self,
        arm: &Selector,
        values: &BTreeMap<String, String>,
    ) -> Result<String, MissingVariable> {
        let canonical = arm.canonical();
        let matchers = canonical.strip_prefix('{').unwrap_or(canonical);
        let matchers = matchers.strip_suffix('}').unwrap_or(matchers);
        let mut query = String::with_capacity(self.text.len() + matchers.len());
        for piece in &self.pieces {
            match piece {
                Piece::Literal(literal) => query.push_str(literal),
                Piece::Arm => query.push_str(matchers),
                Piece::Value { name, in_regex } => {
                    let value = value_of(name, values)?;
                    match in_regex {
                        true => push_escaped(&mut query, &regex::escape(value)),
                        false => push_escaped(&mut query, value),
                    }
                }
            }
        }
        Ok(query.trim().to_owned())
    }
}

fn value_of<'v>(
    name: &str,
    values: &'v BTreeMap<String, String>,
) -> Result<&'v str, MissingVariable> {
    let name = name.to_owned();
    match values.get(&name) {
        None => Err(MissingVariable::Absent { name }),
        Some(value) if value.is_empty() => Err(MissingVariable::Empty { name }),
        Some(value) if value.len() > VARIABLE_BYTES_MAX => Err(MissingVariable::TooLong { name }),
        Some(value) => Ok(value),
    }
}

/// Writes a text as the content of a quoted string. Everything but plain letters is escaped by its
/// number where it could end the string, in either sort of quotes.
fn push_escaped(query: &mut String, value: &str) {
    for char in value.chars() {
        match char {
            '\\' => query.push_str("\\\\"),
            '"' => query.push_str("\\x22"),
            '\'' => query.push_str("\\x27"),
            '\n' => query.push_str("\\n"),
            '\r' => query.push_str("\\r"),
            '\0' => query.push_str("\\x00"),
            other => query.push(other),
        }
    }
}

impl fmt::Display for QueryTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for QueryTemplate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for QueryTemplate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<QueryTemplate, D::Error> {
        let text = String::deserialize(deserializer)?;
        QueryTemplate::parse(&text).map_err(D::Error::custom)
    }
}

// === scanning ===

/// Where the scanner is in a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    Nothing,
    /// A string that begins with this quote.
    Quotes {
        quote: char,
        is_regex: bool,
    },
    Comment,
}

struct Scanner<'t> {
    text: &'t str,
    at: usize,
    within: Within,
    literal: String,
    pieces: Vec<Piece>,
}

// === impl Scanner ===

impl<'t> Scanner<'t> {
    fn new(text: &'t str) -> Scanner<'t> {
        Scanner {
            text,
            at: 0,
            within: Within::Nothing,
            literal: String::new(),
            pieces: Vec::new(),
        }
    }

    fn pieces(mut self) -> Result<Vec<Piece>, SelectorError> {
        while let Some(char) = self.text[self.at..].chars().next() {
            let rest = &self.text[self.at..];
            // Of three braces the outer one is the selector's.
            let is_variable = rest.starts_with("{{") && !rest.starts_with("{{{");
            if is_variable && self.within != Within::Comment {
                self.variable()?;
                continue;
            }
            let taken = self.step(char);
            self.literal.push_str(&rest[..taken]);
            self.at += taken;
        }
        if matches!(self.within, Within::Quotes { .. }) {
            return Err(self.error("the query ends within quotes", "close the quotes"));
        }
        self.end_literal();
        Ok(self.pieces)
    }

    /// Takes a character, or one with what it escapes: bytes taken.
    fn step(&mut self, char: char) -> usize {
        match (self.within, char) {
            (Within::Nothing, '"' | '\'' | '`') => {
                let before = self.text[..self.at].trim_end();
                let is_regex = before.ends_with("=~") || before.ends_with("!~");
                self.within = Within::Quotes {
                    quote: char,
                    is_regex,
                };
            }
            (Within::Nothing, '#') => self.within = Within::Comment,
            (Within::Comment, '\n') => self.within = Within::Nothing,
            (Within::Quotes { quote, .. }, '\\') if quote != '`' => {
                let escaped = self.text[self.at + 1..].chars().next();
                return 1 + escaped.map_or(0, char::len_utf8);
            }
            (Within::Quotes { quote, .. }, _) if quote == char => self.within = Within::Nothing,
            _ => {}
        }
        char.len_utf8()
    }

    /// Takes a variable.
    fn variable(&mut self) -> Result<(), SelectorError> {
        let rest = &self.text[self.at..];
        let Some(length) = rest.find("}}") else {
            return Err(self.error("`{{` is not closed", "write {{name}}"));
        };
        let name = rest[2..length].trim();
        let first = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !first || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            let help = "letters, digits and _: {{arm}}; a blank keeps other braces apart";
            return Err(self.error(&format!("`{name}` cannot name a variable"), help));
        }
        let piece = match (self.within, name) {
            (Within::Nothing, ARM_VARIABLE) => Piece::Arm,
            (_, ARM_VARIABLE) => {
                let help = "write requests_total{ {{arm}} }";
                return Err(self.error("`{{arm}}` stands for matchers, not for a text", help));
            }
            (Within::Quotes { quote, is_regex }, _) if quote != '`' => Piece::Value {
                name: name.to_owned(),
                in_regex: is_regex,
            },
            _ => {
                let message = format!("the variable `{name}` does not stand within quotes");
                let help = format!("write \"{{{{{name}}}}}\": a value is always a text");
                return Err(self.error(&message, &help));
            }
        };
        self.end_literal();
        self.pieces.push(piece);
        self.at += length + 2;
        Ok(())
    }

    fn end_literal(&mut self) {
        if !self.literal.is_empty() {
            let literal = std::mem::take(&mut self.literal);
            self.pieces.push(Piece::Literal(literal));
        }
    }

    fn error(&self, message: &str, help: &str) -> SelectorError {
        SelectorError {
            offset: self.at,
            message: message.to_owned(),
            help: Some(help.to_owned()),
        }
    }
}

// === impl Pulled ===

impl Pulled {
    /// The queries of one arm.
    pub fn parts(&self) -> Vec<(Part, &QueryTemplate)> {
        match self {
            Pulled::Points { query } => vec![(Part::Points, query)],
            Pulled::Ratio { bad, total } => vec![(Part::Bad, bad), (Part::Total, total)],
            Pulled::Rate { events, exposure } => {
                let exposure = exposure.iter().map(|query| (Part::Total, query));
                std::iter::once((Part::Bad, events))
                    .chain(exposure)
                    .collect()
            }
            Pulled::Above { buckets, .. } | Pulled::Distribution { buckets } => {
                vec![(Part::Buckets, buckets)]
            }
        }
    }

    /// Whether results are totals, of which what came on top counts.
    pub fn are_totals(&self) -> bool {
        !matches!(self, Pulled::Points { .. })
    }
}

// === impl Source ===

impl Source {
    /// Whether exposure is time: a rate of events alone.
    pub fn is_timed(&self) -> bool {
        matches!(
            self,
            Source::RateCounts { exposure: None, .. }
                | Source::Pulled(Pulled::Rate { exposure: None, .. })
        )
    }

    /// The queries, of a metric that is pulled.
    pub fn pulled(&self) -> Option<&Pulled> {
        match self {
            Source::Pulled(pulled) => Some(pulled),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
