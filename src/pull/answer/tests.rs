//! What an answer may be, and that nothing else is taken for one.

use super::*;

const RANGE: Range = Range {
    start: Timestamp(1_700_000_000_999),
    step: 1_000,
    points: 3,
};

const GOOD: &str = r#"{"status":"success","isPartial":false,"data":{"resultType":"matrix","result":[
{"metric":{"__name__":"up","job":"shop"},"values":[[1700000000.999,"1"],[1700000002.999,"NaN"]]},
{"metric":{"job":"sh\u00f6p"},"values":[[1700000001.999,"+Inf"]]}]},"warnings":["slow"]}"#;

fn decoded(text: &str) -> Result<Answer, NoAnswer> {
    decode(text.as_bytes(), &RANGE, 2, &str::to_owned)
}

#[test]
fn series_points_gaps_and_warnings_are_read() {
    let answer = decoded(GOOD).expect("an answer");
    assert_eq!(answer.warning.as_deref(), Some("slow"));
    assert_eq!(answer.points(), 3);
    let at = |millis: i64| Timestamp(1_700_000_000_000 + millis);
    let points = [(at(999), Some(1.0)), (at(2_999), None)];
    assert_eq!(answer.series[0].points, points);
    assert_eq!(answer.series[1].points, [(at(1_999), Some(f64::INFINITY))]);
    let batch = answer.batch("rps", at(0), at(5_000)).expect("held");
    let names: Vec<&str> = batch.iter().map(|series| series.key.name()).collect();
    assert_eq!(names, ["up", "rps"]);
    let values: Vec<PointValue> = batch
        .iter()
        .flat_map(|series| series.points.iter().map(|point| point.value))
        .collect();
    assert_eq!(
        values,
        [
            PointValue::Number(1.0),
            PointValue::Stale,
            PointValue::Number(f64::INFINITY)
        ]
    );
    // Of one instant only.
    let batch = answer.batch("rps", at(1_999), at(1_999)).expect("held");
    assert_eq!((batch.len(), batch.point_count()), (1, 1));
}

#[test]
fn what_is_no_whole_answer_is_refused_with_a_sentence() {
    for (from, to, expected) in [
        ("\"isPartial\":false", "\"isPartial\":true", "partial"),
        ("\"matrix\"", "\"vector\"", "is a vector"),
        ("1700000001.999", "1700000001.5", "not asked for"),
        ("1700000001.999", "1700000003.999", "not asked for"),
        ("1700000002.999", "1700000000.999", "one twice"),
        ("\"NaN\"", "\"many\"", "no number"),
        ("\"success\"", "\"sucess\"", "the status sucess"),
        (
            "[[1700000001.999,\"+Inf\"]]",
            "[],\"histograms\":[]",
            "native histograms",
        ),
        ("{\"status\"", "<html>{\"status\"", "is the address right?"),
        ("[[1700000000.999,", "[[\"soon\",", "cannot be read"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let error = decoded(&GOOD.replacen(from, to, 1)).expect_err(expected);
        assert!(error.to_string().contains(expected), "{error}");
    }
    assert_eq!(
        decode(GOOD.as_bytes(), &RANGE, 1, &str::to_owned),
        Err(NoAnswer::TooManySeries(1))
    );
    let error = r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#;
    assert_eq!(
        decoded(error),
        Err(NoAnswer::Refused("bad_data: parse error".to_owned()))
    );
    assert_eq!(
        refused(error.as_bytes(), &str::to_owned).as_deref(),
        Some("bad_data: parse error")
    );
    assert_eq!(refused(b"<html>", &str::to_owned), None);
    assert_eq!(refused(GOOD.as_bytes(), &str::to_owned), None);
}

#[test]
fn no_byte_that_is_changed_or_missing_makes_a_panic_or_another_instant() {
    let bytes = GOOD.as_bytes();
    let (mut taken, mut other) = (0, 0);
    for at in 0..bytes.len() {
        for byte in [0, b'"', b'{', b'9', b'-', 0x80, 0xff] {
            let mut changed = bytes.to_vec();
            changed[at] = byte;
            match decode(&changed, &RANGE, 2, &str::to_owned) {
                Ok(answer) => {
                    taken += 1;
                    let points = answer.series.iter().flat_map(|series| &series.points);
                    assert!(points.map(|(ts, _)| *ts).all(|ts| RANGE.holds(ts)));
                }
                Err(error) => {
                    other += 1;
                    assert!(!error.to_string().is_empty());
                }
            }
        }
        assert!(
            decode(&bytes[..at], &RANGE, 2, &str::to_owned).is_err(),
            "cut at {at}"
        );
    }
    // Some letters of names and values may be anything.
    assert!(taken > 100 && other > 1_000, "{taken} {other}");
}
