//! What is asked beside the load, and what a server takes that has nothing to do.
//!
//! Owns latencies, rates of answers, memory at rest and the time of a start.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::client::{self, Connection};
use super::common::Verdicts;
use super::cost::{COUNTS, SERIES, STEP, make, now, sleep_until, write_plans};
use super::server::{Kind, Server};
use super::wire::{COUNTED, Form, Lanes, Load};

/// Slowest hundredth of davy's verdicts, of that of VictoriaMetrics' instant queries.
const LATENCY_MAX: f64 = 0.1;
/// Verdicts a second, of the answers a second of a handler that does nothing.
const RATE_MIN: f64 = 0.8;
const IDLE_MIB_MAX: f64 = 16.0;
/// Start of davy, of that of VictoriaMetrics.
const START_MAX: f64 = 0.5;
/// Samples that come meanwhile: twenty seconds' worth, so that ticks close and are looked at, too.
const LOAD: usize = 20_000_000;
/// How often an answer is asked for beside them.
const ASKED_EVERY: Duration = Duration::from_millis(10);
/// What a peer has to answer from: five minutes at one point in fifteen seconds, as a board would ask for.
const ASKED: (usize, i64) = (20, 15_000);
/// By then what was sent before is flushed, and its ticks are closed and looked at.
const SETTLED_IN: Duration = Duration::from_millis(8_500);
/// How long answers are counted in one turn, and over how many connections.
const COUNTED_FOR: Duration = Duration::from_secs(2);
const CONNECTIONS: usize = 8;
/// Starts of which the median is taken.
const STARTS: usize = 9;

fn load(samples: usize) -> (Load, Lanes) {
    make(Load {
        form: Form::Write,
        series: SERIES,
        passes: samples / SERIES,
        step: STEP,
        origin: 0,
        job: "shop",
        connections: super::cost::CONNECTIONS,
    })
}

/// A server that knows something of a canary, in its folder; the path that asks for it.
fn prepared(kind: Kind, folder: &std::path::Path) -> (Server, String) {
    write_plans(folder);
    let server = Server::start(kind, folder);
    let door = kind.door(Form::Write);
    if kind == Kind::Davy {
        let id = server.analyse(COUNTS, "shop");
        let (load, lanes) = load(200_000);
        sleep_until(load.origin);
        client::send(server.port, door, &lanes);
        std::thread::sleep(SETTLED_IN);
        let path = format!("/v1/analyses/{id}/verdict");
        let verdict = answered_by(&server, &path);
        let estimate = &verdict["checks"][0]["estimate"];
        assert!(estimate.is_number(), "nothing is judged: {verdict}");
        return (server, path);
    }
    let (passes, step) = ASKED;
    let load = Load {
        passes,
        step,
        origin: now() - passes as i64 * step,
        ..load(SERIES).0
    };
    client::send(server.port, door, &load.lanes());
    std::thread::sleep(SETTLED_IN);
    let share = |version: &str| {
        let labels = format!("service_version=\"{version}\"");
        format!(
            "sum(rate({COUNTED}{{{labels},code=~\"5..\"}}[5m]))/sum(rate({COUNTED}{{{labels}}}[5m]))"
        )
    };
    let query = format!("{}/({})", share("v1.15.0"), share("v1.14.2"));
    let at = load.last() / 1_000;
    let path = format!(
        "/api/v1/query?query={}&time={at}&nocache=1",
        encoded(&query)
    );
    let answer = answered_by(&server, &path);
    let value = answer["data"]["result"][0]["value"][1].as_str();
    let value = value.and_then(|value| value.parse().ok());
    assert!(value.is_some_and(f64::is_finite), "no number: {answer}");
    (server, path)
}

fn answered_by(server: &Server, path: &str) -> serde_json::Value {
    let text = Connection::open(server.port).get(path).text();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' => (byte as char).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// Seconds of each answer while the load is sent. Both are asked at the same times; one that is not
/// done by then is asked once it is.
fn latencies(kind: Kind) -> Vec<f64> {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, path) = prepared(kind, folder.path());
    let before = server.taken(now());
    let (load, lanes) = load(LOAD);
    sleep_until(load.origin);
    let is_over = AtomicBool::new(false);
    let all = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let (mut connection, mut all) = (Connection::open(server.port), Vec::new());
            let mut due = Instant::now();
            while !is_over.load(Ordering::Relaxed) {
                due = (due + ASKED_EVERY).max(Instant::now());
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                let begun = Instant::now();
                let answer = connection.get(&path);
                assert_eq!(answer.status, 200, "{}", answer.text());
                all.push(begun.elapsed().as_secs_f64());
            }
            all
        });
        client::send(server.port, kind.door(load.form), &lanes);
        is_over.store(true, Ordering::Relaxed);
        asking.join().expect("answers")
    });
    std::thread::sleep(SETTLED_IN);
    assert_eq!(server.taken(load.last()), before + load.items() as u64);
    all
}

fn quantile(all: &mut [f64], share: f64) -> f64 {
    all.sort_by(f64::total_cmp);
    all[((all.len() - 1) as f64 * share) as usize]
}

/// Verdicts beside the load and alone.
pub fn run(runs: usize, verdicts: &mut Verdicts) {
    println!("answers: verdicts while {LOAD} samples come over two connections");
    let kinds = [Kind::Davy, Kind::VictoriaMetrics];
    let mut answers: [Vec<f64>; 2] = Default::default();
    for _ in 0..runs {
        for (kind, answers) in kinds.iter().zip(&mut answers) {
            answers.extend(latencies(*kind));
        }
    }
    for (kind, answers) in kinds.iter().zip(&mut answers) {
        let [median, p99, most] = [0.5, 0.99, 1.0].map(|share| quantile(answers, share) * 1e3);
        println!(
            "  {:16} {} answers, median {median:.2} ms, p99 {p99:.2} ms, slowest {most:.2} ms",
            kind.name(),
            answers.len(),
        );
    }
    let [davy, theirs] = answers.each_mut().map(|all| quantile(all, 0.99));
    let ratio = davy / theirs;
    println!(
        "    p99 of davy / VictoriaMetrics: {ratio:.3}, bound {LATENCY_MAX}: {}",
        verdicts.word(ratio <= LATENCY_MAX)
    );
    alone(runs, verdicts);
}

/// Answers a second, and CPU seconds a million answers.
fn answered(server: &Server, path: &str) -> (f64, f64) {
    let (begun, before) = (Instant::now(), server.cpu_secs());
    let count: usize = std::thread::scope(|scope| {
        let one = || {
            let (mut connection, mut count) = (Connection::open(server.port), 0);
            while begun.elapsed() < COUNTED_FOR {
                connection.get(path);
                count += 1;
            }
            count
        };
        let all: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(one)).collect();
        all.into_iter()
            .map(|one| one.join().expect("answers"))
            .sum()
    });
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    (rate, (server.cpu_secs() - before) / count as f64 * 1e6)
}

fn alone(runs: usize, verdicts: &mut Verdicts) {
    let folder = tempfile::tempdir().expect("a folder");
    let (davy, path) = prepared(Kind::Davy, folder.path());
    // As many bytes as the verdict has.
    let bytes = client::get(davy.port, &path).len();
    let more = [format!("answer={bytes}")];
    let trivial = Server::start_with(Kind::Reference, folder.path(), &more);
    println!("answers: {bytes} bytes over {CONNECTIONS} connections, without a load");
    let mut ratios = Vec::new();
    for _ in 0..runs.max(3) {
        let (own, own_cpu) = answered(&davy, &path);
        let (theirs, cpu) = answered(&trivial, "/trivial");
        println!(
            "  davy {own:.0}/s, {own_cpu:.1} CPU s a million; trivial {theirs:.0}/s, {cpu:.1} CPU s a million"
        );
        ratios.push(own / theirs);
    }
    let ratio = quantile(&mut ratios, 0.5);
    println!(
        "    davy / trivial: {ratio:.3}, bound at least {RATE_MIN}: {}",
        verdicts.word(ratio >= RATE_MIN)
    );
}

/// Memory at rest, and the time of a start on what a run left behind.
pub fn footprint(_runs: usize, verdicts: &mut Verdicts) {
    println!("footprint: at rest, and started {STARTS} times on an existing store");
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    write_plans(folders[0].path());
    let (load, lanes) = load(1_000_000);
    let theirs = Server::start(Kind::VictoriaMetrics, folders[1].path());
    client::send(theirs.port, theirs.kind.door(load.form), &lanes);
    std::thread::sleep(Duration::from_secs(2));
    theirs.end();
    let mut starts: [Vec<f64>; 2] = Default::default();
    for _ in 0..STARTS {
        for (kind, at) in [(Kind::Davy, 0), (Kind::VictoriaMetrics, 1)] {
            let server = Server::start(kind, folders[at].path());
            starts[at].push(server.start_secs);
            server.end();
        }
    }
    let [own, theirs] = starts.each_mut().map(|all| quantile(all, 0.5));
    let ratio = own / theirs;
    println!(
        "    start: davy {:.1} ms, VictoriaMetrics {:.1} ms, {ratio:.2}, bound {START_MAX}: {}",
        own * 1e3,
        theirs * 1e3,
        verdicts.word(ratio <= START_MAX)
    );
    let davy = Server::start(Kind::Davy, folders[0].path());
    std::thread::sleep(Duration::from_secs(5));
    let idle = davy.memory_mib("VmRSS");
    println!(
        "    at rest davy takes {idle:.1} MiB, bound {IDLE_MIB_MAX}: {}",
        verdicts.word(idle <= IDLE_MIB_MAX)
    );
}
