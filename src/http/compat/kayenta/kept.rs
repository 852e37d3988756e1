//! Configurations that Kayenta's clients keep here: create, replace, delete.
//!
//! Owns what one must be before it is kept: what Kayenta asks of it, and that davy can make a plan of it.
//! Each change is written with its audit row or not at all. A configuration belongs to no namespace, so
//! those who are limited to some change none. Next: [`super::configs`], which reads them.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};
use tokio::sync::SemaphorePermit;
use uuid::Uuid;

use super::configured::{self, AD_HOC};
use super::{Refused, read};
use crate::codec::kayenta::configuration::CanaryConfig;
use crate::config::kayenta::{Judged, Requested};
use crate::config::plan_file::{NAME_CHARS_MAX, can_name_plan};
use crate::http::Shared;
use crate::http::analyses::within;
use crate::http::door::Caller;
use crate::http::problem::Problem;
use crate::http::start::check_source;
use crate::model::Timestamp;
use crate::store::audit::{
    CONFIGURATION_CREATED, CONFIGURATION_DELETED, CONFIGURATION_REPLACED, Entry, sha256,
};
use crate::store::configurations::{Configuration, Head};
use crate::store::{Commit, Write};
use crate::telemetry::counting::Tally;
use crate::telemetry::losses;

/// Applications of one configuration: lists name them all.
const APPLICATIONS_MAX: usize = 64;
/// A document that may be kept.
struct Fit {
    name: String,
    applications: Vec<String>,
    document: String,
}

/// `POST /compat/kayenta/canaryConfig`: under its own id, or one that is made.
pub async fn create(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refused> {
    let document: Map<String, Value> = read(&shared, &headers, body).await?;
    unlimited(&caller)?;
    let id = own_id(&document)?;
    let fit = Fit::of(&shared, document).await?;
    let _turn = turn(&shared).await?;
    let others = shared.store.configurations().await.map_err(Problem::from)?;
    let id = id.unwrap_or_else(|| Uuid::now_v7().to_string());
    check_id(&shared, &others, &id)?;
    fit.check_name(&shared, &others, &id)?;
    let most = shared.bounds.kayenta_configs_max;
    if others.len() >= most {
        shared.metrics.limit("kayenta_configs");
        let detail = format!("{most} configurations are kept, which is the limit");
        return Err(Problem::new("invalid_request", detail)
            .help("delete some, or raise limits.kayenta_configs_max")
            .into());
    }
    let now = shared.clock.now();
    let entry = row(CONFIGURATION_CREATED, now, &id, &fit, None);
    let kept = fit.kept(id.clone(), now, now);
    write(&shared, &caller, entry, Write::Configuration(kept)).await?;
    Ok(Json(json!({ "canaryConfigId": id })))
}

/// `PUT /compat/kayenta/canaryConfig/{id}`
pub async fn replace(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refused> {
    let document: Map<String, Value> = read(&shared, &headers, body).await?;
    unlimited(&caller)?;
    let fit = Fit::of(&shared, document).await?;
    let _turn = turn(&shared).await?;
    let before = known(&shared, &id).await?;
    let others = shared.store.configurations().await.map_err(Problem::from)?;
    fit.check_name(&shared, &others, &id)?;
    let now = shared.clock.now();
    let entry = row(CONFIGURATION_REPLACED, now, &id, &fit, Some(&before));
    let kept = fit.kept(id.clone(), before.head.created_at, now);
    write(&shared, &caller, entry, Write::Configuration(kept)).await?;
    Ok(Json(json!({ "canaryConfigId": id })))
}

/// `DELETE /compat/kayenta/canaryConfig/{id}`: analyses that run on it go on.
pub async fn delete(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Refused> {
    unlimited(&caller)?;
    let _turn = turn(&shared).await?;
    let before = known(&shared, &id).await?;
    let detail = json!({
        "configuration": id,
        "name": before.head.name,
        "sha256_before": sha256(before.document.as_bytes()),
    });
    let entry = Entry {
        detail: detail.to_string(),
        ..Entry::new(shared.clock.now(), CONFIGURATION_DELETED)
    };
    write(&shared, &caller, entry, Write::DropConfiguration(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn unlimited(caller: &Caller) -> Result<(), Problem> {
    if caller.namespaces.is_none() {
        return Ok(());
    }
    let detail = "the token is limited to namespaces, and a configuration belongs to none";
    Err(Problem::new("forbidden", detail).help("use a token made without --namespace"))
}

/// One at a time: what was checked is so until it is written.
async fn turn(shared: &Shared) -> Result<SemaphorePermit<'_>, Problem> {
    let turn = shared.configuring.acquire().await;
    turn.map_err(|_| Problem::new("stopping", "davy takes no more configurations"))
}

/// The id that a document brings along.
fn own_id(document: &Map<String, Value>) -> Result<Option<String>, Problem> {
    let help = format!(
        "an id has a-z, 0-9 and . _ -, begins with a letter or a digit, not with {AD_HOC}, and has {NAME_CHARS_MAX} \
         characters at most; without one davy makes one"
    );
    match document.get("id") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) if can_name_plan(id) && !id.starts_with(AD_HOC) => {
            Ok(Some(id.clone()))
        }
        _ => Err(Problem::new("invalid_request", "`id` cannot be an id").help(help)),
    }
}

fn check_id(shared: &Shared, others: &[Head], id: &str) -> Result<(), Problem> {
    let taken = |detail: String, help: &str| {
        Err(Problem::new("invalid_request", detail).help(help.to_owned()))
    };
    if shared.plans.current().contains_key(id) {
        let detail = format!("`id` is {id:?}, which is a plan of davy's");
        return taken(detail, "give another id, or none");
    }
    if others.iter().any(|other| other.id == id) {
        let detail = format!("there is a configuration of the id {id:?}");
        return taken(detail, "replace it with PUT, or give another id, or none");
    }
    Ok(())
}

/// The configuration of this id.
async fn known(shared: &Shared, id: &str) -> Result<Configuration, Problem> {
    let kept = shared.store.configuration(id).await?;
    if let Some(kept) = kept {
        return Ok(kept);
    }
    if shared.plans.current().contains_key(id) {
        let detail = format!("{id:?} is a plan of davy's");
        return Err(
            Problem::new("invalid_request", detail).help("change its file in the folder of plans")
        );
    }
    let shown: String = id.chars().take(80).collect();
    let detail = format!("no configuration has the id {shown:?}");
    Err(Problem::new("plan_not_found", detail).help("GET canaryConfig lists those there are"))
}

// === impl Fit ===

impl Fit {
    /// Checks what Kayenta does, and makes a plan of it to see that it can be done.
    async fn of(shared: &Shared, document: Map<String, Value>) -> Result<Fit, Problem> {
        let document = Value::Object(document).to_string();
        let config = CanaryConfig::read(document.as_bytes())
            .map_err(|message| Problem::new("invalid_request", message).help("see its place"))?;
        let name = name_of(&config)?;
        let applications = applications_of(&config)?;
        check_metrics(&config)?;
        let requested = Requested {
            judge: Judged::AsWritten,
            ..Requested::default()
        };
        let plan = configured::plan(shared, &document, requested).await?;
        check_source(shared, &plan)?;
        Ok(Fit {
            name,
            applications,
            document,
        })
    }

    /// Clients find a configuration by its name among those of an application, and every plan is of
    /// each.
    fn check_name(&self, shared: &Shared, others: &[Head], id: &str) -> Result<(), Problem> {
        let name = &self.name;
        let help = "give another `name`";
        if shared.plans.current().contains_key(name) {
            let detail = format!("`name` is {name:?}, and so is a plan of davy's");
            return Err(Problem::new("invalid_request", detail).help(help));
        }
        let alike = others
            .iter()
            .filter(|other| other.id != id && other.name == *name);
        for other in alike {
            let mut own = self.applications.iter();
            if let Some(application) = own.find(|own| other.applications.contains(own)) {
                let detail = format!(
                    "`name` is {name:?}, and so is the configuration {:?} of the application {application:?}",
                    other.id
                );
                return Err(Problem::new("invalid_request", detail).help(help));
            }
        }
        Ok(())
    }

    fn kept(self, id: String, created_at: Timestamp, updated_at: Timestamp) -> Box<Configuration> {
        Box::new(Configuration {
            head: Head {
                name: self.name,
                id,
                applications: self.applications,
                created_at,
                updated_at,
            },
            document: self.document,
        })
    }
}

fn name_of(config: &CanaryConfig) -> Result<String, Problem> {
    let name = config.name.clone().unwrap_or_default();
    let is_part = |char: char| char.is_ascii_alphanumeric() || matches!(char, ',' | '_' | '-');
    if name.is_empty() || !name.chars().all(is_part) {
        return Err(
            Problem::new("invalid_request", "`name` is missing, or cannot be a name")
                .help("a name has letters, digits and , _ -"),
        );
    }
    within("name", Some(&name))?;
    Ok(name)
}

fn applications_of(config: &CanaryConfig) -> Result<Vec<String>, Problem> {
    let applications = config.applications.clone().unwrap_or_default();
    if applications.is_empty() {
        return Err(Problem::new("invalid_request", "`applications` names none")
            .help("say whom it is for: \"applications\": [\"checkout\"]"));
    }
    if applications.len() > APPLICATIONS_MAX {
        let count = applications.len();
        let detail =
            format!("{count} applications; a configuration has {APPLICATIONS_MAX} at most");
        return Err(Problem::new("invalid_request", detail).help("make one for each group of them"));
    }
    for (index, application) in applications.iter().enumerate() {
        within(&format!("applications[{index}]"), Some(application))?;
    }
    Ok(applications)
}

fn check_metrics(config: &CanaryConfig) -> Result<(), Problem> {
    let mut names = BTreeSet::new();
    for (index, metric) in config.metrics().iter().enumerate() {
        let name = metric.name();
        let refused = |what: &str| {
            let detail = format!("`metrics[{index}].name` {what}");
            Err(Problem::new("invalid_request", detail).help("give each metric a name of its own"))
        };
        if name.is_empty() {
            return refused("is missing");
        }
        if !names.insert(name) {
            return refused(&format!("is {name:?}, as of another metric"));
        }
    }
    Ok(())
}

fn row(kind: &str, at: Timestamp, id: &str, fit: &Fit, before: Option<&Configuration>) -> Entry {
    let before = before.map(|before| sha256(before.document.as_bytes()));
    let detail = json!({
        "configuration": id,
        "name": fit.name,
        "sha256": sha256(fit.document.as_bytes()),
        "sha256_before": before,
    });
    Entry {
        detail: detail.to_string(),
        ..Entry::new(at, kind)
    }
}

/// Writes it with its row.
async fn write(
    shared: &Shared,
    caller: &Caller,
    entry: Entry,
    write: Write,
) -> Result<(), Problem> {
    let mut tally = Tally::default();
    tally.add_row(None, &entry.kind);
    let entry = entry.by(caller.by.as_ref(), None);
    let commit = Commit {
        writes: vec![write, Write::Audit(Box::new(entry))],
        ..Commit::default()
    };
    let losses = shared.store.commit(commit).await?;
    shared.metrics.count(&tally, &losses.refused);
    losses::tell(losses, &shared.metrics);
    Ok(())
}
