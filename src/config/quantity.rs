//! Texts with a unit: `1h30m`, `5%`, `0.1pp`, `800ms`, `p99.9`, `< 1%`.
//!
//! Owns their grammar, one pure function each. It must not know which key holds them.

use crate::model::Millis;
use crate::plan::{LimitSide, Quantile};

/// Longest duration in a plan: a year. Beyond it is a slip, and sums stay far from overflow.
pub const DURATION_MILLIS_MAX: Millis = 366 * 86_400_000;

/// A number with what follows it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount<'t> {
    /// `5%`, as a fraction: 0.05.
    Percent(f64),
    /// `0.1pp`, as a fraction: 0.001.
    PercentagePoints(f64),
    /// `800ms` or `800`: in a unit of measurement, or none.
    Plain(f64, Option<&'t str>),
}

/// `15s`, `5m`, `1h30m`, `500ms`, `2d`: numbers with units, the larger unit first. Whole
/// milliseconds, 0 to [`DURATION_MILLIS_MAX`]. The error is what is wrong.
pub fn duration(text: &str) -> Result<Millis, String> {
    const UNITS: [(&str, Millis); 5] = [
        ("ms", 1),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
    ];
    let refused = || format!("`{text}` is not a duration");
    if text.parse::<f64>().is_ok_and(|number| number != 0.0) {
        return Err(format!("`{text}` has no unit"));
    }
    let (mut rest, mut total, mut last_unit) = (text, 0, Millis::MAX);
    if rest.is_empty() {
        return Err(refused());
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let (unit, millis) = UNITS
            .into_iter()
            .find(|(unit, _)| tail.starts_with(unit))
            .ok_or_else(refused)?;
        if millis >= last_unit {
            return Err(refused());
        }
        let amount = number.parse::<f64>().map_err(|_| refused())? * millis as f64;
        if !(0.0..=DURATION_MILLIS_MAX as f64).contains(&amount) {
            return Err(format!("`{text}` is longer than a year"));
        }
        if amount.fract() != 0.0 {
            return Err(format!("`{text}` is not a whole number of milliseconds"));
        }
        total += amount as Millis;
        last_unit = millis;
        rest = &tail[unit.len()..];
    }
    match total {
        0..=DURATION_MILLIS_MAX => Ok(total),
        _ => Err(format!("`{text}` is longer than a year")),
    }
}

/// A duration as people write it: the inverse of [`duration`].
pub fn duration_text(millis: Millis) -> String {
    let mut rest = millis;
    let mut text = String::new();
    for (unit, size) in [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ] {
        if rest / size > 0 {
            text.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    if text.is_empty() {
        "0s".to_owned()
    } else {
        text
    }
}

/// A finite number, as JSON and YAML write it: digits, a point, an exponent. No `inf`, no `_`.
pub fn number(text: &str) -> Option<f64> {
    let plain = text
        .bytes()
        .all(|b| matches!(b, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E'));
    let number = text.parse::<f64>().ok().filter(|_| plain)?;
    number.is_finite().then_some(number)
}

/// `5%`, `0.1pp`, `800ms`, `12`. `None` where no number begins the text.
pub fn amount(text: &str) -> Option<Amount<'_>> {
    let text = text.trim();
    let part = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+');
    let mut end = text.find(|c: char| !part(c)).unwrap_or(text.len());
    // An exponent only where digits follow: `1e3`, but `5eur`.
    if let Some(exponent) = text[end..].strip_prefix(['e', 'E']) {
        let digits = exponent.find(|c: char| !part(c)).unwrap_or(exponent.len());
        if digits > 0 {
            end += 1 + digits;
        }
    }
    let value = number(&text[..end])?;
    Some(match text[end..].trim() {
        "" => Amount::Plain(value, None),
        "%" => Amount::Percent(hundredth(value)),
        "pp" => Amount::PercentagePoints(hundredth(value)),
        unit => Amount::Plain(value, Some(unit)),
    })
}

/// Divided once: 0.1 % is the double nearest to 0.001, so that spellings share a hash.
fn hundredth(percent: f64) -> f64 {
    percent / 100.0
}

/// `p99`, `p99.9`, `p50`: levels in tenths of a percent.
pub fn quantile(text: &str) -> Option<Quantile> {
    let (whole, tenth) = match text.strip_prefix('p')?.split_once('.') {
        Some((whole, tenth)) => (whole, tenth),
        None => (&text[1..], "0"),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty();
    if !digits(whole) || !digits(tenth) || whole.len() > 2 || tenth.len() > 1 {
        return None;
    }
    let per_mille = whole.parse::<u16>().ok()? * 10 + tenth.parse::<u16>().ok()?;
    Quantile::from_per_mille(per_mille)
}

/// `< 1%`, `> 100`: the side that is good, and the rest of the text.
pub fn limit(text: &str) -> Option<(LimitSide, &str)> {
    let text = text.trim();
    let (side, rest) = match text.strip_prefix('<') {
        Some(rest) => (LimitSide::Below, rest),
        None => (LimitSide::Above, text.strip_prefix('>')?),
    };
    (!rest.starts_with('=')).then_some((side, rest.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        let good = [
            ("15s", 15_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("1m500ms", 60_500),
            ("1.5s", 1_500),
            ("2d", 172_800_000),
            ("0s", 0),
            ("366d", DURATION_MILLIS_MAX),
        ];
        for (text, millis) in good {
            assert_eq!(duration(text), Ok(millis), "{text}");
        }
        for text in [
            "",
            "s",
            "15",
            "-5s",
            "5 m",
            "m5",
            "1s1h",
            "1h1h",
            "5min",
            "1e3s",
            "367d",
            "0.0001s",
            "1..5s",
            "99999999999999999999h",
            "365d48h",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn amounts() {
        assert_eq!(amount("5%"), Some(Amount::Percent(0.05)));
        assert_eq!(amount("0.1 pp"), Some(Amount::PercentagePoints(0.001)));
        assert_eq!(amount("800ms"), Some(Amount::Plain(800.0, Some("ms"))));
        assert_eq!(amount("1e3"), Some(Amount::Plain(1000.0, None)));
        assert_eq!(amount("5eur"), Some(Amount::Plain(5.0, Some("eur"))));
        assert_eq!(amount("-2.5"), Some(Amount::Plain(-2.5, None)));
        for text in ["", "%", "ms", "1e999", "inf", "NaN", "1.2.3", "--1"] {
            assert_eq!(amount(text), None, "{text}");
        }
    }

    #[test]
    fn quantiles_and_limits() {
        assert_eq!(quantile("p99.9"), Quantile::from_per_mille(999));
        assert_eq!(quantile("p50"), Quantile::from_per_mille(500));
        for text in [
            "99", "p0", "p100", "p99.99", "p", "p9x", "P99", "p-1", "p99.",
        ] {
            assert_eq!(quantile(text), None, "{text}");
        }
        assert_eq!(limit("< 1%"), Some((LimitSide::Below, "1%")));
        assert_eq!(limit(">100"), Some((LimitSide::Above, "100")));
        assert_eq!(limit("<= 1"), None);
        assert_eq!(limit("1"), None);
    }

    proptest! {
        #[test]
        fn durations_round_trip(millis in 0..DURATION_MILLIS_MAX) {
            prop_assert_eq!(duration(&duration_text(millis)), Ok(millis));
        }

        #[test]
        fn nothing_panics(text in "\\PC{0,12}") {
            let _ = (duration(&text), amount(&text), quantile(&text), limit(&text), number(&text));
        }
    }
}
