//! `davy completions`: a completion script for a shell.
//!
//! Owns nothing but the call; the script follows from the command line itself.

use std::io::Write;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::cli::CommandLine;
use crate::cli::exit::Exit;

/// Arguments of `davy completions`.
#[derive(Debug, Clone, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Runs the command: the script goes to standard output.
///
/// # Errors
/// When it cannot be written.
pub fn run(args: &CompletionsArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    // The generator panics on a failing writer, so it writes where nothing can fail.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut CommandLine::command(), "davy", &mut script);
    out.write_all(&script)?;
    Ok(Exit::Pass)
}
