//! The limits that all formats of series share.

use super::*;

const ORIGIN: Origin = Origin {
    index: 3,
    line: None,
};

fn point(ts: i64, value: f64) -> Point {
    Point {
        ts: Timestamp(ts),
        start: None,
        value: PointValue::Number(value),
    }
}

fn codes(decoded: &DecodedSeries) -> Vec<&'static str> {
    decoded
        .refusals
        .iter()
        .map(|refusal| refusal.code)
        .collect()
}

#[test]
fn limits_on_labels_hold_at_them_and_one_past() {
    let limits = Limits {
        label_count_max: 2,
        label_bytes_max: 8,
        ..Limits::default()
    };
    let mut room = |_| true;
    let mut collecting = Collecting::new(&limits, &mut room);
    let named = |labels: &[(&'static str, &'static str)]| {
        let name = (NAME_LABEL, "m");
        std::iter::once(name).chain(labels.to_vec())
    };
    for labels in [
        &[("a", "123"), ("b", "123")][..],
        &[("a", "123"), ("b", "1234")],
        &[("a", "1"), ("b", "1"), ("c", "1")],
        &[("a", "1"), ("b", "1"), ("c", "")],
    ] {
        collecting.begin(named(labels), SeriesKind::Gauge, ORIGIN);
        collecting
            .point(point(1_764_000_000_000, 1.0))
            .expect("few");
    }
    let decoded = collecting.finish().expect("room");
    assert_eq!(codes(&decoded), ["labels_too_long", "too_many_labels"]);
    assert_eq!((decoded.batch.len(), decoded.batch.point_count()), (2, 2));
    assert_eq!((decoded.refused_points, decoded.origins.len()), (2, 2));
    let long = "n".repeat(METRIC_BYTES_MAX);
    let longer = format!("{long}n");
    let mut room = |_| true;
    let mut collecting = Collecting::new(&limits, &mut room);
    for name in [&long, &longer] {
        let labels = std::iter::once((NAME_LABEL, name.as_str()));
        collecting.begin(labels, SeriesKind::Gauge, ORIGIN);
    }
    let decoded = collecting.finish().expect("room");
    assert_eq!(
        (codes(&decoded), decoded.batch.len()),
        (vec!["bad_metric_name"], 1)
    );
}

#[test]
fn points_are_refused_alone_and_counted_against_the_request() {
    let limits = Limits {
        samples_per_request_max: 4,
        ..Limits::default()
    };
    let mut room = |_| true;
    let mut collecting = Collecting::new(&limits, &mut room);
    let name = std::iter::once((NAME_LABEL, "m"));
    collecting.begin(name, SeriesKind::Counter, ORIGIN);
    for (ts, value) in [
        (1_764_000_000, 1.0),
        (1_764_000_000_000, f64::NAN),
        (1_764_000_000_000, f64::INFINITY),
        (1_764_000_000_001, 2.0),
    ] {
        collecting.point(point(ts, value)).expect("at the limit");
    }
    let past = collecting.point(point(1_764_000_000_002, 2.0));
    assert_eq!(
        past.map_err(|error| error.code),
        Err(UnreadableCode::TooManySamples)
    );
    let decoded = collecting.finish().expect("room");
    assert_eq!(codes(&decoded), ["bad_timestamp", "nan"]);
    assert_eq!(decoded.refusals[0].index, 3);
    assert_eq!((decoded.refused_points, decoded.batch.len()), (2, 1));
}

#[test]
fn a_batch_asks_for_room_and_histograms_have_a_limit() {
    let limits = Limits::default();
    let mut room = |bytes| bytes < 1_000;
    let collecting = Collecting::new(&limits, &mut room);
    assert!(collecting.finish().is_ok());
    let mut collecting = Collecting::new(&limits, &mut room);
    let name = std::iter::once((NAME_LABEL, "m"));
    collecting.begin(name, SeriesKind::Histogram, ORIGIN);
    for cells in [HISTOGRAM_CELLS_MAX, HISTOGRAM_CELLS_MAX + 1] {
        let cell = crate::model::series::HistogramCell {
            low: 0.0,
            high: 1.0,
            count: 1.0,
        };
        let value = collecting.histogram(Histogram {
            cells: vec![cell; cells],
            ..Histogram::default()
        });
        let point = Point {
            value,
            ..point(1_764_000_000_000, 0.0)
        };
        collecting.point(point).expect("few");
    }
    assert_eq!(codes(&collecting.decoded), ["too_many_cells"]);
    assert_eq!(collecting.decoded.batch.point_count(), 1);
    let error = collecting.finish().expect_err("no room");
    assert_eq!(error.code, UnreadableCode::NoRoom);
}
