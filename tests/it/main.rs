//! The one integration-test binary: every test of the crate from outside is a module of it.
//!
//! One binary links once, where a file each under `tests/` would link as often as there are files.

mod architecture;
mod calibration;
mod compare;
mod engine_life;
mod engine_reference;
mod judge;
mod machine;
mod mann_whitney;
mod plans;
mod replay;
mod support;
