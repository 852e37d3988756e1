//! Export requests as tests write them, and their encoding in both forms.
//!
//! Owns an encoder made from the definition (opentelemetry-proto 1.x; OpenTelemetry Protocol 1.x,
//! "JSON Protobuf Encoding"), independent of the readers; the JSON form is in `as_json`. Fields can be written in the order of the
//! definition or backwards, which both forms allow.

/// An attribute's value.
#[derive(Debug, Clone)]
pub enum Any {
    Text(String),
    Truth(bool),
    Int(i64),
    Double(f64),
    List(Vec<Any>),
    Map(Vec<(String, Any)>),
    Bytes(Vec<u8>, &'static str),
    Nothing,
}

pub type Attributes = Vec<(String, Any)>;

#[derive(Debug, Clone, Default)]
pub struct Request(pub Vec<Resource>);

#[derive(Debug, Clone, Default)]
pub struct Resource {
    pub attributes: Attributes,
    pub scopes: Vec<Scope>,
}

#[derive(Debug, Clone, Default)]
pub struct Scope {
    pub name: String,
    pub version: String,
    pub attributes: Attributes,
    pub metrics: Vec<Metric>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Gauge,
    Sum,
    Histogram,
    Exponential,
    Summary,
}

#[derive(Debug, Clone)]
pub struct Metric {
    pub name: String,
    pub unit: String,
    pub kind: Kind,
    pub temporality: u64,
    pub is_monotonic: bool,
    pub points: Vec<DataPoint>,
}

#[derive(Debug, Clone)]
pub struct DataPoint {
    pub attributes: Attributes,
    pub start: u64,
    pub nanos: u64,
    pub flags: u64,
    pub body: Body,
}

#[derive(Debug, Clone)]
pub enum Body {
    Nothing,
    Int(i64),
    Double(f64),
    Explicit {
        count: u64,
        sum: Option<f64>,
        counts: Vec<u64>,
        bounds: Vec<f64>,
    },
    Exponential {
        sum: Option<f64>,
        scale: i32,
        zero_count: u64,
        zero_threshold: f64,
        positive: (i32, Vec<u64>),
        negative: (i32, Vec<u64>),
    },
}

/// In which order the fields of a message are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Forwards,
    Backwards,
}

/// A message's fields, each already encoded.
struct Message {
    order: Order,
    fields: Vec<Vec<u8>>,
}

pub fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn zigzag(number: i32) -> u64 {
    u64::from(((number << 1) ^ (number >> 31)) as u32)
}

// === impl Message ===

impl Message {
    fn new(order: Order) -> Message {
        Message {
            order,
            fields: Vec::new(),
        }
    }

    fn field(mut self, number: u64, wire_type: u64, value: Vec<u8>) -> Message {
        self.fields
            .push([varint(number << 3 | wire_type), value].concat());
        self
    }

    fn varint(self, number: u64, value: u64) -> Message {
        self.field(number, 0, varint(value))
    }

    fn fixed(self, number: u64, value: u64) -> Message {
        self.field(number, 1, value.to_le_bytes().to_vec())
    }

    fn double(self, number: u64, value: f64) -> Message {
        self.fixed(number, value.to_bits())
    }

    fn bytes(self, number: u64, value: &[u8]) -> Message {
        let value = [varint(value.len() as u64), value.to_vec()].concat();
        self.field(number, 2, value)
    }

    /// A repeated field; its members keep their order.
    fn each(mut self, number: u64, values: impl Iterator<Item = Vec<u8>>) -> Message {
        let mut all = Vec::new();
        for value in values {
            all.extend(varint(number << 3 | 2));
            all.extend(varint(value.len() as u64));
            all.extend(value);
        }
        self.fields.push(all);
        self
    }

    fn end(mut self) -> Vec<u8> {
        if self.order == Order::Backwards {
            self.fields.reverse();
        }
        self.fields.concat()
    }
}

fn packed<'n>(numbers: impl Iterator<Item = u64> + 'n) -> Vec<u8> {
    numbers.flat_map(u64::to_le_bytes).collect()
}

fn any(value: &Any, order: Order) -> Vec<u8> {
    let message = Message::new(order);
    match value {
        Any::Text(text) => message.bytes(1, text.as_bytes()),
        Any::Truth(truth) => message.varint(2, u64::from(*truth)),
        Any::Int(number) => message.varint(3, *number as u64),
        Any::Double(number) => message.double(4, *number),
        Any::List(values) => {
            let list = Message::new(order).each(1, values.iter().map(|value| any(value, order)));
            message.bytes(5, &list.end())
        }
        Any::Map(pairs) => {
            let list = Message::new(order).each(1, attributes(pairs, order));
            message.bytes(6, &list.end())
        }
        Any::Bytes(bytes, _) => message.bytes(7, bytes),
        Any::Nothing => message,
    }
    .end()
}

fn attributes(pairs: &Attributes, order: Order) -> impl Iterator<Item = Vec<u8>> + '_ {
    pairs.iter().map(move |(key, value)| {
        Message::new(order)
            .bytes(1, key.as_bytes())
            .bytes(2, &any(value, order))
            .end()
    })
}

// === impl Request ===

impl Request {
    pub fn of(metrics: Vec<Metric>) -> Request {
        let scope = Scope {
            metrics,
            ..Scope::default()
        };
        Request(vec![Resource {
            scopes: vec![scope],
            ..Resource::default()
        }])
    }

    pub fn protobuf(&self, order: Order) -> Vec<u8> {
        let resources = self.0.iter().map(|resource| {
            let owner = Message::new(order).each(1, attributes(&resource.attributes, order));
            Message::new(order)
                .bytes(1, &owner.end())
                .each(2, resource.scopes.iter().map(|scope| scope.protobuf(order)))
                .bytes(3, b"https://schema")
                .end()
        });
        Message::new(order).each(1, resources).end()
    }
}

// === impl Scope ===

impl Scope {
    fn protobuf(&self, order: Order) -> Vec<u8> {
        let owner = Message::new(order)
            .bytes(1, self.name.as_bytes())
            .bytes(2, self.version.as_bytes())
            .each(3, attributes(&self.attributes, order));
        Message::new(order)
            .bytes(1, &owner.end())
            .each(2, self.metrics.iter().map(|metric| metric.protobuf(order)))
            .end()
    }
}

// === impl Metric ===

impl Metric {
    pub fn new(name: &str, kind: Kind, points: Vec<DataPoint>) -> Metric {
        Metric {
            name: name.into(),
            unit: String::new(),
            kind,
            temporality: 2,
            is_monotonic: false,
            points,
        }
    }

    fn protobuf(&self, order: Order) -> Vec<u8> {
        let field = match self.kind {
            Kind::Gauge => 5,
            Kind::Sum => 7,
            Kind::Histogram => 9,
            Kind::Exponential => 10,
            Kind::Summary => 11,
        };
        let points = self
            .points
            .iter()
            .map(|point| point.protobuf(self.kind, order));
        let mut data = Message::new(order).each(1, points);
        if !matches!(self.kind, Kind::Gauge | Kind::Summary) {
            data = data.varint(2, self.temporality);
        }
        if self.kind == Kind::Sum {
            data = data.varint(3, u64::from(self.is_monotonic));
        }
        Message::new(order)
            .bytes(1, self.name.as_bytes())
            .bytes(2, b"what it is")
            .bytes(3, self.unit.as_bytes())
            .bytes(field, &data.end())
            .end()
    }
}

// === impl DataPoint ===

impl DataPoint {
    pub fn new(nanos: u64, body: Body) -> DataPoint {
        DataPoint {
            attributes: Vec::new(),
            start: 0,
            nanos,
            flags: 0,
            body,
        }
    }

    fn protobuf(&self, kind: Kind, order: Order) -> Vec<u8> {
        let (attributes_field, flags_field) = match kind {
            Kind::Gauge | Kind::Sum | Kind::Summary => (7, 8),
            Kind::Histogram => (9, 10),
            Kind::Exponential => (1, 10),
        };
        let mut message = Message::new(order)
            .each(attributes_field, attributes(&self.attributes, order))
            .fixed(2, self.start)
            .fixed(3, self.nanos);
        message = match &self.body {
            Body::Nothing => message,
            Body::Double(value) => message.double(4, *value),
            Body::Int(value) => message.fixed(6, *value as u64),
            Body::Explicit {
                count,
                sum,
                counts,
                bounds,
            } => {
                let message = match sum {
                    Some(sum) => message.double(5, *sum),
                    None => message,
                };
                message
                    .fixed(4, *count)
                    .bytes(6, &packed(counts.iter().copied()))
                    .bytes(7, &packed(bounds.iter().map(|bound| bound.to_bits())))
            }
            Body::Exponential {
                sum,
                scale,
                zero_count,
                zero_threshold,
                positive,
                negative,
            } => {
                let side = |(offset, counts): &(i32, Vec<u64>)| {
                    let counts: Vec<u8> = counts.iter().flat_map(|count| varint(*count)).collect();
                    let side = Message::new(order).varint(1, zigzag(*offset));
                    side.bytes(2, &counts).end()
                };
                let message = match sum {
                    Some(sum) => message.double(5, *sum),
                    None => message,
                };
                message
                    .varint(6, zigzag(*scale))
                    .fixed(7, *zero_count)
                    .bytes(8, &side(positive))
                    .bytes(9, &side(negative))
                    .double(14, *zero_threshold)
            }
        };
        message.varint(flags_field, self.flags).end()
    }
}
