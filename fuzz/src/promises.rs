//! What may come out of a decoder.

use std::io::Read;

use davy::codec::series::DecodedSeries;
use davy::codec::{Decoded, ItemRefusal, Limits, METRIC_BYTES_MAX, TS_MILLIS_MAX, TS_MILLIS_MIN};
use davy::http::body::Packing;
use davy::model::series::{NAME_LABEL, PointValue, Series, SeriesBatch};
use davy::model::{Reading, Timestamp};

/// Series within the limits, and numbers that can be. `items` is how many there can be at most,
/// where the form says.
pub fn check_series(decoded: &DecodedSeries, limits: &Limits, items: Option<usize>) {
    let points = decoded.batch.point_count();
    assert!(points <= limits.samples_per_request_max);
    assert_eq!(decoded.origins.len(), decoded.batch.len());
    if let Some(items) = items {
        assert!(points + decoded.refused_points as usize <= items);
    }
    for series in decoded.batch.iter() {
        check_one(&decoded.batch, series, limits);
    }
    check_refusals(&decoded.refusals);
}

fn check_one(batch: &SeriesBatch, series: Series<'_>, limits: &Limits) {
    let name = series.key.name();
    assert!(!name.is_empty() && name.len() <= METRIC_BYTES_MAX);
    let pairs: Vec<(&str, &str)> = series.key.pairs().collect();
    assert!(pairs.is_sorted_by(|a, b| a.0 < b.0), "{pairs:?}");
    let labels = || pairs.iter().filter(|(name, _)| *name != NAME_LABEL);
    assert!(labels().count() <= limits.label_count_max);
    let bytes: usize = labels().map(|(name, value)| name.len() + value.len()).sum();
    assert!(bytes <= limits.label_bytes_max);
    for point in series.points {
        check_time(point.ts);
        match point.value {
            PointValue::Number(value) | PointValue::Increment(value) => assert!(!value.is_nan()),
            PointValue::Stale => (),
            PointValue::Histogram(number) => {
                let cells = &batch.histogram(number).expect("kept").cells;
                assert!(
                    cells
                        .iter()
                        .all(|cell| cell.low <= cell.high && cell.count >= 0.0)
                );
                assert!(
                    cells.windows(2).all(|pair| pair[0].high <= pair[1].low),
                    "{cells:?}"
                );
            }
        }
    }
}

fn check_time(ts: Timestamp) {
    assert!((TS_MILLIS_MIN..=TS_MILLIS_MAX).contains(&ts.millis()));
}

fn check_refusals(refusals: &[ItemRefusal]) {
    for (number, refusal) in refusals.iter().enumerate() {
        assert!(!refusal.code.is_empty());
        let is_spelled = number < davy::codec::REFUSALS_SPELLED_MAX;
        assert_eq!(is_spelled, !refusal.message.is_empty(), "{refusal:?}");
        assert!(refusal.message.len() < 2_048, "a long message");
    }
}

/// Samples within the limits, and numbers that can be.
pub fn check_samples(decoded: &Decoded, limits: &Limits) {
    let items = decoded.samples.len() + decoded.refusals.len();
    assert!(items <= limits.samples_per_request_max);
    assert_eq!(decoded.origins.len(), decoded.samples.len());
    for sample in &decoded.samples {
        check_time(sample.ts);
        assert!(sample.labels.len() <= limits.label_count_max);
        let bytes: usize = sample.labels.iter().map(|(n, v)| n.len() + v.len()).sum();
        assert!(bytes <= limits.label_bytes_max);
        assert!(!sample.metric.is_empty() && sample.metric.len() <= METRIC_BYTES_MAX);
        match &sample.reading {
            Reading::Values { values, weights } => {
                assert!(values.len() <= limits.values_per_sample_max);
                assert!(values.iter().all(|value| !value.is_nan()));
                assert!(weights.is_empty() || weights.len() == values.len());
                assert!(weights.iter().all(|weight| *weight > 0));
            }
            Reading::Ratio { bad, total } => assert!(bad <= total),
            Reading::Rate { exposure, .. } => assert!(exposure.is_finite() && *exposure > 0.0),
            Reading::Buckets { .. } | Reading::UpTo { .. } => panic!("made of series only"),
        }
    }
    check_refusals(&decoded.refusals);
}

/// What a body unpacks to by the libraries alone, up to one byte past the limit.
pub fn unpacked_whole(body: &[u8], packing: Packing, bytes_max: u64) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    match packing {
        Packing::Plain => Some(body.to_vec()),
        Packing::Snappy => snap::raw::Decoder::new().decompress_vec(body).ok(),
        Packing::Gzip => {
            let mut from = flate2::read::MultiGzDecoder::new(body).take(bytes_max + 1);
            from.read_to_end(&mut plain).ok().map(|_| plain)
        }
        Packing::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(body).ok()?;
            decoder.window_log_max(23).ok()?;
            let mut from = decoder.take(bytes_max + 1);
            from.read_to_end(&mut plain).ok().map(|_| plain)
        }
    }
}
