//! Flagger's webhooks: `POST /compat/flagger/v1/{type}`, a path for each type of hook.
//!
//! Owns which status each hook gets. To Flagger 200, 201 and 202 are a yes and everything else is a
//! no, 203 and 204 among it; of a 4xx it shows the body, of a 5xx nothing. So a yes is 200 with a
//! line of text, a no 409 with its reason, and 5xx is left to what is broken. A payload names no
//! weight: each opened `confirm-traffic-increase` begins a step of its own.
//! docs/controllers/flagger.md has the Canary. Next: [`super::Subject`].

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::{AtStep, PlanSource, STANDS_FOR, Subject, current_step, keep_alive};
use crate::engine::{AnalysisView, Input};
use crate::http::Shared;
use crate::http::analyses::{order, within};
use crate::http::changes::{self, OutcomeRequest};
use crate::http::door::Caller;
use crate::http::json;
use crate::http::problem::Problem;
use crate::http::query::Named;
use crate::judge::verdict::Status;
use crate::model::{Change, Decision};
use crate::store::changes::ChangeOutcome;

/// Who says so, of what Flagger tells.
const ACTOR: &str = "flagger";
/// Names of metadata that begin with it are variables of the plan's arms.
const ARMS_PREFIX: &str = "arms.";
/// The step before the canary has traffic: from it the first weight is given.
const BEFORE: &str = "before traffic";
/// The step of a rollout that davy first hears of while it has traffic.
const MIDWAY: &str = "midway";
/// Names of the steps that follow begin with it.
const INCREASE: &str = "increase ";
/// Phases in which Flagger asks whether to roll back and sends the checksum of the revision at hand.
const ROLLING: [&str; 2] = ["Progressing", "WaitingPromotion"];
/// Bytes of a line: it stands in an event of the cluster.
const LINE_BYTES_MAX: usize = 1_000;

/// What Flagger sends with every hook. Other fields are left alone: later versions may send more.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
pub struct HookRequest {
    /// Name of the Canary: the service.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Where the Canary is in its life.
    #[serde(default)]
    pub phase: String,
    /// Of what is deployed: the revision.
    #[serde(default)]
    pub checksum: String,
    /// What the hook's `metadata` holds: `plan` (the Canary's name unless given), `baseline` and
    /// `canary` (`NAME-primary` and `NAME` unless given), `arms.NAME`, `owner`, `environment`, `region`,
    /// `attempt`. All hooks of a Canary have the same.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

/// The types of hooks, by the names that Flagger has for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hook {
    ConfirmRollout,
    PreRollout,
    Rollout,
    ConfirmTrafficIncrease,
    ConfirmPromotion,
    Rollback,
    PostRollout,
    Event,
}

const HOOKS: [(&str, Hook); 8] = [
    ("confirm-rollout", Hook::ConfirmRollout),
    ("pre-rollout", Hook::PreRollout),
    ("rollout", Hook::Rollout),
    ("confirm-traffic-increase", Hook::ConfirmTrafficIncrease),
    ("confirm-promotion", Hook::ConfirmPromotion),
    ("rollback", Hook::Rollback),
    ("post-rollout", Hook::PostRollout),
    ("event", Hook::Event),
];

/// What a hook is told.
enum Told {
    Yes(String),
    No(String),
}

/// The handler.
pub async fn hook(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Named(kind): Named,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let asked = async {
        let found = HOOKS.iter().find(|(name, _)| *name == kind);
        let Some((_, hook)) = found else {
            let names: Vec<&str> = HOOKS.iter().map(|(name, _)| *name).collect();
            let shown: String = kind.chars().take(80).collect();
            let detail = format!("Flagger has no hook of the type {shown:?}");
            let help = format!("the types are {}", names.join(", "));
            return Err(Problem::new("route_not_found", detail).help(help));
        };
        let asked: HookRequest = json::read(&shared, &headers, body, None).await?;
        told(*hook, &shared, &caller, asked).await
    };
    match asked.await {
        Ok(Told::Yes(why)) => (StatusCode::OK, line(&why)).into_response(),
        Ok(Told::No(why)) => (StatusCode::CONFLICT, line(&why)).into_response(),
        Err(problem) => refused(problem),
    }
}

/// A problem as Flagger shows it: its sentences in one line, under the same status.
fn refused(problem: Problem) -> Response {
    let help = problem.help.as_deref().unwrap_or_default();
    let text = format!("{}: {}; {help}", problem.code, problem.detail);
    let text = line(text.trim_end_matches("; "));
    let mut response = problem.into_response();
    response.headers_mut().remove(header::CONTENT_LENGTH);
    let plain = text.into_response();
    let kind = plain.headers()[header::CONTENT_TYPE].clone();
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    *response.body_mut() = plain.into_body();
    response
}

fn line(text: &str) -> String {
    let end = text.floor_char_boundary(LINE_BYTES_MAX);
    text[..end].replace(['\n', '\r'], " ") + "\n"
}

async fn told(
    hook: Hook,
    shared: &Shared,
    caller: &Caller,
    asked: HookRequest,
) -> Result<Told, Problem> {
    let phase = asked.phase.clone();
    let mut subject = subject_of(hook, asked)?;
    match hook {
        Hook::ConfirmRollout => {
            // It comes with the checksum of the revision before, or none: nothing can be started yet.
            let revision = subject.change.revision.get_or_insert_default();
            revision.push('?');
            subject.check(shared, caller)?;
            let plan = &subject.plan;
            Ok(Told::Yes(format!("ok: the plan {plan} can judge this")))
        }
        Hook::PreRollout => {
            // Sent for as long as the canary has no traffic: whatever ended was another rollout.
            let view = subject.attend_first(shared, caller, &step(BEFORE)).await?;
            Ok(no_harm(&view))
        }
        Hook::Rollout => {
            let view = subject.attend(shared, caller, None).await?;
            let is_new = view.steps.is_empty() && view.status != Status::Final;
            let view = match is_new {
                // The first weight was given by somebody else.
                true => subject.attend(shared, caller, Some(&step(MIDWAY))).await?,
                false => view,
            };
            Ok(no_harm(&view))
        }
        Hook::ConfirmTrafficIncrease => increase(&subject, shared, caller).await,
        Hook::ConfirmPromotion => promotion(&subject, shared, caller).await,
        Hook::Rollback if !ROLLING.contains(&&*phase) => {
            let phase: String = phase.chars().take(40).collect();
            Ok(Told::No(format!("no rollback in the phase {phase:?}")))
        }
        Hook::Rollback => rollback(&subject, shared, caller).await,
        Hook::PostRollout => end(&subject, shared, caller, &phase).await,
        Hook::Event => {
            let (known, _) = subject.known(shared, caller).await?;
            if let Some(view) = known.first() {
                keep_alive(shared, view);
            }
            Ok(Told::Yes("ok".to_owned()))
        }
    }
}

/// A step that others follow.
fn step(name: &str) -> AtStep {
    AtStep {
        name: name.to_owned(),
        steps_follow: true,
    }
}

/// Yes, as long as nothing is wrong.
fn no_harm(view: &AnalysisView) -> Told {
    match view.body.decision {
        Decision::Rollback => Told::No(said(view)),
        _ => Told::Yes(said(view)),
    }
}

fn subject_of(hook: Hook, asked: HookRequest) -> Result<Subject, Problem> {
    within("name", Some(&asked.name))?;
    within("namespace", Some(&asked.namespace))?;
    let needs_checksum = !matches!(hook, Hook::ConfirmRollout | Hook::Event);
    if needs_checksum && asked.checksum.is_empty() {
        let detail = "the hook has no `checksum`, so nobody can tell which revision is meant";
        return Err(Problem::new("invalid_request", detail)
            .help("Flagger sends it since 1.31; use a Flagger that does"));
    }
    let given = |name: &str| asked.metadata.get(name).filter(|value| !value.is_empty());
    let mut arms = BTreeMap::from([
        ("baseline".to_owned(), format!("{}-primary", asked.name)),
        ("canary".to_owned(), asked.name.clone()),
    ]);
    for (name, value) in &asked.metadata {
        let variable = match name.strip_prefix(ARMS_PREFIX) {
            Some(variable) => variable,
            None if name == "baseline" || name == "canary" => name,
            None => continue,
        };
        arms.insert(variable.to_owned(), value.clone());
    }
    let mut id = format!(
        "flagger:{}:{}:{}",
        asked.namespace, asked.name, asked.checksum
    );
    if let Some(attempt) = given("attempt") {
        id = format!("{id}:{attempt}");
    }
    let change = Change {
        id: Some(id),
        revision: Some(asked.checksum.clone()).filter(|checksum| !checksum.is_empty()),
        owner: given("owner").cloned(),
        environment: given("environment").cloned(),
        region: given("region").cloned(),
        namespace: Some(asked.namespace.clone()),
        service: Some(asked.name.clone()),
        ..Change::default()
    };
    Ok(Subject {
        plan: given("plan").unwrap_or(&asked.name).clone(),
        source: PlanSource::Loaded,
        arms,
        change,
        stands_for: STANDS_FOR,
    })
}

/// Before each change of weight, the first from nothing among them.
async fn increase(subject: &Subject, shared: &Shared, caller: &Caller) -> Result<Told, Problem> {
    let view = subject.attend(shared, caller, None).await?;
    if view.body.decision == Decision::Rollback {
        return Ok(Told::No(said(&view)));
    }
    let given = view.steps.iter();
    let given = given.filter(|step| step.name.starts_with(INCREASE)).count();
    let next = step(&format!("{INCREASE}{}", given + 1));
    let is_before = matches!(current_step(&view), "" | BEFORE);
    if is_before && view.status != Status::Final {
        // Without traffic no canary has samples: to wait for some would be to wait for ever.
        subject.attend(shared, caller, Some(&next)).await?;
        return Ok(Told::Yes("ok: the first step begins".to_owned()));
    }
    if view.steps_follow == Some(false) {
        // All the traffic there is to be is there: the promotion's hook asks for a pass.
        return Ok(Told::Yes(said(&view)));
    }
    if !view.step_body.gate.open {
        let waiting_for = view.step_body.gate.waiting_for.as_deref();
        let waiting_for = waiting_for.unwrap_or(&view.step_body.message);
        let step = current_step(&view);
        return Ok(Told::No(format!(
            "inconclusive: {step} needs {waiting_for}"
        )));
    }
    subject.attend(shared, caller, Some(&next)).await?;
    Ok(Told::Yes(format!("ok: {} begins", next.name)))
}

/// With all weight there is to be: the change is promoted by a pass alone.
async fn promotion(subject: &Subject, shared: &Shared, caller: &Caller) -> Result<Told, Problem> {
    let view = subject.attend(shared, caller, None).await?;
    let last = AtStep {
        name: current_step(&view).to_owned(),
        steps_follow: false,
    };
    let view = subject.attend(shared, caller, Some(&last)).await?;
    if view.body.gate.open {
        return Ok(Told::Yes(said(&view)));
    }
    let why = said(&view);
    Ok(Told::No(match &view.body.gate.waiting_for {
        Some(waiting_for) => format!("{why} (waits for {waiting_for})"),
        None => why,
    }))
}

/// Whatever is not a clear no rolls production back, so this one finds what is there and begins
/// nothing.
async fn rollback(subject: &Subject, shared: &Shared, caller: &Caller) -> Result<Told, Problem> {
    let (known, _) = subject.known(shared, caller).await?;
    let Some(view) = known.first() else {
        let change = &subject.change;
        let name = change.service.as_deref().unwrap_or_default();
        let detail = format!(
            "no analysis is of this revision of {name} on {:?}",
            subject.plan
        );
        return Err(Problem::new("change_not_found", detail)
            .help("hooks of other types begin one: pre-rollout, or confirm-traffic-increase"));
    };
    Ok(match view.body.decision {
        Decision::Rollback => Told::Yes(said(view)),
        _ => Told::No(format!("no rollback: {}", said(view))),
    })
}

/// The rollout ended: nobody asks any more, and how it ended is known.
async fn end(
    subject: &Subject,
    shared: &Shared,
    caller: &Caller,
    phase: &str,
) -> Result<Told, Problem> {
    let outcome = match phase {
        "Succeeded" => ChangeOutcome::Promoted,
        "Failed" => ChangeOutcome::RolledBack,
        other => {
            let other: String = other.chars().take(40).collect();
            return Ok(Told::Yes(format!(
                "ok: nothing is known of the phase {other:?}"
            )));
        }
    };
    let (known, _) = subject.known(shared, caller).await?;
    let Some(view) = known.first() else {
        return Ok(Told::Yes("ok: no analysis is of this revision".to_owned()));
    };
    if view.status != Status::Final {
        let cancel = Input::Cancel {
            analysis: view.id.clone(),
            actor: Some(ACTOR.to_owned()),
            reason: Some(format!("the canary is {phase}")),
            by: caller.by.clone(),
        };
        match order(shared, cancel).await {
            // It ended by itself meanwhile.
            Err(problem) if problem.code == "analysis_final" => {}
            done => done?,
        }
    }
    let id = subject.change.id.as_deref().unwrap_or_default();
    let page = changes::analyses_of(shared, caller, id).await?;
    let given = OutcomeRequest {
        outcome,
        actor: Some(ACTOR.to_owned()),
        reason: None,
    };
    changes::keep(shared, caller, id, &page, given).await?;
    Ok(Told::Yes(format!("ok: {phase}")))
}

fn said(view: &AnalysisView) -> String {
    format!("{} [{}]", view.body.message, view.id)
}
