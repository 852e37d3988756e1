//! Writes the seeds of every target, from the encoders that the tests have: `seeds FOLDER` makes a
//! folder for each. It is no target: it is built as one since all of the package is built to be
//! watched by libFuzzer, and ends where one would begin.
#![no_main]

#[path = "../../src/codec/otlp/tests/as_json.rs"]
mod as_json;
#[path = "../../src/codec/otlp/tests/encode.rs"]
#[allow(dead_code)]
mod encode;
#[path = "../../src/codec/remote_write/tests/encode.rs"]
#[allow(dead_code)]
mod frames;
#[path = "../../tests/it/formats/messages.rs"]
mod messages;
#[path = "../../tests/it/formats/recording.rs"]
#[allow(dead_code)]
mod recording;
#[path = "../../tests/it/formats/written.rs"]
#[allow(dead_code)]
mod written;

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer, V2Serializer};

use recording::{Chance, Making, Series};
use written::{FORMS, Form};

/// Seeds of each form.
const EACH: u64 = 24;
/// Longer ones are not taken: chance changes one byte at a time.
const BYTES_MAX: usize = 4_096;

const CSV: [&str; 3] = [
    "role,value,t_rel,weight,unit\nbaseline,1.5,0,2,a\ncanary,,1,1,b\n",
    "ts,metric,role,value\n1764000000,errors,canary,inf\n",
    "role,value\n\"baseline\",\"1e3\"\nnobody,2\n",
];
const PLAN: &str = "version: davy/v1\nplan: p\nhorizon: 1m\ntick: 1s\narms: {baseline: 'v=\"a\"', canary: 'v=~\"b|c\"'}\nmetrics:\n  m: {kind: ratio, from: counter, bad: 'r{code=~\"5..\"}', total: 'r'}\n  h: {kind: ratio, above: {histogram: 'd', bound: 0.5}}\nchecks:\n  - {compare: m, tolerance: {relative: 20%, absolute: 1pp}}\n  - {threshold: h, limit: \"< 2%\"}\n";

libfuzzer_sys::fuzz_target!(
    init: std::process::exit(i32::from(write_all().is_err())),
    |_body: &[u8]| ()
);

fn write_all() -> std::io::Result<()> {
    let folder = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "corpus".to_owned());
    let folder = Path::new(&folder);
    let mut number = 0;
    let mut keep = |target: &str, bytes: &[u8]| -> std::io::Result<()> {
        if bytes.len() > BYTES_MAX {
            return Ok(());
        }
        number += 1;
        let folder = folder.join(target);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(format!("seed-{number:04}")), bytes)
    };
    for form in FORMS {
        for seed in 0..EACH {
            let body = body(form, seed);
            keep(target_of(form, &body), &body)?;
            keep("unpack_gzip", &gzip(&body)?)?;
            keep(
                "unpack_zstd",
                &zstd::stream::encode_all(body.as_slice(), 3)?,
            )?;
            let packed = snap::raw::Encoder::new().compress_vec(&body);
            keep("unpack_snappy", &packed.map_err(std::io::Error::other)?)?;
        }
    }
    for seed in 0..EACH {
        let histogram = histogram(seed);
        for packed in [false, true] {
            keep("hdr_payload", payload(&histogram, packed).as_bytes())?;
        }
        keep("hdr_log", &log(seed))?;
    }
    for text in CSV {
        keep("csv_rows", text.as_bytes())?;
    }
    for text in [PLAN, include_str!("../../config/plans/checkout.yaml")] {
        keep("plan_yaml", text.as_bytes())?;
    }
    println!("{number} seeds under {}", folder.display());
    Ok(())
}

fn target_of(form: Form, body: &[u8]) -> &'static str {
    match form {
        Form::Lines => "samples_ndjson",
        Form::Batch => "samples_json",
        Form::Write1 => "remote_write_v1",
        Form::Write2 => "remote_write_v2",
        Form::OtlpProtobuf => "otlp_protobuf",
        Form::OtlpJson => "otlp_json",
        Form::OtlpDelta if body.starts_with(b"{") => "otlp_json",
        Form::OtlpDelta => "otlp_protobuf",
        Form::Prometheus => "exposition_prometheus",
        Form::OpenMetrics => "exposition_openmetrics",
    }
}

/// A scrape of few series, all families among them over the seeds.
fn body(form: Form, seed: u64) -> Vec<u8> {
    let making = Making {
        from: 1_764_000_000_000,
        scrapes: 3,
        scrape_millis: 1_000,
        with_starts: form.tells_starts(),
        bad: 40,
        slow: 80,
        versions: ["old", "new"],
    };
    let mut chance = Chance(seed);
    let deliveries = making.deliveries(&mut chance);
    let scrapes: Vec<Vec<Series>> = deliveries.concat();
    let last = &scrapes[scrapes.len() - 1];
    let from = seed as usize % last.len();
    let few: Vec<Series> = last.iter().cycle().skip(from).take(3).cloned().collect();
    form.write(&[few], form.tells_starts(), &mut chance).bytes
}

fn gzip(plain: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain)?;
    encoder.finish()
}

fn histogram(seed: u64) -> Histogram<u64> {
    let mut chance = Chance(seed);
    let digits = (seed % 4) as u8;
    let mut histogram = Histogram::new_with_bounds(1, 1_000_000, digits).expect("bounds");
    for _ in 0..1 + chance.below(20) {
        let bits = 1 + chance.below(19);
        histogram.saturating_record(chance.below(1 << bits));
    }
    histogram
}

fn payload(histogram: &Histogram<u64>, is_packed: bool) -> String {
    let mut bytes = Vec::new();
    let written = match is_packed {
        true => V2DeflateSerializer::new()
            .serialize(histogram, &mut bytes)
            .is_ok(),
        false => V2Serializer::new().serialize(histogram, &mut bytes).is_ok(),
    };
    assert!(written, "it fits memory");
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn log(seed: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let start = SystemTime::UNIX_EPOCH + Duration::from_millis(1_764_000_000_250);
    let mut builder = IntervalLogWriterBuilder::new();
    let mut writer = builder
        .add_comment("made up")
        .with_start_time(start)
        .with_max_value_divisor(1_000.0)
        .begin_log_with(&mut bytes, &mut serializer)
        .expect("memory");
    for interval in 0..1 + seed % 3 {
        let tag = Tag::new("GET").filter(|_| interval % 2 == 1);
        let (from, length) = (Duration::from_secs(interval), Duration::from_millis(1_000));
        let histogram = histogram(seed + interval);
        let written = writer.write_histogram(&histogram, from, length, tag);
        assert!(written.is_ok(), "it fits memory");
    }
    bytes
}
