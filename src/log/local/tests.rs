//! A log in a folder: what was safe comes back, what was torn is cut off, what is damaged is told.

use super::*;

const SETTINGS: Settings = Settings {
    sync: Sync::Acknowledged,
    segment_bytes: 100,
};

fn begin(folder: &Path, next: u64) -> LocalLog {
    let metrics = Arc::new(Metrics::new("0").expect("names are unique"));
    LocalLog::begin(folder, b"head", next, SETTINGS, metrics).expect("it begins")
}

/// Frames with their numbers.
type Frames = Vec<(u64, Vec<u8>)>;

/// Everything in a folder, and the number of the next frame.
fn found(folder: &Path, known: Option<u64>) -> Result<(Frames, u64), OpenError> {
    let mut frames = Vec::new();
    let next = repair(folder, known, 0)?;
    replay(folder, |found| -> Result<(), OpenError> {
        match found {
            Found::Head(head) => assert_eq!(head, b"head"),
            Found::Frame(number, frame) => frames.push((number, frame.to_vec())),
        }
        Ok(())
    })?;
    Ok((frames, next))
}

fn frame(number: u64) -> Vec<u8> {
    format!("frame {number}").into_bytes()
}

/// Appends frames with these numbers, a segment for each ten, and waits for each to be safe.
async fn append(log: &mut LocalLog, numbers: std::ops::Range<u64>) {
    for number in numbers {
        if number % 10 == 0 {
            log.turn();
        }
        let ticket = log.append(&frame(number));
        assert_eq!(ticket.number(), number);
        ticket.safe().await.expect("the disk takes it");
    }
}

fn expected(numbers: std::ops::Range<u64>) -> Frames {
    numbers.map(|number| (number, frame(number))).collect()
}

#[tokio::test]
async fn what_was_safe_comes_back_in_order_over_segments_and_starts() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(found(folder.path(), None).expect("empty"), (vec![], 1));
    let mut log = begin(folder.path(), 1);
    append(&mut log, 1..25).await;
    // Not ended: as after a kill.
    let now = found(folder.path(), None).expect("whole");
    assert_eq!(now, (expected(1..25), 25));
    drop(log);
    let mut log = begin(folder.path(), 25);
    append(&mut log, 25..31).await;
    keep_from(folder.path(), 20).expect("deleted");
    append(&mut log, 31..32).await;
    drop(log);
    assert_eq!(
        found(folder.path(), Some(19)).expect("whole"),
        (expected(20..32), 32)
    );
    // A checkpoint must stand for what is gone.
    let missing = found(folder.path(), Some(18));
    assert!(matches!(missing, Err(OpenError::Damaged { .. })));
}

#[tokio::test]
async fn a_torn_end_is_cut_off_wherever_it_is_torn() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut log = begin(folder.path(), 1);
    append(&mut log, 1..4).await;
    drop(log);
    let path = folder.path().join(segment::name(1));
    let whole = std::fs::read(&path).expect("readable");
    let frame_bytes = frame::HEAD_BYTES + frame(1).len();
    let head_bytes = whole.len() - 3 * frame_bytes;
    for end in 0..whole.len() {
        std::fs::write(&path, &whole[..end]).expect("written");
        let (frames, next) = found(folder.path(), None).expect("repaired");
        let left = end.saturating_sub(head_bytes) / frame_bytes;
        assert_eq!(frames, expected(1..1 + left as u64), "{end}");
        assert_eq!(next, 1 + left as u64);
        // It is repaired for good.
        let again = found(folder.path(), None).expect("whole");
        assert_eq!(again, (frames, next), "{end}");
    }
    // Space that was never written to holds zeros.
    let padded = [&*whole, &[0; 4096]].concat();
    std::fs::write(&path, padded).expect("written");
    assert_eq!(
        found(folder.path(), None).expect("repaired"),
        (expected(1..4), 4)
    );
}

#[tokio::test]
async fn damage_before_the_end_is_told_with_its_place_and_nothing_is_touched() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut log = begin(folder.path(), 1);
    append(&mut log, 1..15).await;
    drop(log);
    let path = folder.path().join(segment::name(1));
    let whole = std::fs::read(&path).expect("readable");
    for place in 0..whole.len() {
        let mut other = whole.clone();
        other[place] ^= 1;
        std::fs::write(&path, &other).expect("written");
        match found(folder.path(), None) {
            Err(OpenError::Damaged { path: told, offset }) => {
                assert!(told == path && offset <= place as u64, "{place}: {offset}");
            }
            other => panic!("{place}: {other:?}"),
        }
        assert_eq!(std::fs::read(&path).expect("readable"), other, "{place}");
    }
    std::fs::remove_file(&path).expect("deleted");
    let (frames, _) = found(folder.path(), None).expect("nothing tells that there was more");
    assert_eq!(frames, expected(10..15));
    clear_folder(folder.path()).expect("cleared");
    assert_eq!(found(folder.path(), None).expect("empty"), (vec![], 1));
}

#[tokio::test]
async fn many_that_wait_share_a_sync() {
    let folder = tempfile::tempdir().expect("a folder");
    let metrics = Arc::new(Metrics::new("0").expect("names are unique"));
    let log = LocalLog::begin(folder.path(), b"head", 1, SETTINGS, metrics.clone());
    let mut log = log.expect("it begins");
    let tickets: Vec<Ticket> = (1..=1_000)
        .map(|number| log.append(&frame(number)))
        .collect();
    for ticket in tickets {
        ticket.safe().await.expect("safe");
    }
    let syncs = metrics.log.sync_duration.get_sample_count();
    assert!((1..=3).contains(&syncs), "{syncs}");
}
