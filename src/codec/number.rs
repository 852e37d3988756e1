//! Numbers, times and counts as senders write them.
//!
//! Owns the reading of one JSON value into one of these, or into the words that say why not. A
//! value that cannot be taken is data here, not an error: the item as a whole decides what to say.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{TS_MILLIS_MAX, TS_MILLIS_MIN};
use crate::model::COUNT_MAX;

/// The largest whole number every smaller of which a double holds exactly: 2^53.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// A stable code and a sentence for the sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub code: &'static str,
    pub message: String,
}

impl Problem {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Problem {
        Problem {
            code,
            message: message.into(),
        }
    }
}

/// A measured number.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Number {
    /// Finite or infinite, never NaN.
    Value(f64),
    /// A whole number that a double need not hold exactly. As a value it is rounded; as a count
    /// it is refused as it was written.
    Whole(i128),
    /// `null` or `"NaN"`: the sender could not measure it.
    Missing,
    /// Something else.
    Bad(Problem),
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Number, D::Error> {
        from.deserialize_any(NumberVisitor)
    }
}

struct NumberVisitor;

impl<'de> Visitor<'de> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ValueVisitor.expecting(f)
    }

    fn visit_f64<E>(self, value: f64) -> Result<Number, E> {
        // JSON has no NaN and the reader refuses overflow, so this is finite already.
        Ok(Number::Value(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Number, E> {
        Ok(of_whole(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Number, E> {
        Ok(of_whole(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Number, E> {
        Ok(Number::Missing)
    }

    fn visit_str<E>(self, text: &str) -> Result<Number, E> {
        Ok(number_in_words(text))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Number, A::Error> {
        ValueVisitor.visit_map(map)?;
        Ok(Number::Bad(Problem::new(
            "wrong_type",
            "an object stands where a number is expected; counts go into `value`, one a sample",
        )))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Number, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        let message = "a list stands where a number is expected; several values go into `values`";
        Ok(Number::Bad(Problem::new("wrong_type", message)))
    }
}

/// The content of `value`.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// A number.
    Number(Number),
    /// `{"bad","total"}` or `{"events","exposure"}`.
    Counts(Counts),
}

/// The four keys a count may have, as far as they were given.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Counts {
    pub bad: Option<Number>,
    pub total: Option<Number>,
    pub events: Option<Number>,
    pub exposure: Option<Number>,
    pub problem: Option<Problem>,
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Value, D::Error> {
        from.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a number, null, or an object with `bad` and `total` or `events` and `exposure`",
        )
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(Number::Value(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(of_whole(value.into())))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(of_whole(value.into())))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Number(Number::Missing))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Number(number_in_words(text)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut counts = Counts::default();
        while let Some(key) = map.next_key::<String>()? {
            let slot = match key.as_str() {
                "bad" => &mut counts.bad,
                "total" => &mut counts.total,
                "events" => &mut counts.events,
                "exposure" => &mut counts.exposure,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    let key = quoted(&key);
                    let message = format!(
                        "unknown key {key} in `value`; give `bad` and `total`, or `events` and `exposure`"
                    );
                    counts
                        .problem
                        .get_or_insert(Problem::new("unknown_key", message));
                    continue;
                }
            };
            *slot = Some(map.next_value()?);
        }
        Ok(Value::Counts(counts))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Value, A::Error> {
        NumberVisitor.visit_seq(seq).map(Value::Number)
    }
}

/// Words for numbers JSON cannot write: a missing one and the two infinities.
fn number_in_words(text: &str) -> Number {
    match text {
        "NaN" | "nan" => Number::Missing,
        "+Inf" | "Inf" | "inf" | "+Infinity" | "Infinity" => Number::Value(f64::INFINITY),
        "-Inf" | "-inf" | "-Infinity" => Number::Value(f64::NEG_INFINITY),
        _ => Number::Bad(Problem::new(
            "not_a_number",
            format!(
                "{} is text; write numbers without quotes, null or \"NaN\" for a missing one, \"+Inf\" or \"-Inf\"",
                quoted(text)
            ),
        )),
    }
}

/// Text from outside, shortened and with its control characters escaped.
pub(super) fn quoted(text: &str) -> String {
    const CHARS_SHOWN: usize = 60;
    let mut shown: String = text.chars().take(CHARS_SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

/// A number that was written without fraction and exponent.
fn of_whole(number: i128) -> Number {
    if number.unsigned_abs() < WHOLE_MAX as u128 {
        Number::Value(number as f64)
    } else {
        Number::Whole(number)
    }
}

/// A whole number, as counts and weights are. Those above [`COUNT_MAX`] and below 2^53 are left to
/// the engine, which knows what they are added to.
///
/// # Errors
/// [`Problem`] when it is missing, has a fraction, is negative or not below 2^53. `from` is the
/// least the sentence asks for.
pub(super) fn whole(number: &Number, name: &str, from: u64) -> Result<u64, Problem> {
    let given = match number {
        Number::Bad(problem) => return Err(problem.clone()),
        Number::Value(value) if (0.0..WHOLE_MAX).contains(value) && value.floor() == *value => {
            return Ok(*value as u64);
        }
        // All digits of 1e300 would say less.
        Number::Value(value) if value.abs() >= WHOLE_MAX => format!("is {value:e}"),
        Number::Value(value) => format!("is {value}"),
        Number::Whole(value) => format!("is {value}"),
        Number::Missing => "is missing".to_owned(),
    };
    let message = format!("`{name}` {given}; give a whole number from {from} to {COUNT_MAX}");
    Err(Problem::new("not_whole", message))
}

/// An event time, or why it is none.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct EventTime(pub Result<i64, Problem>);

impl<'de> Deserialize<'de> for EventTime {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<EventTime, D::Error> {
        from.deserialize_any(TimeVisitor)
    }
}

struct TimeVisitor;

impl<'de> Visitor<'de> for TimeVisitor {
    type Value = EventTime;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an RFC 3339 time or unix milliseconds")
    }

    fn visit_u64<E>(self, millis: u64) -> Result<EventTime, E> {
        Ok(EventTime(in_range(
            i64::try_from(millis).unwrap_or(i64::MAX),
            &millis,
        )))
    }

    fn visit_i64<E>(self, millis: i64) -> Result<EventTime, E> {
        Ok(EventTime(in_range(millis, &millis)))
    }

    fn visit_f64<E>(self, millis: f64) -> Result<EventTime, E> {
        if millis.floor() != millis {
            let message = format!(
                "`ts` is {millis}; give whole unix milliseconds or an RFC 3339 time in quotes"
            );
            return Ok(EventTime(Err(Problem::new("bad_timestamp", message))));
        }
        // Saturates: whatever is past i64 is past the range too.
        Ok(EventTime(in_range(millis as i64, &millis)))
    }

    fn visit_str<E>(self, text: &str) -> Result<EventTime, E> {
        Ok(EventTime(match text.parse::<jiff::Timestamp>() {
            Ok(time) => in_range(time.as_millisecond(), &text),
            Err(_) => Err(Problem::new(
                "bad_timestamp",
                format!(
                    "{} is no RFC 3339 time; write 2026-01-31T12:00:00Z or unix milliseconds without quotes",
                    quoted(text)
                ),
            )),
        }))
    }
}

fn in_range(millis: i64, given: &dyn fmt::Display) -> Result<i64, Problem> {
    if (TS_MILLIS_MIN..=TS_MILLIS_MAX).contains(&millis) {
        return Ok(millis);
    }
    let advice = if (TS_MILLIS_MIN / 1000..=TS_MILLIS_MAX / 1000).contains(&millis) {
        "it looks like seconds; multiply by 1000"
    } else if millis > TS_MILLIS_MAX {
        "it looks like micro- or nanoseconds; give milliseconds"
    } else {
        "give unix milliseconds"
    };
    Err(Problem::new(
        "timestamp_out_of_range",
        format!("`ts` {given} is not between the years 2000 and 2200; {advice}"),
    ))
}
