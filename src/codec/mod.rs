//! Codecs.
pub mod csv;
