//! Judging. Filled in below.
pub mod verdict;
