//! Writes histograms as the reference does, for tests; and numbers that are the same at every run.

use std::io::Write;

use base64::Engine;

use crate::codec::hdr::HdrCell;
use crate::codec::hdr::layout::Layout;

pub const V0: u32 = 0x1c84_9308;
pub const V1: u32 = 0x1c84_9301;
pub const V2: u32 = 0x1c84_9303;

/// A histogram to be written.
#[derive(Debug, Clone)]
pub struct Written {
    pub digits: u32,
    pub lowest: u64,
    pub highest: u64,
    /// Cells that are not empty, ascending, with their counts.
    pub counts: Vec<(usize, i64)>,
}

impl Written {
    pub fn generated(numbers: &mut Numbers) -> Written {
        let digits = 1 + numbers.below(3) as u32;
        let lowest = 1 + numbers.below(1_000) as u64;
        let highest = (lowest * 2) << numbers.below(30);
        let layout = Layout::new(digits, lowest, highest).expect("allowed");
        let mut counts = Vec::new();
        let mut cell = numbers.below(20);
        while cell < layout.cells && counts.len() < 500 {
            counts.push((
                cell,
                1 + (numbers.next() >> (20 + numbers.below(28))) as i64,
            ));
            cell += 1 + numbers.below(40);
        }
        Written {
            digits,
            lowest,
            highest,
            counts,
        }
    }

    pub fn cells(&self) -> Vec<HdrCell> {
        let layout = Layout::new(self.digits, self.lowest, self.highest).expect("allowed");
        let cells = self.counts.iter().map(|&(cell, count)| {
            let (lowest, highest) = layout.values(cell);
            HdrCell {
                lowest,
                highest,
                count: count as u64,
            }
        });
        cells.collect()
    }

    /// The histogram, not compressed; `word` is the length of a count, without meaning in V2.
    pub fn encode(&self, version: u32, word: u32) -> Vec<u8> {
        let mut words = Vec::new();
        let mut next = 0;
        for &(cell, count) in &self.counts {
            if version == V2 {
                if cell > next {
                    put_varint(&mut words, next as i64 - cell as i64);
                }
                put_varint(&mut words, count);
            } else {
                for count in std::iter::repeat_n(0, cell - next).chain([count]) {
                    words.extend_from_slice(&count.to_be_bytes()[8 - word as usize..]);
                }
            }
            next = cell + 1;
        }
        self.header(version, word, &words)
    }

    /// The header, with these bytes for counts.
    pub fn header(&self, version: u32, word: u32, words: &[u8]) -> Vec<u8> {
        let mut bytes = (version | word << 4).to_be_bytes().to_vec();
        if version == V0 {
            bytes.extend_from_slice(&self.digits.to_be_bytes());
        } else {
            bytes.extend_from_slice(&(words.len() as u32).to_be_bytes());
            bytes.extend_from_slice(&[0; 4]);
            bytes.extend_from_slice(&self.digits.to_be_bytes());
        }
        bytes.extend_from_slice(&self.lowest.to_be_bytes());
        bytes.extend_from_slice(&self.highest.to_be_bytes());
        let last = if version == V0 { 7 } else { 1.0_f64.to_bits() };
        bytes.extend_from_slice(&last.to_be_bytes());
        bytes.extend_from_slice(words);
        bytes
    }
}

/// ZigZag LEB128-64b9B: seven bits a byte, lowest first, the ninth byte whole.
fn put_varint(bytes: &mut Vec<u8>, value: i64) {
    let mut rest = (value << 1 ^ value >> 63) as u64;
    for _ in 0..8 {
        if rest < 0x80 {
            bytes.push(rest as u8);
            return;
        }
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}

pub fn deflated(version: u32, word: u32, histogram: &[u8]) -> Vec<u8> {
    let level = flate2::Compression::fast();
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
    encoder.write_all(histogram).expect("memory");
    let content = encoder.finish().expect("memory");
    // The cookie of the compressed form is the one above.
    let mut bytes = ((version + 1) | word << 4).to_be_bytes().to_vec();
    bytes.extend_from_slice(&(content.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&content);
    bytes
}

pub fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

pub fn log_line(start: &str, written: &Written) -> String {
    let histogram = base64(&deflated(V2, 1, &written.encode(V2, 1)));
    format!("{start},1.000,2.5,{histogram}\n")
}

/// A generator of numbers, the same at every run.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        // xorshift64*, Vigna 2016.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// The bytes with one to three changes.
    pub fn changed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(3) {
            let (at, byte) = (self.below(bytes.len()), self.next() as u8);
            match self.below(4) {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => drop(bytes.remove(at)),
                _ if at > 4 && self.below(4) == 0 => bytes.truncate(at),
                _ => bytes[at] ^= 1 << (byte % 8),
            }
        }
        bytes
    }
}
