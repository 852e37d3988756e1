//! OTLP metrics as protobuf.
#![no_main]

use davy::codec::otlp::Form;

libfuzzer_sys::fuzz_target!(|body: &[u8]| davy_fuzz::otlp(body, Form::Protobuf));
