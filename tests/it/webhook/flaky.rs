//! Receivers that fail now and then, or for a while: nothing is lost, and nobody is hammered.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::workers::{Receiver, Running, listen, policy, waits};

#[tokio::test(flavor = "multi_thread")]
async fn of_ten_thousand_to_a_receiver_that_fails_a_third_none_is_lost_and_order_holds() {
    const ANALYSES: usize = 40;
    const OF_EACH: usize = 250;
    let receiver = Arc::new(Receiver::failing(0.3));
    let url = listen(&receiver).await;
    let running = Running::start(&url, "concurrent_attempts_max = 16", policy());
    running.put(ANALYSES, OF_EACH).await;
    running.until_empty().await;
    assert!(running.dead().await.is_empty());
    running.stop().await;
    let taken = std::mem::take(&mut *receiver.taken.lock().expect("no panic"));
    assert_eq!(taken.len(), ANALYSES);
    let mut seconds = 0;
    for (analysis, mut ids) in taken {
        seconds += ids.len();
        // One that was taken and answered 500 comes again before anything else of its analysis.
        ids.dedup();
        let expected = (0..OF_EACH).map(|number| format!("{analysis}-{number:06}-e"));
        assert_eq!(ids, expected.collect::<Vec<_>>(), "{analysis}");
    }
    seconds -= ANALYSES * OF_EACH;
    assert!(seconds > 1_000, "it did take some twice: {seconds}");
    let count = |counter: &std::sync::atomic::AtomicUsize| counter.load(Ordering::SeqCst);
    assert_eq!(count(&receiver.delivered), ANALYSES * OF_EACH);
    assert!(count(&receiver.attempts) > ANALYSES * OF_EACH * 5 / 4);
    let most = count(&receiver.most_at_once);
    assert!((2..=16).contains(&most), "{most} at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_down_is_probed_one_at_a_time_and_gets_all_once_it_is_up() {
    const ANALYSES: usize = 100;
    let receiver = Arc::new(Receiver::default());
    receiver.is_down.store(true, Ordering::SeqCst);
    let url = listen(&receiver).await;
    let breaking = davy::webhook::worker::Policy {
        failures_max: 5,
        probing: waits(20, 80),
        ..policy()
    };
    let running = Running::start(&url, "concurrent_attempts_max = 4", breaking);
    assert_eq!(running.breaker_open(), 0);
    running.put(ANALYSES, 2).await;
    let is_open = async || running.breaker_open() == 1;
    running.until("it is held back", is_open).await;
    // Those that were under way when it was held back.
    tokio::time::sleep(Duration::from_millis(20)).await;
    receiver.most_at_once.store(0, Ordering::SeqCst);
    let before = receiver.attempts.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(600)).await;
    let probes = receiver.attempts.load(Ordering::SeqCst) - before;
    // At the shortest the waits are 10, 20 and then 40 ms; without them there are thousands.
    assert!((1..=17).contains(&probes), "{probes} probes");
    assert_eq!(receiver.most_at_once.load(Ordering::SeqCst), 1);
    receiver.is_down.store(false, Ordering::SeqCst);
    running.until_empty().await;
    assert_eq!(running.breaker_open(), 0);
    assert!(running.dead().await.is_empty(), "nothing is lost");
    let opened = &running.metrics.webhook.breaker_opened;
    assert_eq!(opened.with_label_values(&["e"]).get(), 1);
    running.stop().await;
    let taken = receiver.taken.lock().expect("no panic");
    for (analysis, ids) in &*taken {
        let expected = [0, 1].map(|number| format!("{analysis}-{number:06}-e"));
        assert_eq!(ids[..], expected);
    }
    assert_eq!(taken.len(), ANALYSES);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_back_past_its_age_is_given_up_only_after_an_attempt_of_its_own() {
    const ANALYSES: usize = 100;
    let receiver = Arc::new(Receiver::default());
    receiver.is_down.store(true, Ordering::SeqCst);
    let url = listen(&receiver).await;
    let breaking = davy::webhook::worker::Policy {
        failures_max: 5,
        probing: waits(20, 80),
        age_max: Duration::from_millis(200),
        ..policy()
    };
    let running = Running::start(&url, "", breaking);
    running.put(ANALYSES, 1).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    let attempts = receiver.attempts.load(Ordering::SeqCst);
    receiver.is_down.store(false, Ordering::SeqCst);
    running.until_empty().await;
    let dead = running.dead().await.len();
    let delivered = receiver.delivered.load(Ordering::SeqCst);
    assert_eq!(dead + delivered, ANALYSES);
    assert!(
        (1..attempts).contains(&dead),
        "{dead} of {attempts} attempts"
    );
    running.stop().await;
}
