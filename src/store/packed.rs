//! Text in less room: what is kept to be read, perhaps, later.
//!
//! Owns the compressed form of a text and of a recording's lines, and what both take. It must not
//! know what the text says. Next: `recordings`, which keeps lines.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;

use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

use super::{Pieces, StoreError};

/// Bytes of lines that are compressed together. Numbers compress no better in larger blocks, and
/// every analysis holds up to one block uncompressed.
const BLOCK_BYTES: usize = 16 << 10;
/// Bytes of a block that are believed: one line may be as long as one request's samples.
const BLOCK_BYTES_MAX: usize = 1 << 30;
/// The fastest level: digits compress to their entropy at any.
const LEVEL: i32 = 1;
/// Bytes of the shortest repetition that is looked for. Shorter ones are chance among digits: to
/// tell of one takes as long, and as much room, as the digits. With numbers of full precision it
/// takes two thirds of the time and 1 % more room, with rounded ones 4 % more to 4 % less.
const REPEATED_BYTES_MIN: u32 = 7;

thread_local! {
    /// What compressing needs: to make it takes longer than to compress a block.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
}

fn compress(bytes: &[u8]) -> io::Result<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|kept| {
        let mut compressor = match kept.take() {
            Some(compressor) => compressor,
            None => compressor()?,
        };
        let packed = compressor.compress(bytes);
        *kept = Some(compressor);
        packed
    })
}

fn compressor() -> io::Result<Compressor<'static>> {
    let mut compressor = Compressor::new(LEVEL)?;
    compressor.set_parameter(CParameter::MinMatch(REPEATED_BYTES_MIN))?;
    Ok(compressor)
}

/// A compressed text.
#[derive(Debug, Clone)]
pub(in crate::store) struct Packed {
    bytes: Arc<[u8]>,
    /// Bytes of the text; `None` where `bytes` is the text itself.
    text_bytes: Option<usize>,
}

/// Lines, all but the newest of which are compressed.
#[derive(Debug, Default)]
pub(in crate::store) struct Lines {
    blocks: Vec<Packed>,
    open: String,
    text_bytes: u64,
    packed_bytes: u64,
}

// === impl Packed ===

impl Packed {
    /// Takes the text, as it is where compressing would not make it smaller.
    pub fn new(text: &str) -> Packed {
        match compress(text.as_bytes()) {
            Ok(bytes) if bytes.len() < text.len() => Packed {
                bytes: bytes.into(),
                text_bytes: Some(text.len()),
            },
            _ => Packed {
                bytes: text.as_bytes().into(),
                text_bytes: None,
            },
        }
    }

    /// Bytes of its text.
    pub fn text_bytes(&self) -> u64 {
        self.text_bytes.unwrap_or(self.bytes.len()) as u64
    }

    /// How many bytes [`Packed::to_bytes`] gives.
    pub fn bytes_written(&self) -> usize {
        size_of::<u64>() + self.bytes.len()
    }

    /// As bytes: how long its text is (8 bytes, all ones for one that is not compressed), and it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let text_bytes = self.text_bytes.map_or(u64::MAX, |bytes| bytes as u64);
        [&text_bytes.to_le_bytes(), &*self.bytes].concat()
    }

    /// What [`Packed::to_bytes`] made these of.
    ///
    /// # Errors
    /// When they are none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Packed, StoreError> {
        let (text_bytes, bytes) = bytes.split_first_chunk().ok_or_else(|| StoreError {
            message: "a block of lines is cut off".into(),
        })?;
        let text_bytes = u64::from_le_bytes(*text_bytes);
        let text_bytes = (text_bytes != u64::MAX).then_some(text_bytes);
        Ok(Packed {
            bytes: bytes.into(),
            text_bytes: text_bytes.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
        })
    }

    /// The text.
    ///
    /// # Errors
    /// When the bytes are not those that were packed: the memory is at fault.
    pub fn text(&self) -> Result<String, StoreError> {
        let bytes = match self.text_bytes {
            Some(text_bytes) if text_bytes > BLOCK_BYTES_MAX => {
                Err(io::Error::other("it says that it is too long"))
            }
            Some(text_bytes) => zstd::bulk::decompress(&self.bytes, text_bytes),
            None => Ok(self.bytes.to_vec()),
        };
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other));
        text.map_err(|error| StoreError {
            message: format!("a text that was kept cannot be read: {error}"),
        })
    }
}

// === impl Lines ===

impl Lines {
    /// Appends a line, given without its newline.
    pub fn push(&mut self, line: &str) {
        self.open.reserve_exact(line.len() + 1);
        self.open.push_str(line);
        self.open.push('\n');
        self.text_bytes += line.len() as u64 + 1;
        if self.open.len() >= BLOCK_BYTES {
            self.seal();
        }
    }

    /// Compresses what is not yet: nothing is expected to follow soon.
    pub fn seal(&mut self) {
        if !self.open.is_empty() {
            let block = Packed::new(&std::mem::take(&mut self.open));
            self.packed_bytes += block.bytes.len() as u64;
            self.blocks.push(block);
        }
    }

    /// What is compressed.
    pub fn blocks(&self) -> &[Packed] {
        &self.blocks
    }

    /// Forgets the first so many blocks: they are kept elsewhere.
    pub fn forget_first(&mut self, blocks: usize) {
        for block in self.blocks.drain(..blocks.min(self.blocks.len())) {
            self.packed_bytes -= block.bytes.len() as u64;
            self.text_bytes -= block.text_bytes();
        }
    }

    /// Bytes of all lines with their newlines.
    pub fn text_bytes(&self) -> u64 {
        self.text_bytes
    }

    /// Bytes they take here.
    pub fn kept_bytes(&self) -> u64 {
        self.packed_bytes + self.open.len() as u64
    }

    /// The lines as they are now, a block at a time.
    pub fn pieces(&self) -> Pieces {
        let open = (!self.open.is_empty()).then(|| Ok(self.open.clone()));
        let blocks = self.blocks.clone().into_iter();
        Box::new(blocks.map(|block| block.text()).chain(open))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &Lines) -> String {
        lines.pieces().map(|piece| piece.expect("whole")).collect()
    }

    /// Digits that repeat nothing.
    fn line(number: u64) -> String {
        let digits = (0..50).map(|i| (number * 50 + i).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let digits: Vec<String> = digits.map(|digits| digits.to_string()).collect();
        digits.join(",")
    }

    #[test]
    fn lines_come_back_byte_for_byte_and_take_half_the_room() {
        let (mut lines, mut text) = (Lines::default(), String::new());
        for number in 0..200 {
            lines.push(&line(number));
            text.push_str(&line(number));
            text.push('\n');
            if number % 50 == 0 {
                assert_eq!(read(&lines), text, "{number}");
            }
        }
        assert_eq!(read(&lines), text);
        assert_eq!(lines.text_bytes(), text.len() as u64);
        lines.seal();
        lines.seal();
        assert_eq!(read(&lines), text);
        let kept = lines.kept_bytes();
        assert!(kept * 2 < text.len() as u64, "{kept} of {}", text.len());
    }

    #[test]
    fn empty_lines_and_lines_longer_than_a_block_are_lines() {
        let long = "x".repeat(3 * BLOCK_BYTES);
        let mut lines = Lines::default();
        assert_eq!(lines.text_bytes(), 0);
        assert_eq!(read(&lines), "");
        for line in ["", &long, ""] {
            lines.push(line);
        }
        assert_eq!(read(&lines), format!("\n{long}\n\n"));
        assert_eq!(lines.text_bytes(), long.len() as u64 + 3);
    }

    #[test]
    fn what_would_not_shrink_is_kept_as_it_is() {
        for text in ["", "x", "any"] {
            let packed = Packed::new(text);
            assert_eq!(packed.bytes.len(), text.len());
            assert_eq!(packed.text().expect("whole"), text);
        }
    }
}
