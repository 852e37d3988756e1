//! What the forms with one item a line share: cutting lines, and numbers and times in decimals.
//!
//! Owns nothing that a single form defines. A number here is text between blanks, read to the
//! nearest double; whether it may be NaN or negative is the business of the form. Next:
//! [`exposition`](super::exposition) and [`hdr`](super::hdr).

use super::{Unreadable, UnreadableCode};

/// Bytes looked at to tell text from something else.
const SNIFFED_BYTES: usize = 1_024;
/// The largest whole number up to which a double holds every one: 2^53.
const WHOLE_MAX: u64 = 1 << 53;
/// Digits that fit 64 bits whatever they are.
const DIGITS_MAX: usize = 19;
/// Powers of ten that a double holds exactly, as far as [`DIGITS_MAX`] needs them.
const POWERS_OF_TEN: [f64; 20] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19,
];

/// Whether the body is certainly no text of lines; `form` says what was expected.
///
/// # Errors
/// [`Unreadable`] that names what the body looks like.
pub(super) fn expect_text(body: &[u8], form: &str) -> Result<(), Unreadable> {
    let start = body.trim_ascii_start();
    let unreadable = |code, message: String, help: &str| {
        Err(Unreadable {
            code,
            message,
            help: help.into(),
        })
    };
    let (looks, help) = match start {
        [] => {
            let help = "send at least one line";
            return unreadable(UnreadableCode::EmptyBody, "the body is empty".into(), help);
        }
        [b'<', ..] => (
            "an HTML or XML page",
            "check the address that was asked: a login or an error page may have answered",
        ),
        [0x1f, 0x8b, ..] => ("gzip", "say so with `Content-Encoding: gzip`"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => ("zstd", "say so with `Content-Encoding: zstd`"),
        [b'[', ..] => ("a JSON array", "send samples in JSON as application/json"),
        _ if memchr::memchr(0, &body[..body.len().min(SNIFFED_BYTES)]).is_some() => {
            ("binary data", "check the content type and the encoding")
        }
        _ => return Ok(()),
    };
    let message = format!("the body looks like {looks}, not like {form}");
    unreadable(UnreadableCode::MalformedText, message, help)
}

/// The lines of a body, without what ends them.
pub(super) struct Lines<'b> {
    body: &'b [u8],
    /// The body as text, where all of it is: then no line is checked by itself.
    text: Option<&'b str>,
    at: usize,
    number: usize,
}

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'b> {
    /// From 1.
    pub number: usize,
    /// The text, or the bytes before what is not UTF-8.
    pub text: Result<&'b str, usize>,
    /// Whether a line feed ended it, instead of the end of the body.
    pub is_ended: bool,
}

// === impl Lines ===

impl<'b> Lines<'b> {
    /// Lines of `body`; a byte order mark is not part of them.
    pub fn new(body: &'b [u8]) -> Lines<'b> {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        Lines {
            body,
            text: std::str::from_utf8(body).ok(),
            at: 0,
            number: 0,
        }
    }
}

impl<'b> Iterator for Lines<'b> {
    type Item = Line<'b>;

    fn next(&mut self) -> Option<Line<'b>> {
        let rest = self.body.get(self.at..).filter(|rest| !rest.is_empty())?;
        let feed = memchr::memchr(b'\n', rest);
        let from = self.at;
        let end = from + feed.unwrap_or(rest.len());
        self.at = end + 1;
        self.number += 1;
        // Line feeds stand between characters, so a part between two of them is text if all is.
        let text = match self.text {
            Some(text) => Ok(&text[from..end]),
            None => std::str::from_utf8(&self.body[from..end]).map_err(|bad| bad.valid_up_to()),
        };
        Some(Line {
            number: self.number,
            text,
            is_ended: feed.is_some(),
        })
    }
}

/// Length of the text before the first quote or backslash. Texts are short: a search that sets up
/// wide registers costs more than it saves.
#[inline]
pub(in crate::codec) fn first_quote(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & (ONES << 7);
    let (eights, rest) = bytes.as_chunks::<8>();
    for (nth, eight) in eights.iter().enumerate() {
        let word = u64::from_le_bytes(*eight);
        let quote = zeros(word ^ (ONES * b'"' as u64));
        let found = quote | zeros(word ^ (ONES * b'\\' as u64));
        if found != 0 {
            return nth * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let wanted = |byte: &u8| matches!(byte, b'"' | b'\\');
    let nth = rest.iter().position(wanted);
    bytes.len() - rest.len() + nth.unwrap_or(rest.len())
}

/// A decimal number, NaN or an infinity, in any case of letters, rounded to the nearest double.
/// `None` for anything else, hexadecimal and what overflows among it.
pub(super) fn number(text: &str) -> Option<f64> {
    if let Some((is_negative, digits, places)) = plain_decimal(text.as_bytes())
        && digits <= WHOLE_MAX
    {
        // Both are exact, so one division rounds once: what the full algorithm would give.
        let value = digits as f64 / POWERS_OF_TEN[places];
        return Some(if is_negative { -value } else { value });
    }
    let value: f64 = text.parse().ok()?;
    let is_said = || text.bytes().any(|byte| byte.eq_ignore_ascii_case(&b'i'));
    (!value.is_infinite() || is_said()).then_some(value)
}

/// Sign, digits as a whole number, and how many of them stand behind the point.
fn plain_decimal(bytes: &[u8]) -> Option<(bool, u64, usize)> {
    let (is_negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.len() > DIGITS_MAX {
        return None;
    }
    let (mut whole, mut places, mut has_point) = (0_u64, 0, false);
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit < 10 {
            // So many digits fit: to check each of them would cost half as much again.
            whole = whole.wrapping_mul(10).wrapping_add(u64::from(digit));
            places += usize::from(has_point);
        } else if byte == b'.' && !has_point {
            has_point = true;
        } else {
            return None;
        }
    }
    let is_any = digits.len() > usize::from(has_point);
    is_any.then_some((is_negative, whole, places))
}

/// Seconds as milliseconds, to the nearest.
pub(super) fn millis_of_seconds(text: &str) -> Option<i64> {
    if let Some((false, digits, places @ 0..=3)) = plain_decimal(text.as_bytes()) {
        let scale = [1_000, 100, 10, 1][places];
        return i64::try_from(digits).ok()?.checked_mul(scale);
    }
    millis(number(text)?)
}

/// Seconds as milliseconds, to the nearest.
pub(super) fn millis(seconds: f64) -> Option<i64> {
    let millis = (seconds * 1_000.0).round();
    // Doubles hold the whole numbers up to there; it is far past any time.
    (millis.abs() <= WHOLE_MAX as f64).then_some(millis as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_the_standard_library_reads_them() {
        let mut state = 7_u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        let mut texts: Vec<String> = [
            "0",
            "-0",
            "+0",
            "1",
            ".5",
            "5.",
            "-.5",
            "1e3",
            "1E-3",
            "9007199254740992",
            "9007199254740993",
            "9223372036854775807",
            "18446744073709551615",
            "0.1",
            "123.456",
            "1.7976931348623157e308",
            "4.9e-324",
            "0.30000000000000004",
            "00012.500",
        ]
        .map(str::to_owned)
        .to_vec();
        for _ in 0..5_000 {
            let (whole, part) = (next() % 10_u64.pow((next() % 10) as u32), next());
            texts.push(format!("{whole}.{part}"));
            texts.push(format!("-{whole}.{part:09}"));
            texts.push(format!("{part}e{}", next() % 40));
        }
        for text in texts {
            let expected: f64 = text.parse().expect("a number");
            let found = number(&text).map(f64::to_bits);
            assert_eq!(found, Some(expected.to_bits()), "{text}");
        }
    }

    #[test]
    fn what_is_no_decimal_number_is_none() {
        for text in [
            "",
            "-",
            "+",
            ".",
            "-.",
            "0x1p-2",
            "0x10",
            "1_000",
            "1,5",
            "1.2.3",
            "--1",
            "1e",
            "e1",
            "1e999",
            "-1e999",
            "12345678901234567890123x",
            "infinit",
            "ΩΩ",
        ] {
            assert_eq!(number(text), None, "{text}");
        }
        for (text, expected) in [("+Inf", f64::INFINITY), ("-inf", f64::NEG_INFINITY)] {
            assert_eq!(number(text), Some(expected));
        }
        assert_eq!(number("Infinity"), Some(f64::INFINITY));
        assert!(number("NaN").is_some_and(f64::is_nan));
        assert!(number("nan").is_some_and(f64::is_nan));
    }

    #[test]
    fn seconds_become_the_nearest_millisecond() {
        for (text, expected) in [
            ("1520879607.789", Some(1_520_879_607_789)),
            ("1520879607", Some(1_520_879_607_000)),
            ("1520879607.7", Some(1_520_879_607_700)),
            ("1520879607.7895", Some(1_520_879_607_790)),
            ("1.520879607789e9", Some(1_520_879_607_789)),
            ("-1.5", Some(-1_500)),
            ("1e300", None),
            ("NaN", None),
            ("9223372036854775807", None),
            ("soon", None),
        ] {
            assert_eq!(millis_of_seconds(text), expected, "{text}");
        }
    }

    #[test]
    fn lines_are_cut_at_feeds_and_checked_by_themselves_only_when_one_is_not_text() {
        let found = |body: &'static [u8]| -> Vec<(usize, Result<&str, usize>, bool)> {
            let lines = Lines::new(body);
            lines.map(|l| (l.number, l.text, l.is_ended)).collect()
        };
        assert_eq!(found(b""), []);
        assert_eq!(
            found("\u{feff}a\n\nb\u{e9}".as_bytes()),
            [
                (1, Ok("a"), true),
                (2, Ok(""), true),
                (3, Ok("b\u{e9}"), false)
            ]
        );
        assert_eq!(
            found(b"a\nb\xff\nc\n"),
            [(1, Ok("a"), true), (2, Err(1), true), (3, Ok("c"), true)]
        );
    }

    #[test]
    fn what_is_certainly_no_text_is_named() {
        for (body, looks) in [
            (&b"\n <!DOCTYPE html>"[..], "HTML"),
            (b"\x1f\x8b\x08", "gzip"),
            (b"\x28\xb5\x2f\xfd", "zstd"),
            (b"[{}]", "JSON array"),
            (b"a\0b", "binary"),
        ] {
            let error = expect_text(body, "exposition").expect_err("foreign");
            assert_eq!(error.code, UnreadableCode::MalformedText);
            assert!(error.message.contains(looks), "{}", error.message);
        }
        let error = expect_text(b" \n", "exposition").expect_err("empty");
        assert_eq!(error.code, UnreadableCode::EmptyBody);
        assert_eq!(expect_text(b"up 1\n", "exposition"), Ok(()));
    }
}
