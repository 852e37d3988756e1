//! Attribute values as text.
//!
//! Owns how values that are no strings look as a label's value: as JSON has them (OpenTelemetry
//! specification, "Mapping to non-OTLP formats": attributes as strings). It must not know how
//! values come in.

use std::fmt::Write;

use super::labels::{Level, VALUE_DEPTH_MAX};

/// A text: as it is, or inside a list in quotes.
pub(super) fn text(text: &str, is_inside: bool, to: &mut Level) {
    if !is_inside {
        to.write(text);
        return;
    }
    to.write("\"");
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c < ' ' || c == '"' || c == '\\') {
        if !to.is_open() {
            return;
        }
        let (before, from) = rest.split_at(at);
        to.write(before);
        let mut characters = from.chars();
        if let Some(special) = characters.next() {
            let _ = match special {
                '"' | '\\' => write!(to, "\\{special}"),
                '\n' => write!(to, "\\n"),
                '\t' => write!(to, "\\t"),
                '\r' => write!(to, "\\r"),
                other => write!(to, "\\u{:04x}", u32::from(other)),
            };
        }
        rest = characters.as_str();
    }
    to.write(rest);
    to.write("\"");
}

/// The word for a truth value.
pub(super) fn truth(is_true: bool) -> &'static str {
    if is_true { "true" } else { "false" }
}

/// A double: the shortest digits that are read back as the same; a power of ten only where there
/// would be many zeros.
pub(super) fn double(value: f64, is_inside: bool, to: &mut Level) {
    let word = match value {
        _ if value.is_nan() => "NaN",
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        _ => {
            let _ = match value.abs() {
                0.0 | 1e-6..1e21 => write!(to, "{value}"),
                _ => write!(to, "{value:e}"),
            };
            return;
        }
    };
    text(word, is_inside, to);
}

/// Bytes, as base64 (RFC 4648, section 4).
pub(super) fn base64(bytes: &[u8], is_inside: bool, to: &mut Level) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let quote = if is_inside { "\"" } else { "" };
    to.write(quote);
    for group in bytes.chunks(3) {
        if !to.is_open() {
            return;
        }
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize];
            let digit = if at > group.len() { b'=' } else { digit };
            let _ = to.write_char(char::from(digit));
        }
    }
    to.write(quote);
}

/// Whether a list lies too deep in others; then no value is taken.
pub(super) fn is_too_deep(depth: usize, to: &mut Level) -> bool {
    if depth <= VALUE_DEPTH_MAX {
        return false;
    }
    to.spoil(
        "attribute_too_deep",
        format!("an attribute with lists in lists, more than {VALUE_DEPTH_MAX} deep; make it flat"),
    );
    true
}
