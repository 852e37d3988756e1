//! Samples, one JSON object a line.
#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| davy_fuzz::samples_by_line(body));
