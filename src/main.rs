//! The `davy` binary.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use davy::cli::{backtest, check, compare, exit::Exit, replay, schema};

#[derive(Parser)]
#[command(name = "davy", version)]
enum Command {
    Compare(compare::CompareArgs),
    Replay(replay::ReplayArgs),
    Backtest(backtest::BacktestArgs),
    Check(check::CheckArgs),
    Schema(schema::SchemaArgs),
}

fn main() -> ExitCode {
    let command = match Command::try_parse() {
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
    let result = match command {
        Command::Compare(args) => compare::run(&args, &mut out),
        Command::Replay(args) => replay::run(&args, &mut out),
        Command::Backtest(args) => backtest::run(&args, &mut out),
        Command::Check(args) => check::run(&args, &mut out),
        Command::Schema(args) => schema::run(&args, &mut out),
    };
    match result.and_then(|exit| Ok(out.flush().map(|()| exit)?)) {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("davy: error: {error:#}");
            Exit::Error.into()
        }
    }
}
