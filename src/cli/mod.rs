//! The command line: what a person typed, and which room does it.
//!
//! Owns the list of commands and how an error is shown. Each command's file owns its arguments and
//! its work; exit codes are in [`exit`].

pub mod audit;
pub mod backtest;
pub mod calibrate;
pub mod check;
pub mod compare;
pub mod completions;
pub mod daemon;
pub mod demo;
pub mod exit;
pub mod export;
pub mod gate;
pub mod import;
pub mod judge;
pub mod progress;
pub mod replay;
pub mod schema;
pub mod serve;
pub mod simulate;
pub mod token;
pub mod webhooks;

use std::io::Write;

use clap::{Parser, Subcommand};

use exit::Exit;

/// Tells a deployment controller, while a canary runs, whether it is worse than its baseline.
#[derive(Debug, Parser)]
#[command(name = "davy", version, max_term_width = 100, propagate_version = true)]
#[command(
    after_help = "exit codes: 0 done, 3 error, 64 usage. A verdict gives one for gate, and where \
                  --exit-code asks for it (compare, replay): 0 pass, 1 fail, 2 inconclusive. simulate and \
                  backtest --splits exit with 1 where too many verdicts were wrong"
)]
pub struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon
    Serve(serve::ServeArgs),
    /// Show the whole loop on this machine: two services, a canary, a verdict, a rollback
    Demo(demo::DemoArgs),
    /// Run one service of the demo
    #[command(hide = true)]
    DemoService(demo::service::ServiceArgs),
    /// Check plans and configuration files: every problem at once, with its place
    Check(check::CheckArgs),
    /// Print the JSON Schema of plans or of the configuration
    Schema(schema::SchemaArgs),
    /// Compare two samples once, without a plan
    Compare(compare::CompareArgs),
    /// Make a plan of what another system was configured with
    Import(import::ImportArgs),
    /// Judge numbers as Kayenta does, without Kayenta
    Judge(judge::JudgeArgs),
    /// Judge a recorded interval under a plan, look by look
    Replay(replay::ReplayArgs),
    /// Judge labelled deployments under a plan, and count mistakes
    Backtest(backtest::BacktestArgs),
    /// Measure how far a plan's checks vary where nothing is wrong, for dispersion: calibrated
    Calibrate(calibrate::CalibrateArgs),
    /// Measure how often a verdict is wrong, on streams whose truth is known
    Simulate(Box<simulate::SimulateArgs>),
    /// Start an analysis, follow it, and end as it does: for scripts and pipelines
    Gate(Box<gate::GateArgs>),
    /// Fetch the recording of an analysis from a daemon
    Export(export::ExportArgs),
    /// Verify, export and replay what the audit log holds
    Audit(audit::AuditArgs),
    /// Make, list and revoke the tokens that davy lets in
    Token(token::TokenArgs),
    /// List notifications that a daemon gave up, and have them sent again
    Webhooks(webhooks::WebhooksArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
}

/// Form of a command's output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputForm {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Does what was typed.
///
/// # Errors
/// Whatever kept the command from doing its work, told as far down as it is known.
pub fn run(command: Command, out: &mut dyn Write) -> anyhow::Result<Exit> {
    match command {
        Command::Serve(args) => serve::run(&args),
        Command::Demo(args) => demo::run(&args, out),
        Command::DemoService(args) => demo::service::run(&args, out),
        Command::Check(args) => check::run(&args, out),
        Command::Schema(args) => schema::run(&args, out),
        Command::Compare(args) => compare::run(&args, out),
        Command::Import(args) => import::run(&args, out),
        Command::Judge(args) => judge::run(&args, out),
        Command::Replay(args) => replay::run(&args, out),
        Command::Backtest(args) => backtest::run(&args, out),
        Command::Calibrate(args) => calibrate::run(&args, out),
        Command::Simulate(args) => simulate::run(&args, out),
        Command::Gate(args) => gate::run(&args, out),
        Command::Export(args) => export::run(&args, out),
        Command::Audit(args) => audit::run(&args, out),
        Command::Token(args) => token::run(&args, out),
        Command::Webhooks(args) => webhooks::run(&args, out),
        Command::Completions(args) => completions::run(&args, out),
    }
}

/// Shows an error, and says how the process ends. A reader that left (`davy ... | head`) is none.
pub fn report(error: &anyhow::Error, err: &mut dyn Write) -> Exit {
    let broken_pipe = error.chain().any(|cause| {
        let io = cause.downcast_ref::<std::io::Error>();
        io.is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
    });
    if broken_pipe {
        return Exit::Pass;
    }
    // Where standard error is gone too there is nobody left to tell.
    let _ = writeln!(err, "davy: error: {error:#}");
    Exit::Error
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn a_broken_pipe_is_quiet_and_everything_else_is_told() {
        let mut told = Vec::new();
        let pipe = anyhow::Error::new(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!(report(&pipe.context("writing"), &mut told), Exit::Pass);
        assert!(told.is_empty());
        let other = anyhow::anyhow!("inner").context("outer");
        assert_eq!(report(&other, &mut told), Exit::Error);
        assert_eq!(
            String::from_utf8_lossy(&told),
            "davy: error: outer: inner\n"
        );
    }
}
