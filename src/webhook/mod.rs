//! Tells other systems what happened: signed, retried, in order.
//!
//! Owns the way of a notification from an event to an endpoint: what an endpoint may be
//! ([`rules`]), which want it ([`endpoint`]), what is sent ([`template`], [`sign`]), where it may go
//! ([`guard`]), what GitHub is told (`github`), what an answer means (`attempt`), when it is tried again ([`worker`]) and when an
//! endpoint is left alone ([`breaker`]). It must not know how verdicts come about. Delivery is at least
//! once: the id is stable, so a receiver can drop a second one.

pub(crate) mod attempt;
pub mod breaker;
pub mod endpoint;
mod github;
pub mod guard;
pub mod rules;
pub mod sign;
pub mod template;
pub mod worker;

pub use endpoint::Endpoint;
