//! What a sample costs in each format.
//!
//! Owns the modes with their bounds, and how one run is made. Next: `growth`, which varies it.

use std::time::{Duration, SystemTime};

use super::client;
use super::common::Verdicts;
use super::server::{Kind, Server};
use super::wire::{Form, Lanes, Load};

/// Series of the load.
pub const SERIES: usize = 1_000;
/// Connections that send it.
pub const CONNECTIONS: usize = 2;
/// Milliseconds between two points of a series: a hundred of them make a tick.
pub const STEP: i64 = 1;
/// The plan's tick and lateness, and how long an idle stream is waited for, in milliseconds.
const TICK: i64 = 100;
const LATENESS: i64 = 6_000;
const IDLE: i64 = 1_000;
/// How long a peer takes at most to put away what it was sent: VictoriaMetrics flushes each second.
const SETTLES_IN: Duration = Duration::from_millis(1_500);
/// Largest resident memory of davy under any of the loads below.
pub const PEAK_MIB_MAX: f64 = 64.0;

/// The plan under which series are counted.
pub const COUNTS: &str = "counts";
/// The plan under which values and increments are compared.
pub const VALUES: &str = "values";
/// As the first, with the ticks of a plan as people write it.
const SLOW: &str = "slow";
/// As the first, for work that takes longer than its samples' time.
const PATIENT: &str = "patient";
/// As that, with a look a second: where a look costs a commit, ten a second would be counted as samples.
const UNHURRIED: &str = "unhurried";
const PATIENCE: i64 = 24_000;

/// One format, and what it is compared with.
pub struct Mode {
    pub name: &'static str,
    title: &'static str,
    form: Form,
    samples: usize,
    /// Whom it is compared with, in which form, and the largest ratio of davy's cost to theirs.
    peers: &'static [(Kind, Form, f64)],
}

/// All of them.
pub const MODES: [Mode; 6] = [
    Mode {
        name: "rw_a",
        title: "remote-write, one sample a series",
        form: Form::Write,
        samples: 2_000_000,
        peers: &[
            (Kind::VictoriaMetrics, Form::Write, 1.0 / 2.5),
            (Kind::Prometheus, Form::Write, 1.0 / 8.0),
        ],
    },
    Mode {
        name: "rw_b",
        title: "remote-write, ten series of a hundred samples",
        form: Form::WriteBatches,
        samples: 8_000_000,
        peers: &[
            (Kind::VictoriaMetrics, Form::WriteBatches, 1.0 / 5.0),
            (Kind::Prometheus, Form::WriteBatches, 1.0 / 5.0),
        ],
    },
    Mode {
        name: "openmetrics",
        title: "OpenMetrics text",
        form: Form::OpenMetrics,
        samples: 2_000_000,
        peers: &[
            (Kind::Reference, Form::OpenMetrics, 2.0),
            (Kind::VictoriaMetrics, Form::PrometheusText, 1.0 / 3.0),
        ],
    },
    Mode {
        name: "otlp",
        title: "OTLP, ten points a resource",
        form: Form::Otlp,
        samples: 2_000_000,
        peers: &[(Kind::Reference, Form::Otlp, 2.0)],
    },
    Mode {
        name: "json",
        title: "JSON, a hundred values a sample",
        form: Form::Json,
        samples: 8_000_000,
        peers: &[(Kind::Reference, Form::Json, 2.0)],
    },
    Mode {
        name: "ndjson",
        title: "NDJSON, a latency or an increment a line",
        form: Form::Ndjson,
        samples: 2_000_000,
        peers: &[(Kind::Reference, Form::Ndjson, 2.0)],
    },
];

/// What one run came to.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// CPU seconds of the server a million samples.
    pub cpu: f64,
    /// Millions of samples a second of the wall's time while it was sent.
    pub rate: f64,
    pub peak_mib: f64,
}

/// How a run is made, beside its load.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Analyses that ask for the series.
    pub analyses: usize,
    /// Analyses that ask for other series.
    pub others: usize,
    /// Whether ticks are kept open for work that takes longer than its samples' time.
    pub is_patient: bool,
    /// Whether samples are on the disk before they are acknowledged.
    pub is_durable: bool,
    /// Whether a tick takes a second.
    pub is_unhurried: bool,
}

impl Default for Setting {
    fn default() -> Setting {
        Setting {
            analyses: 1,
            others: 0,
            is_patient: false,
            is_durable: false,
            is_unhurried: false,
        }
    }
}

/// All plans, as files.
pub fn write_plans(folder: &std::path::Path) {
    let head = |name: &str| {
        format!(
            "version: davy/v1
plan: {name}
horizon: 100s
tick: {TICK}ms
lateness: {LATENESS}ms
min_duration: 90s
stop_on_pass: false
arms:
  baseline: 'job=\"{{{{job}}}}\", service_version=\"v1.14.2\"'
  canary: 'job=\"{{{{job}}}}\", service_version=\"v1.15.0\"'
metrics:
"
        )
    };
    let counts = "  errors:
    kind: ratio
    from: counter
    bad: 'http_requests_total{code=~\"5..\"}'
    total: 'http_requests_total'
checks:
  - {compare: errors, tolerance: {relative: 50%, absolute: 1pp}}
";
    let values = "  latency: {kind: latency, value_unit: ms, select: request_duration_ms}
  errors:
    kind: ratio
    from: increments
    bad: 'http_requests{code=~\"5..\"}'
    total: 'http_requests'
checks:
  - {compare: latency, tolerance: 20%}
  - {compare: errors, tolerance: {relative: 50%, absolute: 1pp}}
";
    let all = [
        (COUNTS, counts),
        (VALUES, values),
        (SLOW, counts),
        (PATIENT, counts),
        (UNHURRIED, counts),
    ];
    for (name, rest) in all {
        let mut text = format!("{}{rest}", head(name));
        if name == SLOW {
            text = text.replace("horizon: 100s", "horizon: 1h");
            text = text.replace(&format!("tick: {TICK}ms"), "tick: 15s");
        }
        if name == UNHURRIED {
            text = text.replace(&format!("tick: {TICK}ms"), "tick: 1s");
        }
        if name == PATIENT || name == UNHURRIED {
            let lateness = |millis: i64| format!("lateness: {millis}ms");
            text = text.replace(&lateness(LATENESS), &lateness(PATIENCE));
        }
        std::fs::write(folder.join(format!("{name}.yaml")), text).expect("written");
    }
}

/// Unix milliseconds.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}

/// A load whose first sample is of a time that has not come yet when all bodies are made, and they.
pub fn make(mut load: Load) -> (Load, Lanes) {
    let mut ahead = 1_500 + load.samples() as i64 / 1_000;
    loop {
        load.origin = now() + ahead;
        let lanes = load.lanes();
        if now() + 200 < load.origin {
            return (load, lanes);
        }
        ahead *= 2;
    }
}

/// One run of davy, and what it took.
pub fn run_davy(load: Load, setting: Setting) -> Figures {
    let folder = tempfile::tempdir().expect("a folder");
    write_plans(folder.path());
    let (load, lanes) = make(load);
    let plan = match load.form {
        Form::Json | Form::Ndjson => VALUES,
        _ if setting.is_unhurried => UNHURRIED,
        _ if setting.is_patient => PATIENT,
        _ => COUNTS,
    };
    let lateness = if setting.is_patient {
        PATIENCE
    } else {
        LATENESS
    };
    let store = format!("store.path={}/store", folder.path().display());
    let more = ["--set".to_owned(), store];
    let more = if setting.is_durable { &more[..] } else { &[] };
    let davy = Server::start_with(Kind::Davy, folder.path(), more);
    for number in 0..setting.others {
        davy.analyse(SLOW, &format!("other-{number}"));
    }
    for _ in 0..setting.analyses {
        davy.analyse(plan, "shop");
    }
    sleep_until(load.origin);
    let before = davy.cpu_secs();
    let wall = client::send(davy.port, Kind::Davy.door(load.form), &lanes);
    // Until the last tick has closed, by the clock.
    sleep_until(load.last() + 1_000 + lateness + IDLE + 600);
    let used = davy.cpu_secs() - before;
    check_taken(&davy, &load, setting);
    let samples = load.samples() as f64 / 1e6;
    Figures {
        cpu: used / samples,
        rate: samples / wall,
        peak_mib: davy.memory_mib("VmHWM"),
    }
}

fn check_taken(davy: &Server, load: &Load, setting: Setting) {
    let items = load.items() as u64;
    if setting.analyses == 0 {
        let unmatched = davy.counter("davy_samples_total{outcome=\"unmatched\"}");
        assert_eq!(unmatched, items, "all of them are nobody's");
        return;
    }
    let outcomes = ["late", "refused", "duplicate", "unmatched"];
    let lost = outcomes.map(|outcome| {
        let name = format!("davy_samples_total{{outcome={outcome:?}}}");
        davy.counter(&name)
    });
    assert_eq!(davy.taken(0), items, "not taken: {outcomes:?} {lost:?}");
    let looks = davy.counter("davy_looks_total");
    let tick = if setting.is_unhurried { 1_000 } else { TICK };
    let ticks = (load.last() - load.origin) / tick;
    let least = ticks as u64 * setting.analyses as u64;
    assert!(looks >= least, "{looks} looks of at least {least}");
}

pub fn sleep_until(at: i64) {
    let left = u64::try_from(at - now()).unwrap_or(0);
    std::thread::sleep(Duration::from_millis(left));
}

/// One run of a peer on bodies that are made.
pub fn run_peer(kind: Kind, load: Load, lanes: &Lanes) -> Figures {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(kind, folder.path());
    let before = server.cpu_secs();
    let wall = client::send(server.port, kind.door(load.form), lanes);
    if kind != Kind::Reference {
        std::thread::sleep(SETTLES_IN);
    }
    let used = server.cpu_secs() - before;
    if kind != Kind::Reference {
        let wanted = load.samples() as u64;
        let taken = (0..20).find_map(|_| {
            let taken = server.taken(load.last());
            if taken != wanted {
                std::thread::sleep(SETTLES_IN);
            }
            (taken == wanted).then_some(taken)
        });
        assert!(taken.is_some(), "{} lost some of {wanted}", kind.name());
    }
    let samples = load.samples() as f64 / 1e6;
    Figures {
        cpu: used / samples,
        rate: samples / wall,
        peak_mib: server.memory_mib("VmHWM"),
    }
}

/// Figures of several runs.
#[derive(Debug, Default)]
pub struct Runs(Vec<Figures>);

impl Runs {
    pub fn push(&mut self, figures: Figures) {
        self.0.push(figures);
    }

    /// The median of a figure, its smallest and its largest.
    fn spread(&self, of: impl Fn(&Figures) -> f64) -> [f64; 3] {
        let mut all: Vec<f64> = self.0.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        [all[all.len() / 2], all[0], all[all.len() - 1]]
    }

    pub fn cpu(&self) -> f64 {
        self.spread(|figures| figures.cpu)[0]
    }

    /// The largest of the peaks.
    pub fn peak_mib(&self) -> f64 {
        self.spread(|figures| figures.peak_mib)[2]
    }

    pub fn print(&self, name: &str) {
        let [cpu, least, most] = self.spread(|figures| figures.cpu);
        let [rate, ..] = self.spread(|figures| figures.rate);
        let peak = self.peak_mib();
        println!(
            "  {name:16} {cpu:7.3} ({least:.3} to {most:.3}) CPU s a million, {rate:6.2} M/s, peak {peak:6.1} MiB"
        );
    }
}

/// Runs a mode and prints its bounds.
pub fn run(mode: &Mode, runs: usize, samples: usize, verdicts: &mut Verdicts) {
    let samples = if samples > 0 { samples } else { mode.samples };
    let load = Load {
        form: mode.form,
        series: SERIES,
        passes: (samples / SERIES).next_multiple_of(100),
        step: STEP,
        origin: 0,
        job: "shop",
        connections: CONNECTIONS,
    };
    println!("{}: {}, {} samples", mode.name, mode.title, load.samples());
    let mut davy = Runs::default();
    let mut peers: Vec<Runs> = mode.peers.iter().map(|_| Runs::default()).collect();
    for _ in 0..runs {
        davy.push(run_davy(load, Setting::default()));
        for ((kind, form, _), runs) in mode.peers.iter().zip(&mut peers) {
            let (load, lanes) = make(Load {
                form: *form,
                ..load
            });
            runs.push(run_peer(*kind, load, &lanes));
        }
    }
    davy.print("davy");
    for ((kind, _, ratio_max), peer) in mode.peers.iter().zip(&peers) {
        peer.print(kind.name());
        let ratio = davy.cpu() / peer.cpu();
        println!(
            "    davy / {}: {ratio:.3}, bound {ratio_max:.3}: {}",
            kind.name(),
            verdicts.word(ratio <= *ratio_max)
        );
        if *kind == Kind::VictoriaMetrics {
            let (own, theirs) = (davy.peak_mib(), peer.peak_mib());
            println!(
                "    peak {own:.1} of {theirs:.1} MiB, bound half of it: {}",
                verdicts.word(own < theirs / 2.0)
            );
        }
    }
    let peak = davy.peak_mib();
    println!(
        "    peak {peak:.1} MiB, bound {PEAK_MIB_MAX}: {}",
        verdicts.word(peak <= PEAK_MIB_MAX)
    );
}
