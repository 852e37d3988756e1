//! The configuration of sources that metrics are pulled from: its types.
//!
//! Owns names, types, ranges and defaults. What an address or a header must be is `pull::rules`'.
//! Secrets are in files of their own: none is ever written here.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

/// Where metrics are pulled from.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PullSources {
    /// A source that speaks Prometheus' HTTP API: Prometheus, VictoriaMetrics, Thanos, Mimir.
    #[serde(default)]
    #[schemars(with = "PrometheusSource")]
    pub prometheus: Option<PrometheusSource>,
}

/// A source that speaks Prometheus' HTTP API. Its `Debug` form leaves out what may be secret: the
/// address but for its host, and the values of headers.
#[derive(Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrometheusSource {
    /// Address, http or https; /api/v1/query_range is put behind it.
    pub url: String,
    /// File that holds a bearer token.
    #[serde(default)]
    pub bearer_token_file: Option<PathBuf>,
    /// Name and password, instead of a token.
    #[serde(default)]
    #[schemars(with = "BasicAuthentication")]
    pub basic: Option<BasicAuthentication>,
    /// Certificates, where the system's are not enough.
    #[serde(default)]
    pub tls: TlsFiles,
    /// Headers added to each request, such as X-Scope-OrgID.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// How long one query may take, in milliseconds.
    #[serde(default = "timeout_ms")]
    #[schemars(range(min = 100, max = 120_000))]
    pub timeout_ms: u64,
    /// How long after a tick's end it is asked for, in milliseconds: scraping and storing take time.
    #[serde(default = "delay_ms")]
    #[schemars(range(min = 0, max = 600_000))]
    pub delay_ms: u64,
    /// Queries at one time, all analyses together.
    #[serde(default = "concurrent_queries_max")]
    #[schemars(range(min = 1, max = 1_000))]
    pub concurrent_queries_max: u64,
    /// Longest answer to one query, in bytes.
    #[serde(default = "response_bytes_max")]
    #[schemars(range(min = 1_024, max = 1_073_741_824))]
    pub response_bytes_max: u64,
    /// Series in the answer to one query.
    #[serde(default = "series_per_query_max")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub series_per_query_max: u64,
    /// Points of one series that one query asks for; more than an analysis holds open ticks.
    #[serde(default = "points_per_query_max")]
    #[schemars(range(min = 300, max = 11_000))]
    pub points_per_query_max: u64,
    /// Wait after the first failure, in milliseconds; it doubles.
    #[serde(default = "backoff_initial_ms")]
    #[schemars(range(min = 10, max = 600_000))]
    pub backoff_initial_ms: u64,
    /// Longest wait after a failure, in milliseconds; a longer Retry-After counts as this.
    #[serde(default = "backoff_max_ms")]
    #[schemars(range(min = 10, max = 3_600_000))]
    pub backoff_max_ms: u64,
}

/// A name and a password.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicAuthentication {
    /// The name.
    pub username: String,
    /// File that holds the password.
    pub password_file: PathBuf,
}

/// Files of certificates.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TlsFiles {
    /// Certificates (PEM) that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Own certificate (PEM), for a source that asks for one.
    pub cert_file: Option<PathBuf>,
    /// Its key (PEM).
    pub key_file: Option<PathBuf>,
}

fn timeout_ms() -> u64 {
    10_000
}

fn delay_ms() -> u64 {
    5_000
}

fn concurrent_queries_max() -> u64 {
    8
}

fn response_bytes_max() -> u64 {
    16 << 20
}

fn series_per_query_max() -> u64 {
    1_000
}

/// What Prometheus refuses to exceed.
fn points_per_query_max() -> u64 {
    11_000
}

fn backoff_initial_ms() -> u64 {
    1_000
}

fn backoff_max_ms() -> u64 {
    60_000
}

// === impl PrometheusSource ===

impl PrometheusSource {
    /// A source at this address, everything else as it is by default.
    pub fn at(url: &str) -> PrometheusSource {
        PrometheusSource {
            url: url.to_owned(),
            bearer_token_file: None,
            basic: None,
            tls: TlsFiles::default(),
            headers: BTreeMap::new(),
            timeout_ms: timeout_ms(),
            delay_ms: delay_ms(),
            concurrent_queries_max: concurrent_queries_max(),
            response_bytes_max: response_bytes_max(),
            series_per_query_max: series_per_query_max(),
            points_per_query_max: points_per_query_max(),
            backoff_initial_ms: backoff_initial_ms(),
            backoff_max_ms: backoff_max_ms(),
        }
    }
}

impl fmt::Debug for PrometheusSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = reqwest::Url::parse(&self.url).ok();
        let host = url.as_ref().and_then(reqwest::Url::host_str);
        f.debug_struct("PrometheusSource")
            .field("host", &host.unwrap_or(".."))
            .field("bearer_token_file", &self.bearer_token_file)
            .field("basic", &self.basic)
            .field("tls", &self.tls)
            .field("header_names", &self.headers.keys())
            .field("timeout_ms", &self.timeout_ms)
            .field("delay_ms", &self.delay_ms)
            .finish_non_exhaustive()
    }
}
