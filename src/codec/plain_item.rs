//! Samples as nearly all are written: a time in milliseconds, a metric, labels, a number or several.
//!
//! Owns that one shape, read in one go: a request holds hundreds of such lines. Whatever is
//! otherwise, or wrong, or past a limit is left to [`super::item`], which reads everything and says
//! what is wrong with it.

use super::heads::Heads;
use super::lines::first_quote;
use super::{Limits, METRIC_BYTES_MAX, TS_MILLIS_MAX, TS_MILLIS_MIN};
use crate::model::{Labels, Reading, Sample, Timestamp};

/// Digits of a number that a double holds exactly, with the powers of ten to divide it by.
const EXACT_DIGITS_MAX: usize = 15;
const POWERS_OF_TEN: [f64; EXACT_DIGITS_MAX + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
];

/// Reads an item; `None` where it is anything but plain.
pub(super) fn read(bytes: &[u8], heads: &mut Heads, limits: &Limits) -> Option<Sample> {
    // Such bytes stand neither in texts nor, where an item is one line, between them.
    if bytes.iter().fold(false, |any, byte| any | (*byte < b' ')) {
        return None;
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let mut reader = Reader { text, at: 0 };
    let (mut ts, mut metric, mut labels, mut values) = (None, None, None, None);
    reader.expect(b'{')?;
    loop {
        let key = reader.text()?;
        reader.expect(b':')?;
        let is_first = match key {
            "ts" => ts.replace(reader.time()?).is_none(),
            "metric" => metric.replace(reader.text()?).is_none(),
            "labels" => labels.replace(reader.labels(heads, limits)?).is_none(),
            "value" => values.replace(vec![reader.number()?]).is_none(),
            "values" => values.replace(reader.numbers(limits)?).is_none(),
            _ => return None,
        };
        if !is_first {
            return None;
        }
        match reader.next()? {
            b',' => {}
            b'}' => break,
            _ => return None,
        }
    }
    let metric = metric.filter(|metric| (1..=METRIC_BYTES_MAX).contains(&metric.len()))?;
    let is_whole = reader.at == text.len();
    is_whole.then_some(Sample {
        ts: ts?,
        metric: metric.to_owned(),
        labels: labels.unwrap_or_default(),
        reading: Reading::Values {
            values: values?,
            weights: Vec::new(),
        },
        unit: None,
        id: None,
        address: None,
        missing: 0,
    })
}

struct Reader<'b> {
    text: &'b str,
    at: usize,
}

// === impl Reader ===

impl<'b> Reader<'b> {
    /// The next byte that is no blank, which is passed.
    #[inline]
    fn next(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.as_bytes().get(self.at)?;
            self.at += 1;
            if byte != b' ' {
                return Some(byte);
            }
        }
    }

    #[inline]
    fn expect(&mut self, expected: u8) -> Option<()> {
        (self.next()? == expected).then_some(())
    }

    /// A text without escapes.
    #[inline]
    fn text(&mut self) -> Option<&'b str> {
        self.expect(b'"')?;
        let rest = &self.text[self.at..];
        let end = first_quote(rest.as_bytes());
        if rest.as_bytes().get(end) != Some(&b'"') {
            return None;
        }
        self.at += end + 1;
        Some(&rest[..end])
    }

    fn time(&mut self) -> Option<Timestamp> {
        self.skip_blanks();
        let from = self.at;
        self.whole()?;
        let millis = self.text[from..self.at].parse().ok()?;
        let is_in_range = (TS_MILLIS_MIN..=TS_MILLIS_MAX).contains(&millis);
        is_in_range.then_some(Timestamp(millis))
    }

    #[inline]
    fn skip_blanks(&mut self) {
        while self.text.as_bytes().get(self.at) == Some(&b' ') {
            self.at += 1;
        }
    }

    /// Digits that begin as a number of JSON must.
    fn whole(&mut self) -> Option<()> {
        let digits = self.text.as_bytes()[self.at..].iter();
        let count = digits.take_while(|byte| byte.is_ascii_digit()).count();
        let begins_with_zero = self.text.as_bytes().get(self.at) == Some(&b'0');
        self.at += count;
        (count == 1 || (count > 1 && !begins_with_zero)).then_some(())
    }

    /// A decimal number, rounded to the nearest double.
    #[inline]
    fn number(&mut self) -> Option<f64> {
        self.skip_blanks();
        let text = &self.text[self.at..];
        let bytes = text.as_bytes();
        let first = usize::from(bytes.first() == Some(&b'-'));
        // It means something as long as all digits are at most [`EXACT_DIGITS_MAX`].
        let (mut digits, mut point, mut end) = (0_u64, None, bytes.len());
        for (at, byte) in bytes.iter().enumerate().skip(first) {
            let digit = byte.wrapping_sub(b'0');
            if digit <= 9 {
                digits = digits.wrapping_mul(10).wrapping_add(u64::from(digit));
            } else if *byte == b'.' && point.is_none() {
                point = Some(at);
            } else {
                end = at;
                break;
            }
        }
        let whole = point.unwrap_or(end) - first;
        let places = point.map_or(0, |point| end - point - 1);
        let is_number = whole == 1 || (whole > 1 && bytes[first] != b'0');
        let has_exponent = matches!(bytes.get(end), Some(b'e' | b'E'));
        if !is_number || has_exponent || (point.is_some() && places == 0) {
            return None;
        }
        self.at += end;
        if whole + places <= EXACT_DIGITS_MAX {
            // Both are exact, so one division rounds once.
            let number = digits as f64 / POWERS_OF_TEN[places];
            return Some(if first == 1 { -number } else { number });
        }
        let number: f64 = text[..end].parse().ok()?;
        number.is_finite().then_some(number)
    }

    fn numbers(&mut self, limits: &Limits) -> Option<Vec<f64>> {
        self.expect(b'[')?;
        let rest = &self.text.as_bytes()[self.at..];
        let end = memchr::memchr(b']', rest)?;
        let commas = rest[..end].iter().filter(|byte| **byte == b',').count();
        let mut numbers = Vec::with_capacity((commas + 1).min(limits.values_per_sample_max));
        loop {
            if numbers.len() == limits.values_per_sample_max {
                return None;
            }
            numbers.push(self.number()?);
            match self.next()? {
                b',' => {}
                b']' => return Some(numbers),
                _ => return None,
            }
        }
    }

    fn labels(&mut self, heads: &mut Heads, limits: &Limits) -> Option<Labels> {
        self.expect(b'{')?;
        let from = self.at;
        let rest = &self.text.as_bytes()[from..];
        // A brace may stand in a text too; what is known ends with the one that closes.
        let brace = memchr::memchr(b'}', rest)?;
        if let Some(known) = heads.labels(&rest[..=brace]) {
            self.at += brace + 1;
            return Some(known);
        }
        let labels = self.any_labels(limits)?;
        if self.at == from + brace + 1 {
            heads.keep_labels(&self.text.as_bytes()[from..self.at], &labels);
        }
        Some(labels)
    }

    fn any_labels(&mut self, limits: &Limits) -> Option<Labels> {
        let mut labels = Labels::new();
        let (mut count, mut bytes) = (0, 0);
        loop {
            let name = self.text()?;
            self.expect(b':')?;
            let value = self.text()?;
            count += 1;
            bytes += name.len() + value.len();
            if count > limits.label_count_max || bytes > limits.label_bytes_max {
                return None;
            }
            labels.insert(name, value);
            match self.next()? {
                b',' => {}
                b'}' => return Some(labels),
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::item;

    fn limits() -> Limits {
        Limits {
            values_per_sample_max: 3,
            label_count_max: 3,
            label_bytes_max: 12,
            ..Limits::default()
        }
    }

    #[test]
    fn plain_items_are_read_here_and_others_left() {
        let plain =
            r#"{"ts":1764000000000,"metric":"m","labels":{"b":"ü","a":"1"},"value":-12.50}"#;
        let sample = read(plain.as_bytes(), &mut Heads::new(7), &limits()).expect("plain");
        assert_eq!(sample.labels.get("b"), Some("ü"));
        assert!(matches!(&sample.reading, Reading::Values { values, .. } if *values == [-12.5]));
        for (from, to) in [
            ("\"m\"", "\"\\u006d\""),
            ("12.50", "12.50e1"),
            ("12.50", "012"),
            ("12.50", "12."),
            ("-12.50", "- 12.50"),
            ("12.50", ".50"),
            ("12.50", "1.2.5"),
            ("-12.50", "null"),
            ("1764000000000", "1764000000"),
            (",\"value\"", ",\"id\":\"1\",\"value\""),
            ("}", "}\t"),
            ("\"a\"", "\"abcdefghijkl\""),
            (",\"value\"", ",\"metric\":\"n\",\"value\""),
        ] {
            let other = plain.replacen(from, to, 1);
            assert_ne!(other, plain);
            assert_eq!(
                read(other.as_bytes(), &mut Heads::new(7), &limits()),
                None,
                "{other}"
            );
        }
    }

    fn word() -> impl Strategy<Value = String> {
        proptest::sample::select(vec![
            "\"ts\"",
            "\"metric\"",
            "\"labels\"",
            "\"value\"",
            "\"values\"",
            "\"m\"",
            "\"a\"",
            "\"\"",
            "\"é\\n\"",
            "1764000000000",
            "0",
            "-0",
            "0.1",
            "-3.25",
            "1e3",
            "01",
            "1.",
            "12345678901234567890",
            "0.12345678901234567",
            "1e999",
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            " ",
            "null",
            "\"1\"",
        ])
        .prop_map(str::to_owned)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn what_is_read_here_is_what_is_read_there(
            numbers in proptest::collection::vec(any::<f64>().prop_filter("finite", |f| f.is_finite()), 0..5),
            labels in proptest::collection::vec(("[a-c]", "[x-z]{0,3}"), 0..4),
            ts in proptest::sample::select(vec!["1764000000000", "1", "7258118400000", "7258118400001"]),
            blank in proptest::sample::select(vec!["", " "]),
            odd in proptest::option::of((any::<prop::sample::Index>(), word())),
        ) {
            let labels: Vec<String> = labels.iter().map(|(name, value)| format!("\"{name}\":{blank}\"{value}\"")).collect();
            let value = match numbers.as_slice() {
                [one] => format!("\"value\":{one}"),
                several => format!("\"values\":{}", serde_json::to_string(several).expect("JSON")),
            };
            let mut words = vec![
                "{".to_owned(), format!("\"ts\":{blank}{ts}"), format!(",{blank}"), "\"metric\":\"m\"".to_owned(),
                ",".to_owned(), format!("\"labels\":{{{}}}", labels.join(",")), ",".to_owned(), value, "}".to_owned(),
            ];
            if let Some((at, word)) = odd {
                let at = at.index(words.len());
                words[at] = word;
            }
            let text = words.concat();
            let mut heads = Heads::new(7);
            if let Some(sample) = read(text.as_bytes(), &mut heads, &limits()) {
                let again = read(text.as_bytes(), &mut heads, &limits());
                prop_assert_eq!(again.as_ref(), Some(&sample));
                let expected = item::read_any(text.as_bytes(), &limits());
                prop_assert_eq!(Ok(sample), expected.map_err(|problem| problem.message), "{}", text);
            }
        }
    }
}
