//! Numbers and texts as bytes, and back.
//!
//! Owns the smallest parts: whole numbers take seven bits a byte, those with a sign alternate
//! (0, -1, 1, -2, ..), other numbers take their eight bytes. A length is believed only as far as
//! there are bytes for it.

use super::UnreadableFrame;

/// Bits of a byte that hold a number's digits.
const DIGITS: u32 = 7;
/// The bit that says that another byte follows.
const MORE: u8 = 1 << DIGITS;
/// Whole numbers up to here are floats without loss.
const WHOLE_MAX: f64 = (1_u64 << f64::MANTISSA_DIGITS) as f64;

/// Whether a float is written shorter as a whole number, and comes back to the bit.
pub(super) fn is_whole(value: f64) -> bool {
    value.abs() < WHOLE_MAX && (value as i64 as f64).to_bits() == value.to_bits()
}

/// Bytes being written.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
}

// === impl Writer ===

impl Writer {
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    #[inline]
    pub fn number(&mut self, mut number: u64) {
        while number >= u64::from(MORE) {
            self.bytes.push(number as u8 | MORE);
            number >>= DIGITS;
        }
        self.bytes.push(number as u8);
    }

    #[inline]
    pub fn signed(&mut self, number: i64) {
        self.number((number << 1 ^ number >> (i64::BITS - 1)) as u64);
    }

    #[inline]
    pub fn float(&mut self, value: f64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub fn floats(&mut self, values: &[f64]) {
        self.number(values.len() as u64);
        self.bytes.reserve(size_of_val(values));
        for value in values {
            self.float(*value);
        }
    }

    pub fn numbers(&mut self, numbers: &[u64]) {
        self.number(numbers.len() as u64);
        for number in numbers {
            self.number(*number);
        }
    }

    pub fn slice(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    pub fn text(&mut self, text: &str) {
        self.slice(text.as_bytes());
    }
}

/// Bytes being read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'b> {
    rest: &'b [u8],
}

type Read<T> = Result<T, UnreadableFrame>;

// === impl Reader ===

impl<'b> Reader<'b> {
    pub fn new(bytes: &'b [u8]) -> Reader<'b> {
        Reader { rest: bytes }
    }

    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn byte(&mut self) -> Read<u8> {
        let (&byte, rest) = self
            .rest
            .split_first()
            .ok_or(UnreadableFrame("is cut off"))?;
        self.rest = rest;
        Ok(byte)
    }

    pub fn number(&mut self) -> Read<u64> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(DIGITS as usize) {
            let byte = self.byte()?;
            let digits = u64::from(byte & !MORE);
            if digits << shift >> shift != digits {
                break;
            }
            number |= digits << shift;
            if byte & MORE == 0 {
                return Ok(number);
            }
        }
        Err(UnreadableFrame("has a number that is too large"))
    }

    pub fn signed(&mut self) -> Read<i64> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    pub fn float(&mut self) -> Read<f64> {
        let (bytes, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(UnreadableFrame("is cut off"))?;
        self.rest = rest;
        let value = f64::from_le_bytes(*bytes);
        if value.is_nan() {
            return Err(UnreadableFrame("has something that is no number"));
        }
        Ok(value)
    }

    /// How many follow, of which each takes so many bytes at the least.
    pub fn count(&mut self, bytes_each: usize) -> Read<usize> {
        let count = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        if count.saturating_mul(bytes_each) > self.rest.len() {
            return Err(UnreadableFrame("is shorter than it says"));
        }
        Ok(count)
    }

    pub fn floats(&mut self) -> Read<Vec<f64>> {
        (0..self.count(8)?).map(|_| self.float()).collect()
    }

    pub fn numbers(&mut self) -> Read<Vec<u64>> {
        (0..self.count(1)?).map(|_| self.number()).collect()
    }

    pub fn slice(&mut self) -> Read<&'b [u8]> {
        let length = self.count(1)?;
        let (slice, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(slice)
    }

    pub fn text(&mut self) -> Read<&'b str> {
        std::str::from_utf8(self.slice()?).map_err(|_| UnreadableFrame("has a text that is none"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_those_that_are_none_are_refused() {
        let whole = [0, 1, 127, 128, u64::from(u32::MAX), u64::MAX];
        let signed = [0, -1, 1, 63, -64, i64::MIN, i64::MAX];
        let mut writer = Writer::default();
        whole.into_iter().for_each(|number| writer.number(number));
        signed.into_iter().for_each(|number| writer.signed(number));
        let mut reader = Reader::new(writer.as_bytes());
        for number in whole {
            assert_eq!(reader.number().ok(), Some(number));
        }
        for number in signed {
            assert_eq!(reader.signed().ok(), Some(number));
        }
        assert!(reader.is_at_end() && reader.number().is_err());
        for bad in [&[0xff; 10][..], &[0x80; 11], &[0x80]] {
            assert!(Reader::new(bad).number().is_err());
        }
        // A length that lies takes no memory.
        let mut long = Writer::default();
        long.number(u64::MAX);
        assert!(Reader::new(long.as_bytes()).floats().is_err());
        assert!(Reader::new(long.as_bytes()).slice().is_err());
    }

    #[test]
    fn floats_are_whole_only_where_they_come_back_to_the_bit() {
        for whole in [0.0, 1.0, -17.0, WHOLE_MAX - 1.0] {
            assert!(is_whole(whole), "{whole}");
        }
        for other in [-0.0, 0.5, WHOLE_MAX, f64::INFINITY, 1e300] {
            assert!(!is_whole(other), "{other}");
        }
    }
}
