//! Room for samples in work: what all requests together may hold in memory.
//!
//! Owns the count of bytes, taken in steps as they come to be. A request that only says that it
//! is large, or that a sender keeps open, takes a few times what it has sent at the most; one that
//! was handed on keeps its room until the engine is done with it, whether or not somebody waits for
//! the answer. What is read into the room is [`super::body`]'s and [`super::samples`]'.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that samples take in memory for each byte of their JSON, about: a line of 130 bytes becomes
/// a sample of 350.
const MEMORY_PER_JSON_BYTE: u64 = 3;
/// What is counted; a part of it is a whole one.
const UNIT_BYTES: u64 = 1024;

/// Bytes a request keeps in memory, as a rule: its body as it came, unpacked, and decoded.
pub fn bytes_in_work(wire_bytes: u64, decoded_bytes: u64) -> u64 {
    wire_bytes + decoded_bytes * (1 + MEMORY_PER_JSON_BYTE)
}

/// Room for the samples of all requests in work together, so that many large requests at once are
/// answered with 429 and not with the end of the process.
#[derive(Debug, Clone)]
pub struct IngestBudget {
    kibibytes: Arc<Semaphore>,
    total_bytes: u64,
}

/// Room that one request has taken, until it is dropped.
#[derive(Debug)]
pub struct Reserved {
    budget: Arc<Semaphore>,
    taken: Option<OwnedSemaphorePermit>,
}

// === impl IngestBudget ===

impl IngestBudget {
    /// Room for this many bytes.
    pub fn new(bytes: u64) -> IngestBudget {
        let kibibytes = usize::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(usize::MAX);
        let kibibytes = kibibytes.min(Semaphore::MAX_PERMITS);
        IngestBudget {
            kibibytes: Arc::new(Semaphore::new(kibibytes)),
            total_bytes: kibibytes as u64 * UNIT_BYTES,
        }
    }

    /// No room yet, to be grown.
    pub fn begin(&self) -> Reserved {
        Reserved {
            budget: self.kibibytes.clone(),
            taken: None,
        }
    }

    /// Bytes of all room together.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Bytes that nobody has taken.
    pub fn free_bytes(&self) -> u64 {
        self.kibibytes.available_permits() as u64 * UNIT_BYTES
    }
}

// === impl Reserved ===

impl Reserved {
    /// Takes what is missing to this many bytes in all, or nothing; nobody waits for it. What was
    /// taken before is kept. Whether there was room.
    pub fn grow_to(&mut self, bytes: u64) -> bool {
        let wanted = usize::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(usize::MAX);
        let held = self.taken.as_ref().map_or(0, |taken| taken.num_permits());
        let Ok(missing) = u32::try_from(wanted.saturating_sub(held)) else {
            return false;
        };
        let Ok(more) = self.budget.clone().try_acquire_many_owned(missing) else {
            return false;
        };
        match &mut self.taken {
            Some(taken) => taken.merge(more),
            None => self.taken = Some(more),
        }
        true
    }

    /// Gives back what goes beyond this many bytes.
    pub fn shrink_to(&mut self, bytes: u64) {
        let kept = usize::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(usize::MAX);
        if let Some(taken) = &mut self.taken {
            drop(taken.split(taken.num_permits().saturating_sub(kept)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_taken_in_steps_kept_to_the_kibibyte_and_given_back() {
        let budget = IngestBudget::new(10 * 1024);
        let mut first = budget.begin();
        assert!(first.grow_to(3 * 1024));
        assert!(first.grow_to(9 * 1024 + 1), "ten are free");
        assert_eq!(
            budget.free_bytes(),
            0,
            "a part of a kibibyte is a whole one"
        );
        assert!(first.grow_to(1), "it has more than that");
        let mut second = budget.begin();
        assert!(second.grow_to(0));
        assert!(!second.grow_to(1));
        drop(first);
        assert!(second.grow_to(4 * 1024));
        assert!(!second.grow_to(10 * 1024 + 1), "more than there is");
        assert_eq!(budget.free_bytes(), 6 * 1024, "what it had it keeps");
        second.shrink_to(9 * 1024);
        assert_eq!(budget.free_bytes(), 6 * 1024);
        second.shrink_to(1);
        assert_eq!(budget.free_bytes(), 9 * 1024);
        assert_eq!(budget.total_bytes(), 10 * 1024);
    }
}
