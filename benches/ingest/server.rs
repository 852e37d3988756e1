//! The servers: davy, its peers and the reference, each in a process and a folder of its own.
//!
//! Owns how they are started, watched and ended. Nothing outlives the bench.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::client::{self, Connection, Door};
use super::wire::{COUNTED, Form};

/// How long a server may take to come up, and to end.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often somebody asks whether it is up.
const ASKED_EVERY: Duration = Duration::from_micros(500);
/// Ticks of /proc/PID/stat a second, as the kernel gives them to every process.
const TICKS_PER_SECOND: f64 = 100.0;

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Davy,
    VictoriaMetrics,
    Prometheus,
    /// Reads bodies and does nothing with them.
    Reference,
}

/// A server that runs.
pub struct Server {
    pub kind: Kind,
    pub port: u16,
    child: Child,
    /// From the start of the process to its first answer.
    pub start_secs: f64,
}

// === impl Kind ===

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Davy => "davy",
            Kind::VictoriaMetrics => "VictoriaMetrics",
            Kind::Prometheus => "Prometheus",
            Kind::Reference => "reading alone",
        }
    }

    /// Where a form is sent.
    pub fn door(self, form: Form) -> Door {
        const WRITE: &str = "content-type: application/x-protobuf\r\ncontent-encoding: snappy\r\nx-prometheus-remote-write-version: 0.1.0\r\n";
        const OPEN: &str = "content-type: application/openmetrics-text; version=1.0.0\r\n";
        let (path, headers) = match (form, self) {
            (Form::Write | Form::WriteBatches, _) => ("/api/v1/write", WRITE),
            (Form::OpenMetrics, Kind::Reference) => ("/text", OPEN),
            (Form::OpenMetrics, _) => ("/v1/exposition", OPEN),
            (Form::PrometheusText, _) => {
                ("/api/v1/import/prometheus", "content-type: text/plain\r\n")
            }
            (Form::Otlp, Kind::Reference) => ("/otlp", "content-type: application/x-protobuf\r\n"),
            (Form::Otlp, _) => ("/v1/metrics", "content-type: application/x-protobuf\r\n"),
            (Form::Json, Kind::Reference) => ("/json", "content-type: application/json\r\n"),
            (Form::Json, _) => ("/v1/samples", "content-type: application/json\r\n"),
            (Form::Ndjson, Kind::Reference) => {
                ("/ndjson", "content-type: application/x-ndjson\r\n")
            }
            (Form::Ndjson, _) => ("/v1/samples", "content-type: application/x-ndjson\r\n"),
        };
        Door { path, headers }
    }

    fn command(self, folder: &Path, port: u16) -> Command {
        let shown = folder.display();
        match self {
            Kind::Davy => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_davy"));
                let plans = format!("plans.directory={shown}");
                command.args(["serve", "--set", &plans, "--set", "log.filter=warn"]);
                command.args(["--set", &format!("server.port={port}")]);
                command
            }
            Kind::VictoriaMetrics => {
                let mut command = Command::new("/usr/bin/victoria-metrics");
                command.arg(format!("-storageDataPath={shown}"));
                command.arg(format!("-httpListenAddr=127.0.0.1:{port}"));
                // Asked for counts of what was written just now, and of times a little ahead.
                command.args(["-loggerLevel=ERROR", "-search.latencyOffset=0s"]);
                command
            }
            Kind::Prometheus => {
                let mut command = Command::new("/usr/bin/prometheus");
                let config = folder.join("prometheus.yml");
                std::fs::write(&config, "global: {}\n").expect("written");
                command.arg(format!("--config.file={}", config.display()));
                command.arg(format!("--storage.tsdb.path={shown}/data"));
                command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
                command.args(["--web.enable-remote-write-receiver", "--log.level=error"]);
                command
            }
            Kind::Reference => {
                let this = std::env::current_exe().expect("a program");
                let mut command = Command::new(this);
                command.arg(format!("reference={port}"));
                command
            }
        }
    }

    fn ready_path(self) -> &'static str {
        match self {
            Kind::Davy => "/readyz",
            Kind::VictoriaMetrics => "/health",
            Kind::Prometheus => "/-/ready",
            Kind::Reference => "/trivial",
        }
    }
}

// === impl Server ===

impl Server {
    /// Starts one on what lies in the folder, and waits until it answers.
    pub fn start(kind: Kind, folder: &Path) -> Server {
        Server::start_with(kind, folder, &[])
    }

    /// As `start`, with more arguments.
    pub fn start_with(kind: Kind, folder: &Path, more: &[String]) -> Server {
        let port = free_port();
        let mut command = kind.command(folder, port);
        command.args(more);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        // What stands in the environment of who runs this is no configuration of davy's.
        command.env_clear().env("PATH", "/usr/bin:/bin");
        let begun = Instant::now();
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error} (make bench installs it)", kind.name()));
        let mut server = Server {
            kind,
            port,
            child,
            start_secs: 0.0,
        };
        while !server.is_ready() {
            assert!(
                begun.elapsed() < PATIENCE,
                "{} does not come up",
                kind.name()
            );
            std::thread::sleep(ASKED_EVERY);
        }
        server.start_secs = begun.elapsed().as_secs_f64();
        server
    }

    fn is_ready(&self) -> bool {
        let Some(mut connection) = Connection::try_open(self.port) else {
            return false;
        };
        let answer = connection.try_get(self.kind.ready_path());
        answer.is_ok_and(|answer| answer.status == 200)
    }

    /// CPU seconds of the process so far.
    pub fn cpu_secs(&self) -> f64 {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = std::fs::read_to_string(path).expect("it runs");
        let behind_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let fields: Vec<&str> = behind_name.split(' ').collect();
        let ticks: f64 = fields[11..13]
            .iter()
            .map(|ticks| ticks.parse::<f64>().expect("a number"))
            .sum();
        ticks / TICKS_PER_SECOND
    }

    /// A memory figure of the process, MiB: `VmHWM`, its largest; `VmRSS`, what it takes now.
    pub fn memory_mib(&self, figure: &str) -> f64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("it runs");
        let line = status.lines().find(|line| line.starts_with(figure));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        kib.and_then(|kib| kib.parse::<f64>().ok())
            .map_or(f64::NAN, |kib| kib / 1024.0)
    }

    /// How many samples it says it took.
    pub fn taken(&self, until: i64) -> u64 {
        if self.kind == Kind::Davy {
            return self.counter("davy_samples_total{outcome=\"accepted\"}");
        }
        let until = until / 1_000 + 1;
        let count = format!("sum(count_over_time({COUNTED}[1h]))");
        let path = format!("/api/v1/query?query={count}&time={until}&nocache=1");
        let answer = client::get(self.port, &path);
        let number = answer.rsplit_once("\"]").map_or("", |(before, _)| before);
        let number = number.rsplit_once('"').map_or("0", |(_, number)| number);
        number.parse().unwrap_or(0)
    }

    /// One of davy's counters.
    pub fn counter(&self, name: &str) -> u64 {
        let metrics = client::get(self.port, "/metrics");
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|value| value.trim().parse().ok())
            .unwrap_or(0)
    }

    /// Starts an analysis of a job's series on a plan; its id.
    pub fn analyse(&self, plan: &str, job: &str) -> String {
        let body = format!("{{\"plan\":{plan:?},\"arms\":{{\"job\":{job:?}}}}}");
        let door = Door {
            path: "/v1/analyses",
            headers: "content-type: application/json\r\n",
        };
        let answer = Connection::open(self.port).post(door, body.as_bytes());
        let text = answer.text();
        assert_eq!(answer.status, 201, "{text}");
        let started: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        started["id"].as_str().expect("an id").to_owned()
    }

    /// Asks it to end and waits until it has, so that what it holds is on disk.
    pub fn end(mut self) {
        let id = self.child.id().to_string();
        let _ = Command::new("kill").args(["-INT", &id]).status();
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("bound").port()
}
