//! Random recordings of two arms: what their pods would expose at each scrape, in no format.
//!
//! Owns the made-up services: counters that begin anew, classic and exponential histograms, a
//! gauge, pods that come and go. It must not know how a format writes them: that is `written`.

use std::collections::BTreeMap;

/// Chance from a seed (splitmix64): the same on every machine.
#[derive(Debug, Clone)]
pub struct Chance(pub u64);

/// One series with its points, as a service has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub family: Family,
    pub labels: Vec<(&'static str, String)>,
    pub points: Vec<Point>,
}

/// What is exposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// `requests_total`.
    Requests,
    /// `duration_seconds`, with listed bounds.
    Duration,
    /// `latency_seconds`, with exponential buckets.
    Latency,
    /// `queue_depth`.
    Depth,
}

/// One point of a series; times in unix milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    pub ts: i64,
    pub start: i64,
    pub before: Option<Observed>,
    pub ts_before: i64,
    pub value: Observed,
}

/// What is observed at a point, since the start.
#[derive(Debug, Clone, PartialEq)]
pub enum Observed {
    Total(u64),
    Gauge(f64),
    /// Observations up to each of [`BOUNDS`], from the one before it, and above the last.
    Listed(Vec<u64>),
    Exponential {
        scale: i32,
        zeros: u64,
        /// Observations of a bucket: bucket `i` is above `base^i`, up to `base^(i+1)`.
        buckets: BTreeMap<i32, u64>,
    },
}

/// Upper ends of the listed buckets, in seconds.
pub const BOUNDS: [f64; 4] = [0.125, 0.25, 0.5, 1.0];
/// The bound of `latency_seconds` that plans ask for: a power of two is one at every scale.
pub const LATENCY_BOUND: f64 = 2.0;
/// Milliseconds between two scrapes.
pub const SCRAPE_MILLIS: i64 = 1_000;

/// Scrapes that are sent together, one after another; each is all series at one time.
pub type Delivery = Vec<Vec<Series>>;

/// How a recording is made.
#[derive(Debug, Clone, Copy)]
pub struct Making {
    /// Time of the first scrape, unix milliseconds.
    pub from: i64,
    pub scrapes: i64,
    pub scrape_millis: i64,
    /// Whether starts are told: then a process may begin anew unseen in its totals.
    pub with_starts: bool,
    /// Of a thousand requests of the canary, those that fail; and those that are slow.
    pub bad: u64,
    pub slow: u64,
    /// The label `version` of each arm.
    pub versions: [&'static str; 2],
}

/// One process and all it has counted since its start.
struct Pod {
    version: &'static str,
    name: String,
    lives: std::ops::Range<i64>,
    start: i64,
    now: Counted,
    before: Option<(i64, Counted)>,
}

#[derive(Debug, Clone, Default)]
struct Counted {
    good: u64,
    bad: u64,
    listed: Vec<u64>,
    scale: i32,
    zeros: u64,
    buckets: BTreeMap<i32, u64>,
    depth: f64,
}

// === impl Chance ===

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to, not including, `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Whether something happens that does so many times in a hundred.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at as u64 + 1) as usize);
        }
    }
}

// === impl Making ===

impl Making {
    /// All scrapes, in the order and the company in which they are sent.
    pub fn deliveries(&self, chance: &mut Chance) -> Vec<Delivery> {
        let mut pods = self.pods(chance);
        let mut deliveries: Vec<Delivery> = Vec::new();
        for scrape in 0..self.scrapes {
            let mut all = Vec::new();
            for (number, pod) in pods.iter_mut().enumerate() {
                if !pod.lives.contains(&scrape) {
                    continue;
                }
                let offset =
                    (number as i64 * 7 + chance.below(5) as i64) * self.scrape_millis / 100;
                let ts = self.from + scrape * self.scrape_millis + offset;
                pod.live(self, ts, chance);
                pod.expose(ts, &mut all);
            }
            match deliveries.last_mut() {
                Some(last) if last.len() == 1 && chance.percent(20) => last.push(all),
                _ => deliveries.push(vec![all]),
            }
        }
        deliveries
    }

    fn pods(&self, chance: &mut Chance) -> Vec<Pod> {
        let mut pods = Vec::new();
        for (arm, version) in self.versions.into_iter().enumerate() {
            for number in 0..=chance.below(3) {
                // The first of each arm is always there.
                let born = if number == 0 {
                    0
                } else {
                    chance.below(6) as i64
                };
                let dies = match chance.percent(20) && number > 0 {
                    true => born + 5 + chance.below(8) as i64,
                    false => self.scrapes,
                };
                let since = chance.below(3_000) as i64 - 2_000;
                pods.push(Pod {
                    version,
                    name: format!("pod-{arm}{number}"),
                    lives: born..dies,
                    start: self.from + born * self.scrape_millis - 2_001 + since.min(0),
                    now: Counted::nothing(chance.below(4) as i32),
                    before: None,
                });
            }
        }
        pods
    }
}

// === impl Pod ===

impl Pod {
    /// Answers requests until the next scrape, and may begin anew.
    fn live(&mut self, making: &Making, ts: i64, chance: &mut Chance) {
        let is_canary = self.version == making.versions[1];
        let shares = if is_canary {
            [making.bad, making.slow]
        } else {
            [20, 60]
        };
        let scrape_before = self.before.as_ref().map(|(ts, _)| *ts);
        let is_reset = scrape_before.is_some() && chance.percent(6);
        let old = self.now.clone();
        if let (true, Some(before)) = (is_reset, scrape_before) {
            self.now = Counted::nothing(old.scale);
            self.start = before + 1 + chance.below((ts - before - 1).max(1) as u64) as i64;
        } else if chance.percent(10) && old.scale > 0 {
            self.now.scale -= 1;
            let buckets = std::mem::take(&mut self.now.buckets);
            for (index, count) in buckets {
                *self.now.buckets.entry(index >> 1).or_default() += count;
            }
        }
        let requests = 300 + chance.below(900);
        let of_thousand = |share: u64, chance: &mut Chance| {
            let hits = (0..requests).filter(|_| chance.below(1_000) < share);
            hits.count() as u64
        };
        let bad = of_thousand(shares[0], chance);
        self.now.bad += bad;
        self.now.good += requests - bad;
        let slow = of_thousand(shares[1], chance);
        for request in 0..requests {
            let listed = match request < slow {
                true => 3 + chance.below(2),
                false => chance.below(3),
            };
            self.now.listed[listed as usize] += 1;
            // A power of two is a bucket's end; those above it are at or past its number.
            let end = 1 << self.now.scale;
            let index = match request < slow {
                true => end + chance.below(6) as i32,
                false => end - 1 - chance.below(12) as i32,
            };
            *self.now.buckets.entry(index).or_default() += 1;
        }
        self.now.zeros += chance.below(3);
        self.now.depth = 20.0 + chance.below(8_000) as f64 / 1_000.0;
        if is_reset && !making.with_starts {
            self.now.stay_below(&old);
        }
    }

    fn expose(&mut self, ts: i64, all: &mut Vec<Series>) {
        let series = |family, code: Option<&'static str>, observed: fn(&Counted) -> Observed| {
            let mut labels = vec![
                ("version", self.version.to_owned()),
                ("pod", self.name.clone()),
            ];
            labels.extend(code.map(|code| ("code", code.to_owned())));
            let before = self.before.as_ref();
            // An increment is told only of what the same process has counted.
            let before = before.filter(|(ts, _)| *ts >= self.start);
            let point = Point {
                ts,
                start: self.start,
                before: before.map(|(_, counted)| observed(counted)),
                ts_before: before.map_or(self.start, |(ts, _)| *ts),
                value: observed(&self.now),
            };
            Series {
                family,
                labels,
                points: vec![point],
            }
        };
        let exponential = |counted: &Counted| Observed::Exponential {
            scale: counted.scale,
            zeros: counted.zeros,
            buckets: counted.buckets.clone(),
        };
        all.extend([
            series(Family::Requests, Some("200"), |c| Observed::Total(c.good)),
            series(Family::Requests, Some("503"), |c| Observed::Total(c.bad)),
            series(Family::Duration, None, |c| {
                Observed::Listed(c.listed.clone())
            }),
            series(Family::Latency, None, exponential),
            series(Family::Depth, None, |c| Observed::Gauge(c.depth)),
        ]);
        self.before = Some((ts, self.now.clone()));
    }
}

// === impl Counted ===

impl Counted {
    fn nothing(scale: i32) -> Counted {
        Counted {
            scale,
            listed: vec![0; BOUNDS.len() + 1],
            ..Counted::default()
        }
    }

    /// Less than before of everything that was there, so that the new beginning shows in every
    /// part: without a start there is no other way to see it.
    fn stay_below(&mut self, old: &Counted) {
        let below = |now: u64, old: u64| now.min(old.saturating_sub(1));
        self.good = below(self.good, old.good);
        self.bad = below(self.bad, old.bad);
        self.zeros = below(self.zeros, old.zeros);
        for (now, old) in self.listed.iter_mut().zip(&old.listed) {
            *now = below(*now, *old);
        }
        for (index, now) in &mut self.buckets {
            *now = below(*now, old.buckets.get(index).copied().unwrap_or(0));
        }
        self.buckets.retain(|_, count| *count > 0);
    }
}
