//! stats

pub mod exact;
pub mod hodges_lehmann;
pub mod mann_whitney;
pub mod rank;

pub mod special;
