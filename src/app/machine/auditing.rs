//! What the engine says of a change, as a row of the audit log.
//!
//! Owns the words of a row. What is worth one is the engine's to say, and how rows hold together the
//! store's.

use serde_json::{Value, json};

use crate::engine::Event;
use crate::engine::audit::{Actor, Audited};
use crate::judge::verdict::VerdictBody;
use crate::model::Timestamp;
use crate::store::audit::{Entry, sha256};

/// The row of a change of an analysis.
pub(super) fn entry_of(audited: &Audited) -> Entry {
    let body = &*audited.body;
    let mut entry = about(audited.at, audited.kind, body);
    if let Actor::Asked { by, given } = &audited.cause.actor {
        entry = entry.by(by.as_ref(), given.as_deref());
    }
    if let Some(reason) = &audited.cause.reason {
        entry.reason.clone_from(reason);
    }
    if let Some((name, weight)) = &audited.step {
        entry.detail = json!({ "step": name, "weight": weight }).to_string();
    }
    entry.inputs_sha256 = Some(audited.inputs.to_string());
    entry
}

/// The row of an end that no engine has seen: what had come by then is not known.
pub(in crate::app) fn entry_of_end(event: &Event) -> Entry {
    about(event.at, event.kind.as_str(), &event.body)
}

fn about(at: Timestamp, kind: &str, body: &VerdictBody) -> Entry {
    let text = serde_json::to_vec(body).expect("a verdict body is plain data");
    Entry {
        analysis: Some(body.analysis.clone()),
        change: body.change.id.clone(),
        plan_hash: Some(body.plan_hash.clone()),
        reason: body.message.clone(),
        detail: detail(body).to_string(),
        verdict_sha256: Some(sha256(&text)),
        engine_revision: body.engine_revision,
        ..Entry::new(at, kind)
    }
}

fn detail(body: &VerdictBody) -> Value {
    json!({
        "plan": body.plan,
        "namespace": body.change.namespace,
        "service": body.change.service,
        "revision": body.change.revision,
        "verdict": body.verdict,
        "final": body.is_final,
        "reason": body.reason,
        "decision": body.decision,
        "override": body.overridden.as_ref().map(|overridden| overridden.decision),
    })
}
