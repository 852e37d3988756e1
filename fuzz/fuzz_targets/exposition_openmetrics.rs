//! OpenMetrics text.
#![no_main]

use davy::codec::exposition::Dialect;

libfuzzer_sys::fuzz_target!(|body: &[u8]| davy_fuzz::exposition(body, Dialect::OpenMetrics));
