//! A tree against a JSON Schema: unknown keys, types, words and ranges, every problem at once.
//!
//! Owns the part of JSON Schema that `schemars` writes for our types, so that names, types and
//! ranges stand in one place, the types. It must not know the types themselves.

use serde_json::{Map, Value};

use super::node::{Kind, Node};
use super::problem::{ProblemCode, nearest};
use super::reader::{Field, Reader, Table};

/// A schema with the definitions it refers to.
pub struct Schema {
    root: Value,
}

impl Schema {
    /// Takes a schema as `schemars` writes it.
    pub fn new(root: Value) -> Schema {
        Schema { root }
    }

    /// Checks a whole file.
    pub fn check(&self, reader: &mut Reader<'_>, root: &Node) {
        self.value(reader, &self.root, &Field::root(root), Texts::AsWritten);
    }

    /// Checks one value given by path, as from the environment or a flag, where all is text.
    pub fn check_at(&self, reader: &mut Reader<'_>, path: &[&str], field: &Field<'_>) {
        let mut schema = &self.root;
        for (index, segment) in path.iter().enumerate() {
            let properties = properties(schema);
            let Some(inner) = properties.and_then(|properties| properties.get(*segment)) else {
                let known = properties
                    .into_iter()
                    .flat_map(|p| p.keys().map(String::as_str));
                let help = match nearest(segment, known.clone()) {
                    Some(near) => {
                        let near = [&path[..index], &[near]].concat().join(".");
                        format!("did you mean `{near}`?")
                    }
                    None => format!("known keys here: {}", known.collect::<Vec<_>>().join(", ")),
                };
                let message = format!("unknown key `{}`", path[..=index].join("."));
                reader.refuse(field, ProblemCode::UnknownKey, message, help);
                return;
            };
            schema = self.resolved(inner);
        }
        self.value(reader, schema, field, Texts::AsAnything);
    }

    fn resolved<'s>(&'s self, schema: &'s Value) -> &'s Value {
        let pointer = schema.get("$ref").and_then(Value::as_str);
        let target = pointer.and_then(|pointer| self.root.pointer(pointer.trim_start_matches('#')));
        target.unwrap_or(schema)
    }

    fn value(&self, reader: &mut Reader<'_>, schema: &Value, field: &Field<'_>, texts: Texts) {
        let schema = self.resolved(schema);
        if let Some(words) = schema.get("enum").and_then(Value::as_array) {
            let words: Vec<(&str, ())> = words
                .iter()
                .filter_map(|w| Some((w.as_str()?, ())))
                .collect();
            reader.word(field, &words);
            return;
        }
        match type_of(schema) {
            Some("object") => self.object(reader, schema, field),
            Some("array") => self.array(reader, schema, field, texts),
            Some("integer") => {
                let bound = |key: &str| schema.get(key).and_then(Value::as_u64);
                let range = bound("minimum").unwrap_or(0)..=bound("maximum").unwrap_or(u64::MAX);
                if texts == Texts::AsWritten && is_quoted(field) {
                    let message = "expected a whole number, found a text";
                    reader.refuse(field, ProblemCode::WrongType, message, "remove the quotes");
                    return;
                }
                reader.whole(field, range);
            }
            Some("boolean") => {
                reader.flag(field);
            }
            Some("string") if texts == Texts::AsWritten && !is_quoted(field) => {
                let message = format!("expected a text, found {}", field.node.what());
                reader.refuse(field, ProblemCode::WrongType, message, "put it in quotes");
            }
            _ => {}
        }
    }

    fn object(&self, reader: &mut Reader<'_>, schema: &Value, field: &Field<'_>) {
        let known: Option<Vec<&str>> =
            properties(schema).map(|properties| properties.keys().map(String::as_str).collect());
        let Some(table) = reader.table(field, known.as_deref()) else {
            return;
        };
        for (key, inner) in table.fields() {
            let named = properties(schema).and_then(|properties| properties.get(&key.text));
            let any = schema
                .get("additionalProperties")
                .filter(|schema| schema.is_object());
            if let Some(schema) = named.or(any) {
                self.value(reader, schema, &inner, Texts::AsWritten);
            }
        }
        let required = schema.get("required").and_then(Value::as_array);
        for key in required.into_iter().flatten().filter_map(Value::as_str) {
            require(reader, &table, key);
        }
    }

    fn array(&self, reader: &mut Reader<'_>, schema: &Value, field: &Field<'_>, texts: Texts) {
        if texts == Texts::AsAnything {
            let message = "a list cannot be given here";
            reader.refuse(field, ProblemCode::WrongType, message, "write it in a file");
            return;
        }
        let Some(items) = reader.list(field) else {
            return;
        };
        let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0);
        if (items.len() as u64) < least {
            reader.bad(field, "the list is empty", "name at least one");
        }
        if let Some(inner) = schema.get("items") {
            for item in &items {
                self.value(reader, inner, item, texts);
            }
        }
    }
}

/// Whether a text may stand for a number or truth value, as it must in the environment.
#[derive(Clone, Copy, PartialEq)]
enum Texts {
    AsWritten,
    AsAnything,
}

fn is_quoted(field: &Field<'_>) -> bool {
    matches!(field.node.kind, Kind::Scalar { quoted: true, .. })
}

fn require(reader: &mut Reader<'_>, table: &Table<'_>, key: &str) {
    reader.required(table, key, &format!("add {key} = .."));
}

fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("properties").and_then(Value::as_object)
}

/// `"integer"`, also of `["integer", "null"]`.
fn type_of(schema: &Value) -> Option<&str> {
    match schema.get("type")? {
        Value::String(name) => Some(name),
        Value::Array(names) => names
            .iter()
            .filter_map(Value::as_str)
            .find(|name| *name != "null"),
        _ => None,
    }
}
