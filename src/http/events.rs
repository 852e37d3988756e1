//! `GET /v1/analyses/{id}/events`: what happens, as it happens, as server-sent events.
//!
//! Owns the stream: from where it begins (`Last-Event-ID`), what it says, when it ends. A stream
//! ends with the analysis, with the daemon, or with its reader. A reader that comes back after the
//! end gets 204, which tells an `EventSource` to stop asking.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Interval, MissedTickBehavior};

use super::Shared;
use super::analyses::Visible;
use super::interest::interest_every;
use super::problem::{LIMIT_RETRY_SECS, Problem};
use super::query::Parameters;
use crate::engine::Input;
use crate::judge::verdict::Status;
use crate::store::KeptEvent;

/// A comment is sent after this long without an event, so that proxies keep the stream open.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
/// Type of the message that says that some events are no longer kept.
pub const GAP: &str = "gap";

/// The handler.
pub async fn stream(
    State(shared): State<Arc<Shared>>,
    Visible(id): Visible,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let given = Parameters::read(&uri, &["after"])?;
    let number = "the id of an event, a whole number";
    let after = match headers.get("last-event-id") {
        Some(value) => {
            let parsed = value.to_str().ok().and_then(|text| text.parse().ok());
            let problem =
                || Problem::new("invalid_header", format!("last-event-id is not {number}"));
            parsed.ok_or_else(problem)?
        }
        None => given
            .parse("after", number, |text| text.parse().ok())?
            .unwrap_or(0),
    };
    let bell = shared.watchers.subscribe(&id);
    let view = super::analyses::find(&shared, &id).await?;
    let events = shared.store.events_after(&id, after).await?;
    let nothing_left = events.is_none_or(|found| found.events.is_empty());
    if view.status == Status::Final && nothing_left {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let permit = shared.streams.clone().try_acquire_owned().map_err(|_| {
        shared.metrics.limit("sse_clients");
        Problem::new("too_many_streams", "no more event streams can be opened")
            .help("close some, poll the verdict, or raise limits.sse_clients_max")
            .retry_after(LIMIT_RETRY_SECS)
    })?;
    let open = OpenStream::new(shared, id, after, bell, permit);
    let keep_alive = KeepAlive::new().interval(HEARTBEAT);
    Ok(Sse::new(messages(open))
        .keep_alive(keep_alive)
        .into_response())
}

/// What one open stream knows.
struct OpenStream {
    shared: Arc<Shared>,
    analysis: String,
    after: u64,
    bell: watch::Receiver<()>,
    queue: VecDeque<Message>,
    ending: bool,
    /// Lives as long as the stream: a timer that each event starts anew would never come due.
    interest: Interval,
    _permit: OwnedSemaphorePermit,
    _counted: Counted,
}

/// Counts something for as long as it lives.
struct Counted(IntGauge);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn messages(open: OpenStream) -> impl Stream<Item = Result<Message, Infallible>> {
    futures_util::stream::unfold(open, |mut open| async move {
        let message = open.next().await?;
        Some((Ok(message), open))
    })
}

// === impl OpenStream ===

impl OpenStream {
    fn new(
        shared: Arc<Shared>,
        analysis: String,
        after: u64,
        mut bell: watch::Receiver<()>,
        permit: OwnedSemaphorePermit,
    ) -> OpenStream {
        // The first read of the store is due at once.
        bell.mark_changed();
        let gauge = shared.metrics.sse_clients.clone();
        gauge.inc();
        // The first tick comes at once: opening a stream is a question.
        let mut interest = tokio::time::interval(interest_every(shared.bounds.abandoned_after));
        interest.set_missed_tick_behavior(MissedTickBehavior::Delay);
        OpenStream {
            shared,
            analysis,
            after,
            bell,
            queue: VecDeque::new(),
            ending: false,
            interest,
            _permit: permit,
            _counted: Counted(gauge),
        }
    }

    /// The next message; `None` at the end.
    async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.queue.pop_front() {
                return Some(message);
            }
            if self.ending {
                return None;
            }
            let stopping = self.shared.stopping.clone();
            tokio::select! {
                rung = self.bell.changed() => match rung {
                    Ok(()) => self.fetch().await,
                    // Forgotten: nothing more will come.
                    Err(_) => self.ending = true,
                },
                _ = self.interest.tick() => {
                    self.shared.link.tell(Input::Asked { analysis: self.analysis.clone() });
                }
                () = stopping.cancelled() => self.ending = true,
            }
        }
    }

    async fn fetch(&mut self) {
        let found = self
            .shared
            .store
            .events_after(&self.analysis, self.after)
            .await;
        let found = match found {
            Ok(Some(found)) => found,
            Ok(None) => {
                self.ending = true;
                return;
            }
            Err(error) => {
                tracing::error!(%error, "an event stream ends");
                self.ending = true;
                return;
            }
        };
        if found.gap {
            let text = "some events are no longer kept; read the verdict";
            self.queue
                .push_back(Message::default().event(GAP).data(text));
        }
        for event in found.events {
            self.after = event.sequence;
            self.ending |= event.is_last;
            self.queue.push_back(message(event));
        }
    }
}

fn message(event: KeptEvent) -> Message {
    Message::default()
        .id(event.sequence.to_string())
        .event(event.kind.as_str())
        .data(event.body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interest_is_said_twice_before_an_analysis_would_be_given_up() {
        let secs = |after| interest_every(Duration::from_secs(after)).as_secs_f64();
        assert_eq!((secs(1), secs(90), secs(86_400)), (0.5, 45.0, 60.0));
    }
}
