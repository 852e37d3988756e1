//! TOML text to a tree with places.
//!
//! Owns what is TOML's own. All syntax errors of a file are told, not only the first. It must not
//! know what the keys mean.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::node::{Key, Kind, Node, Place};
use super::problem::{Problem, ProblemCode};

/// Parses a file. Where the syntax is wrong, problems are added and there is no tree.
pub fn parse(file: &str, text: &str, problems: &mut Vec<Problem>) -> Option<Node> {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let place = place_of(text, error.span().map_or(0, |span| span.start));
        problems.push(Problem {
            line: place.line,
            column: place.column,
            ..Problem::of_file(
                file,
                ProblemCode::Syntax,
                format!("not valid TOML: {}", error.message()),
            )
        });
    }
    if !errors.is_empty() {
        return None;
    }
    Some(Node {
        place: Place { line: 1, column: 1 },
        kind: table_kind(text, table.get_ref()),
    })
}

fn table_kind(text: &str, table: &DeTable<'_>) -> Kind {
    let mut entries: Vec<(Key, Node)> = table
        .iter()
        .map(|(key, value)| {
            let place = place_of(text, key.span().start);
            (
                Key {
                    place,
                    text: key.get_ref().to_string(),
                },
                node(text, value),
            )
        })
        .collect();
    // The table is sorted by name; problems follow the text.
    entries.sort_by_key(|(key, _)| (key.place.line, key.place.column));
    Kind::Map(entries)
}

fn node(text: &str, value: &Spanned<DeValue<'_>>) -> Node {
    let plain = |text: String| Kind::Scalar {
        text,
        quoted: false,
    };
    let kind = match value.get_ref() {
        DeValue::String(string) => Kind::Scalar {
            text: string.to_string(),
            quoted: true,
        },
        DeValue::Integer(integer) => {
            let parsed = i64::from_str_radix(integer.as_str(), integer.radix());
            plain(parsed.map_or_else(|_| integer.as_str().to_owned(), |whole| whole.to_string()))
        }
        DeValue::Float(float) => plain(float.as_str().to_owned()),
        DeValue::Boolean(flag) => plain(flag.to_string()),
        DeValue::Datetime(datetime) => plain(datetime.to_string()),
        DeValue::Array(items) => Kind::List(items.iter().map(|item| node(text, item)).collect()),
        DeValue::Table(table) => table_kind(text, table),
    };
    Node {
        place: place_of(text, value.span().start),
        kind,
    }
}

fn place_of(text: &str, offset: usize) -> Place {
    let before = text.get(..offset.min(text.len())).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |index| index + 1);
    Place {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
    }
}
