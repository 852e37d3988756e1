//! Bytes that are no checkpoint, or not one of this davy: an error or a state, never a panic.

use davy::engine::checkpoint::{CheckpointError, FORM, load, save};
use davy::engine::{Limits, State};
use davy::judge::ENGINE_REVISION;
use davy::stats::sampler::{Stream, seed_from};

use super::state_after;

/// Changed bytes of each checkpoint.
const CHANGES: usize = 3_000;

#[test]
fn another_form_and_another_engine_are_told_apart() {
    let bytes = save(&State::new(Limits::default()));
    let with = |at: usize, number: u32| {
        let mut bytes = bytes.clone();
        bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
        load(&bytes, Limits::default()).err()
    };
    assert!(load(&bytes, Limits::default()).is_ok());
    assert!(matches!(with(0, 0), Some(CheckpointError::NotOne)));
    let found = with(8, FORM + 1);
    assert!(matches!(found, Some(CheckpointError::WrongForm { found }) if found == FORM + 1));
    let found = with(12, ENGINE_REVISION + 1);
    let other = ENGINE_REVISION + 1;
    assert!(matches!(found, Some(CheckpointError::OtherEngine { found }) if found == other));
    let mut longer = bytes.clone();
    longer.push(0);
    let found = load(&longer, Limits::default()).err();
    assert!(matches!(found, Some(CheckpointError::Malformed(_))));
}

#[test]
fn a_checkpoint_that_is_cut_off_is_none() {
    let (state, limits) = state_after(2, 9);
    let bytes = save(&state);
    assert!(load(&bytes, limits.clone()).is_ok());
    for end in 0..bytes.len() {
        assert!(load(&bytes[..end], limits.clone()).is_err(), "{end}");
    }
}

#[test]
fn a_checkpoint_with_a_changed_byte_is_an_error_or_a_state() {
    let mut chance = Stream::new(&seed_from("changes", ""), 0);
    let (mut states, mut errors) = (0, 0);
    for (seed, inputs) in [(0, 20), (1, 60), (4, 110)] {
        let (state, limits) = state_after(seed, inputs);
        let bytes = save(&state);
        for _ in 0..CHANGES / 3 {
            let mut changed = bytes.clone();
            let at = chance.next_u32() as usize % bytes.len();
            // High bits make lengths long; any byte may come.
            changed[at] = match chance.next_u32() % 3 {
                0 => 0xff,
                _ => chance.next_u32() as u8,
            };
            match load(&changed, limits.clone()) {
                Ok(state) => {
                    save(&state);
                    states += 1;
                }
                Err(_) => errors += 1,
            }
        }
    }
    assert!(
        states > 100 && errors > 100,
        "{states} states, {errors} errors"
    );
}
