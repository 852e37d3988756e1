//! The command line.
pub mod backtest;
pub mod check;
pub mod compare;
pub mod exit;
pub mod progress;
pub mod replay;
pub mod schema;

/// Form of a command's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputForm {
    /// For people.
    Text,
    /// For programs.
    Json,
}
