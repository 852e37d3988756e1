//! STUB
pub mod plan_file;
