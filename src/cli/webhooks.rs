//! `davy webhooks`: lists notifications that a daemon gave up, and has them sent again.
//!
//! Owns the arguments and what is printed. The daemon does the work, over its API.

use std::io::Write;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use reqwest::Method;
use serde_json::{Value, json};

use crate::cli::OutputForm;
use crate::cli::daemon::{self, DaemonArgs};
use crate::cli::exit::Exit;
use crate::model::Timestamp;
use crate::store::PAGE_MAX;
use crate::tokens::file::time_text;

/// Arguments of `davy webhooks`.
#[derive(Debug, Args)]
pub struct WebhooksArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What can be done with notifications that were given up.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// List the dead letters: notifications that were given up, newest first
    List(ListArgs),
    /// Send dead letters again, under the ids they had
    Redeliver(RedeliverArgs),
}

/// Arguments of `davy webhooks list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Whom to ask.
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// Only those to the webhook of this name
    #[arg(long, value_name = "NAME")]
    pub endpoint: Option<String>,
    /// Form of the list.
    #[arg(long, value_enum, default_value_t = OutputForm::Text)]
    pub output: OutputForm,
}

/// Arguments of `davy webhooks redeliver`.
#[derive(Debug, Args)]
pub struct RedeliverArgs {
    /// Whom to ask.
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// Ids, as davy webhooks list shows them
    #[arg(value_name = "ID", required_unless_present = "endpoint")]
    pub ids: Vec<String>,
    /// All to the webhook of this name
    #[arg(long, value_name = "NAME", conflicts_with = "ids")]
    pub endpoint: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// When the daemon cannot be reached, or has no such letter or no room for it.
pub fn run(args: &WebhooksArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let runtime = daemon::runtime()?;
    match &args.action {
        Action::List(args) => runtime.block_on(list(args, out))?,
        Action::Redeliver(args) => runtime.block_on(redeliver(args, out))?,
    }
    Ok(Exit::Pass)
}

async fn list(args: &ListArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let limit = PAGE_MAX.to_string();
    let mut letters = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut query = vec![("limit", limit.as_str())];
        query.extend(args.endpoint.as_deref().map(|name| ("endpoint", name)));
        query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let request = args
            .daemon
            .request(Method::GET, &["v1", "dead-letters"], &query)?;
        let page: Value = answer(request).await?;
        letters.extend(
            page["dead_letters"]
                .as_array()
                .into_iter()
                .flatten()
                .cloned(),
        );
        cursor = page["next"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    match args.output {
        OutputForm::Json => writeln!(out, "{}", json!({ "dead_letters": letters }))?,
        OutputForm::Text => writeln!(out, "{}", table(&letters).trim_fmt())?,
    }
    Ok(())
}

fn table(letters: &[Value]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["id", "endpoint", "event", "attempts", "given up", "why"]);
    for letter in letters {
        let text = |key: &str| letter[key].as_str().unwrap_or("").to_owned();
        let at = letter["at"].as_i64().map(|at| time_text(Timestamp(at)));
        table.add_row([
            text("id"),
            text("endpoint"),
            text("event_type"),
            letter["attempts"].to_string(),
            at.unwrap_or_default(),
            text("error"),
        ]);
    }
    table
}

async fn redeliver(args: &RedeliverArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    if let Some(endpoint) = &args.endpoint {
        let path = ["v1", "dead-letters", "redeliver"];
        let query = [("endpoint", endpoint.as_str())];
        let told = answer(args.daemon.request(Method::POST, &path, &query)?).await?;
        let count = |key: &str| told[key].as_u64().unwrap_or(0);
        let (queued, waiting, refused) = (count("queued"), count("waiting"), count("refused"));
        writeln!(out, "{queued} will be sent again to {endpoint}")?;
        if waiting > 0 {
            writeln!(out, "{waiting} waited already")?;
        }
        if refused > 0 {
            bail!("{refused} found no room; try again once {endpoint} has taken the others");
        }
        return Ok(());
    }
    for id in &args.ids {
        let path = ["v1", "dead-letters", id, "redeliver"];
        let told = answer(args.daemon.request(Method::POST, &path, &[])?).await?;
        let what = match told["queued"].as_u64() {
            Some(0) => "waits already",
            _ => "will be sent again",
        };
        writeln!(out, "{id} {what}")?;
    }
    Ok(())
}

async fn answer(request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
    let response = daemon::answer(request).await?;
    response.json().await.context("the answer is no JSON")
}
