//! What every store does alike: lists, events, recordings, and that a commit's order does not matter.
//!
//! Each test runs against the store in memory and against the one in a database.

use davy::engine::{Event, EventKind};
use davy::judge::verdict::Status;
use davy::model::{Outcome, Timestamp};
use davy::store::configurations::{Configuration, Head};
use davy::store::{Bounds, EVENTS_KEPT_FINAL_MAX, EVENTS_KEPT_MAX, Filter, Write};

use super::{Kind, begun, bounds, commit, cut, on_every_store, view_of};

on_every_store! {
    the_first_event_and_line_are_kept_whatever_the_order,
    lists_are_newest_first_and_pages_join_without_seam,
    who_is_limited_to_namespaces_is_shown_these_only_and_whole_pages,
    events_are_bounded_and_say_when_some_are_gone,
    a_recording_is_cut_at_its_bound_and_says_so,
    past_the_bound_of_all_recordings_the_oldest_final_one_goes_first,
    a_final_analysis_keeps_its_last_events,
    a_reader_past_every_event_is_told_nothing_and_of_no_gap,
    a_page_that_is_full_to_the_brim_is_the_last,
    filters_see_the_newest_state_whatever_it_came_with,
    what_samples_change_is_seen_at_once,
    what_is_forgotten_or_was_never_there_is_unknown,
    configurations_are_kept_replaced_and_deleted,
}

async fn the_first_event_and_line_are_kept_whatever_the_order(kind: Kind) {
    let store = kind.open(bounds(1 << 20, 10)).await;
    let mut writes = begun("an_1", 5);
    writes.sort_by_key(|write| matches!(write, Write::View(_)));
    commit(&*store, writes).await;
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

async fn who_is_limited_to_namespaces_is_shown_these_only_and_whole_pages(kind: Kind) {
    let store = kind.open(bounds(1 << 20, 10)).await;
    for number in 0..9 {
        let mut writes = begun(&format!("an_{number}"), number);
        for write in &mut writes {
            if let Write::View(view) = write {
                let name = ["a", "b", "c"][number as usize % 3];
                view.change.namespace = (number != 8).then(|| name.to_owned());
            }
        }
        commit(&*store, writes).await;
    }
    let filter = Filter {
        namespaces: Some(["b".to_owned(), "c".to_owned()].into()),
        ..Filter::default()
    };
    let (mut pages, mut cursor) = (Vec::new(), None);
    loop {
        let page = store
            .list(&filter, cursor.as_ref(), 2)
            .await
            .expect("works");
        let ids = page.analyses.iter().map(|view| view.id.clone());
        pages.push(ids.collect::<Vec<_>>());
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let seen: Vec<&String> = pages.iter().flatten().collect();
    assert_eq!(seen, ["an_7", "an_5", "an_4", "an_2", "an_1"]);
    assert!(pages[..2].iter().all(|page| page.len() == 2), "{pages:?}");
}

async fn lists_are_newest_first_and_pages_join_without_seam(kind: Kind) {
    let store = kind.open(bounds(1 << 20, 10)).await;
    for (id, at) in [("an_b", 2), ("an_a", 1), ("an_d", 3), ("an_c", 2)] {
        commit(&*store, begun(id, at)).await;
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
    commit(&*store, vec![Write::Forget("an_d".into())]).await;
    assert_eq!(ids(Filter::default()).await, ["an_c", "an_b", "an_a"]);
}

async fn events_are_bounded_and_say_when_some_are_gone(kind: Kind) {
    let store = kind.open(bounds(1 << 20, 10)).await;
    let writes = begun("an_1", 0);
    let first = writes.iter().find_map(|write| match write {
        Write::Event(event) => Some(event.clone()),
        _ => None,
    });
    let first = first.expect("an analysis begins with an event");
    commit(&*store, writes).await;
    for sequence in 2..=EVENTS_KEPT_MAX as u64 + 1 {
        commit(
            &*store,
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

async fn a_recording_is_cut_at_its_bound_and_says_so(kind: Kind) {
    let mut writes = begun("an_1", 0);
    writes.retain(|write| matches!(write, Write::View(_)));
    let line = |line: &str| Write::Record {
        analysis: "an_1".into(),
        line: line.into(),
    };
    let store = kind.open(bounds(8, 10)).await;
    commit(&*store, writes).await;
    commit(&*store, vec![line("abc"), line("def")]).await;
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
    let lost = cut(&*store, vec![line(""), line("x")]).await;
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

async fn past_the_bound_of_all_recordings_the_oldest_final_one_goes_first(kind: Kind) {
    let store = kind
        .open(Bounds {
            recording_bytes_max: 100,
            recordings_bytes_max: 12,
            outbox_max: 1,
            audit_rows_max: 1_000_000,
            free_bytes_max: 16 << 20,
        })
        .await;
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
        commit(&*store, writes).await;
        commit(&*store, vec![line(id)]).await;
    }
    let kept = async |id| {
        let recording = store.recording(id).await.expect("works").expect("known");
        (recording.bytes / 4, recording.truncated_at_bytes)
    };
    assert_eq!(kept("an_2").await, (1, None), "twelve bytes are the bound");
    let lost = cut(&*store, vec![line("an_1")]).await;
    assert_eq!(lost, [("an_2".to_string(), "recordings_bytes")]);
    assert_eq!(kept("an_2").await, (0, Some(0)));
    assert_eq!(
        (kept("an_1").await, kept("an_3").await),
        ((2, None), (1, None))
    );
    commit(&*store, vec![Write::Forget("an_3".into()), line("an_1")]).await;
    assert_eq!(
        kept("an_1").await,
        (3, None),
        "what is forgotten makes room"
    );
    commit(&*store, vec![line("an_1")]).await;
    assert_eq!(
        kept("an_1").await,
        (0, Some(0)),
        "nothing else is left to drop"
    );
}

async fn a_final_analysis_keeps_its_last_events(kind: Kind) {
    let store = kind.open(bounds(1 << 20, 10)).await;
    let writes = begun("an_1", 0);
    let first = writes.iter().find_map(|write| match write {
        Write::Event(event) => Some(event.clone()),
        _ => None,
    });
    let first = first.expect("an analysis begins with an event");
    commit(&*store, writes).await;
    for sequence in 2..=40 {
        let kind = if sequence == 40 {
            EventKind::VerdictFinal
        } else {
            EventKind::Look
        };
        commit(
            &*store,
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

async fn a_reader_past_every_event_is_told_nothing_and_of_no_gap(kind: Kind) {
    let store = kind.open(bounds(1_000, 10)).await;
    commit(&*store, begun("an_1", 1)).await;
    let found = store.events_after("an_1", u64::MAX).await;
    let found = found.expect("read").expect("kept");
    assert!(found.events.is_empty());
    assert!(!found.gap);
}

async fn a_page_that_is_full_to_the_brim_is_the_last(kind: Kind) {
    let store = kind.open(bounds(1 << 20, 10)).await;
    for (id, at) in [("an_a", 1), ("an_b", 2)] {
        commit(&*store, begun(id, at)).await;
    }
    let page = store
        .list(&Filter::default(), None, 2)
        .await
        .expect("works");
    assert_eq!((page.analyses.len(), page.next), (2, None));
    let page = store
        .list(&Filter::default(), None, 1)
        .await
        .expect("works");
    let next = page.next.expect("one more");
    assert_eq!((next.started_at, next.id.as_str()), (2, "an_b"));
    let page = store.list(&Filter::default(), Some(&next), 1).await;
    assert_eq!(page.expect("works").next, None);
}

async fn filters_see_the_newest_state_whatever_it_came_with(kind: Kind) {
    let store = kind.open(bounds(1 << 20, 10)).await;
    commit(&*store, begun("an_1", 1)).await;
    let found = async |filter: Filter| {
        let page = store.list(&filter, None, 10).await.expect("works");
        page.analyses.len()
    };
    let of_verdict = |verdict| Filter {
        verdict: Some(verdict),
        ..Filter::default()
    };
    assert_eq!(found(of_verdict(Outcome::Fail)).await, 0);
    assert_eq!(found(of_verdict(Outcome::Inconclusive)).await, 1);
    let mut view = view_of(&*store, "an_1").await;
    view.verdict = Outcome::Fail;
    commit(&*store, vec![Write::View(Box::new(view))]).await;
    assert_eq!(found(of_verdict(Outcome::Fail)).await, 1);
    let both = Filter {
        service: Some("service-an_1".into()),
        plan: Some("p".into()),
        ..of_verdict(Outcome::Fail)
    };
    assert_eq!(found(both).await, 1);
}

async fn what_samples_change_is_seen_at_once(kind: Kind) {
    let store = kind.open(bounds(1 << 20, 10)).await;
    commit(&*store, begun("an_1", 1)).await;
    for samples in [1, 2, 3] {
        let mut view = view_of(&*store, "an_1").await;
        view.received[0].canary = samples;
        commit(&*store, vec![Write::View(Box::new(view))]).await;
        assert_eq!(view_of(&*store, "an_1").await.received[0].canary, samples);
        let page = store
            .list(&Filter::default(), None, 1)
            .await
            .expect("works");
        assert_eq!(page.analyses[0].received[0].canary, samples);
    }
}

async fn what_is_forgotten_or_was_never_there_is_unknown(kind: Kind) {
    let store = kind.open(bounds(1 << 20, 10)).await;
    let mut orphans = begun("an_1", 1);
    orphans.retain(|write| !matches!(write, Write::View(_)));
    commit(&*store, orphans).await;
    let is_unknown = async || {
        store.analysis("an_1").await.expect("works").is_none()
            && store
                .events_after("an_1", 0)
                .await
                .expect("works")
                .is_none()
            && store.recording("an_1").await.expect("works").is_none()
    };
    assert!(is_unknown().await, "events and lines are of nothing");
    commit(&*store, begun("an_1", 1)).await;
    assert!(!is_unknown().await);
    commit(&*store, vec![Write::Forget("an_1".into())]).await;
    assert!(is_unknown().await);
}

async fn configurations_are_kept_replaced_and_deleted(kind: Kind) {
    let store = kind.open(bounds(0, 10)).await;
    let kept = |name: &str, id: &str, at: i64| Configuration {
        head: Head {
            name: name.to_owned(),
            id: id.to_owned(),
            applications: vec!["shop".to_owned(), "cart \"é\"".to_owned()],
            created_at: Timestamp(1),
            updated_at: Timestamp(at),
        },
        document: format!("{{\"at\": {at}}}"),
    };
    let put = async |kept: Configuration| {
        commit(&*store, vec![Write::Configuration(Box::new(kept))]).await;
    };
    put(kept("b", "1", 1)).await;
    put(kept("a", "2", 2)).await;
    put(kept("B", "3", 3)).await;
    put(kept("b", "0", 4)).await;
    let heads = async || store.configurations().await.expect("works");
    let ids = async || -> Vec<String> { heads().await.into_iter().map(|head| head.id).collect() };
    assert_eq!(ids().await, ["3", "2", "0", "1"], "by name and id");
    put(kept("c", "1", 5)).await;
    assert_eq!(ids().await, ["3", "2", "0", "1"]);
    assert_eq!(heads().await[3], kept("c", "1", 5).head);
    let one = async |id: &str| store.configuration(id).await.expect("works");
    assert_eq!(one("1").await, Some(kept("c", "1", 5)));
    commit(&*store, vec![Write::DropConfiguration("1".to_owned())]).await;
    commit(&*store, vec![Write::DropConfiguration("x".to_owned())]).await;
    assert_eq!(one("1").await, None);
    assert_eq!(ids().await, ["3", "2", "0"]);
}
