//! Analyses: start, list, read, step, cancel, recording.
//!
//! Owns what callers send and get about an analysis as a whole. Its verdict is in
//! [`super::verdicts`], its events in [`super::events`].

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;

use super::Shared;
use super::door::Caller;
use super::json;
use super::link::Answer;
use super::problem::{BUSY_RETRY_SECS, Problem};
use super::query::{self, Named, Parameters};
use super::samples::unexpected;
use super::start;
use crate::engine::{AnalysisView, Input};
use crate::model::Outcome;
use crate::store::{Filter, Pieces, StoreError};

/// Analyses on a page unless the caller says otherwise.
pub const PAGE_DEFAULT: usize = 50;
/// Recordings read at the same time.
pub const RECORDING_READS_MAX: usize = 8;
/// Bytes of a step's name, an actor or a reason.
pub const WORDS_BYTES_MAX: usize = 256;

/// An analysis as callers read it.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct AnalysisAnswer {
    /// The analysis.
    #[serde(flatten)]
    pub view: AnalysisView,
    /// In the answer to a start: the analyses that it ended, of the same service, environment and
    /// region and another revision.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub superseded: Vec<String>,
    /// Where to read on.
    pub links: BTreeMap<&'static str, String>,
}

/// A page of analyses, newest first.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct AnalysesAnswer {
    /// At most as many as asked for.
    pub analyses: Vec<AnalysisAnswer>,
    /// Give it as `cursor` to get the next page; `null` on the last one.
    pub next: Option<String>,
}

/// Enters a step of a rollout.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepRequest {
    /// Such as `50%`.
    pub name: String,
    /// Traffic weight of the canary, percent.
    pub weight: Option<f64>,
    /// Whether further steps follow: with `true` a pass is not final before the horizon, with `false`
    /// not before this step has seen enough of its own. The current step may be told again: it goes on.
    pub steps_follow: Option<bool>,
}

/// Ends an analysis.
#[derive(Debug, Clone, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CancelRequest {
    /// Who.
    pub actor: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

impl From<&AnalysisView> for AnalysisAnswer {
    fn from(view: &AnalysisView) -> AnalysisAnswer {
        let base = format!("/v1/analyses/{}", view.id);
        AnalysisAnswer {
            superseded: Vec::new(),
            view: view.clone(),
            links: BTreeMap::from([
                ("events", format!("{base}/events")),
                ("recording", format!("{base}/recording")),
                ("self", base.clone()),
                ("verdict", format!("{base}/verdict")),
            ]),
        }
    }
}

/// `POST /v1/analyses`
pub async fn create(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let request = start::read(&shared, &caller, &headers, body).await?;
    let (id, existing, superseded) = match shared.ask(Input::Start(Box::new(request))).await? {
        Answer::Started {
            analysis,
            existing,
            superseded,
        } => (analysis, existing, superseded),
        Answer::Refused(refusal) => return Err(refusal.into()),
        other => return Err(unexpected(&other)),
    };
    let view = find(&shared, &id).await?;
    let answer = AnalysisAnswer {
        superseded,
        ..AnalysisAnswer::from(&*view)
    };
    let status = if existing {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let mut response = (status, Json(&answer)).into_response();
    if let Ok(location) = HeaderValue::from_str(&answer.links["self"]) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// `GET /v1/analyses`
pub async fn list(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<AnalysesAnswer>, Problem> {
    let given = Parameters::read(
        &uri,
        &[
            "service",
            "plan",
            "verdict",
            "started_from",
            "started_before",
            "limit",
            "cursor",
        ],
    )?;
    let time = "an RFC 3339 time or unix milliseconds";
    let filter = Filter {
        service: given.text("service").map(str::to_string),
        namespaces: caller.namespaces,
        change: None,
        plan: given.text("plan").map(str::to_string),
        verdict: given.parse("verdict", "pass, fail or inconclusive", |text| match text {
            "pass" => Some(Outcome::Pass),
            "fail" => Some(Outcome::Fail),
            "inconclusive" => Some(Outcome::Inconclusive),
            _ => None,
        })?,
        started_from: given.parse("started_from", time, query::instant)?,
        started_before: given.parse("started_before", time, query::instant)?,
    };
    let limit = query::limit(&given)?;
    let cursor = given.parse("cursor", "the `next` of an earlier page", query::cursor)?;
    let limit = limit.unwrap_or(PAGE_DEFAULT);
    let page = shared.store.list(&filter, cursor.as_ref(), limit).await?;
    Ok(Json(AnalysesAnswer {
        analyses: page
            .analyses
            .iter()
            .map(|view| AnalysisAnswer::from(&**view))
            .collect(),
        next: page.next.as_ref().map(query::cursor_text),
    }))
}

/// `GET /v1/analyses/{id}`
pub async fn read(
    State(shared): State<Arc<Shared>>,
    Visible(id): Visible,
) -> Result<Json<AnalysisAnswer>, Problem> {
    Ok(Json(AnalysisAnswer::from(&*find(&shared, &id).await?)))
}

/// `POST /v1/analyses/{id}/steps`
pub async fn step(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Visible(id): Visible,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<AnalysisAnswer>, Problem> {
    let step: StepRequest = json::read(&shared, &headers, body, None).await?;
    within("name", Some(&step.name))?;
    if step
        .weight
        .is_some_and(|weight| !(0.0..=100.0).contains(&weight))
    {
        return Err(
            Problem::new("invalid_request", "`weight` is not between 0 and 100")
                .help("give the canary's share of traffic in percent"),
        );
    }
    let StepRequest {
        name,
        weight,
        steps_follow,
    } = step;
    order(
        &shared,
        Input::Step {
            analysis: id.clone(),
            name,
            weight,
            steps_follow,
            by: caller.by,
        },
    )
    .await?;
    Ok(Json(AnalysisAnswer::from(&*find(&shared, &id).await?)))
}

/// `POST /v1/analyses/{id}/cancel`
pub async fn cancel(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Visible(id): Visible,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<AnalysisAnswer>, Problem> {
    let given: CancelRequest =
        json::read(&shared, &headers, body, Some(CancelRequest::default())).await?;
    within("actor", given.actor.as_deref())?;
    within("reason", given.reason.as_deref())?;
    let CancelRequest { actor, reason } = given;
    order(
        &shared,
        Input::Cancel {
            analysis: id.clone(),
            actor,
            reason,
            by: caller.by,
        },
    )
    .await?;
    Ok(Json(AnalysisAnswer::from(&*find(&shared, &id).await?)))
}

/// `GET /v1/analyses/{id}/recording`
pub async fn recording(
    State(shared): State<Arc<Shared>>,
    Visible(id): Visible,
) -> Result<Response, Problem> {
    let Ok(room) = shared.recordings.clone().try_acquire_owned() else {
        shared.metrics.limit("recording_reads");
        let detail = format!("{RECORDING_READS_MAX} recordings are being read");
        return Err(Problem::new("too_many_recordings", detail)
            .help("read it again after the stated time")
            .retry_after(BUSY_RETRY_SECS));
    };
    let found = shared.store.recording(&id).await?;
    let recording = found.ok_or_else(|| Problem::analysis_not_found(&id))?;
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/x-ndjson"),
        ),
        (header::CONTENT_LENGTH, HeaderValue::from(recording.bytes)),
    ];
    let body = Body::from_stream(sent(recording.text, room));
    let mut response = (headers, body).into_response();
    if let Some(bytes_max) = recording.truncated_at_bytes {
        // A header, not a line: a replay must not take the mark for an input.
        response
            .headers_mut()
            .insert(TRUNCATED, HeaderValue::from(bytes_max));
    }
    Ok(response)
}

/// The text as it is sent, a piece at a time: a recording may have a gigabyte. The room is kept
/// until the last of it. A text that cannot be read on ends short of the length it was announced
/// with, which no reader takes for the whole.
fn sent(
    text: Pieces,
    room: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<String, StoreError>> {
    futures_util::stream::unfold((text, room), |(mut text, room)| async move {
        let piece = text.next()?;
        if let Err(error) = &piece {
            tracing::error!(%error, "a recording ends short");
        }
        Some((piece, (text, room)))
    })
}

/// Header of a recording that is not whole: the bytes after which lines were not kept.
pub const TRUNCATED: header::HeaderName =
    header::HeaderName::from_static("davy-truncated-at-bytes");

/// The id of an analysis in the path, where the caller may know of it: to one who is limited to
/// other namespaces it is as if it were not there.
#[derive(Debug, Clone)]
pub struct Visible(pub String);

impl FromRequestParts<Arc<Shared>> for Visible {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        shared: &Arc<Shared>,
    ) -> Result<Visible, Problem> {
        let caller = Caller::from_request_parts(parts, shared).await?;
        let Named(id) = Named::from_request_parts(parts, shared).await?;
        if caller.namespaces.is_some() {
            let view = find(shared, &id).await?;
            if !caller.sees(view.change.namespace.as_deref()) {
                return Err(Problem::analysis_not_found(&id));
            }
        }
        Ok(Visible(id))
    }
}

/// The readable state of an analysis.
///
/// # Errors
/// `analysis_not_found`.
pub async fn find(shared: &Shared, id: &str) -> Result<Arc<AnalysisView>, Problem> {
    let found = shared.store.analysis(id).await?;
    found.ok_or_else(|| Problem::analysis_not_found(id))
}

pub(super) async fn order(shared: &Shared, input: Input) -> Result<(), Problem> {
    match shared.ask(input).await? {
        Answer::Refused(refusal) => Err(refusal.into()),
        _ => Ok(()),
    }
}

pub(super) fn within(name: &str, text: Option<&str>) -> Result<(), Problem> {
    if text.is_some_and(|text| text.is_empty() || text.len() > WORDS_BYTES_MAX) {
        let detail = format!("`{name}` must have 1 to {WORDS_BYTES_MAX} bytes");
        return Err(Problem::new("invalid_request", detail));
    }
    // Databases and terminals take it for the end.
    if text.is_some_and(|text| text.contains('\0')) {
        let detail = format!("`{name}` holds a character of code 0; leave it out");
        return Err(Problem::new("invalid_request", detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::StreamExt;
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn a_recording_is_unpacked_a_piece_at_a_time_and_keeps_its_room_until_the_last() {
        let rooms = Arc::new(Semaphore::new(1));
        let room = rooms.clone().try_acquire_owned().expect("it is free");
        let unpacked = Arc::new(AtomicUsize::new(0));
        let counted = unpacked.clone();
        let text = (1..=3).map(move |number| {
            counted.fetch_add(1, Ordering::SeqCst);
            Ok(format!("{number}\n"))
        });
        let mut stream = std::pin::pin!(sent(Box::new(text), room));
        let mut whole = String::new();
        for number in 1..=3 {
            let piece = stream.next().await.expect("three").expect("whole");
            whole.push_str(&piece);
            assert_eq!(unpacked.load(Ordering::SeqCst), number);
            assert_eq!(rooms.available_permits(), 0);
        }
        assert!(stream.next().await.is_none());
        assert_eq!(rooms.available_permits(), 1);
        assert_eq!(whole, "1\n2\n3\n");
    }
}
