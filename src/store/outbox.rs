//! Ports: notifications that wait, and those that were given up.
//!
//! Owns their shape and what their sender and an operator ask of a store. It must not know what a
//! notification says, nor when one is given up: that is the webhooks'. Next: [`super::memory`],
//! [`super::sql`].

use std::sync::Arc;

use serde::Serialize;

use super::Pending;
use crate::model::Timestamp;

/// Dead letters kept over all endpoints.
pub const DEAD_LETTERS_MAX: usize = 1_000;

/// One notification on its way to one endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Stable over retries and restarts: the receiver may drop a second one.
    pub id: String,
    /// Name of the endpoint.
    pub endpoint: String,
    /// Deliveries of one analysis to one endpoint are sent in order.
    pub analysis: String,
    /// Such as `verdict.final`.
    pub event_type: &'static str,
    /// When the event happened.
    pub at: Timestamp,
    /// From when its age is counted: the event, or its redelivery.
    pub queued_at: Timestamp,
    /// The verdict body, as JSON.
    pub body: Arc<str>,
    /// Attempts made so far, since its redelivery where there was one.
    pub attempts: u32,
    /// Not to be tried before this.
    pub due: Timestamp,
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// The endpoint took it.
    Delivered,
    /// To be tried again.
    Retry {
        /// Not before this.
        due: Timestamp,
    },
    /// Given up.
    Dead {
        /// Why, for the operator.
        error: String,
        /// When.
        at: Timestamp,
    },
}

/// A delivery that was given up.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema)]
pub struct DeadLetter {
    /// Id of the delivery.
    pub id: String,
    /// Name of the endpoint.
    pub endpoint: String,
    /// Id of the analysis.
    pub analysis: String,
    /// Such as `verdict.final`.
    pub event_type: &'static str,
    /// Attempts made, since its last redelivery where there was one.
    pub attempts: u32,
    /// Why it was given up.
    pub error: String,
    /// When, unix milliseconds.
    pub at: i64,
}

/// Which dead letters a list holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LetterFilter {
    /// Only those to this endpoint.
    pub endpoint: Option<String>,
    /// Only those given up before the one at this place: [`LetterPage::next`].
    pub before: Option<i64>,
}

/// One page of dead letters.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LetterPage {
    /// Newest first.
    pub letters: Vec<DeadLetter>,
    /// Place of the last one, where others follow. It stays good when letters go.
    pub next: Option<i64>,
}

/// Which dead letters are put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Letters<'l> {
    /// The one of this id.
    One(&'l str),
    /// All to this endpoint.
    To(&'l str),
}

/// What became of dead letters that were to be put back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Redelivery {
    /// Put at the end of their analysis' queue.
    pub queued: usize,
    /// Waiting already, as those are that were put back before.
    pub waiting: usize,
    /// Dead letters still: their endpoint has no room.
    pub refused: usize,
}

// === impl Delivery ===

impl Delivery {
    /// The letter that is kept of it once it is given up.
    pub(super) fn given_up(&self, error: String, at: Timestamp) -> DeadLetter {
        DeadLetter {
            id: self.id.clone(),
            endpoint: self.endpoint.clone(),
            analysis: self.analysis.clone(),
            event_type: self.event_type,
            attempts: self.attempts,
            error,
            at: at.millis(),
        }
    }

    /// The letter of one whose endpoint has so many waiting already.
    pub(super) fn refused(&self, outbox_max: usize) -> DeadLetter {
        let error = format!("{outbox_max} deliveries wait for this endpoint already");
        self.given_up(error, self.at)
    }

    /// The same as it begins anew: what was tried before counts no more.
    pub(super) fn again(self, now: Timestamp) -> Delivery {
        Delivery {
            queued_at: now,
            attempts: 0,
            due: now,
            ..self
        }
    }
}

/// What the webhooks' worker and an operator ask of a store.
pub trait Outbox: Send + Sync {
    /// Takes due deliveries of an endpoint, the first of each analysis only, and leases them: no
    /// other claim sees them until `lease_until`, so a worker that died is made up for. Those due
    /// longest are taken, and told in the order they came.
    fn claim<'s>(
        &'s self,
        endpoint: &'s str,
        now: Timestamp,
        lease_until: Timestamp,
        limit: usize,
    ) -> Pending<'s, Vec<Delivery>>;
    /// Says what became of a claimed delivery.
    fn settle<'s>(&'s self, id: &'s str, settlement: Settlement) -> Pending<'s, ()>;
    /// When the endpoint's next delivery is due.
    fn next_due<'s>(&'s self, endpoint: &'s str) -> Pending<'s, Option<Timestamp>>;
    /// Deliveries waiting, over all endpoints.
    fn depth(&self) -> Pending<'_, usize>;
    /// Dead letters, newest first, at most `limit`.
    fn dead_letters<'s>(
        &'s self,
        filter: &'s LetterFilter,
        limit: usize,
    ) -> Pending<'s, LetterPage>;
    /// The endpoint of a dead letter, or of a delivery that waits; `None` for an unknown id.
    fn endpoint_of<'s>(&'s self, id: &'s str) -> Pending<'s, Option<String>>;
    /// Puts dead letters back, oldest first, each at the end of its analysis' queue and under its
    /// id; all of it or nothing. Unknown ones count nowhere.
    fn redeliver<'s>(&'s self, letters: Letters<'s>, now: Timestamp) -> Pending<'s, Redelivery>;
}
