//! Attributes in the JSON form.
//!
//! Owns `KeyValue` and `AnyValue` (`common.proto`). How a value looks as a label is said in
//! `values`; what becomes of the label in `labels`.

use std::fmt::Write;

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess};
use serde_json::value::RawValue;

use super::super::labels::Level;
use super::super::numbers::Scalar;
use super::super::values;
use super::visit::{Each, Keyed, List, Object, Text};

/// A list of `KeyValue`: attributes, or inside one of them the entries of an object.
pub(super) struct Pairs<'l> {
    level: &'l mut Level,
    depth: usize,
    is_first: bool,
}

/// One `KeyValue`.
struct Pair<'l, 'de> {
    level: &'l mut Level,
    depth: usize,
    /// What stands before the key of an entry that is not the first.
    separator: &'static str,
    /// Whether the key is known, and the value wanted.
    begun: Option<bool>,
    has_value: bool,
    /// A value that stood before its key.
    early: Option<&'de RawValue>,
}

/// One `AnyValue`; 0 deep it is the value itself, deeper it is inside a list.
struct Any<'l> {
    level: &'l mut Level,
    depth: usize,
    /// What stands before a value that is not the first of its list.
    separator: &'static str,
    is_written: bool,
}

/// An `ArrayValue` or a `KeyValueList`, whose only key is `values`.
struct Values<'l> {
    level: &'l mut Level,
    depth: usize,
    is_array: bool,
    is_written: bool,
}

/// The values of an `ArrayValue`.
struct Items<'l> {
    level: &'l mut Level,
    depth: usize,
    is_first: bool,
}

fn wrong_type(level: &mut Level) {
    level.spoil(
        "wrong_type",
        "attributes that are not of the form {\"key\":\"k\",\"value\":{\"stringValue\":\"v\"}}",
    );
}

/// Reads a value that was put off.
pub(super) fn late<'de, E: Error>(
    raw: &'de RawValue,
    seed: impl serde::de::DeserializeSeed<'de, Value = ()>,
) -> Result<(), E> {
    let mut reader = serde_json::Deserializer::from_str(raw.get());
    seed.deserialize(&mut reader).map_err(E::custom)
}

// === impl Pairs ===

impl<'l> Pairs<'l> {
    /// The attributes that `level` is to hold.
    pub fn of(level: &'l mut Level) -> Pairs<'l> {
        Pairs {
            level,
            depth: 0,
            is_first: true,
        }
    }
}

impl<'de> List<'de> for Pairs<'_> {
    fn item<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<bool, A::Error> {
        if self.depth > 0 && !self.level.is_open() {
            return Ok(seq.next_element::<IgnoredAny>()?.is_some());
        }
        let is_first = std::mem::replace(&mut self.is_first, false);
        let mut pair = Pair {
            level: &mut *self.level,
            depth: self.depth,
            separator: if is_first { "" } else { "," },
            begun: None,
            has_value: false,
            early: None,
        };
        if seq.next_element_seed(Keyed(&mut pair))?.is_none() {
            return Ok(false);
        }
        pair.end()?;
        Ok(true)
    }

    fn wrong_type(&mut self) {
        wrong_type(self.level);
    }
}

// === impl Pair ===

impl Pair<'_, '_> {
    /// The key is known; tells whether the value is wanted.
    fn begin(&mut self, key: Option<&str>) -> bool {
        let Some(key) = key else {
            wrong_type(self.level);
            return false;
        };
        if self.depth == 0 {
            return self.level.begin(key);
        }
        self.level.write(self.separator);
        values::text(key, true, self.level);
        self.level.write(":");
        self.level.is_open()
    }

    fn end<E: Error>(self) -> Result<(), E> {
        match self.begun {
            None if self.level.problem().is_none() => {
                let message = "an attribute without a key; give it one";
                self.level.spoil("bad_label_name", message);
            }
            Some(true) if !self.has_value => {
                let mut any = Any::of(self.level, self.depth, "");
                if let Some(early) = self.early {
                    late(early, Keyed(&mut any))?;
                }
                any.end();
            }
            _ => {}
        }
        if self.depth == 0 {
            self.level.end();
        }
        Ok(())
    }
}

impl<'de> Object<'de> for Pair<'_, 'de> {
    const KEYS: &'static [&'static str] = &["key", "value"];

    fn field<A: MapAccess<'de>>(&mut self, key: &'static str, map: &mut A) -> Result<(), A::Error> {
        if key == "key" {
            let is_wanted = map.next_value_seed(Text(|key: Option<&str>| self.begin(key)))?;
            self.begun = Some(is_wanted);
            return Ok(());
        }
        match self.begun {
            None => self.early = Some(map.next_value()?),
            Some(false) => {
                map.next_value::<IgnoredAny>()?;
            }
            Some(true) => {
                self.has_value = true;
                let mut any = Any::of(self.level, self.depth, "");
                map.next_value_seed(Keyed(&mut any))?;
                any.end();
            }
        }
        Ok(())
    }

    fn wrong_type(&mut self) {
        wrong_type(self.level);
    }
}

// === impl Any ===

impl<'l> Any<'l> {
    fn of(level: &'l mut Level, depth: usize, separator: &'static str) -> Any<'l> {
        Any {
            level,
            depth,
            separator,
            is_written: false,
        }
    }

    fn begin(&mut self) {
        self.is_written = true;
        self.level.write(self.separator);
    }

    fn end(mut self) {
        if !self.is_written && self.depth > 0 {
            self.begin();
            self.level.write("null");
        }
    }

    fn scalar(&mut self, key: &str, scalar: Scalar) -> bool {
        let (level, depth) = (&mut *self.level, self.depth);
        match (key, scalar) {
            ("boolValue", Scalar::Truth(is_true)) => level.write(values::truth(is_true)),
            ("intValue", scalar) => match scalar.whole::<i64>() {
                Some(whole) => {
                    let _ = write!(level, "{whole}");
                }
                None => return false,
            },
            ("doubleValue", scalar) => match scalar.double() {
                Some(double) => values::double(double, depth > 0, level),
                None => return false,
            },
            _ => return false,
        }
        true
    }
}

impl<'de> Object<'de> for Any<'_> {
    const KEYS: &'static [&'static str] = &[
        "stringValue",
        "intValue",
        "boolValue",
        "doubleValue",
        "arrayValue",
        "kvlistValue",
        "bytesValue",
    ];

    fn field<A: MapAccess<'de>>(&mut self, key: &'static str, map: &mut A) -> Result<(), A::Error> {
        let is_inside = self.depth > 0;
        // Only one of the keys may be given.
        if self.is_written || !self.level.is_open() || values::is_too_deep(self.depth, self.level) {
            map.next_value::<IgnoredAny>()?;
            return Ok(());
        }
        match key {
            // Bytes are base64 on the wire already.
            "stringValue" | "bytesValue" => {
                self.begin();
                let level = &mut *self.level;
                map.next_value_seed(Text(|text: Option<&str>| match text {
                    Some(text) => values::text(text, is_inside, level),
                    None => wrong_type(level),
                }))?;
            }
            "arrayValue" | "kvlistValue" => {
                self.begin();
                let mut values = Values {
                    level: &mut *self.level,
                    depth: self.depth + 1,
                    is_array: key == "arrayValue",
                    is_written: false,
                };
                map.next_value_seed(Keyed(&mut values))?;
                values.end();
            }
            _ => {
                let scalar: Scalar = map.next_value()?;
                if scalar == Scalar::Null {
                    return Ok(());
                }
                self.begin();
                if !self.scalar(key, scalar) {
                    wrong_type(self.level);
                }
            }
        }
        Ok(())
    }

    fn wrong_type(&mut self) {
        wrong_type(self.level);
    }
}

// === impl Values ===

impl Values<'_> {
    fn end(self) {
        if !self.is_written {
            self.level.write(if self.is_array { "[]" } else { "{}" });
        }
    }
}

impl<'de> Object<'de> for Values<'_> {
    const KEYS: &'static [&'static str] = &["values"];

    fn field<A: MapAccess<'de>>(&mut self, _: &'static str, map: &mut A) -> Result<(), A::Error> {
        self.is_written = true;
        let (level, depth) = (&mut *self.level, self.depth);
        if self.is_array {
            level.write("[");
            let mut items = Items {
                level,
                depth,
                is_first: true,
            };
            map.next_value_seed(Each(&mut items))?;
            self.level.write("]");
        } else {
            level.write("{");
            let mut pairs = Pairs {
                level,
                depth,
                is_first: true,
            };
            map.next_value_seed(Each(&mut pairs))?;
            self.level.write("}");
        }
        Ok(())
    }

    fn wrong_type(&mut self) {
        wrong_type(self.level);
    }
}

impl<'de> List<'de> for Items<'_> {
    fn item<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<bool, A::Error> {
        if !self.level.is_open() {
            return Ok(seq.next_element::<IgnoredAny>()?.is_some());
        }
        let is_first = std::mem::replace(&mut self.is_first, false);
        let separator = if is_first { "" } else { "," };
        let mut any = Any::of(self.level, self.depth, separator);
        if seq.next_element_seed(Keyed(&mut any))?.is_none() {
            return Ok(false);
        }
        any.end();
        Ok(true)
    }

    fn wrong_type(&mut self) {
        wrong_type(self.level);
    }
}
