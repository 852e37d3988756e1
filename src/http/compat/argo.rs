//! Argo Rollouts' `web` provider: `POST /compat/argo/v1/evaluate`.
//!
//! Owns the question of an AnalysisRun and its answer: one small object, always JSON with 200, because
//! the controller keeps it in the cluster's store, reads reasons nowhere else, and takes any 2xx
//! without JSON for a success. Which analysis is asked is [`super::Subject`]'s. docs/controllers/argo.md
//! has the templates.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::{AtStep, PlanSource, STANDS_FOR, Subject, current_step};
use crate::engine::AnalysisView;
use crate::http::Shared;
use crate::http::analyses::within;
use crate::http::door::Caller;
use crate::http::json;
use crate::http::problem::Problem;
use crate::judge::verdict::VerdictBody;
use crate::model::{Change, Decision, Outcome};

/// Bytes of the message: it is kept with every measurement.
pub const MESSAGE_BYTES_MAX: usize = 400;

/// What is asked.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// May the rollout leave this step? Open without a fail, once the step has seen enough of its own.
    Step,
    /// May the change be promoted for good? Open on a pass.
    #[default]
    Final,
    /// Is anything wrong? For a background analysis, which ends nothing by itself.
    Guard,
}

/// The question of a measurement.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EvaluateRequest {
    /// Name of a plan that davy has loaded.
    pub plan: String,
    /// The rollout's namespace.
    pub namespace: String,
    /// The rollout's name: the service.
    pub name: String,
    /// What is rolled out: the canary's pod template hash.
    pub revision: String,
    /// What is asked; `final` unless given.
    #[serde(default)]
    pub gate: Question,
    /// Name of the rollout's step, such as `10`: needed where the gate is `step`.
    pub step: Option<String>,
    /// The baseline's pod template hash: the variable `baseline` of the plan's arms.
    pub baseline: Option<String>,
    /// The variable `canary` of the plan's arms; the revision unless given.
    pub canary: Option<String>,
    /// Further variables of the plan's arms.
    #[serde(default)]
    pub arms: BTreeMap<String, String>,
    /// Tells a repetition of the same revision from the one before; empty is none.
    #[serde(default)]
    pub attempt: String,
    /// What else is known of the change: id, owner, environment, region, links.
    #[serde(default, deserialize_with = "json::only_object")]
    pub change: Change,
}

/// The answer to a measurement.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct EvaluateAnswer {
    /// The answer to the gate: pass opens it, fail asks for a rollback, inconclusive waits.
    pub verdict: Outcome,
    /// What was asked.
    pub gate: Question,
    /// The step that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(default)]
    pub step: Option<String>,
    /// Whether the analysis has ended: waiting longer changes nothing.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// Stable reason code.
    pub reason: crate::model::Reason,
    /// One sentence for people, at most 400 bytes.
    pub message: String,
    /// What a closed gate waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(default)]
    pub waiting_for: Option<String>,
    /// 0 to 100.
    pub score: f64,
    /// Id of the analysis.
    pub analysis: String,
    /// Where all of it stands.
    pub report: String,
}

/// The handler.
pub async fn evaluate(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<EvaluateAnswer>, Problem> {
    let asked: EvaluateRequest = json::read(&shared, &headers, body, None).await?;
    let question = asked.gate;
    let step = step_of(&asked)?;
    let name = step.as_ref().map(|step| step.name.clone());
    let subject = subject_of(asked)?;
    let view = subject.attend(&shared, &caller, step.as_ref()).await?;
    Ok(Json(answer(&view, question, name)))
}

fn step_of(asked: &EvaluateRequest) -> Result<Option<AtStep>, Problem> {
    let name = asked.step.clone().filter(|name| !name.is_empty());
    within("step", name.as_deref())?;
    match (asked.gate, name) {
        (Question::Step, None) => {
            let detail = "the gate `step` needs `step`, the name of the rollout's step";
            Err(Problem::new("invalid_request", detail).help(
                "give each inline analysis of the rollout an argument with the step's weight, and pass it on",
            ))
        }
        (Question::Step, Some(name)) => Ok(Some(AtStep {
            name,
            steps_follow: true,
        })),
        (Question::Final, name) => Ok(Some(AtStep {
            name: name.unwrap_or_else(|| "final".to_owned()),
            steps_follow: false,
        })),
        (Question::Guard, _) => Ok(None),
    }
}

fn subject_of(asked: EvaluateRequest) -> Result<Subject, Problem> {
    for (name, value) in [
        ("plan", &asked.plan),
        ("namespace", &asked.namespace),
        ("name", &asked.name),
        ("revision", &asked.revision),
    ] {
        within(name, Some(value))?;
    }
    let mut arms = asked.arms;
    let canary = asked.canary.unwrap_or_else(|| asked.revision.clone());
    arms.insert("canary".to_owned(), canary);
    if let Some(baseline) = asked.baseline {
        arms.insert("baseline".to_owned(), baseline);
    }
    let own = [&asked.namespace, &asked.name, &asked.revision].map(|part| part.as_str());
    let named = asked.change.id.filter(|id| !id.is_empty());
    let mut id = named.unwrap_or_else(|| format!("argo:{}", own.join(":")));
    if !asked.attempt.is_empty() {
        within("attempt", Some(&asked.attempt))?;
        id = format!("{id}:{}", asked.attempt);
    }
    // An argument that nobody gave is empty in a template.
    let given = |field: Option<String>| field.filter(|text| !text.is_empty());
    let change = Change {
        id: Some(id),
        revision: Some(asked.revision),
        owner: given(asked.change.owner),
        namespace: Some(asked.namespace),
        service: Some(asked.name),
        environment: given(asked.change.environment),
        region: given(asked.change.region),
        links: asked.change.links,
    };
    Ok(Subject {
        plan: asked.plan,
        source: PlanSource::Loaded,
        arms,
        change,
        stands_for: STANDS_FOR,
    })
}

fn answer(view: &AnalysisView, gate: Question, step: Option<String>) -> EvaluateAnswer {
    let body: &VerdictBody = match gate {
        Question::Step => &view.step_body,
        Question::Final | Question::Guard => &view.body,
    };
    // Somebody else may have told another step meanwhile: its gate is not this one's.
    let is_its_turn = gate != Question::Step || step.as_deref() == Some(current_step(view));
    let verdict = match () {
        () if body.decision == Decision::Rollback => Outcome::Fail,
        () if body.gate.open && is_its_turn => Outcome::Pass,
        () => Outcome::Inconclusive,
    };
    let waiting_for = match is_its_turn {
        true => body.gate.waiting_for.clone(),
        false => Some(format!(
            "its turn: {} is asked about, too",
            current_step(view)
        )),
    };
    EvaluateAnswer {
        verdict,
        gate,
        step: step.filter(|_| gate == Question::Step),
        is_final: body.is_final,
        reason: body.reason,
        message: shortened(&body.message),
        waiting_for: waiting_for.filter(|_| gate != Question::Guard),
        score: body.score,
        analysis: view.id.clone(),
        report: format!("/v1/analyses/{}", view.id),
    }
}

fn shortened(message: &str) -> String {
    if message.len() <= MESSAGE_BYTES_MAX {
        return message.to_owned();
    }
    let end = message.floor_char_boundary(MESSAGE_BYTES_MAX - 3);
    format!("{}…", &message[..end])
}
