//! One sample as a JSON object.
//!
//! Owns the keys of a sample, what each may hold and which go together. It must not know how
//! items follow each other: that is [`super::json`].

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::bounded::{BoundedLabels, LabelsWithin, Numbers, NumbersUpTo, Text};
use super::foreign;
use super::heads::Heads;
use super::number::{Counts, EventTime, Number, Problem, Value, whole};
use super::{Limits, METRIC_BYTES_MAX, UNIT_BYTES_MAX, plain_item};
use crate::model::{Address, Arm, Reading, Sample, Timestamp};

/// Every key a sample may have.
const KEYS: [&str; 11] = [
    "ts", "metric", "labels", "value", "values", "weight", "weights", "unit", "id", "analysis",
    "arm",
];

/// Bytes of an unknown key that are compared with the known ones.
const KEY_BYTES_COMPARED_MAX: usize = 64;
/// Characters of the JSON reader's words that are passed on.
const READER_CHARS_SHOWN: usize = 160;

/// Reads one item.
///
/// # Errors
/// [`Problem`] with a stable code and what to do.
pub(super) fn read(bytes: &[u8], heads: &mut Heads, limits: &Limits) -> Result<Sample, Problem> {
    plain_item::read(bytes, heads, limits).map_or_else(|| read_any(bytes, limits), Ok)
}

/// Reads any item.
pub(super) fn read_any(bytes: &[u8], limits: &Limits) -> Result<Sample, Problem> {
    if bytes.first() != Some(&b'{') {
        let message = "a sample is a JSON object such as {\"ts\":1764000000000,\"metric\":\"latency\",\"value\":12.5}";
        return Err(Problem::new(
            bare_word(bytes).unwrap_or("not_an_object"),
            message,
        ));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let raw = ItemWithin(limits).deserialize(&mut reader);
    let raw = raw.and_then(|raw| reader.end().map(|()| raw));
    raw.map_err(|error| syntax(bytes, &error))?
        .into_sample(limits)
}

/// Turns the reader's error into a code and a sentence with the place inside the item.
fn syntax(bytes: &[u8], error: &serde_json::Error) -> Problem {
    use serde_json::error::Category;
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text);
    // It may quote what stands there, however long that is.
    let end = what.char_indices().nth(READER_CHARS_SHOWN);
    let what = end.map_or(what, |(end, _)| &what[..end]);
    let place = match error.line() {
        0 | 1 => format!("at column {}", error.column()),
        line => format!("at line {line} column {} of the item", error.column()),
    };
    if what.starts_with("number out of range") {
        let message = format!(
            "a number {place} does not fit a double; write \"+Inf\" or \"-Inf\" where infinite is meant"
        );
        return Problem::new("number_out_of_range", message);
    }
    if error.line() == 1 {
        // The reader stops at the first byte it cannot use, or one past it.
        let near = error.column().saturating_sub(2).min(bytes.len());
        let rest = &bytes[near..];
        let found = (0..rest.len().min(3)).find_map(|skip| bare_word(&rest[skip..]));
        if let Some(code) = found {
            let message = format!(
                "NaN and Infinity are not JSON ({place}); write null or \"NaN\" for a missing value, \"+Inf\" or \"-Inf\" in quotes"
            );
            return Problem::new(code, message);
        }
    }
    match error.classify() {
        Category::Data => Problem::new("wrong_type", format!("{what}, {place}")),
        _ => Problem::new("malformed_json", format!("{what}, {place}")),
    }
}

fn bare_word(bytes: &[u8]) -> Option<&'static str> {
    let words: [&[u8]; 5] = [b"NaN", b"nan", b"Infinity", b"-Infinity", b"-NaN"];
    words
        .iter()
        .any(|word| bytes.starts_with(word))
        .then_some("bare_nan")
}

/// What was found under each key; at most once each.
#[derive(Default)]
struct RawItem {
    ts: Option<EventTime>,
    metric: Option<String>,
    labels: BoundedLabels,
    value: Option<Value>,
    values: Option<Numbers>,
    weight: Option<Number>,
    weights: Option<Numbers>,
    unit: Option<String>,
    id: Option<String>,
    analysis: Option<String>,
    arm: Option<String>,
    problem: Option<Problem>,
}

/// Reads an item, keeping no more of it than the limits allow.
struct ItemWithin<'l>(&'l Limits);

impl<'de> DeserializeSeed<'de> for ItemWithin<'_> {
    type Value = RawItem;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<RawItem, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ItemWithin<'_> {
    type Value = RawItem;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sample")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawItem, A::Error> {
        let numbers = || NumbersUpTo(self.0.values_per_sample_max);
        let mut item = RawItem::default();
        let mut seen = [false; KEYS.len()];
        while let Some(Text(key)) = map.next_key()? {
            let Some(position) = KEYS.iter().position(|known| *known == key) else {
                map.next_value::<IgnoredAny>()?;
                item.problem.get_or_insert_with(|| unknown_key(&key));
                continue;
            };
            if std::mem::replace(&mut seen[position], true) {
                map.next_value::<IgnoredAny>()?;
                let message = format!("`{key}` is given twice; give it once");
                item.problem
                    .get_or_insert(Problem::new("duplicate_key", message));
                continue;
            }
            match KEYS[position] {
                "ts" => item.ts = Some(map.next_value()?),
                "metric" => item.metric = Some(map.next_value()?),
                "labels" => item.labels = map.next_value_seed(LabelsWithin(self.0))?,
                "value" => item.value = Some(map.next_value()?),
                "values" => item.values = Some(map.next_value_seed(numbers())?),
                "weight" => item.weight = Some(map.next_value()?),
                "weights" => item.weights = Some(map.next_value_seed(numbers())?),
                "unit" => item.unit = map.next_value()?,
                "id" => item.id = map.next_value()?,
                "analysis" => item.analysis = map.next_value()?,
                _ => item.arm = map.next_value()?,
            }
        }
        Ok(item)
    }
}

fn unknown_key(key: &str) -> Problem {
    let distance = |known: &str| strsim::damerau_levenshtein(known, key);
    // The distance takes a table of both lengths; what is so long is no slip of the hand.
    let known = KEYS.iter().filter(|_| key.len() <= KEY_BYTES_COMPARED_MAX);
    let advice = match (foreign::key(key), known.min_by_key(|known| distance(known))) {
        (Some(advice), _) => advice.to_owned(),
        (None, Some(known)) if distance(known) <= 2 => {
            format!("did you mean `{known}`?")
        }
        _ => format!("the keys of a sample are {}", KEYS.join(", ")),
    };
    let key = super::number::quoted(key);
    Problem::new("unknown_key", format!("unknown key {key}; {advice}"))
}

fn unknown_arm(given: &str) -> Problem {
    let meant = foreign::arm(given);
    let advice = meant.map_or_else(String::new, |arm| format!("; write {}", arm.as_str()));
    let given = super::number::quoted(given);
    let message = format!("unknown arm {given}; the arms are baseline and canary{advice}");
    Problem::new("unknown_arm", message)
}

// === impl RawItem ===

impl RawItem {
    fn into_sample(mut self, limits: &Limits) -> Result<Sample, Problem> {
        if let Some(problem) = self.problem.take() {
            return Err(problem);
        }
        let missing = |what: &str| Problem::new("missing_key", format!("`{what}` is missing"));
        let ts = self.ts.take().ok_or_else(|| missing("ts"))?.0?;
        let metric = self.metric.take().ok_or_else(|| missing("metric"))?;
        if metric.is_empty() || metric.len() > METRIC_BYTES_MAX {
            let message = format!("`metric` must have 1 to {METRIC_BYTES_MAX} bytes");
            return Err(Problem::new("bad_metric_name", message));
        }
        self.check_labels(limits)?;
        for (name, text) in [
            ("unit", &self.unit),
            ("id", &self.id),
            ("analysis", &self.analysis),
        ] {
            if text
                .as_ref()
                .is_some_and(|t| t.is_empty() || t.len() > UNIT_BYTES_MAX)
            {
                let message = format!("`{name}` must have 1 to {UNIT_BYTES_MAX} bytes");
                return Err(Problem::new("bad_identifier", message));
            }
        }
        let address = self.address()?;
        let (reading, missing_values) = self.reading(limits)?;
        Ok(Sample {
            ts: Timestamp(ts),
            metric,
            labels: self.labels.kept,
            reading,
            unit: self.unit,
            id: self.id,
            address,
            missing: missing_values,
        })
    }

    fn check_labels(&self, limits: &Limits) -> Result<(), Problem> {
        let (count, count_max) = (self.labels.count, limits.label_count_max);
        if count > count_max {
            let message = format!("{count} labels; at most {count_max} are allowed");
            return Err(Problem::new("too_many_labels", message));
        }
        if self.labels.too_long {
            let bytes_max = limits.label_bytes_max;
            let message = format!("labels of more than {bytes_max} bytes; make them shorter");
            return Err(Problem::new("labels_too_long", message));
        }
        Ok(())
    }

    fn address(&mut self) -> Result<Option<Address>, Problem> {
        match (self.analysis.take(), self.arm.take()) {
            (None, None) => Ok(None),
            (Some(analysis), Some(arm)) => {
                let known = Arm::BOTH.into_iter().find(|known| known.as_str() == arm);
                let arm = known.ok_or_else(|| unknown_arm(&arm))?;
                Ok(Some(Address { analysis, arm }))
            }
            _ => Err(Problem::new(
                "half_addressed",
                "`analysis` and `arm` go together; give both, or neither and let labels decide",
            )),
        }
    }

    fn reading(&mut self, limits: &Limits) -> Result<(Reading, u32), Problem> {
        match (self.value.take(), self.values.take()) {
            (Some(Value::Counts(counts)), None) => {
                if self.weight.is_some() || self.weights.is_some() {
                    let message = "counts carry their own weight; leave `weight` out";
                    return Err(Problem::new("weight_with_counts", message));
                }
                Ok((counted(counts)?, 0))
            }
            (Some(Value::Number(number)), None) => {
                if self.weights.is_some() {
                    let message = "`weights` belongs to `values`; with `value` give `weight`";
                    return Err(Problem::new("weights_mismatch", message));
                }
                let alone = |number| Numbers {
                    kept: vec![number],
                    count: 1,
                };
                measured(alone(number), self.weight.take().map(alone))
            }
            (None, Some(values)) => {
                if self.weight.is_some() {
                    let message = "`weight` belongs to `value`; with `values` give `weights`";
                    return Err(Problem::new("weights_mismatch", message));
                }
                let (count, count_max) = (values.count, limits.values_per_sample_max);
                let message = format!("`values` holds {count} values; give 1 to {count_max}");
                match count {
                    0 => return Err(Problem::new("no_values", message)),
                    _ if count > count_max => return Err(Problem::new("too_many_values", message)),
                    _ => {}
                }
                measured(values, self.weights.take())
            }
            (Some(_), Some(_)) => Err(Problem::new(
                "two_values",
                "give `value` or `values`, not both",
            )),
            (None, None) => Err(Problem::new(
                "missing_key",
                "`value` is missing; give `value` or `values`",
            )),
        }
    }
}

fn counted(counts: Counts) -> Result<Reading, Problem> {
    if let Some(problem) = counts.problem {
        return Err(problem);
    }
    match (counts.bad, counts.total, counts.events, counts.exposure) {
        (Some(bad), Some(total), None, None) => {
            let (bad, total) = (whole(&bad, "bad", 0)?, whole(&total, "total", 0)?);
            if bad > total {
                let message = format!("`bad` is {bad} of `total` {total}; it cannot be more");
                return Err(Problem::new("bad_above_total", message));
            }
            Ok(Reading::Ratio { bad, total })
        }
        (None, None, Some(events), Some(exposure)) => {
            let events = whole(&events, "events", 0)?;
            let exposure = match exposure {
                Number::Whole(exposure) => Number::Value(exposure as f64),
                other => other,
            };
            match exposure {
                Number::Value(exposure) if exposure > 0.0 && exposure.is_finite() => {
                    Ok(Reading::Rate { events, exposure })
                }
                Number::Bad(problem) => Err(problem),
                _ => {
                    let message = "`exposure` must be above 0 and finite";
                    Err(Problem::new("bad_exposure", message))
                }
            }
        }
        _ => Err(Problem::new(
            "bad_counts",
            "counts are {\"bad\":..,\"total\":..} or {\"events\":..,\"exposure\":..}",
        )),
    }
}

/// Values with their weights; what could not be measured is counted, by weight.
fn measured(numbers: Numbers, weights: Option<Numbers>) -> Result<(Reading, u32), Problem> {
    if let Some(weights) = &weights
        && weights.count != numbers.count
    {
        let (given, expected) = (weights.count, numbers.count);
        let message = format!("{given} weights for {expected} values; give one for each");
        return Err(Problem::new("weights_mismatch", message));
    }
    let mut values = Vec::with_capacity(numbers.kept.len());
    let mut kept = Vec::new();
    let mut missing = 0_u32;
    for (position, number) in numbers.kept.into_iter().enumerate() {
        let mut keep = |weight| {
            if weights.is_some() {
                kept.push(weight);
            }
        };
        // What ends a list early is bad and was met before its end.
        let weight = weights
            .as_ref()
            .and_then(|weights| weights.kept.get(position));
        let weight = match weight {
            None => 1,
            Some(weight) => match whole(weight, "weight", 1)? {
                0 => {
                    return Err(Problem::new(
                        "bad_weight",
                        "weights are whole numbers from 1 up",
                    ));
                }
                weight => weight,
            },
        };
        match number {
            Number::Value(value) => {
                values.push(value);
                keep(weight);
            }
            Number::Whole(value) => {
                values.push(value as f64);
                keep(weight);
            }
            Number::Missing => {
                missing = missing.saturating_add(u32::try_from(weight).unwrap_or(u32::MAX));
            }
            Number::Bad(problem) => return Err(problem),
        }
    }
    if kept.iter().all(|weight| *weight == 1) {
        // Their room too: it is as much again as the values take.
        kept = Vec::new();
    }
    Ok((
        Reading::Values {
            values,
            weights: kept,
        },
        missing,
    ))
}
