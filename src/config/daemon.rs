//! The daemon's configuration: its types. Their comments are the JSON Schema's descriptions, and
//! their ranges are what files, environment and flags are held to.
//!
//! Owns names, types and ranges; the defaults are in `config/default.toml`. It must not know where
//! a value came from. Next: `layers`, which reads and lays over each other.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::listening::ServerTls;
use super::oidc::Oidc;
use super::sources::PullSources;

/// Services that can have a label of their own in metrics.
pub const SERVICE_LABELS_MAX: usize = 100;
/// What metrics call all other services, and changes that name none or several.
pub const OTHER_SERVICE: &str = "other";

/// The whole configuration, every default filled in.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Listening, timeouts and sizes of requests.
    pub server: Server,
    /// Who is let in.
    pub auth: Auth,
    /// Where plans are.
    pub plans: Plans,
    /// Where everything is kept that must last.
    #[serde(default)]
    pub store: Store,
    /// What bounds the daemon's memory.
    pub limits: Limits,
    /// Endpoints told of events.
    #[serde(default)]
    pub webhooks: Vec<Webhook>,
    /// Deliveries of webhooks in general.
    pub webhook: Delivery,
    /// Where metrics are pulled from.
    #[serde(default)]
    pub sources: PullSources,
    /// Logging.
    pub log: Log,
    /// Metrics.
    #[serde(default)]
    pub telemetry: Telemetry,
}

/// Listening, timeouts and sizes of requests.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// IP address to listen on.
    pub listen_address: String,
    /// Port to listen on; 0 takes any free one.
    pub port: u16,
    /// Listen beyond loopback although nobody has to show who they are; for where there is no
    /// auth.tokens_file and no auth.oidc.
    pub allow_unauthenticated: bool,
    /// Names under which davy may be called on loopback, besides addresses and localhost: those
    /// that a proxy in front passes on.
    pub host_names: Vec<String>,
    /// Longest request body as sent, in bytes.
    #[schemars(range(min = 1024, max = 1_073_741_824))]
    pub request_body_bytes_max: u64,
    /// Longest request body after decompression, in bytes.
    #[schemars(range(min = 1024, max = 4_294_967_296_u64))]
    pub decoded_body_bytes_max: u64,
    /// Longest time to read a request, then to answer it, in seconds; not for polls and streams.
    #[schemars(range(min = 1, max = 3600))]
    pub request_timeout_secs: u64,
    /// How long a client may take to send its headers, in seconds.
    #[schemars(range(min = 1, max = 300))]
    pub header_read_timeout_secs: u64,
    /// Open connections.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections_max: u64,
    /// Longest wait for a verdict, in seconds.
    #[schemars(range(min = 1, max = 3600))]
    pub long_poll_secs_max: u64,
    /// How long open requests have to finish at shutdown, in seconds.
    #[schemars(range(min = 0, max = 3600))]
    pub shutdown_deadline_secs: u64,
    /// TLS by davy itself. Without it davy speaks HTTP as it is.
    #[serde(default)]
    #[schemars(with = "ServerTls")]
    pub tls: Option<ServerTls>,
}

/// Who is let in.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// File of tokens, as davy token writes it. Without it and without oidc nobody is asked who they
    /// are.
    #[serde(default)]
    pub tokens_file: Option<PathBuf>,
    /// An identity provider whose signed tokens are good here, besides those of the tokens_file.
    #[serde(default)]
    #[schemars(with = "Oidc")]
    pub oidc: Option<Oidc>,
    /// Whether /metrics asks for no token.
    pub metrics_open: bool,
    /// Requests in a second with one token; 0 for any number.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub requests_per_second_max: u32,
}

/// Where plans are.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plans {
    /// Folder whose *.yaml, *.yml and *.json files are plans.
    pub directory: PathBuf,
}

/// Where everything is kept that must last.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// Folder of the database, made where it is missing. Without it everything is in memory, and
    /// ends with the process.
    #[serde(default)]
    pub path: Option<PathBuf>,
    /// When samples are acknowledged: once they are on the disk (`acknowledged`), or at once
    /// (`periodic`); a crash then loses what came in the last `sync_interval_ms`.
    #[serde(default)]
    pub durability: Durability,
    /// How long samples may wait for the disk with `durability = "periodic"`, in milliseconds.
    #[serde(default = "sync_interval_ms")]
    #[schemars(range(min = 10, max = 60_000))]
    pub sync_interval_ms: u64,
    /// Bytes of the sample log after which the state of the engine is written as a whole: so much,
    /// or twice such a checkpoint where that is more, is taken again after a crash.
    #[serde(default = "segment_bytes")]
    #[schemars(range(min = 65_536, max = 1_073_741_824))]
    pub segment_bytes: u64,
    /// Rows of the audit log; past it the oldest go, and a row that stays says so. A row takes
    /// about 1 kB.
    #[serde(default = "audit_rows_max")]
    #[schemars(range(min = 1_000, max = 1_000_000_000))]
    pub audit_rows_max: u64,
    /// Bytes of the database that deleted rows left and that are kept for new ones; what is more
    /// goes back to the file system, bit by bit, when rows are deleted.
    #[serde(default = "free_bytes_max")]
    #[schemars(range(min = 0, max = 1_099_511_627_776_u64))]
    pub free_bytes_max: u64,
}

fn free_bytes_max() -> u64 {
    16 << 20
}

fn audit_rows_max() -> u64 {
    1_000_000
}

fn segment_bytes() -> u64 {
    64 << 20
}

fn sync_interval_ms() -> u64 {
    1_000
}

/// When samples are acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Once they are on the disk.
    #[default]
    Acknowledged,
    /// At once; they are on the disk a little later.
    Periodic,
}

/// What bounds the daemon's memory.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Analyses running at one time.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub analyses_max: u64,
    /// Final analyses kept for reading.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub retained_analyses_max: u64,
    /// Samples in one request.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub samples_per_request_max: u64,
    /// Values held per arm, metric and open tick.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub tick_values_max: u64,
    /// How far in the future a sample may be, in seconds.
    #[schemars(range(min = 0, max = 86_400))]
    pub future_skew_secs_max: u64,
    /// Labels of one sample.
    #[schemars(range(min = 1, max = 1_024))]
    pub label_count_max: u64,
    /// Names and values of one sample's labels together, in bytes.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub label_bytes_max: u64,
    /// Recording of one analysis, in bytes.
    #[schemars(range(min = 1, max = 4_294_967_296_u64))]
    pub recording_bytes_max: u64,
    /// Clients of event streams.
    #[schemars(range(min = 1, max = 100_000))]
    pub sse_clients_max: u64,
    /// Idempotency ids remembered per analysis.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub dedupe_ids_max: u64,
    /// Series of running analyses that are followed, all analyses together.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub series_max: u64,
    /// Configurations that clients of Kayenta keep here; 0 for none.
    #[schemars(range(min = 0, max = 100_000))]
    pub kayenta_configs_max: u64,
    /// After how long without samples or questions an analysis is abandoned, in seconds.
    #[schemars(range(min = 1, max = 31_536_000))]
    pub abandoned_after_secs: u64,
}

/// An endpoint told of events. Its `Debug` form leaves out what may be secret: the path of the
/// address and the values of headers.
#[derive(Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Name, unique among the webhooks.
    pub name: String,
    /// Whose words it is told in.
    #[serde(default)]
    pub kind: WebhookKind,
    /// Address, http or https. Placeholders such as {{change.id}} are filled in.
    pub url: String,
    /// Events sent to it.
    #[schemars(length(min = 1))]
    pub events: Vec<WebhookEvent>,
    /// Only changes of these services; all without it.
    #[serde(default)]
    pub services: Option<Vec<String>>,
    /// Only analyses of these plans; all without it.
    #[serde(default)]
    pub plans: Option<Vec<String>>,
    /// Only these decisions; all without it.
    #[serde(default)]
    pub decisions: Option<Vec<WebhookDecision>>,
    /// File that holds the signing secret, or several, one a line; read again when it changes.
    /// Without any secret deliveries are not signed.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// Environment variable that holds the signing secret, or several with blanks between them.
    #[serde(default)]
    pub secret_env: Option<String>,
    /// File that holds the token of a kind that needs one; read at every attempt.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// HTTP method.
    #[serde(default)]
    pub method: WebhookMethod,
    /// Headers added to each delivery.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Body with placeholders such as {{verdict}}; the event as JSON without it.
    #[serde(default)]
    pub body_template: Option<String>,
    /// How long one delivery may take, in seconds.
    #[serde(default = "webhook_timeout_secs")]
    #[schemars(range(min = 1, max = 120))]
    pub timeout_secs: u64,
    /// Deliveries under way at one time, each of another analysis.
    #[serde(default = "webhook_concurrent_attempts_max")]
    #[schemars(range(min = 1, max = 256))]
    pub concurrent_attempts_max: u64,
}

fn webhook_timeout_secs() -> u64 {
    10
}

fn webhook_concurrent_attempts_max() -> u64 {
    8
}

/// Whose words an endpoint is told in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WebhookKind {
    /// davy's own, or a template's.
    #[default]
    Event,
    /// GitHub's deployment protection rules: promote approves a run, rollback rejects it.
    GithubDeployment,
}

/// What an endpoint can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum WebhookEvent {
    #[serde(rename = "analysis.started")]
    AnalysisStarted,
    #[serde(rename = "verdict.changed")]
    VerdictChanged,
    #[serde(rename = "verdict.final")]
    VerdictFinal,
    #[serde(rename = "watch.alarm")]
    WatchAlarm,
    #[serde(rename = "analysis.overridden")]
    AnalysisOverridden,
}

/// A decision an endpoint can be limited to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum WebhookDecision {
    Promote,
    Rollback,
    Hold,
}

/// HTTP method of a delivery.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)]
pub enum WebhookMethod {
    #[default]
    Post,
    Put,
    Patch,
    Get,
    Delete,
}

/// Deliveries of webhooks in general.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// Age at which a delivery is given up, in seconds.
    #[schemars(range(min = 1, max = 2_592_000))]
    pub attempts_age_secs_max: u64,
    /// Wait before the second attempt, in milliseconds; it doubles.
    #[schemars(range(min = 10, max = 3_600_000))]
    pub backoff_initial_ms: u64,
    /// Longest wait between attempts, in milliseconds.
    #[schemars(range(min = 10, max = 86_400_000))]
    pub backoff_max_ms: u64,
    /// How much of an answer is read, in bytes.
    #[schemars(range(min = 0, max = 1_048_576))]
    pub response_bytes_max: u64,
    /// Deliveries waiting for one endpoint; what comes on top is given up.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub queue_max: u64,
    /// The failure of this number in a row has an endpoint held back: only one attempt at a time
    /// goes out, after waits that grow, until one succeeds.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub failures_in_a_row_max: u32,
    /// Longest wait between attempts at an endpoint that is held back, in milliseconds.
    #[schemars(range(min = 10, max = 86_400_000))]
    pub probe_wait_max_ms: u64,
}

/// Logging.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Form of a line.
    pub format: LogFormat,
    /// Levels by module, such as "info,davy::webhook=debug".
    pub filter: String,
}

/// Metrics.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// Services that have a label of their own in the metrics of changes, at most 100; all others are
    /// `other`.
    #[serde(default)]
    #[schemars(length(max = 100))]
    pub service_labels: Vec<String>,
}

/// Form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum LogFormat {
    Text,
    Json,
}

// === impl Auth ===

impl Auth {
    /// Whether callers have to show who they are.
    pub fn asks(&self) -> bool {
        self.tokens_file.is_some() || self.oidc.is_some()
    }
}

/// What [`json_schema`] makes, as text. A daemon reads it: what makes it anew would stay in memory
/// for as long as it runs, for half a millisecond of use.
pub const SCHEMA_TEXT: &str = include_str!("../../config/config.schema.json");

/// The JSON Schema of a configuration file: every key may be left out, except in a webhook or a
/// source.
pub fn json_schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(Config).to_value();
    let optional = ["Server", "Auth", "Plans", "Limits", "Delivery", "Log"];
    if let Some(root) = schema.as_object_mut() {
        root.remove("required");
        root.insert("title".to_owned(), "davy configuration".into());
    }
    for name in optional {
        let part = schema.pointer_mut(&format!("/$defs/{name}"));
        if let Some(part) = part.and_then(serde_json::Value::as_object_mut) {
            part.remove("required");
        }
    }
    schema
}

// === impl Webhook ===

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = reqwest::Url::parse(&self.url).ok().and_then(|url| {
            url.host_str()
                .map(|host| format!("{}://{host}/..", url.scheme()))
        });
        f.debug_struct("Webhook")
            .field("name", &self.name)
            .field("url", &host.unwrap_or_else(|| "..".to_owned()))
            .field("events", &self.events)
            .field("services", &self.services)
            .field("plans", &self.plans)
            .field("decisions", &self.decisions)
            .field("secret_file", &self.secret_file)
            .field("secret_env", &self.secret_env)
            .field("method", &self.method)
            .field("header_names", &self.headers.keys())
            .field("timeout_secs", &self.timeout_secs)
            .field("concurrent_attempts_max", &self.concurrent_attempts_max)
            .finish_non_exhaustive()
    }
}
