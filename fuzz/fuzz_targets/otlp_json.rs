//! OTLP metrics as JSON.
#![no_main]

use davy::codec::otlp::Form;

libfuzzer_sys::fuzz_target!(|body: &[u8]| davy_fuzz::otlp(body, Form::Json));
