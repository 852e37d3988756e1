//! Writes analyses, their events and their plans, inside a transaction of somebody else's.
//!
//! Owns the SQL of it, and how many events and analyses are kept. Next: `read`.

use sqlx::AnyConnection;

use super::is_live;
use super::read::view_text;
use crate::engine::{AnalysisView, Event};
use crate::judge::verdict::Status;
use crate::plan::Plan;
use crate::store::changes::ChangeTold;
use crate::store::{EVENTS_KEPT_FINAL_MAX, EVENTS_KEPT_MAX, StoreError};

const PUT_VIEW: &str = "INSERT INTO analyses
    (id, plan, plan_hash, service, verdict, status, started_at, ended_at, live, view,
    namespace, change_id)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
    ON CONFLICT (id) DO UPDATE SET
    plan = excluded.plan, plan_hash = excluded.plan_hash, service = excluded.service,
    verdict = excluded.verdict, status = excluded.status, started_at = excluded.started_at,
    ended_at = excluded.ended_at, live = excluded.live, view = excluded.view";

/// An event of an analysis that nobody knows is not kept.
const PUT_EVENT: &str = "INSERT INTO events (analysis, sequence, at, kind, is_last, body)
    SELECT id, $2, $3, $4, $5, $6 FROM analyses WHERE id = $1";

const PUT_PLAN: &str = "INSERT INTO plans (hash, name, plan) VALUES ($1, $2, $3)
    ON CONFLICT (hash) DO NOTHING";

/// The plan goes with the last analysis that ran on it.
const FORGET_PLAN: &str = "DELETE FROM plans WHERE hash = $1
    AND NOT EXISTS (SELECT 1 FROM analyses WHERE plan_hash = $1)";

/// What became of a change goes with the last of its analyses.
const FORGET_OUTCOMES: &str = "DELETE FROM outcomes WHERE change_id = $1
    AND NOT EXISTS (SELECT 1 FROM analyses WHERE change_id = $1)";

const PUT_OUTCOME: &str = "INSERT INTO outcomes (change_id, namespace, outcome, actor, reason, at)
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (change_id, namespace) DO UPDATE SET outcome = excluded.outcome,
    actor = excluded.actor, reason = excluded.reason, at = excluded.at";

const RETIRE: &str = "DELETE FROM analyses WHERE id IN
    (SELECT id FROM analyses WHERE live = 0 ORDER BY ended_at, id LIMIT $1)
    RETURNING id, plan_hash, change_id";

/// Everything up to this input of the sample log is written with this transaction.
pub(super) async fn position(to: &mut AnyConnection, position: u64) -> Result<(), StoreError> {
    let position = i64::try_from(position).unwrap_or(i64::MAX);
    let reached = sqlx::query("UPDATE log_position SET position = $1").bind(position);
    reached.execute(to).await?;
    Ok(())
}

pub(super) async fn plan(to: &mut AnyConnection, plan: &Plan) -> Result<(), StoreError> {
    let text = serde_json::to_string(plan).expect("a plan is plain data");
    sqlx::query(PUT_PLAN)
        .bind(plan.hash())
        .bind(plan.name.as_str())
        .bind(text)
        .execute(to)
        .await?;
    Ok(())
}

pub(super) async fn view(to: &mut AnyConnection, view: &AnalysisView) -> Result<(), StoreError> {
    let status = match view.status {
        Status::Pending => "pending",
        Status::Running => "running",
        Status::Final => "final",
    };
    sqlx::query(PUT_VIEW)
        .bind(view.id.as_str())
        .bind(view.plan.as_str())
        .bind(view.plan_hash.as_str())
        .bind(view.change.service.as_deref())
        .bind(view.verdict.as_str())
        .bind(status)
        .bind(view.started_at)
        .bind(view.final_at.unwrap_or(view.started_at))
        .bind(i64::from(is_live(view)))
        .bind(view_text(view))
        .bind(view.change.namespace.as_deref())
        .bind(view.change.id.as_deref())
        .execute(to)
        .await?;
    Ok(())
}

/// Writes an event, which may push out the oldest.
pub(super) async fn event(to: &mut AnyConnection, event: &Event) -> Result<(), StoreError> {
    let is_last = event.is_last();
    let body = serde_json::to_string(&*event.body).expect("a verdict body is plain data");
    let sequence = i64::try_from(event.sequence).unwrap_or(i64::MAX);
    sqlx::query(PUT_EVENT)
        .bind(event.analysis.as_str())
        .bind(sequence)
        .bind(event.at.millis())
        .bind(event.kind.as_str())
        .bind(i64::from(is_last))
        .bind(body)
        .execute(&mut *to)
        .await?;
    let kept_max = if is_last {
        EVENTS_KEPT_FINAL_MAX
    } else {
        EVENTS_KEPT_MAX
    };
    // Their numbers have no holes, so numbers say how many there are.
    sqlx::query("DELETE FROM events WHERE analysis = $1 AND sequence <= $2")
        .bind(event.analysis.as_str())
        .bind(sequence - kept_max as i64)
        .execute(to)
        .await?;
    Ok(())
}

/// Forgets an analysis with its events, and its plan where no other ran on it.
pub(super) async fn forget(to: &mut AnyConnection, analysis: &str) -> Result<(), StoreError> {
    let forgotten: Vec<(String, Option<String>)> =
        sqlx::query_as("DELETE FROM analyses WHERE id = $1 RETURNING plan_hash, change_id")
            .bind(analysis)
            .fetch_all(&mut *to)
            .await?;
    for (plan_hash, change) in forgotten {
        forget_plan(to, &plan_hash).await?;
        forget_outcomes(to, change.as_deref()).await?;
    }
    Ok(())
}

async fn forget_plan(to: &mut AnyConnection, hash: &str) -> Result<(), StoreError> {
    sqlx::query(FORGET_PLAN).bind(hash).execute(to).await?;
    Ok(())
}

async fn forget_outcomes(to: &mut AnyConnection, change: Option<&str>) -> Result<(), StoreError> {
    if let Some(change) = change {
        sqlx::query(FORGET_OUTCOMES)
            .bind(change)
            .execute(to)
            .await?;
    }
    Ok(())
}

/// Writes what became of a change; what was said before is replaced.
pub(super) async fn outcome(to: &mut AnyConnection, told: &ChangeTold) -> Result<(), StoreError> {
    sqlx::query(PUT_OUTCOME)
        .bind(told.change.as_str())
        .bind(told.namespace.as_deref().unwrap_or_default())
        .bind(told.outcome.as_str())
        .bind(told.actor.as_deref())
        .bind(told.reason.as_deref())
        .bind(told.at.millis())
        .execute(to)
        .await?;
    Ok(())
}

/// Forgets those that ended first, past so many that take no samples; their ids.
pub(super) async fn retire(to: &mut AnyConnection, most: u64) -> Result<Vec<String>, StoreError> {
    let ended: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM analyses WHERE live = 0")
        .fetch_one(&mut *to)
        .await?;
    let surplus = ended.saturating_sub(i64::try_from(most).unwrap_or(i64::MAX));
    if surplus <= 0 {
        return Ok(Vec::new());
    }
    let retired: Vec<(String, String, Option<String>)> = sqlx::query_as(RETIRE)
        .bind(surplus)
        .fetch_all(&mut *to)
        .await?;
    let mut ids = Vec::new();
    for (id, plan_hash, change) in retired {
        forget_plan(to, &plan_hash).await?;
        forget_outcomes(to, change.as_deref()).await?;
        ids.push(id);
    }
    Ok(ids)
}
