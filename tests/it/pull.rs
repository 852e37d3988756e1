//! Metrics that are pulled: what the engine takes, how a source is asked, what a daemon makes of it.
//!
//! `taking` and `again` are about the engine alone, `asking` about one source, `daemon` about both together with
//! a source of the test's own; `peers` has real ones.

mod again;
mod asking;
mod daemon;
pub mod fake;
mod past;
mod peers;
mod plans;
mod taking;
