//! Prometheus remote-write: series of points as compressed protobuf.
//!
//! Owns the two messages of the protocol and how their parts are told apart:
//! `prometheus.WriteRequest` ("Prometheus Remote-Write Specification 1.0", with the fields that
//! `prompb/remote.proto` and `prompb/types.proto` of Prometheus give to metadata and native
//! histograms) and `io.prometheus.write.v2.Request` ("Prometheus Remote-Write Specification 2.0",
//! 2.0-rc.4, `prompb/io/prometheus/write/v2/types.proto`). It must not know of HTTP: which message a
//! request holds is asked of [`message_of`] with the headers' values, and what is counted in the
//! answer is in [`Written`]. Next: `read`, which reads one series, and `histogram`.

mod histogram;
mod kinds;
mod negotiate;
mod plain;
mod read;

use kinds::Families;
pub use negotiate::{decompress, decompressed_len, message_of};
use read::{Reader, Texts};

use super::heads::Heads;
use super::protobuf::{Fields, Malformed, Value};
use super::series::{Collecting, DecodedSeries};
use super::{Limits, Origin, Unreadable, UnreadableCode};

/// Texts one 2.0 request may refer to: label names, label values, helps and units, each once.
pub const SYMBOLS_MAX: usize = 1 << 20;
/// Metric families one 1.0 request may describe.
pub const FAMILIES_MAX: usize = 1 << 16;

/// The messages of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// `prometheus.WriteRequest`, of 1.0.
    V1,
    /// `io.prometheus.write.v2.Request`, of 2.0.
    V2,
}

/// What a request held.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DecodedWrite {
    /// Its series.
    pub series: DecodedSeries,
    /// How many of its points can be taken.
    pub written: Written,
}

/// Points of a request by their kind, as the answer to a 2.0 request must tell them. A staleness
/// marker counts as what it stands in place of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Numbers.
    pub samples: u64,
    /// Native histograms.
    pub histograms: u64,
}

/// Decodes a decompressed request.
///
/// # Errors
/// [`Unreadable`] when not even its series can be told apart, or there are too many points.
pub fn decode(body: &[u8], message: Message, limits: &Limits) -> Result<DecodedWrite, Unreadable> {
    decode_within(body, message, &mut Heads::new(0), limits, &mut |_| true)
}

/// Decodes a decompressed request. `room` is asked, while the series grow, whether they may take so
/// many bytes of memory in all, about. `heads` knows labels from requests before.
///
/// # Errors
/// Those of [`decode`], and [`UnreadableCode::NoRoom`] when `room` says no.
pub fn decode_within(
    body: &[u8],
    message: Message,
    heads: &mut Heads,
    limits: &Limits,
    room: &mut dyn FnMut(u64) -> bool,
) -> Result<DecodedWrite, Unreadable> {
    let survey = Survey::of(body, message)?;
    let mut collecting = Collecting::new(limits, room);
    let texts = survey.texts(body, message, &mut collecting)?;
    let mut reader = Reader::new(texts, heads, limits, collecting);
    let series = Fields::new(body).flatten();
    let series = series.filter(|(number, _)| *number == message.series_field());
    for (index, (_, value)) in series.enumerate() {
        if let Value::Bytes(bytes) = value {
            reader.series(bytes, Origin { index, line: None })?;
        }
    }
    reader.finish()
}

/// What a message has beside its series: it may stand before, after or among them.
#[derive(Debug, Default)]
struct Survey {
    series: usize,
    symbols: usize,
    families: usize,
    /// Fields that only the other message has.
    foreign: usize,
}

// === impl Message ===

impl Message {
    /// Its full name, as content types give it.
    pub fn name(self) -> &'static str {
        match self {
            Message::V1 => "prometheus.WriteRequest",
            Message::V2 => "io.prometheus.write.v2.Request",
        }
    }

    fn other(self) -> Message {
        match self {
            Message::V1 => Message::V2,
            Message::V2 => Message::V1,
        }
    }

    /// `timeseries`.
    fn series_field(self) -> u32 {
        match self {
            Message::V1 => 1,
            Message::V2 => 5,
        }
    }

    /// 1.0: `metadata`; 2.0: `symbols`.
    fn texts_field(self) -> u32 {
        match self {
            Message::V1 => 3,
            Message::V2 => 4,
        }
    }
}

// === impl Survey ===

impl Survey {
    /// Goes over the outermost fields, so that nothing is taken of a message that breaks off.
    fn of(body: &[u8], message: Message) -> Result<Survey, Unreadable> {
        let mut survey = Survey::default();
        let other = message.other();
        let mut fields = Fields::new(body);
        loop {
            let offset = body.len() - fields.left();
            let Some(field) = fields.next() else {
                break;
            };
            let (number, value) = field.map_err(|bad| broken(message, offset, bad))?;
            let counted = match number {
                _ if number == message.series_field() => &mut survey.series,
                _ if number == message.texts_field() && message == Message::V1 => {
                    &mut survey.families
                }
                _ if number == message.texts_field() => &mut survey.symbols,
                _ if [other.series_field(), other.texts_field()].contains(&number) => {
                    &mut survey.foreign
                }
                _ => continue,
            };
            value
                .bytes(number)
                .map_err(|bad| broken(message, offset, bad))?;
            *counted += 1;
        }
        if survey.series + survey.symbols + survey.families == 0 && survey.foreign > 0 {
            return Err(Unreadable {
                code: UnreadableCode::MalformedProtobuf,
                message: format!(
                    "the body is said to be a {}, and looks like a {}",
                    message.name(),
                    other.name()
                ),
                help: format!("send it as application/x-protobuf;proto={}", other.name()),
            });
        }
        Ok(survey)
    }

    /// The texts that series refer to.
    fn texts<'b>(
        &self,
        body: &'b [u8],
        message: Message,
        collecting: &mut Collecting<'_>,
    ) -> Result<Texts<'b>, Unreadable> {
        // A request of metadata alone describes nothing that is looked up here.
        let families = self.families * usize::from(self.series > 0);
        for (what, count, most) in [
            ("symbols", self.symbols, SYMBOLS_MAX),
            ("metadata", families, FAMILIES_MAX),
        ] {
            if count > most {
                return Err(Unreadable {
                    code: UnreadableCode::BodyTooLarge,
                    message: format!("{count} {what} in one request; at most {most} are allowed"),
                    help: "send fewer series at once".into(),
                });
            }
        }
        let field = message.texts_field();
        let texts = Fields::new(body).flatten().filter_map(|(number, value)| {
            let bytes = value.bytes(number).ok()?;
            (number == field).then_some(bytes)
        });
        match message {
            Message::V1 => {
                collecting.hold(families as u64 * Families::BYTES_EACH)?;
                Ok(Texts::InPlace(Families::new(texts, families)))
            }
            Message::V2 => {
                collecting.hold((self.symbols * size_of::<Option<&str>>()) as u64)?;
                let mut symbols = Vec::with_capacity(self.symbols);
                // One that is no text spoils the series that refer to it, and no other.
                symbols.extend(texts.map(|bytes| std::str::from_utf8(bytes).ok()));
                Ok(Texts::Symbols(symbols))
            }
        }
    }
}

fn broken(message: Message, offset: usize, bad: Malformed) -> Unreadable {
    Unreadable {
        code: UnreadableCode::MalformedProtobuf,
        message: format!(
            "the body is no {}: at byte {offset}, {bad}",
            message.name()
        ),
        help: "nothing of the request was taken; see whether a proxy cut or changed it, and whether the content type names the message that is sent".into(),
    }
}

// === impl Written ===

impl Written {
    /// The headers that an answer to a 2.0 request must have, also when a count is 0; exemplars are
    /// never taken.
    pub fn headers(&self) -> [(&'static str, u64); 3] {
        [
            ("x-prometheus-remote-write-samples-written", self.samples),
            (
                "x-prometheus-remote-write-histograms-written",
                self.histograms,
            ),
            ("x-prometheus-remote-write-exemplars-written", 0),
        ]
    }
}

#[cfg(test)]
mod tests;
