//! The demo's side of davy's HTTP API: four plain calls, as any program would make them.
//!
//! Owns requests and the reading of event streams. It must not reach into the daemon: what it
//! knows came over HTTP. Next: [`super::report`], which shows it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::Response;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// How long a call may take, event streams excepted.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of one event: a verdict body is a few kilobytes.
const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// A client of one daemon.
#[derive(Debug, Clone)]
pub struct DavyClient {
    http: reqwest::Client,
    base: String,
}

/// What became of samples.
#[derive(Debug, Clone, Deserialize)]
pub struct SamplesAnswer {
    /// Samples that reached an analysis.
    pub accepted: u64,
    /// The first refused ones.
    pub refusals: Vec<Refusal>,
}

/// One refused sample.
#[derive(Debug, Clone, Deserialize)]
pub struct Refusal {
    /// Stable code.
    pub code: String,
    /// For people.
    pub message: String,
}

/// One server-sent event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamEvent {
    /// Its type, such as `look`.
    pub kind: String,
    /// Its data.
    pub data: String,
}

/// An open stream of events.
pub struct EventStream {
    response: Response,
    reader: EventReader,
    ready: VecDeque<StreamEvent>,
}

/// Makes events of a stream's bytes (WHATWG HTML, "server-sent events", 9.2.6): lines of
/// `field: value`, an empty line ends an event, lines that begin with a colon are comments.
#[derive(Debug, Default)]
pub struct EventReader {
    pending: Vec<u8>,
    kind: String,
    data: Vec<String>,
}

// === impl DavyClient ===

impl DavyClient {
    /// A client of the daemon at this address.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn new(address: SocketAddr) -> anyhow::Result<DavyClient> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(DavyClient {
            http,
            base: format!("http://{address}/v1"),
        })
    }

    /// Starts an analysis and gives its id.
    ///
    /// # Errors
    /// When davy refuses, with its own words.
    pub async fn start(&self, request: &Value) -> anyhow::Result<String> {
        let call = self.http.post(format!("{}/analyses", self.base));
        let answer = call.json(request).timeout(CALL_TIMEOUT).send().await?;
        let started: Value = read(answer).await.context("the start was refused")?;
        let id = started["id"].as_str();
        Ok(id.context("davy's answer has no id")?.to_string())
    }

    /// Sends samples as NDJSON.
    ///
    /// # Errors
    /// When davy refuses them as a whole, with its own words.
    pub async fn send_samples(&self, ndjson: String) -> anyhow::Result<SamplesAnswer> {
        let call = self.http.post(format!("{}/samples", self.base));
        let call = call.header("content-type", "application/x-ndjson");
        read(call.body(ndjson).timeout(CALL_TIMEOUT).send().await?).await
    }

    /// Opens the stream of an analysis' events, from its first one.
    ///
    /// # Errors
    /// When davy refuses, with its own words.
    pub async fn events(&self, analysis: &str) -> anyhow::Result<EventStream> {
        let call = self
            .http
            .get(format!("{}/analyses/{analysis}/events", self.base));
        let response = call.header("accept", "text/event-stream").send().await?;
        Ok(EventStream {
            response: succeeded(response).await?,
            reader: EventReader::default(),
            ready: VecDeque::new(),
        })
    }
}

async fn read<T: DeserializeOwned>(answer: Response) -> anyhow::Result<T> {
    Ok(succeeded(answer).await?.json().await?)
}

/// The answer if it is a success, otherwise the problem it states.
async fn succeeded(answer: Response) -> anyhow::Result<Response> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let problem: Value = answer.json().await.unwrap_or(json!({}));
    let text = |key: &str| problem[key].as_str().unwrap_or("").to_string();
    bail!("{status}: {} {}", text("detail"), text("help"))
}

// === impl EventStream ===

impl EventStream {
    /// The next event; `None` at the end of the stream.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn next(&mut self) -> anyhow::Result<Option<StreamEvent>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            match self
                .response
                .chunk()
                .await
                .context("the event stream broke")?
            {
                Some(bytes) => self.ready.extend(self.reader.push(&bytes)?),
                None => return Ok(None),
            }
        }
    }
}

// === impl EventReader ===

impl EventReader {
    /// Takes some bytes and gives the events that are complete with them.
    ///
    /// # Errors
    /// When one event is longer than 1 MiB.
    pub fn push(&mut self, bytes: &[u8]) -> anyhow::Result<Vec<StreamEvent>> {
        self.pending.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(end) = self.pending.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.pending.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            events.extend(self.line(line.trim_end_matches(['\r', '\n'])));
        }
        let held = self.pending.len() + self.data.iter().map(String::len).sum::<usize>();
        if held > EVENT_BYTES_MAX {
            bail!("an event is longer than {EVENT_BYTES_MAX} bytes");
        }
        Ok(events)
    }

    fn line(&mut self, line: &str) -> Option<StreamEvent> {
        if line.is_empty() {
            let kind = std::mem::take(&mut self.kind);
            let data = std::mem::take(&mut self.data);
            return (!data.is_empty()).then(|| StreamEvent {
                kind,
                data: data.join("\n"),
            });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.kind = value.to_string(),
            "data" => self.data.push(value.to_string()),
            // Comments have an empty name; ids and retry times are of no use here.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": hello\n\nid: 1\nevent: look\ndata: {\"x\":1}\n\nevent: two\r\ndata: a\r\ndata:b\r\n\r\nevent: empty\n\n";

    #[test]
    fn events_come_out_however_the_bytes_are_cut() {
        let event = |kind: &str, data: &str| StreamEvent {
            kind: kind.into(),
            data: data.into(),
        };
        let expected = vec![event("look", "{\"x\":1}"), event("two", "a\nb")];
        for size in 1..STREAM.len() {
            let mut reader = EventReader::default();
            let pieces = STREAM.as_bytes().chunks(size);
            let events: Vec<_> = pieces
                .flat_map(|piece| reader.push(piece).expect("short"))
                .collect();
            assert_eq!(events, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut reader = EventReader::default();
        assert!(reader.push(&vec![b'x'; EVENT_BYTES_MAX]).is_ok());
        assert!(reader.push(b"y").is_err());
    }
}
