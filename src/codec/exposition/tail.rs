//! What stands behind the value of a line: a time, an exemplar.
//!
//! Owns the units of times in both formats. It must not know names and labels: those are the
//! business of `line`.

use super::Dialect;
use super::letters::{BLANK, find, skip_blanks};
use super::line::{Fault, fault};
use crate::codec::lines;
use crate::codec::number::quoted;
use crate::model::Timestamp;

/// Reads what stands behind the value: nothing, a time, an exemplar, both.
pub(super) fn read_tail(
    line: &str,
    mut at: usize,
    dialect: Dialect,
) -> Result<Option<Timestamp>, Fault> {
    let bytes = line.as_bytes();
    let mut ts = None;
    if bytes.get(at).is_some_and(|first| *first != b'#') {
        let end = find(bytes, at, BLANK);
        ts = Some(time(&line[at..end], at, dialect)?);
        at = skip_blanks(bytes, end);
    }
    match (bytes.get(at), dialect) {
        (None, _) => Ok(ts),
        (Some(b'#'), Dialect::OpenMetrics) => {
            let braces = skip_blanks(bytes, at + 1);
            if bytes.get(braces) == Some(&b'{') {
                // An exemplar says nothing about the series that its value does not.
                return Ok(ts);
            }
            let message = "an exemplar is written # {label=\"value\"} number";
            fault(at, "bad_exemplar", message)
        }
        (Some(b'#'), Dialect::Prometheus) => fault(
            at,
            "bad_exemplar",
            "the text format 0.0.4 has no exemplars; send application/openmetrics-text",
        ),
        _ => fault(
            at,
            "trailing_text",
            "text behind the time; a line is a name, labels, a number and a time",
        ),
    }
}

fn time(text: &str, at: usize, dialect: Dialect) -> Result<Timestamp, Fault> {
    let millis = match dialect {
        Dialect::OpenMetrics => lines::millis_of_seconds(text),
        Dialect::Prometheus => text.parse().ok(),
    };
    let Some(millis) = millis else {
        let unit = match dialect {
            Dialect::OpenMetrics => "unix seconds",
            Dialect::Prometheus => "whole unix milliseconds (OpenMetrics has seconds)",
        };
        let message = format!("the time {} is not in {unit}", quoted(text));
        return fault(at, "bad_timestamp", message);
    };
    Ok(Timestamp(millis))
}

pub(super) fn bad_value(text: &str) -> String {
    if text.is_empty() {
        return "the line has no number behind its name".into();
    }
    let text = quoted(text);
    format!("{text} is no number; write a decimal that fits a double, NaN, +Inf or -Inf")
}
