//! Frames for tests: a writer of protobuf, and of the two messages, from the published definitions.

use std::collections::BTreeMap;

/// A message being written.
#[derive(Debug, Clone, Default)]
pub struct Frame(pub Vec<u8>);

pub fn varint(mut number: u64, to: &mut Vec<u8>) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

pub fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

impl Frame {
    pub fn new() -> Frame {
        Frame::default()
    }

    pub fn varint(mut self, field: u64, number: u64) -> Frame {
        varint(field << 3, &mut self.0);
        varint(number, &mut self.0);
        self
    }

    pub fn sint(self, field: u64, number: i64) -> Frame {
        self.varint(field, zigzag(number))
    }

    pub fn double(mut self, field: u64, number: f64) -> Frame {
        varint(field << 3 | 1, &mut self.0);
        self.0.extend(number.to_bits().to_le_bytes());
        self
    }

    pub fn bytes(mut self, field: u64, bytes: impl AsRef<[u8]>) -> Frame {
        varint(field << 3 | 2, &mut self.0);
        varint(bytes.as_ref().len() as u64, &mut self.0);
        self.0.extend(bytes.as_ref());
        self
    }

    pub fn message(self, field: u64, message: Frame) -> Frame {
        self.bytes(field, message.0)
    }

    pub fn packed(self, field: u64, numbers: impl IntoIterator<Item = u64>) -> Frame {
        let mut list = Vec::new();
        numbers.into_iter().for_each(|n| varint(n, &mut list));
        self.bytes(field, list)
    }

    pub fn packed_sints(self, field: u64, numbers: impl IntoIterator<Item = i64>) -> Frame {
        self.packed(field, numbers.into_iter().map(zigzag))
    }

    pub fn packed_doubles(self, field: u64, numbers: impl IntoIterator<Item = f64>) -> Frame {
        let bytes: Vec<u8> = numbers.into_iter().flat_map(f64::to_le_bytes).collect();
        self.bytes(field, bytes)
    }

    /// A span of native buckets.
    pub fn span(self, field: u64, offset: i64, length: u64) -> Frame {
        self.message(field, Frame::new().sint(1, offset).varint(2, length))
    }
}

/// A 1.0 series of these labels, with what follows them.
pub fn series_v1(labels: &[(&str, &str)], rest: Frame) -> Frame {
    let mut series = Frame::new();
    for (name, value) in labels {
        let label = Frame::new().bytes(1, name).bytes(2, value);
        series = series.message(1, label);
    }
    series.0.extend(rest.0);
    series
}

/// A sample; 0 for no start.
pub fn sample(ts: i64, value: f64, start: i64) -> Frame {
    let sample = Frame::new().double(1, value).varint(2, ts as u64);
    match start {
        0 => sample,
        start => sample.varint(3, start as u64),
    }
}

/// A 2.0 request being written.
#[derive(Debug, Default)]
pub struct V2 {
    symbols: Vec<String>,
    known: BTreeMap<String, u64>,
    series: Frame,
}

impl V2 {
    pub fn new() -> V2 {
        let mut request = V2::default();
        request.symbol("");
        request
    }

    pub fn symbol(&mut self, text: &str) -> u64 {
        if let Some(number) = self.known.get(text) {
            return *number;
        }
        let number = self.symbols.len() as u64;
        self.symbols.push(text.to_owned());
        self.known.insert(text.to_owned(), number);
        number
    }

    /// A series of these labels, with what follows them.
    pub fn series(&mut self, labels: &[(&str, &str)], rest: Frame) {
        let mut refs = Vec::new();
        for (name, value) in labels {
            refs.extend([self.symbol(name), self.symbol(value)]);
        }
        let mut series = Frame::new().packed(1, refs);
        series.0.extend(rest.0);
        let request = std::mem::take(&mut self.series);
        self.series = request.message(5, series);
    }

    pub fn finish(self) -> Vec<u8> {
        let mut request = Frame::new();
        for symbol in &self.symbols {
            request = request.bytes(4, symbol);
        }
        request.0.extend(self.series.0);
        request.0
    }
}
