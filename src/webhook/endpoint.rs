//! One endpoint: what it wants to hear, and the request it gets.
//!
//! Owns the reading of one `webhooks` entry of the configuration into something that can be sent
//! to without surprises later: everything that can be wrong is found at start. It must not know
//! when a request is made: that is [`super::worker`].

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde_json::{Value, json};

use super::github::{self, Github};
use super::guard;
use super::rules;
use super::sign::Secrets;
use super::template::{self, Place, Template};
use crate::config::daemon::{self, WebhookDecision, WebhookEvent, WebhookMethod};
use crate::engine::{Event, EventKind};
use crate::model::{Decision, Timestamp};
use crate::store::Delivery;

/// What a template may begin a path with: the verdict body's fields, and `event`.
pub const FIELDS: [&str; 19] = [
    "event",
    "analysis",
    "plan",
    "plan_hash",
    "status",
    "verdict",
    "final",
    "decision",
    "reason",
    "message",
    "score",
    "gate",
    "elapsed_secs",
    "guarantee",
    "checks",
    "override",
    "change",
    "links",
    "engine_revision",
];

/// Something wrong with one entry of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointProblem {
    /// The key inside the entry, such as `headers.Authorization`.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

/// A checked endpoint.
#[derive(Debug)]
pub struct Endpoint {
    /// Its unique name.
    pub name: String,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// Attempts at one time, each of another analysis.
    pub concurrent_attempts_max: usize,
    url: Template,
    /// Scheme, host and port, which no value may change.
    origin: String,
    method: Method,
    headers: HeaderMap,
    body: Option<Template>,
    /// They may be changed while davy runs.
    secrets: RwLock<Option<Arc<Secrets>>>,
    events: Vec<EventKind>,
    services: Option<Vec<String>>,
    plans: Option<Vec<String>>,
    decisions: Option<Vec<WebhookDecision>>,
    /// Where it is told in GitHub's words.
    github: Option<Github>,
}

/// A request ready to be made.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Such as POST.
    pub method: Method,
    /// Where to.
    pub url: Url,
    /// Everything but the content's length.
    pub headers: HeaderMap,
    /// The bytes that were signed.
    pub body: Vec<u8>,
}

// === impl Endpoint ===

impl Endpoint {
    /// Checks one entry. `read_secret` gives the text of its secret, where it names one.
    ///
    /// # Errors
    /// Every [`EndpointProblem`] at once.
    pub fn build(
        entry: &daemon::Webhook,
        read_secret: impl FnOnce(&daemon::Webhook) -> Option<Result<String, String>>,
    ) -> Result<Endpoint, Vec<EndpointProblem>> {
        let mut problems = Vec::new();
        let mut note = |key: &str, found: Option<&(String, String)>| {
            if let Some((message, help)) = found.cloned() {
                let key = key.to_owned();
                problems.push(EndpointProblem { key, message, help });
            }
        };
        let url = rules::url(&entry.url);
        note("url", url.as_ref().err());
        let body = rules::body(entry.body_template.as_deref());
        note("body_template", body.as_ref().err());
        let mut headers = HeaderMap::new();
        for (name, value) in &entry.headers {
            let set = rules::header(name, value, &mut headers);
            note(&format!("headers.{name}"), set.as_ref().err());
        }
        let github = rules::github(entry);
        note("kind", github.as_ref().err());
        let secrets = read_secret(entry)
            .map(|text| parse_secrets(&text))
            .transpose();
        note(secret_key(entry), secrets.as_ref().err());
        if !problems.is_empty() {
            return Err(problems);
        }
        let (Ok((url, origin)), Ok(body), Ok(secrets), Ok(github)) = (url, body, secrets, github)
        else {
            return Err(problems);
        };
        let events = entry.events.iter();
        Ok(Endpoint {
            name: entry.name.clone(),
            timeout: Duration::from_secs(entry.timeout_secs),
            concurrent_attempts_max: usize::try_from(entry.concurrent_attempts_max)
                .unwrap_or(usize::MAX),
            url,
            origin,
            method: method(entry.method),
            headers,
            body,
            secrets: RwLock::new(secrets.map(Arc::new)),
            events: events.map(|event| kind(*event)).collect(),
            services: entry.services.clone(),
            plans: entry.plans.clone(),
            decisions: entry.decisions.clone(),
            github,
        })
    }

    /// Its secrets; `None` where deliveries are not signed.
    pub fn secrets(&self) -> Option<Arc<Secrets>> {
        let secrets = self.secrets.read().unwrap_or_else(PoisonError::into_inner);
        secrets.clone()
    }

    /// Signs with other secrets from now on.
    pub fn replace_secrets(&self, secrets: Secrets) {
        let mut now = self.secrets.write().unwrap_or_else(PoisonError::into_inner);
        *now = Some(Arc::new(secrets));
    }

    /// Whether this endpoint wants to hear of an event. An absent list wants everything.
    pub fn wants(&self, event: &Event) -> bool {
        let body = &event.body;
        let service = body.change.service.as_deref().unwrap_or("");
        let listed = |list: &Option<Vec<String>>, name: &str| {
            list.as_ref()
                .is_none_or(|names| names.iter().any(|listed| listed == name))
        };
        let decides = |decisions: &Vec<WebhookDecision>| {
            decisions
                .iter()
                .any(|wanted| decision(*wanted) == body.decision)
        };
        let is_heard = self.github.is_none() || github::is_for(&body.change, body.decision);
        is_heard
            && self.events.contains(&event.kind)
            && listed(&self.services, service)
            && listed(&self.plans, &body.plan)
            && self.decisions.as_ref().is_none_or(decides)
    }

    /// The notification of an event. Its id is the same however often it is made.
    pub fn delivery(&self, event: &Event) -> Delivery {
        let body = serde_json::to_string(&*event.body).expect("a verdict body is plain data");
        Delivery {
            id: format!("{}-{}-{}", event.analysis, event.sequence, self.name),
            endpoint: self.name.clone(),
            analysis: event.analysis.clone(),
            event_type: event.kind.as_str(),
            at: event.at,
            queued_at: event.at,
            body: body.into(),
            attempts: 0,
            due: event.at,
        }
    }

    /// The credentials of one attempt, where its kind has some.
    ///
    /// # Errors
    /// Why they cannot be read.
    pub async fn bearer(&self) -> Option<Result<HeaderValue, String>> {
        match &self.github {
            Some(github) => Some(github.bearer().await),
            None => None,
        }
    }

    /// The request of one attempt at `now`.
    ///
    /// # Errors
    /// A sentence when the filled-in address is none, or is one that is refused.
    pub fn prepare(&self, delivery: &Delivery, now: Timestamp) -> Result<Prepared, String> {
        let verdict: Value = serde_json::from_str(&delivery.body).map_err(|e| e.to_string())?;
        let event = json!({
            "type": delivery.event_type,
            "timestamp": rfc3339(delivery.at),
            "id": delivery.id,
        });
        let told = self.github.as_ref().map(|_| github::request(&verdict));
        let (path, told) = told.transpose()?.unzip();
        let body = match &self.body {
            _ if told.is_some() => told.unwrap_or_default(),
            None => json!({
                "type": event["type"], "timestamp": event["timestamp"], "data": verdict,
            })
            .to_string(),
            Some(template) => template.render(&with_event(&verdict, &event), Place::Body),
        };
        let address = self
            .url
            .render(&with_event(&verdict, &event), Place::Address);
        let address = match path {
            Some(path) => address.trim_end_matches('/').to_owned() + &path,
            None => address,
        };
        if template::has_dot_segment(&address) {
            return Err("a value makes the address leave its folder: a segment is . or ..".into());
        }
        let url = Url::parse(&address)
            .map_err(|error| format!("the filled-in address is none: {error}"))?;
        if url.origin().ascii_serialization() != self.origin {
            return Err("a value makes the address one of another host".to_string());
        }
        if guard::host_is_refused(&url) {
            return Err("the filled-in address is one of a metadata service".to_string());
        }
        let mut headers = self.headers.clone();
        let seconds = now.millis().div_euclid(1000);
        let mut set = |name: &'static str, value: String| -> Result<(), String> {
            let value = HeaderValue::from_str(&value).map_err(|e| format!("{name}: {e}"))?;
            headers.insert(HeaderName::from_static(name), value);
            Ok(())
        };
        set("webhook-id", delivery.id.clone())?;
        set("webhook-timestamp", seconds.to_string())?;
        if let Some(secrets) = self.secrets() {
            set(
                "webhook-signature",
                secrets.sign(&delivery.id, seconds, body.as_bytes()),
            )?;
        }
        if self.github.is_some() {
            github::headers(&mut headers);
        }
        headers
            .entry(CONTENT_TYPE)
            .or_insert(HeaderValue::from_static("application/json"));
        Ok(Prepared {
            method: self.method.clone(),
            url,
            headers,
            body: body.into_bytes(),
        })
    }
}

/// The secrets in what was read, or what is wrong and what to do about it.
///
/// # Errors
/// What could not be read, or why it holds no secrets. It never repeats one.
pub fn parse_secrets(read: &Result<String, String>) -> Result<Secrets, (String, String)> {
    match read {
        Ok(text) => Secrets::parse(text).map_err(|bad| (bad.to_string(), bad.help().to_string())),
        Err(error) => {
            let help = "check the name and the permissions";
            Err((error.clone(), help.to_string()))
        }
    }
}

fn secret_key(entry: &daemon::Webhook) -> &'static str {
    match entry.secret_env {
        Some(_) => "secret_env",
        None => "secret_file",
    }
}

/// The notifications of an event, one an endpoint that wants it.
pub fn deliveries(endpoints: &[Arc<Endpoint>], event: &Event) -> Vec<Delivery> {
    let wanting = endpoints.iter().filter(|endpoint| endpoint.wants(event));
    wanting.map(|endpoint| endpoint.delivery(event)).collect()
}

fn with_event(verdict: &Value, event: &Value) -> Value {
    let mut data = verdict.clone();
    if let Value::Object(fields) = &mut data {
        fields.insert("event".into(), event.clone());
    }
    data
}

fn rfc3339(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.millis())
        .map(|time| time.to_string())
        .unwrap_or_default()
}

fn method(method: WebhookMethod) -> Method {
    match method {
        WebhookMethod::Post => Method::POST,
        WebhookMethod::Put => Method::PUT,
        WebhookMethod::Patch => Method::PATCH,
        WebhookMethod::Get => Method::GET,
        WebhookMethod::Delete => Method::DELETE,
    }
}

fn kind(event: WebhookEvent) -> EventKind {
    match event {
        WebhookEvent::AnalysisStarted => EventKind::Started,
        WebhookEvent::VerdictChanged => EventKind::VerdictChanged,
        WebhookEvent::VerdictFinal => EventKind::VerdictFinal,
        WebhookEvent::WatchAlarm => EventKind::WatchAlarm,
        WebhookEvent::AnalysisOverridden => EventKind::Overridden,
    }
}

fn decision(decision: WebhookDecision) -> Decision {
    match decision {
        WebhookDecision::Promote => Decision::Promote,
        WebhookDecision::Rollback => Decision::Rollback,
        WebhookDecision::Hold => Decision::Hold,
    }
}

#[cfg(test)]
mod tests;
