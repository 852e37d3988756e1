//! The calibration file of a plan: how much its checks' scores vary where nothing is wrong.
//!
//! Owns its written form, both ways. What the numbers mean is `judge::calibrate`'s, which measures
//! them; which plans need them is `dispersion`'s.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::dispersion::SD_MAX;
use super::{PLAN_BYTES_MAX, VERSION, finish_text};
use crate::config::problem::{Problem, ProblemCode, Problems};
use crate::config::quantity::duration_text;
use crate::config::reader::{Field, Reader};
use crate::config::yaml;
use crate::model::Millis;
use crate::plan::Dispersion;
use crate::plan::dispersion::FACTOR_MAX;

/// What a calibration file's name ends in, after the plan's.
pub const SUFFIX: &str = ".calibration.yaml";
/// Batches below which a number is not believed.
pub const BATCHES_MIN: u64 = 10;
/// Largest count in a file.
const COUNT_MAX: u64 = 1_000_000_000;

const KEYS: &[&str] = &[
    "version",
    "calibration",
    "recorded",
    "tick",
    "ticks",
    "checks",
];
const CHECK_KEYS: &[&str] = &["definition", "batches", "measured", "factor", "sd"];

/// What was measured for the checks of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// Name of the plan.
    pub plan: String,
    /// When the recording was made, as its times tell; `None` where they are relative.
    pub recorded: Option<String>,
    /// Tick of the plan.
    pub tick: Millis,
    /// Ticks of the recording.
    pub ticks: u64,
    /// By name of the check.
    pub checks: BTreeMap<String, MeasuredCheck>,
}

/// What was measured for a check.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasuredCheck {
    /// Mark of what the number belongs to, see [`crate::plan::dispersion::definition`].
    pub definition: String,
    /// Batches it rests on.
    pub batches: u64,
    /// The point estimate, a factor or a deviation.
    pub measured: f64,
    /// Its upper bound, which checks take.
    pub dispersion: Dispersion,
}

/// Where the calibration of a plan file lies: beside it, `checkout.calibration.yaml` for
/// `checkout.yaml`.
pub fn path_beside(plan: &Path) -> PathBuf {
    plan.with_extension(&SUFFIX[1..])
}

/// Whether the name is that of a calibration, and so not of a plan.
pub fn is_calibration(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().ends_with(SUFFIX))
}

/// Parses a calibration file. `source_name` names it in problems.
///
/// # Errors
/// Every problem of the text at once.
pub fn parse_calibration(source_name: &str, text: &str) -> Result<Calibration, Problems> {
    if text.len() > PLAN_BYTES_MAX {
        let message = format!("the calibration is longer than {PLAN_BYTES_MAX} bytes");
        return Err(Problem::of_file(source_name, ProblemCode::TooLarge, message).into());
    }
    let mut reader = Reader::new(source_name);
    let root = yaml::parse(source_name, text, &mut reader.problems);
    let read = root.and_then(|root| read(&mut reader, &Field::root(&root)));
    finish_text(read, reader, text)
}

fn read(reader: &mut Reader<'_>, root: &Field<'_>) -> Option<Calibration> {
    let table = reader.table(root, Some(KEYS))?;
    super::version(reader, &table);
    let help = "run davy calibrate again: it writes the whole file";
    let plan = reader
        .required(&table, "calibration", help)
        .and_then(|field| super::plan_name(reader, &field));
    let recorded = match table.get("recorded") {
        Some(field) => Some(reader.text(&field)?.to_owned()),
        None => None,
    };
    let tick = reader
        .required(&table, "tick", help)
        .and_then(|field| reader.duration(&field, super::TICK_MILLIS_MIN));
    let ticks = reader
        .required(&table, "ticks", help)
        .and_then(|field| reader.whole(&field, 1..=COUNT_MAX));
    let section = reader.required(&table, "checks", help)?;
    let section = reader.table(&section, None)?;
    let mut checks = BTreeMap::new();
    for (key, field) in section.fields() {
        if let Some(measured) = check(reader, &field, help) {
            checks.insert(key.text.clone(), measured);
        }
    }
    Some(Calibration {
        plan: plan?,
        recorded,
        tick: tick?,
        ticks: ticks?,
        checks,
    })
}

fn check(reader: &mut Reader<'_>, field: &Field<'_>, help: &str) -> Option<MeasuredCheck> {
    let table = reader.table(field, Some(CHECK_KEYS))?;
    let definition = reader.required(&table, "definition", help)?;
    let definition = reader.text(&definition)?.to_owned();
    let number = reader.required(&table, "batches", help)?;
    let batches = reader.whole(&number, 0..=COUNT_MAX)?;
    if batches < BATCHES_MIN {
        let message = format!("{batches} batches are too few to believe a variance");
        let help = format!("calibrate on a longer recording: {BATCHES_MIN} batches or more");
        reader.bad(&number, message, help);
    }
    let measured = reader.required(&table, "measured", help)?;
    let measured = reader.number(&measured, 0.0..=f64::MAX)?;
    let dispersion = match (table.get("factor"), table.get("sd")) {
        (Some(field), None) => Dispersion::Factor(reader.number(&field, 1.0..=FACTOR_MAX)?),
        (None, Some(field)) => Dispersion::Sd(reader.number(&field, f64::MIN_POSITIVE..=SD_MAX)?),
        _ => {
            let message = "a check has either factor or sd";
            reader.refuse(field, ProblemCode::MissingKey, message, help);
            return None;
        }
    };
    Some(MeasuredCheck {
        definition,
        batches,
        measured,
        dispersion,
    })
}

// === impl Calibration ===

impl Calibration {
    /// The file's text.
    pub fn to_text(&self) -> String {
        let mut text = format!(
            "# Written by davy calibrate. The plan takes these numbers where a check says\n\
             # dispersion: calibrated.\nversion: {VERSION}\ncalibration: {}\n",
            self.plan
        );
        if let Some(recorded) = &self.recorded {
            text.push_str(&format!("recorded: \"{recorded}\"\n"));
        }
        let tick = duration_text(self.tick);
        text.push_str(&format!("tick: {tick}\nticks: {}\n", self.ticks));
        text.push_str(if self.checks.is_empty() {
            "checks: {}\n"
        } else {
            "checks:\n"
        });
        for (name, check) in &self.checks {
            let (key, number) = match check.dispersion {
                Dispersion::Sd(sd) => ("sd", sd),
                Dispersion::Factor(factor) => ("factor", factor),
                Dispersion::Iid | Dispersion::Envelope => continue,
            };
            // Writing into a string cannot fail.
            let _ = write!(
                text,
                "  {name}:\n    definition: {:?}\n    batches: {}\n    measured: {}\n    {key}: {number}\n",
                check.definition, check.batches, check.measured
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> Calibration {
        let check = |dispersion| MeasuredCheck {
            definition: "12345678".to_owned(),
            batches: 48,
            measured: 1.25,
            dispersion,
        };
        Calibration {
            plan: "checkout".to_owned(),
            recorded: Some("2026-03-01T00:00:00Z".to_owned()),
            tick: 15_000,
            ticks: 1_440,
            checks: BTreeMap::from([
                ("rps".to_owned(), check(Dispersion::Sd(0.125))),
                ("errors".to_owned(), check(Dispersion::Factor(3.1))),
            ]),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let text = written().to_text();
        assert_eq!(parse_calibration("c", &text).unwrap(), written());
    }

    #[test]
    fn too_few_batches_and_strange_keys_are_refused_with_their_place() {
        for (from, to, told) in [
            ("batches: 48", "batches: 9", "9 batches are too few"),
            ("factor: 3.1", "factor: 0.5", "factor"),
            ("    factor: 3.1\n", "", "either factor or sd"),
            ("ticks: 1440", "tocks: 1440", "tocks"),
            ("davy/v1", "davy/v2", "davy/v2"),
        ] {
            let text = written().to_text().replacen(from, to, 1);
            let problems = parse_calibration("c", &text).unwrap_err().to_string();
            assert!(problems.contains(told), "{problems}");
            assert!(problems.contains("c:"), "{problems}");
        }
    }

    #[test]
    fn a_calibration_lies_beside_its_plan() {
        let beside = path_beside(Path::new("plans/checkout.yml"));
        assert_eq!(beside, Path::new("plans/checkout.calibration.yaml"));
        assert!(is_calibration(&beside) && !is_calibration(Path::new("checkout.yaml")));
    }
}
