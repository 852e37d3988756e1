//! Samples as one JSON document, or whatever the first bytes look like.
#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| davy_fuzz::samples(body));
