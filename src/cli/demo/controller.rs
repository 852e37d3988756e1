//! The demo's deployment controller: hears davy's final verdict and moves the traffic.
//!
//! Owns the receiving end of a webhook as anybody would write it: check the signature, then act.
//! It must not ask davy anything, nor use davy's own signing code: who receives a webhook has
//! neither. Next: [`super::load`], whose traffic it moves.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::sync::mpsc;

use super::load::Traffic;
use crate::clock::{Clock, SystemClock};

/// How far a notification's time may be from the controller's clock: older ones may be replays.
const AGE_SECS_MAX: i64 = 300;
/// Bytes of a notification.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Notifications that wait to be shown.
const ACTIONS_MAX: usize = 64;

/// What the controller did about one notification.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Action {
    /// Type of the event, such as `verdict.final`.
    pub event: String,
    /// Whether the signature was right; nothing is done about others.
    pub signature_ok: bool,
    /// What the verdict asked for.
    pub decision: Option<String>,
    /// The canary's share before and after, percent, where it was moved.
    pub canary_percent: Option<(u8, u8)>,
}

/// The key of signatures, as its owner gave it to both sides.
#[derive(Clone)]
pub struct Key(Vec<u8>);

/// A running controller.
pub struct Controller {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it does, as it does it.
    pub actions: mpsc::Receiver<Action>,
}

struct Inner {
    key: Key,
    traffic: Arc<Traffic>,
    told: mpsc::Sender<Action>,
}

/// Why a notification is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotBelieved {
    /// A header is missing or unreadable.
    #[error("webhook-id, webhook-timestamp or webhook-signature is missing")]
    Header,
    /// It is too old or from the future.
    #[error("the timestamp is more than five minutes off")]
    Age,
    /// No signature fits.
    #[error("no signature fits")]
    Signature,
}

// === impl Key ===

impl Key {
    /// From `whsec_<base64>`.
    ///
    /// # Errors
    /// When it has another form.
    pub fn parse(text: &str) -> anyhow::Result<Key> {
        let encoded = text.trim().strip_prefix("whsec_");
        let encoded = encoded.context("the secret does not begin with whsec_")?;
        let key = STANDARD.decode(encoded);
        Ok(Key(key.context("the secret is not base64")?))
    }

    /// Checks a notification by the Standard Webhooks specification: HMAC-SHA256 over
    /// `id.timestamp.body`, in base64, after `v1,`; several signatures are separated by spaces.
    ///
    /// # Errors
    /// [`NotBelieved`].
    pub fn verify(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now_secs: i64,
    ) -> Result<(), NotBelieved> {
        let header = |name: &str| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.ok_or(NotBelieved::Header)
        };
        let (id, timestamp) = (header("webhook-id")?, header("webhook-timestamp")?);
        let signatures = header("webhook-signature")?;
        let sent_secs: i64 = timestamp.parse().map_err(|_| NotBelieved::Header)?;
        if now_secs.abs_diff(sent_secs) > AGE_SECS_MAX.unsigned_abs() {
            return Err(NotBelieved::Age);
        }
        let fits = |signature: &str| {
            let given = signature.strip_prefix("v1,");
            let Some(given) = given.and_then(|text| STANDARD.decode(text).ok()) else {
                return false;
            };
            let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else {
                return false;
            };
            mac.update(format!("{id}.{timestamp}.").as_bytes());
            mac.update(body);
            // Compares in constant time.
            mac.verify_slice(&given).is_ok()
        };
        match signatures.split(' ').any(fits) {
            true => Ok(()),
            false => Err(NotBelieved::Signature),
        }
    }
}

// === impl Controller ===

impl Controller {
    /// Listens on a free loopback port for as long as the runtime lives.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(key: Key, traffic: Arc<Traffic>) -> anyhow::Result<Controller> {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (told, actions) = mpsc::channel(ACTIONS_MAX);
        let inner = Arc::new(Inner { key, traffic, told });
        let router = Router::new()
            .route("/davy", post(hear))
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(inner);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Controller { address, actions })
    }
}

async fn hear(State(inner): State<Arc<Inner>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let now_secs = SystemClock.now().millis().div_euclid(1_000);
    let action = act(&inner.key, &inner.traffic, &headers, &body, now_secs);
    let status = match action.signature_ok {
        true => StatusCode::NO_CONTENT,
        false => StatusCode::UNAUTHORIZED,
    };
    // Nobody may be watching any more; what was done is done.
    let _ = inner.told.try_send(action);
    status
}

/// Acts on one notification: a final rollback sends the canary's traffic back, a final promotion
/// gives it all. Hearing the same twice does nothing more.
fn act(key: &Key, traffic: &Traffic, headers: &HeaderMap, body: &[u8], now_secs: i64) -> Action {
    let mut action = Action {
        event: "unknown".into(),
        signature_ok: key.verify(headers, body, now_secs).is_ok(),
        decision: None,
        canary_percent: None,
    };
    let Ok(message) = serde_json::from_slice::<Value>(body) else {
        return action;
    };
    if !action.signature_ok {
        return action;
    }
    if let Some(event) = message["type"].as_str() {
        action.event = event.to_string();
    }
    action.decision = message["data"]["decision"].as_str().map(str::to_string);
    let share = match (action.event.as_str(), action.decision.as_deref()) {
        ("verdict.final", Some("rollback")) => 0,
        ("verdict.final", Some("promote")) => 100,
        _ => return action,
    };
    action.canary_percent = Some((traffic.shift(share), share));
    action
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: i64 = 1_764_000_000;

    fn secret() -> String {
        format!("whsec_{}", STANDARD.encode([9_u8; 32]))
    }

    /// Headers as the specification's own library makes them.
    fn signed(body: &str, at_secs: i64) -> HeaderMap {
        let library = standardwebhooks::Webhook::new(&secret()).expect("a good secret");
        let signature = library
            .sign("msg_1", at_secs, body.as_bytes())
            .expect("signs");
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("webhook-id", "msg_1".to_string()),
            ("webhook-timestamp", at_secs.to_string()),
            ("webhook-signature", format!("v1,AAAA {signature}")),
        ] {
            headers.insert(name, value.parse().expect("a header value"));
        }
        headers
    }

    fn verdict(event: &str, decision: &str) -> String {
        serde_json::json!({"type": event, "data": {"decision": decision}}).to_string()
    }

    #[test]
    fn a_good_signature_is_believed_and_nothing_else() {
        let key = Key::parse(&secret()).expect("a key");
        let body = verdict("verdict.final", "rollback");
        let headers = signed(&body, AT);
        assert_eq!(key.verify(&headers, body.as_bytes(), AT + 300), Ok(()));
        let late = key.verify(&headers, body.as_bytes(), AT + 301);
        assert_eq!(late, Err(NotBelieved::Age));
        let early = key.verify(&headers, body.as_bytes(), AT - 301);
        assert_eq!(early, Err(NotBelieved::Age));
        let changed = key.verify(&headers, b"{}", AT);
        assert_eq!(changed, Err(NotBelieved::Signature));
        let other = Key(vec![8; 32]).verify(&headers, body.as_bytes(), AT);
        assert_eq!(other, Err(NotBelieved::Signature));
        for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            let mut without = headers.clone();
            without.remove(name);
            let missing = key.verify(&without, body.as_bytes(), AT);
            assert_eq!(missing, Err(NotBelieved::Header), "{name}");
        }
    }

    #[test]
    fn the_traffic_moves_on_final_decisions_only() {
        let key = Key::parse(&secret()).expect("a key");
        for (event, decision, after) in [
            ("verdict.final", "rollback", 0),
            ("verdict.final", "promote", 100),
            ("verdict.final", "hold", 50),
            ("verdict.changed", "rollback", 50),
            ("analysis.started", "hold", 50),
        ] {
            let traffic = Traffic::new(50);
            let body = verdict(event, decision);
            let action = act(&key, &traffic, &signed(&body, AT), body.as_bytes(), AT);
            assert!(action.signature_ok);
            assert_eq!(traffic.canary_percent(), after, "{event} {decision}");
            let moved = (after != 50).then_some((50, after));
            assert_eq!(action.canary_percent, moved);
        }
    }

    #[test]
    fn a_forged_rollback_moves_nothing() {
        let key = Key::parse(&secret()).expect("a key");
        let traffic = Traffic::new(50);
        let body = verdict("verdict.final", "rollback");
        let headers = signed(&verdict("verdict.final", "promote"), AT);
        let action = act(&key, &traffic, &headers, body.as_bytes(), AT);
        assert!(!action.signature_ok);
        assert_eq!(action.decision, None);
        assert_eq!(traffic.canary_percent(), 50);
    }
}
