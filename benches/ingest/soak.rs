//! Half an hour at half of what davy can take, with analyses that start and end.
//!
//! Owns the bounds on what grows: memory and files are as large at the end as they were once as many
//! analyses were kept as may be. What davy can take is measured before, by the same senders in the
//! same run. Only where it is named: `cargo bench --bench ingest -- only=soak minutes=30`.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::client::Connection;
use super::common::Verdicts;
use super::cost::now;
use super::server::{Kind, Server};
use super::wire::{Form, Load, Part};

/// Services, each with its series and its analysis.
const JOBS: [&str; 4] = ["cart", "checkout", "search", "shop"];
/// Series of each.
const SERIES: usize = 1_000;
/// How long an analysis lasts.
const HORIZON: Duration = Duration::from_secs(20);
/// Final analyses that are kept: reached well within the warm-up.
const RETAINED: usize = 40;
/// How long all is sent that goes through, to know the limit.
const SATURATED_FOR: Duration = Duration::from_secs(20);
/// Time until as many analyses are kept as may be, and the allocator has met most of what comes.
const WARM_UP: Duration = Duration::from_secs(10 * 60);
const LOOKED_AT_EVERY: Duration = Duration::from_secs(2);
/// Sizes at the end, of what they were after the warm-up.
const GROWTH_MAX: f64 = 1.05;
const SEGMENT_BYTES: u64 = 32 << 20;

/// What a look at davy saw.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    at: Duration,
    memory_mib: f64,
    disk_mib: f64,
}

/// What senders share.
struct Sending {
    port: u16,
    origin: i64,
    /// Samples a second, all senders together; 0 for all that goes through.
    rate: AtomicU64,
    sent: AtomicU64,
    /// Answers that were no 2xx: sent again.
    turned_away: AtomicU64,
    is_over: AtomicBool,
}

fn plan() -> String {
    format!(
        "version: davy/v1
plan: soak
horizon: {}s
tick: 1s
lateness: 2s
min_duration: 5s
stop_on_pass: false
arms:
  baseline: 'job=\"{{{{job}}}}\", service_version=\"v1.14.2\"'
  canary: 'job=\"{{{{job}}}}\", service_version=\"v1.15.0\"'
metrics:
  errors:
    kind: ratio
    from: counter
    bad: 'http_requests_total{{code=~\"5..\"}}'
    total: 'http_requests_total'
checks:
  - {{compare: errors, tolerance: {{relative: 50%, absolute: 1pp}}}}
",
        HORIZON.as_secs()
    )
}

fn start(folder: &Path) -> Server {
    std::fs::write(folder.join("soak.yaml"), plan()).expect("written");
    let settings = [
        format!("store.path={}/store", folder.display()),
        format!("store.segment_bytes={SEGMENT_BYTES}"),
        "store.audit_rows_max=1000".to_owned(),
        "store.free_bytes_max=1048576".to_owned(),
        format!("limits.retained_analyses_max={RETAINED}"),
        "limits.recording_bytes_max=16777216".to_owned(),
    ];
    let more: Vec<String> = settings
        .into_iter()
        .flat_map(|setting| ["--set".to_owned(), setting])
        .collect();
    Server::start_with(Kind::Davy, folder, &more)
}

/// Sends every service's series by turns, at the rate that is asked for.
fn send(sending: &Sending, half: usize) {
    let load = |job| Load {
        form: Form::Write,
        series: SERIES,
        passes: 1,
        step: 1,
        origin: sending.origin,
        job,
        connections: super::cost::CONNECTIONS,
    };
    let (from, to) = (half * SERIES / 2, (half + 1) * SERIES / 2);
    let parts: Vec<(Load, Part)> = JOBS
        .into_iter()
        .map(|job| (load(job), load(job).part(from, to)))
        .collect();
    let mut connection = Connection::open(sending.port);
    let door = Kind::Davy.door(Form::Write);
    let (mut due, mut last) = (Instant::now(), 0);
    while !sending.is_over.load(Ordering::Relaxed) {
        for (load, part) in &parts {
            let rate = sending.rate.load(Ordering::Relaxed);
            let samples = (to - from) as u64;
            if rate > 0 {
                due = due.max(Instant::now() - Duration::from_secs(1));
                due += Duration::from_secs_f64(samples as f64 * 2.0 / rate as f64);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            // A time of its own for each point of a series.
            last = (now() - sending.origin).max(last + i64::from(load.job == JOBS[0]));
            let body = load.of_pass(part, last as usize);
            while connection.post(door, &body).status / 100 != 2
                && !sending.is_over.load(Ordering::Relaxed)
            {
                sending.turned_away.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
            sending.sent.fetch_add(samples, Ordering::Relaxed);
        }
    }
}

/// Keeps an analysis of each service going, and asks for verdicts; how many have ended.
fn judge(sending: &Sending, davy: &Server) -> u64 {
    let mut ended = 0;
    let mut running: Vec<(&str, String)> = Vec::new();
    for job in JOBS {
        running.push((job, davy.analyse("soak", job)));
        std::thread::sleep(HORIZON / JOBS.len() as u32);
    }
    let mut connection = Connection::open(sending.port);
    while !sending.is_over.load(Ordering::Relaxed) {
        for (job, id) in &mut running {
            let text = connection.get(&format!("/v1/analyses/{id}/verdict")).text();
            let verdict: serde_json::Value = serde_json::from_str(&text).expect("a verdict");
            if verdict["final"] == true {
                ended += 1;
                *id = davy.analyse("soak", job);
            }
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    ended
}

fn bytes_of(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    // A file may go while it is looked at.
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(known) if known.is_dir() => bytes_of(&entry.path()),
        Ok(known) => known.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

fn largest(sizes: &[Sizes], of: impl Fn(&Sizes) -> f64) -> f64 {
    sizes.iter().map(of).fold(0.0, f64::max)
}

fn mean(sizes: &[Sizes], of: impl Fn(&Sizes) -> f64) -> f64 {
    sizes.iter().map(of).sum::<f64>() / sizes.len() as f64
}

/// Looks at davy until the time is over; a line a minute.
fn watch(davy: &Server, folder: &Path, sending: &Sending, time: Duration) -> Vec<Sizes> {
    let begun = Instant::now();
    let mut all: Vec<Sizes> = Vec::new();
    let mut told = 0;
    while begun.elapsed() < time {
        std::thread::sleep(LOOKED_AT_EVERY);
        let sizes = Sizes {
            at: begun.elapsed(),
            memory_mib: davy.memory_mib("VmRSS"),
            disk_mib: bytes_of(&folder.join("store")) as f64 / f64::from(1 << 20),
        };
        all.push(sizes);
        let minute = sizes.at.as_secs() / 60;
        if minute > told {
            told = minute;
            let since = all.len() - (60 / LOOKED_AT_EVERY.as_secs() as usize).min(all.len());
            println!(
                "  minute {minute:3}: memory {:6.1} MiB (most {:6.1}), files most {:6.1} MiB, {:8.2} M samples",
                mean(&all[since..], |sizes| sizes.memory_mib),
                largest(&all[since..], |sizes| sizes.memory_mib),
                largest(&all[since..], |sizes| sizes.disk_mib),
                sending.sent.load(Ordering::Relaxed) as f64 / 1e6,
            );
        }
    }
    all
}

/// The whole of it.
pub fn run(minutes: usize, verdicts: &mut Verdicts) {
    let time = Duration::from_secs(minutes as u64 * 60);
    let folder = tempfile::tempdir().expect("a folder");
    let davy = start(folder.path());
    let sending = Sending {
        port: davy.port,
        origin: now() - 1,
        rate: AtomicU64::new(0),
        sent: AtomicU64::new(0),
        turned_away: AtomicU64::new(0),
        is_over: AtomicBool::new(false),
    };
    let (sizes, ended) = std::thread::scope(|scope| {
        for half in [0, 1] {
            let sending = &sending;
            scope.spawn(move || send(sending, half));
        }
        let judging = scope.spawn(|| judge(&sending, &davy));
        // Until each service has an analysis.
        std::thread::sleep(HORIZON);
        let before = sending.sent.load(Ordering::Relaxed);
        std::thread::sleep(SATURATED_FOR);
        let limit =
            (sending.sent.load(Ordering::Relaxed) - before) as f64 / SATURATED_FOR.as_secs_f64();
        sending.rate.store(limit as u64 / 2, Ordering::Relaxed);
        println!(
            "soak: {minutes} minutes after {} of warm-up, {:.2} M samples a second, half of {:.2}",
            WARM_UP.as_secs() / 60,
            limit / 2e6,
            limit / 1e6
        );
        let sizes = watch(&davy, folder.path(), &sending, WARM_UP + time);
        sending.is_over.store(true, Ordering::Relaxed);
        (sizes, judging.join().expect("analyses end"))
    });
    tell(&davy, &sending, &sizes, ended, verdicts);
}

fn tell(davy: &Server, sending: &Sending, sizes: &[Sizes], ended: u64, verdicts: &mut Verdicts) {
    let sent = sending.sent.load(Ordering::Relaxed);
    let outcomes = ["accepted", "unmatched", "late", "duplicate", "refused"];
    let counts =
        outcomes.map(|outcome| davy.counter(&format!("davy_samples_total{{outcome={outcome:?}}}")));
    println!(
        "  {ended} analyses ended; {sent} samples sent, {outcomes:?} {counts:?}; {} requests were turned away and sent again",
        sending.turned_away.load(Ordering::Relaxed)
    );
    println!(
        "    every sample counted: {}",
        verdicts.word(counts.iter().sum::<u64>() == sent)
    );
    let after: Vec<Sizes> = sizes
        .iter()
        .copied()
        .filter(|one| one.at > WARM_UP)
        .collect();
    let window = after.len().div_ceil(4);
    let (first, last) = (&after[..window], &after[after.len() - window..]);
    let memory = mean(last, |one| one.memory_mib) / mean(first, |one| one.memory_mib);
    let disk = largest(last, |one| one.disk_mib) / largest(first, |one| one.disk_mib);
    for (name, growth) in [("memory, mean", memory), ("files, largest", disk)] {
        println!(
            "    {name}: the last quarter is {growth:.3} of the first, bound {GROWTH_MAX}: {}",
            verdicts.word(growth <= GROWTH_MAX)
        );
    }
}
