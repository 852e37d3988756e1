//! What it costs that samples are on the disk before they are acknowledged.
//!
//! Owns the bounds on it: CPU of a sample, and how long a request waits. The disk is measured in the
//! same run, beside the folder of the store.

use std::io::Write as _;
use std::time::{Duration, Instant};

use super::client::Connection;
use super::common::Verdicts;
use super::cost::{CONNECTIONS, Runs, SERIES, STEP, Setting, now, run_davy, write_plans};
use super::server::{Kind, Server};
use super::wire::{Form, Load};

/// CPU of a sample with a store, of what it is without.
const COST_MAX: f64 = 1.5;
/// How much longer than one sync a request waits that is acknowledged once it is safe.
const ADDED_MAX: Duration = Duration::from_millis(5);
/// Connections of senders that have as many samples as these: what waits for one sync is synced
/// together. Prometheus opens up to fifty.
const MANY: usize = 16;
/// Requests of which the wait is told.
const REQUESTS: usize = 400;
/// Wait between them: a sync is not to be shared.
const PAUSE: Duration = Duration::from_millis(10);

const FORMS: [(&str, Form, usize); 5] = [
    ("remote-write, one sample a series", Form::Write, 2_000_000),
    (
        "remote-write, ten series of 100",
        Form::WriteBatches,
        8_000_000,
    ),
    ("OTLP", Form::Otlp, 2_000_000),
    ("JSON, a hundred values a sample", Form::Json, 8_000_000),
    ("NDJSON", Form::Ndjson, 2_000_000),
];

/// CPU and waits with a store, and without.
pub fn run(runs: usize, verdicts: &mut Verdicts) {
    println!("durable: samples are on the disk before they are acknowledged");
    for (name, form, samples) in FORMS {
        println!("  {name}");
        let ratio = compare(form, samples, MANY, runs);
        println!(
            "    on the disk / in memory: {ratio:.3}, bound {COST_MAX}: {}",
            verdicts.word(ratio <= COST_MAX)
        );
    }
    let (name, form, samples) = FORMS[0];
    println!("  {name}, over {CONNECTIONS} connections: a sync for each of its requests");
    let ratio = compare(form, samples / 4, CONNECTIONS, runs);
    println!("    on the disk / in memory: {ratio:.3}, without a bound");
    waits(verdicts);
}

/// Cost of a sample with a store, of what it is without.
fn compare(form: Form, samples: usize, connections: usize, runs: usize) -> f64 {
    // As many samples in a request, whatever the connections.
    let series = SERIES * connections / CONNECTIONS;
    let load = Load {
        form,
        series,
        passes: (samples / series).next_multiple_of(100),
        // As many a second, too: a disk is slower than the loads without one are.
        step: STEP * (series / SERIES) as i64 * 2,
        origin: 0,
        job: "shop",
        connections,
    };
    let (mut without, mut with) = (Runs::default(), Runs::default());
    for _ in 0..runs {
        let patient = Setting {
            is_patient: true,
            is_unhurried: !matches!(form, Form::Json | Form::Ndjson),
            ..Setting::default()
        };
        without.push(run_davy(load, patient));
        let durable = Setting {
            is_durable: true,
            ..patient
        };
        with.push(run_davy(load, durable));
    }
    without.print("in memory");
    with.print("on the disk");
    with.cpu() / without.cpu()
}

/// How long a small request waits, beside one sync of the same disk.
fn waits(verdicts: &mut Verdicts) {
    let folder = tempfile::tempdir().expect("a folder");
    write_plans(folder.path());
    let sync = sync_waits(folder.path());
    let without = request_waits(folder.path(), &[]);
    let path = format!("store.path={}/store", folder.path().display());
    let with = request_waits(folder.path(), &["--set".to_owned(), path]);
    println!("  waits of a request of ten samples, median and 99th percentile");
    for (name, waits) in [
        ("one sync", &sync),
        ("in memory", &without),
        ("on the disk", &with),
    ] {
        println!(
            "    {name:12} {:.2} ms  {:.2} ms",
            at(waits, 50),
            at(waits, 99)
        );
    }
    for percent in [50, 99] {
        let added = at(&with, percent) - at(&without, percent);
        let most = at(&sync, percent) + ADDED_MAX.as_secs_f64() * 1e3;
        println!(
            "    added at {percent} %: {added:.2} ms, bound one sync and 5 ms, {most:.2}: {}",
            verdicts.word(added <= most)
        );
    }
}

/// Milliseconds below which so many percent lie.
fn at(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

fn millis_of(mut work: impl FnMut(usize)) -> Vec<f64> {
    let mut waits: Vec<f64> = (0..REQUESTS)
        .map(|number| {
            std::thread::sleep(PAUSE);
            let begun = Instant::now();
            work(number);
            begun.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    waits.sort_by(f64::total_cmp);
    waits
}

fn sync_waits(folder: &std::path::Path) -> Vec<f64> {
    let mut file = std::fs::File::create(folder.join("sync")).expect("a file");
    millis_of(|_| {
        file.write_all(&[7; 300]).expect("written");
        file.sync_data().expect("synced");
    })
}

fn request_waits(folder: &std::path::Path, more: &[String]) -> Vec<f64> {
    let davy = Server::start_with(Kind::Davy, folder, more);
    davy.analyse(super::cost::VALUES, "shop");
    let mut connection = Connection::open(davy.port);
    let door = Kind::Davy.door(Form::Ndjson);
    millis_of(|number| {
        let ts = now();
        let mut body = String::new();
        for value in 0..10 {
            let version = if value % 2 == 0 { "v1.14.2" } else { "v1.15.0" };
            body.push_str(&format!(
                "{{\"metric\":\"request_duration_ms\",\"labels\":{{\"job\":\"shop\",\"service_version\":\"{version}\"}},\"ts\":{ts},\"value\":{}.5}}\n",
                number % 7
            ));
        }
        let answer = connection.post(door, body.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
    })
}
