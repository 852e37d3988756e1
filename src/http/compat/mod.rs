//! What deployment controllers ask that know nothing of davy: each in its own words.
//!
//! Owns how a controller's question finds its analysis. Controllers ask again and again and never say
//! that a rollout ended, so the first question of a revision starts an analysis, and every later one
//! finds it by what is deployed: namespace, service, revision, plan. What a controller sends and reads
//! is in [`argo`], [`flagger`], [`kayenta`] and [`query`]; none of them decides anything.

pub mod argo;
pub mod flagger;
pub mod kayenta;
pub mod query;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::Shared;
use super::analyses::find;
use super::door::Caller;
use super::link::Answer;
use super::problem::Problem;
use super::samples::unexpected;
use super::start::{StartRequest, prepare};
use crate::engine::{AnalysisView, Input, RefusalCode};
use crate::judge::verdict::Status;
use crate::model::{Change, Millis, Outcome, Reason, Timestamp};
use crate::store::Filter;

/// Analyses of one revision on one plan that are looked through: the newest.
const ATTEMPTS_MAX: usize = 20;

/// How long an analysis that a newer revision took the place of is left ended: a question of the old
/// rollout that was on its way must not end the new one's analysis in turn.
pub const SUPERSEDED_REST: Millis = 60_000;

/// What a controller asks about.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Name of the plan.
    pub plan: String,
    /// Variables of the plan's arm matchers.
    pub arms: BTreeMap<String, String>,
    /// What is deployed: its namespace, service and revision say whose analysis is meant.
    pub change: Change,
}

/// A step as a controller tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AtStep {
    /// Its name.
    pub name: String,
    /// Whether others follow.
    pub steps_follow: bool,
}

// === impl Subject ===

impl Subject {
    /// The analysis that the question is about: the newest of this revision, one that is begun now
    /// where there is none or where a new question needs a new one. A step that is given is entered.
    ///
    /// # Errors
    /// As a start, and as entering a step.
    pub async fn attend(
        &self,
        shared: &Shared,
        caller: &Caller,
        step: Option<&AtStep>,
    ) -> Result<Arc<AnalysisView>, Problem> {
        let known = self.known(shared, caller).await?;
        let now = shared.clock.now();
        let view = match known.first() {
            Some(newest) if answers(newest, step, now) => newest.clone(),
            _ => self.begin(shared, caller, known.first()).await?,
        };
        keep_alive(shared, &view);
        match step {
            Some(step) => enter(shared, caller, view, step).await,
            None => Ok(view),
        }
    }

    /// A new analysis, although there is one.
    ///
    /// # Errors
    /// As a start, and as entering a step.
    pub async fn anew(
        &self,
        shared: &Shared,
        caller: &Caller,
        step: &AtStep,
    ) -> Result<Arc<AnalysisView>, Problem> {
        let known = self.known(shared, caller).await?;
        let view = self.begin(shared, caller, known.first()).await?;
        enter(shared, caller, view, step).await
    }

    /// Analyses of this revision on this plan that the caller may know of, newest first.
    ///
    /// # Errors
    /// `store_failed`.
    pub async fn known(
        &self,
        shared: &Shared,
        caller: &Caller,
    ) -> Result<Vec<Arc<AnalysisView>>, Problem> {
        let filter = Filter {
            change: self.change.id.clone(),
            namespaces: caller.namespaces.clone(),
            plan: Some(self.plan.clone()),
            ..Filter::default()
        };
        let page = shared.store.list(&filter, None, ATTEMPTS_MAX).await?;
        let arms = self.filled(shared);
        let is_it = |view: &Arc<AnalysisView>| self.is_of(view) && view.arms == arms;
        Ok(page.analyses.into_iter().filter(is_it).collect())
    }

    fn is_of(&self, view: &AnalysisView) -> bool {
        let (own, its) = (&self.change, &view.change);
        own.namespace == its.namespace
            && own.service == its.service
            && own.environment == its.environment
            && own.region == its.region
            && own.revision == its.revision
    }

    /// Whether an analysis could be started.
    ///
    /// # Errors
    /// Why it could not.
    pub async fn check(&self, shared: &Shared, caller: &Caller) -> Result<(), Problem> {
        prepare(shared, caller, self.request(shared))
            .await
            .map(drop)
    }

    fn request(&self, shared: &Shared) -> StartRequest {
        StartRequest {
            plan: Value::String(self.plan.clone()),
            arms: self.filled(shared),
            change: self.change.clone(),
        }
    }

    /// Variables of the arms, with those that follow from what is deployed.
    fn filled(&self, shared: &Shared) -> BTreeMap<String, String> {
        let mut arms = self.arms.clone();
        let change = &self.change;
        // A plan for many services asks for these by their names; one that does not must not get them.
        let usual = [
            ("namespace", &change.namespace),
            ("service", &change.service),
            ("revision", &change.revision),
        ];
        let plans = shared.plans.current();
        let templates = plans.get(&self.plan).and_then(|plan| plan.arms.as_ref());
        for (name, value) in usual {
            let asks = templates.is_some_and(|templates| {
                let (baseline, canary) = (&templates.baseline, &templates.canary);
                baseline.variables().contains(name) || canary.variables().contains(name)
            });
            if let (true, Some(value)) = (asks, value) {
                arms.entry(name.to_owned()).or_insert_with(|| value.clone());
            }
        }
        arms
    }

    /// Starts an analysis; of several that ask at the same time one does, and all get it.
    async fn begin(
        &self,
        shared: &Shared,
        caller: &Caller,
        newest: Option<&Arc<AnalysisView>>,
    ) -> Result<Arc<AnalysisView>, Problem> {
        let mut start = prepare(shared, caller, self.request(shared)).await?;
        let change = &self.change;
        // The next one after the newest, whoever of several asks for it.
        let newest = newest.map(|view| &view.id);
        let parts = [
            &change.id,
            &change.namespace,
            &change.service,
            &change.environment,
            &change.region,
            &change.revision,
        ];
        let whole = serde_json::json!([parts, self.plan, start.arms, newest]).to_string();
        let digest = super::start::sha256(&whole);
        start.idempotency_key = Some(format!("controller:{digest}"));
        // Whatever became of the plan meanwhile, it is the same question.
        start.request_digest = digest;
        match shared.ask(Input::Start(Box::new(start))).await? {
            Answer::Started { analysis, .. } => find(shared, &analysis).await,
            Answer::Refused(refusal) => Err(refusal.into()),
            other => Err(unexpected(&other)),
        }
    }
}

/// Whether an analysis answers the question: one that has ended does not answer what comes after it.
///
/// A fail stays, and what a person decided or ended. One that was given up for want of questions, or
/// that another revision took the place of, does not stand for a rollout that goes on after all. And
/// a step that it did not end in must not open on what came before that step.
fn answers(view: &AnalysisView, step: Option<&AtStep>, now: Timestamp) -> bool {
    if view.status != Status::Final || view.verdict == Outcome::Fail || view.overridden.is_some() {
        return true;
    }
    let rested = |at: i64| now.since(Timestamp(at)) >= SUPERSEDED_REST;
    match view.reason {
        Reason::Abandoned => false,
        Reason::Superseded => !view.final_at.is_some_and(rested),
        Reason::Cancelled => true,
        _ => step.is_none_or(|step| current_step(view) == step.name),
    }
}

/// Somebody asks, so it is not abandoned.
fn keep_alive(shared: &Shared, view: &AnalysisView) {
    if shared.interest.is_due(&view.id, shared.clock.now()) {
        shared.link.tell(Input::Asked {
            analysis: view.id.clone(),
        });
    }
}

/// Name of the step an analysis is in; empty before the first one.
fn current_step(view: &AnalysisView) -> &str {
    view.steps.last().map_or("", |step| &step.name)
}

/// Tells the analysis the step, where it does not know.
async fn enter(
    shared: &Shared,
    caller: &Caller,
    view: Arc<AnalysisView>,
    step: &AtStep,
) -> Result<Arc<AnalysisView>, Problem> {
    let knows = current_step(&view) == step.name && view.steps_follow == Some(step.steps_follow);
    if view.status == Status::Final || knows {
        return Ok(view);
    }
    let input = Input::Step {
        analysis: view.id.clone(),
        name: step.name.clone(),
        weight: None,
        steps_follow: Some(step.steps_follow),
        by: caller.by.clone(),
    };
    match shared.ask(input).await? {
        // It ended meanwhile, and says how.
        Answer::Refused(refusal) if refusal.code != RefusalCode::AnalysisFinal => {
            Err(refusal.into())
        }
        _ => find(shared, &view.id).await,
    }
}
