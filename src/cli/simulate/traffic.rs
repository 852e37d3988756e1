//! From the command line to traffic: flags over a file over the plan's own section.
//!
//! Owns the flags. The written form of a traffic file is `config::plan_file::traffic`'s. Next:
//! `draw`, which draws from what comes out.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;

use crate::config::plan_file::traffic::{default_shape, parse_traffic};
use crate::config::quantity::{Amount, amount};
use crate::plan::traffic::{Arrivals, MetricTraffic, Shape, Traffic};
use crate::plan::{MetricKind, Plan};

/// Arguments that say what the traffic is like.
#[derive(Debug, Clone, Default, Args)]
pub struct TrafficArgs {
    /// Traffic: a YAML file of the form of a plan's `traffic` section. Without it, that section.
    #[arg(long = "traffic", value_name = "FILE", requires = "plan")]
    pub file: Option<PathBuf>,
    /// Samples a second of every metric, both arms together, such as 200 or 200/s.
    #[arg(long, value_name = "RATE", requires = "plan", value_parser = rate)]
    pub rate: Option<f64>,
    /// Share of samples that goes to the canary, such as 10%.
    #[arg(long, value_name = "SHARE", requires = "plan", value_parser = share)]
    pub canary_share: Option<f64>,
    /// Latencies of the baseline: median=120,sigma=0.7,resolution=1, each optional.
    #[arg(long, value_name = "SHAPE", requires = "plan", value_parser = LatencyShape::parse)]
    pub latency: Option<LatencyShape>,
    /// Bad share of the baseline, such as 0.1%.
    #[arg(long, value_name = "SHARE", requires = "plan", value_parser = share)]
    pub errors: Option<f64>,
    /// Resample the baseline of this recording (CSV as for `davy replay`) instead.
    #[arg(long, value_name = "FILE", requires = "plan")]
    pub recording: Option<PathBuf>,
}

/// What was said of latencies.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LatencyShape {
    /// Median.
    pub median: Option<f64>,
    /// Standard deviation of the logarithm.
    pub sigma: Option<f64>,
    /// Values are multiples of this.
    pub resolution: Option<f64>,
}

impl LatencyShape {
    /// From `median=120,sigma=0.7`, with or without `lognormal:` before it.
    ///
    /// # Errors
    /// The message says what can be written.
    pub fn parse(text: &str) -> Result<LatencyShape, String> {
        let mut shape = LatencyShape::default();
        let text = text.strip_prefix("lognormal:").unwrap_or(text);
        for part in text.split(',') {
            let refused = || format!("`{part}` says nothing: write median=120,sigma=0.7");
            let (key, value) = part.split_once('=').ok_or_else(refused)?;
            let number = value.trim().parse::<f64>().map_err(|_| refused())?;
            let (slot, least) = match key.trim() {
                "median" => (&mut shape.median, 1e-9),
                "sigma" => (&mut shape.sigma, 0.0),
                "resolution" => (&mut shape.resolution, 0.0),
                _ => return Err(refused()),
            };
            if !(least..=1e12).contains(&number) {
                return Err(format!("{key} {number} is out of range"));
            }
            *slot = Some(number);
        }
        Ok(shape)
    }
}

impl TrafficArgs {
    /// The traffic that a plan is to be simulated on.
    ///
    /// # Errors
    /// The file cannot be read, or nothing says how many samples there are.
    pub fn of(&self, plan: &Plan) -> anyhow::Result<Traffic> {
        let written = match &self.file {
            None => plan.traffic.clone(),
            Some(path) => {
                let name = path.display().to_string();
                let text =
                    std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
                Some(
                    parse_traffic(&name, &text, plan)
                        .map_err(|problems| anyhow::anyhow!("{problems}"))?,
                )
            }
        };
        // What is resampled needs no rate, but still a place for it.
        let rate = self.rate.or(self.recording.as_ref().map(|_| 0.0));
        let Some(mut traffic) = written.or_else(|| rate.map(|rate| plain(plan, rate))) else {
            bail!(
                "nothing says how much traffic there is: add `traffic` to the plan, or name \
                 --traffic FILE, --rate 200 --canary-share 10%, or --recording FILE"
            );
        };
        if let Some(share) = self.canary_share {
            traffic.canary_share = share;
        }
        for metric in &mut traffic.metrics {
            if let Some(rate) = self.rate {
                metric.per_second = rate;
            }
            match (&mut metric.shape, self.latency, self.errors) {
                (
                    Shape::LogNormal {
                        median,
                        sigma,
                        resolution,
                    },
                    Some(said),
                    _,
                ) => {
                    *median = said.median.unwrap_or(*median);
                    *sigma = said.sigma.unwrap_or(*sigma);
                    *resolution = said.resolution.unwrap_or(*resolution);
                }
                (Shape::Errors { share }, _, Some(said)) => *share = said,
                _ => {}
            }
        }
        Ok(traffic)
    }
}

/// Traffic of which only the rate is known.
fn plain(plan: &Plan, per_second: f64) -> Traffic {
    let metric = |kind: MetricKind| MetricTraffic {
        per_second,
        shape: default_shape(kind),
        units: None,
    };
    Traffic {
        canary_share: 0.5,
        arrivals: Arrivals::Poisson,
        load: None,
        metrics: plan.metrics.iter().map(|own| metric(own.kind)).collect(),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let number = text.trim().trim_end_matches("/s").parse::<f64>().ok();
    let fits = number.filter(|number| *number > 0.0 && *number <= 1e7);
    fits.ok_or_else(|| format!("`{text}` is no rate: write 200 or 200/s"))
}

fn share(text: &str) -> Result<f64, String> {
    let share = match amount(text) {
        Some(Amount::Percent(share) | Amount::Plain(share, None)) => Some(share),
        _ => None,
    };
    let fits = share.filter(|share| *share > 0.0 && *share < 1.0);
    fits.ok_or_else(|| format!("`{text}` is no share between 0 and 100 %: write 10%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_or_refused() {
        let shape = LatencyShape::parse("lognormal:median=120,sigma=0.7").unwrap();
        assert_eq!((shape.median, shape.sigma), (Some(120.0), Some(0.7)));
        assert!(LatencyShape::parse("median=-1").is_err());
        assert!(LatencyShape::parse("mean=1").is_err());
        assert_eq!(rate("200/s"), Ok(200.0));
        assert!(rate("0").is_err() && rate("fast").is_err());
        assert_eq!(share("10%"), Ok(0.1));
        assert!(share("100%").is_err() && share("5ms").is_err());
    }
}
