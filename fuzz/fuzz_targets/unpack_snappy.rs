//! Bodies packed with snappy, within the limit on what they unpack to.
#![no_main]

use davy::http::body::Packing;

libfuzzer_sys::fuzz_target!(|body: &[u8]| davy_fuzz::unpack(body, Packing::Snappy));
