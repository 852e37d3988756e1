//! What people write: plan files and the daemon's configuration, every problem with its place.
//!
//! Owns the written forms and their defaults. It must not know what is done with them; `plan`
//! says what a plan means. Next: `plan_file`, then `daemon` and `layers`.

mod against_schema;
mod coherence;
pub mod daemon;
pub mod kayenta;
pub mod layers;
pub mod listening;
pub mod node;
pub mod oidc;
pub mod plan_file;
pub mod plans;
pub mod problem;
pub mod quantity;
pub mod reader;
mod signed_tokens;
pub mod sources;
pub mod toml_tree;
pub mod yaml;

pub use daemon::Config;
pub use layers::Sources;
pub use problem::{Problem, ProblemCode, Problems, Severity};
