//! What davy tells about itself: its log and its metrics.
//!
//! Owns the registry, the names of all metrics and their labels. No label ever holds an analysis,
//! a unit or anything else a sender can invent without bound; plan names are counted and those
//! past [`PLAN_LABELS_MAX`] share the label `other`. It must not know what the numbers are for. Next:
//! `changes`, what is told of verdicts and changes; `counting`, which of it moves with which event.

pub mod changes;
pub mod counting;
pub mod losses;
mod maker;

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use changes::{AuditMetrics, ChangeMetrics, JudgingMetrics};
use maker::Maker;
use prometheus::{
    Encoder, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
    TextEncoder,
};

/// Plans that get a label of their own.
pub const PLAN_LABELS_MAX: usize = 100;
/// What plans past [`PLAN_LABELS_MAX`] are called.
pub const OTHER_PLAN: &str = "other";

/// Bounds of buckets for things that take up to a few seconds.
const DURATION_SECS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0,
];

/// The daemon's metrics. Every name begins with `davy_`, in base units.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    plans: Mutex<BTreeSet<String>>,
    /// `davy_samples_total{outcome}`: accepted, unmatched, ambiguous, late, duplicate, refused.
    pub samples: IntCounterVec,
    /// What comes in.
    pub ingest: IngestMetrics,
    /// `davy_looks_total`
    pub looks: IntCounter,
    /// `davy_looks_late_seconds`: how much later than due a tick was evaluated; looks that are on
    /// time count as 0. Where the engine cannot keep up, looks are late; none is skipped.
    pub looks_late: Histogram,
    /// `davy_verdicts_total{plan,verdict,reason}`: final ones.
    pub verdicts: IntCounterVec,
    /// Of verdicts.
    pub judging: JudgingMetrics,
    /// Of changes.
    pub changes: ChangeMetrics,
    /// Of the audit log.
    pub audit: AuditMetrics,
    /// `davy_analyses_started_total{plan}`
    pub analyses_started: IntCounterVec,
    /// `davy_analyses_running`
    pub analyses_running: IntGauge,
    /// `davy_http_requests_total{route,method,status}`
    pub http_requests: IntCounterVec,
    /// `davy_http_request_duration_seconds{route}`
    pub http_duration: HistogramVec,
    /// Of webhooks.
    pub webhook: WebhookMetrics,
    /// Of the door.
    pub door: DoorMetrics,
    /// Of TLS on davy's own listener.
    pub tls: TlsMetrics,
    /// Of the folder of plans.
    pub plan_files: PlanFileMetrics,
    /// Of signed tokens.
    pub oidc: OidcMetrics,
    /// Of the sample log.
    pub log: LogMetrics,
    /// Of pulling.
    pub pull: PullMetrics,
    /// `davy_outbox_depth`
    pub outbox_depth: IntGauge,
    /// `davy_engine_queue_depth`
    pub engine_queue_depth: IntGauge,
    /// `davy_engine_input_duration_seconds{input}`
    pub engine_input_duration: HistogramVec,
    /// `davy_store_stuck`: 1 while the store cannot be written; nothing is taken then.
    pub store_stuck: IntGauge,
    /// `davy_commit_duration_seconds`
    pub commit_duration: Histogram,
    /// `davy_limit_reached_total{limit}`: how often a named limit turned something away.
    pub limit_reached: IntCounterVec,
    /// `davy_limit{limit}`: what such a limit is, of those that something can come near to.
    pub limits: IntGaugeVec,
    /// `davy_sse_clients`
    pub sse_clients: IntGauge,
}

/// Metrics of webhooks, by the names of the configuration's endpoints.
#[derive(Debug)]
pub struct WebhookMetrics {
    /// `davy_webhook_attempts_total{endpoint,outcome}`: delivered, retried, dead.
    pub attempts: IntCounterVec,
    /// `davy_webhook_breaker_open{endpoint}`: 1 while an endpoint is held back and only probed.
    pub breaker_open: IntGaugeVec,
    /// `davy_webhook_breaker_opened_total{endpoint}`
    pub breaker_opened: IntCounterVec,
    /// `davy_webhook_delivery_delay_seconds{endpoint}`: from the event to the answer that took it.
    pub delivery_delay: HistogramVec,
    /// `davy_webhook_rollbacks_queued_total{endpoint}`: notifications that ask for a rollback.
    pub rollbacks_queued: IntCounterVec,
    /// `davy_webhook_rollbacks_total{endpoint,outcome}`: what became of them: delivered, dead.
    pub rollbacks: IntCounterVec,
    /// `davy_webhook_redelivered_total{endpoint}`: dead letters that were put back.
    pub redelivered: IntCounterVec,
    /// `davy_webhook_secrets{endpoint}`: secrets that deliveries are signed with.
    pub secrets: IntGaugeVec,
    /// `davy_webhook_secret_reload_failures_total{endpoint}`: how often a file of secrets had
    /// changed and could not be used; the secrets before stay.
    pub secret_reload_failures: IntCounterVec,
}

/// Metrics of the folder of plans.
#[derive(Debug)]
pub struct PlanFileMetrics {
    /// `davy_plans`: plans that analyses can be started on by their names.
    pub plans: IntGauge,
    /// `davy_plan_reload_failures_total`: how often the folder had changed and could not be used; the
    /// plans before stay.
    pub reload_failures: IntCounter,
}

/// Metrics of tokens and those who come without.
#[derive(Debug)]
pub struct DoorMetrics {
    /// `davy_auth_refused_total{reason}`: missing, malformed, unknown, expired, revoked, scope,
    /// namespace, too_fast; of signed tokens also jwt_algorithm, jwt_key, jwt_signature, jwt_issuer,
    /// jwt_audience, jwt_not_yet, jwt_claim, jwt_grant, keys_unavailable.
    pub refused: IntCounterVec,
    /// `davy_auth_reload_failures_total`: how often the file of tokens had changed and could not be
    /// used; the tokens before stay.
    pub reload_failures: IntCounter,
    /// `davy_auth_tokens`: tokens in use, expired and revoked ones included.
    pub tokens: IntGauge,
}

/// Metrics of TLS on davy's own listener.
#[derive(Debug)]
pub struct TlsMetrics {
    /// `davy_tls_handshakes_failed_total{reason}`: timeout, not_tls, incompatible,
    /// client_certificate_missing, client_certificate, alert, closed.
    pub handshakes_failed: IntCounterVec,
    /// `davy_tls_reload_failures_total`: how often the files had changed and could not be used; what
    /// was before stays.
    pub reload_failures: IntCounter,
    /// `davy_tls_certificate_expires_timestamp_seconds`: when davy's certificate ends; 0 without TLS.
    pub certificate_expires: IntGauge,
}

/// Metrics of an identity provider whose signed tokens are good here.
#[derive(Debug)]
pub struct OidcMetrics {
    /// `davy_oidc_key_fetches_total{outcome}`: fetched, failed.
    pub fetches: IntCounterVec,
    /// `davy_oidc_keys`: keys in use.
    pub keys: IntGauge,
    /// `davy_oidc_keys_fetched_timestamp_seconds`: when those in use were fetched; 0 before that.
    pub keys_fetched: IntGauge,
}

/// Metrics of the sample log.
#[derive(Debug)]
pub struct LogMetrics {
    /// `davy_sample_log_synced_bytes_total`: bytes that are on the disk.
    pub synced_bytes: IntCounter,
    /// `davy_sample_log_sync_duration_seconds`: to write and sync what waited.
    pub sync_duration: Histogram,
    /// `davy_checkpoint_bytes`: of the last checkpoint.
    pub checkpoint_bytes: IntGauge,
    /// `davy_checkpoint_duration_seconds`: to write one.
    pub checkpoint_duration: Histogram,
    /// `davy_checkpoint_failures_total`: those that could not be written; the sample log grows until
    /// one can.
    pub checkpoint_failures: IntCounter,
    /// `davy_sample_log_stuck`: 1 while the disk does not take what it is given; no samples are
    /// taken then.
    pub stuck: IntGauge,
}

/// Metrics of pulling.
#[derive(Debug)]
pub struct PullMetrics {
    /// `davy_pull_queries_total{outcome}`: answered, timeout, unreachable, unavailable, throttled,
    /// unauthorized, malformed, refused, too_large.
    pub queries: IntCounterVec,
    /// `davy_pull_query_duration_seconds`: from the request to the end of the answer.
    pub duration: Histogram,
    /// `davy_pull_points_total`: points in answers, those that were there before included.
    pub points: IntCounter,
    /// `davy_pull_queries_in_flight`
    pub in_flight: IntGauge,
    /// `davy_pull_source_up{source}`: 0 while a source does not answer and is left alone.
    pub source_up: IntGaugeVec,
}

/// What comes in.
#[derive(Debug)]
pub struct IngestMetrics {
    /// `davy_samples_ahead_total`: samples kept although their time was more than a second ahead of
    /// the clock, as it is where a sender's clock is wrong.
    pub ahead: IntCounter,
    /// `davy_ingest_requests_total{format}`: requests whose samples were read.
    pub requests: IntCounterVec,
    /// `davy_ingest_samples_total{format}`: their samples, whatever became of them.
    pub samples: IntCounterVec,
    /// `davy_ingest_wire_bytes_total`: bodies of sample requests as they came.
    pub wire_bytes: IntCounter,
    /// `davy_ingest_decoded_bytes_total`: the same, decompressed.
    pub decoded_bytes: IntCounter,
}

// === impl Metrics ===

impl Metrics {
    /// Whether what must last cannot be written now, so that nothing is taken.
    pub fn is_stuck(&self) -> bool {
        self.store_stuck.get() > 0 || self.log.stuck.get() > 0
    }

    /// A registry of its own with every metric in it; no service has a label.
    ///
    /// # Errors
    /// Only when two metrics have one name, which every test would see.
    pub fn new(version: &str) -> Result<Metrics, prometheus::Error> {
        Metrics::with_services(version, &[])
    }

    /// The same with labels for these services, to [`SERVICE_LABELS_MAX`](crate::config::daemon::SERVICE_LABELS_MAX) of them.
    ///
    /// # Errors
    /// As [`Metrics::new`].
    pub fn with_services(version: &str, services: &[String]) -> Result<Metrics, prometheus::Error> {
        let metrics = Metrics::register(version, services)?;
        metrics.begin_others();
        Ok(metrics)
    }

    fn register(version: &str, services: &[String]) -> Result<Metrics, prometheus::Error> {
        let registry = Registry::new();
        let make = Maker {
            registry: &registry,
        };
        make.about_the_process(version)?;
        Ok(Metrics {
            plans: Mutex::default(),
            samples: make.counters(
                "davy_samples_total",
                "samples by what became of them",
                &["outcome"],
            )?,
            ingest: make.about_what_comes_in()?,
            looks: make.counter("davy_looks_total", "ticks closed and evaluated")?,
            looks_late: make.histogram("davy_looks_late_seconds", "how late looks were")?,
            verdicts: make.counters(
                "davy_verdicts_total",
                "final verdicts",
                &["plan", "verdict", "reason"],
            )?,
            judging: make.about_judging()?,
            changes: make.about_changes(services)?,
            audit: make.about_the_audit()?,
            analyses_started: make.counters(
                "davy_analyses_started_total",
                "analyses started",
                &["plan"],
            )?,
            analyses_running: make.gauge("davy_analyses_running", "analyses that are not final")?,
            http_requests: make.counters(
                "davy_http_requests_total",
                "requests answered",
                &["route", "method", "status"],
            )?,
            http_duration: make.histograms(
                "davy_http_request_duration_seconds",
                "from the request's head to the answer's head",
                &["route"],
            )?,
            webhook: make.about_webhooks()?,
            door: make.about_the_door()?,
            tls: make.about_tls()?,
            plan_files: make.about_plan_files()?,
            oidc: make.about_signed_tokens()?,
            log: make.about_the_log()?,
            pull: make.about_pulling()?,
            outbox_depth: make.gauge("davy_outbox_depth", "deliveries waiting")?,
            engine_queue_depth: make.gauge("davy_engine_queue_depth", "inputs waiting")?,
            engine_input_duration: make.histograms(
                "davy_engine_input_duration_seconds",
                "time to apply an input; those of `tick` and `samples` close ticks",
                &["input"],
            )?,
            store_stuck: make.gauge("davy_store_stuck", "1 while the store cannot be written")?,
            commit_duration: make.histogram(
                "davy_commit_duration_seconds",
                "time to write what an input caused",
            )?,
            limit_reached: make.counters(
                "davy_limit_reached_total",
                "how often a limit turned something away",
                &["limit"],
            )?,
            limits: make.gauges("davy_limit", "what a limit is set to", &["limit"])?,
            sse_clients: make.gauge("davy_sse_clients", "open event streams")?,
            registry,
        })
    }

    /// The text format of all metrics.
    ///
    /// # Errors
    /// When the encoder fails, which its input does not let it.
    pub fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }

    /// The label of a plan: its name, or [`OTHER_PLAN`] once there are too many.
    pub fn plan_label<'p>(&self, plan: &'p str) -> &'p str {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if plans.contains(plan) {
            return plan;
        }
        if plans.len() >= PLAN_LABELS_MAX {
            return OTHER_PLAN;
        }
        plans.insert(plan.to_string());
        plan
    }

    /// Counts that a named limit turned something away.
    pub fn limit(&self, limit: &str) {
        debug_assert!(counting::LIMITS.contains(&limit), "{limit} is not listed");
        self.limit_reached.with_label_values(&[limit]).inc();
    }
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogForm {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts the log on standard error. A second call does nothing, as tests need.
///
/// # Errors
/// A sentence when `filter` (such as `info,davy::webhook=debug`) cannot be understood.
pub fn start_log(form: LogForm, filter: &str) -> Result<(), String> {
    let filter = tracing_subscriber::EnvFilter::try_new(filter)
        .map_err(|error| format!("the log filter {filter:?} cannot be understood: {error}"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    let started = match form {
        LogForm::Text => builder.try_init(),
        LogForm::Json => builder.json().flatten_event(true).try_init(),
    };
    if started.is_err() {
        tracing::debug!("the log was started before");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_rendered_with_the_prefix() {
        let metrics = Metrics::new("1.2.3").expect("names are unique");
        metrics.samples.with_label_values(&["late"]).inc_by(3);
        let text = String::from_utf8(metrics.render().expect("renders")).expect("text");
        assert!(
            text.contains("davy_samples_total{outcome=\"late\"} 3"),
            "{text}"
        );
        assert!(text.contains("davy_build_info{version=\"1.2.3\"} 1"));
        let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        assert!(names.clone().count() > 10);
        for name in names {
            assert!(
                name.starts_with("davy_") || name.starts_with("process_"),
                "{name}"
            );
        }
    }

    #[test]
    fn plan_labels_are_bounded() {
        let metrics = Metrics::new("0").expect("names are unique");
        for number in 0..PLAN_LABELS_MAX {
            let name = format!("plan-{number}");
            assert_eq!(metrics.plan_label(&name), name);
        }
        assert_eq!(metrics.plan_label("one-more"), OTHER_PLAN);
        assert_eq!(metrics.plan_label("plan-0"), "plan-0");
    }
}
