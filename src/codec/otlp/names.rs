//! Names of metrics and labels, as Prometheus has them.
//!
//! Owns the translation that Prometheus' own OTLP receiver makes by default (OpenTelemetry
//! specification, "Prometheus and OpenMetrics Compatibility", metric metadata and attributes), so
//! that a plan's selector is the same whichever way a metric came. Which labels there are is
//! decided in [`super::labels`].

use std::borrow::Cow;

/// What a metric's name says of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NameKind {
    /// A monotonic sum: the name ends in `total`.
    Counter,
    /// A gauge: with the unit `1`, the name ends in `ratio`.
    Gauge,
    /// Anything else: only the unit is added.
    Other,
}

/// Units (UCUM, case-sensitive) with the words that stand for them in names.
const UNITS: [(&str, &str); 25] = [
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("min", "minutes"),
    ("h", "hours"),
    ("d", "days"),
    ("By", "bytes"),
    ("KBy", "kilobytes"),
    ("kBy", "kilobytes"),
    ("MBy", "megabytes"),
    ("GBy", "gigabytes"),
    ("TBy", "terabytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    ("TiBy", "tebibytes"),
    ("m", "meters"),
    ("V", "volts"),
    ("A", "amperes"),
    ("J", "joules"),
    ("W", "watts"),
    ("g", "grams"),
    ("Cel", "celsius"),
    ("Hz", "hertz"),
];
/// Units behind a `/`, whose words are singular; `m` is a minute here.
const UNITS_PER: [(&str, &str); 7] = [
    ("s", "second"),
    ("m", "minute"),
    ("h", "hour"),
    ("d", "day"),
    ("w", "week"),
    ("mo", "month"),
    ("y", "year"),
];

/// Writes a metric's name behind `out`. It stays empty where there is nothing to name it by.
pub(super) fn metric_name(out: &mut String, name: &str, unit: &str, kind: NameKind) {
    let from = out.len();
    let last = match kind {
        NameKind::Counter => Some("total"),
        NameKind::Gauge if unit == "1" => Some("ratio"),
        _ => None,
    };
    let words = || words_of(name);
    if words().next().is_none() {
        return;
    }
    for word in words().filter(|word| Some(*word) != last) {
        push_word(out, from, word);
    }
    let (unit, per) = unit.split_once('/').unwrap_or((unit, ""));
    let unit = unit_word(unit, &UNITS);
    if !unit.is_empty() && words().all(|word| word != unit) {
        push_word(out, from, &unit);
    }
    let per = unit_word(per, &UNITS_PER);
    // One word never holds the `_` of `per_…`, so it is there only where it was written.
    if !per.is_empty() {
        push_word(out, from, "per");
        push_word(out, from, &per);
    }
    if let Some(last) = last {
        push_word(out, from, last);
    }
    if out.as_bytes().get(from).is_some_and(u8::is_ascii_digit) {
        out.insert(from, '_');
    }
}

/// The parts of a name between characters that no name may hold, and between underscores.
fn words_of(name: &str) -> impl Iterator<Item = &str> {
    name.split(|c: char| !(c.is_ascii_alphanumeric() || c == ':'))
        .filter(|word| !word.is_empty())
}

fn push_word(out: &mut String, from: usize, word: &str) {
    if out.len() > from {
        out.push('_');
    }
    out.push_str(word);
}

/// The word for a unit: from the table, or the unit itself made fit for a name. Annotations
/// (`{request}`) and `1` have none.
fn unit_word<'u>(unit: &'u str, table: &[(&str, &'static str)]) -> Cow<'u, str> {
    let unit = unit.trim();
    if let Some((_, word)) = table.iter().find(|(known, _)| *known == unit) {
        return Cow::Borrowed(word);
    }
    match unit {
        "1" => Cow::Borrowed(""),
        "%" => Cow::Borrowed("percent"),
        _ if unit.contains(['{', '}']) => Cow::Borrowed(""),
        _ if unit.bytes().all(|byte| byte.is_ascii_alphanumeric()) => Cow::Borrowed(unit),
        _ => {
            let mut word = String::new();
            for part in words_of(unit) {
                push_word(&mut word, 0, part);
            }
            Cow::Owned(word)
        }
    }
}

/// Writes a label's name behind `out`: each character that no label's name may hold becomes `_`,
/// and `key_` stands before a digit. Tells whether anything was changed.
pub(super) fn label_name(out: &mut String, key: &str) -> bool {
    let mut is_changed = false;
    if key.as_bytes().first().is_some_and(u8::is_ascii_digit) {
        out.push_str("key_");
        is_changed = true;
    }
    let is_fit = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if key.bytes().all(|byte| is_fit(char::from(byte))) {
        out.push_str(key);
        return is_changed;
    }
    out.extend(key.chars().map(|c| if is_fit(c) { c } else { '_' }));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, unit: &str, kind: NameKind) -> String {
        let mut out = String::new();
        metric_name(&mut out, name, unit, kind);
        out
    }

    #[test]
    fn metrics_are_named_as_prometheus_names_them() {
        use NameKind::{Counter, Gauge, Other};
        for (name, unit, kind, expected) in [
            (
                "http.server.request.duration",
                "s",
                Other,
                "http_server_request_duration_seconds",
            ),
            (
                "http.server.requests",
                "{request}",
                Counter,
                "http_server_requests_total",
            ),
            ("requests.total", "1", Counter, "requests_total"),
            ("total.requests", "", Counter, "requests_total"),
            ("total", "", Counter, "total"),
            ("system.io", "By", Counter, "system_io_bytes_total"),
            ("system.io.bytes", "By", Counter, "system_io_bytes_total"),
            ("cpu.utilization", "1", Gauge, "cpu_utilization_ratio"),
            ("cpu.ratio", "1", Gauge, "cpu_ratio"),
            ("queue.length", "1", Other, "queue_length"),
            ("memory.usage", "MiBy", Gauge, "memory_usage_mebibytes"),
            (
                "network.speed",
                "By/s",
                Gauge,
                "network_speed_bytes_per_second",
            ),
            ("fuel", "L/m", Gauge, "fuel_L_per_minute"),
            ("rate", "{packet}/s", Gauge, "rate_per_second"),
            ("share", "%", Gauge, "share_percent"),
            ("odd", "a-b__c", Gauge, "odd_a_b_c"),
            ("a..b--c__d", "", Gauge, "a_b_c_d"),
            ("_x_", "", Gauge, "x"),
            ("level:rule", "", Gauge, "level:rule"),
            ("2xx", "", Gauge, "_2xx"),
            ("größe", "", Gauge, "gr_e"),
            ("", "s", Gauge, ""),
            ("...", "", Gauge, ""),
            ("", "", Counter, ""),
        ] {
            assert_eq!(named(name, unit, kind), expected, "{name} {unit} {kind:?}");
        }
    }

    #[test]
    fn labels_keep_what_they_may_hold() {
        for (key, expected) in [
            ("http.request.method", "http_request_method"),
            ("zone", "zone"),
            ("_x", "_x"),
            ("a b-ü", "a_b__"),
            ("1st", "key_1st"),
            ("", ""),
        ] {
            let mut out = "before ".to_owned();
            let is_changed = label_name(&mut out, key);
            assert_eq!(out, format!("before {expected}"));
            assert_eq!(is_changed, key != expected);
        }
    }
}
