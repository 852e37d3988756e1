//! What is counted of what happened to analyses, once it is written.
//!
//! Owns which metric moves with which event. It is given what was committed and never what was
//! found again in a log, so that a verdict counts once however often davy is started. It must not
//! know when something is committed: that is the machine's.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Metrics;
use crate::engine::audit::STEP_ENTERED;
use crate::engine::measuring::Measured;
use crate::engine::{Event, EventKind};
use crate::judge::verdict::VerdictBody;
use crate::model::{Decision, Outcome, Reason};
use crate::store::audit::{CHANGE_OUTCOME, CONFIGURATION_KINDS};
use crate::store::{DeadLetter, Delivery};

/// What one commit tells of analyses, to be counted once it is written.
#[derive(Debug, Default)]
pub struct Tally {
    events: Vec<Event>,
    measured: Vec<(Arc<VerdictBody>, Measured)>,
    /// Audit rows, by analysis and kind.
    rows: BTreeMap<(String, String), u64>,
    /// Id and endpoint of each notification that asks for a rollback.
    rollbacks: Vec<(String, String)>,
}

// === impl Tally ===

impl Tally {
    /// Nothing to count.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.measured.is_empty() && self.rows.is_empty()
    }

    /// What happened. Looks are counted elsewhere.
    pub fn add_event(&mut self, event: &Event) {
        if event.kind != EventKind::Look {
            self.events.push(event.clone());
        }
    }

    /// A row of the audit log.
    pub fn add_row(&mut self, analysis: Option<&str>, kind: &str) {
        let analysis = analysis.unwrap_or_default().to_owned();
        *self.rows.entry((analysis, kind.to_owned())).or_default() += 1;
    }

    /// A notification of an event.
    pub fn add_delivery(&mut self, delivery: &Delivery, event: &Event) {
        if event.body.decision == Decision::Rollback {
            let (id, endpoint) = (delivery.id.clone(), delivery.endpoint.clone());
            self.rollbacks.push((id, endpoint));
        }
    }

    /// A verdict that became final.
    pub fn add_measured(&mut self, body: Arc<VerdictBody>, measured: Measured) {
        self.measured.push((body, measured));
    }

    /// What happened, for the log.
    pub fn events(&self) -> &[Event] {
        &self.events
    }
}

// === impl Metrics ===

impl Metrics {
    /// Counts what was written. `refused` are the notifications that found no room.
    pub fn count(&self, tally: &Tally, refused: &[DeadLetter]) {
        let mut rows = tally.rows.clone();
        for event in &tally.events {
            self.count_event(event);
            let row = (event.analysis.clone(), event.kind.as_str().to_owned());
            match rows.get_mut(&row) {
                Some(left) if *left > 0 => *left -= 1,
                _ => self.audit.missing.inc(),
            }
        }
        for (body, measured) in &tally.measured {
            self.count_final(body, measured);
        }
        for ((_, kind), number) in &tally.rows {
            self.audit.rows.with_label_values(&[kind]).inc_by(*number);
        }
        for (id, endpoint) in &tally.rollbacks {
            let queued = &self.webhook.rollbacks_queued;
            queued.with_label_values(&[endpoint]).inc();
            if refused.iter().any(|letter| letter.id == *id) {
                let rollbacks = &self.webhook.rollbacks;
                rollbacks.with_label_values(&[endpoint, "dead"]).inc();
            }
        }
    }

    fn count_event(&self, event: &Event) {
        let body = &event.body;
        let plan = self.plan_label(&body.plan);
        let verdict = body.verdict.as_str();
        match event.kind {
            EventKind::Started => {
                self.analyses_started.with_label_values(&[plan]).inc();
                self.begin_histograms(plan);
            }
            EventKind::VerdictChanged => {
                let changes = &self.judging.changes;
                changes.with_label_values(&[plan, verdict]).inc();
            }
            EventKind::Overridden => {
                let service = self.changes.label(body.change.service.as_deref());
                let labels = [service, verdict, word(body.decision)];
                self.changes.overrides.with_label_values(&labels).inc();
            }
            EventKind::WatchAlarm => {
                self.judging.watch_alarms.with_label_values(&[plan]).inc();
            }
            EventKind::VerdictFinal => {
                let labels = [plan, verdict, body.reason.as_str()];
                self.verdicts.with_label_values(&labels).inc();
            }
            EventKind::Look | EventKind::WatchEnded => {}
        }
    }

    fn count_final(&self, body: &VerdictBody, measured: &Measured) {
        let plan = self.plan_label(&body.plan);
        let took = secs(measured.took);
        let of_verdict = [plan, body.verdict.as_str()];
        let judging = &self.judging;
        let time_to_verdict = judging.time_to_verdict.with_label_values(&of_verdict);
        time_to_verdict.observe(took);
        let alpha_spent = judging.alpha_spent.with_label_values(&[plan]);
        alpha_spent.observe(measured.alpha_spent);
        let changes = &self.changes;
        let service = changes.label(body.change.service.as_deref());
        let by = body.overridden.as_ref().map_or("davy", |_| "person");
        let labels = [service, word(body.decision), by];
        changes.decisions.with_label_values(&labels).inc();
        let service = [service];
        if measured.is_first_of_change {
            changes.judged.with_label_values(&service).inc();
        }
        if measured.is_first_fail_of_change {
            changes.failed.with_label_values(&service).inc();
        }
        if body.verdict != Outcome::Fail {
            return;
        }
        let latency = changes.detection_latency.with_label_values(&service);
        latency.observe(took);
        if let Some(since_step) = measured.since_step {
            let histogram = changes.detection_since_step.with_label_values(&service);
            histogram.observe(secs(since_step));
        }
        if let Some(evidence) = measured.evidence {
            let histogram = changes.detection_evidence.with_label_values(&service);
            histogram.observe(secs(evidence));
        }
    }

    /// The counters of a plan at zero: of one that begins at 1, Prometheus sees no increase.
    pub fn begin_plan(&self, plan: &str) {
        let plan = self.plan_label(plan);
        self.analyses_started.with_label_values(&[plan]);
        self.judging.watch_alarms.with_label_values(&[plan]);
        for (verdict, reasons) in FINAL_REASONS {
            let changes = &self.judging.changes;
            changes.with_label_values(&[plan, verdict.as_str()]);
            for reason in reasons {
                let labels = [plan, verdict.as_str(), reason.as_str()];
                self.verdicts.with_label_values(&labels);
            }
        }
    }

    /// The same for its histograms, once there is an analysis: they are many series.
    fn begin_histograms(&self, plan: &str) {
        self.begin_plan(plan);
        self.judging.alpha_spent.with_label_values(&[plan]);
        for (verdict, _) in FINAL_REASONS {
            let labels = [plan, verdict.as_str()];
            self.judging.time_to_verdict.with_label_values(&labels);
        }
    }

    /// The counters of an endpoint at zero.
    pub fn begin_endpoint(&self, endpoint: &str) {
        let webhook = &self.webhook;
        for outcome in ["delivered", "retried", "dead"] {
            webhook.attempts.with_label_values(&[endpoint, outcome]);
        }
        for outcome in ["delivered", "dead"] {
            webhook.rollbacks.with_label_values(&[endpoint, outcome]);
        }
        for counters in [
            &webhook.breaker_opened,
            &webhook.redelivered,
            &webhook.rollbacks_queued,
        ] {
            counters.with_label_values(&[endpoint]);
        }
        webhook.delivery_delay.with_label_values(&[endpoint]);
    }

    /// Every other counter whose labels are known beforehand, at zero.
    pub(super) fn begin_others(&self) {
        for outcome in SAMPLE_OUTCOMES {
            self.samples.with_label_values(&[outcome]);
        }
        for format in FORMATS {
            self.ingest.requests.with_label_values(&[format]);
            self.ingest.samples.with_label_values(&[format]);
        }
        self.ingest.samples.with_label_values(&[PULLED]);
        for limit in LIMITS {
            self.limit_reached.with_label_values(&[limit]);
        }
        let kinds = [
            EventKind::Started,
            EventKind::VerdictChanged,
            EventKind::VerdictFinal,
            EventKind::WatchAlarm,
            EventKind::WatchEnded,
            EventKind::Overridden,
        ];
        let kinds = kinds.into_iter().map(EventKind::as_str);
        let others = [STEP_ENTERED, CHANGE_OUTCOME];
        for kind in kinds.chain(others).chain(CONFIGURATION_KINDS) {
            self.audit.rows.with_label_values(&[kind]);
        }
    }
}

/// What can become of a sample.
const SAMPLE_OUTCOMES: [&str; 6] = [
    "accepted",
    "unmatched",
    "ambiguous",
    "late",
    "duplicate",
    "refused",
];

/// Forms that samples are sent in.
pub const FORMATS: [&str; 8] = [
    "json",
    "remote_write_1",
    "remote_write_2",
    "otlp_protobuf",
    "otlp_json",
    "prometheus_text",
    "openmetrics",
    "hdr_log",
];

/// The form of samples that davy asked for.
pub const PULLED: &str = "pulled";

/// Limits that can turn something away, as they are counted.
pub const LIMITS: [&str; 35] = [
    "analyses",
    "audit_rows",
    "change_analyses",
    "concurrent_queries",
    "connections",
    "decoded_body_bytes",
    "engine_queue",
    "future_skew_secs",
    "histogram_cells",
    "ingest_bytes",
    "judged_bytes",
    "judging",
    "kayenta_configs",
    "label_bytes",
    "label_count",
    "open_ticks",
    "pull_response_bytes",
    "recording_bytes",
    "recording_reads",
    "recordings_bytes",
    "request_body_bytes",
    "request_bytes",
    "request_timeout_secs",
    "requests_per_second",
    "retained_analyses",
    "sample_log",
    "samples_per_request",
    "series",
    "series_per_query",
    "sse_clients",
    "steps",
    "tick_values",
    "tls_handshake_timeout_secs",
    "values_per_sample",
    "webhook_queue",
];

/// The reasons that a final verdict can have.
const FINAL_REASONS: [(Outcome, &[Reason]); 3] = [
    (
        Outcome::Pass,
        &[Reason::WithinTolerance, Reason::WithinLimit],
    ),
    (Outcome::Fail, &[Reason::Degraded, Reason::LimitBreached]),
    (
        Outcome::Inconclusive,
        &[
            Reason::HorizonReached,
            Reason::NoTraffic,
            Reason::NoTelemetry,
            Reason::BaselineMissing,
            Reason::CanaryMissing,
            Reason::Stale,
            Reason::BadData,
            Reason::CoarseBuckets,
            Reason::NeedsUnits,
            Reason::Cancelled,
            Reason::Superseded,
            Reason::Abandoned,
        ],
    ),
];

fn word(decision: Decision) -> &'static str {
    match decision {
        Decision::Promote => "promote",
        Decision::Rollback => "rollback",
        Decision::Hold => "hold",
    }
}

fn secs(millis: i64) -> f64 {
    millis as f64 / 1000.0
}
