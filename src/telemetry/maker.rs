//! Metrics into a registry, each with its name and what it tells.
//!
//! Owns the names. Conventions: `davy_`, base units, `_total` for what only grows.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

use super::*;

/// Bounds of buckets for a notification on its way: tens of milliseconds to a day.
const DELIVERY_SECS: [f64; 12] = [
    0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1_800.0, 7_200.0, 86_400.0,
];

/// Makes metrics and registers each.
pub(super) struct Maker<'r> {
    pub registry: &'r Registry,
}

impl Maker<'_> {
    pub fn about_the_process(&self, version: &str) -> Result<(), prometheus::Error> {
        let build_info = self.gauges("davy_build_info", "the running version", &["version"])?;
        build_info.with_label_values(&[version]).set(1);
        #[cfg(target_os = "linux")]
        self.registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        Ok(())
    }

    pub fn about_what_comes_in(&self) -> Result<IngestMetrics, prometheus::Error> {
        Ok(IngestMetrics {
            ahead: self.counter(
                "davy_samples_ahead_total",
                "samples kept whose time was more than a second ahead of the clock",
            )?,
            requests: self.counters(
                "davy_ingest_requests_total",
                "requests whose samples were read, by their form",
                &["format"],
            )?,
            samples: self.counters(
                "davy_ingest_samples_total",
                "samples of requests that were read, whatever became of them, by their form",
                &["format"],
            )?,
            wire_bytes: self.counter(
                "davy_ingest_wire_bytes_total",
                "bytes of sample requests as they came",
            )?,
            decoded_bytes: self.counter(
                "davy_ingest_decoded_bytes_total",
                "bytes of sample requests, decompressed",
            )?,
        })
    }

    pub fn about_plan_files(&self) -> Result<PlanFileMetrics, prometheus::Error> {
        Ok(PlanFileMetrics {
            plans: self.gauge(
                "davy_plans",
                "plans that analyses can be started on by their names",
            )?,
            reload_failures: self.counter(
                "davy_plan_reload_failures_total",
                "how often the folder of plans had changed and could not be used",
            )?,
        })
    }

    pub fn about_the_door(&self) -> Result<DoorMetrics, prometheus::Error> {
        Ok(DoorMetrics {
            refused: self.counters(
                "davy_auth_refused_total",
                "requests that were not let in",
                &["reason"],
            )?,
            reload_failures: self.counter(
                "davy_auth_reload_failures_total",
                "how often the file of tokens had changed and could not be used",
            )?,
            tokens: self.gauge(
                "davy_auth_tokens",
                "tokens in use, expired and revoked ones included",
            )?,
        })
    }

    pub fn about_tls(&self) -> Result<TlsMetrics, prometheus::Error> {
        Ok(TlsMetrics {
            handshakes_failed: self.counters(
                "davy_tls_handshakes_failed_total",
                "connections that ended before they were encrypted",
                &["reason"],
            )?,
            reload_failures: self.counter(
                "davy_tls_reload_failures_total",
                "how often the files of server.tls had changed and could not be used",
            )?,
            certificate_expires: self.gauge(
                "davy_tls_certificate_expires_timestamp_seconds",
                "when the certificate of the listener ends; 0 without TLS",
            )?,
        })
    }

    pub fn about_signed_tokens(&self) -> Result<OidcMetrics, prometheus::Error> {
        Ok(OidcMetrics {
            fetches: self.counters(
                "davy_oidc_key_fetches_total",
                "fetches of the identity provider's keys",
                &["outcome"],
            )?,
            keys: self.gauge("davy_oidc_keys", "keys of the identity provider in use")?,
            keys_fetched: self.gauge(
                "davy_oidc_keys_fetched_timestamp_seconds",
                "when the keys in use were fetched",
            )?,
        })
    }

    pub fn about_the_log(&self) -> Result<LogMetrics, prometheus::Error> {
        Ok(LogMetrics {
            synced_bytes: self.counter(
                "davy_sample_log_synced_bytes_total",
                "bytes of the sample log that are on the disk",
            )?,
            sync_duration: self.histogram(
                "davy_sample_log_sync_duration_seconds",
                "to write and sync what waited",
            )?,
            checkpoint_bytes: self
                .gauge("davy_checkpoint_bytes", "bytes of the last checkpoint")?,
            checkpoint_duration: self
                .histogram("davy_checkpoint_duration_seconds", "to write a checkpoint")?,
            checkpoint_failures: self.counter(
                "davy_checkpoint_failures_total",
                "checkpoints that could not be written",
            )?,
            stuck: self.gauge(
                "davy_sample_log_stuck",
                "1 while the disk does not take the sample log",
            )?,
        })
    }

    pub fn about_webhooks(&self) -> Result<WebhookMetrics, prometheus::Error> {
        Ok(WebhookMetrics {
            attempts: self.counters(
                "davy_webhook_attempts_total",
                "attempts to deliver",
                &["endpoint", "outcome"],
            )?,
            breaker_open: self.gauges(
                "davy_webhook_breaker_open",
                "1 while an endpoint is held back after failures in a row and only probed",
                &["endpoint"],
            )?,
            breaker_opened: self.counters(
                "davy_webhook_breaker_opened_total",
                "how often an endpoint was held back after failures in a row",
                &["endpoint"],
            )?,
            delivery_delay: self.histograms_in(
                &DELIVERY_SECS,
                "davy_webhook_delivery_delay_seconds",
                "from an event to the answer of the endpoint that took its notification",
                &["endpoint"],
            )?,
            rollbacks_queued: self.counters(
                "davy_webhook_rollbacks_queued_total",
                "notifications that ask for a rollback",
                &["endpoint"],
            )?,
            rollbacks: self.counters(
                "davy_webhook_rollbacks_total",
                "what became of notifications that ask for a rollback",
                &["endpoint", "outcome"],
            )?,
            redelivered: self.counters(
                "davy_webhook_redelivered_total",
                "dead letters that were put back into the outbox",
                &["endpoint"],
            )?,
            secrets: self.gauges(
                "davy_webhook_secrets",
                "secrets that deliveries to an endpoint are signed with",
                &["endpoint"],
            )?,
            secret_reload_failures: self.counters(
                "davy_webhook_secret_reload_failures_total",
                "how often a file of secrets had changed and could not be used",
                &["endpoint"],
            )?,
        })
    }

    pub fn about_pulling(&self) -> Result<PullMetrics, prometheus::Error> {
        Ok(PullMetrics {
            queries: self.counters(
                "davy_pull_queries_total",
                "queries to sources by what became of them",
                &["outcome"],
            )?,
            duration: self.histogram(
                "davy_pull_query_duration_seconds",
                "from the request to the end of the answer",
            )?,
            points: self.counter(
                "davy_pull_points_total",
                "points in answers of sources, those that were there before included",
            )?,
            in_flight: self.gauge(
                "davy_pull_queries_in_flight",
                "queries that wait for a source's answer",
            )?,
            source_up: self.gauges(
                "davy_pull_source_up",
                "0 while a source does not answer and is left alone for a while",
                &["source"],
            )?,
        })
    }

    pub fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        let metric = IntCounter::new(name, help)?;
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    pub fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    pub fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        let metric = IntGauge::new(name, help)?;
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    pub fn gauges(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntGaugeVec, prometheus::Error> {
        let metric = IntGaugeVec::new(Opts::new(name, help), labels)?;
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    pub fn histogram(&self, name: &str, help: &str) -> Result<Histogram, prometheus::Error> {
        let options = HistogramOpts::new(name, help).buckets(DURATION_SECS.to_vec());
        let metric = Histogram::with_opts(options)?;
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    pub fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<HistogramVec, prometheus::Error> {
        self.histograms_in(&DURATION_SECS, name, help, labels)
    }

    pub fn histograms_in(
        &self,
        bounds: &[f64],
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<HistogramVec, prometheus::Error> {
        let options = HistogramOpts::new(name, help).buckets(bounds.to_vec());
        let metric = HistogramVec::new(options, labels)?;
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }
}
