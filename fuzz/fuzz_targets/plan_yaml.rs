//! Plan files.
#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| davy_fuzz::plan(body));
