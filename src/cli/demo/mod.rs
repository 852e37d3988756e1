//! `davy demo`: the whole loop on one machine, with nothing made up.
//!
//! Owns the play: two services that really work ([`service`]), a load that times every request
//! ([`load`]), a daemon as anybody would run it, and a controller that hears its verdict and moves
//! the traffic ([`controller`]). Services and daemon are processes of their own ([`child`]), and
//! everything between them is HTTP. It must not reach into the daemon: what the demo shows is what
//! a user gets. Next: [`stage`], which sets it up.

pub mod chance;
pub mod child;
pub mod client;
pub mod controller;
pub mod drawing;
pub mod load;
pub mod report;
pub mod service;
pub mod stage;

use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use indicatif::ProgressBar;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use crate::cli::OutputForm;
use crate::cli::exit::Exit;
use crate::cli::progress;
use client::{EventStream, StreamEvent};
use report::{Ending, ServedAfter, Verdict};
use stage::Stage;

/// How long the whole play may take: the plan's horizon and what it needs to close.
const PLAY_WITHIN: Duration = Duration::from_secs(90);
/// How long the webhook may take after the verdict was seen.
const WEBHOOK_WITHIN: Duration = Duration::from_secs(15);
/// How long the traffic is watched after it was moved.
const AFTERMATH: Duration = Duration::from_secs(2);
/// Where it is not a terminal, the first looks have a line each ...
const LOOKS_IN_FULL: u64 = 10;
/// ... and of the later ones every fifth.
const LOOKS_PER_LINE: u64 = 5;

/// Arguments of `davy demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Deploy a canary that does the same work as the baseline
    #[arg(long)]
    pub healthy: bool,
    /// Form of the output: for people as it happens, or one JSON object at the end
    #[arg(long, value_enum, default_value_t = OutputForm::Text)]
    pub output: OutputForm,
}

/// Plays the demo. Exit 0 when it ended as it should: a bad canary failed and rolled back, a
/// healthy one passed and promoted; 1 otherwise.
///
/// # Errors
/// When a part cannot be started or breaks, or somebody interrupts.
pub fn run(args: &DemoArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let ending = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        // Whichever comes first drops the others: every process ends with the play.
        tokio::select! {
            ending = timeout(PLAY_WITHIN, play(args, out)) => {
                ending.context("the demo did not end in time")?
            }
            _ = interrupt.recv() => bail!("interrupted"),
            _ = terminate.recv() => bail!("terminated"),
            _ = hangup.recv() => bail!("the terminal is gone"),
        }
    })?;
    if args.output == OutputForm::Json {
        writeln!(out, "{}", serde_json::to_string(&ending)?)?;
    }
    Ok(match ending.as_expected {
        true => Exit::Pass,
        false => Exit::Fail,
    })
}

async fn play(args: &DemoArgs, out: &mut dyn Write) -> anyhow::Result<Ending> {
    let mut voice = Voice::new(args.output, out);
    voice.say("starting two services and davy on free loopback ports")?;
    let Stage {
        davy,
        mut controller,
        traffic,
        mut load,
        processes,
    } = stage::set_up(args.healthy).await?;
    voice.say(&format!(
        "  baseline {}   canary {}   davy {}   controller {}",
        processes.baseline.address,
        processes.canary.address,
        processes.davy.address,
        controller.address
    ))?;
    voice.say(stage::canary_words(args.healthy))?;
    load.warm_up().await?;
    let analysis = davy.start(&stage::start_request(args.healthy)).await?;
    let events = davy.events(&analysis).await?;
    voice.say(&format!(
        "  analysis {analysis}, canary traffic {} %",
        traffic.canary_percent()
    ))?;
    let mut load = tokio::spawn(load.run(davy.clone(), analysis));
    let (body, verdict) = tokio::select! {
        found = follow(events, &mut voice) => found?,
        broken = &mut load => return Err(load_broke(broken)),
    };
    traffic.stop_reporting();
    let mut actions = Vec::new();
    loop {
        let heard = timeout(WEBHOOK_WITHIN, controller.actions.recv()).await;
        let action = heard.ok().flatten().context("no webhook arrived in time")?;
        let is_final = action.signature_ok && action.event == "verdict.final";
        actions.push(action);
        if is_final {
            break;
        }
    }
    let before = traffic.served();
    tokio::select! {
        () = tokio::time::sleep(AFTERMATH) => {}
        broken = &mut load => return Err(load_broke(broken)),
    }
    let after = traffic.served();
    load.abort();
    let ending = Ending {
        as_expected: as_expected(args.healthy, &verdict, traffic.canary_percent()),
        actions,
        served_after: ServedAfter {
            baseline: after.0 - before.0,
            canary: after.1 - before.1,
        },
        verdict: body,
    };
    voice.conclude(&verdict, &ending)?;
    Ok(ending)
}

/// Whether the demo ended as it should.
fn as_expected(healthy: bool, verdict: &Verdict, canary_percent: u8) -> bool {
    let seen = (verdict.verdict.as_str(), verdict.decision.as_str());
    match healthy {
        true => seen == ("pass", "promote") && canary_percent == 100,
        false => seen == ("fail", "rollback") && canary_percent == 0,
    }
}

fn load_broke(ended: Result<anyhow::Result<()>, tokio::task::JoinError>) -> anyhow::Error {
    match ended {
        Ok(Err(error)) => error,
        Ok(Ok(())) => anyhow::anyhow!("the load ended by itself"),
        Err(error) => anyhow::Error::new(error).context("the load broke"),
    }
}

/// Shows every look until the verdict is final; gives its body as it came, and as it was read.
async fn follow(
    mut events: EventStream,
    voice: &mut Voice<'_>,
) -> anyhow::Result<(serde_json::Value, Verdict)> {
    while let Some(StreamEvent { kind, data }) = events.next().await? {
        if kind != "look" && kind != "verdict.final" {
            continue;
        }
        let verdict: Verdict = serde_json::from_str(&data).context("a verdict body")?;
        if kind == "verdict.final" {
            return Ok((serde_json::from_str(&data)?, verdict));
        }
        voice.look(&verdict)?;
    }
    bail!("davy's events ended before a final verdict")
}

/// What the demo says while it runs; nothing where a program reads.
struct Voice<'out> {
    out: &'out mut dyn Write,
    silent: bool,
    /// A terminal: the line of a look replaces the one before.
    live: Option<ProgressBar>,
}

// === impl Voice ===

impl<'out> Voice<'out> {
    fn new(form: OutputForm, out: &'out mut dyn Write) -> Voice<'out> {
        let live = form == OutputForm::Text && std::io::stdout().is_terminal();
        Voice {
            out,
            silent: form == OutputForm::Json,
            live: live.then(progress::line),
        }
    }

    fn say(&mut self, text: &str) -> std::io::Result<()> {
        if self.silent {
            return Ok(());
        }
        writeln!(self.out, "{text}")?;
        self.out.flush()
    }

    fn look(&mut self, verdict: &Verdict) -> std::io::Result<()> {
        let line = report::progress_line(verdict);
        let looks = verdict.guarantee.looks;
        match &self.live {
            Some(live) => live.set_message(line),
            None if looks <= LOOKS_IN_FULL || looks.is_multiple_of(LOOKS_PER_LINE) => {
                self.say(&line)?
            }
            None => {}
        }
        Ok(())
    }

    fn conclude(&mut self, verdict: &Verdict, ending: &Ending) -> std::io::Result<()> {
        if let Some(live) = &self.live {
            live.finish_and_clear();
        }
        let guarantee = &verdict.guarantee;
        let (seconds, message) = (verdict.elapsed_secs, &verdict.message);
        self.say(&format!(
            "\nfinal verdict after {seconds:.0} s: {message}\n"
        ))?;
        self.say(&report::evidence(verdict))?;
        self.say(&format!(
            "promised: P(false fail) <= {} over all looks, of which {:.4} is spent after look {}; \
             P(false pass) <= {} per check",
            guarantee.alpha, guarantee.spent, guarantee.looks, guarantee.beta
        ))?;
        self.say("\nwhat the controller heard and did:")?;
        for action in &ending.actions {
            self.say(&format!("  {}", report::action_line(action)))?;
        }
        let ServedAfter { baseline, canary } = ending.served_after;
        self.say(&format!(
            "  in the {} s after it: {baseline} requests to the baseline, {canary} to the canary",
            AFTERMATH.as_secs()
        ))?;
        self.say(match ending.as_expected {
            true => "\nthe demo ended as it should",
            false => "\nthe demo did not end as it should",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_verdict_carried_out_is_an_ending_as_it_should_be() {
        let verdict = |verdict: &str, decision: &str| -> Verdict {
            serde_json::from_value(serde_json::json!({
                "verdict": verdict, "final": true, "decision": decision, "message": "",
                "elapsed_secs": 10, "checks": [],
                "guarantee": {"alpha": 0.01, "beta": 0.05, "spent": 0.001, "looks": 10},
            }))
            .expect("a verdict body")
        };
        let (failed, passed) = (verdict("fail", "rollback"), verdict("pass", "promote"));
        let undecided = verdict("inconclusive", "hold");
        assert!(as_expected(false, &failed, 0));
        assert!(as_expected(true, &passed, 100));
        for (healthy, verdict, canary_percent) in [
            (false, &failed, 50),
            (false, &passed, 100),
            (false, &undecided, 50),
            (true, &passed, 50),
            (true, &failed, 0),
            (true, &undecided, 50),
        ] {
            assert!(!as_expected(healthy, verdict, canary_percent));
        }
    }
}
