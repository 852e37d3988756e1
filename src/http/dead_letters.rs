//! Notifications that were given up.
//!
//! Owns how an operator reads them and puts them back. When a delivery is given up is
//! [`crate::webhook`]'s, where it waits the store's.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::Serialize;

use super::Shared;
use super::analyses::PAGE_DEFAULT;
use super::problem::{LIMIT_RETRY_SECS, Problem};
use super::query::{self, Named, Parameters};
use crate::store::{Cursor, DeadLetter, LetterFilter, Letters, Redelivery};

/// A page of dead letters, newest first.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct DeadLettersAnswer {
    /// At most as many as asked for.
    pub dead_letters: Vec<DeadLetter>,
    /// The `cursor` of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What became of dead letters that were to be put back.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct RedeliveryAnswer {
    /// Put back: they wait again, under their ids, each at the end of its analysis' queue.
    pub queued: usize,
    /// Waiting already, for they were put back before.
    pub waiting: usize,
    /// Dead letters still: too many others wait for the endpoint.
    pub refused: usize,
}

impl From<Redelivery> for RedeliveryAnswer {
    fn from(told: Redelivery) -> RedeliveryAnswer {
        RedeliveryAnswer {
            queued: told.queued,
            waiting: told.waiting,
            refused: told.refused,
        }
    }
}

/// `GET /v1/dead-letters`
pub async fn list(
    State(shared): State<Arc<Shared>>,
    uri: Uri,
) -> Result<Json<DeadLettersAnswer>, Problem> {
    let given = Parameters::read(&uri, &["endpoint", "limit", "cursor"])?;
    let limit = query::limit(&given)?.unwrap_or(PAGE_DEFAULT);
    let cursor = given.parse("cursor", "the `next` of an earlier page", query::cursor)?;
    let filter = LetterFilter {
        endpoint: given.text("endpoint").map(str::to_owned),
        before: cursor.map(|cursor| cursor.started_at),
    };
    let page = shared.outbox.dead_letters(&filter, limit).await?;
    let next = page.next.map(|place| {
        query::cursor_text(&Cursor {
            started_at: place,
            id: String::new(),
        })
    });
    Ok(Json(DeadLettersAnswer {
        dead_letters: page.letters,
        next,
    }))
}

/// `POST /v1/dead-letters/{id}/redeliver`
pub async fn redeliver_one(
    State(shared): State<Arc<Shared>>,
    Named(id): Named,
) -> Result<Json<RedeliveryAnswer>, Problem> {
    let not_found = || {
        let shown: String = id.chars().take(120).collect();
        let detail = format!("no dead letter has the id {shown:?}");
        Problem::new("dead_letter_not_found", detail)
            .help("it may have been delivered meanwhile; GET /v1/dead-letters lists what there is")
    };
    let endpoint = shared.outbox.endpoint_of(&id).await?;
    let endpoint = endpoint.ok_or_else(not_found)?;
    let told = redeliver(&shared, Letters::One(&id), &endpoint).await?;
    if told.refused > 0 {
        let detail = format!("too many notifications wait for {endpoint:?} already");
        return Err(Problem::new("webhook_queue_full", detail)
            .help("send it again once the endpoint takes them, or raise webhook.queue_max")
            .retry_after(LIMIT_RETRY_SECS));
    }
    if told == Redelivery::default() {
        // Somebody else put it back, and it was delivered since.
        return Err(not_found());
    }
    Ok(Json(told.into()))
}

/// `POST /v1/dead-letters/redeliver`
pub async fn redeliver_all(
    State(shared): State<Arc<Shared>>,
    uri: Uri,
) -> Result<Json<RedeliveryAnswer>, Problem> {
    let given = Parameters::read(&uri, &["endpoint"])?;
    let Some(endpoint) = given.text("endpoint") else {
        let problem = Problem::new("invalid_parameter", "the parameter endpoint is missing");
        return Err(problem.help("name the endpoint whose dead letters are to be sent again"));
    };
    let told = redeliver(&shared, Letters::To(endpoint), endpoint).await?;
    Ok(Json(told.into()))
}

async fn redeliver(
    shared: &Shared,
    letters: Letters<'_>,
    endpoint: &str,
) -> Result<Redelivery, Problem> {
    let Some(bell) = shared.bells.get(endpoint) else {
        let shown: String = endpoint.chars().take(80).collect();
        let detail = format!("no webhook of the configuration is named {shown:?}");
        return Err(Problem::new("webhook_not_configured", detail)
            .help("nothing is sent to it; give it an entry under [[webhooks]] again"));
    };
    let told = shared.outbox.redeliver(letters, shared.clock.now()).await?;
    let redelivered = &shared.metrics.webhook.redelivered;
    let counter = redelivered.with_label_values(&[endpoint]);
    counter.inc_by(told.queued as u64);
    if told.refused > 0 {
        shared.metrics.limit("webhook_queue");
    }
    if told.queued > 0 {
        tracing::info!(endpoint, letters = told.queued, "dead letters put back");
        bell.notify_one();
    }
    Ok(told)
}
