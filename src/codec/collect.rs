//! Items into samples and refusals, and the memory they take.
//!
//! Owns how a request's result grows, and an estimate of its bytes: a sample takes several hundred
//! however short it is, and ten thousand values no more than they are long, so the length of a body
//! says little.
//! Whether there is room is asked while there is little to lose. Where items begin is
//! [`super::json`]'s.

use super::heads::Heads;
use super::{Decoded, ItemRefusal, Limits, Origin, REFUSALS_SPELLED_MAX, Unreadable, item};
use crate::model::{Reading, Sample};

/// Bytes by which a result grows before room is asked for.
const STEP_BYTES: u64 = 1 << 20;
/// What the allocator gives at the least, and in steps of which.
const ALLOCATED_BYTES_MIN: u64 = 32;
const ALLOCATED_STEP_BYTES: u64 = 16;

/// A request's result while it is read.
pub(super) struct Collecting<'l> {
    decoded: Decoded,
    heads: &'l mut Heads,
    limits: &'l Limits,
    bytes: u64,
    asked: u64,
    room: &'l mut dyn FnMut(u64) -> bool,
}

// === impl Collecting ===

impl<'l> Collecting<'l> {
    /// Nothing yet. `room` is asked whether so many bytes in all may be taken.
    pub fn new(
        heads: &'l mut Heads,
        limits: &'l Limits,
        room: &'l mut dyn FnMut(u64) -> bool,
    ) -> Collecting<'l> {
        Collecting {
            decoded: Decoded::default(),
            heads,
            limits,
            bytes: 0,
            asked: 0,
            room,
        }
    }

    /// Reads an item.
    ///
    /// # Errors
    /// [`UnreadableCode::NoRoom`].
    pub fn push(&mut self, bytes: &[u8], origin: Origin) -> Result<(), Unreadable> {
        let decoded = &mut self.decoded;
        match item::read(bytes, self.heads, self.limits) {
            Ok(sample) => {
                self.bytes += sample_bytes(&sample) + vector_bytes::<Origin>();
                decoded.samples.push(sample);
                decoded.origins.push(origin);
            }
            Err(problem) => {
                let message = if decoded.refusals.len() < REFUSALS_SPELLED_MAX {
                    problem.message
                } else {
                    String::new()
                };
                self.bytes += vector_bytes::<ItemRefusal>() + allocated(message.len());
                decoded.refusals.push(ItemRefusal {
                    index: origin.index,
                    line: origin.line,
                    code: problem.code,
                    message,
                });
            }
        }
        if self.bytes - self.asked >= STEP_BYTES {
            self.ask()?;
        }
        Ok(())
    }

    /// The result, for which there is room.
    ///
    /// # Errors
    /// [`UnreadableCode::NoRoom`].
    pub fn finish(mut self) -> Result<Decoded, Unreadable> {
        self.ask()?;
        Ok(self.decoded)
    }

    fn ask(&mut self) -> Result<(), Unreadable> {
        self.asked = self.bytes;
        if (self.room)(self.bytes) {
            return Ok(());
        }
        Err(super::no_room())
    }
}

/// Bytes of an entry of a vector that doubles as it grows.
fn vector_bytes<T>() -> u64 {
    2 * size_of::<T>() as u64
}

/// Bytes that the allocator takes for so many.
fn allocated(bytes: usize) -> u64 {
    match bytes as u64 {
        0 => 0,
        bytes => (bytes + 8)
            .next_multiple_of(ALLOCATED_STEP_BYTES)
            .max(ALLOCATED_BYTES_MIN),
    }
}

/// Bytes a sample takes in memory, about.
fn sample_bytes(sample: &Sample) -> u64 {
    let text = |text: &Option<String>| text.as_ref().map_or(0, |text| allocated(text.len()));
    // Their memory doubles as they come.
    let labels = allocated(2 * sample.labels.bytes_len());
    let reading = match &sample.reading {
        Reading::Values { values, weights } => {
            allocated(size_of_val(values.as_slice())) + allocated(size_of_val(weights.as_slice()))
        }
        Reading::Buckets {
            lows,
            highs,
            counts,
        } => {
            allocated(size_of_val(lows.as_slice()))
                + allocated(size_of_val(highs.as_slice()))
                + allocated(size_of_val(counts.as_slice()))
        }
        Reading::UpTo { bounds, counts, .. } => {
            let numbers = size_of_val(bounds.as_slice()) + size_of_val(counts.as_slice());
            // Points and resets take half as much again.
            allocated(2 * numbers)
        }
        Reading::Ratio { .. } | Reading::Rate { .. } => 0,
    };
    let address = sample.address.as_ref();
    vector_bytes::<Sample>()
        + allocated(sample.metric.len())
        + labels
        + reading
        + text(&sample.unit)
        + text(&sample.id)
        + address.map_or(0, |address| allocated(address.analysis.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::UnreadableCode;

    #[test]
    fn room_is_asked_for_in_steps_and_at_the_end() {
        let limits = Limits::default();
        let line = br#"{"ts":1764000000000,"metric":"m","value":1,"labels":{"a":"","b":""}}"#;
        let origin = Origin {
            index: 0,
            line: None,
        };
        let (mut asked, mut heads) = (Vec::new(), Heads::new(7));
        let mut room = |bytes| {
            asked.push(bytes);
            true
        };
        let mut collecting = Collecting::new(&mut heads, &limits, &mut room);
        for _ in 0..4_000 {
            collecting.push(line, origin).expect("room");
        }
        collecting.finish().expect("room");
        let each = asked.last().expect("asked") / 4_000;
        assert!((500..1_500).contains(&each), "{each} bytes a sample");
        assert!(asked.len() > 2, "{asked:?}");
        assert!(asked[0] < STEP_BYTES + 2 * each);
        let mut room = |bytes| bytes < 2 * STEP_BYTES;
        let mut collecting = Collecting::new(&mut heads, &limits, &mut room);
        let pushed = (0..).take_while(|_| collecting.push(line, origin).is_ok());
        let pushed = pushed.count() as u64;
        assert!(
            pushed * each < 2 * STEP_BYTES + each,
            "{pushed} of {each} bytes"
        );
        let error = collecting.finish().expect_err("still no room");
        assert_eq!(error.code, UnreadableCode::NoRoom);
    }
}
