//! The process' exit codes, for scripts. The only place that gives them numbers.

use std::process::ExitCode;

use crate::model::Outcome;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The verdict is pass, or the command did what it was asked.
    Pass = 0,
    /// The verdict is fail.
    Fail = 1,
    /// The verdict is inconclusive.
    Inconclusive = 2,
    /// The command could not do its work.
    Error = 3,
    /// The command line itself was wrong (sysexits' `EX_USAGE`).
    Usage = 64,
}

impl Exit {
    /// The code of a verdict, for commands with `--exit-code`.
    pub fn of(verdict: Outcome) -> Exit {
        match verdict {
            Outcome::Pass => Exit::Pass,
            Outcome::Fail => Exit::Fail,
            Outcome::Inconclusive => Exit::Inconclusive,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}
