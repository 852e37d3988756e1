//! The request that starts an analysis.
//!
//! Owns its form: a plan by name or spelled out, arms, change, and the idempotency key. It makes
//! the engine's input of it; whether the analysis may start is for the engine to say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::body::Body;
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::Shared;
use super::door::Caller;
use super::json;
use super::problem::Problem;
use crate::config::plan_file::{self, Parsed};
use crate::config::problem::{Problems, Severity, nearest, one_of};
use crate::engine::Start;
use crate::model::Change;
use crate::plan::Plan;
use crate::pull::rules;

/// Header that makes a repeated start answer as the first.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Bytes of an idempotency key.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// Variables in `arms`.
pub const ARM_VARIABLES_MAX: usize = 32;
/// Inline plans read at the same time.
pub const COMPILING_MAX: usize = 2;
/// Variables that every controller may send, asked for or not.
const USUAL_VARIABLES: [&str; 2] = ["baseline", "canary"];
/// Bytes of one value in `arms`, or of one field of the change.
pub const FIELD_BYTES_MAX: usize = 1_024;
/// Links of a change.
pub const LINKS_MAX: usize = 32;

/// Starts an analysis.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StartRequest {
    /// The name of a plan the daemon has loaded, a plan as an object, or a plan as YAML text.
    pub plan: Value,
    /// Variables for the plan's arm selectors: `baseline`, `canary` and others.
    #[serde(default)]
    pub arms: BTreeMap<String, String>,
    /// What is being deployed.
    #[serde(default, deserialize_with = "json::only_object")]
    pub change: Change,
}

/// Reads the request.
///
/// # Errors
/// A problem for everything that is wrong with it before the engine sees it.
pub async fn read(
    shared: &Shared,
    caller: &Caller,
    headers: &HeaderMap,
    body: Body,
) -> Result<Start, Problem> {
    let idempotency_key = idempotency_key(headers)?;
    let request: StartRequest = json::read(shared, headers, body, None).await?;
    let start = prepare(shared, caller, request).await?;
    Ok(Start {
        idempotency_key,
        ..start
    })
}

/// Makes the engine's input of a request, whoever sent it.
///
/// # Errors
/// As [`read`].
async fn prepare(
    shared: &Shared,
    caller: &Caller,
    mut request: StartRequest,
) -> Result<Start, Problem> {
    check_sizes(&request)?;
    check_namespace(caller, &request.change)?;
    let plan = resolve(shared, request.plan.take()).await?;
    finish(shared, caller, plan, request)
}

/// As [`prepare`], on a plan that is at hand: that of the request is not looked at.
///
/// # Errors
/// As [`read`], but for those of the plan itself.
pub(super) fn prepare_on(
    shared: &Shared,
    caller: &Caller,
    plan: Arc<Plan>,
    request: StartRequest,
) -> Result<Start, Problem> {
    check_sizes(&request)?;
    check_namespace(caller, &request.change)?;
    finish(shared, caller, plan, request)
}

fn finish(
    shared: &Shared,
    caller: &Caller,
    plan: Arc<Plan>,
    request: StartRequest,
) -> Result<Start, Problem> {
    check_variables(&plan, &request)?;
    check_source(shared, &plan)?;
    let digest = digest(&plan, &request);
    Ok(Start {
        id: format!("an_{}", Uuid::now_v7().simple()),
        plan,
        arms: request.arms,
        change: request.change,
        idempotency_key: None,
        request_digest: digest,
        by: caller.by.clone(),
    })
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(given) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let fit = |key: &&str| (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len());
    match given.to_str().ok().filter(fit) {
        Some(key) => Ok(Some(key.to_string())),
        None => {
            let detail = format!(
                "{IDEMPOTENCY_KEY} must have 1 to {IDEMPOTENCY_KEY_BYTES_MAX} visible characters"
            );
            Err(Problem::new("invalid_header", detail))
        }
    }
}

fn check_sizes(request: &StartRequest) -> Result<(), Problem> {
    let refuse = |detail: String| Err(Problem::new("invalid_request", detail));
    if request.arms.len() > ARM_VARIABLES_MAX {
        return refuse(format!(
            "`arms` holds more than {ARM_VARIABLES_MAX} variables"
        ));
    }
    let change = &request.change;
    if change.links.len() > LINKS_MAX {
        return refuse(format!("`change.links` holds more than {LINKS_MAX} links"));
    }
    let fields = [
        &change.id,
        &change.revision,
        &change.owner,
        &change.namespace,
        &change.service,
        &change.environment,
        &change.region,
    ];
    let maps = request
        .arms
        .iter()
        .chain(&change.links)
        .flat_map(|(name, value)| [name, value]);
    if fields.iter().any(|field| field.as_deref() == Some("")) {
        return refuse("a text in `change` is empty; leave it out instead".to_owned());
    }
    let mut texts = fields.into_iter().flatten().chain(maps);
    if texts.any(|text| text.len() > FIELD_BYTES_MAX) {
        return refuse(format!(
            "a text in `arms` or `change` has more than {FIELD_BYTES_MAX} bytes"
        ));
    }
    Ok(())
}

/// A caller that is limited to namespaces starts analyses in those, and so ends none elsewhere.
fn check_namespace(caller: &Caller, change: &Change) -> Result<(), Problem> {
    let own = change.namespace.as_deref();
    if caller.sees(own) {
        return Ok(());
    }
    let detail = match own {
        Some(name) => format!("the token is not for the namespace {name:?}"),
        None => "the token is limited to namespaces, and the change names none".to_owned(),
    };
    let names = caller.namespaces.iter().flat_map(|names| names.iter());
    let names = one_of(names.map(String::as_str));
    Err(Problem::new("forbidden", detail).help(format!("give change.namespace as {names}")))
}

async fn resolve(shared: &Shared, given: Value) -> Result<Arc<Plan>, Problem> {
    match given {
        Value::String(text) if text.contains(['\n', ':']) => {
            compile(shared, move || plan_file::parse_plan("plan", &text)).await
        }
        Value::String(name) => shared
            .plans
            .current()
            .get(&name)
            .cloned()
            .ok_or_else(|| plan_not_found(shared, &name)),
        Value::Object(_) => compile(shared, move || plan_file::parse_plan_value(&given)).await,
        _ => Err(
            Problem::new("invalid_request", "`plan` is neither a text nor an object")
                .help("give a plan's name, a plan as an object, or a plan as YAML text"),
        ),
    }
}

async fn compile(
    shared: &Shared,
    parse: impl FnOnce() -> Result<Parsed, Problems> + Send + 'static,
) -> Result<Arc<Plan>, Problem> {
    let parsed = aside(shared, parse).await?;
    Ok(Arc::new(parsed?.plan))
}

/// Makes a plan of what was sent: tens of milliseconds for large regexes, so off the threads that
/// answer everybody, and few at once.
///
/// # Errors
/// `stopping`, and `internal` where it panics.
pub(super) async fn aside<T: Send + 'static>(
    shared: &Shared,
    make: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let room = shared.compiling.clone().acquire_owned().await;
    let room = room.map_err(|_| Problem::new("stopping", "davy takes no more plans"))?;
    let made = tokio::task::spawn_blocking(move || {
        // Also where the caller has gone meanwhile: the work goes on, so it keeps its place.
        let _room = room;
        make()
    });
    made.await.map_err(|error| {
        tracing::error!(%error, "a plan made its reader panic");
        Problem::new("internal", "the plan could not be read")
    })
}

/// A plan that is pulled needs a source that can answer in time; those of the folder were checked
/// before the daemon began.
///
/// # Errors
/// `source_unfit`.
pub(super) fn check_source(shared: &Shared, plan: &Plan) -> Result<(), Problem> {
    match rules::fit(plan, shared.source.as_ref()) {
        Some(misfit) if misfit.severity == Severity::Error => {
            let problem = Problem::new("source_unfit", misfit.message);
            Err(problem.help(misfit.help))
        }
        _ => Ok(()),
    }
}

/// A variable with a slip in its name would leave another one out, or do nothing.
fn check_variables(plan: &Plan, request: &StartRequest) -> Result<(), Problem> {
    let Some(templates) = &plan.arms else {
        return Ok(());
    };
    let mut known = BTreeSet::from(USUAL_VARIABLES);
    known.extend(templates.baseline.variables());
    known.extend(templates.canary.variables());
    let Some(unknown) = request
        .arms
        .keys()
        .find(|name| !known.contains(name.as_str()))
    else {
        return Ok(());
    };
    let shown: String = unknown.chars().take(80).collect();
    let help = match nearest(&shown, known.iter().copied()) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("the plan's matchers know {}", one_of(known)),
    };
    let detail = format!("the plan's arm matchers have no variable {shown:?}");
    Err(Problem::new("arm_variable_unknown", detail).help(help))
}

/// No plan has this name; says which one was perhaps meant.
pub fn plan_not_found(shared: &Shared, name: &str) -> Problem {
    let shown: String = name.chars().take(80).collect();
    let plans = shared.plans.current();
    let nearest = plans
        .keys()
        .min_by_key(|known| strsim::damerau_levenshtein(known, &shown));
    let help = match nearest {
        Some(known) if strsim::damerau_levenshtein(known, &shown) <= 2 => {
            format!("did you mean `{known}`?")
        }
        _ => "GET /v1/plans lists the plans; a plan may also be given as an object".to_string(),
    };
    Problem::new("plan_not_found", format!("no plan has the name {shown:?}")).help(help)
}

/// Tells a repetition from another request: over the plan's hash, so that comments and the order
/// of keys do not count.
fn digest(plan: &Plan, request: &StartRequest) -> String {
    let meaning = serde_json::json!([plan.hash(), request.arms, request.change]);
    sha256(&meaning.to_string())
}

/// The digest of a text, in hexadecimal.
pub(super) fn sha256(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
