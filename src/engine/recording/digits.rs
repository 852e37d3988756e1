//! Numbers of a recording as text.
//!
//! Owns the short way for numbers of few decimal places, as durations are nearly always given:
//! writing them as any double was a quarter of what a sample's value cost. The text is the same, to
//! the byte. Next: `batch`, which writes samples.

use std::io;

use serde_json::ser::{CompactFormatter, Formatter};

/// Places that are tried.
const SCALES: [f64; 4] = [1.0, 10.0, 100.0, 1e3];
/// Below this a scaled number has at most fifteen digits, and no two such decimals are one double.
const PLAIN_BELOW: f64 = 1e12;
/// Digits, a sign, a point, and a zero before it.
const TEXT_BYTES_MAX: usize = 24;

/// Writes JSON as `serde_json` does without blanks.
#[derive(Default)]
pub(super) struct Digits {
    /// Places that an earlier number had, at the most: what the next one is tried with first.
    places: usize,
}

impl Formatter for Digits {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        let mut room = [0; TEXT_BYTES_MAX];
        match short(value, &mut self.places, &mut room) {
            Some(text) => writer.write_all(text),
            None => CompactFormatter.write_f64(writer, value),
        }
    }
}

/// The text of a number with at most three places, at the end of the room. It is not tried with
/// fewer than `least`: what has fewer ends in zeros then. `least` becomes what it took.
fn short<'r>(
    value: f64,
    least: &mut usize,
    room: &'r mut [u8; TEXT_BYTES_MAX],
) -> Option<&'r [u8]> {
    if value.abs() >= PLAIN_BELOW {
        return None;
    }
    let mut tried = SCALES.iter().enumerate().skip(*least);
    let (mut places, mut scaled) = tried.find_map(|(places, scale)| {
        // To the nearest: the product may lie just below the whole number that is meant.
        let scaled = (value * scale + 0.5_f64.copysign(value)) as i64;
        // One division rounds once: this is what the text would be read as. A zero's sign counts.
        let is_same = (scaled as f64 / scale).to_bits() == value.to_bits();
        is_same.then_some((places, scaled))
    })?;
    *least = places;
    while places > 0 && scaled % 10 == 0 {
        scaled /= 10;
        places -= 1;
    }
    let mut at = room.len();
    let mut put = |byte: u8| {
        at -= 1;
        room[at] = byte;
    };
    if places == 0 {
        put(b'0');
        put(b'.');
    }
    let (mut rest, mut written) = (scaled.unsigned_abs(), 0);
    while rest > 0 || written <= places {
        put(b'0' + (rest % 10) as u8);
        rest /= 10;
        written += 1;
        if written == places {
            put(b'.');
        }
    }
    if scaled < 0 {
        put(b'-');
    }
    Some(&room[at..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Serialize;

    use super::*;

    fn written(value: impl Serialize) -> String {
        let mut text = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut text, Digits::default());
        value.serialize(&mut serializer).expect("a number");
        String::from_utf8(text).expect("JSON")
    }

    #[test]
    fn numbers_at_the_edges_are_written_as_ever() {
        for value in [
            0.0,
            -0.0,
            0.1,
            -0.001,
            0.0001,
            0.3,
            0.1 + 0.2,
            0.29,
            -0.57,
            1.15,
            1.0,
            10.0,
            12.5,
            99.999,
            999.9995,
            999_999_999_999.999,
            1e12,
            1e16,
            1e300,
            5e-324,
            -123_456.7,
        ] {
            assert_eq!(written(value), serde_json::to_string(&value).expect("JSON"));
        }
        let mut room = [0; TEXT_BYTES_MAX];
        for mut least in 0..SCALES.len() {
            assert_eq!(short(12.5, &mut least, &mut room), Some(&b"12.5"[..]));
            assert_eq!(short(40.0, &mut least, &mut room), Some(&b"40.0"[..]));
            assert_eq!(short(-0.0, &mut least, &mut room), None);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn any_number_is_written_as_ever(
            any in any::<f64>().prop_filter("finite", |value| value.is_finite()),
            scaled in -2_000_000_000_000_000_i64..2_000_000_000_000_000,
            shift in 0_u32..50,
            places in 0_usize..5,
        ) {
            let decimal = (scaled >> shift) as f64 / [1.0, 10.0, 100.0, 1e3, 1e4][places];
            for value in [any, decimal] {
                prop_assert_eq!(written(value), serde_json::to_string(&value).expect("JSON"));
            }
            // After numbers of any places.
            let all = [decimal.round(), 0.5, decimal, 0.25, decimal, 0.125, decimal, any, 7.0];
            prop_assert_eq!(written(all), serde_json::to_string(&all).expect("JSON"));
        }
    }
}
