//! The JSON form of an export request.
//!
//! Owns its keys (the lowerCamelCase names of opentelemetry-proto's fields; OpenTelemetry Protocol
//! 1.x, "JSON Protobuf Encoding") and the order in which parts are visited: what names a thing must
//! be known before what it holds. Where it stands behind, as JSON allows, the rest is put off as
//! text and read again; exporters write it in front. Next: `json/points.rs`.

mod attributes;
mod points;
mod visit;

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess};
use serde_json::value::RawValue;

use super::super::{Limits, Unreadable, UnreadableCode};
use super::DecodedSeries;
use super::gather::{Data, Gathering};
use super::labels::Level;
use attributes::{Pairs, late};
use points::DataObject;
use visit::{Each, Keyed, List, Object, Text};

/// Characters of the JSON reader's words that are passed on.
const READER_CHARS_SHOWN: usize = 160;

/// Reads an `ExportMetricsServiceRequest`.
///
/// # Errors
/// [`Unreadable`] when it is none, or holds too many data points.
pub(super) fn read(
    body: &[u8],
    limits: &Limits,
    room: &mut dyn FnMut(u64) -> bool,
) -> Result<DecodedSeries, Unreadable> {
    let mut reader = Reader {
        to: Gathering::new(limits, room),
        stopped: None,
    };
    let mut from = serde_json::Deserializer::from_slice(body);
    let mut request = Request {
        reader: &mut reader,
    };
    let read = Keyed(&mut request).deserialize(&mut from);
    let read = read.and_then(|()| from.end());
    if let Some(unreadable) = reader.stopped {
        return Err(unreadable);
    }
    read.map_err(|error| malformed(&error.to_string()))?;
    reader.to.finish()
}

fn malformed(what: &str) -> Unreadable {
    // It may quote what stands there, however long that is.
    let end = what.char_indices().nth(READER_CHARS_SHOWN);
    let what = end.map_or(what, |(end, _)| &what[..end]);
    Unreadable {
        code: UnreadableCode::MalformedJson,
        message: format!("the body is no ExportMetricsServiceRequest: {what}"),
        help: "nothing of the request was taken; send {\"resourceMetrics\":[..]}".into(),
    }
}

/// A request while it is read.
struct Reader<'l> {
    to: Gathering<'l>,
    /// Why reading must stop; the JSON reader has no room for it in its errors.
    stopped: Option<Unreadable>,
}

struct Request<'r, 'l> {
    reader: &'r mut Reader<'l>,
}

/// Lists of messages.
#[derive(Clone, Copy)]
enum What {
    ResourceMetrics,
    ScopeMetrics,
    Metrics,
}

struct Messages<'r, 'l> {
    reader: &'r mut Reader<'l>,
    what: What,
}

/// A `ResourceMetrics` or a `ScopeMetrics`: a resource with its scopes, a scope with its metrics.
struct Group<'r, 'l, 'de> {
    reader: &'r mut Reader<'l>,
    of: Of,
    is_owner_known: bool,
    /// The members, where they stood before their owner.
    early: Option<&'de RawValue>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Resource,
    Scope,
}

/// A `Resource` or an `InstrumentationScope`.
struct Owner<'r, 'l> {
    reader: &'r mut Reader<'l>,
    of: Of,
}

struct Metric<'r, 'l, 'de> {
    reader: &'r mut Reader<'l>,
    name: Option<String>,
    unit: Option<String>,
    early: Option<(Data, &'de RawValue)>,
}

// === impl Reader ===

impl Reader<'_> {
    /// Keeps why reading must stop, and stops it.
    fn go_on<E: Error>(&mut self, result: Result<(), Unreadable>) -> Result<(), E> {
        result.map_err(|unreadable| {
            self.stopped = Some(unreadable);
            E::custom("stopped")
        })
    }

    /// Something that can hold data points is not of its type.
    fn refuse_part(&mut self, what: &str) {
        let message = format!("{what}; see the JSON form of ExportMetricsServiceRequest");
        if let Err(unreadable) = self.to.refuse_part("wrong_type", message) {
            self.stopped.get_or_insert(unreadable);
        }
    }
}

impl<'de> Object<'de> for Request<'_, '_> {
    const KEYS: &'static [&'static str] = &["resourceMetrics"];

    fn field<A: MapAccess<'de>>(&mut self, _: &'static str, map: &mut A) -> Result<(), A::Error> {
        let mut list = Messages {
            reader: &mut *self.reader,
            what: What::ResourceMetrics,
        };
        map.next_value_seed(Each(&mut list))
    }

    fn wrong_type(&mut self) {
        self.reader.stopped = Some(malformed("it is not an object"));
    }
}

// === impl Messages ===

impl<'de> List<'de> for Messages<'_, '_> {
    fn item<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<bool, A::Error> {
        if self.reader.stopped.is_some() {
            return Err(A::Error::custom("stopped"));
        }
        let of = match self.what {
            What::ResourceMetrics => Of::Resource,
            What::ScopeMetrics => Of::Scope,
            What::Metrics => {
                let mut metric = Metric {
                    reader: &mut *self.reader,
                    name: None,
                    unit: None,
                    early: None,
                };
                if seq.next_element_seed(Keyed(&mut metric))?.is_none() {
                    return Ok(false);
                }
                metric.end()?;
                return Ok(true);
            }
        };
        let mut group = Group {
            reader: &mut *self.reader,
            of,
            is_owner_known: false,
            early: None,
        };
        group.begin();
        if seq.next_element_seed(Keyed(&mut group))?.is_none() {
            return Ok(false);
        }
        group.end()?;
        Ok(true)
    }

    fn wrong_type(&mut self) {
        self.reader.refuse_part(match self.what {
            What::ResourceMetrics => "resourceMetrics is not a list",
            What::ScopeMetrics => "scopeMetrics is not a list",
            What::Metrics => "metrics is not a list",
        });
    }
}

// === impl Group ===

impl<'de> Group<'_, '_, 'de> {
    fn begin(&mut self) {
        match self.of {
            Of::Resource => self.reader.to.begin_resource(),
            Of::Scope => self.reader.to.begin_scope(),
        }
    }

    /// The owner is known, or there is none.
    fn settle(&mut self) {
        match self.of {
            Of::Resource => self.reader.to.end_resource(),
            Of::Scope => self.reader.to.end_scope(),
        }
        self.is_owner_known = true;
    }

    fn end<E: Error>(mut self) -> Result<(), E> {
        let Some(early) = self.early else {
            return Ok(());
        };
        if !self.is_owner_known {
            self.settle();
        }
        let what = self.of.members();
        let reader = self.reader;
        late(early, Each(&mut Messages { reader, what }))
    }
}

impl Of {
    fn members(self) -> What {
        match self {
            Of::Resource => What::ScopeMetrics,
            Of::Scope => What::Metrics,
        }
    }
}

impl<'de> Object<'de> for Group<'_, '_, 'de> {
    const KEYS: &'static [&'static str] = &["resource", "scopeMetrics", "scope", "metrics"];

    fn field<A: MapAccess<'de>>(&mut self, key: &'static str, map: &mut A) -> Result<(), A::Error> {
        match (self.of, key) {
            (Of::Resource, "resource") | (Of::Scope, "scope") => {
                self.begin();
                let mut owner = Owner {
                    reader: &mut *self.reader,
                    of: self.of,
                };
                map.next_value_seed(Keyed(&mut owner))?;
                self.settle();
                Ok(())
            }
            (Of::Resource, "scopeMetrics") | (Of::Scope, "metrics") => {
                if !self.is_owner_known {
                    self.early = Some(map.next_value()?);
                    return Ok(());
                }
                let mut members = Messages {
                    reader: &mut *self.reader,
                    what: self.of.members(),
                };
                map.next_value_seed(Each(&mut members))
            }
            // A key of the other.
            _ => map.next_value::<IgnoredAny>().map(|_| ()),
        }
    }

    fn wrong_type(&mut self) {
        self.reader.refuse_part(match self.of {
            Of::Resource => "an item of resourceMetrics is not an object",
            Of::Scope => "an item of scopeMetrics is not an object",
        });
    }
}

// === impl Owner ===

impl Owner<'_, '_> {
    fn level(&mut self) -> &mut Level {
        match self.of {
            Of::Resource => &mut self.reader.to.labels.resource,
            Of::Scope => &mut self.reader.to.labels.scope,
        }
    }
}

impl<'de> Object<'de> for Owner<'_, '_> {
    const KEYS: &'static [&'static str] = &["attributes", "name", "version"];

    fn field<A: MapAccess<'de>>(&mut self, key: &'static str, map: &mut A) -> Result<(), A::Error> {
        if key == "attributes" {
            return map.next_value_seed(Each(&mut Pairs::of(self.level())));
        }
        if self.of == Of::Resource {
            return map.next_value::<IgnoredAny>().map(|_| ());
        }
        let level = self.level();
        map.next_value_seed(Text(|text: Option<&str>| match text {
            Some(text) => level.of_scope(key, text),
            None => level.spoil("wrong_type", format!("a {key} that is not a text")),
        }))
    }

    fn wrong_type(&mut self) {
        self.level()
            .spoil("wrong_type", "attributes that are not in an object");
    }
}

// === impl Metric ===

impl<'de> Metric<'_, '_, 'de> {
    fn end<E: Error>(self) -> Result<(), E> {
        let Some((data, early)) = self.early else {
            return Ok(());
        };
        let (name, unit) = (self.name.unwrap_or_default(), self.unit.unwrap_or_default());
        let mut points = DataObject::of(self.reader, data, &name, &unit);
        late(early, Keyed(&mut points))?;
        points.end()
    }
}

impl<'de> Object<'de> for Metric<'_, '_, 'de> {
    const KEYS: &'static [&'static str] = &[
        "name",
        "unit",
        "gauge",
        "sum",
        "histogram",
        "exponentialHistogram",
        "summary",
    ];

    fn field<A: MapAccess<'de>>(&mut self, key: &'static str, map: &mut A) -> Result<(), A::Error> {
        let data = match key {
            "name" | "unit" => {
                let text =
                    map.next_value_seed(Text(|text: Option<&str>| text.map(str::to_owned)))?;
                if text.is_none() {
                    self.reader
                        .refuse_part("a metric's name or unit is not a text");
                }
                let slot = if key == "name" {
                    &mut self.name
                } else {
                    &mut self.unit
                };
                *slot = Some(text.unwrap_or_default());
                return Ok(());
            }
            "gauge" => Data::Gauge,
            "sum" => Data::Sum,
            "histogram" => Data::Histogram,
            "exponentialHistogram" => Data::Exponential,
            _ => Data::Summary,
        };
        let (Some(name), Some(unit)) = (&self.name, &self.unit) else {
            let raw: &RawValue = map.next_value()?;
            if raw.get() != "null" && self.early.replace((data, raw)).is_some() {
                self.reader.refuse_part("a metric holds data of two kinds");
            }
            return Ok(());
        };
        let mut points = DataObject::of(self.reader, data, name, unit);
        map.next_value_seed(Keyed(&mut points))?;
        points.end()
    }

    fn wrong_type(&mut self) {
        self.reader
            .refuse_part("an item of metrics is not an object");
    }
}
