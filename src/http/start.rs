//! The request that starts an analysis.
//!
//! Owns its form: a plan by name or spelled out, arms, change, and the idempotency key. It makes
//! the engine's input of it; whether the analysis may start is for the engine to say.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::Shared;
use super::body::{self, Packing, REQUEST_LIMIT};
use super::observe::time_to_read;
use super::problem::Problem;
use crate::config::plan_file;
use crate::engine::Start;
use crate::model::Change;
use crate::plan::Plan;

/// Header that makes a repeated start answer as the first.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Bytes of an idempotency key.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// Variables in `arms`.
pub const ARM_VARIABLES_MAX: usize = 32;
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
    #[serde(default)]
    pub change: Change,
}

/// Reads the request.
///
/// # Errors
/// A problem for everything that is wrong with it before the engine sees it.
pub async fn read(shared: &Shared, headers: &HeaderMap, body: Body) -> Result<Start, Problem> {
    let idempotency_key = idempotency_key(headers)?;
    let request: StartRequest = read_json(shared, headers, body, None).await?;
    check_sizes(&request)?;
    let plan = resolve(shared, &request.plan)?;
    let digest = digest(&plan, &request);
    Ok(Start {
        id: format!("an_{}", Uuid::now_v7().simple()),
        plan,
        arms: request.arms,
        change: request.change,
        idempotency_key,
        request_digest: digest,
    })
}

/// Reads a small JSON body; `empty` stands for one that is empty.
///
/// # Errors
/// `malformed_json`, `invalid_request`, `unsupported_media_type` and those of [`super::body`].
pub async fn read_json<T: DeserializeOwned>(
    shared: &Shared,
    headers: &HeaderMap,
    body: Body,
    empty: Option<T>,
) -> Result<T, Problem> {
    let packing = Packing::of(headers)?;
    let (most, mut unbudgeted) = (REQUEST_LIMIT, |_| Ok(()));
    let reading = async {
        let packed = body::read(shared, headers, body, most, &mut unbudgeted).await?;
        body::unpack(shared, packing, packed, most, &mut unbudgeted).await
    };
    let plain = time_to_read(shared, reading).await?;
    if plain.trim_ascii().is_empty() {
        let problem = || Problem::new("empty_body", "the body is empty").help("send a JSON object");
        return empty.ok_or_else(problem);
    }
    check_content_type(headers)?;
    serde_json::from_slice(&plain).map_err(|error| {
        let code = match error.classify() {
            serde_json::error::Category::Data => "invalid_request",
            _ => "malformed_json",
        };
        Problem::new(code, error.to_string())
    })
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(given) = headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let text = given.to_str().unwrap_or("?");
    let essence = text
        .split(';')
        .next()
        .unwrap_or("")
        .trim()
        .to_ascii_lowercase();
    if essence == "application/json" || essence.ends_with("+json") {
        return Ok(());
    }
    // A form or plain text could come from any web page a browser happens to show.
    let detail = format!("a body of type {essence:?} is not accepted here");
    Err(Problem::new("unsupported_media_type", detail)
        .help("send it with the header content-type: application/json"))
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
        &change.service,
        &change.environment,
        &change.region,
    ];
    let maps = request
        .arms
        .iter()
        .chain(&change.links)
        .flat_map(|(name, value)| [name, value]);
    let mut texts = fields.into_iter().flatten().chain(maps);
    if texts.any(|text| text.len() > FIELD_BYTES_MAX) {
        return refuse(format!(
            "a text in `arms` or `change` has more than {FIELD_BYTES_MAX} bytes"
        ));
    }
    Ok(())
}

fn resolve(shared: &Shared, given: &Value) -> Result<Arc<Plan>, Problem> {
    match given {
        Value::String(text) if text.contains(['\n', ':']) => {
            let parsed = plan_file::parse_plan("plan", text)?;
            Ok(Arc::new(parsed.plan))
        }
        Value::String(name) => shared
            .plans
            .get(name)
            .cloned()
            .ok_or_else(|| plan_not_found(shared, name)),
        Value::Object(_) => Ok(Arc::new(plan_file::parse_plan_value(given)?.plan)),
        _ => Err(
            Problem::new("invalid_request", "`plan` is neither a text nor an object")
                .help("give a plan's name, a plan as an object, or a plan as YAML text"),
        ),
    }
}

/// No plan has this name; says which one was perhaps meant.
pub fn plan_not_found(shared: &Shared, name: &str) -> Problem {
    let shown: String = name.chars().take(80).collect();
    let nearest = shared
        .plans
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
    let digest = Sha256::digest(meaning.to_string().as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
