//! What the sender of OTLP is told.
//!
//! Owns the bodies of answers (OpenTelemetry Protocol 1.x, "OTLP/HTTP Response"): the
//! `ExportMetricsServiceResponse` of a request that was taken, in full or in part, and the
//! `google.rpc.Status` of one that was not. Status codes and headers are the surface's.

use serde::Serialize;

use super::super::series::DecodedSeries;
use super::Form;

/// Reasons that are told to the sender.
const REASONS_TOLD_MAX: usize = 3;

/// That a part of a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PartialSuccess {
    /// How many data points were refused. With 0, the message is a warning.
    #[serde(serialize_with = "as_text")]
    pub rejected_data_points: u64,
    /// Why, for people.
    pub error_message: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'p> {
    #[serde(skip_serializing_if = "Option::is_none")]
    partial_success: Option<&'p PartialSuccess>,
}

#[derive(Serialize)]
struct Status<'m> {
    message: &'m str,
}

/// The form has 64-bit numbers in quotes.
fn as_text<S: serde::Serializer>(number: &u64, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(number)
}

// === impl PartialSuccess ===

impl PartialSuccess {
    /// What was refused while decoding, with the first reasons; `None` where nothing was.
    pub fn of(decoded: &DecodedSeries) -> Option<PartialSuccess> {
        if decoded.refused_points == 0 && decoded.refusals.is_empty() {
            return None;
        }
        let mut error_message = String::new();
        for refusal in decoded.refusals.iter().take(REASONS_TOLD_MAX) {
            if !error_message.is_empty() {
                error_message.push_str("; ");
            }
            let reason = format!("data point {}: {}", refusal.index, refusal.message);
            error_message.push_str(&reason);
        }
        match decoded.refusals.len().saturating_sub(REASONS_TOLD_MAX) {
            0 => {}
            1 => error_message.push_str("; and 1 refusal more"),
            more => error_message.push_str(&format!("; and {more} refusals more")),
        }
        Some(PartialSuccess {
            rejected_data_points: decoded.refused_points,
            error_message,
        })
    }
}

/// The body of the answer to a request that was taken, but for what `partial` says.
pub fn success(form: Form, partial: Option<&PartialSuccess>) -> Vec<u8> {
    match form {
        Form::Json => json(&Response {
            partial_success: partial,
        }),
        Form::Protobuf => {
            let mut body = Vec::new();
            if let Some(partial) = partial {
                let mut message = Vec::new();
                if partial.rejected_data_points > 0 {
                    message.push(1 << 3);
                    push_varint(&mut message, partial.rejected_data_points);
                }
                push_bytes(&mut message, 2, partial.error_message.as_bytes());
                push_bytes(&mut body, 1, &message);
            }
            body
        }
    }
}

/// The body of the answer to a request that was refused as a whole: a `google.rpc.Status`, whose
/// code the protocol leaves to HTTP.
pub fn status(form: Form, message: &str) -> Vec<u8> {
    match form {
        Form::Json => json(&Status { message }),
        Form::Protobuf => {
            let mut body = Vec::new();
            push_bytes(&mut body, 2, message.as_bytes());
            body
        }
    }
}

fn json(body: &impl Serialize) -> Vec<u8> {
    // Texts and numbers can always be written.
    serde_json::to_vec(body).unwrap_or_default()
}

fn push_bytes(to: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    to.push(field << 3 | 2);
    push_varint(to, bytes.len() as u64);
    to.extend_from_slice(bytes);
}

fn push_varint(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::super::super::ItemRefusal;
    use super::*;

    #[test]
    fn full_success_says_nothing() {
        assert_eq!(PartialSuccess::of(&DecodedSeries::default()), None);
        assert_eq!(success(Form::Protobuf, None), b"");
        assert_eq!(success(Form::Json, None), b"{}");
    }

    #[test]
    fn a_part_that_was_refused_is_counted_and_the_first_reasons_are_told() {
        let refusal = |index| ItemRefusal {
            index,
            line: None,
            code: "nan",
            message: format!("reason {index}"),
        };
        let mut decoded = DecodedSeries {
            refusals: (0..3).map(refusal).collect(),
            refused_points: 300,
            ..DecodedSeries::default()
        };
        let partial = PartialSuccess::of(&decoded).expect("refused");
        let told = "data point 0: reason 0; data point 1: reason 1; data point 2: reason 2";
        assert_eq!(partial.error_message, told);
        assert_eq!(partial.rejected_data_points, 300);
        let json = String::from_utf8(success(Form::Json, Some(&partial))).expect("text");
        assert_eq!(
            json,
            format!(
                r#"{{"partialSuccess":{{"rejectedDataPoints":"300","errorMessage":"{told}"}}}}"#
            )
        );
        let mut body = vec![0x0a, 5 + told.len() as u8, 0x08, 0xac, 0x02, 0x12];
        body.push(told.len() as u8);
        body.extend(told.as_bytes());
        assert_eq!(success(Form::Protobuf, Some(&partial)), body);
        for (more, words) in [(4, "; and 1 refusal more"), (9, "; and 6 refusals more")] {
            decoded.refusals = (0..more).map(refusal).collect();
            let partial = PartialSuccess::of(&decoded).expect("refused");
            assert!(partial.error_message.ends_with(words), "{partial:?}");
        }
    }

    #[test]
    fn a_warning_counts_nothing_and_a_refused_request_is_a_status() {
        let warning = PartialSuccess {
            rejected_data_points: 0,
            error_message: "w".into(),
        };
        let body = success(Form::Protobuf, Some(&warning));
        assert_eq!(body, [0x0a, 3, 0x12, 1, b'w']);
        assert_eq!(status(Form::Protobuf, "no"), b"\x12\x02no");
        assert_eq!(status(Form::Json, "no"), br#"{"message":"no"}"#);
    }
}
