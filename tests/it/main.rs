//! The one integration-test binary: every test of the crate from outside is a module of it.

mod compare;
mod mann_whitney;
