//! What YAML, JSON and TOML have in common: a tree of places, keys and texts.
//!
//! Owns the tree every reader of configuration walks. It must not know what a key means.
//! Next: `yaml` and `toml_tree`, which build it; `reader`, which walks it.

use super::problem::{Problem, ProblemCode};

/// Depth of nesting.
pub const DEPTH_MAX: usize = 16;

/// A value with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub kind: Kind,
}

/// A place in a text: line and column from 1 in characters, or zeros where there is no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A text, number, truth value or nothing; which of them is for its reader to say.
    Scalar {
        /// The text, unquoted and unescaped.
        text: String,
        /// Whether quotes (or a block) said that it is a text.
        quoted: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// A mapping in the order written. Keys are unique.
    Map(Vec<(Key, Node)>),
}

/// A key with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// Where it begins.
    pub place: Place,
    /// The key.
    pub text: String,
}

impl Node {
    /// Whether nothing was written (`key:`, `~`, `null`).
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, quoted: false }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// `a list`, `a mapping`, ... for messages.
    pub fn what(&self) -> &'static str {
        match &self.kind {
            _ if self.is_null() => "nothing",
            Kind::Scalar { quoted: true, .. } => "a text",
            Kind::Scalar { text, .. } if text.parse::<f64>().is_ok() => "a number",
            Kind::Scalar { text, .. } if text == "true" || text == "false" => "true or false",
            Kind::Scalar { .. } => "a text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a mapping",
        }
    }

    /// The tree of a JSON value. It has no places; problems name the path only.
    pub fn from_json(value: &serde_json::Value) -> Result<Node, Box<Problem>> {
        from_json(value, 0)
    }
}

fn from_json(value: &serde_json::Value, depth: usize) -> Result<Node, Box<Problem>> {
    use serde_json::Value;
    if depth > DEPTH_MAX {
        return Err(Box::new(too_deep("", Place::default())));
    }
    let scalar = |text: String, quoted| Kind::Scalar { text, quoted };
    let kind = match value {
        Value::Null => scalar("null".to_owned(), false),
        Value::Bool(flag) => scalar(flag.to_string(), false),
        Value::Number(number) => scalar(number.to_string(), false),
        Value::String(text) => scalar(text.clone(), true),
        Value::Array(items) => {
            let nodes = items.iter().map(|item| from_json(item, depth + 1));
            Kind::List(nodes.collect::<Result<_, _>>()?)
        }
        Value::Object(entries) => {
            let mut map = Vec::with_capacity(entries.len());
            for (key, item) in entries {
                let key = Key {
                    place: Place::default(),
                    text: key.clone(),
                };
                map.push((key, from_json(item, depth + 1)?));
            }
            Kind::Map(map)
        }
    };
    Ok(Node {
        place: Place::default(),
        kind,
    })
}

pub(super) fn too_deep(file: &str, place: Place) -> Problem {
    let message = format!("nested more than {DEPTH_MAX} levels deep");
    Problem {
        line: place.line,
        column: place.column,
        ..Problem::of_file(file, ProblemCode::TooLarge, message)
    }
}
