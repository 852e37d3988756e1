//! Protobuf messages, walked as bytes.
//!
//! Owns the wire format ("Protocol Buffers: Encoding", protobuf.dev): tags, varints, lengths, and
//! what is wrong with them. Nothing is copied and nothing allocated: a message is a slice of the
//! body, a field its number and its value. It must not know any message; those are read by the
//! files of the formats that are made of them, such as [`super::remote_write`].

use std::fmt;

/// Bytes of the longest varint: 64 bits in groups of seven.
const VARINT_BYTES_MAX: usize = 10;
/// Greatest number of a field.
const FIELD_NUMBER_MAX: u64 = (1 << 29) - 1;

/// One field's value, as the wire type has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'b> {
    /// Wire type 0: whole numbers, booleans, enums.
    Varint(u64),
    /// Wire type 1: doubles and numbers of eight bytes.
    Fixed64(u64),
    /// Wire type 2: texts, bytes, messages and packed lists.
    Bytes(&'b [u8]),
    /// Wire type 5: floats and numbers of four bytes.
    Fixed32(u32),
}

/// What is wrong with a message's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Malformed {
    /// The bytes end inside a number.
    Truncated,
    /// A field is longer than what is left of its message.
    TooLong {
        /// Bytes it claims.
        claimed: u64,
        /// Bytes there are.
        left: usize,
    },
    /// A varint takes more than 64 bits.
    BadVarint,
    /// A field's number is 0 or too great.
    BadFieldNumber,
    /// Groups, which no format here has used since 2008.
    Group,
    /// A wire type that does not exist.
    BadWireType(u8),
    /// A known field has another wire type than its definition says.
    WrongType(u32),
    /// A number of this field does not fit the type that its definition gives it.
    OutOfRange(u32),
    /// A text of this field is not UTF-8.
    NotText(u32),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Truncated => f.write_str("it ends inside a number"),
            Malformed::TooLong { claimed, left } => {
                write!(f, "a field of {claimed} bytes where {left} are left")
            }
            Malformed::BadVarint => f.write_str("a varint of more than 64 bits"),
            Malformed::BadFieldNumber => f.write_str("a field number that cannot be"),
            Malformed::Group => f.write_str("a group, which is not part of the format"),
            Malformed::BadWireType(wire_type) => write!(f, "the unknown wire type {wire_type}"),
            Malformed::WrongType(field) => write!(f, "field {field} has the wrong wire type"),
            Malformed::OutOfRange(field) => write!(f, "a number of field {field} is out of range"),
            Malformed::NotText(field) => write!(f, "field {field} is not UTF-8"),
        }
    }
}

/// The fields of a message, in the order they stand: `(number, value)`. After an error it ends.
#[derive(Debug, Clone)]
pub(super) struct Fields<'b> {
    left: &'b [u8],
}

// === impl Value ===

impl<'b> Value<'b> {
    /// The bytes of a text, a message or a packed list. `field` is for the error.
    #[inline]
    pub fn bytes(self, field: u32) -> Result<&'b [u8], Malformed> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(Malformed::WrongType(field)),
        }
    }

    /// A text.
    #[inline]
    pub fn text(self, field: u32) -> Result<&'b str, Malformed> {
        std::str::from_utf8(self.bytes(field)?).map_err(|_| Malformed::NotText(field))
    }

    /// A whole number, a boolean or an enum; an `int64` is the same bits.
    pub fn varint(self, field: u32) -> Result<u64, Malformed> {
        match self {
            Value::Varint(number) => Ok(number),
            _ => Err(Malformed::WrongType(field)),
        }
    }

    /// A `double`.
    pub fn double(self, field: u32) -> Result<f64, Malformed> {
        match self {
            Value::Fixed64(bits) => Ok(f64::from_bits(bits)),
            _ => Err(Malformed::WrongType(field)),
        }
    }

    /// A `uint32`.
    pub fn u32(self, field: u32) -> Result<u32, Malformed> {
        u32::try_from(self.varint(field)?).map_err(|_| Malformed::OutOfRange(field))
    }

    /// A `sint32`.
    pub fn sint32(self, field: u32) -> Result<i32, Malformed> {
        i32::try_from(zigzag(self.varint(field)?)).map_err(|_| Malformed::OutOfRange(field))
    }
}

// === impl Fields ===

impl<'b> Fields<'b> {
    /// The fields of this message.
    pub fn new(message: &'b [u8]) -> Fields<'b> {
        Fields { left: message }
    }

    /// Bytes after the last field that was read.
    pub fn left(&self) -> usize {
        self.left.len()
    }

    #[inline]
    fn read(&mut self) -> Result<(u32, Value<'b>), Malformed> {
        let tag = varint(&mut self.left)?;
        let (number, wire_type) = (tag >> 3, (tag & 7) as u8);
        if !(1..=FIELD_NUMBER_MAX).contains(&number) {
            return Err(Malformed::BadFieldNumber);
        }
        let value = match wire_type {
            0 => Value::Varint(varint(&mut self.left)?),
            1 => Value::Fixed64(fixed64(&mut self.left)?),
            2 => Value::Bytes(counted(&mut self.left)?),
            3 | 4 => return Err(Malformed::Group),
            5 => Value::Fixed32(fixed32(&mut self.left)?),
            unknown => return Err(Malformed::BadWireType(unknown)),
        };
        Ok((number as u32, value))
    }
}

impl<'b> Iterator for Fields<'b> {
    type Item = Result<(u32, Value<'b>), Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.left = &[];
        }
        Some(field)
    }
}

/// How one number of a repeated field is taken from the bytes of a packed list, and from a field
/// that holds it alone.
trait Element: Sized {
    fn packed(left: &mut &[u8]) -> Result<Self, Malformed>;
    fn alone(value: Value<'_>, field: u32) -> Result<Self, Malformed>;
}

/// A repeated field of numbers, packed or not, in one piece or in several, as readers must take
/// them. After an error it ends.
#[derive(Debug, Clone)]
struct Repeated<'b, T> {
    fields: Fields<'b>,
    packed: &'b [u8],
    field: u32,
    of: std::marker::PhantomData<T>,
}

/// The messages that a repeated field of a message holds.
pub(super) fn messages(
    message: &[u8],
    field: u32,
) -> impl Iterator<Item = Result<&[u8], Malformed>> {
    Fields::new(message).filter_map(move |found| match found {
        Ok((number, value)) if number == field => Some(value.bytes(field)),
        Ok(_) => None,
        Err(malformed) => Some(Err(malformed)),
    })
}

/// The numbers of a repeated `uint32`, `uint64`, `int64` or enum field of a message.
pub(super) fn varints(
    message: &[u8],
    field: u32,
) -> impl Iterator<Item = Result<u64, Malformed>> + '_ {
    Repeated::<u64>::new(message, field)
}

/// The numbers of a repeated `sint32` or `sint64` field of a message.
pub(super) fn sints(
    message: &[u8],
    field: u32,
) -> impl Iterator<Item = Result<i64, Malformed>> + '_ {
    varints(message, field).map(|number| number.map(zigzag))
}

/// The numbers of a repeated `double` field of a message.
pub(super) fn doubles(
    message: &[u8],
    field: u32,
) -> impl Iterator<Item = Result<f64, Malformed>> + '_ {
    Repeated::<f64>::new(message, field)
}

impl Element for u64 {
    fn packed(left: &mut &[u8]) -> Result<u64, Malformed> {
        varint(left)
    }

    fn alone(value: Value<'_>, field: u32) -> Result<u64, Malformed> {
        value.varint(field)
    }
}

impl Element for f64 {
    fn packed(left: &mut &[u8]) -> Result<f64, Malformed> {
        fixed64(left).map(f64::from_bits)
    }

    fn alone(value: Value<'_>, field: u32) -> Result<f64, Malformed> {
        value.double(field)
    }
}

// === impl Repeated ===

impl<'b, T: Element> Repeated<'b, T> {
    fn new(message: &'b [u8], field: u32) -> Repeated<'b, T> {
        Repeated {
            fields: Fields::new(message),
            packed: &[],
            field,
            of: std::marker::PhantomData,
        }
    }

    /// Ends here, whatever was left.
    fn end(&mut self) {
        (self.fields, self.packed) = (Fields::new(&[]), &[]);
    }
}

impl<T: Element> Iterator for Repeated<'_, T> {
    type Item = Result<T, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Result<T, Malformed>> {
        while self.packed.is_empty() {
            let found = match self.fields.next()? {
                Ok((number, _)) if number != self.field => continue,
                Ok((_, Value::Bytes(list))) => {
                    self.packed = list;
                    continue;
                }
                Ok((_, value)) => T::alone(value, self.field),
                Err(malformed) => Err(malformed),
            };
            if found.is_err() {
                self.end();
            }
            return Some(found);
        }
        let found = T::packed(&mut self.packed);
        if found.is_err() {
            self.end();
        }
        Some(found)
    }
}

/// A signed number out of one whose lowest bit is the sign.
pub(super) fn zigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[inline]
fn varint(left: &mut &[u8]) -> Result<u64, Malformed> {
    // Most are of one byte: tags, lengths of labels, small deltas.
    if let [byte, rest @ ..] = *left
        && *byte < 0x80
    {
        *left = rest;
        return Ok(u64::from(*byte));
    }
    long_varint(left)
}

fn long_varint(left: &mut &[u8]) -> Result<u64, Malformed> {
    let mut number = 0;
    for (at, byte) in left.iter().take(VARINT_BYTES_MAX).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if at == VARINT_BYTES_MAX - 1 && bits > 1 {
            return Err(Malformed::BadVarint);
        }
        number |= bits << (7 * at);
        if byte & 0x80 == 0 {
            *left = &left[at + 1..];
            return Ok(number);
        }
    }
    match left.len() {
        0..VARINT_BYTES_MAX => Err(Malformed::Truncated),
        _ => Err(Malformed::BadVarint),
    }
}

#[inline]
fn counted<'b>(left: &mut &'b [u8]) -> Result<&'b [u8], Malformed> {
    let claimed = varint(left)?;
    let whole = usize::try_from(claimed).ok();
    let Some((bytes, rest)) = whole.and_then(|count| left.split_at_checked(count)) else {
        let left = left.len();
        return Err(Malformed::TooLong { claimed, left });
    };
    *left = rest;
    Ok(bytes)
}

#[inline]
fn fixed64(left: &mut &[u8]) -> Result<u64, Malformed> {
    let (bytes, rest) = left.split_first_chunk().ok_or(Malformed::Truncated)?;
    *left = rest;
    Ok(u64::from_le_bytes(*bytes))
}

fn fixed32(left: &mut &[u8]) -> Result<u32, Malformed> {
    let (bytes, rest) = left.split_first_chunk().ok_or(Malformed::Truncated)?;
    *left = rest;
    Ok(u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(message: &[u8]) -> Result<Vec<(u32, Value<'_>)>, Malformed> {
        Fields::new(message).collect()
    }

    #[test]
    fn the_examples_of_the_definition_are_read() {
        // 150 as field 1, "testing" as field 2: the page's own frames.
        assert_eq!(
            fields(&[0x08, 0x96, 0x01]),
            Ok(vec![(1, Value::Varint(150))])
        );
        let text = b"\x12\x07testing";
        assert_eq!(fields(text), Ok(vec![(2, Value::Bytes(b"testing"))]));
        assert_eq!(Value::Bytes(b"testing").text(2), Ok("testing"));
        let packed = [0x32, 0x06, 0x03, 0x8e, 0x02, 0x9e, 0xa7, 0x05];
        let numbers: Result<Vec<u64>, _> = varints(&packed, 6).collect();
        assert_eq!(numbers, Ok(vec![3, 270, 86_942]));
        for (bits, number) in [(0, 0), (1, -1), (2, 1), (3, -2), (0xffff_fffe, 0x7fff_ffff)] {
            assert_eq!(zigzag(bits), number);
        }
        assert_eq!(
            (zigzag(u64::MAX), zigzag(u64::MAX - 1)),
            (i64::MIN, i64::MAX)
        );
    }

    #[test]
    fn numbers_of_fixed_width_and_all_varints_are_read() {
        let message = [
            &[0x09][..],
            &1.5_f64.to_le_bytes(),
            &[0x15, 1, 0, 0, 0, 0x18],
            &[0xff; 9],
            &[0x01],
        ];
        let message = message.concat();
        let bits = 1.5_f64.to_bits();
        let read = [
            (1, Value::Fixed64(bits)),
            (2, Value::Fixed32(1)),
            (3, Value::Varint(u64::MAX)),
        ];
        assert_eq!(fields(&message), Ok(read.to_vec()));
        assert_eq!(Value::Fixed64(bits).double(1), Ok(1.5));
        // A varint may be longer than it need be.
        assert_eq!(
            fields(&[0x08, 0x80, 0x80, 0x00]),
            Ok(vec![(1, Value::Varint(0))])
        );
    }

    #[test]
    fn repeated_numbers_come_packed_alone_and_mixed() {
        let message = [
            &[0x22, 2, 1, 2][..],
            &[0x20, 3],
            &[0x28, 9],
            &[0x22, 0],
            &[0x22, 1, 4],
        ];
        let message = message.concat();
        let numbers: Result<Vec<u64>, _> = varints(&message, 4).collect();
        assert_eq!(numbers, Ok(vec![1, 2, 3, 4]));
        let signed: Result<Vec<i64>, _> = sints(&message, 4).collect();
        assert_eq!(signed, Ok(vec![-1, 1, -2, 2]));
        let mut packed = vec![0x22, 16];
        packed.extend(0.5_f64.to_le_bytes());
        packed.extend(f64::INFINITY.to_le_bytes());
        let numbers: Result<Vec<f64>, _> = doubles(&packed, 4).collect();
        assert_eq!(numbers, Ok(vec![0.5, f64::INFINITY]));
        packed[1] = 15;
        let numbers: Vec<_> = doubles(&packed[..17], 4).collect();
        assert_eq!(numbers, [Ok(0.5), Err(Malformed::Truncated)]);
    }

    #[test]
    fn what_is_no_message_is_told_apart() {
        for (message, malformed) in [
            (&[0x08][..], Malformed::Truncated),
            (&[0x88], Malformed::Truncated),
            (&[0x09, 0, 0], Malformed::Truncated),
            (&[0x0d, 0, 0, 0], Malformed::Truncated),
            (
                &[0x12, 3, 0, 0],
                Malformed::TooLong {
                    claimed: 3,
                    left: 2,
                },
            ),
            (&[0x00, 0], Malformed::BadFieldNumber),
            (
                &[0x80, 0x80, 0x80, 0x80, 0x10, 0],
                Malformed::BadFieldNumber,
            ),
            (&[0x0b, 0x0c], Malformed::Group),
            (&[0x0e], Malformed::BadWireType(6)),
            (&[0x0f], Malformed::BadWireType(7)),
        ] {
            let found: Vec<_> = Fields::new(message).collect();
            assert_eq!(found, [Err(malformed)], "{message:?}");
            assert!(!malformed.to_string().is_empty());
        }
        let too_great = [&[0x08][..], &[0xff; 9], &[0x02]].concat();
        assert_eq!(fields(&too_great), Err(Malformed::BadVarint));
        let too_long = [&[0x08][..], &[0x80; 10], &[0x00]].concat();
        assert_eq!(fields(&too_long), Err(Malformed::BadVarint));
        let claimed = u64::MAX;
        let huge = [&[0x12][..], &[0xff; 9], &[0x01]].concat();
        assert_eq!(fields(&huge), Err(Malformed::TooLong { claimed, left: 0 }));
    }

    #[test]
    fn known_fields_keep_to_their_types() {
        assert_eq!(Value::Varint(1).bytes(3), Err(Malformed::WrongType(3)));
        assert_eq!(Value::Varint(1).double(3), Err(Malformed::WrongType(3)));
        assert_eq!(Value::Fixed32(1).varint(3), Err(Malformed::WrongType(3)));
        assert_eq!(Value::Bytes(b"\xff").text(3), Err(Malformed::NotText(3)));
        let (most, past) = (u64::from(u32::MAX), u64::from(u32::MAX) + 1);
        assert_eq!(Value::Varint(most).u32(3), Ok(u32::MAX));
        assert_eq!(Value::Varint(past).u32(3), Err(Malformed::OutOfRange(3)));
        assert_eq!(Value::Varint(most).sint32(3), Ok(i32::MIN));
        assert_eq!(Value::Varint(past).sint32(3), Err(Malformed::OutOfRange(3)));
    }
}
