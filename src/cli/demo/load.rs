//! The load: asks both arms, times every answer and reports what it measured to davy.
//!
//! Owns the order of requests. There is one request at a time, so that a slow arm cannot slow the
//! other, and the arms take turns in shuffled blocks, so that whatever else the machine does hits
//! both alike: what is left between them is the version. It must not judge what it measures.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::json;

use super::chance::Chance;
use super::client::DavyClient;
use crate::clock::{Clock, SystemClock};
use crate::model::Arm;

/// Requests in one shuffled block; a weight is met exactly within each, in steps of 10 %.
const BLOCK: u8 = 10;
/// Items of an order: the smallest and the largest, all sizes equally often.
const ITEMS: (u32, u32) = (8, 24);
/// Pause between two requests in milliseconds: shortest and longest. It varies so that the load
/// does not fall into step with anything periodic.
const THINK_MILLIS: (u32, u32) = (2, 6);
/// How often what was measured is sent to davy.
const REPORT_EVERY: Duration = Duration::from_millis(500);
/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Requests to each arm before anything is measured: connections opened, caches filled.
const WARM_UP: u32 = 100;
/// Refusals that belong to the end of an analysis: the verdict is final, or about to be, and the
/// load has not heard of it yet.
const REFUSALS_AT_THE_END: [&str; 2] = ["analysis_final", "after_horizon"];
/// Seed of orders, their sizes and pauses.
const SEED: u64 = 0x010a_d100;

/// The average number of items of an order.
pub const ITEMS_MEAN: u32 = (ITEMS.0 + ITEMS.1) / 2;

/// What the load and the controller share: where requests go, and where they went.
#[derive(Debug)]
pub struct Traffic {
    canary_percent: AtomicU8,
    served_baseline: AtomicU64,
    served_canary: AtomicU64,
    reporting: AtomicBool,
}

/// Where the load goes.
#[derive(Debug, Clone)]
pub struct Targets {
    /// Address of the baseline's quotes, without the query.
    pub baseline: String,
    /// Address of the canary's.
    pub canary: String,
}

/// One request and how it went.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Measured {
    arm: Arm,
    /// When the answer was complete, unix milliseconds.
    at_millis: i64,
    latency_ms: f64,
    failed: bool,
}

/// A client that asks both arms.
pub struct Load {
    http: reqwest::Client,
    targets: Targets,
    traffic: Arc<Traffic>,
    chance: Chance,
}

// === impl Traffic ===

impl Traffic {
    /// Traffic with this share at the canary.
    pub fn new(canary_percent: u8) -> Traffic {
        Traffic {
            canary_percent: AtomicU8::new(canary_percent.min(100)),
            served_baseline: AtomicU64::new(0),
            served_canary: AtomicU64::new(0),
            reporting: AtomicBool::new(true),
        }
    }

    /// The canary's share now, percent.
    pub fn canary_percent(&self) -> u8 {
        self.canary_percent.load(Ordering::SeqCst)
    }

    /// Sets the canary's share and gives the former one.
    pub fn shift(&self, canary_percent: u8) -> u8 {
        self.canary_percent
            .swap(canary_percent.min(100), Ordering::SeqCst)
    }

    /// Requests answered so far, (baseline, canary).
    pub fn served(&self) -> (u64, u64) {
        (
            self.served_baseline.load(Ordering::SeqCst),
            self.served_canary.load(Ordering::SeqCst),
        )
    }

    /// Nothing more is to be told to davy; the traffic goes on.
    pub fn stop_reporting(&self) {
        self.reporting.store(false, Ordering::SeqCst);
    }

    fn count(&self, arm: Arm) {
        match arm {
            Arm::Baseline => &self.served_baseline,
            Arm::Canary => &self.served_canary,
        }
        .fetch_add(1, Ordering::SeqCst);
    }
}

// === impl Load ===

impl Load {
    /// A load on two targets, with one connection kept open to each.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn new(targets: Targets, traffic: Arc<Traffic>) -> anyhow::Result<Load> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(REQUEST_TIMEOUT)
            .build()?;
        Ok(Load {
            http,
            targets,
            traffic,
            chance: Chance::new(SEED),
        })
    }

    /// Asks both arms a hundred times without measuring.
    ///
    /// # Errors
    /// When an arm does not answer as it should.
    pub async fn warm_up(&mut self) -> anyhow::Result<()> {
        for _ in 0..WARM_UP {
            for arm in [Arm::Baseline, Arm::Canary] {
                let items = self.chance.between(ITEMS.0, ITEMS.1);
                if !self.answered(arm, items).await {
                    bail!("the {} does not answer", arm_name(arm));
                }
            }
        }
        Ok(())
    }

    /// Runs until it is dropped, or something fails that the demo cannot go on without.
    ///
    /// # Errors
    /// When davy does not take the samples.
    pub async fn run(mut self, davy: DavyClient, analysis: String) -> anyhow::Result<()> {
        let mut measured = Vec::new();
        let mut next_report = tokio::time::Instant::now() + REPORT_EVERY;
        loop {
            for arm in order(self.traffic.canary_percent(), &mut self.chance) {
                measured.push(self.measure(arm).await);
                self.traffic.count(arm);
                let think = self.chance.between(THINK_MILLIS.0, THINK_MILLIS.1);
                tokio::time::sleep(Duration::from_millis(u64::from(think))).await;
            }
            if tokio::time::Instant::now() < next_report {
                continue;
            }
            next_report += REPORT_EVERY;
            if self.traffic.reporting.load(Ordering::SeqCst) {
                report(&davy, &analysis, &measured).await?;
            }
            measured.clear();
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the latency of a request is what the demo measures"
    )]
    async fn measure(&mut self, arm: Arm) -> Measured {
        let items = self.chance.between(ITEMS.0, ITEMS.1);
        let begun = Instant::now();
        let answered = self.answered(arm, items).await;
        let latency_ms = begun.elapsed().as_secs_f64() * 1_000.0;
        Measured {
            arm,
            at_millis: SystemClock.now().millis(),
            latency_ms,
            failed: !answered,
        }
    }

    /// Whether the arm gave a whole good answer.
    async fn answered(&self, arm: Arm, items: u32) -> bool {
        let target = match arm {
            Arm::Baseline => &self.targets.baseline,
            Arm::Canary => &self.targets.canary,
        };
        let asked = self.http.get(format!("{target}?items={items}"));
        match asked.send().await {
            Ok(answer) => answer.status().is_success() && answer.bytes().await.is_ok(),
            Err(_) => false,
        }
    }
}

async fn report(davy: &DavyClient, analysis: &str, measured: &[Measured]) -> anyhow::Result<()> {
    let sent = davy.send_samples(samples(analysis, measured)).await;
    let answer = sent.context("davy did not take the samples")?;
    let otherwise = |code: &str| !REFUSALS_AT_THE_END.contains(&code);
    let refused_otherwise = answer.refusals.iter().find(|r| otherwise(&r.code));
    match refused_otherwise {
        Some(refusal) => bail!(
            "davy refused a sample: {} ({})",
            refusal.message,
            refusal.code
        ),
        None => Ok(()),
    }
}

/// What was measured as NDJSON, two samples a request, addressed by analysis and arm.
fn samples(analysis: &str, measured: &[Measured]) -> String {
    let mut lines = String::new();
    for request in measured {
        let failed = u8::from(request.failed);
        let of = |metric: &str, value: serde_json::Value| {
            json!({
                "ts": request.at_millis, "metric": metric, "value": value,
                "analysis": analysis, "arm": arm_name(request.arm),
            })
        };
        // A failed request has no latency of the work it did not do.
        if !request.failed {
            lines += &of("request_latency", json!(request.latency_ms)).to_string();
            lines.push('\n');
        }
        lines += &of("errors", json!(failed)).to_string();
        lines.push('\n');
    }
    lines
}

/// The arms of one block in random order, the canary's share as near to the weight as tenths are.
fn order(canary_percent: u8, chance: &mut Chance) -> Vec<Arm> {
    let canary = (u16::from(canary_percent) * u16::from(BLOCK) + 50) / 100;
    let arm = |place: u16| match place < canary {
        true => Arm::Canary,
        false => Arm::Baseline,
    };
    let mut arms: Vec<Arm> = (0..u16::from(BLOCK)).map(arm).collect();
    chance.shuffle(&mut arms);
    arms
}

fn arm_name(arm: Arm) -> &'static str {
    match arm {
        Arm::Baseline => "baseline",
        Arm::Canary => "canary",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_meets_the_weight_and_blocks_differ() {
        let mut chance = Chance::new(3);
        for (percent, canary) in [(0, 0), (10, 1), (20, 2), (50, 5), (100, 10)] {
            for _ in 0..20 {
                let arms = order(percent, &mut chance);
                let at_canary = arms.iter().filter(|arm| **arm == Arm::Canary).count();
                assert_eq!((arms.len(), at_canary), (10, canary), "at {percent} %");
            }
        }
        let blocks: Vec<_> = (0..20).map(|_| order(50, &mut chance)).collect();
        assert!(blocks.windows(2).any(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn samples_are_what_the_codec_reads() {
        let measured = [
            Measured {
                arm: Arm::Baseline,
                at_millis: 1_764_000_000_000,
                latency_ms: 1.25,
                failed: false,
            },
            Measured {
                arm: Arm::Canary,
                at_millis: 1_764_000_000_010,
                latency_ms: 5_000.0,
                failed: true,
            },
        ];
        let text = samples("an_1", &measured);
        let limits = crate::codec::Limits::default();
        let form = crate::codec::json::Form::of_content_type(Some("application/x-ndjson"));
        let decoded = crate::codec::json::decode(text.as_bytes(), form.expect("known"), &limits)
            .expect("a readable body");
        assert!(decoded.refusals.is_empty());
        let seen: Vec<(&str, Arm)> = decoded
            .samples
            .iter()
            .map(|sample| {
                let address = sample.address.as_ref().expect("addressed");
                (sample.metric.as_str(), address.arm)
            })
            .collect();
        let expected = [
            ("request_latency", Arm::Baseline),
            ("errors", Arm::Baseline),
            ("errors", Arm::Canary),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_shift_gives_the_former_share() {
        let traffic = Traffic::new(50);
        assert_eq!(traffic.shift(0), 50);
        assert_eq!(traffic.shift(200), 0);
        assert_eq!(traffic.canary_percent(), 100);
    }
}
