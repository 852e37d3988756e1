//! Prometheus remote-write 2.0, decompressed.
#![no_main]

use davy::codec::remote_write::Message;

libfuzzer_sys::fuzz_target!(|body: &[u8]| davy_fuzz::remote_write(body, Message::V2));
