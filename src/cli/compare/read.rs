//! Two arms from files: one number a line, or a CSV with a role column.
//!
//! Owns the line format and what is refused in it. It must not know what the values are for.

use std::path::Path;

use anyhow::{Context, bail};

use crate::stats::rank::Sorted;

/// Longest part of an unreadable line that is repeated in the message, in characters.
const QUOTED_CHARS_MAX: usize = 40;

/// The values of both arms.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Arms {
    /// What runs today.
    pub baseline: ArmValues,
    /// What is tried.
    pub canary: ArmValues,
}

/// The values of one arm.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ArmValues {
    /// What could be ranked.
    pub values: Sorted,
    /// How many were `NaN` or, in a CSV, empty.
    pub missing: u64,
}

/// Reads one number a line. Blank lines and lines that start with `#` are skipped, `NaN` is counted
/// as missing, `inf` and `-inf` are extremes.
///
/// # Errors
/// When the file cannot be read, or a line is not a number: with file, line and text.
pub fn number_file(path: &Path) -> anyhow::Result<ArmValues> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    numbers(&bytes).map_err(|bad| anyhow::anyhow!("{}:{bad}", path.display()))
}

/// The numbers of a whole file; the error names the line and quotes it.
fn numbers(bytes: &[u8]) -> Result<ArmValues, String> {
    // Editors on Windows put a byte order mark first.
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    // Six characters and a line end are common; too small a guess only costs a reallocation.
    let mut values = Vec::with_capacity(bytes.len() / 8);
    let mut missing = 0;
    for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line[0] == b'#' {
            continue;
        }
        match number(line) {
            Some(value) if value.is_nan() => missing += 1,
            Some(value) => values.push(value),
            None => {
                let text = quoted(&String::from_utf8_lossy(line));
                return Err(format!(
                    "{}: {text} is not a number; write one number a line, or use --csv",
                    index + 1
                ));
            }
        }
    }
    ranked(values, None, missing)
}

/// A number; one too large for a double, such as `1e999`, is none, while `inf` is meant.
fn number(text: &[u8]) -> Option<f64> {
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    let overflowed = value.is_infinite() && text.iter().any(u8::is_ascii_digit);
    (!overflowed).then_some(value)
}

fn ranked(values: Vec<f64>, weights: Option<Vec<u64>>, missing: u64) -> Result<ArmValues, String> {
    let values = Sorted::new(values, weights).map_err(|error| error.to_string())?;
    Ok(ArmValues { values, missing })
}

fn quoted(text: &str) -> String {
    let short: String = text.chars().take(QUOTED_CHARS_MAX).collect();
    let cut = if short.len() < text.len() { "..." } else { "" };
    format!("`{}{cut}`", short.escape_debug())
}

/// Values of one arm while the rows come in.
#[derive(Default)]
struct Column {
    values: Vec<f64>,
    weights: Vec<u64>,
    weighted: bool,
    missing: u64,
}

impl Column {
    fn finish(self) -> Result<ArmValues, String> {
        ranked(
            self.values,
            self.weighted.then_some(self.weights),
            self.missing,
        )
    }
}

/// Where the columns that matter are.
struct Header {
    role: usize,
    value: usize,
    weight: Option<usize>,
    metric: Option<usize>,
}

/// Reads a CSV with a header that names at least `role` and `value`. An empty value or `NaN` counts
/// as missing; an empty weight is 1. A column `metric`, if there, must hold one name throughout.
///
/// # Errors
/// When the file cannot be read, a column is missing, or a row is not understood: with file and line.
pub fn csv_file(path: &Path) -> anyhow::Result<Arms> {
    let shown = path.display();
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .comment(Some(b'#'))
        .from_path(path)
        .with_context(|| format!("cannot read {shown}"))?;
    let names = reader
        .headers()
        .with_context(|| format!("{shown}:1: no header"))?;
    let column = |name: &str| names.iter().position(|found| found == name);
    let (Some(role), Some(value)) = (column("role"), column("value")) else {
        bail!("{shown}:1: the header lacks role or value; write it as `role,value`");
    };
    let header = Header {
        role,
        value,
        weight: column("weight"),
        metric: column("metric"),
    };
    let (mut baseline, mut canary) = (Column::default(), Column::default());
    let mut metric: Option<String> = None;
    let mut record = csv::StringRecord::new();
    while reader
        .read_record(&mut record)
        .with_context(|| format!("cannot read {shown}"))?
    {
        let line = record.position().map_or(0, csv::Position::line);
        one_metric(&record, &header, &mut metric)
            .and_then(|()| read_row(&record, &header, &mut baseline, &mut canary))
            .map_err(|bad| anyhow::anyhow!("{shown}:{line}: {bad}"))?;
    }
    let finish = |column: Column| column.finish().map_err(anyhow::Error::msg);
    Ok(Arms {
        baseline: finish(baseline)?,
        canary: finish(canary)?,
    })
}

/// Pooling two metrics would compare milliseconds with bytes.
fn one_metric(
    record: &csv::StringRecord,
    header: &Header,
    metric: &mut Option<String>,
) -> Result<(), String> {
    let Some(found) = header.metric.and_then(|column| record.get(column)) else {
        return Ok(());
    };
    match metric {
        None => *metric = Some(found.to_owned()),
        Some(first) if first == found => {}
        Some(first) => {
            return Err(format!(
                "metric {} after {}; keep one metric a file",
                quoted(found),
                quoted(first)
            ));
        }
    }
    Ok(())
}

fn read_row(
    record: &csv::StringRecord,
    header: &Header,
    baseline: &mut Column,
    canary: &mut Column,
) -> Result<(), String> {
    let cell = |index: usize| record.get(index).unwrap_or("");
    let column = match cell(header.role) {
        "baseline" => baseline,
        "canary" => canary,
        other => {
            return Err(format!(
                "role {} is neither `baseline` nor `canary`",
                quoted(other)
            ));
        }
    };
    let weight = match header.weight.map_or("", cell) {
        "" => 1,
        text => text
            .parse::<u64>()
            .ok()
            .filter(|&weight| weight > 0)
            .ok_or_else(|| format!("weight {} is not a whole number from 1 up", quoted(text)))?,
    };
    let value = match cell(header.value) {
        "" => f64::NAN,
        text => number(text.as_bytes())
            .ok_or_else(|| format!("value {} is not a number", quoted(text)))?,
    };
    if value.is_nan() {
        column.missing = column.missing.saturating_add(weight);
        return Ok(());
    }
    column.values.push(value);
    column.weights.push(weight);
    column.weighted |= weight != 1;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_blank_lines_are_skipped_and_nan_is_counted() {
        let found = numbers(b"# ms\n 2.5 \r\n\n1e3\nNaN\n-inf\n+4").expect("readable");
        assert_eq!(found.values.values(), [f64::NEG_INFINITY, 2.5, 4.0, 1000.0]);
        assert_eq!(found.missing, 1);
    }

    #[test]
    fn a_bad_line_is_named_and_quoted() {
        let message = numbers(b"1\n2\n3,4\n").expect_err("no number");
        assert!(message.starts_with("3: `3,4` is not a number"), "{message}");
        let long = [b"x".repeat(500), b"\xff\n".to_vec()].concat();
        let message = numbers(&long).expect_err("no number");
        assert!(message.len() < 150, "{message}");
    }

    #[test]
    fn numbers_too_large_are_refused_but_infinity_is_meant() {
        assert!(numbers(b"1e999").is_err() && numbers(b"-1e400").is_err());
        let found = numbers(b"\xEF\xBB\xBFinfinity\n-inf\n").expect("readable");
        assert_eq!(found.values.values(), [f64::NEG_INFINITY, f64::INFINITY]);
    }

    #[test]
    fn an_empty_file_is_an_empty_arm() {
        assert_eq!(numbers(b""), Ok(ArmValues::default()));
    }
}
