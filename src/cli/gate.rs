//! `davy gate`: a pipeline's step that starts an analysis, follows it, and ends as it does.
//!
//! Owns the arguments, the waiting and the exit code. A daemon that does not answer for a while is
//! waited for: a deployment must not fail because davy was updated. Next: `summary`, what a job's
//! page is given.

mod summary;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use clap::{Args, ValueEnum};
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::cli::OutputForm;
use crate::cli::daemon::{self, DaemonArgs};
use crate::cli::exit::Exit;
use crate::cli::progress;

/// Longest wait that one request asks for: proxies cut longer ones.
const POLL: Duration = Duration::from_secs(25);
/// Wait after a request that was not answered.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Arguments of `davy gate`.
#[derive(Debug, Args)]
pub struct GateArgs {
    /// Whom to ask.
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// Name of a plan that the daemon has, or a plan file
    #[arg(long, value_name = "PLAN", required_unless_present = "analysis")]
    pub plan: Option<String>,
    /// An analysis that was started already, by its id
    #[arg(long, value_name = "ID", conflicts_with_all = ["plan", "baseline", "canary", "arms", "change_id", "revision", "service", "namespace", "environment", "region", "owner", "links"])]
    pub analysis: Option<String>,
    /// The variable `baseline` of the plan's arms
    #[arg(long, value_name = "VALUE")]
    pub baseline: Option<String>,
    /// The variable `canary` of the plan's arms
    #[arg(long, value_name = "VALUE")]
    pub canary: Option<String>,
    /// Another variable of the plan's arms
    #[arg(long = "arm", value_name = "NAME=VALUE", value_parser = pair)]
    pub arms: Vec<(String, String)>,
    /// Id of the change, by which it is found again
    #[arg(long, value_name = "ID")]
    pub change_id: Option<String>,
    /// What is rolled out: a commit, an image's tag
    #[arg(long)]
    pub revision: Option<String>,
    /// What it is rolled out to
    #[arg(long)]
    pub service: Option<String>,
    /// Whose it is
    #[arg(long)]
    pub namespace: Option<String>,
    /// Such as production
    #[arg(long)]
    pub environment: Option<String>,
    /// Region or cell
    #[arg(long)]
    pub region: Option<String>,
    /// Who answers for it
    #[arg(long)]
    pub owner: Option<String>,
    /// A named link of the change
    #[arg(long = "link", value_name = "NAME=URL", value_parser = pair)]
    pub links: Vec<(String, String)>,
    /// Longest wait for the gate; then the exit code is 2, and the analysis goes on
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    pub wait: Duration,
    /// final: may the change be promoted; step: may the rollout go on
    #[arg(long, value_enum, default_value_t = Gate::Final)]
    pub gate: Gate,
    /// Name of the rollout's step, with --gate step
    #[arg(long, value_name = "NAME")]
    pub step: Option<String>,
    /// How long a daemon that does not answer is waited for
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub patience: Duration,
    /// Append a summary in Markdown to this file, such as "$GITHUB_STEP_SUMMARY"
    #[arg(long, value_name = "FILE")]
    pub summary: Option<PathBuf>,
    /// Form of the answer: a sentence, or the verdict
    #[arg(long, value_enum, default_value_t = OutputForm::Text)]
    pub output: OutputForm,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Gate {
    /// May the change be promoted for good?
    Final,
    /// May the rollout go on to its next step?
    Step,
}

/// How the waiting ended.
struct Ended {
    verdict: Value,
    exit: Exit,
    /// The time was over before there was an answer.
    is_late: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let pair = pair.map(|(name, value)| (name.to_owned(), value.to_owned()));
    pair.ok_or_else(|| "write NAME=VALUE".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    let found = crate::http::query::duration(text);
    found.ok_or_else(|| "write a duration such as 45m, 90s or 1h".to_owned())
}

/// Runs the command.
///
/// # Errors
/// When the analysis cannot be started, or the daemon does not answer for longer than `--patience`.
pub fn run(args: &GateArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    if args.gate == Gate::Step && args.step.is_none() {
        bail!("--gate step needs --step NAME: each step is asked for evidence of its own");
    }
    daemon::runtime()?.block_on(async {
        let id = match &args.analysis {
            Some(id) => id.clone(),
            None => start(args).await?,
        };
        enter(args, &id).await?;
        let ended = follow(args, &id).await?;
        tell(args, &ended, out)?;
        Ok(ended.exit)
    })
}

/// Starts the analysis, or finds the one that the same arguments started: a job that is run again goes
/// on with it.
async fn start(args: &GateArgs) -> anyhow::Result<String> {
    let body = body_of(args)?;
    let digest = Sha256::digest(body.to_string().as_bytes());
    let key: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let key = format!("gate:{key}");
    let request = || {
        let request = args
            .daemon
            .request(Method::POST, &["v1", "analyses"], &[])?;
        // Without anything that names the change every run is one of its own.
        let is_named = args.change_id.is_some() || args.revision.is_some();
        let request = if is_named {
            request.header("idempotency-key", &key)
        } else {
            request
        };
        Ok(request.json(&body))
    };
    let started = asked(args, &request).await?;
    let id = started["id"].as_str().context("the daemon gave no id")?;
    eprintln!(
        "davy: analysis {id} on the plan {}",
        started["plan"].as_str().unwrap_or("?")
    );
    for ended in started["superseded"].as_array().into_iter().flatten() {
        eprintln!(
            "davy: it takes the place of {}",
            ended.as_str().unwrap_or("?")
        );
    }
    Ok(id.to_owned())
}

fn body_of(args: &GateArgs) -> anyhow::Result<Value> {
    let named = args.plan.as_deref().unwrap_or_default();
    // A name is a word; a file has a dot or a slash, and is there.
    let is_file = named.contains(['/', '.']);
    let plan = match is_file {
        true => std::fs::read_to_string(named).with_context(|| format!("cannot read {named}"))?,
        false => named.to_owned(),
    };
    let mut arms: BTreeMap<&str, &str> = BTreeMap::new();
    let usual = [("baseline", &args.baseline), ("canary", &args.canary)];
    arms.extend(
        usual
            .iter()
            .filter_map(|(name, value)| Some((*name, value.as_deref()?))),
    );
    arms.extend(
        args.arms
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    );
    let mut change = Map::new();
    for (name, value) in [
        ("id", &args.change_id),
        ("revision", &args.revision),
        ("service", &args.service),
        ("namespace", &args.namespace),
        ("environment", &args.environment),
        ("region", &args.region),
        ("owner", &args.owner),
    ] {
        if let Some(value) = value {
            change.insert(name.to_owned(), json!(value));
        }
    }
    if !args.links.is_empty() {
        let links = args
            .links
            .iter()
            .map(|(name, url)| (name.clone(), json!(url)));
        change.insert("links".to_owned(), Value::Object(links.collect()));
    }
    Ok(json!({ "plan": plan, "arms": arms, "change": change }))
}

/// Tells the step, where one is asked for.
async fn enter(args: &GateArgs, id: &str) -> anyhow::Result<()> {
    let Some(step) = &args.step else {
        return Ok(());
    };
    let body = json!({ "name": step, "steps_follow": args.gate == Gate::Step });
    let path = ["v1", "analyses", id, "steps"];
    let request = || Ok(args.daemon.request(Method::POST, &path, &[])?.json(&body));
    match asked(args, &request).await {
        // It ended, and says how.
        Err(error) if error.to_string().contains("is final") => Ok(()),
        answered => answered.map(drop),
    }
}

/// Sends until it is answered, for as long as patience lasts.
async fn asked(
    args: &GateArgs,
    request: &dyn Fn() -> anyhow::Result<reqwest::RequestBuilder>,
) -> anyhow::Result<Value> {
    let begun = Instant::now();
    let mut is_told = false;
    loop {
        let error = match once(request()?).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(refused)) => return Err(refused),
            Err(passing) => passing,
        };
        if begun.elapsed() >= args.patience {
            let patience = args.patience;
            return Err(error.context(format!("the daemon did not answer for {patience:?}")));
        }
        if !is_told {
            eprintln!(
                "davy: {error:#}; asking again for up to {:?}",
                args.patience
            );
            is_told = true;
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

/// One request: its answer, a refusal that stays one, or an error that may pass.
async fn once(request: reqwest::RequestBuilder) -> anyhow::Result<anyhow::Result<Value>> {
    let response = request
        .timeout(POLL * 2)
        .send()
        .await
        .context("cannot reach the daemon")?;
    let status = response.status();
    let body: Value = match response.json().await {
        Ok(body) => body,
        // Half an answer is none, and a page of a proxy is not davy's.
        Err(error) if status.is_success() => bail!("an answer that is no JSON: {error}"),
        Err(_) => Value::Null,
    };
    if status.is_success() {
        return Ok(Ok(body));
    }
    let detail = body["detail"].as_str().unwrap_or("no explanation");
    let help = body["help"]
        .as_str()
        .map(|help| format!("; {help}"))
        .unwrap_or_default();
    let told = anyhow!("the daemon answered {status}: {detail}{help}");
    let passes = status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT
        || status.is_server_error();
    if passes { Err(told) } else { Ok(Err(told)) }
}

/// Asks until the gate is answered or the time is over.
async fn follow(args: &GateArgs, id: &str) -> anyhow::Result<Ended> {
    let begun = Instant::now();
    let line = progress::line();
    let mut told = String::new();
    loop {
        let left = args.wait.saturating_sub(begun.elapsed());
        let wait = format!("{}ms", left.min(POLL).as_millis());
        let gate = match args.gate {
            Gate::Final => "final",
            Gate::Step => "step",
        };
        let query = [("gate", gate), ("wait", wait.as_str())];
        let path = ["v1", "analyses", id, "verdict"];
        let request = || args.daemon.request(Method::GET, &path, &query);
        let verdict = asked(args, &request).await?;
        let message = verdict["message"].as_str().unwrap_or_default();
        let waiting_for = verdict["gate"]["waiting_for"].as_str();
        let now = match waiting_for {
            Some(waiting_for) => format!("{message} (waits for {waiting_for})"),
            None => message.to_owned(),
        };
        if line.is_hidden() && now != told {
            // In a job's log, a line for whatever is new.
            eprintln!("davy: {now}");
        }
        line.set_message(now.clone());
        told = now;
        let exit = exit_of(&verdict);
        let is_late = exit.is_none() && begun.elapsed() >= args.wait;
        if let Some(exit) = exit.or(is_late.then_some(Exit::Inconclusive)) {
            line.finish_and_clear();
            return Ok(Ended {
                verdict,
                exit,
                is_late,
            });
        }
    }
}

/// The exit code once there is an answer.
fn exit_of(verdict: &Value) -> Option<Exit> {
    let decision = verdict["decision"].as_str().unwrap_or_default();
    match () {
        () if decision == "rollback" => Some(Exit::Fail),
        () if verdict["gate"]["open"] == true => Some(Exit::Pass),
        () if verdict["final"] == true => Some(Exit::Inconclusive),
        () => None,
    }
}

fn tell(args: &GateArgs, ended: &Ended, out: &mut dyn Write) -> anyhow::Result<()> {
    let Ended {
        verdict, is_late, ..
    } = ended;
    let message = verdict["message"].as_str().unwrap_or_default();
    let id = verdict["analysis"].as_str().unwrap_or_default();
    match args.output {
        OutputForm::Json => writeln!(out, "{verdict}")?,
        OutputForm::Text => writeln!(out, "{message}")?,
    }
    if *is_late {
        eprintln!(
            "davy: the time is over ({:?}); the analysis {id} goes on",
            args.wait
        );
    }
    if let Some(path) = &args.summary {
        let text = summary::markdown(verdict, ended.exit, *is_late);
        let mut options = std::fs::OpenOptions::new();
        let file = options.create(true).append(true).open(path);
        let mut file = file.with_context(|| format!("cannot write {}", path.display()))?;
        file.write_all(text.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_the_answer_to_the_gate() {
        let verdict = |decision: &str, open: bool, is_final: bool| {
            exit_of(&json!({"decision": decision, "gate": {"open": open}, "final": is_final}))
        };
        assert_eq!(verdict("hold", false, false), None);
        assert_eq!(verdict("promote", true, true), Some(Exit::Pass));
        assert_eq!(verdict("promote", true, false), Some(Exit::Pass));
        assert_eq!(verdict("rollback", false, true), Some(Exit::Fail));
        assert_eq!(verdict("rollback", false, false), Some(Exit::Fail));
        assert_eq!(verdict("hold", false, true), Some(Exit::Inconclusive));
    }

    #[test]
    fn pairs_have_a_name_and_may_hold_what_they_like() {
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(pair("a").is_err() && pair("=b").is_err());
        assert_eq!(duration("45m"), Ok(Duration::from_secs(2_700)));
        assert!(duration("soon").is_err());
    }
}
