//! Tests of the JSON forms: every refusal by its code, and what survives beside it.

use super::*;
use crate::codec::REFUSALS_SPELLED_MAX;
use crate::codec::bounded::{LabelsWithin, NumbersUpTo};
use crate::model::{Arm, Reading, Sample};
use proptest::prelude::*;

fn sniff(body: &str) -> Result<Decoded, Unreadable> {
    decode(body.as_bytes(), Form::Sniff, &Limits::default())
}

fn one(fields: &str) -> Result<Sample, (&'static str, String)> {
    let decoded = sniff(&format!(
        "[{{\"ts\":1764000000000,\"metric\":\"m\",{fields}}}]"
    ))
    .expect("the array is well formed");
    match decoded.refusals.into_iter().next() {
        Some(refusal) => Err((refusal.code, refusal.message)),
        None => Ok(decoded.samples.into_iter().next().expect("one item")),
    }
}

fn values(fields: &str) -> (Vec<f64>, Vec<u64>, u32) {
    let sample = one(fields).expect("accepted");
    match sample.reading {
        Reading::Values { values, weights } => (values, weights, sample.missing),
        other => panic!("values expected, got {other:?}"),
    }
}

#[test]
fn every_form_gives_the_same_samples() {
    let item = r#"{"ts":1764000000000,"metric":"m","value":1.5,"labels":{"pod":"x"}}"#;
    let forms = [
        format!("{item}\n{item}\n"),
        format!("\u{feff}[{item},{item}]"),
        format!("{{ \"batch\" : [ {item} , {item} ] }}"),
        format!("\n\n{item}\r\n\n{item}"),
    ];
    let all: Vec<Decoded> = forms
        .iter()
        .map(|form| sniff(form).expect("readable"))
        .collect();
    for decoded in &all {
        assert_eq!(decoded.samples, all[0].samples);
        assert_eq!(decoded.samples.len(), 2);
        assert_eq!(decoded.samples[0].labels.get("pod"), Some("x"));
    }
    let lines: Vec<_> = all[3]
        .origins
        .iter()
        .map(|origin| (origin.index, origin.line))
        .collect();
    assert_eq!(lines, [(0, Some(3)), (1, Some(5))]);
    let pretty = item.replace(',', ",\n  ");
    assert_eq!(
        sniff(&pretty).expect("one sample over lines").samples,
        all[0].samples[..1]
    );
}

#[test]
fn a_bad_line_costs_itself_only() {
    let good = r#"{"ts":"2026-01-31T12:00:00.250Z","metric":"m","value":1}"#;
    let body = format!(
        "{good}\n{{\"ts\":17,\n{good}\n{{\"ts\":1764000000000,\"metric\":\"m\",\"value\":NaN}}\n"
    );
    let decoded = decode(body.as_bytes(), Form::Lines, &Limits::default()).expect("readable");
    assert_eq!(decoded.samples.len(), 2);
    assert_eq!(decoded.samples[0].ts.millis(), 1_769_860_800_250);
    let codes: Vec<_> = decoded
        .refusals
        .iter()
        .map(|r| (r.index, r.line, r.code))
        .collect();
    assert_eq!(
        codes,
        [(1, Some(2), "malformed_json"), (3, Some(4), "bare_nan")]
    );
}

#[test]
fn an_item_that_is_not_json_costs_itself_in_an_array_too() {
    let good = r#"{"ts":1764000000000,"metric":"m","value":1}"#;
    let bad = [
        r#"{"ts":1764000000000,"metric":"m","value":1e999}"#,
        r#"{"ts":1764000000000,"metric":"m","value":NaN}"#,
        r#"{"ts":1764000000000,"metric":"m","values":[1,-Infinity]}"#,
        "7",
        "NaN",
    ];
    let decoded = sniff(&format!("[{good},{},{good}]", bad.join(","))).expect("readable");
    assert_eq!(decoded.samples.len(), 2);
    assert_eq!(
        decoded.origins.iter().map(|o| o.index).collect::<Vec<_>>(),
        [0, 6]
    );
    let codes: Vec<_> = decoded.refusals.iter().map(|r| r.code).collect();
    assert_eq!(
        codes,
        [
            "number_out_of_range",
            "bare_nan",
            "bare_nan",
            "not_an_object",
            "bare_nan"
        ]
    );
}

#[test]
fn a_broken_array_is_refused_whole_and_says_what_would_have_helped() {
    let error = sniff("[{\"ts\":1},\n {\"ts\":2}").expect_err("not closed");
    assert_eq!(error.code, UnreadableCode::MalformedJson);
    assert_eq!(
        error.message,
        "the array is not closed, at line 2 column 10"
    );
    assert!(error.help.contains("NDJSON"));
    assert_eq!(
        sniff("[] x").expect_err("rest").code,
        UnreadableCode::MalformedJson
    );
    assert_eq!(
        sniff("hello").expect_err("no JSON").code,
        UnreadableCode::MalformedJson
    );
    assert_eq!(
        sniff(" \n").expect_err("empty").code,
        UnreadableCode::EmptyBody
    );
    let extra = sniff(r#"{"batch":[],"x":1}"#).expect_err("another key");
    assert!(extra.message.contains("only key"), "{extra}");
}

#[test]
fn numbers_json_cannot_write_are_words() {
    assert_eq!(
        values(r#""values":[1,null,"NaN","+Inf","-Inf","Infinity"]"#),
        {
            (
                vec![1.0, f64::INFINITY, f64::NEG_INFINITY, f64::INFINITY],
                vec![],
                2,
            )
        }
    );
    assert_eq!(values(r#""value":null"#), (vec![], vec![], 1));
    assert_eq!(
        values(r#""values":[1,null,3],"weights":[2,5,1]"#),
        (vec![1.0, 3.0], vec![2, 1], 5)
    );
    assert_eq!(values(r#""value":2,"weight":1"#), (vec![2.0], vec![], 0));
}

#[test]
fn counts_become_ratio_and_rate() {
    let reading = |fields| one(fields).expect("accepted").reading;
    assert_eq!(
        reading(r#""value":{"bad":2,"total":10}"#),
        Reading::Ratio { bad: 2, total: 10 }
    );
    let rate = Reading::Rate {
        events: 3,
        exposure: 0.5,
    };
    assert_eq!(reading(r#""value":{"events":3.0,"exposure":0.5}"#), rate);
}

#[test]
fn every_refusal_has_its_code() {
    let table = [
        (r#""value":"12""#, "not_a_number", "without quotes"),
        (r#""value":true"#, "wrong_type", "boolean"),
        (r#""value":[1]"#, "wrong_type", "`values`"),
        (r#""values":[{"bad":1,"total":2}]"#, "wrong_type", "object"),
        (r#""value":1,"values":[1]"#, "two_values", "not both"),
        (r#""labels":{}"#, "missing_key", "`value`"),
        (r#""values":[]"#, "no_values", "1 to 10000"),
        (r#""value":1,"weight":0"#, "bad_weight", "from 1 up"),
        (r#""value":1,"weight":1.5"#, "not_whole", "1.5"),
        (r#""value":1,"weight":-1"#, "not_whole", "-1"),
        (r#""value":1,"weights":[1]"#, "weights_mismatch", "`weight`"),
        (
            r#""values":[1,2],"weights":[1]"#,
            "weights_mismatch",
            "1 weights for 2",
        ),
        (r#""value":{"bad":3,"total":2}"#, "bad_above_total", "3"),
        (r#""value":{"bad":3}"#, "bad_counts", "total"),
        (r#""value":{"bad":3,"totl":4}"#, "unknown_key", "totl"),
        (
            r#""value":{"bad":1,"total":2},"weight":2"#,
            "weight_with_counts",
            "leave",
        ),
        (
            r#""value":{"events":1,"exposure":0}"#,
            "bad_exposure",
            "above 0",
        ),
        (
            r#""value":1,"metrics":"x""#,
            "unknown_key",
            "did you mean `metric`?",
        ),
        (
            r#""value":1,"zzzzzz":"x""#,
            "unknown_key",
            "the keys of a sample",
        ),
        (r#""value":1,"value":2"#, "duplicate_key", "twice"),
        (r#""value":1,"arm":"canary""#, "half_addressed", "both"),
        (
            r#""value":1,"analysis":"a","arm":"control""#,
            "unknown_arm",
            "baseline and canary; write baseline",
        ),
        (r#""value":1,"unit":"""#, "bad_identifier", "`unit`"),
        (r#""value":1,"labels":{"a":1}"#, "wrong_type", "string"),
        (r#""value":1,"#, "malformed_json", "column"),
    ];
    for (fields, code, says) in table {
        let (found, message) = one(fields).expect_err(fields);
        assert_eq!(found, code, "{fields}: {message}");
        assert!(message.contains(says), "{fields}: {message}");
    }
}

#[test]
fn words_of_other_formats_are_told_how_the_same_is_written_here() {
    let table = [
        // "bad" is two letters from "id".
        (
            r#""bad":3,"total":500"#,
            "unknown_key",
            r#"a ratio go into `value`: "value":{"bad":3,"total":500}"#,
        ),
        (
            r#""exposure":60,"value":4"#,
            "unknown_key",
            r#"a rate go into `value`: "value":{"events":4,"exposure":60}"#,
        ),
        (r#""value":1,"count":4"#, "unknown_key", "has a `weight`"),
        (r#""value":1,"timestamp":4"#, "unknown_key", "is `ts`"),
        (r#""value":1,"Time":4"#, "unknown_key", "is `ts`"),
        (r#""value":1,"metric_name":"m""#, "unknown_key", "`metric`"),
        (r#""value":1,"tags":{}"#, "unknown_key", "`labels`"),
        (r#""value":1,"role":"canary""#, "unknown_key", "`arm`"),
        (
            r#""value":1,"analysis_id":"a""#,
            "unknown_key",
            "`analysis`",
        ),
        (
            r#""value":1,"analysis":"a","arm":"experiment""#,
            "unknown_arm",
            "baseline and canary; write canary",
        ),
        (
            r#""value":1,"analysis":"a","arm":"Canary""#,
            "unknown_arm",
            "write canary",
        ),
    ];
    for (fields, code, says) in table {
        let (found, message) = one(fields).expect_err(fields);
        assert_eq!(found, code, "{fields}: {message}");
        assert!(message.contains(says), "{fields}: {message}");
    }
}

#[test]
fn refused_numbers_are_shown_as_they_came_with_what_may_come() {
    let table = [
        (
            r#""value":1,"weight":0.5"#,
            "not_whole",
            "`weight` is 0.5; give a whole number from 1 to 1099511627776",
        ),
        (
            r#""value":{"bad":0,"total":9007199254740993}"#,
            "not_whole",
            "`total` is 9007199254740993; give a whole number from 0 to 1099511627776",
        ),
        (
            r#""value":{"bad":0,"total":1e300}"#,
            "not_whole",
            "`total` is 1e300;",
        ),
        (r#""value":{"bad":null,"total":1}"#, "not_whole", "missing"),
        (
            r#""values":[1,"x",2],"weights":[1,1,1]"#,
            "not_a_number",
            "x",
        ),
        (
            r#""values":[1,1,1],"weights":[1,"x",1]"#,
            "not_a_number",
            "x",
        ),
    ];
    for (fields, code, says) in table {
        let (found, message) = one(fields).expect_err(fields);
        assert_eq!(found, code, "{fields}: {message}");
        assert!(message.contains(says), "{fields}: {message}");
    }
}

#[test]
fn times_out_of_range_say_what_they_look_like() {
    let table = [
        ("1764000000", "seconds"),
        ("1764000000000000", "micro"),
        ("1e300", "micro"),
        ("-5", "milliseconds"),
        ("\"9999-01-01T00:00:00Z\"", "2200"),
        ("1764000000000.5", "whole"),
        ("\"yesterday\"", "RFC 3339"),
        ("\"2026-01-31T12:00:00\"", "RFC 3339"),
    ];
    for (ts, says) in table {
        let body = format!("[{{\"ts\":{ts},\"metric\":\"m\",\"value\":1}}]");
        let decoded = sniff(&body).expect("well formed");
        assert!(
            decoded.refusals[0].message.contains(says),
            "{ts}: {:?}",
            decoded.refusals[0]
        );
    }
    for (ts, kept) in [
        (crate::codec::TS_MILLIS_MIN, true),
        (crate::codec::TS_MILLIS_MIN - 1, false),
        (crate::codec::TS_MILLIS_MAX, true),
        (crate::codec::TS_MILLIS_MAX + 1, false),
    ] {
        let body = format!("[{{\"ts\":{ts},\"metric\":\"m\",\"value\":1}}]");
        assert_eq!(
            sniff(&body).expect("well formed").samples.len() == 1,
            kept,
            "{ts}"
        );
    }
}

#[test]
fn limits_hold_at_the_limit_and_one_past_it() {
    let limits = Limits {
        samples_per_request_max: 2,
        values_per_sample_max: 3,
        label_count_max: 1,
        label_bytes_max: 4,
    };
    let item = |rest: &str| format!("{{\"ts\":1764000000000,\"metric\":\"m\",{rest}}}");
    let run = |body: String| decode(body.as_bytes(), Form::Sniff, &limits);
    let (v, many) = (item("\"value\":1"), UnreadableCode::TooManySamples);
    assert_eq!(
        run(format!("{v}\n{v}\n"))
            .expect("at the limit")
            .samples
            .len(),
        2
    );
    assert_eq!(run(format!("{v}\n{v}\n{v}")).expect_err("past").code, many);
    assert_eq!(run(format!("[{v},{v},{v}]")).expect_err("past").code, many);
    let code = |rest: &str| {
        run(item(rest))
            .expect("readable")
            .refusals
            .first()
            .map(|r| r.code)
    };
    assert_eq!(code("\"values\":[1,2,3]"), None);
    assert_eq!(code("\"values\":[1,2,3,4]"), Some("too_many_values"));
    assert_eq!(code("\"value\":1,\"labels\":{\"aa\":\"bb\"}"), None);
    assert_eq!(
        code("\"value\":1,\"labels\":{\"aa\":\"bbb\"}"),
        Some("labels_too_long")
    );
    assert_eq!(
        code("\"value\":1,\"labels\":{\"a\":\"b\",\"c\":\"\"}"),
        Some("too_many_labels")
    );
}

#[test]
fn what_is_far_past_a_limit_is_counted_and_not_kept() {
    let deserialize = |text: &str| {
        let mut reader = serde_json::Deserializer::from_str(text);
        serde::de::DeserializeSeed::deserialize(NumbersUpTo(3), &mut reader).expect("a list")
    };
    let numbers = deserialize(&format!("[{}1]", "1,".repeat(100_000)));
    assert_eq!((numbers.kept.len(), numbers.count), (3, 100_001));
    let numbers = deserialize("[1,\"x\",\"y\",\"z\"]");
    assert_eq!((numbers.kept.len(), numbers.count), (2, 4));
    let limits = Limits {
        label_count_max: 3,
        label_bytes_max: 4,
        ..Limits::default()
    };
    let labels = |text: &str| {
        let mut reader = serde_json::Deserializer::from_str(text);
        let seed = LabelsWithin(&limits);
        let found = serde::de::DeserializeSeed::deserialize(seed, &mut reader).expect("labels");
        (found.kept.len(), found.count, found.too_long)
    };
    let many: Vec<String> = (0..1_000).map(|n| format!("\"{n}\":\"\"")).collect();
    assert_eq!(
        labels(&format!("{{{}}}", many.join(","))),
        (3, 1_000, false)
    );
    assert_eq!(labels(r#"{"a":"b","c":"dddddddd","e":"f"}"#), (1, 3, true));
    assert_eq!(labels("null"), (0, 0, false));
}

#[test]
fn a_refusal_does_not_repeat_what_is_long() {
    let long = "x".repeat(1 << 16);
    let item = |rest: String| format!("[{{\"ts\":1764000000000,\"metric\":\"m\",{rest}}}]");
    for (rest, code) in [
        (format!("\"value\":1,\"{long}\":1"), "unknown_key"),
        (format!("\"value\":{{\"{long}\":1}}"), "unknown_key"),
        (format!("\"value\":1,\"labels\":\"{long}\""), "wrong_type"),
        (format!("\"value\":\"{long}\""), "not_a_number"),
    ] {
        let decoded = sniff(&item(rest)).expect("well formed");
        let refusal = &decoded.refusals[0];
        assert_eq!(refusal.code, code);
        assert!(refusal.message.len() < 400, "{code}: {}", refusal.message);
    }
    let items = vec!["1"; REFUSALS_SPELLED_MAX + 1].join(",");
    let decoded = sniff(&format!("[{items}]")).expect("well formed");
    assert!(
        !decoded.refusals[REFUSALS_SPELLED_MAX - 1]
            .message
            .is_empty()
    );
    let last = &decoded.refusals[REFUSALS_SPELLED_MAX];
    assert_eq!((last.code, last.message.as_str()), ("not_an_object", ""));
}

#[test]
fn an_address_needs_both_parts() {
    let sample = one(r#""value":1,"analysis":"an_1","arm":"canary","unit":"u","id":"i""#);
    let sample = sample.expect("accepted");
    let address = sample.address.expect("addressed");
    assert_eq!(
        (address.analysis.as_str(), address.arm),
        ("an_1", Arm::Canary)
    );
    assert_eq!(
        (sample.unit.as_deref(), sample.id.as_deref()),
        (Some("u"), Some("i"))
    );
}

#[test]
fn content_types_decide() {
    let form = |given| Form::of_content_type(given).map_err(|error| error.code);
    assert_eq!(
        form(Some("application/x-ndjson; charset=utf-8")),
        Ok(Form::Lines)
    );
    assert_eq!(form(Some("application/json")), Ok(Form::Sniff));
    assert_eq!(form(None), Ok(Form::Sniff));
    assert_eq!(
        form(Some("text/csv")),
        Err(UnreadableCode::UnsupportedMediaType)
    );
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for form in [Form::Sniff, Form::Lines, Form::Document] {
            if let Ok(decoded) = decode(&bytes, form, &Limits::default()) {
                prop_assert_eq!(decoded.samples.len(), decoded.origins.len());
            }
        }
    }

    #[test]
    fn a_finite_value_arrives_bit_by_bit(value in any::<f64>().prop_filter("finite", |v| v.is_finite())) {
        let (read, _, _) = values(&format!("\"value\":{value:e}"));
        prop_assert_eq!(read[0].to_bits(), value.to_bits());
    }
}
