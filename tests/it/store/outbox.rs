//! What every store does alike with notifications: order, leases, retries, dead letters, losses.
//!
//! Each test runs against the store in memory and against the one in a database.

use davy::model::Timestamp;
use davy::store::{DEAD_LETTERS_MAX, Settlement, Write};

use super::{Kind, begun, bounds, commit, delivery, letters, on_every_store};

on_every_store! {
    only_the_oldest_delivery_of_an_analysis_is_handed_out,
    a_full_outbox_buries_what_comes_and_a_repetition_changes_nothing,
    an_endpoint_that_is_down_leaves_the_others_their_room,
    dead_letters_are_bounded_and_the_newest_come_first,
    a_claim_takes_no_more_than_it_asked_for_in_the_order_they_came,
    what_is_forgotten_is_delivered_all_the_same,
}

async fn only_the_oldest_delivery_of_an_analysis_is_handed_out(kind: Kind) {
    let store = kind.open(bounds(0, 10)).await;
    let writes = [("1", "x"), ("2", "x"), ("3", "y")];
    let writes = writes.map(|(id, analysis)| Write::Deliver(delivery(id, analysis, "e")));
    commit(&*store, writes.into()).await;
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
    let dead = letters(&*store, 10).await;
    assert_eq!((dead[0].id.as_str(), dead[0].attempts), ("1", 2));
    assert!(
        store
            .claim("other", Timestamp(99), Timestamp(99), 5)
            .await
            .expect("works")
            .is_empty()
    );
}

async fn a_full_outbox_buries_what_comes_and_a_repetition_changes_nothing(kind: Kind) {
    let store = kind.open(bounds(0, 1)).await;
    assert!(
        commit(&*store, vec![Write::Deliver(delivery("1", "x", "e"))])
            .await
            .is_empty()
    );
    let refused = commit(&*store, vec![Write::Deliver(delivery("2", "y", "e"))]).await;
    assert_eq!(refused[0].id, "2");
    assert_eq!(
        refused[0].error,
        "1 deliveries wait for this endpoint already"
    );
    let again = commit(&*store, vec![Write::Deliver(delivery("1", "x", "e"))]).await;
    assert!(again.is_empty(), "it waits already");
    assert_eq!(letters(&*store, 10).await, refused);
    assert_eq!(store.depth().await.expect("works"), 1);
    store
        .settle("1", Settlement::Delivered)
        .await
        .expect("works");
    let twice = || Write::Deliver(delivery("3", "x", "e"));
    commit(&*store, vec![twice()]).await;
    store
        .settle("3", Settlement::Retry { due: Timestamp(7) })
        .await
        .expect("works");
    assert_eq!(
        store.next_due("e").await.expect("works"),
        Some(Timestamp(7))
    );
}

async fn an_endpoint_that_is_down_leaves_the_others_their_room(kind: Kind) {
    let store = kind.open(bounds(0, 2)).await;
    for id in ["1", "2", "3"] {
        commit(&*store, vec![Write::Deliver(delivery(id, id, "down"))]).await;
    }
    let refused = commit(&*store, vec![Write::Deliver(delivery("4", "x", "up"))]).await;
    assert!(refused.is_empty(), "{refused:?}");
    let claimed = store.claim("up", Timestamp(1), Timestamp(9), 10).await;
    let ids: Vec<String> = claimed.expect("works").into_iter().map(|d| d.id).collect();
    assert_eq!(ids, ["4"]);
    assert_eq!(store.depth().await.expect("works"), 3);
}

async fn dead_letters_are_bounded_and_the_newest_come_first(kind: Kind) {
    let store = kind.open(bounds(0, 1)).await;
    let surplus =
        (0..=DEAD_LETTERS_MAX + 1).map(|n| Write::Deliver(delivery(&n.to_string(), "x", "e")));
    let refused = commit(&*store, surplus.collect()).await;
    assert_eq!(refused.len(), DEAD_LETTERS_MAX + 1, "one waits");
    let all = letters(&*store, usize::MAX).await;
    assert_eq!(all.len(), DEAD_LETTERS_MAX);
    assert_eq!(all[0].id, (DEAD_LETTERS_MAX + 1).to_string());
    assert_eq!(all[DEAD_LETTERS_MAX - 1].id, "2", "1 had to go");
    let two = letters(&*store, 2).await;
    assert_eq!(two[..], all[..2]);
}

async fn a_claim_takes_no_more_than_it_asked_for_in_the_order_they_came(kind: Kind) {
    let store = kind.open(bounds(0, 100)).await;
    let ids = ["e", "c", "a", "d", "b"];
    let writes = ids.map(|id| Write::Deliver(delivery(id, id, "e")));
    commit(&*store, writes.into()).await;
    let claim = async |limit| {
        let claimed = store.claim("e", Timestamp(1), Timestamp(9), limit).await;
        let claimed = claimed.expect("works");
        claimed
            .into_iter()
            .map(|delivery| delivery.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(claim(2).await, ["e", "c"]);
    assert_eq!(claim(10).await, ["a", "d", "b"]);
    assert!(claim(10).await.is_empty());
    store
        .settle("unknown", Settlement::Delivered)
        .await
        .expect("nothing to do");
    assert_eq!(store.depth().await.expect("works"), 5);
}

async fn what_is_forgotten_is_delivered_all_the_same(kind: Kind) {
    let store = kind.open(bounds(0, 10)).await;
    commit(&*store, begun("an_1", 0)).await;
    let mut writes = vec![Write::Deliver(delivery("1", "an_1", "e"))];
    writes.push(Write::Forget("an_1".into()));
    commit(&*store, writes).await;
    let claimed = store
        .claim("e", Timestamp(1), Timestamp(9), 10)
        .await
        .expect("works");
    assert_eq!(claimed, [delivery("1", "an_1", "e")]);
}
