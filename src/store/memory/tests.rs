//! Tests of the memory store: order, bounds and leases.

use super::*;
use crate::engine::{Event, EventKind, Input, Limits, Start, State, apply};
use crate::model::Change;
use crate::store::{EVENTS_KEPT_FINAL_MAX, EVENTS_KEPT_MAX};
use std::collections::BTreeMap as Map;

fn store(recording_bytes_max: u64, outbox_max: usize) -> MemoryStore {
    MemoryStore::new(Bounds {
        recording_bytes_max,
        recordings_bytes_max: 1 << 30,
        outbox_max,
    })
}

/// What the engine says when an analysis begins at `at`.
fn begun(id: &str, at: i64) -> Vec<Write> {
    let text = "{version: davy/v1, plan: p, horizon: 1m, tick: 1s, metrics: {m: {kind: latency, from: values}}, checks: [{compare: m, tolerance: 5%}]}";
    let plan = crate::config::plan_file::parse_plan("p", text)
        .expect("valid")
        .plan;
    let mut state = State::new(Limits::default());
    let start = Start {
        id: id.to_string(),
        plan: Arc::new(plan),
        arms: Map::new(),
        change: Change {
            service: Some(format!("service-{id}")),
            ..Change::default()
        },
        idempotency_key: None,
        request_digest: String::new(),
    };
    let effects = apply(&mut state, Input::Start(Box::new(start)), Timestamp(at));
    effects
        .into_iter()
        .filter_map(|effect| match effect {
            crate::engine::Effect::Changed(view) => Some(Write::View(view)),
            crate::engine::Effect::Event(event) => Some(Write::Event(event)),
            crate::engine::Effect::Record { analysis, line } => {
                Some(Write::Record { analysis, line })
            }
            _ => None,
        })
        .collect()
}

async fn commit(store: &MemoryStore, writes: Vec<Write>) -> Vec<DeadLetter> {
    store
        .commit(Commit { writes })
        .await
        .expect("memory does not fail")
        .refused
}

/// Analyses whose recordings a commit cuts, and by which limit.
async fn cut(store: &MemoryStore, writes: Vec<Write>) -> Vec<(String, &'static str)> {
    let losses = store.commit(Commit { writes }).await;
    let cut = losses.expect("memory does not fail").cut;
    cut.into_iter()
        .map(|cut| (cut.analysis, cut.limit))
        .collect()
}

fn delivery(id: &str, analysis: &str, endpoint: &str) -> Delivery {
    Delivery {
        id: id.into(),
        endpoint: endpoint.into(),
        analysis: analysis.into(),
        event_type: "verdict.final",
        at: Timestamp(0),
        body: "{}".into(),
        attempts: 0,
        due: Timestamp(0),
    }
}

#[tokio::test]
async fn the_first_event_and_line_are_kept_whatever_the_order() {
    let store = store(1 << 20, 10);
    let mut writes = begun("an_1", 5);
    writes.sort_by_key(|write| matches!(write, Write::View(_)));
    commit(&store, writes).await;
    let found = store
        .events_after("an_1", 0)
        .await
        .expect("works")
        .expect("known");
    assert_eq!(found.events[0].kind, EventKind::Started);
    assert!(!found.gap);
    let recording = store
        .recording("an_1")
        .await
        .expect("works")
        .expect("known");
    let text: String = recording.text.map(|piece| piece.expect("whole")).collect();
    assert_eq!(text.len() as u64, recording.bytes);
    assert!(text.contains("an_1") && text.ends_with('\n'), "{text:?}");
    assert!(store.recording("an_2").await.expect("works").is_none());
}

#[tokio::test]
async fn lists_are_newest_first_and_pages_join_without_seam() {
    let store = store(1 << 20, 10);
    for (id, at) in [("an_b", 2), ("an_a", 1), ("an_d", 3), ("an_c", 2)] {
        commit(&store, begun(id, at)).await;
    }
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let page = store
            .list(&Filter::default(), cursor.as_ref(), 3)
            .await
            .expect("works");
        seen.extend(page.analyses.iter().map(|view| view.id.clone()));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["an_d", "an_c", "an_b", "an_a"]);
    let ids = async |filter: Filter| -> Vec<String> {
        let page = store.list(&filter, None, 10).await.expect("works");
        page.analyses.iter().map(|view| view.id.clone()).collect()
    };
    let of_service = Filter {
        service: Some("service-an_a".into()),
        ..Filter::default()
    };
    assert_eq!(ids(of_service).await, ["an_a"]);
    let between = Filter {
        started_from: Some(Timestamp(2)),
        started_before: Some(Timestamp(3)),
        ..Filter::default()
    };
    assert_eq!(ids(between).await, ["an_c", "an_b"]);
    let other_plan = Filter {
        plan: Some("q".into()),
        ..Filter::default()
    };
    assert!(ids(other_plan).await.is_empty());
    commit(&store, vec![Write::Forget("an_d".into())]).await;
    assert_eq!(ids(Filter::default()).await, ["an_c", "an_b", "an_a"]);
}

#[tokio::test]
async fn events_are_bounded_and_say_when_some_are_gone() {
    let store = store(1 << 20, 10);
    let writes = begun("an_1", 0);
    let first = writes.iter().find_map(|write| match write {
        Write::Event(event) => Some(event.clone()),
        _ => None,
    });
    let first = first.expect("an analysis begins with an event");
    commit(&store, writes).await;
    for sequence in 2..=EVENTS_KEPT_MAX as u64 + 1 {
        commit(
            &store,
            vec![Write::Event(Event {
                sequence,
                ..first.clone()
            })],
        )
        .await;
    }
    let after = async |place| {
        store
            .events_after("an_1", place)
            .await
            .expect("works")
            .expect("known")
    };
    let all = after(0).await;
    assert!(all.gap, "the first one is gone");
    assert_eq!(all.events.len(), EVENTS_KEPT_MAX);
    assert!(!after(1).await.gap);
    assert_eq!(after(EVENTS_KEPT_MAX as u64).await.events.len(), 1);
    assert!(after(EVENTS_KEPT_MAX as u64 + 1).await.events.is_empty());
}

#[tokio::test]
async fn a_recording_is_cut_at_its_bound_and_says_so() {
    let mut writes = begun("an_1", 0);
    writes.retain(|write| matches!(write, Write::View(_)));
    let line = |line: &str| Write::Record {
        analysis: "an_1".into(),
        line: line.into(),
    };
    let store = store(8, 10);
    commit(&store, writes).await;
    commit(&store, vec![line("abc"), line("def")]).await;
    let recording = store
        .recording("an_1")
        .await
        .expect("works")
        .expect("known");
    assert_eq!(
        (recording.bytes, recording.truncated_at_bytes),
        (8, None),
        "at the bound"
    );
    let lost = cut(&store, vec![line(""), line("x")]).await;
    assert_eq!(lost, [("an_1".to_string(), "recording_bytes")], "once");
    let recording = store
        .recording("an_1")
        .await
        .expect("works")
        .expect("known");
    assert_eq!(
        (recording.bytes, recording.truncated_at_bytes),
        (8, Some(8))
    );
}

#[tokio::test]
async fn only_the_oldest_delivery_of_an_analysis_is_handed_out() {
    let store = store(0, 10);
    let writes = [("1", "x"), ("2", "x"), ("3", "y")];
    let writes = writes.map(|(id, analysis)| Write::Deliver(delivery(id, analysis, "e")));
    commit(&store, writes.into()).await;
    let claim = async |now: i64| -> Vec<String> {
        let claimed = store
            .claim("e", Timestamp(now), Timestamp(now + 10), 5)
            .await;
        claimed
            .expect("works")
            .into_iter()
            .map(|delivery| delivery.id)
            .collect()
    };
    assert_eq!(claim(0).await, ["1", "3"]);
    assert!(claim(9).await.is_empty(), "leased");
    assert_eq!(
        store.next_due("e").await.expect("works"),
        Some(Timestamp(10))
    );
    assert_eq!(claim(10).await, ["1", "3"], "the lease ran out");
    store
        .settle("1", Settlement::Retry { due: Timestamp(50) })
        .await
        .expect("works");
    store
        .settle("3", Settlement::Delivered)
        .await
        .expect("works");
    assert!(claim(49).await.is_empty(), "2 waits behind 1");
    let claimed = store
        .claim("e", Timestamp(50), Timestamp(60), 5)
        .await
        .expect("works");
    assert_eq!((claimed[0].id.as_str(), claimed[0].attempts), ("1", 1));
    let dead = Settlement::Dead {
        error: "gone".into(),
        at: Timestamp(51),
    };
    store.settle("1", dead).await.expect("works");
    assert_eq!(claim(51).await, ["2"], "the way is free");
    let letters = store.dead_letters(10).await.expect("works");
    assert_eq!((letters[0].id.as_str(), letters[0].attempts), ("1", 2));
    assert!(
        store
            .claim("other", Timestamp(99), Timestamp(99), 5)
            .await
            .expect("works")
            .is_empty()
    );
}

#[tokio::test]
async fn a_full_outbox_buries_what_comes_and_a_repetition_changes_nothing() {
    let store = store(0, 1);
    assert!(
        commit(&store, vec![Write::Deliver(delivery("1", "x", "e"))])
            .await
            .is_empty()
    );
    let refused = commit(&store, vec![Write::Deliver(delivery("2", "y", "e"))]).await;
    assert_eq!(refused[0].id, "2");
    assert_eq!(
        refused[0].error,
        "1 deliveries wait for this endpoint already"
    );
    let again = commit(&store, vec![Write::Deliver(delivery("1", "x", "e"))]).await;
    assert!(again.is_empty(), "it waits already");
    assert_eq!(store.dead_letters(10).await.expect("works"), refused);
    assert_eq!(store.depth().await.expect("works"), 1);
    store
        .settle("1", Settlement::Delivered)
        .await
        .expect("works");
    let twice = || Write::Deliver(delivery("3", "x", "e"));
    commit(&store, vec![twice()]).await;
    store
        .settle("3", Settlement::Retry { due: Timestamp(7) })
        .await
        .expect("works");
    assert_eq!(
        store.next_due("e").await.expect("works"),
        Some(Timestamp(7))
    );
}

#[tokio::test]
async fn an_endpoint_that_is_down_leaves_the_others_their_room() {
    let store = store(0, 2);
    for id in ["1", "2", "3"] {
        commit(&store, vec![Write::Deliver(delivery(id, id, "down"))]).await;
    }
    let refused = commit(&store, vec![Write::Deliver(delivery("4", "x", "up"))]).await;
    assert!(refused.is_empty(), "{refused:?}");
    let claimed = store.claim("up", Timestamp(1), Timestamp(9), 10).await;
    let ids: Vec<String> = claimed.expect("works").into_iter().map(|d| d.id).collect();
    assert_eq!(ids, ["4"]);
    assert_eq!(store.depth().await.expect("works"), 3);
}

#[tokio::test]
async fn past_the_bound_of_all_recordings_the_oldest_final_one_goes_first() {
    let store = MemoryStore::new(Bounds {
        recording_bytes_max: 100,
        recordings_bytes_max: 12,
        outbox_max: 1,
    });
    let line = |id: &str| Write::Record {
        analysis: id.into(),
        line: "abc".into(),
    };
    for (id, at, is_final) in [("an_1", 1, false), ("an_2", 2, true), ("an_3", 3, true)] {
        let mut writes = begun(id, at);
        writes.retain(|write| matches!(write, Write::View(_)));
        if let (Some(Write::View(view)), true) = (writes.first_mut(), is_final) {
            view.status = Status::Final;
        }
        commit(&store, writes).await;
        commit(&store, vec![line(id)]).await;
    }
    let kept = async |id| {
        let recording = store.recording(id).await.expect("works").expect("known");
        (recording.bytes / 4, recording.truncated_at_bytes)
    };
    assert_eq!(kept("an_2").await, (1, None), "twelve bytes are the bound");
    let lost = cut(&store, vec![line("an_1")]).await;
    assert_eq!(lost, [("an_2".to_string(), "recordings_bytes")]);
    assert_eq!(kept("an_2").await, (0, Some(0)));
    assert_eq!(
        (kept("an_1").await, kept("an_3").await),
        ((2, None), (1, None))
    );
    commit(&store, vec![Write::Forget("an_3".into()), line("an_1")]).await;
    assert_eq!(
        kept("an_1").await,
        (3, None),
        "what is forgotten makes room"
    );
    commit(&store, vec![line("an_1")]).await;
    assert_eq!(
        kept("an_1").await,
        (0, Some(0)),
        "nothing else is left to drop"
    );
}

#[tokio::test]
async fn a_final_analysis_keeps_its_last_events() {
    let store = store(1 << 20, 10);
    let writes = begun("an_1", 0);
    let first = writes.iter().find_map(|write| match write {
        Write::Event(event) => Some(event.clone()),
        _ => None,
    });
    let first = first.expect("an analysis begins with an event");
    commit(&store, writes).await;
    for sequence in 2..=40 {
        let kind = if sequence == 40 {
            EventKind::VerdictFinal
        } else {
            EventKind::Look
        };
        commit(
            &store,
            vec![Write::Event(Event {
                sequence,
                kind,
                ..first.clone()
            })],
        )
        .await;
    }
    let found = store
        .events_after("an_1", 0)
        .await
        .expect("works")
        .expect("known");
    assert!(found.gap);
    assert_eq!(found.events.len(), EVENTS_KEPT_FINAL_MAX);
    assert_eq!(found.events.last().map(|event| event.sequence), Some(40));
}

#[tokio::test]
async fn a_reader_past_every_event_is_told_nothing_and_of_no_gap() {
    let store = store(1_000, 10);
    commit(&store, begun("an_1", 1)).await;
    let found = store.events_after("an_1", u64::MAX).await;
    let found = found.expect("read").expect("kept");
    assert!(found.events.is_empty());
    assert!(!found.gap);
}
