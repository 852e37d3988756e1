//! The rules themselves: sources in, violations out, each `path:line: what; the fix`.
//!
//! Owns the lists of what is banned where; the floors are in `floors`. It must not read files: what
//! is judged is an argument, so that a rule can be shown a file that breaks it.

use super::floors::{floor_of, is_root};
use super::source::Source;

/// Sources in, violations out.
pub type Rule = fn(&[Source]) -> Vec<String>;

/// Lines of a file, at most. The house aims at 110-250.
pub const FILE_LINES_MAX: usize = 500;
/// Lines of a function, at most.
pub const FUNCTION_LINES_MAX: usize = 70;
/// Floors up to this one are pure.
const PURE_FLOOR_MAX: u8 = 3;
/// Functions allowed to be longer. It stays empty.
const LONG_FUNCTIONS: &[&str] = &[];

/// Crates floors 1-3 may name: none does IO, reads a clock, or does arithmetic that differs by
/// machine (statrs takes ln and exp from std, so it is for tests).
const PURE_CRATES: &[&str] = &[
    "base64",
    "csv",
    "flate2",
    "foldhash",
    "hashbrown",
    "hdrhistogram",
    "jiff",
    "libm",
    "memchr",
    "postcard",
    "rand_chacha",
    "rand_core",
    "regex",
    "schemars",
    "serde",
    "serde_json",
    "serde_path_to_error",
    "sha2",
    "smallvec",
    "snap",
    "strsim",
    "thiserror",
];

/// Parts of std that floors 1-3 must not name, and words that betray them.
const IMPURE_STD: &[&str] = &["fs", "net", "env", "process"];
const IMPURE_WORDS: &str = concat!(
    r"\b(?:SystemTime|Instant|Timestamp::now|Zoned::now|thread_rng|rand::rng|OsRng|getrandom",
    r"|thread::sleep|from_path|tracing|async|stdin|stdout|stderr)\b|\.await\b|\b(?:e?print(?:ln)?)!",
    r"|\b(?:HashMap|HashSet|RandomState)\b"
);

/// Floats' methods whose last bit depends on the machine, or that round differently.
const UNPINNED: &str = concat!(
    r"(?:\.|\bf64::|\bf32::)",
    r"(?:ln|ln_1p|log|log2|log10|exp|exp2|exp_m1|powf|powi|cbrt|hypot|sin|cos|tan|sin_cos",
    r"|asin|acos|atan|atan2|sinh|cosh|tanh|asinh|acosh|atanh|mul_add)\s*(?:\(|\b[^(\w])"
);

fn pure(sources: &[Source]) -> impl Iterator<Item = &Source> {
    let low = |s: &&Source| floor_of(&s.module()).is_some_and(|floor| floor <= PURE_FLOOR_MAX);
    sources.iter().filter(|s| !is_root(s)).filter(low)
}

/// Floors 1-3: no IO, clock, chance, printing, logging or waiting, nor an order that differs by run.
pub fn pure_words(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in pure(sources) {
        for path in source.paths() {
            let [first, second, ..] = path.segments.as_slice() else {
                continue;
            };
            if first == "std" && IMPURE_STD.contains(&second.as_str()) {
                violations.push(format!(
                    "{}:{}: floors 1-3 must not name std::{second}; take the bytes as an argument",
                    source.path, path.line
                ));
            }
        }
        for (line, word) in Source::hits(&source.production, IMPURE_WORDS) {
            violations.push(format!(
                "{}:{line}: floors 1-3 must not name `{word}`; time, chance and IO are arguments, \
                 and maps are BTreeMap (the same order at every run)",
                source.path
            ));
        }
    }
    violations
}

/// Floors 1-3 name no dependency but those known to be pure.
pub fn pure_crates(sources: &[Source]) -> Vec<String> {
    let manifest = include_str!("../../../Cargo.toml");
    let dependencies = dependency_names(manifest);
    let mut violations = Vec::new();
    for source in pure(sources) {
        for path in source.paths() {
            let Some(name) = path.segments.first() else {
                continue;
            };
            if dependencies.contains(name) && !PURE_CRATES.contains(&name.as_str()) {
                violations.push(format!(
                    "{}:{}: floors 1-3 must not use the crate `{name}`; see PURE_CRATES",
                    source.path, path.line
                ));
            }
        }
    }
    violations
}

/// Names under `[dependencies]`, as they are written in code.
fn dependency_names(manifest: &str) -> Vec<String> {
    let section = manifest
        .split("\n[")
        .find(|s| s.starts_with("dependencies]"));
    let lines = section.unwrap_or("").lines().skip(1);
    lines
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| !name.starts_with('#'))
        .map(|(name, _)| name.trim().replace('-', "_"))
        .collect()
}

/// Floors 1-3: the same inputs give the same bytes on every machine.
pub fn pinned_arithmetic(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in pure(sources) {
        for (line, call) in Source::hits(&source.production, UNPINNED) {
            violations.push(format!(
                "{}:{line}: `{call}` takes its last bit from the machine; use the libm crate",
                source.path
            ));
        }
    }
    violations
}

/// What happens in one place only: the wall clock in `clock`, printing and anyhow on floor 7.
pub fn single_places(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources.iter().filter(|s| s.path != "src/lib.rs") {
        let floor = floor_of(&source.module()).unwrap_or(7);
        if source.path != "src/clock.rs" {
            for (line, call) in Source::hits(&source.production, r"\bSystemTime::now\b") {
                let path = &source.path;
                violations.push(format!(
                    "{path}:{line}: `{call}`; only `clock` reads the clock"
                ));
            }
        }
        if floor < 7 {
            for (line, word) in Source::hits(
                &source.production,
                r"\b(?:e?print(?:ln)?!|anyhow\b(?:::|!))",
            ) {
                let path = &source.path;
                violations.push(format!("{path}:{line}: `{word}` belongs to floor 7"));
            }
        }
    }
    violations
}

/// Every file is declared by its parent: an undeclared one is neither compiled nor tested.
pub fn reachable(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources {
        let path = source.path.as_str();
        // Roots: the crate's two, and the one integration-test binary.
        if is_root(source) || path == "tests/it/main.rs" {
            continue;
        }
        let inner = path.trim_end_matches("/mod.rs").trim_end_matches(".rs");
        let (folder, name) = inner.rsplit_once('/').unwrap_or(("", inner));
        let parents = ["lib.rs", "main.rs", "mod.rs"].map(|file| format!("{folder}/{file}"));
        let beside = format!("{folder}.rs");
        let declared = sources
            .iter()
            .filter(|s| parents.contains(&s.path) || s.path == beside)
            .any(|parent| parent.declared_modules().iter().any(|m| m == name));
        if !declared {
            violations.push(format!(
                "{path}: no `mod {name};` leads here; declare or delete it"
            ));
        }
    }
    violations
}

/// Every file opens with `//!` and has at most [`FILE_LINES_MAX`] lines.
pub fn headers_and_lengths(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources {
        let lines = source.text.lines().count();
        if !source.text.starts_with("//!") {
            violations.push(format!(
                "{}: does not open with `//!`: what it owns, what it must not know, where to go next",
                source.path
            ));
        }
        if lines > FILE_LINES_MAX {
            violations.push(format!(
                "{}: {lines} lines, over {FILE_LINES_MAX}; it holds more than one idea",
                source.path
            ));
        }
    }
    violations
}

/// No function over [`FUNCTION_LINES_MAX`] lines.
pub fn function_lengths(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources {
        for function in source.functions() {
            let name = format!("{}::{}", source.path, function.name);
            if function.lines > FUNCTION_LINES_MAX && !LONG_FUNCTIONS.contains(&name.as_str()) {
                violations.push(format!(
                    "{}:{}: `{}` has {} lines, over {FUNCTION_LINES_MAX}",
                    source.path, function.line, function.name, function.lines
                ));
            }
        }
    }
    violations
}

/// Nothing unfinished, and nothing of the machine it was written on.
pub fn leftovers(sources: &[Source]) -> Vec<String> {
    // In two parts each, so that this file does not hold them.
    let words = [
        ("TO", "DO"),
        ("FIX", "ME"),
        ("/wo", "rk/"),
        ("/ro", "ot/"),
        ("/ho", "me/"),
    ];
    let mut violations = Vec::new();
    for source in sources {
        for (start, end) in words {
            let pattern = format!("{start}{end}");
            for (line, word) in Source::hits(&source.text, &pattern) {
                violations.push(format!("{}:{line}: `{word}` is left over", source.path));
            }
        }
        if source.path.ends_with(".rs") {
            for (line, call) in Source::hits(&source.code, r"\b(?:todo|unimplemented|dbg)!") {
                violations.push(format!("{}:{line}: `{call}` is left over", source.path));
            }
        }
    }
    violations
}

/// Only the public registry, and one TLS: what `cargo deny` says at length, where it is missing.
pub fn lockfile(lock: &str) -> Vec<String> {
    let public = "registry+https://github.com/rust-lang/crates.io-index";
    let banned = ["openssl", "openssl-sys", "native-tls", "chrono"];
    let mut violations = Vec::new();
    for package in lock.split("[[package]]").skip(1) {
        let field = |key: &str| {
            let line = package.lines().find_map(|l| l.strip_prefix(key));
            line.map(|value| value.trim_matches(|c| " =\"".contains(c)))
        };
        let name = field("name").unwrap_or("");
        if let Some(source) = field("source").filter(|source| *source != public) {
            violations.push(format!("Cargo.lock: `{name}` comes from {source}"));
        }
        if banned.contains(&name) {
            violations.push(format!(
                "Cargo.lock: `{name}` is banned; deny.toml says why"
            ));
        }
    }
    violations
}

/// The paths of the project that a document names in backticks.
pub fn code_map(document: &str) -> Vec<String> {
    let named = Source::hits(document, r"`(?:src|tests|benches|config|tools)/[^`:]*");
    let paths = named.into_iter().map(|(_, path)| path);
    paths
        .map(|path| path.trim_start_matches('`').to_string())
        .collect()
}
