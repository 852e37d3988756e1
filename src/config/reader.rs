//! Walking a tree of places and keys, collecting every problem on the way.
//!
//! Owns the checks any format needs: known keys, right types, ranges. A value that is refused
//! becomes a problem and `None`; the caller goes on with a stand-in, so that all problems are
//! found in one reading. It must not know what a plan or a daemon is.

use std::ops::RangeInclusive;

use super::node::{Key, Kind, Node, Place};
use super::problem::{Problem, ProblemCode, Severity, nearest, one_of};
use super::quantity::{self, Amount};
use crate::model::Millis;

/// Collects the problems of one text.
pub struct Reader<'t> {
    file: &'t str,
    /// Found so far, in the order met.
    pub problems: Vec<Problem>,
    /// Memory that the text's compiled regexes take at most, in bytes.
    pub regex_bytes: usize,
}

/// A mapping whose keys were checked.
#[derive(Clone)]
pub struct Table<'n> {
    path: String,
    place: Place,
    entries: &'n [(Key, Node)],
}

/// A value with its path.
#[derive(Clone)]
pub struct Field<'n> {
    /// The value.
    pub node: &'n Node,
    /// Its path: `checks[1].tolerance`.
    pub path: String,
}

impl<'n> Table<'n> {
    /// The value of a key, where it was written.
    pub fn get(&self, key: &str) -> Option<Field<'n>> {
        let (_, node) = self.entries.iter().find(|(known, _)| known.text == key)?;
        Some(Field {
            node,
            path: self.path_of(key),
        })
    }

    /// Every entry.
    pub fn fields(&self) -> impl Iterator<Item = (&'n Key, Field<'n>)> + '_ {
        let field = |(key, node): &'n (Key, Node)| {
            (
                key,
                Field {
                    node,
                    path: self.path_of(&key.text),
                },
            )
        };
        self.entries.iter().map(field)
    }

    /// The path of a key of it.
    pub fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Where a key stands, or the mapping itself without it.
    pub fn place_of(&self, key: &str) -> Place {
        let entry = self.entries.iter().find(|(known, _)| known.text == key);
        entry.map_or(self.place, |(key, _)| key.place)
    }

    /// Where the mapping begins, and its path.
    pub fn at(&self) -> (Place, &str) {
        (self.place, &self.path)
    }
}

impl<'n> Field<'n> {
    /// Where the value stands, and its path.
    pub fn at(&self) -> (Place, &str) {
        (self.node.place, &self.path)
    }

    /// The whole text.
    pub fn root(node: &'n Node) -> Field<'n> {
        Field {
            node,
            path: String::new(),
        }
    }

    /// The text of a scalar that is not nothing.
    pub fn scalar(&self) -> Option<&'n str> {
        match &self.node.kind {
            Kind::Scalar { text, .. } if !self.node.is_null() => Some(text),
            _ => None,
        }
    }
}

impl<'t> Reader<'t> {
    /// A reader of the text of this name.
    pub fn new(file: &'t str) -> Reader<'t> {
        Reader {
            file,
            problems: Vec::new(),
            regex_bytes: 0,
        }
    }

    /// Records an error at a place.
    pub fn error(
        &mut self,
        (place, path): (Place, &str),
        code: ProblemCode,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let help = help.into();
        self.problems.push(Problem {
            line: place.line,
            column: place.column,
            path: path.to_owned(),
            help: (!help.is_empty()).then_some(help),
            ..Problem::of_file(self.file, code, message)
        });
    }

    /// Records an error at a value.
    pub fn refuse(
        &mut self,
        field: &Field<'_>,
        code: ProblemCode,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.error((field.node.place, &field.path), code, message, help);
    }

    /// Records a value that makes no sense.
    pub fn bad(&mut self, field: &Field<'_>, message: impl Into<String>, help: impl Into<String>) {
        self.refuse(field, ProblemCode::BadValue, message, help);
    }

    /// Records a warning at a place.
    pub fn warn(&mut self, at: (Place, &str), message: impl Into<String>, help: impl Into<String>) {
        self.error(at, ProblemCode::Suspicious, message, help);
        if let Some(problem) = self.problems.last_mut() {
            problem.severity = Severity::Warning;
        }
    }

    /// Whether an error was recorded so far.
    pub fn has_error(&self) -> bool {
        let mut found = self.problems.iter();
        found.any(|problem| problem.severity == Severity::Error)
    }

    /// A mapping; unknown keys and keys without a value are problems. Without `known`, keys are
    /// names of the writer's choice.
    pub fn table<'n>(&mut self, field: &Field<'n>, known: Option<&[&str]>) -> Option<Table<'n>> {
        let Kind::Map(entries) = &field.node.kind else {
            self.wrong_type(field, "a mapping of keys to values", "");
            return None;
        };
        let table = Table {
            path: field.path.clone(),
            place: field.node.place,
            entries,
        };
        for (key, inner) in table.fields() {
            let path = inner.path.as_str();
            if let Some(known) = known.filter(|known| !known.contains(&key.text.as_str())) {
                self.unknown_key(key, path, known);
            } else if inner.node.is_null() {
                let message = format!("`{}` has no value", key.text);
                let help = "write a value, or remove the key";
                self.error((key.place, path), ProblemCode::MissingKey, message, help);
            }
        }
        Some(table)
    }

    /// Records a key that nobody knows, naming the nearest or all known ones.
    pub fn unknown_key(&mut self, key: &Key, path: &str, known: &[&str]) {
        let help = match nearest(&key.text, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known keys here: {}", known.join(", ")),
        };
        let message = format!("unknown key `{}`", key.text);
        self.error((key.place, path), ProblemCode::UnknownKey, message, help);
    }

    /// A key that must be there.
    pub fn required<'n>(&mut self, table: &Table<'n>, key: &str, help: &str) -> Option<Field<'n>> {
        let field = table.get(key);
        match &field {
            None => {
                let at = table.at();
                self.error(
                    at,
                    ProblemCode::MissingKey,
                    format!("`{key}` is missing"),
                    help,
                );
                None
            }
            // Reported with the table.
            Some(field) if field.node.is_null() => None,
            Some(_) => field,
        }
    }

    /// The items of a list.
    pub fn list<'n>(&mut self, field: &Field<'n>) -> Option<Vec<Field<'n>>> {
        let Kind::List(items) = &field.node.kind else {
            self.wrong_type(field, "a list", "");
            return None;
        };
        let item = |(index, node)| Field {
            node,
            path: format!("{}[{index}]", field.path),
        };
        Some(items.iter().enumerate().map(item).collect())
    }

    /// A text; numbers count as their text.
    pub fn text<'n>(&mut self, field: &Field<'n>) -> Option<&'n str> {
        let text = field.scalar();
        if text.is_none() {
            self.wrong_type(field, "a text", "");
        }
        text
    }

    /// `true` or `false`.
    pub fn flag(&mut self, field: &Field<'_>) -> Option<bool> {
        match &field.node.kind {
            Kind::Scalar {
                text,
                quoted: false,
            } if text == "true" => return Some(true),
            Kind::Scalar {
                text,
                quoted: false,
            } if text == "false" => return Some(false),
            Kind::Scalar { text, .. } => {
                let help = match text.to_lowercase().as_str() {
                    "yes" | "on" | "y" | "true" | "1" => "write true",
                    "no" | "off" | "n" | "false" | "0" => "write false",
                    _ => "",
                };
                self.wrong_type(field, "true or false", help);
            }
            _ => self.wrong_type(field, "true or false", ""),
        }
        None
    }

    /// One of the words.
    pub fn word<T: Copy>(&mut self, field: &Field<'_>, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(field)?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let known = words.iter().map(|(word, _)| *word);
            let help = match nearest(text, known.clone()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => String::new(),
            };
            self.bad(field, format!("`{text}` is not {}", one_of(known)), help);
        }
        found.map(|(_, value)| *value)
    }

    /// A finite number within a range, both ends included.
    pub fn number(&mut self, field: &Field<'_>, range: RangeInclusive<f64>) -> Option<f64> {
        let Some(number) = field.scalar().and_then(quantity::number) else {
            let percent = field.scalar().and_then(quantity::amount);
            let help = match percent {
                Some(Amount::Percent(share)) => format!("write {share}"),
                _ => format!("a number alone, {} to {}", range.start(), range.end()),
            };
            self.wrong_type(field, "a number", help);
            return None;
        };
        if !range.contains(&number) {
            let message = format!("{number} is out of range");
            self.bad(
                field,
                message,
                format!("{} to {}", range.start(), range.end()),
            );
            return None;
        }
        Some(number)
    }

    /// A whole number within a range.
    pub fn whole(&mut self, field: &Field<'_>, range: RangeInclusive<u64>) -> Option<u64> {
        let help = format!("a whole number, {} to {}", range.start(), range.end());
        let Some(number) = field.scalar().and_then(quantity::number) else {
            self.wrong_type(field, "a whole number", help);
            return None;
        };
        let whole = field.scalar().and_then(|text| text.parse::<u64>().ok());
        let within = whole.filter(|whole| range.contains(whole));
        if within.is_none() {
            self.bad(field, format!("{number} is not allowed here"), help);
        }
        within
    }

    /// A duration from `least` on.
    pub fn duration(&mut self, field: &Field<'_>, least: Millis) -> Option<Millis> {
        let text = self.text(field)?;
        match quantity::duration(text) {
            Ok(millis) if millis >= least => Some(millis),
            Ok(_) => {
                let help = format!("at least {}", quantity::duration_text(least));
                self.bad(field, format!("`{text}` is too short"), help);
                None
            }
            Err(message) => {
                self.bad(field, message, "write 500ms, 15s, 5m, 1h30m or 2d");
                None
            }
        }
    }

    fn wrong_type(&mut self, field: &Field<'_>, due: &str, help: impl Into<String>) {
        // Said already, with the key.
        if field.node.is_null() {
            return;
        }
        let message = format!("expected {due}, found {}", field.node.what());
        self.refuse(field, ProblemCode::WrongType, message, help);
    }
}
