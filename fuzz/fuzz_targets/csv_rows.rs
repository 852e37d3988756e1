//! Recordings as CSV.
#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| davy_fuzz::csv(body));
