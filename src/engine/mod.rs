//! The machine. Filled in below.
pub mod messages;
pub use messages::*;
