//! Label matchers with Prometheus' semantics: anchored regexes, a missing label is "".
//!
//! Owns what a selector means: matching a series, and filling the variables of an arm's matchers.
//! A variable's value is put into the parsed matcher, never into the text, so no value can add or
//! change a matcher. It must not know of series, arms or files. Next: `parse`, the grammar;
//! `regexes`, what they may cost.

mod missing;
mod parse;
mod regexes;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use regex::Regex;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::Labels;
pub use missing::MissingVariable;
use regexes::anchored;
pub use regexes::{REGEX_COMPILED_BYTES_MAX, REGEXES_COMPILED_BYTES_MAX};

/// Longest text of a selector, in bytes.
pub const SELECTOR_BYTES_MAX: usize = 4_096;
/// Matchers in one selector.
pub const MATCHERS_MAX: usize = 32;
/// Longest value of an arm's variable, in bytes.
pub const VARIABLE_BYTES_MAX: usize = 1_024;

/// What to do about regexes that take too much memory.
pub const REGEXES_HELP: &str =
    "ask for fewer repetitions, or use [a-z0-9_] for \\w: it matches every script of the world";

/// The label that carries a series' name.
const NAME_LABEL: &str = "__name__";

/// Matchers of one series selector: `name{code=~"5..",path!="/healthz"}`.
///
/// Equality, the serialised form and so a plan's hash are those of the canonical form: matchers
/// sorted, quoting and blanks normalised.
#[derive(Clone)]
pub struct Selector {
    pub(super) source: String,
    canonical: String,
    matchers: Vec<Matcher>,
    regex_bytes: usize,
}

/// Label matchers whose values may hold `{{name}}` variables: `hash="{{canary}}"`.
#[derive(Clone)]
pub struct SelectorTemplate {
    source: String,
    canonical: String,
    matchers: Vec<MatcherTemplate>,
    regex_bytes: usize,
}

/// Why a text is not a selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SelectorError {
    /// Byte of the text where it goes wrong.
    pub offset: usize,
    /// What is wrong.
    pub message: String,
    /// How to put it right.
    pub help: Option<String>,
}

#[derive(Debug, Clone)]
struct Matcher {
    label: String,
    test: Test,
    /// Bytes its regex takes at most; 0 without one.
    regex_bytes: usize,
}

#[derive(Debug, Clone)]
enum Test {
    Equal(String),
    NotEqual(String),
    Regex(Regex),
    NotRegex(Regex),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct MatcherTemplate {
    label: String,
    operator: Operator,
    value: Vec<Piece>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Operator {
    Equal,
    NotEqual,
    Regex,
    NotRegex,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Piece {
    Literal(String),
    Variable(String),
}

// === impl Selector ===

impl Selector {
    /// Parses `name{label="value", ...}`, `{...}` or bare `label="value", ...`.
    ///
    /// As in Prometheus, at least one matcher must refuse the empty string, so that a slip does
    /// not select every series. Errors carry the byte they were met at.
    pub fn parse(text: &str) -> Result<Selector, SelectorError> {
        let matchers = parse::matchers(text, parse::Variables::Refused)?;
        let selector = compile(text, &matchers)?;
        if selector
            .matchers
            .iter()
            .all(|matcher| matcher.test.accepts(""))
        {
            return Err(SelectorError {
                offset: 0,
                message: "the selector would match every series".to_owned(),
                help: Some("name the metric, or add a matcher that refuses \"\"".to_owned()),
            });
        }
        Ok(selector)
    }

    /// The selector of every series of this name, whatever its labels.
    pub fn named(metric_name: &str) -> Selector {
        let matchers = vec![MatcherTemplate {
            label: NAME_LABEL.to_owned(),
            operator: Operator::Equal,
            value: vec![Piece::Literal(metric_name.to_owned())],
        }];
        Selector {
            source: metric_name.to_owned(),
            canonical: canonical(&matchers),
            matchers: vec![Matcher {
                label: NAME_LABEL.to_owned(),
                test: Test::Equal(metric_name.to_owned()),
                regex_bytes: 0,
            }],
            regex_bytes: 0,
        }
    }

    /// Whether a series of this name and these labels is selected.
    pub fn matches(&self, name: &str, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| {
            let value = match matcher.label.as_str() {
                NAME_LABEL => name,
                label => labels.get(label).unwrap_or_default(),
            };
            matcher.test.accepts(value)
        })
    }

    /// The value that a label must have, where a matcher says so in so many words.
    pub fn equal_to(&self, label: &str) -> Option<&str> {
        self.matchers
            .iter()
            .find_map(|matcher| match &matcher.test {
                Test::Equal(value) if matcher.label == label => Some(value.as_str()),
                _ => None,
            })
    }

    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// The form two selectors of the same matchers share.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }
}

// === impl SelectorTemplate ===

impl SelectorTemplate {
    /// Parses matchers whose values may hold `{{name}}` variables. Syntax and regexes are checked
    /// with placeholders in place. At least one matcher is required.
    pub fn parse(text: &str) -> Result<SelectorTemplate, SelectorError> {
        let matchers = parse::matchers(text, parse::Variables::Allowed)?;
        // A stand-in for each variable shows whether the regexes compile.
        let regex_bytes = compile(text, &matchers)?.regex_bytes;
        Ok(SelectorTemplate {
            source: text.to_owned(),
            canonical: canonical(
                &matchers
                    .iter()
                    .map(|m| m.matcher.clone())
                    .collect::<Vec<_>>(),
            ),
            matchers: matchers.into_iter().map(|found| found.matcher).collect(),
            regex_bytes,
        })
    }

    /// The variables' names, sorted.
    pub fn variables(&self) -> BTreeSet<&str> {
        let pieces = self.matchers.iter().flat_map(|matcher| &matcher.value);
        pieces.filter_map(Piece::variable).collect()
    }

    /// Puts the values in place of the variables. A value is always taken literally, also within
    /// a regex.
    pub fn fill(&self, values: &BTreeMap<String, String>) -> Result<Selector, MissingVariable> {
        for name in self.variables() {
            let name = || name.to_owned();
            match values.get(&name()) {
                None => return Err(MissingVariable::Absent { name: name() }),
                Some(value) if value.is_empty() => {
                    return Err(MissingVariable::Empty { name: name() });
                }
                Some(value) if value.len() > VARIABLE_BYTES_MAX => {
                    return Err(MissingVariable::TooLong { name: name() });
                }
                Some(_) => {}
            }
        }
        let value_of = |name: &str| values.get(name).map_or("", String::as_str);
        let mut matchers = Vec::with_capacity(self.matchers.len());
        let mut regex_bytes = 0;
        for matcher in &self.matchers {
            let too_large = || MissingVariable::RegexTooLarge {
                label: matcher.label.clone(),
            };
            let compiled = matcher.compile(&value_of).map_err(|_| too_large())?;
            regex_bytes += compiled.regex_bytes;
            if regex_bytes > REGEXES_COMPILED_BYTES_MAX {
                return Err(too_large());
            }
            matchers.push(compiled);
        }
        let filled: Vec<MatcherTemplate> =
            self.matchers.iter().map(|m| m.filled(&value_of)).collect();
        let canonical = canonical(&filled);
        Ok(Selector {
            source: canonical.clone(),
            canonical,
            matchers,
            regex_bytes,
        })
    }

    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// The form two templates of the same matchers share.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }
}

// === matchers ===

impl Test {
    fn accepts(&self, value: &str) -> bool {
        match self {
            Test::Equal(wanted) => value == wanted,
            Test::NotEqual(unwanted) => value != unwanted,
            Test::Regex(regex) => regex.is_match(value),
            Test::NotRegex(regex) => !regex.is_match(value),
        }
    }
}

impl Operator {
    fn as_str(self) -> &'static str {
        match self {
            Operator::Equal => "=",
            Operator::NotEqual => "!=",
            Operator::Regex => "=~",
            Operator::NotRegex => "!~",
        }
    }

    fn is_regex(self) -> bool {
        matches!(self, Operator::Regex | Operator::NotRegex)
    }
}

impl Piece {
    fn variable(&self) -> Option<&str> {
        match self {
            Piece::Variable(name) => Some(name),
            Piece::Literal(_) => None,
        }
    }
}

impl MatcherTemplate {
    /// The matcher with each variable's value in place.
    fn compile<'v>(&self, value_of: &impl Fn(&str) -> &'v str) -> Result<Matcher, regex::Error> {
        let mut text = String::new();
        for piece in &self.value {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Variable(name) if self.operator.is_regex() => {
                    // A group keeps `{{x}}+` a repetition of the whole value.
                    text.push_str(&format!("(?:{})", regex::escape(value_of(name))));
                }
                Piece::Variable(name) => text.push_str(value_of(name)),
            }
        }
        let (test, regex_bytes) = match self.operator {
            Operator::Equal => (Test::Equal(text), 0),
            Operator::NotEqual => (Test::NotEqual(text), 0),
            Operator::Regex => anchored(&text).map(|(regex, bytes)| (Test::Regex(regex), bytes))?,
            Operator::NotRegex => {
                anchored(&text).map(|(regex, bytes)| (Test::NotRegex(regex), bytes))?
            }
        };
        Ok(Matcher {
            label: self.label.clone(),
            test,
            regex_bytes,
        })
    }

    /// The same matcher as a literal, for its canonical text.
    fn filled<'v>(&self, value_of: &impl Fn(&str) -> &'v str) -> MatcherTemplate {
        let mut text = String::new();
        for piece in &self.value {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Variable(name) if self.operator.is_regex() => {
                    text.push_str(&regex::escape(value_of(name)));
                }
                Piece::Variable(name) => text.push_str(value_of(name)),
            }
        }
        MatcherTemplate {
            value: vec![Piece::Literal(text)],
            ..self.clone()
        }
    }
}

fn compile(text: &str, found: &[parse::Found]) -> Result<Selector, SelectorError> {
    let mut matchers = Vec::with_capacity(found.len());
    let mut regex_bytes = 0;
    for place in found {
        let refuse = |message: String, help: &str| SelectorError {
            offset: place.value_offset,
            message,
            help: Some(help.to_owned()),
        };
        let compiled = place.matcher.compile(&|_| "x").map_err(|error| {
            let message = match error {
                regex::Error::CompiledTooBig(_) => "the regex is too large".to_owned(),
                other => format!(
                    "the regex does not parse: {}",
                    last_line(&other.to_string())
                ),
            };
            let help = "regexes are RE2 without look-around and match the whole value; \
                        a literal dot is written \\\\.";
            refuse(message, help)
        })?;
        regex_bytes += compiled.regex_bytes;
        if regex_bytes > REGEXES_COMPILED_BYTES_MAX {
            let message = "the selector's regexes are too large together".to_owned();
            return Err(refuse(message, REGEXES_HELP));
        }
        matchers.push(compiled);
    }
    let templates: Vec<MatcherTemplate> = found.iter().map(|f| f.matcher.clone()).collect();
    Ok(Selector {
        source: text.to_owned(),
        canonical: canonical(&templates),
        matchers,
        regex_bytes,
    })
}

/// The regex crate draws the pattern over several lines; the last one says what is wrong.
fn last_line(message: &str) -> &str {
    let line = message.lines().last().unwrap_or(message);
    line.strip_prefix("error: ").unwrap_or(line)
}

/// `{a="b",c=~"d"}`, sorted, each matcher once.
fn canonical(matchers: &[MatcherTemplate]) -> String {
    let mut sorted: Vec<&MatcherTemplate> = matchers.iter().collect();
    sorted.sort();
    sorted.dedup();
    let text: Vec<String> = sorted
        .iter()
        .map(|matcher| {
            let mut value = String::new();
            for piece in &matcher.value {
                match piece {
                    Piece::Literal(literal) => value.push_str(&escaped(literal)),
                    Piece::Variable(name) => value.push_str(&format!("{{{{{name}}}}}")),
                }
            }
            let label = match parse::is_label_name(&matcher.label) {
                true => matcher.label.clone(),
                false => format!("\"{}\"", escaped(&matcher.label)),
            };
            format!("{label}{}\"{value}\"", matcher.operator.as_str())
        })
        .collect();
    format!("{{{}}}", text.join(","))
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            // `{{` would read as a variable, and the next piece may begin with one.
            '{' if matches!(chars.peek(), None | Some('{')) => out.push_str("\\x7b"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
    out
}

macro_rules! canonical_traits {
    ($type:ty) => {
        impl $type {
            /// Bytes its compiled regexes take at most.
            pub fn regex_bytes(&self) -> usize {
                self.regex_bytes
            }
        }

        impl PartialEq for $type {
            fn eq(&self, other: &Self) -> bool {
                self.canonical == other.canonical
            }
        }

        impl Eq for $type {}

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($type), "({})"), self.canonical)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.source)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.canonical)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                <$type>::parse(&text).map_err(D::Error::custom)
            }
        }
    };
}

canonical_traits!(Selector);
canonical_traits!(SelectorTemplate);

#[cfg(test)]
mod tests;
