//! What is told of verdicts, decisions and changes, and of the audit log.
//!
//! Owns these metrics, and which services have a label of their own: those of the configuration,
//! never one that a request made up. It must not know when something is counted: that is
//! [`super::counting`].

use std::collections::BTreeSet;

use prometheus::{Error, HistogramVec, IntCounter, IntCounterVec};

use super::maker::Maker;
use crate::config::daemon::{OTHER_SERVICE, SERVICE_LABELS_MAX};
use crate::store::changes::ChangeOutcome;

/// Bounds of buckets for what takes as long as a rollout does: a second to a day.
const ROLLOUT_SECS: [f64; 12] = [
    1.0, 5.0, 15.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0, 21_600.0, 86_400.0,
];
/// Bounds of buckets for shares.
const SHARES: [f64; 12] = [
    0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 0.9, 1.0,
];

/// Metrics of verdicts beside `davy_verdicts_total`.
#[derive(Debug)]
pub struct JudgingMetrics {
    /// `davy_verdict_changes_total{plan,verdict}`: how often a verdict or its decision changed, and
    /// into what.
    pub changes: IntCounterVec,
    /// `davy_time_to_verdict_seconds{plan,verdict}`: from the start to the final verdict.
    pub time_to_verdict: HistogramVec,
    /// `davy_alpha_spent_ratio{plan}`: the share of alpha that was spent by the final verdict.
    pub alpha_spent: HistogramVec,
    /// `davy_watch_alarms_total{plan}`: alarms after a pass.
    pub watch_alarms: IntCounterVec,
}

/// Metrics of changes, by service.
#[derive(Debug)]
pub struct ChangeMetrics {
    /// `davy_changes_judged_total{service}`: changes with a first verdict of davy's own.
    pub judged: IntCounterVec,
    /// `davy_changes_failed_total{service}`: changes with a first fail.
    pub failed: IntCounterVec,
    /// `davy_change_outcomes_total{service,outcome}`: what became of changes, as somebody said.
    pub outcomes: IntCounterVec,
    /// `davy_change_outcomes_replaced_total{service,outcome}`: those of before that something else was
    /// said instead of later.
    pub outcomes_replaced: IntCounterVec,
    /// `davy_decisions_total{service,decision,by}`: what final verdicts asked for, by davy or a person.
    pub decisions: IntCounterVec,
    /// `davy_overrides_total{service,verdict,decision}`: how often a person decided otherwise.
    pub overrides: IntCounterVec,
    /// `davy_detection_latency_seconds{service}`: from the start of an analysis to its fail.
    pub detection_latency: HistogramVec,
    /// `davy_detection_since_step_seconds{service}`: from the step that failed to the fail.
    pub detection_since_step: HistogramVec,
    /// `davy_detection_evidence_seconds{service}`: how far the evidence of a fail reaches back.
    pub detection_evidence: HistogramVec,
    services: BTreeSet<String>,
}

/// Metrics of the audit log.
#[derive(Debug)]
pub struct AuditMetrics {
    /// `davy_audit_rows_total{kind}`: rows that were written.
    pub rows: IntCounterVec,
    /// `davy_audit_missing_total`: changes of an analysis that were written without their row, which
    /// none is.
    pub missing: IntCounter,
}

// === impl Maker ===

impl Maker<'_> {
    pub(super) fn about_judging(&self) -> Result<JudgingMetrics, Error> {
        Ok(JudgingMetrics {
            changes: self.counters(
                "davy_verdict_changes_total",
                "how often a verdict or its decision changed, by what it is since",
                &["plan", "verdict"],
            )?,
            time_to_verdict: self.histograms_in(
                &ROLLOUT_SECS,
                "davy_time_to_verdict_seconds",
                "from the start of an analysis to its final verdict",
                &["plan", "verdict"],
            )?,
            alpha_spent: self.histograms_in(
                &SHARES,
                "davy_alpha_spent_ratio",
                "share of the plan's alpha that was spent by the final verdict",
                &["plan"],
            )?,
            watch_alarms: self.counters(
                "davy_watch_alarms_total",
                "alarms of checks that are watched after a pass",
                &["plan"],
            )?,
        })
    }

    pub(super) fn about_changes(&self, services: &[String]) -> Result<ChangeMetrics, Error> {
        let by_service = |name: &str, help: &str| self.counters(name, help, &["service"]);
        let by_outcome =
            |name: &str, help: &str| self.counters(name, help, &["service", "outcome"]);
        let detection =
            |name: &str, help: &str| self.histograms_in(&ROLLOUT_SECS, name, help, &["service"]);
        let metrics = ChangeMetrics {
            judged: by_service(
                "davy_changes_judged_total",
                "changes that an analysis came to its own final verdict of, once a change",
            )?,
            failed: by_service(
                "davy_changes_failed_total",
                "changes that an analysis failed, once a change",
            )?,
            outcomes: by_outcome(
                "davy_change_outcomes_total",
                "what became of changes, as somebody said",
            )?,
            outcomes_replaced: by_outcome(
                "davy_change_outcomes_replaced_total",
                "outcomes of changes that something else was said instead of later",
            )?,
            decisions: self.counters(
                "davy_decisions_total",
                "what final verdicts asked for, and whether a person had decided it",
                &["service", "decision", "by"],
            )?,
            overrides: self.counters(
                "davy_overrides_total",
                "how often a person decided otherwise than the verdict asks",
                &["service", "verdict", "decision"],
            )?,
            detection_latency: detection(
                "davy_detection_latency_seconds",
                "from the start of an analysis to its fail",
            )?,
            detection_since_step: detection(
                "davy_detection_since_step_seconds",
                "from the beginning of the step that failed to the fail",
            )?,
            detection_evidence: detection(
                "davy_detection_evidence_seconds",
                "how far the evidence of a fail reaches back, in event time",
            )?,
            services: services.iter().take(SERVICE_LABELS_MAX).cloned().collect(),
        };
        metrics.begin();
        Ok(metrics)
    }

    pub(super) fn about_the_audit(&self) -> Result<AuditMetrics, Error> {
        Ok(AuditMetrics {
            rows: self.counters(
                "davy_audit_rows_total",
                "rows of the audit log that were written",
                &["kind"],
            )?,
            missing: self.counter(
                "davy_audit_missing_total",
                "changes of an analysis that were written without a row of the audit log",
            )?,
        })
    }
}

// === impl ChangeMetrics ===

impl ChangeMetrics {
    /// The label of a service: its name where the configuration lists it.
    pub fn label<'s>(&'s self, service: Option<&str>) -> &'s str {
        let known = service.and_then(|name| self.services.get(name));
        known.map_or(OTHER_SERVICE, String::as_str)
    }

    /// The label of a change that is of these services.
    pub fn label_of_all<'s, 'n>(
        &'s self,
        services: impl Iterator<Item = Option<&'n str>>,
    ) -> &'s str {
        let labels: BTreeSet<&str> = services.map(|service| self.label(service)).collect();
        match labels.first() {
            Some(only) if labels.len() == 1 => only,
            _ => OTHER_SERVICE,
        }
    }

    /// Counts what became of a change, in the place of what had been said before.
    pub fn count_outcome(
        &self,
        service: &str,
        outcome: ChangeOutcome,
        before: Option<ChangeOutcome>,
    ) {
        if before == Some(outcome) {
            return;
        }
        if let Some(before) = before {
            let replaced = &self.outcomes_replaced;
            replaced
                .with_label_values(&[service, before.as_str()])
                .inc();
        }
        let labels = [service, outcome.as_str()];
        self.outcomes.with_label_values(&labels).inc();
    }

    /// All series at zero: of one that begins at 1, Prometheus sees no increase.
    fn begin(&self) {
        let others = std::iter::once(OTHER_SERVICE);
        for service in self.services.iter().map(String::as_str).chain(others) {
            for counters in [&self.judged, &self.failed] {
                counters.with_label_values(&[service]);
            }
            for outcome in ChangeOutcome::ALL {
                for counters in [&self.outcomes, &self.outcomes_replaced] {
                    counters.with_label_values(&[service, outcome.as_str()]);
                }
            }
            for decision in ["promote", "rollback", "hold"] {
                for by in ["davy", "person"] {
                    self.decisions.with_label_values(&[service, decision, by]);
                }
            }
            for verdict in ["pass", "fail", "inconclusive"] {
                for decision in ["promote", "rollback"] {
                    let labels = [service, verdict, decision];
                    self.overrides.with_label_values(&labels);
                }
            }
            for histogram in [
                &self.detection_latency,
                &self.detection_since_step,
                &self.detection_evidence,
            ] {
                histogram.with_label_values(&[service]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;

    #[test]
    fn only_listed_services_have_a_label() {
        let listed = ["cart".to_owned(), "checkout".to_owned()];
        let metrics = Metrics::with_services("0", &listed).expect("names are unique");
        let changes = &metrics.changes;
        assert_eq!(changes.label(Some("cart")), "cart");
        assert_eq!(changes.label(Some("made-up")), OTHER_SERVICE);
        assert_eq!(changes.label(None), OTHER_SERVICE);
        let of = |names: &[&'static str]| {
            let names: Vec<_> = names.iter().copied().map(Some).collect();
            changes.label_of_all(names.into_iter()).to_owned()
        };
        assert_eq!(of(&["cart", "cart"]), "cart");
        assert_eq!(of(&["cart", "checkout"]), OTHER_SERVICE);
        assert_eq!(of(&[]), OTHER_SERVICE);
        let many: Vec<String> = (0..=SERVICE_LABELS_MAX)
            .map(|n| format!("s{n:03}"))
            .collect();
        let metrics = Metrics::with_services("0", &many).expect("names are unique");
        assert_eq!(metrics.changes.label(Some("s099")), "s099");
        assert_eq!(metrics.changes.label(Some("s100")), OTHER_SERVICE);
    }

    #[test]
    fn an_outcome_that_is_said_anew_takes_the_place_of_the_first() {
        let metrics = Metrics::new("0").expect("names are unique");
        let changes = &metrics.changes;
        let (promoted, incident) = (ChangeOutcome::Promoted, ChangeOutcome::Incident);
        changes.count_outcome("other", promoted, None);
        changes.count_outcome("other", promoted, Some(promoted));
        changes.count_outcome("other", incident, Some(promoted));
        let of = |outcome: ChangeOutcome| {
            let labels = ["other", outcome.as_str()];
            let said = changes.outcomes.with_label_values(&labels).get();
            said - changes.outcomes_replaced.with_label_values(&labels).get()
        };
        assert_eq!((of(promoted), of(incident)), (0, 1));
    }
}
