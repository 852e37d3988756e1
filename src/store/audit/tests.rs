//! Chains, and what is done to them.

use super::*;

/// A chain of so many rows.
fn rows(count: u64) -> Vec<Row> {
    let mut log = Log::new(1_000);
    for number in 0..count {
        log.append(Entry {
            analysis: Some(format!("an_{number}")),
            ..Entry::new(Timestamp(1_000 + number as i64), "verdict.final")
        });
    }
    log.rows(None, 0, usize::MAX)
}

fn verify(rows: &[Row], exported: Option<Head>) -> Result<Verified, Wrong> {
    let mut chain = Chain::new(exported);
    rows.iter().try_for_each(|row| chain.take(row))?;
    chain.finish()
}

fn head_of(rows: &[Row]) -> Head {
    let last = rows.last().expect("a row");
    Head {
        sequence: last.sequence,
        hash: last.hash.clone(),
    }
}

#[test]
fn the_hash_is_that_of_the_documented_text() {
    let entry = Entry {
        reason: "\"a\" é\n".to_owned(),
        actor_name: Some("ci".to_owned()),
        engine_revision: 7,
        ..Entry::new(Timestamp(5), "verdict.final")
    };
    let row = Row::after(0, GENESIS, entry);
    let text = format!(
        "[\"davy-audit-1\",1,5,\"verdict.final\",\"davy\",\"ci\",null,null,null,null,\"\\\"a\\\" é\\n\",\"{{}}\",null,null,7,\"{GENESIS}\"]"
    );
    assert_eq!(row.hash, sha256(text.as_bytes()));
    assert_eq!(sha256(b"abc")[..16], *"ba7816bf8f01cfea");
}

#[test]
fn whole_chains_are_found_whole() {
    assert_eq!(verify(&[], None).map(|found| found.rows), Ok(0));
    let rows = rows(5);
    let found = verify(&rows, Some(head_of(&rows))).expect("whole");
    assert_eq!((found.rows, found.first), (5, 1));
    assert_eq!(found.head, head_of(&rows));
    assert!(verify(&rows, Some(head_of(&rows[..3]))).is_ok());
    let text: Vec<String> = rows
        .iter()
        .map(|row| serde_json::to_string(row).expect("plain"))
        .collect();
    let again: Vec<Row> = text
        .iter()
        .map(|line| serde_json::from_str(line).expect("as it was written"))
        .collect();
    assert_eq!(again, rows, "an export loses nothing");
}

#[test]
fn whatever_is_done_to_rows_is_found() {
    let whole = rows(6);
    let head = Some(head_of(&whole));
    let after = |change: fn(&mut Vec<Row>)| {
        let mut rows = whole.clone();
        change(&mut rows);
        rows
    };
    let gone = after(|rows| drop(rows.remove(2)));
    let missing = |from, to| Err(Wrong::Missing { from, to });
    assert_eq!(verify(&gone, None), missing(3, 3));
    let begun_later = after(|rows| drop(rows.drain(..2)));
    assert_eq!(verify(&begun_later, None), missing(1, 2));
    let swapped = after(|rows| rows.swap(2, 3));
    assert_eq!(verify(&swapped, None), missing(3, 3));
    let twice = after(|rows| rows.insert(3, rows[2].clone()));
    let (sequence, after_row) = (3, 3);
    let out_of_order = Wrong::OutOfOrder {
        sequence,
        after: after_row,
    };
    assert_eq!(verify(&twice, None), Err(out_of_order));
    // One with a right hash of its own, the others moved on.
    let inserted = after(|rows| {
        let entry = Entry::new(Timestamp(9), "verdict.final");
        let row = Row::after(2, &rows[1].hash, entry);
        rows.insert(2, row);
        rows[3..].iter_mut().for_each(|row| row.sequence += 1);
    });
    assert_eq!(verify(&inserted, None), Err(Wrong::Edited(4)));
    // One in the place of another, with a right hash.
    let replaced = after(|rows| {
        let entry = Entry::new(Timestamp(9), "verdict.final");
        rows[2] = Row::after(2, &rows[1].hash.clone(), entry);
    });
    assert_eq!(verify(&replaced, None), Err(Wrong::Inserted(4)));
    let cut = &whole[..4];
    assert!(verify(cut, None).is_ok(), "only a head shows it");
    let cut_tail = Wrong::CutTail { head: 6, last: 4 };
    assert_eq!(verify(cut, head.clone()), Err(cut_tail));
    let cut_tail = Wrong::CutTail { head: 6, last: 0 };
    assert_eq!(verify(&[], head.clone()), Err(cut_tail));
    // All written anew, every hash right.
    let mut anew = Vec::new();
    let (mut sequence, mut previous) = (0, GENESIS.to_owned());
    for row in &whole {
        let mut entry = row.entry.clone();
        entry.at += 1;
        let row = Row::after(sequence, &previous, entry);
        (sequence, previous) = (row.sequence, row.hash.clone());
        anew.push(row);
    }
    assert!(verify(&anew, None).is_ok(), "only a head shows it");
    assert_eq!(verify(&anew, head), Err(Wrong::OtherHead(6)));
}

#[test]
fn an_anchor_stands_for_what_is_gone_and_for_nothing_else() {
    let mut log = Log::new(10);
    for number in 0..25 {
        log.append(Entry::new(Timestamp(number), "verdict.final"));
        let rows = log.rows(None, 0, usize::MAX);
        assert!(rows.len() <= 10, "{number}");
        assert!(verify(&rows, None).is_ok(), "{number}");
    }
    let rows = log.rows(None, 0, usize::MAX);
    let first = rows[0].sequence;
    assert!(first > 10, "{first}");
    let anchors: Vec<usize> = (0..rows.len())
        .filter(|&at| rows[at].entry.kind == ANCHOR)
        .collect();
    let newest = *anchors.last().expect("an anchor");
    let missing = Wrong::Missing {
        from: first,
        to: first,
    };
    assert_eq!(verify(&rows[1..], None), Err(missing), "one more is gone");
    let head = |sequence| {
        Some(Head {
            sequence,
            hash: rows[0].previous.clone(),
        })
    };
    let old = Wrong::OldHead { head: 1, first };
    assert_eq!(verify(&rows, head(1)), Err(old));
    // Anchors that tell something else, in a chain that is right otherwise.
    for told in [
        "{}",
        "{\"deleted_through\":1,\"hash\":\"x\"}",
        "wrong hash",
        "too far",
    ] {
        let mut forged: Vec<Row> = Vec::new();
        for (at, row) in rows.iter().enumerate() {
            let mut entry = row.entry.clone();
            let mut anchor = Anchor {
                deleted_through: first - 1,
                hash: rows[0].previous.clone(),
            };
            if at == newest {
                match told {
                    "wrong hash" => anchor.hash = GENESIS.to_owned(),
                    "too far" => anchor.deleted_through += 1,
                    _ => {}
                }
                entry.detail = match told.starts_with('{') {
                    true => told.to_owned(),
                    false => serde_json::to_string(&anchor).expect("plain"),
                };
            }
            let previous = forged
                .last()
                .map_or(&row.previous, |last| &last.hash)
                .clone();
            forged.push(Row::after(row.sequence - 1, &previous, entry));
        }
        let found = verify(&forged, None).expect_err(told);
        assert!(matches!(found, Wrong::Missing { .. }), "{told}: {found}");
    }
}

#[test]
fn few_rows_go_at_once_however_many_are_too_many() {
    assert_eq!(surplus(1, 10, 10), None);
    assert_eq!(
        surplus(1, 11, 10),
        Some(3),
        "a tenth, and one for the anchor"
    );
    assert_eq!(surplus(1, 1_000_001, 1_000_000), Some(RETENTION_STEP));
    assert_eq!(surplus(501, 1_000_501, 10), Some(500 + RETENTION_STEP));
}

#[test]
fn a_log_in_memory_is_read_from_any_place() {
    let mut log = Log::new(u64::MAX);
    for number in 0..MEMORY_ROWS_MAX + 1 {
        log.append(Entry::new(Timestamp(number as i64), "verdict.final"));
    }
    let rows = log.rows(None, 0, usize::MAX);
    assert!(rows.len() as u64 <= MEMORY_ROWS_MAX);
    assert!(verify(&rows, None).is_ok());
    let first = rows[0].sequence;
    assert!(first > 1);
    for after in [
        0,
        first - 1,
        first,
        first + 10,
        rows.last().expect("rows").sequence,
    ] {
        let expected = rows.iter().find(|row| row.sequence > after);
        assert_eq!(log.rows(None, after, 1).first(), expected, "{after}");
    }
    assert_eq!(log.last(), rows.last());
}
