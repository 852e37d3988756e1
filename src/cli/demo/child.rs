//! The demo's processes: started, waited for until they are ready, and ended by id.
//!
//! Owns one child process each. It must not know what a child does: who starts it says how its
//! ready line looks.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, anyhow};

/// How long a child may take until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// Lines of a child's output that are kept for an error message.
const LINES_KEPT: usize = 20;

/// A running child process; dropping it ends the process and waits for its end.
#[derive(Debug)]
pub struct ChildProcess {
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
    // Held open: the demo's services end when it closes, however this process ended.
    _stdin: Option<ChildStdin>,
}

impl ChildProcess {
    /// Starts this program's own executable with other arguments and waits until `ready` finds an
    /// address in a line of its output. `name` is for messages.
    ///
    /// # Errors
    /// When it cannot be started, ends early, or is not ready in 20 s; with its last lines.
    pub fn start(
        name: &str,
        arguments: &[OsString],
        ready: fn(&str) -> Option<SocketAddr>,
    ) -> anyhow::Result<ChildProcess> {
        let program = std::env::current_exe().context("this program's own path")?;
        let mut command = Command::new(program);
        // The demo is the same whatever daemon this shell is set up for.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("DAVY_") {
                command.env_remove(name);
            }
        }
        let mut child = command
            .args(arguments)
            // A Ctrl-C is for the demo, which then ends its processes; not for all at once.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{name} cannot be started"))?;
        let stdin = child.stdin.take();
        let (found, address) = mpsc::channel();
        let lines = Arc::new(Mutex::new(VecDeque::new()));
        // Both pipes are read to their end, so that the child never blocks on a full one.
        if let Some(stdout) = child.stdout.take() {
            follow(stdout, ready, found.clone(), lines.clone());
        }
        if let Some(stderr) = child.stderr.take() {
            follow(stderr, ready, found, lines.clone());
        }
        // From here on the process is ended by `Drop`, also when it is not ready in time.
        let mut process = ChildProcess {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            child,
            _stdin: stdin,
        };
        process.address = address.recv_timeout(READY_WITHIN).map_err(|error| {
            let what = match error {
                RecvTimeoutError::Timeout => "was not ready in time",
                RecvTimeoutError::Disconnected => "ended before it was ready",
            };
            let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
            let last: Vec<&str> = lines.iter().map(String::as_str).collect();
            anyhow!("{name} {what}; its last lines:\n{}", last.join("\n"))
        })?;
        Ok(process)
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn follow(
    pipe: impl Read + Send + 'static,
    ready: fn(&str) -> Option<SocketAddr>,
    found: Sender<SocketAddr>,
    kept: Arc<Mutex<VecDeque<String>>>,
) {
    std::thread::spawn(move || {
        let mut found = Some(found);
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if let Some(address) = ready(&line)
                && let Some(found) = found.take()
            {
                let _ = found.send(address);
            }
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() == LINES_KEPT {
                kept.pop_front();
            }
            kept.push_back(line);
        }
    });
}
