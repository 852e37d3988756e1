//! `davy judge`: Kayenta's judge on numbers, without Kayenta.
//!
//! Owns the arguments and what is printed: an answer a row, or one result of a whole document. What
//! an answer is belongs to [`crate::codec::kayenta`].

use std::io::{Read as _, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::Args;

use crate::cli::exit::Exit;
use crate::codec::kayenta::configuration::CanaryConfig;
use crate::codec::kayenta::rows::{Row, read_rows};
use crate::codec::kayenta::{ScoreThresholds, judge, pairs};

/// Judge numbers as Kayenta's NetflixACAJudge-v1.0 does: same labels, bounds and scores.
///
/// Either rows, each with settings and the values of both sides; or a whole document, a canary
/// configuration and the metric set pairs to judge under it. FILE may be - for standard input.
#[derive(Debug, Clone, Args)]
pub struct JudgeArgs {
    /// Array of rows {"params", "baseline", "canary"}, or - for standard input: prints a JSON line for
    /// each
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "kayenta_config",
        conflicts_with_all = ["kayenta_config", "pairs", "pass", "marginal"]
    )]
    pub kayenta: Option<PathBuf>,
    /// Canary configuration: prints the judge's result on --pairs as one JSON object
    #[arg(long, value_name = "FILE", requires = "pairs")]
    pub kayenta_config: Option<PathBuf>,
    /// Array of metric set pairs
    #[arg(long, value_name = "FILE", requires = "kayenta_config")]
    pub pairs: Option<PathBuf>,
    /// Least score that passes; the configuration's own is not used, as in Kayenta. The exit code does not
    /// tell the score
    #[arg(long, value_name = "SCORE", default_value_t = 95.0)]
    pub pass: f64,
    /// Least score that is marginal
    #[arg(long, value_name = "SCORE", default_value_t = 75.0)]
    pub marginal: f64,
}

/// Runs the command and writes the answers to `out`.
///
/// # Errors
/// When a file cannot be read or judged, with its row, pair or metric; nothing is printed then.
pub fn run(args: &JudgeArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    match (&args.kayenta, &args.kayenta_config, &args.pairs) {
        (Some(rows), ..) => judge_rows(rows, out)?,
        (None, Some(config), Some(pairs)) => judge_document(args, config, pairs, out)?,
        _ => anyhow::bail!("nothing to judge; name rows with --kayenta"),
    }
    Ok(Exit::Pass)
}

fn judge_rows(path: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    let text = contents(path)?;
    let rows = read_rows(&text).map_err(|error| anyhow!("{}: {error}", path.display()))?;
    for (index, row) in rows.iter().enumerate() {
        tell_of_strangers(index, row);
        serde_json::to_writer(&mut *out, &row.judge())?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// A misspelt parameter would leave its default in place without a word.
fn tell_of_strangers(index: usize, row: &Row) {
    let strangers: Vec<&str> = row.params.others.keys().map(String::as_str).collect();
    if !strangers.is_empty() {
        let names = strangers.join(", ");
        eprintln!("davy: row {index}: unknown under params, and not used: {names}");
    }
}

fn judge_document(
    args: &JudgeArgs,
    config: &Path,
    pairs: &Path,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let located = |path: &Path| {
        let path = path.display().to_string();
        move |error: String| anyhow!("{path}: {error}")
    };
    let document = CanaryConfig::read(&contents(config)?).map_err(located(config))?;
    let list = pairs::read_pairs(&contents(pairs)?).map_err(located(pairs))?;
    let thresholds = ScoreThresholds {
        pass: args.pass,
        marginal: args.marginal,
    };
    let result = judge(&document, thresholds, &list)
        .with_context(|| format!("{} cannot be judged", config.display()))?;
    serde_json::to_writer(&mut *out, &result)?;
    out.write_all(b"\n")?;
    Ok(())
}

/// A file's bytes, or those of standard input for `-`.
pub(super) fn contents(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        let mut input = std::io::stdin().lock();
        input
            .read_to_end(&mut bytes)
            .context("cannot read standard input")?;
        return Ok(bytes);
    }
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
