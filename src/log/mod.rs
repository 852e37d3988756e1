//! The sample log: every input that changed something, on the disk before it is acknowledged.
//!
//! Owns what is promised of it. A frame ([`crate::engine::journal`]) is appended in the order the
//! machine took its input, and has a number; a [`Ticket`] tells when it is safe. It must not know what
//! a frame says. Next: [`local`], the log in a folder.

pub mod frame;
pub mod local;

use std::sync::Arc;

use tokio::sync::watch;

/// How far the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Every frame up to this number is safe.
    Safe(u64),
    /// Nothing more will be: what was written may or may not be on the disk.
    Failed,
}

/// What happened to the log: nothing that was not safe before will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sample log failed")]
pub struct LogFailed;

/// Waits for a frame to be safe.
#[derive(Clone)]
pub struct Ticket {
    number: u64,
    progress: watch::Receiver<Progress>,
    hurry: Arc<dyn Hurry>,
}

/// Who writes, and can be asked to do so now.
pub(crate) trait Hurry: Send + Sync {
    /// Writes what was appended, whatever was to be waited for.
    fn hurry(&self);
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ticket({})", self.number)
    }
}

// === impl Ticket ===

impl Ticket {
    pub(crate) fn new(
        number: u64,
        progress: watch::Receiver<Progress>,
        hurry: Arc<dyn Hurry>,
    ) -> Ticket {
        Ticket {
            number,
            progress,
            hurry,
        }
    }

    /// Number of the frame.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Waits until the frame and all before it are on the disk.
    ///
    /// # Errors
    /// [`LogFailed`].
    pub async fn safe(mut self) -> Result<(), LogFailed> {
        let number = self.number;
        let reached = |progress: &Progress| match progress {
            Progress::Safe(safe) => *safe >= number,
            Progress::Failed => true,
        };
        self.hurry.hurry();
        match self.progress.wait_for(reached).await.as_deref() {
            Ok(Progress::Safe(_)) => Ok(()),
            // Who writes is gone, or gave up.
            Ok(Progress::Failed) | Err(_) => Err(LogFailed),
        }
    }
}
