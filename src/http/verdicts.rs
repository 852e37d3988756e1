//! `GET /v1/analyses/{id}/verdict`: the answer controllers come for.
//!
//! Owns the long poll. The body is always a whole verdict, JSON and 200; whatever is not a
//! verdict is not a 2xx, because there are controllers that take any 2xx for a success.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};

use super::Shared;
use super::analyses::{Visible, find};
use super::problem::Problem;
use super::query::{self, Parameters};
use crate::engine::{AnalysisView, Input, Verdict};
use crate::judge::verdict::{GateKind, VerdictBody};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The handler.
pub async fn read(
    State(shared): State<Arc<Shared>>,
    Visible(id): Visible,
    uri: Uri,
) -> Result<Response, Problem> {
    let given = Parameters::read(&uri, &["wait", "gate"])?;
    let wait = given
        .parse("wait", "a duration such as 30s", query::duration)?
        .unwrap_or_default();
    let gate = given.parse("gate", "final or step", |text| match text {
        "final" => Some(GateKind::Final),
        "step" => Some(GateKind::Step),
        _ => None,
    })?;
    let gate = gate.unwrap_or(GateKind::Final);
    let wait = wait.min(shared.bounds.long_poll_max);
    // Subscribed before the first look, so that no change falls between.
    let bell = (wait > Duration::ZERO).then(|| shared.watchers.subscribe(&id));
    let first = body_of(&*find(&shared, &id).await?, gate);
    if shared.interest.is_due(&id, shared.clock.now()) {
        shared.link.tell(Input::Asked {
            analysis: id.clone(),
        });
    }
    let is_decided = first.is_final || first.gate.open;
    let Some(mut bell) = bell.filter(|_| !is_decided) else {
        return json(&first);
    };
    let changed = async {
        while bell.changed().await.is_ok() {
            let Ok(Some(view)) = shared.store.analysis(&id).await else {
                return;
            };
            if differs(&first, &body_of(&view, gate)) {
                return;
            }
        }
    };
    tokio::select! {
        () = changed => {}
        () = tokio::time::sleep(wait) => {}
        () = shared.stopping.cancelled() => {}
    }
    let last = body_of(&*find(&shared, &id).await?, gate);
    json(&last)
}

/// The text, without a copy of it.
fn json(verdict: &Verdict) -> Result<Response, Problem> {
    let text = verdict.json().map_err(|error| {
        tracing::error!(%error, "a verdict cannot be written");
        Problem::new("internal", "this should not have happened")
    })?;
    let text = Bytes::from_owner(text);
    Ok(([(header::CONTENT_TYPE, JSON)], text).into_response())
}

fn body_of(view: &AnalysisView, gate: GateKind) -> Arc<Verdict> {
    match gate {
        GateKind::Final => view.body.clone(),
        GateKind::Step => view.step_body.clone(),
    }
}

/// Whether a controller would act otherwise on `now` than on `before`.
fn differs(before: &VerdictBody, now: &VerdictBody) -> bool {
    let acts = |body: &VerdictBody| (body.verdict, body.is_final, body.decision, body.gate.open);
    acts(before) != acts(now) || before.gate.step != now.gate.step
}
