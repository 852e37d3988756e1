//! Defaults, file, environment and flags, laid over each other.
//!
//! Owns the order of layers and where each value came from. Every layer is checked by itself
//! first, strictly and with places; the `config` crate then merges what is known to be sound.
//! Next: `coherence`, what the merged values must satisfy together.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use ::config::{Environment, File, FileFormat};

use super::against_schema::Schema;
use super::daemon::{Config, SCHEMA_TEXT};
use super::node::{Kind, Node, Place};
use super::problem::{Problem, ProblemCode, Problems, Severity};
use super::reader::{Field, Reader};
use super::{coherence, plans, toml_tree};

/// Every default, and their documentation.
pub const DEFAULT_TOML: &str = include_str!("../../config/default.toml");
/// Longest configuration file, in bytes.
pub const CONFIG_BYTES_MAX: usize = 1 << 20;
/// What environment variables of the configuration begin with.
pub const ENVIRONMENT_PREFIX: &str = "DAVY_";
/// Files read where none is named, the first that exists.
const USUAL_FILES: [&str; 2] = ["/etc/davy/davy.toml", "davy.toml"];

const ENVIRONMENT_NAME: &str = "environment";
const FLAGS_NAME: &str = "--set";

/// What a configuration is made of, besides the defaults.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Files by name, later ones winning: name and text.
    pub files: Vec<(String, String)>,
    /// Environment variables. Those that begin with `DAVY_` and hold `__` are configuration.
    pub environment: BTreeMap<String, String>,
    /// `key=value` of `--set`.
    pub overrides: Vec<String>,
}

/// Where a value came from: source name and place.
pub(super) type Origins = BTreeMap<String, (String, Place)>;

/// Where each value of a configuration came from.
#[derive(Debug, Clone, Default)]
pub struct Places(Origins);

// === impl Places ===

impl Places {
    /// A problem with the value of this path, such as `webhooks[0].url`, without its source line.
    pub fn problem(&self, path: &str, message: String, help: &str) -> Problem {
        problem_at(&self.0, path, message, help)
    }
}

impl Sources {
    /// Reads the named file, or the usual one where it exists.
    ///
    /// # Errors
    /// The named file cannot be read, or a file is too long or not UTF-8.
    pub fn gather(
        file: Option<&Path>,
        environment: BTreeMap<String, String>,
        overrides: Vec<String>,
    ) -> Result<Sources, Problems> {
        let usual = || {
            USUAL_FILES
                .into_iter()
                .map(Path::new)
                .find(|path| path.exists())
        };
        if let Some(path) = file.filter(|path| plans::is_plan_file(path)) {
            let message = "the configuration is TOML, and this is named like a plan";
            let name = path.display().to_string();
            let problem = Problem::of_file(&name, ProblemCode::Unreadable, message);
            let help = "name a .toml file; plans are read from the folder plans.directory";
            return Err(problem.with_help(help).into());
        }
        let files = match file.or_else(usual) {
            Some(path) => vec![(path.display().to_string(), read_file(path)?)],
            None => Vec::new(),
        };
        Ok(Sources {
            files,
            environment,
            overrides,
        })
    }
}

/// Reads a configuration file.
///
/// # Errors
/// One problem that names the file.
pub fn read_file(path: &Path) -> Result<String, Problems> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        let message = format!("cannot read: {error}");
        Problem::of_file(&name, ProblemCode::Unreadable, message)
    })?;
    if text.len() > CONFIG_BYTES_MAX {
        let message = format!("the file is longer than {CONFIG_BYTES_MAX} bytes");
        return Err(Problem::of_file(&name, ProblemCode::TooLarge, message).into());
    }
    Ok(text)
}

impl Config {
    /// Lays the sources over the defaults and checks the whole.
    ///
    /// # Errors
    /// All problems of all sources at once; where every source is sound by itself, all
    /// contradictions between values.
    pub fn load(sources: &Sources) -> Result<Config, Problems> {
        Config::load_located(sources).map(|(config, _)| config)
    }

    /// As [`Config::load`], with where each value came from.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_located(sources: &Sources) -> Result<(Config, Places), Problems> {
        let schema = Schema::new(serde_json::from_str(SCHEMA_TEXT).expect("a test compares it"));
        let mut origins = Origins::new();
        let mut problems = Vec::new();
        for (name, text) in &sources.files {
            check_file(&schema, name, text, &mut origins, &mut problems);
        }
        let environment = own_variables(&sources.environment);
        for (variable, value) in &environment {
            let path = variable[ENVIRONMENT_PREFIX.len()..]
                .to_lowercase()
                .replace("__", ".");
            let source = format!("{ENVIRONMENT_NAME} {variable}");
            check_value(&schema, &source, &path, value, &mut origins, &mut problems);
        }
        let mut flags = Vec::new();
        for text in &sources.overrides {
            let pair = text
                .split_once('=')
                .filter(|(path, _)| !path.trim().is_empty());
            let Some((path, value)) = pair else {
                let message = format!("`{text}` is not key=value");
                let problem = Problem::of_file(FLAGS_NAME, ProblemCode::Syntax, message);
                problems.push(problem.with_help("write --set server.port=9000"));
                continue;
            };
            let (path, source) = (path.trim(), format!("{FLAGS_NAME} {text}"));
            check_value(&schema, &source, path, value, &mut origins, &mut problems);
            flags.push((path, value));
        }
        if !problems.is_empty() {
            return Err(Problems::sorted(problems));
        }
        let config = merge(&sources.files, environment, &flags).map_err(|error| {
            Problem::of_file("configuration", ProblemCode::BadValue, error.to_string())
        })?;
        let mut found = coherence::check(&config, &origins);
        for problem in &mut found {
            if let Some((_, text)) = sources.files.iter().find(|(name, _)| *name == problem.file) {
                *problem = excerpted(problem.clone(), text);
            }
        }
        if found.is_empty() {
            Ok((config, Places(origins)))
        } else {
            Err(Problems::sorted(found))
        }
    }

    /// The defaults alone.
    ///
    /// # Errors
    /// None; a test holds the shipped defaults to it.
    pub fn defaults() -> Result<Config, Problems> {
        Config::load(&Sources::default())
    }
}

/// `DAVY_A__B`, which is ours. `DAVY_SHARED` and the like belong to others.
fn own_variables(environment: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let own = |name: &str| {
        name.strip_prefix(ENVIRONMENT_PREFIX)
            .is_some_and(|r| r.contains("__"))
    };
    environment
        .iter()
        .filter(|(name, _)| own(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn check_file(
    schema: &Schema,
    name: &str,
    text: &str,
    origins: &mut Origins,
    problems: &mut Vec<Problem>,
) {
    let mut reader = Reader::new(name);
    let tree = toml_tree::parse(name, text, &mut reader.problems);
    if let Some(tree) = tree {
        schema.check(&mut reader, &tree);
        remember(name, &Field::root(&tree), origins);
    }
    problems.extend(
        reader
            .problems
            .into_iter()
            .map(|problem| excerpted(problem, text)),
    );
}

/// With its source line, unless that stands among the webhooks or sources: their addresses and
/// headers are often the secret, and a line of them may hold anything.
fn excerpted(problem: Problem, text: &str) -> Problem {
    let lines: Vec<&str> = text.lines().take(problem.line).collect();
    let section = lines.iter().rposition(|line| line.starts_with('['));
    let section = &lines[section.unwrap_or(0)..];
    let is_hidden = |line: &&str| line.contains("webhooks") || line.contains("sources");
    if section.iter().any(is_hidden) {
        return problem;
    }
    problem.with_excerpt_of(text)
}

/// Notes where each value stands. A list of a later file replaces the whole of an earlier one.
fn remember(name: &str, field: &Field<'_>, origins: &mut Origins) {
    origins.insert(field.path.clone(), (name.to_owned(), field.node.place));
    let child = |path: String, node| Field { node, path };
    match &field.node.kind {
        Kind::Scalar { .. } => {}
        Kind::List(items) => {
            for (index, node) in items.iter().enumerate() {
                remember(
                    name,
                    &child(format!("{}[{index}]", field.path), node),
                    origins,
                );
            }
        }
        Kind::Map(entries) => {
            for (key, node) in entries {
                let dot = if field.path.is_empty() { "" } else { "." };
                remember(
                    name,
                    &child(format!("{}{dot}{}", field.path, key.text), node),
                    origins,
                );
            }
        }
    }
}

fn check_value(
    schema: &Schema,
    source: &str,
    path: &str,
    value: &str,
    origins: &mut Origins,
    problems: &mut Vec<Problem>,
) {
    let node = Node {
        place: Place::default(),
        kind: Kind::Scalar {
            text: value.to_owned(),
            quoted: false,
        },
    };
    let field = Field {
        node: &node,
        path: path.to_owned(),
    };
    let mut reader = Reader::new(source);
    let segments: Vec<&str> = path.split('.').collect();
    schema.check_at(&mut reader, &segments, &field);
    problems.append(&mut reader.problems);
    origins.insert(path.to_owned(), (source.to_owned(), Place::default()));
}

fn merge(
    files: &[(String, String)],
    environment: BTreeMap<String, String>,
    flags: &[(&str, &str)],
) -> Result<Config, ::config::ConfigError> {
    let mut builder =
        ::config::Config::builder().add_source(File::from_str(DEFAULT_TOML, FileFormat::Toml));
    for (_, text) in files {
        builder = builder.add_source(File::from_str(text, FileFormat::Toml));
    }
    // The prefix' separator follows the keys' unless it is said, and `try_parsing` would turn a
    // text of digits into a number and lose its leading zeros.
    let variables = Environment::with_prefix(ENVIRONMENT_PREFIX.trim_end_matches('_'))
        .prefix_separator("_")
        .separator("__")
        .source(Some(HashMap::from_iter(environment)));
    builder = builder.add_source(variables);
    for (path, value) in flags {
        builder = builder.set_override(*path, *value)?;
    }
    builder.build()?.try_deserialize()
}

/// The problems of one file by itself, as `davy check` tells them: the file over the defaults,
/// without environment or flags.
///
/// # Errors
/// As [`Config::load`].
pub fn check_config_file(name: &str, text: &str) -> Result<(Config, Places), Problems> {
    Config::load_located(&Sources {
        files: vec![(name.to_owned(), text.to_owned())],
        ..Sources::default()
    })
}

/// A problem at the place a value came from.
pub(super) fn problem_at(origins: &Origins, path: &str, message: String, help: &str) -> Problem {
    // The nearest enclosing value that was written; the defaults otherwise.
    let mut part = path;
    let (file, place) = loop {
        if let Some((file, place)) = origins.get(part) {
            break (file.as_str(), *place);
        }
        match part.rfind(['.', '[']) {
            Some(end) => part = &part[..end],
            None => break ("default.toml", Place::default()),
        }
    };
    Problem {
        line: place.line,
        column: place.column,
        path: path.to_owned(),
        severity: Severity::Error,
        help: (!help.is_empty()).then(|| help.to_owned()),
        ..Problem::of_file(file, ProblemCode::Conflict, message)
    }
}
