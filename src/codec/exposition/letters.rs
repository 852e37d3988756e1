//! The letters of both text formats, and searches for them.
//!
//! Owns which bytes make names and blanks. It must not know what stands where in a line: that is
//! the business of `line`.

/// May begin a name of a metric or a label.
pub(super) const NAME_START: u8 = 1;
/// May go on in a name of a label.
pub(super) const NAME: u8 = 2;
/// May stand in the name of a metric only.
pub(super) const COLON: u8 = 4;
/// Separates.
pub(super) const BLANK: u8 = 8;

const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => NAME_START | NAME,
            b'0'..=b'9' => NAME,
            b':' => COLON,
            b' ' | b'\t' | b'\r' => BLANK,
            _ => 0,
        };
        byte += 1;
    }
    classes
};

#[inline]
pub(super) fn is(bytes: &[u8], at: usize, class: u8) -> bool {
    bytes
        .get(at)
        .is_some_and(|byte| CLASSES[usize::from(*byte)] & class != 0)
}

/// First place from `at` on where the byte is of none of the classes.
#[inline]
pub(super) fn skip(bytes: &[u8], at: usize, class: u8) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    let other = |byte: &u8| CLASSES[usize::from(*byte)] & class == 0;
    rest.iter().position(other).map_or(bytes.len(), |n| at + n)
}

/// As `skip`, for blanks, which are mostly not there.
#[inline]
pub(super) fn skip_blanks(bytes: &[u8], at: usize) -> usize {
    if is(bytes, at, BLANK) {
        return skip(bytes, at + 1, BLANK);
    }
    at
}

/// First place from `at` on where the byte is of one of the classes.
#[inline]
pub(super) fn find(bytes: &[u8], at: usize, class: u8) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    let wanted = |byte: &u8| CLASSES[usize::from(*byte)] & class != 0;
    rest.iter().position(wanted).map_or(bytes.len(), |n| at + n)
}

/// Bytes that two lines begin with alike.
#[inline]
pub(super) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let (eights, _) = a.as_chunks::<8>();
    let (others, _) = b.as_chunks::<8>();
    let same = eights
        .iter()
        .zip(others)
        .take_while(|(a, b)| a == b)
        .count()
        * 8;
    let rest = a[same..].iter().zip(&b[same..]);
    same + rest.take_while(|(a, b)| a == b).count()
}

/// The first eight bytes as a number of the same order; shorter texts come first.
#[inline]
pub(super) fn head(bytes: &[u8]) -> u64 {
    if let Some(eight) = bytes.first_chunk::<8>() {
        return u64::from_be_bytes(*eight);
    }
    let shifted = bytes
        .iter()
        .fold(0, |head, byte| head << 8 | u64::from(*byte));
    shifted << (8 * (8 - bytes.len())).min(63)
}
