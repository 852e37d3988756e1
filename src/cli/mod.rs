//! cli
pub mod compare;
pub mod exit;
