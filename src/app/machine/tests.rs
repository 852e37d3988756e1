//! The machine under a clock that is moved by hand: looks that are late, and none skipped.

use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::config::plan_file::parse_plan;
use crate::engine::Start;
use crate::model::Timestamp;
use crate::store::memory::{Bounds, MemoryStore};

const PLAN: &str = "version: davy/v1
plan: late
horizon: 10s
tick: 1s
lateness: 1s
metrics: {latency: {kind: latency}}
checks: [{compare: latency, tolerance: 10%}]
";

/// A clock that stands until it is moved.
struct ManualClock {
    unix_millis: AtomicI64,
}

impl ManualClock {
    fn at(now: Timestamp) -> ManualClock {
        ManualClock {
            unix_millis: AtomicI64::new(now.millis()),
        }
    }

    fn advance(&self, millis: i64) {
        self.unix_millis.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.unix_millis.load(Ordering::SeqCst))
    }
}

fn machine(clock: &Arc<ManualClock>, runtime: &tokio::runtime::Runtime) -> Machine {
    let bounds = Bounds {
        recording_bytes_max: 1 << 20,
        recordings_bytes_max: 1 << 20,
        outbox_max: 1,
        audit_rows_max: 1_000_000,
        free_bytes_max: 16 << 20,
    };
    let _runtime = runtime.enter();
    let clock = clock.clone() as Arc<dyn Clock>;
    let store = Arc::new(MemoryStore::new(bounds)) as Arc<dyn Store>;
    let metrics = Arc::new(Metrics::new("0").expect("names are unique"));
    Machine::idle(&clock, &store, &Arc::default(), &metrics)
}

#[test]
fn an_engine_that_falls_behind_is_late_with_every_look_and_skips_none() {
    let clock = Arc::new(ManualClock::at(Timestamp(1_700_000_000_000)));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut machine = machine(&clock, &runtime);
    let plan = parse_plan("late.yaml", PLAN)
        .unwrap_or_else(|p| panic!("{p}"))
        .plan;
    let start = Start {
        id: "one".to_owned(),
        plan: Arc::new(plan),
        arms: Default::default(),
        change: Default::default(),
        idempotency_key: None,
        request_digest: String::new(),
        by: None,
    };
    machine.perform(Input::Start(Box::new(start)));
    // The first tick ends after 1 s; lateness and the idle wait are 1 s each.
    clock.advance(3_000);
    machine.perform(Input::Tick);
    assert_eq!(machine.metrics.looks.get(), 1);
    assert_eq!(machine.metrics.looks_late.get_sample_sum(), 0.0);
    // Then nothing is done for four seconds, in which four more looks fall due.
    clock.advance(4_000);
    machine.perform(Input::Tick);
    assert_eq!(machine.metrics.looks.get(), 5);
    assert_eq!(machine.metrics.looks_late.get_sample_count(), 5);
    assert_eq!(machine.metrics.looks_late.get_sample_sum(), 3.0 + 2.0 + 1.0);
}
