//! Objects and lists of the JSON form, visited in place.
//!
//! Owns the walking: known keys are handed on, unknown ones passed over as the protocol asks,
//! `null` is the same as nothing, and a value of another type is told to whoever waits for it
//! instead of ending the whole body. It must not know any message.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Something that is read from an object, key by key.
pub(super) trait Object<'de> {
    /// The keys that are wanted.
    const KEYS: &'static [&'static str];

    /// Reads the value of a wanted key.
    fn field<A: MapAccess<'de>>(&mut self, key: &'static str, map: &mut A) -> Result<(), A::Error>;

    /// There is something else in the object's place.
    fn wrong_type(&mut self);
}

/// Something that is read from a list, item by item.
pub(super) trait List<'de> {
    /// Reads an item; tells whether there was one.
    fn item<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<bool, A::Error>;

    /// There is something else in the list's place.
    fn wrong_type(&mut self);
}

/// Reads an object into `T`.
pub(super) struct Keyed<'t, T>(pub &'t mut T);
/// Reads a list into `T`.
pub(super) struct Each<'t, T>(pub &'t mut T);
/// Reads a text; `None` where there is something else. It may have to be put together from escapes,
/// so it is only lent.
pub(super) struct Text<F>(pub F);

struct Key(&'static [&'static str]);

/// The visits that mean "something else stands here".
macro_rules! anything_else {
    ($($visit:ident $type:ty),*) => {
        $(fn $visit<E>(self, _: $type) -> Result<Self::Value, E> {
            Ok(self.0.wrong_type())
        })*
    };
}

impl<'de, T: Object<'de>> DeserializeSeed<'de> for Keyed<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de, T: Object<'de>> Visitor<'de> for Keyed<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(Key(T::KEYS))? {
            match key {
                Some(key) => self.0.field(key, &mut map)?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        self.0.wrong_type();
        Ok(())
    }

    anything_else!(visit_bool bool, visit_u64 u64, visit_i64 i64, visit_f64 f64, visit_str &str);
}

impl<'de, T: List<'de>> DeserializeSeed<'de> for Each<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de, T: List<'de>> Visitor<'de> for Each<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while self.0.item(&mut seq)? {}
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        self.0.wrong_type();
        Ok(())
    }

    anything_else!(visit_bool bool, visit_u64 u64, visit_i64 i64, visit_f64 f64, visit_str &str);
}

impl<'de, R, F: FnOnce(Option<&str>) -> R> DeserializeSeed<'de> for Text<F> {
    type Value = R;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<R, D::Error> {
        from.deserialize_any(TextVisitor(self.0, PhantomData))
    }
}

struct TextVisitor<R, F>(F, PhantomData<R>);

impl<'de, R, F: FnOnce(Option<&str>) -> R> Visitor<'de> for TextVisitor<R, F> {
    type Value = R;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E>(self, text: &str) -> Result<R, E> {
        Ok((self.0)(Some(text)))
    }

    fn visit_unit<E>(self) -> Result<R, E> {
        Ok((self.0)(Some("")))
    }

    fn visit_bool<E>(self, _: bool) -> Result<R, E> {
        Ok((self.0)(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<R, E> {
        Ok((self.0)(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<R, E> {
        Ok((self.0)(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<R, E> {
        Ok((self.0)(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<R, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok((self.0)(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<R, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok((self.0)(None))
    }
}

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Option<&'static str>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Option<&'static str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().find(|known| **known == key).copied())
    }
}
