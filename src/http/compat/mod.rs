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
use super::start::{StartRequest, plan_not_found, prepare_on};
use crate::engine::{AnalysisView, Input, RefusalCode, Start, check_start};
use crate::judge::verdict::Status;
use crate::model::{Change, Decision, Millis, Reason, Timestamp};
use crate::plan::Plan;
use crate::store::Filter;

/// Analyses of one service on one plan that are looked through: the newest.
const LOOKED_THROUGH_MAX: usize = 100;

/// How long what an analysis ended with stands for its rollout once nobody asks any more, where it is
/// no rollback: whoever asks later asks about another rollout, if of the same revision.
pub const STANDS_FOR: Millis = 10 * 60_000;

/// How long an analysis that a newer revision took the place of is left ended: a question of the old
/// rollout that was on its way must not end the new one's analysis in turn.
pub const SUPERSEDED_REST: Millis = 60_000;

/// What a controller asks about.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Name of the plan.
    pub plan: String,
    /// Where it is.
    pub source: PlanSource,
    /// Variables of the plan's arm matchers.
    pub arms: BTreeMap<String, String>,
    /// What is deployed: its namespace, service and revision say whose analysis is meant.
    pub change: Change,
    /// How long an end stands once nobody asks.
    pub stands_for: Millis,
}

/// Where the plan of a question is.
#[derive(Debug, Clone)]
pub enum PlanSource {
    /// Among those that the daemon has loaded.
    Loaded,
    /// Here, and kept under its name: were it another one meanwhile, it would be the same question.
    Kept(Arc<Plan>),
    /// Here, and nowhere else: only analyses on this very plan answer the question.
    Sent(Arc<Plan>),
}

/// Names that a plan's matchers may ask for and that follow from what is deployed.
const USUAL: [&str; 3] = ["namespace", "service", "revision"];

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
        let (known, others) = self.known(shared, caller).await?;
        let now = shared.clock.now();
        let view = match known.first() {
            Some(newest) if self.answers(shared, newest, &others, step, now) => newest.clone(),
            newest => self.begin(shared, caller, newest).await?,
        };
        shared.interest.is_due(&asking(&view), now);
        keep_alive(shared, &view);
        match step {
            Some(step) => enter(shared, caller, view, step).await,
            None => Ok(view),
        }
    }

    /// As [`Subject::attend`], by somebody who knows that the rollout is at its beginning: whatever has
    /// ended was another one, unless it asks for a rollback.
    ///
    /// # Errors
    /// As [`Subject::attend`].
    pub async fn attend_first(
        &self,
        shared: &Shared,
        caller: &Caller,
        step: &AtStep,
    ) -> Result<Arc<AnalysisView>, Problem> {
        let (known, _) = self.known(shared, caller).await?;
        let goes_on = |view: &AnalysisView| {
            view.status != Status::Final || view.decision == Decision::Rollback
        };
        match known.first() {
            Some(newest) if !goes_on(newest) => {
                self.begin(shared, caller, Some(newest)).await?;
            }
            _ => {}
        }
        self.attend(shared, caller, Some(step)).await
    }

    /// Analyses of this revision on this plan that the caller may know of, and those of other revisions
    /// in the same place; newest first.
    ///
    /// # Errors
    /// `store_failed`.
    pub async fn known(
        &self,
        shared: &Shared,
        caller: &Caller,
    ) -> Result<(Vec<Arc<AnalysisView>>, Vec<Arc<AnalysisView>>), Problem> {
        let own = self.change.namespace.as_ref();
        let namespaces: Option<Arc<[String]>> = match own {
            Some(own) if caller.sees(Some(own)) => Some(Arc::from([own.clone()])),
            Some(_) => return Ok(Default::default()),
            None => caller.namespaces.clone(),
        };
        let filter = Filter {
            service: self.change.service.clone(),
            namespaces,
            plan: Some(self.plan.clone()),
            ..Filter::default()
        };
        let page = shared.store.list(&filter, None, LOOKED_THROUGH_MAX).await?;
        let here = page.analyses.into_iter().filter(|view| self.is_here(view));
        let (same, other): (Vec<_>, Vec<_>) =
            here.partition(|view| view.change.revision == self.change.revision);
        let is_it = |view: &Arc<AnalysisView>| {
            view.change.id == self.change.id && self.has_arms_of(view) && self.has_plan_of(view)
        };
        Ok((same.into_iter().filter(is_it).collect(), other))
    }

    fn is_here(&self, view: &AnalysisView) -> bool {
        let (own, its) = (&self.change, &view.change);
        own.namespace == its.namespace
            && own.service == its.service
            && own.environment == its.environment
            && own.region == its.region
    }

    /// Whether the analysis compares what is asked about. What follows from the change does not count:
    /// a plan may have asked for it then and not now.
    fn has_arms_of(&self, view: &AnalysisView) -> bool {
        let given = |(name, value): (&String, &String)| view.arms.get(name) == Some(value);
        let is_known =
            |name: &String| self.arms.contains_key(name) || USUAL.contains(&name.as_str());
        self.arms.iter().all(given) && view.arms.keys().all(is_known)
    }

    fn has_plan_of(&self, view: &AnalysisView) -> bool {
        match &self.source {
            PlanSource::Loaded | PlanSource::Kept(_) => true,
            PlanSource::Sent(plan) => view.plan_hash == plan.hash(),
        }
    }

    /// Whether an analysis answers the question: one that has ended does not answer what comes after it.
    ///
    /// What asks for a rollback stays. One that was given up for want of questions, or that another
    /// revision took the place of, does not stand for a rollout that goes on after all. Any other end
    /// stands for as long as its rollout asks, unless another revision came in between: the same
    /// revision may be rolled out again. And a step that it did not end in must not open on what came
    /// before that step.
    fn answers(
        &self,
        shared: &Shared,
        view: &AnalysisView,
        others: &[Arc<AnalysisView>],
        step: Option<&AtStep>,
        now: Timestamp,
    ) -> bool {
        if view.status != Status::Final || view.decision == Decision::Rollback {
            return true;
        }
        let ended_at = Timestamp(view.final_at.unwrap_or(view.started_at));
        match view.reason {
            Reason::Abandoned => return false,
            Reason::Superseded => return now.since(ended_at) < SUPERSEDED_REST,
            _ => {}
        }
        let since = now.plus(-self.stands_for);
        let is_asked_for = ended_at >= since || shared.interest.was_noted(&asking(view), since);
        let is_newest = others
            .first()
            .is_none_or(|other| other.started_at <= view.started_at);
        is_asked_for && is_newest && step.is_none_or(|step| current_step(view) == step.name)
    }

    /// Whether an analysis could be started.
    ///
    /// # Errors
    /// Why it could not.
    pub fn check(&self, shared: &Shared, caller: &Caller) -> Result<(), Problem> {
        let start = self.start(shared, caller)?;
        Ok(check_start(&start.plan, &start.arms, &start.change)?)
    }

    fn start(&self, shared: &Shared, caller: &Caller) -> Result<Start, Problem> {
        let plan = match &self.source {
            PlanSource::Kept(plan) | PlanSource::Sent(plan) => plan.clone(),
            PlanSource::Loaded => shared
                .plans
                .current()
                .get(&self.plan)
                .cloned()
                .ok_or_else(|| plan_not_found(shared, &self.plan))?,
        };
        let request = self.request(&plan);
        prepare_on(shared, caller, plan, request)
    }

    fn request(&self, plan: &Plan) -> StartRequest {
        let change = &self.change;
        let mut arms = self.arms.clone();
        // A plan for many services asks for these; one that does not must not get them.
        let values = [&change.namespace, &change.service, &change.revision];
        for (name, value) in USUAL.into_iter().zip(values) {
            if let (true, Some(value)) = (asks_for(plan, name), value) {
                arms.entry(name.to_owned()).or_insert_with(|| value.clone());
            }
        }
        StartRequest {
            plan: Value::Null,
            arms,
            change: change.clone(),
        }
    }

    /// Starts an analysis; of several that ask at the same time one does, and all get it.
    async fn begin(
        &self,
        shared: &Shared,
        caller: &Caller,
        newest: Option<&Arc<AnalysisView>>,
    ) -> Result<Arc<AnalysisView>, Problem> {
        let mut start = self.start(shared, caller)?;
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
        let own = match &self.source {
            PlanSource::Sent(plan) => Some(plan.hash()),
            PlanSource::Loaded | PlanSource::Kept(_) => None,
        };
        let whole = serde_json::json!([parts, self.plan, own, start.arms, newest]).to_string();
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

/// Whether a plan's matchers hold a variable.
fn asks_for(plan: &Plan, name: &str) -> bool {
    plan.arms.as_ref().is_some_and(|templates| {
        let (baseline, canary) = (&templates.baseline, &templates.canary);
        baseline.variables().contains(name) || canary.variables().contains(name)
    })
}

/// The name under which it is noted that a controller asks about an analysis.
fn asking(view: &AnalysisView) -> String {
    format!("controller of {}", view.id)
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
