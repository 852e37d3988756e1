//! Configuration. (Stub until the configuration branch lands.)
#![allow(missing_docs)]

pub mod plan_file;
pub mod problem;

use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(Debug, Clone, Default)]
pub struct Config {
    pub server: Server,
    pub plans: Plans,
    pub limits: Limits,
    pub webhooks: Vec<Webhook>,
    pub webhook: WebhookPolicy,
    pub log: Log,
}
#[derive(Debug, Clone)]
pub struct Server {
    pub listen_address: String,
    pub port: u16,
    pub allow_unauthenticated: bool,
    pub request_body_bytes_max: u64,
    pub decoded_body_bytes_max: u64,
    pub request_timeout_secs: u64,
    pub header_read_timeout_secs: u64,
    pub connections_max: usize,
    pub long_poll_secs_max: u64,
    pub shutdown_deadline_secs: u64,
}
impl Default for Server {
    fn default() -> Server {
        Server {
            listen_address: "127.0.0.1".into(),
            port: 8088,
            allow_unauthenticated: false,
            request_body_bytes_max: 8 << 20,
            decoded_body_bytes_max: 32 << 20,
            request_timeout_secs: 30,
            header_read_timeout_secs: 10,
            connections_max: 1024,
            long_poll_secs_max: 60,
            shutdown_deadline_secs: 10,
        }
    }
}
#[derive(Debug, Clone)]
pub struct Plans {
    pub directory: PathBuf,
}
impl Default for Plans {
    fn default() -> Plans {
        Plans {
            directory: "config/plans".into(),
        }
    }
}
#[derive(Debug, Clone)]
pub struct Limits {
    pub analyses_max: usize,
    pub retained_analyses_max: usize,
    pub samples_per_request_max: usize,
    pub values_per_sample_max: usize,
    pub tick_values_max: usize,
    pub future_skew_secs_max: u64,
    pub label_count_max: usize,
    pub label_bytes_max: usize,
    pub recording_bytes_max: u64,
    pub sse_clients_max: usize,
    pub dedupe_ids_max: usize,
    pub steps_max: usize,
    pub abandoned_after_secs: u64,
}
impl Default for Limits {
    fn default() -> Limits {
        Limits {
            analyses_max: 1000,
            retained_analyses_max: 1000,
            samples_per_request_max: 100_000,
            values_per_sample_max: 10_000,
            tick_values_max: 65_536,
            future_skew_secs_max: 60,
            label_count_max: 32,
            label_bytes_max: 4096,
            recording_bytes_max: 16 << 20,
            sse_clients_max: 256,
            dedupe_ids_max: 100_000,
            steps_max: 100,
            abandoned_after_secs: 1800,
        }
    }
}
#[derive(Debug, Clone)]
pub struct Webhook {
    pub name: String,
    pub url: String,
    pub events: Vec<String>,
    pub services: Vec<String>,
    pub plans: Vec<String>,
    pub decisions: Vec<String>,
    pub secret_file: Option<PathBuf>,
    pub method: String,
    pub headers: BTreeMap<String, String>,
    pub body_template: Option<String>,
    pub timeout_secs: u64,
}
#[derive(Debug, Clone)]
pub struct WebhookPolicy {
    pub attempts_age_secs_max: u64,
    pub backoff_initial_ms: u64,
    pub backoff_max_ms: u64,
    pub response_bytes_max: usize,
    pub queue_max: usize,
}
impl Default for WebhookPolicy {
    fn default() -> WebhookPolicy {
        WebhookPolicy {
            attempts_age_secs_max: 86_400,
            backoff_initial_ms: 1000,
            backoff_max_ms: 600_000,
            response_bytes_max: 16_384,
            queue_max: 10_000,
        }
    }
}
#[derive(Debug, Clone)]
pub struct Log {
    pub format: String,
    pub filter: String,
}
impl Default for Log {
    fn default() -> Log {
        Log {
            format: "text".into(),
            filter: "info".into(),
        }
    }
}
