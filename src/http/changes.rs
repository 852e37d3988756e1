//! Changes: all analyses of one, over services and regions, and what became of it.
//!
//! Owns how their verdicts come to one, and that an outcome is kept with its audit row or not at all.
//! A caller who is limited to namespaces sees the part of a change that is in those.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Shared;
use super::analyses::{AnalysisAnswer, within};
use super::door::Caller;
use super::json;
use super::problem::Problem;
use super::query::Named;
use crate::engine::AnalysisView;
use crate::judge::verdict::Status;
use crate::model::{Decision, Outcome};
use crate::store::audit::{CHANGE_OUTCOME, Entry};
use crate::store::changes::{ChangeOutcome, ChangeTold};
use crate::store::{Commit, Filter, PAGE_MAX, Page, Write};
use crate::telemetry::counting::Tally;
use crate::telemetry::{Metrics, losses};

/// Analyses of one change that are read: the newest.
pub const CHANGE_ANALYSES_MAX: usize = PAGE_MAX;

/// A change and its analyses.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct ChangeAnswer {
    /// Id of the change.
    pub change: String,
    /// fail where one that counts fails, pass where all pass and none is left out, else inconclusive.
    pub verdict: Outcome,
    /// Whether all that count are final.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// rollback where one that counts asks for it, promote where all do, else hold.
    pub decision: Decision,
    /// One sentence for people: it names those that fail.
    pub message: String,
    /// Ids of those that count and fail.
    pub failing: Vec<String>,
    /// What became of it, as somebody said.
    pub outcome: Option<OutcomeView>,
    /// Newest first, at most 200.
    pub analyses: Vec<ChangeAnalysis>,
    /// Whether older ones are left out: the change cannot pass, and what became of it is kept for the
    /// namespaces of those that are listed.
    pub truncated: bool,
}

/// An analysis of a change.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct ChangeAnalysis {
    /// Whether it counts: of several on one plan for one namespace, service, environment and region
    /// the newest does.
    pub counts: bool,
    /// The analysis.
    #[serde(flatten)]
    pub analysis: AnalysisAnswer,
}

/// What became of a change.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct OutcomeView {
    /// promoted, rolled_back, incident or false_alarm.
    pub outcome: ChangeOutcome,
    /// Who said so, as the request says.
    pub actor: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// When, unix milliseconds.
    pub at: i64,
}

/// Tells what became of a change.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutcomeRequest {
    /// What became of it.
    pub outcome: ChangeOutcome,
    /// Who says so.
    pub actor: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// `GET /v1/changes/{id}`
pub async fn read(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Named(id): Named,
) -> Result<Json<ChangeAnswer>, Problem> {
    let page = analyses_of(&shared, &caller, &id).await?;
    Ok(Json(answer(&shared, &caller, &id, &page).await?))
}

/// `POST /v1/changes/{id}/outcome`: replaces what was said before; the same again changes nothing.
pub async fn tell(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Named(id): Named,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ChangeAnswer>, Problem> {
    let given: OutcomeRequest = json::read(&shared, &headers, body, None).await?;
    within("actor", given.actor.as_deref())?;
    within("reason", given.reason.as_deref())?;
    let page = analyses_of(&shared, &caller, &id).await?;
    keep(&shared, &caller, &id, &page, given).await?;
    Ok(Json(answer(&shared, &caller, &id, &page).await?))
}

/// Keeps what became of a change in the namespaces of these analyses.
///
/// # Errors
/// `store_failed`.
pub(super) async fn keep(
    shared: &Shared,
    caller: &Caller,
    id: &str,
    page: &Page,
    given: OutcomeRequest,
) -> Result<(), Problem> {
    let views = page.analyses.iter();
    let namespaces: BTreeSet<&Option<String>> = views.map(|view| &view.change.namespace).collect();
    let before = shared.store.outcomes(id).await?;
    let mut commit = Commit::default();
    let mut said = Vec::new();
    for namespace in namespaces {
        let told = ChangeTold {
            change: id.to_owned(),
            namespace: namespace.clone(),
            outcome: given.outcome,
            actor: given.actor.clone(),
            reason: given.reason.clone(),
            at: shared.clock.now(),
        };
        let is_same = |known: &ChangeTold| {
            let at = told.at;
            ChangeTold {
                at,
                ..known.clone()
            } == told
        };
        if before.iter().any(is_same) {
            continue;
        }
        let entry = row_of(caller, &told);
        let known = before
            .iter()
            .find(|known| known.namespace == told.namespace);
        said.push((told.namespace.clone(), known.map(|known| known.outcome)));
        commit.writes.push(Write::Outcome(told));
        commit.writes.push(Write::Audit(Box::new(entry)));
    }
    if !commit.writes.is_empty() {
        let losses = shared.store.commit(commit).await?;
        let mut tally = Tally::default();
        for (namespace, before) in said {
            count(&shared.metrics, page, &namespace, given.outcome, before);
            tally.add_row(None, CHANGE_OUTCOME);
        }
        shared.metrics.count(&tally, &losses.refused);
        losses::tell(losses, &shared.metrics);
    }
    Ok(())
}

/// Counts what became of a change in one of its namespaces, under the service of its analyses there.
fn count(
    metrics: &Metrics,
    page: &Page,
    namespace: &Option<String>,
    outcome: ChangeOutcome,
    before: Option<ChangeOutcome>,
) {
    let changes = page.analyses.iter().map(|view| &view.change);
    let there = changes.filter(|change| change.namespace == *namespace);
    let services = there.map(|change| change.service.as_deref());
    let service = metrics.changes.label_of_all(services);
    metrics.changes.count_outcome(service, outcome, before);
}

fn row_of(caller: &Caller, told: &ChangeTold) -> Entry {
    let detail = json!({ "outcome": told.outcome, "namespace": told.namespace });
    Entry {
        change: Some(told.change.clone()),
        reason: told.reason.clone().unwrap_or_default(),
        detail: detail.to_string(),
        ..Entry::new(told.at, CHANGE_OUTCOME)
    }
    .by(caller.by.as_ref(), told.actor.as_deref())
}

/// The analyses of a change that the caller may know of, newest first.
pub(super) async fn analyses_of(
    shared: &Shared,
    caller: &Caller,
    id: &str,
) -> Result<Page, Problem> {
    let filter = Filter {
        change: Some(id.to_owned()),
        namespaces: caller.namespaces.clone(),
        ..Filter::default()
    };
    let page = shared
        .store
        .list(&filter, None, CHANGE_ANALYSES_MAX)
        .await?;
    if page.analyses.is_empty() {
        let shown: String = id.chars().take(80).collect();
        let detail = format!("no analysis is of a change {shown:?}");
        return Err(Problem::new("change_not_found", detail)
            .help("name a change by `change.id` of its analyses; old ones are forgotten"));
    }
    if page.next.is_some() {
        shared.metrics.limit("change_analyses");
    }
    Ok(page)
}

async fn answer(
    shared: &Shared,
    caller: &Caller,
    id: &str,
    page: &Page,
) -> Result<ChangeAnswer, Problem> {
    let (views, is_whole) = (&page.analyses, page.next.is_none());
    let told = shared.store.outcomes(id).await?;
    let seen = told
        .iter()
        .filter(|told| caller.sees(told.namespace.as_deref()));
    let outcome = seen.max_by_key(|told| told.at).map(|told| OutcomeView {
        outcome: told.outcome,
        actor: told.actor.clone(),
        reason: told.reason.clone(),
        at: told.at.millis(),
    });
    let counting = counting(views);
    let count = |view: &&Arc<AnalysisView>| counting.contains(view.id.as_str());
    let those: Vec<&Arc<AnalysisView>> = views.iter().filter(count).collect();
    let all = |like: &dyn Fn(&AnalysisView) -> bool| those.iter().all(|view| like(view));
    let failing = those.iter().filter(|view| view.verdict == Outcome::Fail);
    let failing: Vec<&Arc<AnalysisView>> = failing.copied().collect();
    let is_final = all(&|view| view.status == Status::Final);
    let verdict = match () {
        () if !failing.is_empty() => Outcome::Fail,
        () if is_whole && all(&|view| view.verdict == Outcome::Pass) => Outcome::Pass,
        () => Outcome::Inconclusive,
    };
    let decision = match () {
        () if !all(&|view| view.decision != Decision::Rollback) => Decision::Rollback,
        () if is_whole && all(&|view| view.decision == Decision::Promote) => Decision::Promote,
        () => Decision::Hold,
    };
    Ok(ChangeAnswer {
        change: id.to_owned(),
        verdict,
        is_final,
        decision,
        message: match is_whole {
            true => message(verdict, those.len(), &failing),
            false => format!(
                "{}; more than {CHANGE_ANALYSES_MAX} analyses are of this change, and the older are left out: give every rollout a change.id of its own",
                message(verdict, those.len(), &failing)
            ),
        },
        failing: failing.iter().map(|view| view.id.clone()).collect(),
        outcome,
        analyses: views
            .iter()
            .map(|view| ChangeAnalysis {
                counts: counting.contains(view.id.as_str()),
                analysis: AnalysisAnswer::from(&**view),
            })
            .collect(),
        truncated: !is_whole,
    })
}

/// Ids of those that count: one that was started anew stands for those before it.
fn counting(newest_first: &[Arc<AnalysisView>]) -> BTreeSet<&str> {
    let mut newest = BTreeMap::new();
    for view in newest_first {
        let change = &view.change;
        let place = (
            &view.plan,
            &change.namespace,
            &change.service,
            &change.environment,
            &change.region,
        );
        newest.entry(place).or_insert(view.id.as_str());
    }
    newest.into_values().collect()
}

fn message(verdict: Outcome, count: usize, failing: &[&Arc<AnalysisView>]) -> String {
    let named = |view: &&Arc<AnalysisView>| {
        let change = &view.change;
        let place = [&change.service, &change.environment, &change.region];
        let place: Vec<&str> = place.into_iter().flatten().map(String::as_str).collect();
        let place = if place.is_empty() {
            view.plan.as_str()
        } else {
            &place.join(" ")
        };
        format!("{place} ({})", view.id)
    };
    match verdict {
        Outcome::Fail => {
            let failing: Vec<String> = failing.iter().map(named).collect();
            format!("fail, of {count} analyses: {}", failing.join(", "))
        }
        Outcome::Pass => format!("pass: all {count} analyses pass"),
        Outcome::Inconclusive => format!("inconclusive: not all of {count} analyses pass"),
    }
}
