//! The protobuf form of an export request.
//!
//! Owns the field numbers (opentelemetry-proto 1.x: `metrics_service.proto`, `metrics.proto`,
//! `resource.proto`, `common.proto`) and the order in which a message's parts are visited, since on
//! the wire they may stand in any. Messages are slices of the body; skipping one costs nothing.
//! What becomes of what was read is decided in [`super::gather`].

use std::fmt::Write;

use super::super::heads::{Form, Found, Heads};
use super::super::protobuf::{Fields, Malformed, Value, messages, varints};
use super::super::{Limits, Unreadable, UnreadableCode};
use super::gather::{Data, Gathering, Shape};
use super::known::{Above, PlainNumber};
use super::labels::Level;
use super::metric::Metric;
use super::{DecodedSeries, values};

/// Reads an `ExportMetricsServiceRequest`.
///
/// # Errors
/// [`Unreadable`] when it is none, or holds too many data points.
pub(super) fn read(
    body: &[u8],
    heads: &mut Heads,
    limits: &Limits,
    room: &mut dyn FnMut(u64) -> bool,
) -> Result<DecodedSeries, Unreadable> {
    let mut reader = Reader {
        to: Gathering::new(limits, room),
        heads,
        above: Above::default(),
        resource: Around::default(),
        scope: Around::default(),
    };
    // A body that was cut off must not count as its first half.
    let resources = || messages(body, 1);
    for resource in resources() {
        resource.map_err(|malformed| Unreadable {
            code: UnreadableCode::MalformedProtobuf,
            message: format!("the body is no ExportMetricsServiceRequest: {malformed}"),
            help: "nothing of the request was taken; send OTLP as application/x-protobuf, or \
                   its JSON form as application/json"
                .into(),
        })?;
    }
    for resource in resources().flatten() {
        reader.resource_metrics(resource)?;
    }
    reader.to.finish()
}

/// A field of `AnyValue` and what it holds.
type Any<'b> = Option<(u32, Value<'b>)>;

struct Reader<'b, 'l> {
    to: Gathering<'l>,
    /// Labels of points that are known.
    heads: &'l mut Heads,
    /// What stands above the points that are read.
    above: Above,
    resource: Around<'b>,
    scope: Around<'b>,
}

/// A message whose metrics are read. Its attributes are once a point comes that is not known:
/// to make labels of them takes longer than to read a metric.
#[derive(Default)]
struct Around<'b> {
    message: &'b [u8],
    is_read: bool,
}

// === impl Around ===

impl<'b> Around<'b> {
    fn begin(message: &'b [u8]) -> Around<'b> {
        Around {
            message,
            is_read: false,
        }
    }

    /// The message, where its attributes are still to be read.
    fn take(&mut self) -> Option<&'b [u8]> {
        let is_read = std::mem::replace(&mut self.is_read, true);
        (!is_read).then_some(self.message)
    }
}

// === impl Reader ===

impl<'b> Reader<'b, '_> {
    fn resource_metrics(&mut self, message: &'b [u8]) -> Result<(), Unreadable> {
        self.above.begin_resource();
        for resource in messages(message, 1) {
            self.above.add(resource);
        }
        self.above.end_resource();
        self.resource = Around::begin(message);
        self.each(message, 2, "ResourceMetrics", Reader::scope_metrics)
    }

    fn scope_metrics(&mut self, message: &'b [u8]) -> Result<(), Unreadable> {
        self.above.begin_scope();
        for scope in messages(message, 1) {
            self.above.add(scope);
        }
        self.scope = Around::begin(message);
        self.each(message, 2, "ScopeMetrics", Reader::metric)
    }

    /// Begins a metric some of whose points are not known; whether they can be taken.
    fn begin_metric(&mut self, (name, unit): (&str, &str), shape: Shape) -> bool {
        if let Some(message) = self.resource.take() {
            self.read_resource(message);
        }
        if let Some(message) = self.scope.take() {
            self.read_scope(message);
        }
        let is_wanted = self.to.begin_metric(name, unit, shape);
        if !self.to.is_readable_around() {
            self.above.give_up();
        }
        is_wanted
    }

    fn read_resource(&mut self, message: &[u8]) {
        self.to.begin_resource();
        let level = &mut self.to.labels.resource;
        for resource in messages(message, 1) {
            let read = resource.and_then(|resource| attributes(resource, 1, level));
            spoil(level, read);
        }
        self.to.end_resource();
    }

    fn read_scope(&mut self, message: &[u8]) {
        self.to.begin_scope();
        let level = &mut self.to.labels.scope;
        for scope in messages(message, 1) {
            let read = scope.and_then(|scope| {
                for field in Fields::new(scope) {
                    match field? {
                        (1, name) => level.of_scope("name", name.text(1)?),
                        (2, version) => level.of_scope("version", version.text(2)?),
                        (3, attribute) => key_value(attribute.bytes(3)?, level)?,
                        _ => {}
                    }
                }
                Ok(())
            });
            spoil(level, read);
        }
        self.to.end_scope();
    }

    /// Reads the messages of a repeated field. Where the message breaks off, what stood before
    /// lives, unless a resource or a scope may be missing with what is lost.
    fn each(
        &mut self,
        message: &'b [u8],
        field: u32,
        name: &str,
        mut read: impl FnMut(&mut Self, &'b [u8]) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable> {
        for part in messages(message, field) {
            match part {
                Ok(part) => read(self, part)?,
                Err(malformed) => {
                    let message = format!("what follows in a {name} cannot be read: {malformed}");
                    return self.to.refuse_part("malformed_protobuf", message);
                }
            }
        }
        Ok(())
    }

    fn metric(&mut self, message: &'b [u8]) -> Result<(), Unreadable> {
        match Metric::of(message) {
            // A metric without data has nothing to refuse.
            Ok(Metric { data: None, .. }) => Ok(()),
            Ok(Metric {
                name,
                unit,
                data: Some((field, data)),
            }) => {
                let shape = match Metric::shape(message, field, data) {
                    Ok(shape) => shape,
                    Err(malformed) => return self.refuse_metric(malformed),
                };
                let is_plain = matches!(data, Data::Gauge | Data::Sum);
                let can_be_known = is_plain && self.to.begin_known(shape);
                if can_be_known {
                    self.above.metric(self.heads, (name, unit), shape);
                }
                let mut is_wanted = None;
                // A message that is written in pieces counts as their sum.
                for data in messages(message, field).flatten() {
                    self.each(data, 1, "metric", |reader, point| {
                        if is_wanted == Some(false) {
                            return reader.to.lose();
                        }
                        let plain = can_be_known.then(|| PlainNumber::of(point)).flatten();
                        if let Some(plain) = &plain
                            && reader.known_point(plain)?
                        {
                            return Ok(());
                        }
                        if !*is_wanted
                            .get_or_insert_with(|| reader.begin_metric((name, unit), shape))
                        {
                            return reader.to.lose();
                        }
                        match plain {
                            Some(_) => reader.plain_point(point, shape.data),
                            None => reader.any_point(point, shape.data),
                        }
                    })?;
                }
                Ok(())
            }
            Err(malformed) => self.refuse_metric(malformed),
        }
    }

    fn refuse_metric(&mut self, malformed: Malformed) -> Result<(), Unreadable> {
        let message = format!("a metric cannot be read: {malformed}");
        self.to.refuse_part("malformed_protobuf", message)
    }

    /// Takes a number whose labels are known; whether they are.
    fn known_point(&mut self, plain: &PlainNumber<'_>) -> Result<bool, Unreadable> {
        match self.above.find(self.heads, plain) {
            Some(Found { key, shape, .. }) => self.to.known_point(key, shape, plain),
            None => Ok(false),
        }
    }

    /// Takes a number that was looked for; its labels are known from now on.
    fn plain_point(&mut self, message: &[u8], data: Data) -> Result<(), Unreadable> {
        let before = self.to.series_count();
        self.any_point(message, data)?;
        if self.to.series_count() > before
            && let (Some(head), Some((key, shape))) = (self.above.head(), self.to.last_key())
        {
            self.heads.keep(Form::OtlpPoint, head, key, shape);
        }
        Ok(())
    }

    fn any_point(&mut self, message: &[u8], data: Data) -> Result<(), Unreadable> {
        self.to.begin_point();
        if let Err(malformed) = self.point(message, data) {
            let message = format!("a malformed data point: {malformed}");
            self.to.raw.spoil("malformed_protobuf", message);
        }
        self.to.end_point()
    }

    fn point(&mut self, message: &[u8], data: Data) -> Result<(), Malformed> {
        match data {
            Data::Gauge | Data::Sum => self.number(message),
            Data::Histogram => self.histogram(message),
            Data::Exponential => self.exponential(message),
            // Never read: it is only counted.
            Data::Summary => Ok(()),
        }
    }

    fn number(&mut self, message: &[u8]) -> Result<(), Malformed> {
        let Gathering { raw, labels, .. } = &mut self.to;
        for field in Fields::new(message) {
            match field? {
                (2, value) => raw.start_nanos = fixed64(value, 2)?,
                (3, value) => raw.nanos = fixed64(value, 3)?,
                (4, value) => raw.value = Some(value.double(4)?),
                (6, value) => raw.value = Some(fixed64(value, 6)? as i64 as f64),
                (7, value) => key_value(value.bytes(7)?, &mut labels.point)?,
                (8, value) => raw.flags = value.varint(8)? as u32,
                _ => {}
            }
        }
        Ok(())
    }

    fn histogram(&mut self, message: &[u8]) -> Result<(), Malformed> {
        let Gathering { raw, labels, .. } = &mut self.to;
        for field in Fields::new(message) {
            match field? {
                (2, value) => raw.start_nanos = fixed64(value, 2)?,
                (3, value) => raw.nanos = fixed64(value, 3)?,
                (4, value) => raw.count = fixed64(value, 4)?,
                (5, value) => raw.sum = Some(value.double(5)?),
                (6, value) => fixed64s(value, 6, |count| raw.counts.push(count))?,
                (7, value) => fixed64s(value, 7, |bits| raw.bounds.push(f64::from_bits(bits)))?,
                (9, value) => key_value(value.bytes(9)?, &mut labels.point)?,
                (10, value) => raw.flags = value.varint(10)? as u32,
                _ => {}
            }
        }
        Ok(())
    }

    fn exponential(&mut self, message: &[u8]) -> Result<(), Malformed> {
        let Gathering { raw, labels, .. } = &mut self.to;
        let to = &mut raw.exponential;
        for field in Fields::new(message) {
            match field? {
                (1, value) => key_value(value.bytes(1)?, &mut labels.point)?,
                (2, value) => raw.start_nanos = fixed64(value, 2)?,
                (3, value) => raw.nanos = fixed64(value, 3)?,
                (5, value) => raw.sum = Some(value.double(5)?),
                (6, value) => to.scale = value.sint32(6)?,
                (7, value) => to.zero_count = fixed64(value, 7)?,
                (8, value) => buckets(value.bytes(8)?, &mut to.positive)?,
                (9, value) => buckets(value.bytes(9)?, &mut to.negative)?,
                (10, value) => raw.flags = value.varint(10)? as u32,
                (14, value) => to.zero_threshold = value.double(14)?,
                _ => {}
            }
        }
        Ok(())
    }
}

fn fixed64(value: Value<'_>, field: u32) -> Result<u64, Malformed> {
    match value {
        Value::Fixed64(bits) => Ok(bits),
        _ => Err(Malformed::WrongType(field)),
    }
}

/// The numbers of one piece of a repeated `fixed64` or `double`, packed or alone.
fn fixed64s(value: Value<'_>, field: u32, mut each: impl FnMut(u64)) -> Result<(), Malformed> {
    match value {
        Value::Bytes(list) => {
            let (numbers, rest) = list.as_chunks();
            numbers
                .iter()
                .for_each(|number| each(u64::from_le_bytes(*number)));
            if rest.is_empty() {
                Ok(())
            } else {
                Err(Malformed::Truncated)
            }
        }
        value => {
            each(fixed64(value, field)?);
            Ok(())
        }
    }
}

fn buckets(message: &[u8], to: &mut super::cells::Buckets) -> Result<(), Malformed> {
    for field in Fields::new(message) {
        if let (1, value) = field? {
            to.offset = value.sint32(1)?;
        }
    }
    for count in varints(message, 2) {
        to.push(count?);
    }
    Ok(())
}

fn spoil(level: &mut Level, read: Result<(), Malformed>) {
    if let Err(malformed) = read {
        let message = format!("attributes that cannot be read: {malformed}");
        level.spoil("malformed_protobuf", message);
    }
}

/// The attributes of a message, which its field of this number holds.
fn attributes(message: &[u8], field: u32, to: &mut Level) -> Result<(), Malformed> {
    for attribute in messages(message, field) {
        key_value(attribute?, to)?;
    }
    Ok(())
}

/// A `KeyValue` as a label.
fn key_value(message: &[u8], to: &mut Level) -> Result<(), Malformed> {
    let (key, value) = pair(message)?;
    if to.begin(key) {
        match value {
            // What nearly all attributes are.
            Some((1, text)) => to.write(text.text(1)?),
            value => any_value(value, 0, to)?,
        }
        to.end();
    }
    Ok(())
}

fn pair(message: &[u8]) -> Result<(&str, Any<'_>), Malformed> {
    let (mut key, mut value) = ("", None);
    for field in Fields::new(message) {
        match field? {
            (1, text) => key = text.text(1)?,
            (2, any) => value = any_of(any.bytes(2)?)?,
            _ => {}
        }
    }
    Ok((key, value))
}

/// The last of the fields of an `AnyValue`, only one of which may be set.
fn any_of(message: &[u8]) -> Result<Any<'_>, Malformed> {
    let mut found = None;
    for field in Fields::new(message) {
        let field = field?;
        if (1..=7).contains(&field.0) {
            found = Some(field);
        }
    }
    Ok(found)
}

/// Writes an `AnyValue` as text: inside a list, as JSON.
fn any_value(value: Any<'_>, depth: usize, to: &mut Level) -> Result<(), Malformed> {
    if !to.is_open() || values::is_too_deep(depth, to) {
        return Ok(());
    }
    match value {
        None if depth > 0 => to.write("null"),
        None => {}
        Some((1, text)) => values::text(text.text(1)?, depth > 0, to),
        Some((2, truth)) => to.write(values::truth(truth.varint(2)? != 0)),
        Some((3, number)) => {
            let _ = write!(to, "{}", number.varint(3)? as i64);
        }
        Some((4, number)) => values::double(number.double(4)?, depth > 0, to),
        Some((5, list)) => {
            let mut separator = "[";
            for value in messages(list.bytes(5)?, 1) {
                to.write(std::mem::replace(&mut separator, ","));
                any_value(any_of(value?)?, depth + 1, to)?;
            }
            to.write(if separator == "[" { "[]" } else { "]" });
        }
        Some((6, list)) => {
            let mut separator = "{";
            for entry in messages(list.bytes(6)?, 1) {
                to.write(std::mem::replace(&mut separator, ","));
                let (key, value) = pair(entry?)?;
                values::text(key, true, to);
                to.write(":");
                any_value(value, depth + 1, to)?;
            }
            to.write(if separator == "{" { "{}" } else { "}" });
        }
        Some((_, bytes)) => values::base64(bytes.bytes(7)?, depth > 0, to),
    }
    Ok(())
}
