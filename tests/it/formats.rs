//! One recording through every format gives the same verdict.
//!
//! Owns what is the same however samples come: the order of series, how they are divided into
//! requests, what is sent again, how it is packed. `recording` makes the recordings up, `written`
//! and `messages` write them, `http` sends them to a daemon.
//!
//! - Samples as JSON and both expositions have no exponential histograms; they carry the same
//!   observations as the classic buckets that a service would expose beside them.
//! - Where starts are told, a process may begin anew without its totals falling. Samples as JSON,
//!   remote-write 1.0 and the Prometheus text (whose counters have no `_created`) cannot tell
//!   starts, and are then left out.
//! - Where they are not, OTLP's increments are left out: each has a start, so the first one
//!   counts, where the first total does not.

mod http;
mod messages;
pub mod recording;
mod written;

#[path = "../../src/codec/otlp/tests/as_json.rs"]
mod as_json;
#[path = "../../src/codec/otlp/tests/encode.rs"]
#[allow(dead_code, reason = "the codec's own tests use all of it")]
pub mod encode;
#[path = "../../src/codec/remote_write/tests/encode.rs"]
#[allow(dead_code, reason = "the codec's own tests use all of it")]
pub mod frames;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Bytes;
use davy::codec::heads::Heads;
use davy::codec::{Limits, exposition, json, otlp, remote_write};
use davy::engine::{Effect, Input};
use davy::http::body::{Packing, unpack_within};
use davy::judge::verdict::VerdictBody;
use davy::model::Outcome;
use davy::plan::Plan;
use proptest::prelude::*;

use crate::machine::{Machine, START, plan};
use recording::{Chance, Delivery, Making, SCRAPE_MILLIS, Series};
use written::{Body, FORMS, Form};

/// Scrapes of one recording.
const SCRAPES: i64 = 20;

const PLAN: &str = "horizon: 30s\ntick: 1s\nlateness: 3s\nmin_duration: 5s\n\
    arms: {baseline: 'version=\"old\"', canary: 'version=\"new\"'}\n\
    metrics:\n\
    \x20 errors: {kind: ratio, from: counter, bad: 'requests_total{code=~\"5..\"}', total: 'requests_total'}\n\
    \x20 slow: {kind: ratio, above: {histogram: 'duration_seconds', bound: 0.5}}\n\
    \x20 slower: {kind: ratio, above: {histogram: 'latency_seconds', bound: 2}}\n\
    \x20 depth: {kind: gauge, select: 'queue_depth'}\n\
    checks:\n\
    \x20 - {compare: errors, tolerance: {relative: 20%, absolute: 1pp}}\n\
    \x20 - {compare: slow, tolerance: {relative: 20%, absolute: 1pp}}\n\
    \x20 - {threshold: slower, limit: \"< 12%\"}\n\
    \x20 - {compare: depth, tolerance: 50%, min_samples: 5, gating: false}\n";

/// Divides what is sent together into requests. A series stays in one of them: what comes in
/// requests of its own comes in any order.
pub fn requests(delivery: &Delivery, may_join: bool, chance: &mut Chance) -> Vec<Vec<Vec<Series>>> {
    let parts = 1 + chance.below(3);
    let salt = chance.next();
    let part_of = |series: &Series| {
        let text = format!("{:?}{:?}{salt}", series.family, series.labels);
        let hash = text.bytes().fold(0_u64, |hash, byte| {
            hash.wrapping_mul(31).wrapping_add(u64::from(byte))
        });
        hash % parts
    };
    let mut requests = Vec::new();
    for part in 0..parts {
        let mut scrapes: Vec<Vec<Series>> = delivery
            .iter()
            .map(|scrape| {
                let mine = scrape.iter().filter(|series| part_of(series) == part);
                let mut mine: Vec<Series> = mine.cloned().collect();
                chance.shuffle(&mut mine);
                mine
            })
            .collect();
        if may_join && scrapes.len() == 2 && chance.percent(50) {
            join(&mut scrapes);
        }
        scrapes.retain(|scrape| !scrape.is_empty());
        if !scrapes.is_empty() {
            requests.push(scrapes);
        }
    }
    chance.shuffle(&mut requests);
    requests
}

/// Two scrapes as one, whose series have a point of each.
fn join(scrapes: &mut Vec<Vec<Series>>) {
    for later in scrapes.remove(1) {
        let is_same =
            |series: &&mut Series| (series.family, &series.labels) == (later.family, &later.labels);
        match scrapes[0].iter_mut().find(is_same) {
            Some(series) => series.points.extend(later.points),
            None => scrapes[0].push(later),
        }
    }
}

/// Packs and unpacks, as the way over HTTP does.
fn through_packing(body: &Body, chance: &mut Chance) -> Vec<u8> {
    let (packing, packed) = packed(body, chance);
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let limit = body.bytes.len() as u64;
    let mut grow = |_| Ok(());
    let unpacked = unpack_within(packing, Bytes::from(packed), limit, &mut grow);
    let unpacked = runtime.expect("a runtime").block_on(unpacked);
    let plain = unpacked
        .expect("it can be unpacked")
        .expect("within the limit");
    plain.to_vec()
}

/// A body as it is sent: remote-write in snappy always, others as chance has it.
pub fn packed(body: &Body, chance: &mut Chance) -> (Packing, Vec<u8>) {
    use std::io::Write as _;
    let plain = &body.bytes;
    if body.route == "/api/v1/write" {
        let packed = snap::raw::Encoder::new().compress_vec(plain);
        return (Packing::Snappy, packed.expect("small"));
    }
    match chance.below(3) {
        0 => (Packing::Plain, plain.clone()),
        1 => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(plain).expect("memory");
            (Packing::Gzip, encoder.finish().expect("memory"))
        }
        _ => {
            let packed = zstd::stream::encode_all(plain.as_slice(), 1);
            (Packing::Zstd, packed.expect("memory"))
        }
    }
}

thread_local! {
    /// Labels known from all bodies before, as in the daemon.
    static HEADS: RefCell<Heads> = RefCell::new(Heads::new(7));
}

/// What the codec makes of a body, which has nothing to refuse.
fn decoded(form: Form, body: &Body, plain: &[u8], machine: &Machine) -> Input {
    HEADS.with_borrow_mut(|heads| {
        heads.begin();
        decoded_with(heads, form, body, plain, machine)
    })
}

fn decoded_with(
    heads: &mut Heads,
    form: Form,
    body: &Body,
    plain: &[u8],
    machine: &Machine,
) -> Input {
    let (limits, room) = (Limits::default(), &mut |_| true);
    let type_ = Some(body.content_type);
    let series = match form {
        Form::Lines | Form::Batch => {
            let form = json::Form::of_content_type(type_).expect("known");
            let decoded = json::decode_within(plain, form, heads, &limits, room);
            let decoded = decoded.expect("readable");
            assert_eq!(decoded.refusals, []);
            return Input::Samples(decoded.samples);
        }
        Form::Write1 | Form::Write2 => {
            let message = remote_write::message_of(type_, Some("snappy")).expect("known");
            let decoded = remote_write::decode_within(plain, message, heads, &limits, room);
            let decoded = decoded.expect("readable");
            decoded.series
        }
        Form::OtlpProtobuf | Form::OtlpJson | Form::OtlpDelta => {
            let form = otlp::Form::of_content_type(type_).expect("known");
            otlp::decode_within(plain, form, heads, &limits, room).expect("readable")
        }
        Form::Prometheus | Form::OpenMetrics => {
            let dialect = exposition::Dialect::of_content_type(body.content_type).expect("known");
            exposition::decode(plain, dialect, machine.now, heads, &limits, room).expect("readable")
        }
    };
    assert_eq!(series.refusals, [], "{form:?}");
    Input::Series(Box::new(series.batch))
}

fn send(machine: &mut Machine, form: Form, body: &Body, plain: &[u8]) {
    let input = decoded(form, body, plain, machine);
    for effect in machine.apply(input) {
        if let Effect::Ingested(answer) = effect {
            assert_eq!(answer.refused, [], "{form:?}");
            let is_final = machine.body("x").is_final;
            assert!(
                is_final || answer.unmatched == 0 || form_has_unasked(form),
                "{answer:?}"
            );
        }
    }
}

/// Whether it carries series that the plan does not ask for.
fn form_has_unasked(form: Form) -> bool {
    !matches!(form, Form::OtlpProtobuf | Form::OtlpJson | Form::OtlpDelta)
}

/// The verdict of a recording that comes in one form.
fn judged(
    form: Form,
    deliveries: &[Delivery],
    with_starts: bool,
    plan: &Arc<Plan>,
    chance: &mut Chance,
) -> VerdictBody {
    let mut machine = Machine::running("x", plan);
    let mut before: Option<(Body, Vec<u8>)> = None;
    let mut scrapes = 0;
    let is_text = matches!(form, Form::Prometheus | Form::OpenMetrics);
    for delivery in deliveries {
        scrapes += delivery.len() as i64;
        machine.silently((scrapes * SCRAPE_MILLIS - 1) as f64 / 1_000.0);
        for request in requests(delivery, !is_text, chance) {
            let body = form.write(&request, with_starts, chance);
            let plain = through_packing(&body, chance);
            send(&mut machine, form, &body, &plain);
            if chance.percent(20) {
                send(&mut machine, form, &body, &plain);
            }
            if let Some((body, plain)) = before.as_ref().filter(|_| chance.percent(10)) {
                send(&mut machine, form, body, plain);
            }
            before = Some((body, plain));
        }
        let now = machine.now;
        machine.clock(now.since(START) as f64 / 1_000.0);
    }
    machine.clock(60.0);
    machine.body("x")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_recording_gives_one_verdict_through_every_format(
        seed in any::<u64>(),
        with_starts in any::<bool>(),
        bad in 10_u64..80,
        slow in 40_u64..160,
    ) {
        let making = Making {
            from: START.millis(),
            scrapes: SCRAPES,
            scrape_millis: SCRAPE_MILLIS,
            with_starts,
            bad,
            slow,
            versions: ["old", "new"],
        };
        let mut chance = Chance(seed);
        let deliveries = making.deliveries(&mut chance);
        let plan = plan(PLAN);
        let forms = FORMS.iter().filter(|form| match with_starts {
            true => form.tells_starts(),
            false => !form.needs_starts(),
        });
        let mut first: Option<(Form, VerdictBody)> = None;
        for form in forms {
            let body = judged(*form, &deliveries, with_starts, &plan, &mut chance);
            let Some((other, expected)) = &first else {
                first = Some((*form, body));
                continue;
            };
            let [found, wanted] = [&body, expected].map(|body| {
                serde_json::to_value(body).expect("JSON")
            });
            prop_assert_eq!(found, wanted, "{:?} and {:?}", form, other);
        }
    }
}

#[test]
fn such_recordings_have_every_outcome_and_leave_nothing_out() {
    let plan = plan(PLAN);
    let mut outcomes = BTreeSet::new();
    for (seed, (bad, slow)) in [(5, 20), (20, 60), (90, 200)].into_iter().enumerate() {
        let making = Making {
            from: START.millis(),
            scrapes: SCRAPES,
            scrape_millis: SCRAPE_MILLIS,
            with_starts: false,
            bad,
            slow,
            versions: ["old", "new"],
        };
        let mut chance = Chance(seed as u64);
        let deliveries = making.deliveries(&mut chance);
        let body = judged(Form::Write2, &deliveries, false, &plan, &mut chance);
        for check in &body.checks {
            let samples = check.samples;
            assert!(
                samples.baseline > 0 && samples.canary > 0,
                "{}",
                check.message
            );
        }
        outcomes.insert(format!("{:?}", body.verdict));
    }
    let fail = format!("{:?}", Outcome::Fail);
    assert!(
        outcomes.len() > 1 && outcomes.contains(&fail),
        "{outcomes:?}"
    );
}
