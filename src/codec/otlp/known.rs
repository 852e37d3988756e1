//! Data points whose labels are known from requests before.
//!
//! Owns what tells such a point: what stands above it (resource, scope, metric) and its attributes,
//! all as they were written. It must not make labels: those of a point that is not known are made in
//! [`super::labels`], and remembered.

use super::super::heads::{Form, Found, Heads};
use super::super::protobuf::{Fields, Malformed, Value};
use super::gather::{Data, Shape};

/// Stands for the length of a message that cannot be read; none is as long.
const UNREADABLE: usize = usize::MAX - 1;

/// What stands above points.
#[derive(Debug, Default)]
pub(super) struct Above {
    /// Resource and scope, until there is a number for them.
    bytes: Vec<u8>,
    resource_end: usize,
    /// The number that stands for resource and scope; asked for once, however many metrics there are.
    scope: Option<Option<u32>>,
    /// That and a metric.
    metric: Vec<u8>,
    /// The number that stands for all of it, where its points can be known.
    number: Option<u32>,
    /// The number and a point's attributes.
    head: Vec<u8>,
}

/// A number that is written as nearly all are: attributes next to each other, and no flags.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PlainNumber<'b> {
    pub start_nanos: u64,
    pub nanos: u64,
    pub value: f64,
    attributes: &'b [u8],
}

// === impl Above ===

impl Above {
    /// Another resource begins.
    pub fn begin_resource(&mut self) {
        self.bytes.clear();
        self.number = None;
    }

    /// A message with attributes of the resource or the scope. One that cannot be read makes them
    /// unlike any that can, so that no point below it is ever known.
    pub fn add(&mut self, message: Result<&[u8], Malformed>) {
        // Lengths keep two messages from being taken for one.
        let length = message.map_or(UNREADABLE, <[u8]>::len);
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(message.unwrap_or_default());
    }

    /// No point of this scope can be taken: none is looked for.
    pub fn give_up(&mut self) {
        self.scope = Some(None);
        self.number = None;
    }

    /// The resource is read.
    pub fn end_resource(&mut self) {
        self.resource_end = self.bytes.len();
    }

    /// Another scope begins.
    pub fn begin_scope(&mut self) {
        self.bytes.truncate(self.resource_end);
        // As the lengths do.
        self.bytes.extend_from_slice(&[0xff; size_of::<usize>()]);
        self.scope = None;
    }

    /// A metric begins whose points can be taken.
    pub fn metric(&mut self, heads: &mut Heads, (name, unit): (&str, &str), shape: Shape) {
        self.number = None;
        if !matches!(shape.data, Data::Gauge | Data::Sum) {
            return;
        }
        let scope = *self.scope.get_or_insert_with(|| heads.context(&self.bytes));
        let Some(scope) = scope else {
            return;
        };
        let is_sum = shape.data == Data::Sum;
        self.metric.clear();
        self.metric.extend_from_slice(&scope.to_le_bytes());
        self.metric.extend_from_slice(&[
            u8::from(is_sum),
            shape.temporality as u8,
            u8::from(shape.is_monotonic),
        ]);
        for text in [name, unit] {
            self.metric.extend_from_slice(&text.len().to_le_bytes());
            self.metric.extend_from_slice(text.as_bytes());
        }
        self.number = heads.context(&self.metric);
    }

    /// The labels of a point that is known.
    pub fn find<'h>(&mut self, heads: &'h mut Heads, point: &PlainNumber<'_>) -> Option<Found<'h>> {
        self.head.clear();
        self.head.extend_from_slice(&self.number?.to_le_bytes());
        self.head.extend_from_slice(point.attributes);
        heads.find(Form::OtlpPoint, &self.head)
    }

    /// What the point last looked for is known by; `None` where it cannot be.
    pub fn head(&self) -> Option<&[u8]> {
        self.number.map(|_| self.head.as_slice())
    }
}

// === impl PlainNumber ===

impl<'b> PlainNumber<'b> {
    /// Reads a `NumberDataPoint`; `None` where it is anything but plain.
    pub fn of(message: &'b [u8]) -> Option<PlainNumber<'b>> {
        let mut number = PlainNumber {
            start_nanos: 0,
            nanos: 0,
            value: f64::NAN,
            attributes: &[],
        };
        let mut attributes: Option<[usize; 2]> = None;
        let mut fields = Fields::new(message);
        loop {
            let from = message.len() - fields.left();
            let Some(field) = fields.next() else {
                break;
            };
            match field.ok()? {
                (2, Value::Fixed64(bits)) => number.start_nanos = bits,
                (3, Value::Fixed64(bits)) => number.nanos = bits,
                (4, Value::Fixed64(bits)) => number.value = f64::from_bits(bits),
                (6, Value::Fixed64(bits)) => number.value = bits as i64 as f64,
                (7, Value::Bytes(_)) => {
                    let end = message.len() - fields.left();
                    match &mut attributes {
                        Some([_, behind]) if *behind == from => *behind = end,
                        Some(_) => return None,
                        None => attributes = Some([from, end]),
                    }
                }
                (2 | 3 | 4 | 6 | 7 | 8, _) => return None,
                _ => {}
            }
        }
        let is_number = !number.value.is_nan() && number.nanos > 0;
        let [from, end] = attributes.unwrap_or_default();
        number.attributes = &message[from..end];
        is_number.then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
    }

    fn fixed(number: u8, bits: u64) -> Vec<u8> {
        [&[number << 3 | 1], &bits.to_le_bytes()[..]].concat()
    }

    #[test]
    fn plain_numbers_are_told_from_others() {
        let (one, two) = (field(7, b"one"), field(7, b"two"));
        let parts = [
            one.clone(),
            two.clone(),
            fixed(2, 1),
            fixed(3, 5),
            fixed(6, 9),
        ];
        let plain = parts.concat();
        let read = PlainNumber::of(&plain).expect("plain");
        assert_eq!((read.start_nanos, read.nanos, read.value), (1, 5, 9.0));
        assert_eq!(read.attributes, [one.clone(), two.clone()].concat());
        let others = [
            // Apart, flagged, without a value, without a time, cut off.
            [&one[..], &fixed(3, 5), &two, &fixed(6, 9)].concat(),
            [&plain[..], &[8 << 3, 1]].concat(),
            [&one[..], &fixed(3, 5)].concat(),
            [&one[..], &fixed(6, 9)].concat(),
            plain[..plain.len() - 1].to_vec(),
        ];
        for other in others {
            assert_eq!(PlainNumber::of(&other), None, "{other:?}");
        }
    }
}
