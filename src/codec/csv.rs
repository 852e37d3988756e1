//! Recordings as CSV: one row a sample, `role,value` and optionally time, weight, unit, metric.
//!
//! Owns the reading of such files for `replay` and `backtest`. Columns are found by name, in any
//! order: `role` (baseline or canary), `value` (empty is a missing sample), `t_rel` (seconds) or
//! `ts` (unix seconds; `t_rel` wins), `weight` (count of a value, total of a ratio, exposure of a
//! rate; empty is 1), `unit`, `metric`. It must not know of plans; see `Row::reading`.

use std::collections::BTreeMap;

use crate::model::{Arm, Reading};
use crate::plan::MetricKind;
use crate::window::CELL_COUNT_MAX;

/// How far a count may be from a whole number, relative to it: what text and arithmetic leave.
const WHOLE_SLACK: f64 = 1e-9;
/// Rows of one file.
pub const ROWS_MAX: usize = 20_000_000;
/// Problems reported of one file; beyond it only their number.
pub const PROBLEMS_MAX: usize = 20;

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Line of the file, from 1.
    pub line: u64,
    /// Which arm.
    pub arm: Arm,
    /// Seconds; `None` when the file has no time column.
    pub secs: Option<f64>,
    /// `None` where the sample is missing.
    pub value: Option<f64>,
    /// Weight, from 0 up; 1 unless given.
    pub weight: f64,
    /// Unit, where one is given.
    pub unit: Option<String>,
    /// Metric, where one is given.
    pub metric: Option<String>,
}

/// Why a file, or a row of it, cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct CsvProblem {
    /// Line of the file, from 1.
    pub line: u64,
    /// What is wrong and what to do.
    pub message: String,
}

/// Reads all rows; a bad row is reported by itself, and the caller decides whether to go on.
pub fn parse(bytes: &[u8]) -> Result<(Vec<Row>, Vec<CsvProblem>), CsvProblem> {
    read(bytes, None)
}

/// As [`parse`], for a file whose rows are all of one arm: a column `role` is not read.
pub fn parse_arm(bytes: &[u8], arm: Arm) -> Result<(Vec<Row>, Vec<CsvProblem>), CsvProblem> {
    read(bytes, Some(arm))
}

fn read(bytes: &[u8], arm: Option<Arm>) -> Result<(Vec<Row>, Vec<CsvProblem>), CsvProblem> {
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(bytes);
    let header = reader
        .headers()
        .map_err(|error| problem(1, error.to_string()))?
        .clone();
    let columns: BTreeMap<&str, usize> = header
        .iter()
        .enumerate()
        .map(|(index, name)| (name, index))
        .collect();
    let role = arm.is_none().then_some("role");
    for needed in role.into_iter().chain(["value"]) {
        if !columns.contains_key(needed) {
            let found = header.iter().collect::<Vec<_>>().join(", ");
            return Err(problem(
                1,
                format!("no column {needed:?}; the file has {found}"),
            ));
        }
    }
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                problems.push(problem(line, error.to_string()));
                continue;
            }
        };
        let line = record.position().map_or(0, csv::Position::line);
        if rows.len() >= ROWS_MAX {
            return Err(problem(
                line,
                format!("the file has more than {ROWS_MAX} rows"),
            ));
        }
        match row(line, &columns, &record, arm) {
            Ok(row) => rows.push(row),
            Err(message) => problems.push(problem(line, message)),
        }
    }
    Ok((rows, problems))
}

fn row(
    line: u64,
    columns: &BTreeMap<&str, usize>,
    record: &csv::StringRecord,
    arm: Option<Arm>,
) -> Result<Row, String> {
    let field = |name: &str| -> Option<&str> {
        columns
            .get(name)
            .and_then(|&at| record.get(at))
            .filter(|text| !text.is_empty())
    };
    let number = |name: &str| -> Result<Option<f64>, String> {
        match field(name) {
            None => Ok(None),
            Some(text) => match text.parse::<f64>() {
                Ok(value) if value.is_nan() => Ok(None),
                Ok(value) => Ok(Some(value)),
                Err(_) => Err(format!("{name} {text:?} is not a number")),
            },
        }
    };
    let arm = match (arm, field("role")) {
        (Some(arm), _) => arm,
        (None, Some("baseline")) => Arm::Baseline,
        (None, Some("canary")) => Arm::Canary,
        (None, other) => {
            let other = other.unwrap_or("");
            return Err(format!("role {other:?} is neither baseline nor canary"));
        }
    };
    let weight = number("weight")?.unwrap_or(1.0);
    if !(weight >= 0.0 && weight.is_finite()) {
        return Err(format!("weight {weight} is not a finite number from 0 up"));
    }
    let secs = match number("t_rel")? {
        Some(secs) => Some(secs),
        None => number("ts")?,
    };
    Ok(Row {
        line,
        arm,
        secs: secs.filter(|secs| secs.is_finite()),
        value: number("value")?,
        weight,
        unit: field("unit").map(str::to_owned),
        metric: field("metric").map(str::to_owned),
    })
}

fn problem(line: u64, message: String) -> CsvProblem {
    CsvProblem { line, message }
}

// === impl Row ===

impl Row {
    /// What the row says about a metric of this kind: a weighted value, a share of a total, a
    /// count over an exposure or a point; `Ok(None)` for a missing value. A number that the kind
    /// has no meaning for is a problem of this row: rounding or clamping it would invent data.
    pub fn reading(&self, kind: MetricKind) -> Result<Option<Reading>, CsvProblem> {
        let Some(value) = self.value else {
            return Ok(None);
        };
        let reading = match kind {
            MetricKind::Latency if self.weight == 1.0 => Reading::value(value),
            MetricKind::Latency => Reading::Values {
                values: vec![value],
                weights: vec![self.count("weight", self.weight, 1.0)?],
            },
            MetricKind::Gauge => Reading::value(value),
            MetricKind::Ratio => {
                let total = self.count("weight", self.weight, 1.0)?;
                if !(0.0..=1.0).contains(&value) {
                    let fix = "a ratio's value is the bad share from 0 to 1, its weight the total";
                    return Err(self.problem(format!("value {value} is no share: {fix}")));
                }
                Reading::Ratio {
                    // A share written with a few digits stands for the nearest whole count.
                    bad: (value * total as f64).round() as u64,
                    total,
                }
            }
            MetricKind::Rate => Reading::Rate {
                events: self.count("value", value, 0.0)?,
                exposure: self.weight,
            },
        };
        Ok(Some(reading))
    }

    /// A whole number of at least `least`.
    fn count(&self, name: &str, number: f64, least: f64) -> Result<u64, CsvProblem> {
        let whole = number.round();
        let near = (number - whole).abs() <= WHOLE_SLACK * whole.abs().max(1.0);
        if near && whole >= least && whole <= CELL_COUNT_MAX as f64 {
            return Ok(whole as u64);
        }
        Err(self.problem(format!(
            "{name} {number} is not a whole number from {least} to {CELL_COUNT_MAX}"
        )))
    }

    fn problem(&self, message: String) -> CsvProblem {
        problem(self.line, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_by_column_name_and_bad_rows_refuse_only_themselves() {
        let text = "value,role,weight,unit\n1.5,baseline,,pod-1\n,canary,,\nx,canary,,\n2,blue,,\n3,canary,2,\n";
        let (rows, problems) = parse(text.as_bytes()).unwrap();
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[0].value, Some(1.5));
        assert_eq!(rows[0].unit.as_deref(), Some("pod-1"));
        assert_eq!(rows[1].value, None);
        assert_eq!(rows[2].weight, 2.0);
        let lines: Vec<u64> = problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [4, 5]);
        assert!(problems[1].message.contains("neither baseline nor canary"));
    }

    #[test]
    fn a_number_that_a_kind_has_no_meaning_for_is_a_problem_of_its_row() {
        let text = "role,value,weight\ncanary,37,10\ncanary,-5,10\ncanary,0.25,10.5\ncanary,2.5,1\ncanary,1,0.4\ncanary,1,1e18\ncanary,0.333,3\n";
        let (rows, problems) = parse(text.as_bytes()).unwrap();
        assert!(problems.is_empty());
        let error = |row: usize, kind| rows[row].reading(kind).unwrap_err().to_string();
        assert!(error(0, MetricKind::Ratio).starts_with("line 2: value 37 is no share"));
        assert!(error(1, MetricKind::Ratio).starts_with("line 3: value -5 is no share"));
        assert!(error(2, MetricKind::Ratio).starts_with("line 4: weight 10.5 is not a whole"));
        assert!(error(3, MetricKind::Rate).starts_with("line 5: value 2.5 is not a whole"));
        assert!(error(4, MetricKind::Latency).starts_with("line 6: weight 0.4 is not a whole"));
        assert!(error(5, MetricKind::Latency).contains("is not a whole number from 1 to"));
        let third = Reading::Ratio { bad: 1, total: 3 };
        assert_eq!(rows[6].reading(MetricKind::Ratio), Ok(Some(third)));
    }

    #[test]
    fn a_file_without_the_needed_columns_says_what_it_has() {
        let error = parse(b"arm,value\nbaseline,1\n").unwrap_err();
        assert_eq!(error.message, "no column \"role\"; the file has arm, value");
        let (rows, _) = parse_arm(b"arm,value\nbaseline,1\n", Arm::Canary).unwrap();
        assert_eq!(rows[0].arm, Arm::Canary);
    }
}
