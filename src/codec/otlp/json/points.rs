//! Data and data points in the JSON form.
//!
//! Owns `Gauge`, `Sum`, the histograms, `Summary` and their points (`metrics.proto`). One set of keys
//! serves all points: what a kind does not have is not looked at.

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess};
use serde_json::value::RawValue;

use super::super::cells::Buckets;
use super::super::gather::{Data, Raw, Shape};
use super::super::numbers::{Scalar, Temporality};
use super::Reader;
use super::attributes::{Pairs, late};
use super::visit::{Each, Keyed, List, Object};

/// What a metric holds.
pub(super) struct DataObject<'r, 'l, 'de> {
    reader: &'r mut Reader<'l>,
    name: &'r str,
    unit: &'r str,
    data: Data,
    temporality: Option<i64>,
    is_monotonic: Option<bool>,
    /// The points, where they stood before what must be known of them.
    early: Option<&'de RawValue>,
}

/// A metric's data points.
struct Points<'r, 'l> {
    reader: &'r mut Reader<'l>,
    /// Otherwise they are only counted.
    is_wanted: bool,
}

/// One data point.
struct Point<'r, 'l> {
    reader: &'r mut Reader<'l>,
}

struct BucketsObject<'r> {
    to: &'r mut Buckets,
    is_bad: &'r mut bool,
}

/// A list of numbers; `take` tells whether one could be taken.
struct Numbers<'b, F> {
    take: F,
    is_bad: &'b mut bool,
}

// === impl DataObject ===

impl<'r, 'l> DataObject<'r, 'l, '_> {
    /// The data of the metric with this name.
    pub fn of(
        reader: &'r mut Reader<'l>,
        data: Data,
        name: &'r str,
        unit: &'r str,
    ) -> DataObject<'r, 'l, 'static> {
        DataObject {
            reader,
            name,
            unit,
            data,
            temporality: None,
            is_monotonic: None,
            early: None,
        }
    }

    fn is_shape_known(&self) -> bool {
        match self.data {
            Data::Gauge | Data::Summary => true,
            Data::Histogram | Data::Exponential => self.temporality.is_some(),
            Data::Sum => self.temporality.is_some() && self.is_monotonic.is_some(),
        }
    }

    fn points(&mut self) -> Points<'_, 'l> {
        let shape = Shape {
            data: self.data,
            temporality: self.temporality.unwrap_or(0),
            is_monotonic: self.is_monotonic.unwrap_or(false),
        };
        let is_wanted = self.reader.to.begin_metric(self.name, self.unit, shape);
        Points {
            reader: &mut *self.reader,
            is_wanted,
        }
    }

    /// Reads what was put off.
    pub fn end<E: Error>(mut self) -> Result<(), E> {
        match self.early {
            Some(early) => late(early, Each(&mut self.points())),
            None => Ok(()),
        }
    }
}

impl<'de> Object<'de> for DataObject<'_, '_, 'de> {
    const KEYS: &'static [&'static str] = &["dataPoints", "aggregationTemporality", "isMonotonic"];

    fn field<A: MapAccess<'de>>(&mut self, key: &'static str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "aggregationTemporality" => {
                self.temporality = Some(map.next_value::<Temporality>()?.0);
            }
            "isMonotonic" => match map.next_value()? {
                Scalar::Truth(is_monotonic) => self.is_monotonic = Some(is_monotonic),
                Scalar::Null => {}
                _ => self.reader.refuse_part("isMonotonic is not a boolean"),
            },
            _ if self.is_shape_known() => map.next_value_seed(Each(&mut self.points()))?,
            _ => self.early = Some(map.next_value()?),
        }
        Ok(())
    }

    fn wrong_type(&mut self) {
        self.reader.refuse_part("a metric's data is not an object");
    }
}

// === impl Points ===

impl<'de> List<'de> for Points<'_, '_> {
    fn item<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<bool, A::Error> {
        let reader = &mut *self.reader;
        let is_there = if self.is_wanted {
            reader.to.begin_point();
            seq.next_element_seed(Keyed(&mut Point { reader }))?
                .is_some()
        } else {
            seq.next_element::<IgnoredAny>()?.is_some()
        };
        if is_there {
            // It counts those that are not wanted, too.
            let ended = self.reader.to.end_point();
            self.reader.go_on(ended)?;
        }
        Ok(is_there)
    }

    fn wrong_type(&mut self) {
        self.reader.refuse_part("dataPoints is not a list");
    }
}

// === impl Point ===

impl<'de> Object<'de> for Point<'_, '_> {
    const KEYS: &'static [&'static str] = &[
        "attributes",
        "startTimeUnixNano",
        "timeUnixNano",
        "asDouble",
        "asInt",
        "flags",
        "count",
        "sum",
        "bucketCounts",
        "explicitBounds",
        "scale",
        "zeroCount",
        "zeroThreshold",
        "positive",
        "negative",
    ];

    fn field<A: MapAccess<'de>>(&mut self, key: &'static str, map: &mut A) -> Result<(), A::Error> {
        let raw = &mut self.reader.to.raw;
        let mut is_bad = false;
        match key {
            "attributes" => {
                let level = &mut self.reader.to.labels.point;
                return map.next_value_seed(Each(&mut Pairs::of(level)));
            }
            "bucketCounts" => map.next_value_seed(Each(&mut Numbers {
                take: |number: Scalar| number.whole().map(|count| raw.counts.push(count)),
                is_bad: &mut is_bad,
            }))?,
            "explicitBounds" => map.next_value_seed(Each(&mut Numbers {
                take: |number: Scalar| number.double().map(|bound| raw.bounds.push(bound)),
                is_bad: &mut is_bad,
            }))?,
            "positive" | "negative" => map.next_value_seed(Keyed(&mut BucketsObject {
                to: match key {
                    "positive" => &mut raw.exponential.positive,
                    _ => &mut raw.exponential.negative,
                },
                is_bad: &mut is_bad,
            }))?,
            _ => {
                let scalar: Scalar = map.next_value()?;
                is_bad = scalar != Scalar::Null && set(raw, key, scalar).is_none();
            }
        }
        if is_bad {
            raw.spoil("wrong_type", format!("{key} is not of its type"));
        }
        Ok(())
    }

    fn wrong_type(&mut self) {
        let raw = &mut self.reader.to.raw;
        raw.spoil("wrong_type", "a data point that is not an object");
    }
}

/// Sets one of a point's numbers; `None` where it is of another type.
fn set(raw: &mut Raw, key: &str, scalar: Scalar) -> Option<()> {
    match key {
        "startTimeUnixNano" => raw.start_nanos = scalar.whole()?,
        "timeUnixNano" => raw.nanos = scalar.whole()?,
        "asDouble" => raw.value = Some(scalar.double()?),
        "asInt" => raw.value = Some(scalar.whole::<i64>()? as f64),
        "flags" => raw.flags = scalar.whole()?,
        "count" => raw.count = scalar.whole()?,
        "sum" => raw.sum = Some(scalar.double()?),
        "scale" => raw.exponential.scale = scalar.whole()?,
        "zeroCount" => raw.exponential.zero_count = scalar.whole()?,
        _ => raw.exponential.zero_threshold = scalar.double()?,
    }
    Some(())
}

impl<'de> Object<'de> for BucketsObject<'_> {
    const KEYS: &'static [&'static str] = &["offset", "bucketCounts"];

    fn field<A: MapAccess<'de>>(&mut self, key: &'static str, map: &mut A) -> Result<(), A::Error> {
        if key == "bucketCounts" {
            return map.next_value_seed(Each(&mut Numbers {
                take: |number: Scalar| number.whole().map(|count| self.to.push(count)),
                is_bad: &mut *self.is_bad,
            }));
        }
        match map.next_value::<Scalar>()? {
            Scalar::Null => {}
            offset => match offset.whole() {
                Some(offset) => self.to.offset = offset,
                None => *self.is_bad = true,
            },
        }
        Ok(())
    }

    fn wrong_type(&mut self) {
        *self.is_bad = true;
    }
}

impl<'de, F: FnMut(Scalar) -> Option<()>> List<'de> for Numbers<'_, F> {
    fn item<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<bool, A::Error> {
        let Some(number) = seq.next_element()? else {
            return Ok(false);
        };
        *self.is_bad |= (self.take)(number).is_none();
        Ok(true)
    }

    fn wrong_type(&mut self) {
        *self.is_bad = true;
    }
}
