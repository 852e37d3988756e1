//! A folder of plan files, one plan each.
//!
//! Owns which files of a folder are plans, what they and the calibrations beside them say, and that no
//! two have one name. Next: `plan_file`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::plan_file::calibration::{self, parse_calibration};
use super::plan_file::{Measured, PLAN_BYTES_MAX, Parsed, parse_plan_with};
use super::problem::{Problem, ProblemCode, Problems};
use crate::plan::Plan;

/// Plan files in one folder.
pub const PLAN_FILES_MAX: usize = 1_000;
/// How plan files end.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];
/// How JSON Schemas end, such as those that `davy schema` prints.
const SCHEMA_ENDING: &str = ".schema.json";

/// The plans of a folder.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// By name.
    pub plans: BTreeMap<String, Arc<Plan>>,
    /// Warnings of all files.
    pub warnings: Vec<Problem>,
}

/// A file as it is written, and the calibration beside it.
#[derive(Debug)]
pub struct Written {
    path: PathBuf,
    text: String,
    /// Its path and what it says.
    calibration: Option<(PathBuf, String)>,
}

/// Loads every plan file of a folder (`*.yaml`, `*.yml`, `*.json`; not of folders within it).
///
/// # Errors
/// The problems of all files: unreadable, invalid, or two plans of one name.
pub fn load_directory(directory: &Path) -> Result<Loaded, Problems> {
    parse_all(&read_directory(directory)?)
}

/// What the files of a folder say.
///
/// # Errors
/// The problems of all that cannot be read.
pub fn read_directory(directory: &Path) -> Result<Vec<Written>, Problems> {
    let mut all = Vec::new();
    let mut problems = Vec::new();
    for path in plan_files(directory)? {
        match Written::read(&path) {
            Ok(written) => all.push(written),
            Err(found) => problems.extend(found.items),
        }
    }
    if problems.is_empty() {
        Ok(all)
    } else {
        Err(Problems::sorted(problems))
    }
}

/// The plans that files of one folder hold.
///
/// # Errors
/// The problems of all: invalid, or two plans of one name.
pub fn parse_all(all: &[Written]) -> Result<Loaded, Problems> {
    let mut loaded = Loaded::default();
    let mut problems = Vec::new();
    let mut origins: BTreeMap<String, String> = BTreeMap::new();
    for written in all {
        let name = written.path.display().to_string();
        let parsed = match written.parse() {
            Ok(parsed) => parsed,
            Err(found) => {
                problems.extend(found.items);
                continue;
            }
        };
        loaded.warnings.extend(parsed.warnings);
        if let Some(other) = origins.get(&parsed.plan.name) {
            let message = format!("the plan `{}` is in {other} too", parsed.plan.name);
            let problem = Problem::of_file(&name, ProblemCode::Conflict, message);
            problems.push(problem.with_help("rename one of them"));
            continue;
        }
        origins.insert(parsed.plan.name.clone(), name);
        loaded
            .plans
            .insert(parsed.plan.name.clone(), Arc::new(parsed.plan));
    }
    if problems.is_empty() {
        Ok(loaded)
    } else {
        Err(Problems::sorted(problems))
    }
}

/// The plan files of a folder, sorted. Hidden files are left out: editors and mounted
/// configuration maps keep theirs there. So are JSON Schemas (`*.schema.json`).
///
/// # Errors
/// The folder cannot be read, or holds more than [`PLAN_FILES_MAX`].
pub fn plan_files(directory: &Path) -> Result<Vec<PathBuf>, Problems> {
    let name = directory.display().to_string();
    let unreadable = |error: std::io::Error| {
        let message = format!("cannot read the folder: {error}");
        Problems::from(
            Problem::of_file(&name, ProblemCode::Unreadable, message)
                .with_help("create it, or set plans.directory"),
        )
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let other = path.file_name().map(|n| n.to_string_lossy());
        let other = other.is_some_and(|n| n.starts_with('.') || n.ends_with(SCHEMA_ENDING));
        if is_plan_file(&path) && !other && is_file(&path)? {
            files.push(path);
        }
        if files.len() > PLAN_FILES_MAX {
            let message = format!("more than {PLAN_FILES_MAX} plan files");
            return Err(Problem::of_file(&name, ProblemCode::TooLarge, message).into());
        }
    }
    files.sort();
    Ok(files)
}

/// Whether it is a file, a link followed. One that cannot be looked at is not one that is not there.
fn is_file(path: &Path) -> Result<bool, Problems> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(metadata.is_file()),
        Err(error) => {
            let message = format!("cannot be looked at: {error}");
            let name = path.display().to_string();
            Err(Problem::of_file(&name, ProblemCode::Unreadable, message).into())
        }
    }
}

/// Whether the name is that of a plan file.
pub fn is_plan_file(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| EXTENSIONS.iter().any(|known| extension == *known))
        && !calibration::is_calibration(path)
}

/// Reads a plan file, with the calibration beside it where there is one.
///
/// # Errors
/// Every problem of the plan, or of its calibration.
pub fn read_plan(path: &Path) -> Result<Parsed, Problems> {
    Written::read(path)?.parse()
}

// === impl Written ===

impl Written {
    fn read(path: &Path) -> Result<Written, Problems> {
        let beside = calibration::path_beside(path);
        let is_there = beside.symlink_metadata().is_ok();
        let calibration = match is_there && is_file(&beside)? {
            true => Some(read_text(&beside).map(|text| (beside, text))?),
            false => None,
        };
        Ok(Written {
            path: path.to_owned(),
            text: read_text(path)?,
            calibration,
        })
    }

    /// All it says, part for part: by these a change is seen.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let beside = self.calibration.iter();
        let beside =
            beside.flat_map(|(path, text)| [path.as_os_str().as_encoded_bytes(), text.as_bytes()]);
        let own = [
            self.path.as_os_str().as_encoded_bytes(),
            self.text.as_bytes(),
        ];
        own.into_iter().chain(beside)
    }

    fn parse(&self) -> Result<Parsed, Problems> {
        let Written { path, text, .. } = self;
        let calibration = self.calibration.as_ref().map(|(path, text)| {
            let name = path.display().to_string();
            parse_calibration(&name, text).map(|parsed| (name, parsed))
        });
        let calibration = calibration.transpose()?;
        let measured = calibration.as_ref();
        let measured = measured.map_or(Measured::Nowhere, |(_, found)| Measured::Beside(found));
        let parsed = parse_plan_with(&path.display().to_string(), text, measured)?;
        match calibration {
            Some((name, calibration)) if calibration.plan != parsed.plan.name => {
                let message = format!(
                    "this is the calibration of the plan `{}`, beside the plan `{}`",
                    calibration.plan, parsed.plan.name
                );
                let problem = Problem::of_file(&name, ProblemCode::Conflict, message);
                Err(problem
                    .with_help("remove it, or run davy calibrate again")
                    .into())
            }
            _ => Ok(parsed),
        }
    }
}

// === functions ===

/// Reads a plan file's text, without taking in more than one byte over the limit.
///
/// # Errors
/// One problem that names the file.
pub fn read_text(path: &Path) -> Result<String, Problems> {
    use std::io::Read;
    let name = path.display().to_string();
    let refused = |code, message: String| Problems::from(Problem::of_file(&name, code, message));
    let mut bytes = Vec::new();
    let limit = PLAN_BYTES_MAX as u64 + 1;
    std::fs::File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(|error| refused(ProblemCode::Unreadable, format!("cannot read: {error}")))?;
    if bytes.len() > PLAN_BYTES_MAX {
        let message = format!("the file is longer than {PLAN_BYTES_MAX} bytes");
        return Err(refused(ProblemCode::TooLarge, message));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        refused(ProblemCode::Syntax, format!("not UTF-8 at byte {at}"))
    })
}
