//! One's own past deployments: the analyses that a davy has, judged anew, with what became of their
//! changes as truth.
//!
//! Owns which analyses are taken and what an outcome means. It asks a running davy, for only that
//! has all of what it recorded. Next: [`crate::cli::replay`], which plays a recording.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use clap::Args;
use reqwest::Method;
use serde::Deserialize;

use super::{CheckSummary, Judged, Truth, judge_all};
use crate::cli::daemon::{self, DaemonArgs};
use crate::cli::replay::recorded;
use crate::clock::{Clock, SystemClock};
use crate::config::quantity;
use crate::engine::Effect;
use crate::http::analyses::TRUNCATED;
use crate::judge::verdict::{Status, VerdictBody};
use crate::model::{Change, Millis, Outcome, Reason};
use crate::plan::Plan;
use crate::store::changes::ChangeOutcome;

/// Recordings that are asked for at the same time: davy has others to answer, too.
const ASKERS_MAX: usize = 4;

/// Which analyses of a store.
#[derive(Debug, Clone, Args)]
pub struct PastArgs {
    /// Analyses that were started so long ago at most
    #[arg(long, value_name = "SPAN", default_value = "30d", value_parser = quantity::duration, conflicts_with_all = ["manifest", "splits"])]
    pub since: Millis,
    /// Only those of this service
    #[arg(long, value_name = "NAME", conflicts_with_all = ["manifest", "splits"])]
    pub service: Option<String>,
    /// Only those that were judged under the plan of this name
    #[arg(long, value_name = "NAME", conflicts_with_all = ["manifest", "splits"])]
    pub judged_by: Option<String>,
    /// Whom to ask.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

#[derive(Debug, Deserialize)]
struct Listed {
    analyses: Vec<Analysis>,
    next: Option<String>,
}

/// An analysis as a list shows it.
#[derive(Debug, Deserialize)]
struct Analysis {
    id: String,
    change: Change,
    status: Status,
    verdict: Outcome,
}

#[derive(Debug, Deserialize)]
struct ChangeShown {
    outcome: Option<Told>,
}

#[derive(Debug, Deserialize)]
struct Told {
    outcome: ChangeOutcome,
}

/// Judges the analyses anew, oldest last.
pub(super) fn judge(args: &PastArgs, plan: Option<&Arc<Plan>>) -> anyhow::Result<Vec<Judged>> {
    let all = daemon::runtime()?.block_on(list(args))?;
    let (cases, running): (Vec<Analysis>, Vec<Analysis>) = all
        .into_iter()
        .partition(|analysis| analysis.status == Status::Final);
    if cases.is_empty() {
        bail!(
            "{} has no final analysis of the last {} that fits, so there is nothing to judge",
            args.daemon.server,
            quantity::duration_text(args.since)
        );
    }
    if !running.is_empty() {
        eprintln!(
            "davy: {} analyses run still and are left out",
            running.len()
        );
    }
    let known = Mutex::new(BTreeMap::new());
    let judged = judge_all(&cases, ASKERS_MAX, |analysis| {
        let judged = daemon::runtime()?.block_on(judge_one(args, analysis, plan, &known));
        judged.with_context(|| format!("analysis {}", analysis.id))
    })?;
    Ok(judged.into_iter().flatten().collect())
}

async fn list(args: &PastArgs) -> anyhow::Result<Vec<Analysis>> {
    let from = SystemClock.now().plus(-args.since).millis().to_string();
    let mut all = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut query = vec![("started_from", from.as_str()), ("limit", "200")];
        query.extend(args.service.as_deref().map(|name| ("service", name)));
        query.extend(args.judged_by.as_deref().map(|name| ("plan", name)));
        query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let request = args
            .daemon
            .request(Method::GET, &["v1", "analyses"], &query)?;
        let page: Listed = daemon::answer(request)
            .await?
            .json()
            .await
            .context("the list of analyses is not what davy answers")?;
        all.extend(page.analyses);
        cursor = page.next;
        if cursor.is_none() {
            return Ok(all);
        }
    }
}

/// `None` where nothing can be judged of it, which is told.
async fn judge_one(
    args: &PastArgs,
    analysis: &Analysis,
    plan: Option<&Arc<Plan>>,
    known: &Mutex<BTreeMap<String, Truth>>,
) -> anyhow::Result<Option<Judged>> {
    let id = analysis.id.as_str();
    let path = ["v1", "analyses", id, "recording"];
    let response = daemon::patient_answer(|| args.daemon.request(Method::GET, &path, &[])).await?;
    let Some(response) = response else {
        eprintln!("davy: warning: {id} is left out: davy has forgotten it meanwhile");
        return Ok(None);
    };
    if response.headers().contains_key(TRUNCATED) {
        eprintln!("davy: warning: {id} is left out: its recording is not whole");
        return Ok(None);
    }
    let text = response.text().await.context("the recording broke off")?;
    let truth = truth_of(args, &analysis.change, known).await?;
    let mut body: Option<Arc<VerdictBody>> = None;
    let told = recorded::play(&text, plan.cloned(), |effects| {
        for effect in effects {
            if let Effect::Changed(view) = effect {
                body = Some(Arc::new(VerdictBody::clone(&view.body)));
            }
        }
    });
    let told = match told {
        Ok(told) => told,
        Err(error) => {
            eprintln!("davy: warning: {id} is left out: {error}");
            return Ok(None);
        }
    };
    let body = body.context("the recording holds no analysis")?;
    // A pass so far is no verdict that anybody would have acted on.
    let (verdict, reason) = match body.is_final {
        true => (body.verdict, body.reason),
        false => (Outcome::Inconclusive, Reason::NeedsTime),
    };
    let change = &analysis.change;
    let words = [
        Some(&analysis.id),
        change.service.as_ref(),
        change.revision.as_ref(),
    ];
    let words: Vec<&str> = words.into_iter().flatten().map(String::as_str).collect();
    Ok(Some(Judged {
        case: words.join(" "),
        truth,
        subtype: None,
        tier: None,
        scored: truth != Truth::Unknown,
        verdict,
        decided_at: body.elapsed_secs,
        reason,
        acceptable: truth.accepts(verdict),
        then: Some(analysis.verdict),
        message: told.ending.unwrap_or_else(|| body.message.clone()),
        checks: body.checks.iter().map(CheckSummary::of).collect(),
    }))
}

/// What became of a change, asked once.
async fn truth_of(
    args: &PastArgs,
    change: &Change,
    known: &Mutex<BTreeMap<String, Truth>>,
) -> anyhow::Result<Truth> {
    let Some(id) = change.id.as_deref() else {
        return Ok(Truth::Unknown);
    };
    let found = known
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(id)
        .copied();
    if let Some(truth) = found {
        return Ok(truth);
    }
    let path = ["v1", "changes", id];
    let shown = daemon::patient_answer(|| args.daemon.request(Method::GET, &path, &[])).await?;
    let Some(shown) = shown else {
        return Ok(Truth::Unknown);
    };
    let shown: ChangeShown = shown
        .json()
        .await
        .context("the change is not what davy answers")?;
    let truth = match shown.outcome.map(|told| told.outcome) {
        Some(ChangeOutcome::Promoted | ChangeOutcome::FalseAlarm) => Truth::Healthy,
        Some(ChangeOutcome::RolledBack | ChangeOutcome::Incident) => Truth::Degraded,
        None => Truth::Unknown,
    };
    known
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(id.to_owned(), truth);
    Ok(truth)
}
