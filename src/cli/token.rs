//! `davy token`: makes, lists and revokes tokens in a file that the daemon reads.
//!
//! Owns the arguments and what is printed. No secret is an argument: those can be read by everybody
//! on the machine. The file is [`crate::tokens::file`]'s.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use serde::Serialize;

use crate::cli::OutputForm;
use crate::cli::exit::Exit;
use crate::clock::{Clock, SystemClock};
use crate::config::quantity;
use crate::model::{Millis, Timestamp};
use crate::tokens::file::{self, time_text};
use crate::tokens::{self, Minted, Scope, Token};

/// Arguments of `davy token`.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What can be done with tokens.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Make a token, print it once on standard output, and keep its hash
    Create(CreateArgs),
    /// List the tokens of a file
    List(ListArgs),
    /// Take a token back
    Revoke(RevokeArgs),
}

/// Where tokens are.
#[derive(Debug, Args)]
pub struct FileArg {
    /// File of tokens, auth.tokens_file in the daemon's configuration
    #[arg(long, value_name = "FILE", env = "DAVY_AUTH__TOKENS_FILE")]
    pub file: PathBuf,
}

/// Arguments of `davy token create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Where to keep it.
    #[command(flatten)]
    pub at: FileArg,
    /// What to call it, such as prometheus; unique among those that are not revoked
    #[arg(long, value_parser = name)]
    pub name: String,
    /// What it allows: ingest, read, control (with read), admin (everything); may be repeated
    #[arg(long = "scope", required = true, value_delimiter = ',', value_parser = scope)]
    pub scopes: Vec<Scope>,
    /// Only analyses whose change has one of these namespaces; not with ingest or admin
    #[arg(long = "namespace", value_delimiter = ',', value_parser = name)]
    pub namespaces: Vec<String>,
    /// How long it is good, such as 90d; for ever unless given
    #[arg(long, value_name = "DURATION", value_parser = span)]
    pub expires: Option<Millis>,
}

/// Arguments of `davy token list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Whose to list.
    #[command(flatten)]
    pub at: FileArg,
    /// Form of the list.
    #[arg(long, value_enum, default_value_t = OutputForm::Text)]
    pub output: OutputForm,
}

/// Arguments of `davy token revoke`.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// Where it is.
    #[command(flatten)]
    pub at: FileArg,
    /// Name or public id, as davy token list shows them; never the token itself
    #[arg(value_name = "NAME_OR_ID")]
    pub token: String,
}

/// A token in a list.
#[derive(Debug, Serialize)]
struct Listed<'t> {
    id: &'t str,
    name: &'t str,
    state: &'static str,
    scopes: Vec<&'static str>,
    namespaces: Option<&'t [String]>,
    created_at: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// What keeps the file from being read or written, or a name that is taken or unknown.
pub fn run(args: &TokenArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let now = SystemClock.now();
    match &args.action {
        Action::Create(args) => create(args, now, out)?,
        Action::List(args) => list(args, now, out)?,
        Action::Revoke(args) => {
            let id = file::revoke(&args.at.file, &args.token, now)?;
            writeln!(out, "{id} is revoked")?;
        }
    }
    Ok(Exit::Pass)
}

fn create(args: &CreateArgs, now: Timestamp, out: &mut dyn Write) -> anyhow::Result<()> {
    let (mut id, mut secret) = ([0; 4], [0; 32]);
    getrandom::fill(&mut id)
        .and_then(|()| getrandom::fill(&mut secret))
        .context("the system gives no random numbers")?;
    let minted = Minted::of(id, secret);
    let mut scopes = args.scopes.clone();
    scopes.sort_unstable();
    scopes.dedup();
    let token = Token {
        id: minted.id().to_owned(),
        name: args.name.clone(),
        scopes,
        namespaces: (!args.namespaces.is_empty()).then(|| args.namespaces.clone()),
        digest: minted.digest(),
        created_at: now,
        expires_at: args.expires.map(|span| now.plus(span)),
        revoked_at: None,
    };
    if let Some(why) = token.contradiction() {
        bail!("{why}");
    }
    file::append(&args.at.file, &token)?;
    let written = writeln!(out, "{}", minted.reveal()).and_then(|()| out.flush());
    written.with_context(|| {
        let id = minted.id();
        format!("the token {id} is made and could not be printed; revoke it and make another")
    })?;
    // Beside the token, which alone is on standard output: for `TOKEN=$(davy token create ..)`.
    eprintln!(
        "davy: the token {} ({}) is shown this once; {} keeps its hash",
        minted.id(),
        args.name,
        args.at.file.display()
    );
    Ok(())
}

fn list(args: &ListArgs, now: Timestamp, out: &mut dyn Write) -> anyhow::Result<()> {
    let loaded = file::load(&args.at.file)?;
    if let Some(warning) = &loaded.warning {
        eprintln!("davy: warning: {warning}");
    }
    let listed = |token| Listed::of(token, now);
    let all: Vec<Listed<'_>> = loaded.tokens.iter().map(listed).collect();
    if args.output == OutputForm::Json {
        writeln!(out, "{}", serde_json::json!({ "tokens": all }))?;
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "id",
        "name",
        "state",
        "scopes",
        "namespaces",
        "created",
        "expires",
    ]);
    for token in &all {
        table.add_row([
            token.id.to_owned(),
            token.name.to_owned(),
            token.state.to_owned(),
            token.scopes.join(","),
            token
                .namespaces
                .map_or("all".to_owned(), |names| names.join(",")),
            token.created_at.clone(),
            token.expires_at.clone().unwrap_or("never".to_owned()),
        ]);
    }
    writeln!(out, "{}", table.trim_fmt())?;
    Ok(())
}

impl<'t> Listed<'t> {
    fn of(token: &'t Token, now: Timestamp) -> Listed<'t> {
        Listed {
            id: &token.id,
            name: &token.name,
            state: token.state(now).as_str(),
            scopes: token.scopes.iter().map(|scope| scope.as_str()).collect(),
            namespaces: token.namespaces.as_deref(),
            created_at: time_text(token.created_at),
            expires_at: token.expires_at.map(time_text),
            revoked_at: token.revoked_at.map(time_text),
        }
    }
}

fn scope(text: &str) -> anyhow::Result<Scope> {
    Scope::named(text).ok_or_else(|| anyhow!("the scopes are ingest, read, control and admin"))
}

fn name(text: &str) -> anyhow::Result<String> {
    if !tokens::is_name(text) {
        bail!(
            "letters, digits and . _ -, at most {}",
            tokens::NAME_BYTES_MAX
        );
    }
    if tokens::is_id(text) {
        bail!("it would be taken for the id of a token; give it another letter");
    }
    Ok(text.to_owned())
}

fn span(text: &str) -> anyhow::Result<Millis> {
    match quantity::duration(text) {
        Ok(0) => bail!("it would never be good"),
        Ok(millis) => Ok(millis),
        Err(why) => Err(anyhow!("{why}; write 90d or 12h")),
    }
}
