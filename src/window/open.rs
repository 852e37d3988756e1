//! How many ticks an analysis holds open at once.
//!
//! Owns the limit, what of it a plan's lateness takes up, and who is refused by it. An open tick
//! costs memory whether or not its samples will ever be looked at. Next: [`super`], which closes
//! ticks.

use super::{NoPlace, Window};
use crate::model::{Millis, Timestamp};

/// Ticks an analysis holds open at once. Between two inputs it never holds more; while one input is
/// taken those stay open too that it is about to close.
pub const OPEN_TICKS_MAX: usize = 256;
/// Smallest clock time after which a tick closes without its watermark, in milliseconds.
const IDLE_CLOSE_MIN: Millis = 1_000;

/// Open ticks that a plan takes up where every sender's clock is right to a tick: those that the
/// lateness and the wait for an idle stream keep open, the one being filled, and one ahead of it.
pub fn open_ticks(tick: Millis, lateness: Millis) -> usize {
    let waiting = (lateness + idle_after(tick) + tick - 1) / tick;
    usize::try_from(waiting + 2).unwrap_or(usize::MAX)
}

/// Longest lateness that keeps within [`OPEN_TICKS_MAX`].
pub fn lateness_max(tick: Millis) -> Millis {
    (OPEN_TICKS_MAX as Millis - 2) * tick - idle_after(tick)
}

/// Clock time past the lateness after which a tick closes without its watermark.
pub(super) fn idle_after(tick: Millis) -> Millis {
    tick.max(IDLE_CLOSE_MIN)
}

// === impl Window ===

impl Window {
    /// As [`Window::place`], and whether the sample's tick is one of the `open_ticks_max` that may
    /// be open at this clock time. It goes by the clock and not by the ticks closed so far: after a
    /// pause the first batch arrives before the ticks it closes are closed.
    pub fn place_at(
        &self,
        ts: Timestamp,
        now: Timestamp,
        open_ticks_max: usize,
    ) -> Result<usize, NoPlace> {
        let index = self.place(ts)?;
        let settled = now.since(self.origin) - self.lateness - self.idle_after();
        let due_by_clock = settled.max(0) / self.tick;
        let oldest = self.next.max(due_by_clock as usize);
        if index >= oldest.saturating_add(open_ticks_max) {
            return Err(NoPlace::TooFarAhead);
        }
        Ok(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_lateness_is_the_last_that_fits() {
        for tick in [100, 999, 1_000, 15_000] {
            let most = lateness_max(tick);
            assert_eq!(open_ticks(tick, most), OPEN_TICKS_MAX, "tick {tick}");
            assert_eq!(
                open_ticks(tick, most + 1),
                OPEN_TICKS_MAX + 1,
                "tick {tick}"
            );
        }
        // A tick of 100 ms waits a second for an idle stream: ten ticks, the lateness, and two.
        assert_eq!(open_ticks(100, 200), 14);
    }
}
