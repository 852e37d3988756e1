//! `davy import`: a plan of what another system was configured with.
//!
//! Owns the arguments and what goes where: the plan to standard output, what its writer should hear
//! to standard error. What becomes of each setting is [`crate::config::kayenta`]'s.

use std::io::Write;
use std::path::PathBuf;

use anyhow::anyhow;
use clap::{Args, Subcommand, ValueEnum};

use crate::cli::exit::Exit;
use crate::cli::judge::contents;
use crate::config::kayenta::{self, Judged, Requested};

/// Arguments of `davy import`.
#[derive(Debug, Clone, Args)]
pub struct ImportArgs {
    /// Where it comes from.
    #[command(subcommand)]
    pub from: From,
}

/// What can be imported.
#[derive(Debug, Clone, Subcommand)]
pub enum From {
    /// A canary configuration of Kayenta, as a plan with a comment on everything that means something else
    Kayenta(KayentaArgs),
}

/// Arguments of `davy import kayenta`.
#[derive(Debug, Clone, Args)]
pub struct KayentaArgs {
    /// The configuration, JSON; - for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Who judges: davy, or Kayenta's rules as before
    #[arg(long, value_enum, default_value_t = Judge::Davy)]
    pub judge: Judge,
}

/// Who judges by the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Judge {
    /// davy's own tests, which keep what they promise.
    Davy,
    /// Kayenta's rules, for those who want to compare.
    Kayenta,
}

/// Runs the command and writes the plan to `out`.
///
/// # Errors
/// When the file cannot be read, or no plan can be made of it.
pub fn run(args: &ImportArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let From::Kayenta(KayentaArgs { file, judge }) = &args.from;
    let requested = Requested {
        judge: match judge {
            Judge::Davy => Judged::ByDavy,
            Judge::Kayenta => Judged::ByKayenta,
        },
        ..Requested::default()
    };
    let imported = kayenta::import(&contents(file)?, &requested)
        .map_err(|error| anyhow!("{}: {error}", file.display()))?;
    for warning in &imported.warnings {
        eprintln!("davy: warning: {warning}");
    }
    out.write_all(imported.plan.as_bytes())?;
    Ok(Exit::Pass)
}
