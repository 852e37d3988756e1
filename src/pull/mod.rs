//! Asks sources for the metrics that plans pull.
//!
//! Owns the way from a query to series: what a source's settings may be ([`rules`]), how it is asked
//! ([`prometheus`], [`credentials`], [`certificates`]), what its answers mean ([`answer`]), how long it is left alone
//! after a failure ([`pace`]), and when which tick is asked for ([`scheduler`]). It must not know
//! what becomes of the series: that is `engine::series::pulled`'s. No answer is never an answer:
//! whatever fails here leaves a tick empty.

pub mod answer;
pub mod certificates;
pub mod credentials;
pub mod pace;
pub mod prometheus;
pub mod rules;
pub mod scheduler;

pub use prometheus::Prometheus;
pub use scheduler::Puller;
