//! The `davy` binary.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use davy::cli::{compare, exit::Exit};

#[derive(Parser)]
#[command(name = "davy", version)]
enum Command {
    Compare(compare::CompareArgs),
}

fn main() -> ExitCode {
    let Command::Compare(args) = match Command::try_parse() {
        Ok(command) => command,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() {
                Exit::Usage.into()
            } else {
                Exit::Pass.into()
            };
        }
    };
    let mut out = std::io::stdout().lock();
    match compare::run(&args, &mut out).and_then(|exit| Ok(out.flush().map(|()| exit)?)) {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("davy: error: {error:#}");
            Exit::Error.into()
        }
    }
}
