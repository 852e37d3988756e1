//! How much memory is held at most: an allocator that counts.
//!
//! Owns the count, of all threads together; a fuzzer has one.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// What is held from its beginning on.
pub struct Measured {
    held_before: usize,
}

fn add(bytes: usize) {
    let held = HELD.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(held, Ordering::Relaxed);
}

// Safety: everything is the system's allocator's; only numbers are added.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // While it is moved both are there.
        add(new_size);
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

impl Measured {
    /// From here on.
    pub fn begin() -> Measured {
        let held_before = HELD.load(Ordering::Relaxed);
        PEAK.store(held_before, Ordering::Relaxed);
        Measured { held_before }
    }

    /// The most that was held since, beyond what was held before.
    pub fn peak_bytes(&self) -> usize {
        PEAK.load(Ordering::Relaxed)
            .saturating_sub(self.held_before)
    }
}
