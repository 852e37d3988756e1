//! The certificate and key of davy's own listener, read at the start and whenever they change.
//!
//! Owns what is done with what they say, and what is said of it. What they must hold is
//! [`crate::tls`]'s, when they are read [`super::rereading`]'s.

use std::sync::Arc;

use anyhow::anyhow;

use super::rereading::{Mark, Rereading, Watched};
use crate::clock::Clock;
use crate::config::daemon::Server;
use crate::config::listening::ServerTls;
use crate::telemetry::Metrics;
use crate::tls::{self, Listener, Loaded};

/// Gives the listener the certificate of the files.
struct CertificateKeeper {
    settings: ServerTls,
    listener: Arc<Listener>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

/// What the listener answers with, looked after; `None` where it speaks HTTP as it is.
///
/// # Errors
/// When the files cannot be used.
pub(super) fn build(
    server: &Server,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<Metrics>,
    rereading: &mut Rereading,
) -> anyhow::Result<Option<Arc<Listener>>> {
    let Some(settings) = &server.tls else {
        return Ok(None);
    };
    let loaded = tls::load(settings, clock.now())
        .map_err(|fault| anyhow!("server.tls cannot be used: {fault}"))?;
    let listener = Arc::new(Listener::new(&loaded, settings));
    let mut keeper = CertificateKeeper {
        settings: settings.clone(),
        listener: listener.clone(),
        clock: clock.clone(),
        metrics: metrics.clone(),
    };
    for reason in tls::FAILURES {
        // There from the beginning, so that the first is an increase.
        metrics.tls.handshakes_failed.with_label_values(&[reason]);
    }
    let mark = mark(&loaded);
    keeper.take(loaded);
    rereading.add(keeper, mark);
    Ok(Some(listener))
}

fn mark(loaded: &Loaded) -> Mark {
    Mark::of(loaded.bytes.iter().map(Vec::as_slice))
}

// === impl CertificateKeeper ===

impl Watched for CertificateKeeper {
    type Said = Loaded;

    fn read(&self) -> Result<(Mark, Loaded), String> {
        let loaded = tls::load(&self.settings, self.clock.now())?;
        Ok((mark(&loaded), loaded))
    }

    fn take(&mut self, loaded: Loaded) {
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let expires = i64::try_from(loaded.expires).unwrap_or(i64::MAX);
        let file = self.settings.certificate_file.display();
        let asks_clients = self.settings.asked_of_clients().is_some();
        tracing::info!(%file, expires, asks_clients, "certificate loaded");
        self.metrics.tls.certificate_expires.set(expires);
        self.listener.replace(&loaded);
    }

    fn complain(&self, error: &str) {
        self.metrics.tls.reload_failures.inc();
        tracing::error!(
            error,
            "the files of server.tls cannot be used; those before stay"
        );
    }
}
