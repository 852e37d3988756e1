//! The `davy` binary: reads the command line, runs the command, gives the exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use davy::cli::exit::Exit;
use davy::cli::{self, CommandLine};

fn main() -> ExitCode {
    let typed = match CommandLine::try_parse() {
        Ok(typed) => typed,
        Err(error) => {
            // Help and version are errors to clap; only what goes to standard error is one to us.
            let _ = error.print();
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Pass
            };
            return exit.into();
        }
    };
    let mut out = io::stdout().lock();
    let result = cli::run(typed.command, &mut out);
    let result = result.and_then(|exit| Ok(out.flush().map(|()| exit)?));
    result
        .unwrap_or_else(|error| cli::report(&error, &mut io::stderr()))
        .into()
}
