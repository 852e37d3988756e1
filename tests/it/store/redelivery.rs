//! What every store does alike with dead letters that are listed and put back.
//!
//! Each test runs against the store in memory and against the one in a database.

use davy::model::Timestamp;
use davy::store::{Delivery, LetterFilter, Letters, Redelivery, Settlement, Write};

use super::{Kind, Opened, bounds, commit, delivery, letters, on_every_store};

on_every_store! {
    a_letter_goes_to_the_end_of_its_queue_under_its_id_and_begins_anew,
    twice_is_once_and_an_unknown_one_counts_nowhere,
    a_letter_that_finds_no_room_stays_one,
    all_of_an_endpoint_go_back_in_their_order_and_no_others,
    pages_join_without_seam_although_letters_go,
}

async fn deliver(store: &Opened, id: &str, analysis: &str, endpoint: &str) {
    let write = Write::Deliver(delivery(id, analysis, endpoint));
    assert!(commit(&**store, vec![write]).await.is_empty());
}

/// Delivers it and gives it up.
async fn give_up(store: &Opened, id: &str, analysis: &str, endpoint: &str) {
    deliver(store, id, analysis, endpoint).await;
    let dead = Settlement::Dead {
        error: format!("{id} failed"),
        at: Timestamp(5),
    };
    store.settle(id, dead).await.expect("works");
}

async fn claim(store: &Opened, endpoint: &str, now: i64) -> Vec<Delivery> {
    let (now, until) = (Timestamp(now), Timestamp(now + 1_000));
    store.claim(endpoint, now, until, 100).await.expect("works")
}

fn ids<'d>(claimed: impl IntoIterator<Item = &'d Delivery>) -> Vec<&'d str> {
    claimed.into_iter().map(|d| d.id.as_str()).collect()
}

async fn redeliver(store: &Opened, which: Letters<'_>, now: i64) -> Redelivery {
    let told = store.redeliver(which, Timestamp(now)).await;
    told.expect("works")
}

fn told(queued: usize, waiting: usize, refused: usize) -> Redelivery {
    Redelivery {
        queued,
        waiting,
        refused,
    }
}

async fn a_letter_goes_to_the_end_of_its_queue_under_its_id_and_begins_anew(kind: Kind) {
    let store = kind.open(bounds(0, 10)).await;
    give_up(&store, "1", "x", "e").await;
    deliver(&store, "2", "x", "e").await;
    deliver(&store, "3", "y", "e").await;
    assert_eq!(letters(&*store, 10).await[0].attempts, 1);
    assert_eq!(
        redeliver(&store, Letters::One("1"), 70).await,
        told(1, 0, 0)
    );
    assert!(letters(&*store, 10).await.is_empty(), "it is none any more");
    assert_eq!(store.depth().await.expect("works"), 3);
    assert_eq!(
        ids(&claim(&store, "e", 70).await),
        ["2", "3"],
        "2 is before it"
    );
    for id in ["2", "3"] {
        let delivered = Settlement::Delivered;
        store.settle(id, delivered).await.expect("works");
    }
    let again = Delivery {
        queued_at: Timestamp(70),
        due: Timestamp(70),
        ..delivery("1", "x", "e")
    };
    assert_eq!(claim(&store, "e", 70).await, [again]);
    let dead = Settlement::Dead {
        error: "again".into(),
        at: Timestamp(80),
    };
    store.settle("1", dead).await.expect("works");
    let dead = letters(&*store, 10).await;
    assert_eq!(dead.len(), 1, "one letter, however often it dies");
    assert_eq!((dead[0].error.as_str(), dead[0].attempts), ("again", 1));
}

async fn twice_is_once_and_an_unknown_one_counts_nowhere(kind: Kind) {
    let store = kind.open(bounds(0, 10)).await;
    give_up(&store, "1", "x", "e").await;
    let endpoint = async |id| store.endpoint_of(id).await.expect("works");
    assert_eq!(endpoint("1").await.as_deref(), Some("e"));
    assert_eq!(
        redeliver(&store, Letters::One("1"), 70).await,
        told(1, 0, 0)
    );
    assert_eq!(
        redeliver(&store, Letters::One("1"), 71).await,
        told(0, 1, 0)
    );
    assert_eq!(endpoint("1").await.as_deref(), Some("e"));
    let claimed = claim(&store, "e", 99).await;
    assert_eq!((claimed.len(), claimed[0].queued_at), (1, Timestamp(70)));
    let delivered = Settlement::Delivered;
    store.settle("1", delivered).await.expect("works");
    assert_eq!(
        redeliver(&store, Letters::One("1"), 72).await,
        told(0, 0, 0)
    );
    assert_eq!(endpoint("1").await, None);
    assert_eq!(redeliver(&store, Letters::To("f"), 72).await, told(0, 0, 0));
    assert_eq!(store.depth().await.expect("works"), 0);
}

async fn a_letter_that_finds_no_room_stays_one(kind: Kind) {
    let store = kind.open(bounds(0, 2)).await;
    for id in ["1", "2", "3"] {
        give_up(&store, id, id, "e").await;
    }
    deliver(&store, "4", "x", "e").await;
    assert_eq!(redeliver(&store, Letters::To("e"), 70).await, told(1, 0, 2));
    let dead = letters(&*store, 10).await;
    let left: Vec<&str> = dead.iter().map(|letter| letter.id.as_str()).collect();
    assert_eq!(left, ["3", "2"], "the oldest went first");
    assert_eq!(dead[0].error, "3 failed");
    assert_eq!(
        redeliver(&store, Letters::One("2"), 71).await,
        told(0, 0, 1)
    );
    let delivered = Settlement::Delivered;
    store.settle("4", delivered).await.expect("works");
    assert_eq!(
        redeliver(&store, Letters::One("2"), 72).await,
        told(1, 0, 0)
    );
}

async fn all_of_an_endpoint_go_back_in_their_order_and_no_others(kind: Kind) {
    let store = kind.open(bounds(0, 10)).await;
    for (id, endpoint) in [("b", "e"), ("c", "f"), ("a", "e")] {
        give_up(&store, id, "x", endpoint).await;
    }
    assert_eq!(redeliver(&store, Letters::To("e"), 70).await, told(2, 0, 0));
    for id in ["b", "a"] {
        assert_eq!(ids(&claim(&store, "e", 70).await), [id]);
        let delivered = Settlement::Delivered;
        store.settle(id, delivered).await.expect("works");
    }
    assert!(claim(&store, "f", 70).await.is_empty());
    assert_eq!(letters(&*store, 10).await.len(), 1);
}

async fn pages_join_without_seam_although_letters_go(kind: Kind) {
    let store = kind.open(bounds(0, 10)).await;
    for (id, endpoint) in [("1", "e"), ("2", "f"), ("3", "e"), ("4", "e"), ("5", "e")] {
        give_up(&store, id, id, endpoint).await;
    }
    let page = async |endpoint: Option<&str>, before, limit| {
        let filter = LetterFilter {
            endpoint: endpoint.map(str::to_owned),
            before,
        };
        let page = store.dead_letters(&filter, limit).await.expect("works");
        let ids: Vec<String> = page.letters.into_iter().map(|letter| letter.id).collect();
        (ids, page.next)
    };
    let (first, next) = page(Some("e"), None, 2).await;
    assert_eq!(first, ["5", "4"]);
    // The last of the page, by which the next one is found, is put back meanwhile.
    redeliver(&store, Letters::One("4"), 70).await;
    let (rest, end) = page(Some("e"), next, 2).await;
    assert_eq!((rest, end), (vec!["3".to_owned(), "1".to_owned()], None));
    let (all, _) = page(None, None, 10).await;
    assert_eq!(all, ["5", "3", "2", "1"]);
    let (full, end) = page(None, None, 4).await;
    assert_eq!(
        (full.len(), end),
        (4, None),
        "full to the brim, and the last"
    );
}
