//! `davy schema`: the JSON Schema of plan files or of the daemon's configuration.
//!
//! Owns the command only; the schemas come from the types in `config`.

use std::io::Write;

use clap::{Args, ValueEnum};

use crate::cli::exit::Exit;
use crate::config::daemon;
use crate::config::plan_file::schema::plan_json_schema;

/// Arguments of `davy schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Which file's schema.
    #[arg(value_enum, default_value_t = SchemaOf::Plan)]
    pub of: SchemaOf,
}

/// What there is a schema of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// Plan files.
    Plan,
    /// The daemon's configuration.
    Config,
}

/// Runs the command.
///
/// # Errors
/// The output cannot be written.
pub fn run(args: &SchemaArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    out.write_all(text(args.of).as_bytes())?;
    Ok(Exit::Pass)
}

/// The schema as it is printed and committed: indented, with a last newline.
pub fn text(of: SchemaOf) -> String {
    let schema = match of {
        SchemaOf::Plan => plan_json_schema(),
        SchemaOf::Config => daemon::json_schema(),
    };
    // `{:#}` of a JSON value is its indented form.
    format!("{schema:#}\n")
}
