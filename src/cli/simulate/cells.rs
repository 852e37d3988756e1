//! The cells of the calibration suite, written as plans.
//!
//! Owns which streams the promise is held against, and what each may come to. A cell is a plan
//! with its own traffic, whose canary will be put exactly on the boundary. It must not know how
//! cells are run: that is `suite`'s.

use super::draw::Quirk;
use crate::config::plan_file::{Measured, parse_plan_with};
use crate::plan::Plan;

/// Error probability of a cell, on either side.
pub const LEVEL: f64 = 0.05;
/// What a cell may come to whose dependence is estimated: an estimate cannot be exact.
pub const LEVEL_ESTIMATED: f64 = 0.065;
/// Planned looks of a cell that does not name its own.
const LOOKS: &[usize] = &[10, 60, 300];
/// One length is enough where only the number of checks, or the pairing, is at stake.
const LOOKS_60: &[usize] = &[60];

/// Ticks of the history that a calibrated cell draws: a day of minutes, 48 batches.
const HISTORY_TICKS: usize = 1_440;

/// A stream on the boundary.
#[derive(Debug, Clone)]
pub struct Cell {
    /// Name, also of its random numbers.
    pub name: String,
    /// Planned lengths.
    pub looks: &'static [usize],
    /// What either rate may come to.
    pub bound: f64,
    /// What its traffic does that a plan cannot describe.
    pub quirk: Quirk,
    /// Ticks of the healthy history on which each repetition calibrates its plan; 0 for none.
    pub history: usize,
    /// `metrics`, `checks` and `traffic` of the plan.
    body: String,
}

/// All cells.
pub fn all() -> Vec<Cell> {
    let mut cells = vec![];
    let mut add = |name: &str, looks: &'static [usize], bound: f64, body: String| {
        cells.push(Cell {
            name: name.to_owned(),
            looks,
            bound,
            quirk: Quirk::None,
            history: 0,
            body,
        });
    };
    for (name, rate, share) in [
        ("50/50", 100.0, "50%"),
        ("95/5", 100.0, "5%"),
        ("1+19", 20.0, "5%"),
    ] {
        let body = latency("5%", &fixed(rate, share, "sigma: 0.7"));
        add(
            &format!("log-normal {name}, tolerance 5 %"),
            LOOKS,
            LEVEL,
            body,
        );
    }
    let sparse = "{per_second: 10, canary_share: 5%, metrics: {m: {sigma: 0.7}}}";
    add(
        "log-normal .5+9.5 arriving at random, tolerance 5 %",
        LOOKS,
        LEVEL,
        latency("5%", sparse),
    );
    let ties = fixed(100.0, "50%", "median: 3, sigma: 0.4, resolution: 1");
    add(
        "ties: whole numbers around 3, tolerance 0 %",
        LOOKS,
        LEVEL,
        latency("0%", &ties),
    );
    let rounded = fixed(100.0, "50%", "median: 5, sigma: 0.7, resolution: 1");
    add(
        "rounded 1 ms, median 5 ms, tolerance 5 %",
        LOOKS_60,
        LEVEL,
        latency("5%", &rounded),
    );
    let shocked = "{arrivals: fixed, per_second: 100, canary_share: 5%, \
                   load: {sd: 0.3, ar: 0.8}, metrics: {m: {sigma: 0.7}}}";
    add(
        "log-normal 95/5 under common load shocks, tolerance 5 %",
        LOOKS,
        LEVEL,
        latency("5%", shocked),
    );
    errors(&mut add);
    dependent(&mut add);
    cells.extend(calibrated());
    cells.extend(unlike());
    cells
}

/// Checks under `dispersion: calibrated`: each repetition draws its own history.
fn calibrated() -> Vec<Cell> {
    let cell = |name: String, looks, quirk, body| Cell {
        name,
        looks,
        bound: LEVEL_ESTIMATED,
        quirk,
        history: HISTORY_TICKS,
        body,
    };
    let mut cells = Vec::new();
    for (ar, phi) in [("0", ".0"), ("0.5", ".5"), ("0.8", ".8")] {
        let name = format!("gauge AR({phi}), calibrated, tolerance 10 %");
        let body = gauge("calibrated", ar);
        cells.push(cell(name, &[60, 300], Quirk::None, body));
    }
    let traffic = fixed(1000.0, "50%", "share: 1%");
    let body = ratio("20%, dispersion: calibrated", &traffic);
    let name = "errors 1 % in bursts of variance .5, calibrated, tolerance 20 %";
    cells.push(cell(name.to_owned(), LOOKS, Quirk::Bursts(2), body));
    cells
}

/// Units and arms that are unlike each other.
fn unlike() -> Vec<Cell> {
    let cell = |name: String, quirk, body| Cell {
        name,
        looks: LOOKS_60,
        bound: LEVEL_ESTIMATED,
        quirk,
        history: 0,
        body,
    };
    let mut cells = Vec::new();
    for (times, said) in [(1.5, "1.5"), (2.0, "2")] {
        let name = format!("log-normal 20 v 380, canary spread {said} times, tolerance 5 %");
        let body = latency("5%", &fixed(400.0, "5%", "sigma: 0.7"));
        cells.push(cell(name, Quirk::Spread(times), body));
    }
    for (baseline, canary) in [(5, 5), (10, 10)] {
        let name = format!("errors 1 % by pod {canary}v{baseline}, log-odds .2 apart");
        cells.push(cell(name, Quirk::None, ratio_by_pod(baseline, canary)));
    }
    let name = "traces of 5 values, correlation .5, tolerance 5 %".to_owned();
    cells.push(cell(name, Quirk::None, traces()));
    let name = "pods 10v10, 5 % apart, one of each with ten times the traffic".to_owned();
    cells.push(cell(name, Quirk::Busy(10.0), pods(10, 10)));
    cells
}

type Add<'a> = dyn FnMut(&str, &'static [usize], f64, String) + 'a;

/// Rare errors.
fn errors(add: &mut Add<'_>) {
    for (name, share) in [("50/50", "50%"), ("95/5", "5%")] {
        let traffic = fixed(2000.0, share, "share: 0.1%");
        for (said, tolerance) in [
            ("50 %", "50%"),
            ("20 % and .1pp", "{relative: 20%, absolute: 0.1pp}"),
        ] {
            let body = ratio(tolerance, &traffic);
            add(
                &format!("errors .1 % {name}, tolerance {said}"),
                LOOKS,
                LEVEL,
                body,
            );
        }
    }
}

/// Autocorrelated gauges, pods, and many checks together.
fn dependent(add: &mut Add<'_>) {
    for (ar, phi) in [("0", ".0"), ("0.5", ".5"), ("0.8", ".8")] {
        let body = gauge("envelope", ar);
        add(
            &format!("gauge AR({phi}), envelope, tolerance 10 %"),
            &[60, 300],
            LEVEL_ESTIMATED,
            body,
        );
    }
    for (baseline, canary) in [(3, 3), (10, 3), (10, 10)] {
        let name = format!("pods {canary}v{baseline}, 5 % apart, tolerance 5 %");
        add(&name, LOOKS_60, LEVEL_ESTIMATED, pods(baseline, canary));
    }
    for checks in [1, 3, 8, 20] {
        let name = format!("{checks} checks together, log-normal 50/50, tolerance 5 %");
        add(&name, LOOKS_60, LEVEL, family(checks));
    }
}

fn fixed(rate: f64, share: &str, shape: &str) -> String {
    format!(
        "{{arrivals: fixed, per_second: {rate}, canary_share: {share}, metrics: {{m: {{{shape}}}}}}}"
    )
}

fn latency(tolerance: &str, traffic: &str) -> String {
    format!(
        "metrics: {{m: {{kind: latency}}}}\n\
         checks: [{{compare: m, tolerance: {tolerance}, min_samples: 1}}]\ntraffic: {traffic}\n"
    )
}

fn ratio(tolerance: &str, traffic: &str) -> String {
    format!(
        "metrics: {{m: {{kind: ratio}}}}\n\
         checks: [{{compare: m, tolerance: {tolerance}, min_samples: 1}}]\ntraffic: {traffic}\n"
    )
}

fn gauge(dispersion: &str, ar: &str) -> String {
    format!(
        "metrics: {{m: {{kind: gauge}}}}\n\
         checks: [{{compare: m, tolerance: 10%, min_samples: 1, dispersion: {dispersion}}}]\n\
         traffic: {{metrics: {{m: {{level: 100, sd: 0.1, ar: {ar}}}}}}}\n"
    )
}

fn pods(baseline: u32, canary: u32) -> String {
    let share = f64::from(canary) / f64::from(baseline + canary);
    format!(
        "metrics: {{m: {{kind: latency, cluster: {{by: pod, lifetime: run}}}}}}\n\
         checks: [{{compare: m, tolerance: 5%, min_samples: 1}}]\n\
         traffic: {{arrivals: fixed, per_second: {}, canary_share: {share}, metrics: \
         {{m: {{sigma: 0.7, units: {{baseline: {baseline}, canary: {canary}, sd: 0.05}}}}}}}}\n",
        20 * (baseline + canary)
    )
}

fn ratio_by_pod(baseline: u32, canary: u32) -> String {
    format!(
        "metrics: {{m: {{kind: ratio, cluster: {{by: pod, lifetime: run}}}}}}\n\
         checks: [{{compare: m, tolerance: 20%, min_samples: 1}}]\n\
         traffic: {{arrivals: fixed, per_second: {}, canary_share: 50%, metrics: \
         {{m: {{share: 1%, units: {{baseline: {baseline}, canary: {canary}, sd: 0.2}}}}}}}}\n",
        100 * (baseline + canary)
    )
}

fn traces() -> String {
    "metrics: {m: {kind: latency, cluster: {by: trace, lifetime: tick}}}\n\
     checks: [{compare: m, tolerance: 5%, min_samples: 1}]\n\
     traffic: {arrivals: fixed, per_second: 100, canary_share: 50%, metrics: \
     {m: {sigma: 0.7, units: {size: 5, sd: 0.7}}}}\n"
        .to_owned()
}

fn family(checks: usize) -> String {
    let names: Vec<String> = (0..checks).map(|number| format!("m{number}")).collect();
    let list = |form: fn(&String) -> String| names.iter().map(form).collect::<Vec<_>>().join(", ");
    format!(
        "metrics: {{{}}}\nchecks: [{}]\n\
         traffic: {{arrivals: fixed, per_second: 100, canary_share: 50%}}\n",
        list(|name| format!("{name}: {{kind: latency}}")),
        list(|name| format!("{{compare: {name}, tolerance: 5%, min_samples: 1}}")),
    )
}

// === impl Cell ===

impl Cell {
    /// The cell's plan at this many looks. A pass does not stop it: the run goes on to show
    /// whether it would have failed.
    ///
    /// # Errors
    /// What is wrong with the plan; a test holds all cells to none.
    pub fn plan(&self, looks: usize) -> anyhow::Result<Plan> {
        let text = format!(
            "version: davy/v1\nplan: calibration\nhorizon: {looks}s\ntick: 1s\nlateness: 0s\n\
             min_duration: 1s\nstop_on_pass: false\nalpha: {LEVEL}\nbeta: {LEVEL}\n{}",
            self.body
        );
        let parsed = parse_plan_with(&self.name, &text, Measured::Soon);
        Ok(parsed
            .map_err(|problems| anyhow::anyhow!("{problems}"))?
            .plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_is_a_plan_with_traffic_under_a_name_of_its_own() {
        let cells = all();
        for cell in &cells {
            for &looks in cell.looks {
                let plan = cell.plan(looks).unwrap();
                assert_eq!(plan.looks(), looks);
                assert!(plan.traffic.is_some());
            }
        }
        let mut names: Vec<&str> = cells.iter().map(|cell| &*cell.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), cells.len());
    }
}
