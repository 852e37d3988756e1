//! Lists and label sets that are kept up to a limit while they are read.
//!
//! Owns what is stored and what is only counted: a few bytes of JSON become many in memory, and a
//! packed body holds a thousand times what came on the wire, so a limit that is checked once all
//! is read comes too late. What a limit is called and what is said of it is [`super::item`]'s.

use std::borrow::Cow;
use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::Limits;
use super::number::Number;
use crate::model::Labels;

/// A text that is only looked at: of the body itself unless it has escapes.
pub(super) struct Text<'b>(pub Cow<'b, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Text<'de>, D::Error> {
        from.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In the words that serde has for a `String`.
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
}

/// Numbers of a list, the first ones kept.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// The first ones: up to the limit, or up to one that cannot be used.
    pub kept: Vec<Number>,
    /// How many the list holds.
    pub count: usize,
}

/// Reads [`Numbers`], of which this many are kept.
pub(super) struct NumbersUpTo(pub usize);

impl<'de> DeserializeSeed<'de> for NumbersUpTo {
    type Value = Numbers;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Numbers, D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for NumbersUpTo {
    type Value = Numbers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Numbers, A::Error> {
        let mut kept = Vec::new();
        // What follows a number that cannot be used is refused with it.
        while kept.len() < self.0 && !matches!(kept.last(), Some(Number::Bad(_))) {
            match seq.next_element()? {
                Some(number) => kept.push(number),
                None => {
                    let count = kept.len();
                    return Ok(Numbers { kept, count });
                }
            }
        }
        let mut count = kept.len();
        while seq.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(Numbers { kept, count })
    }
}

/// A label set, kept within its limits.
#[derive(Debug, Default)]
pub(super) struct BoundedLabels {
    /// The labels before a limit was passed; all of them where none was.
    pub kept: Labels,
    /// How many labels the set holds.
    pub count: usize,
    /// Their names and values have more bytes than may be.
    pub too_long: bool,
}

/// Reads [`BoundedLabels`]; `null` is none.
pub(super) struct LabelsWithin<'l>(pub &'l Limits);

impl<'de> DeserializeSeed<'de> for LabelsWithin<'_> {
    type Value = BoundedLabels;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<BoundedLabels, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for LabelsWithin<'_> {
    type Value = BoundedLabels;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of labels")
    }

    fn visit_unit<E>(self) -> Result<BoundedLabels, E> {
        Ok(BoundedLabels::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<BoundedLabels, A::Error> {
        let mut labels = BoundedLabels::default();
        let mut bytes = 0;
        while labels.count < self.0.label_count_max && !labels.too_long {
            let Some((Text(name), Text(value))) = map.next_entry()? else {
                return Ok(labels);
            };
            labels.count += 1;
            bytes += name.len() + value.len();
            labels.too_long = bytes > self.0.label_bytes_max;
            if !labels.too_long {
                labels.kept.insert(&name, &value);
            }
        }
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            labels.count += 1;
        }
        Ok(labels)
    }
}
