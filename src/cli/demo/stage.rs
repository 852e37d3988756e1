//! Sets the demo's stage: its services, its daemon, its controller, and what each is told.
//!
//! Owns the numbers of the play: how much work a request is, what the bad canary does. It must not
//! run anything to an end. Next: [`super::run`], the play itself.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use uuid::Uuid;

use super::child::ChildProcess;
use super::client::DavyClient;
use super::controller::{Controller, Key};
use super::load::{ITEMS_MEAN, Load, Targets, Traffic};
use super::service;

/// The demo's plan.
pub const PLAN: &str = include_str!("../../../config/plans/demo.yaml");

/// Share of the traffic at the canary. Both arms get the same: a process with less to do is slower
/// Bytes of the webhooks' secret.
const SECRET_BYTES: usize = 32;
/// per request (colder caches, deeper sleep), and that would be no effect of the version.
const CANARY_PERCENT: u8 = 50;
/// Work of an average request, of one core: several times what sending and receiving it costs.
const WORK_PER_REQUEST: Duration = Duration::from_micros(1_000);
/// The bad canary: this share of requests ...
const BAD_SLOW_PERCENT: u8 = 80;
/// ... costs this many times the work.
const BAD_SLOW_FACTOR: u32 = 8;

/// Everything that runs.
pub struct Stage {
    /// The way to the daemon.
    pub davy: DavyClient,
    /// Who hears the verdict.
    pub controller: Controller,
    /// What the controller moves and the load obeys.
    pub traffic: Arc<Traffic>,
    /// The load, not yet running.
    pub load: Load,
    /// The processes; they end when this is dropped.
    pub processes: Processes,
}

/// The demo's processes and the files of the daemon.
pub struct Processes {
    /// The baseline's service.
    pub baseline: ChildProcess,
    /// The canary's service.
    pub canary: ChildProcess,
    /// The daemon.
    pub davy: ChildProcess,
    _folder: Folder,
}

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

/// Starts everything.
///
/// # Errors
/// When a process does not start, or a file cannot be written.
pub async fn set_up(healthy: bool) -> anyhow::Result<Stage> {
    let folder = Folder::new().context("no folder for the demo's files")?;
    let secret = secret()?;
    let traffic = Arc::new(Traffic::new(CANARY_PERCENT));
    let controller = Controller::start(Key::parse(&secret)?, traffic.clone()).await?;
    write_daemon_files(&folder.0, &secret, controller.address)?;
    let config = folder.0.join("davy.toml");
    let work = || (service::rounds_taking(WORK_PER_REQUEST) / ITEMS_MEAN).max(1);
    // Starting waits for the children: not on a thread that answers requests.
    let processes =
        tokio::task::spawn_blocking(move || start_all(folder, &config, healthy, work()));
    let processes = processes.await.context("starting broke")??;
    let davy = DavyClient::new(processes.davy.address)?;
    let targets = Targets {
        baseline: format!("http://{}/quote", processes.baseline.address),
        canary: format!("http://{}/quote", processes.canary.address),
    };
    let load = Load::new(targets, traffic.clone())?;
    Ok(Stage {
        davy,
        controller,
        traffic,
        load,
        processes,
    })
}

/// What the canary is, in words.
pub fn canary_words(healthy: bool) -> &'static str {
    match healthy {
        true => "  the canary does the same work as the baseline",
        false => "  the canary does 8 times the work for 80 % of its requests",
    }
}

/// The request that starts the analysis.
pub fn start_request(healthy: bool) -> Value {
    let revision = if healthy { "v2-healthy" } else { "v2-slow" };
    json!({
        "plan": "demo",
        "change": {"id": format!("demo-{revision}"), "revision": revision, "service": "quotes"},
    })
}

fn start_all(
    folder: Folder,
    config: &Path,
    healthy: bool,
    rounds_per_item: u32,
) -> anyhow::Result<Processes> {
    let (slow_percent, slow_factor) = match healthy {
        true => (0, 1),
        false => (BAD_SLOW_PERCENT, BAD_SLOW_FACTOR),
    };
    let davy = ["serve".into(), "--config".into(), config.into()];
    let good = service_arguments(rounds_per_item, 0, 1);
    let canary = service_arguments(rounds_per_item, slow_percent, slow_factor);
    Ok(Processes {
        davy: ChildProcess::start("davy serve", &davy, daemon_address)?,
        baseline: ChildProcess::start("the baseline", &good, service::ready_address)?,
        canary: ChildProcess::start("the canary", &canary, service::ready_address)?,
        _folder: folder,
    })
}

fn service_arguments(rounds_per_item: u32, slow_percent: u8, slow_factor: u32) -> Vec<OsString> {
    [
        "demo-service".to_string(),
        format!("--rounds-per-item={rounds_per_item}"),
        format!("--slow-percent={slow_percent}"),
        format!("--slow-factor={slow_factor}"),
    ]
    .map(OsString::from)
    .to_vec()
}

/// A fresh secret from the system's source of chance.
fn secret() -> anyhow::Result<String> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).context("cannot make a secret")?;
    Ok(format!("whsec_{}", STANDARD.encode(bytes)))
}

fn write_daemon_files(folder: &Path, secret: &str, controller: SocketAddr) -> anyhow::Result<()> {
    fs::create_dir(folder.join("plans"))?;
    fs::write(folder.join("plans/demo.yaml"), PLAN)?;
    let secret_file = folder.join("secret");
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&secret_file)?;
    std::io::Write::write_all(&mut file, secret.as_bytes())?;
    let config = daemon_config(folder, &secret_file, controller)?;
    fs::write(folder.join("davy.toml"), config)?;
    Ok(())
}

/// The daemon's configuration, as anybody would write it.
fn daemon_config(
    folder: &Path,
    secret_file: &Path,
    controller: SocketAddr,
) -> anyhow::Result<String> {
    let config = json!({
        "server": {"port": 0, "shutdown_deadline_secs": 1},
        "plans": {"directory": folder.join("plans")},
        "log": {"format": "json"},
        "webhooks": [{
            "name": "controller",
            "url": format!("http://{controller}/davy"),
            "events": ["analysis.started", "verdict.final"],
            "secret_file": secret_file,
        }],
    });
    Ok(toml::to_string(&config)?)
}

/// Finds the address in the daemon's line that says `ready`.
fn daemon_address(line: &str) -> Option<SocketAddr> {
    let entry: Value = serde_json::from_str(line).ok()?;
    let fields = entry.get("fields").unwrap_or(&entry);
    (fields["message"] == "ready").then(|| fields["address"].as_str()?.parse().ok())?
}

// === impl Folder ===

impl Folder {
    fn new() -> std::io::Result<Folder> {
        let name = format!("davy-demo-{}", Uuid::now_v7().simple());
        let path = std::env::temp_dir().join(name);
        // Only its owner may look: it holds the secret.
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind is a few kilobytes in the folder for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::plan_file::parse_plan;

    #[test]
    fn the_plan_is_sound_and_says_what_it_can_tell() {
        let parsed = parse_plan("demo.yaml", PLAN).expect("a plan");
        assert!(parsed.warnings.is_empty(), "{:?}", parsed.warnings);
        assert_eq!(parsed.plan.name, "demo");
        assert!(parsed.plan.alpha <= 0.01);
        assert!(PLAN.contains("One process an arm carries an effect of its own"));
    }

    #[test]
    fn the_bad_canary_is_at_least_twice_as_slow() {
        let slow = f64::from(BAD_SLOW_PERCENT) / 100.0;
        let mean = 1.0 - slow + slow * f64::from(BAD_SLOW_FACTOR);
        assert!(mean >= 2.0, "{mean}");
        // A rank test sees the middle of the distribution: more than half must be slow.
        assert!(slow > 0.5);
        let words = canary_words(false);
        assert!(words.contains(&format!("{BAD_SLOW_FACTOR} times")));
        assert!(words.contains(&format!("{BAD_SLOW_PERCENT} %")));
    }

    #[test]
    fn the_daemons_ready_line_is_read() {
        let line = r#"{"level":"INFO","fields":{"message":"ready","address":"127.0.0.1:4242"}}"#;
        let expected: SocketAddr = "127.0.0.1:4242".parse().expect("an address");
        assert_eq!(daemon_address(line), Some(expected));
        let flat = r#"{"level":"INFO","message":"ready","address":"127.0.0.1:4242"}"#;
        assert_eq!(daemon_address(flat), Some(expected));
        assert_eq!(daemon_address(r#"{"message":"plans loaded"}"#), None);
        assert_eq!(daemon_address("ready"), None);
    }

    #[test]
    fn every_secret_is_fresh_and_a_key() {
        let fresh = || secret().expect("the system has chance");
        assert_ne!(fresh(), fresh());
        assert!(Key::parse(&fresh()).is_ok());
    }
}
