//! The rules of the house, read from the sources: floors, purity, sizes, headers, leftovers.
//!
//! Each rule is a function from sources to violations. It is run on the crate, where it must find
//! nothing, and on a made-up file that breaks it, where it must find exactly that. `source` reads
//! Rust; what is not a rule about sources (what a plan means, what an answer holds) is tested
//! where it belongs.

mod broken;
mod floors;
mod rules;
mod source;

use std::path::Path;

use rules::Rule;
use source::Source;

use crate::support::project_root;

/// Files under `folder` (relative to the project's root) with one of the extensions, sorted.
fn files_under(folder: &str, extensions: &[&str]) -> Vec<(String, String)> {
    fn walk(folder: &Path, extensions: &[&str], found: &mut Vec<(String, String)>) {
        let Ok(entries) = std::fs::read_dir(folder) else {
            return;
        };
        for entry in entries {
            let path = entry.expect("a folder of the project is readable").path();
            let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
            if path.is_dir() {
                walk(&path, extensions, found);
            } else if extensions.contains(&extension) {
                let text = std::fs::read_to_string(&path).expect("a source file is UTF-8");
                let root = project_root();
                let relative = path.strip_prefix(&root).expect("walked from the root");
                found.push((relative.to_string_lossy().replace('\\', "/"), text));
            }
        }
    }
    let mut found = Vec::new();
    walk(&project_root().join(folder), extensions, &mut found);
    found.sort();
    found
}

fn sources_of(folders: &[&str]) -> Vec<Source> {
    let files = folders
        .iter()
        .flat_map(|folder| files_under(folder, &["rs"]));
    files
        .map(|(path, text)| Source::new(&path, &text))
        .collect()
}

/// Fails with every violation, one a line.
fn assert_clean(rule: Rule, sources: &[Source]) {
    let violations = rule(sources);
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

#[test]
fn the_crate_is_where_it_is_looked_for() {
    let sources = sources_of(&["src"]);
    assert!(sources.iter().any(|s| s.path == "src/lib.rs"));
    assert!(sources.iter().any(|s| s.path == "src/judge/mod.rs"));
}

#[test]
fn the_table_of_floors_is_the_one_lib_rs_tells() {
    assert_clean(floors::table_matches_lib, &sources_of(&["src"]));
}

#[test]
fn a_file_uses_only_its_own_floor_or_a_lower_one() {
    assert_clean(floors::upward_uses, &sources_of(&["src"]));
}

#[test]
fn floors_1_to_3_are_pure() {
    assert_clean(rules::pure_words, &sources_of(&["src"]));
}

#[test]
fn floors_1_to_3_use_no_crate_that_could_do_io_or_arithmetic_of_its_own() {
    assert_clean(rules::pure_crates, &sources_of(&["src"]));
}

#[test]
fn floors_1_to_3_take_transcendental_functions_from_libm() {
    assert_clean(rules::pinned_arithmetic, &sources_of(&["src"]));
}

#[test]
fn only_the_clock_reads_the_clock_and_only_the_command_line_prints() {
    assert_clean(rules::single_places, &sources_of(&["src"]));
}

#[test]
fn every_module_is_reachable() {
    assert_clean(rules::reachable, &sources_of(&["src", "tests"]));
}

#[test]
fn files_open_with_what_they_own_and_stay_short() {
    let folders = ["src", "tests", "benches", "fuzz/src", "fuzz/fuzz_targets"];
    let sources = sources_of(&folders);
    assert_clean(rules::headers_and_lengths, &sources);
}

#[test]
fn functions_fit_a_page() {
    assert_clean(rules::function_lengths, &sources_of(&["src"]));
}

#[test]
fn nothing_is_left_over() {
    let folders = [
        "src",
        "tests",
        "benches",
        "fuzz/src",
        "fuzz/fuzz_targets",
        "config",
        "docs",
        "tools",
        ".ci",
        "dashboards",
    ];
    // Scripts have no extension.
    let extensions = [
        "", "rs", "md", "toml", "yaml", "yml", "sh", "py", "json", "sql", "html", "css", "js",
    ];
    let mut sources = Vec::new();
    for folder in folders {
        let files = files_under(folder, &extensions);
        sources.extend(files.iter().map(|(path, text)| Source::new(path, text)));
    }
    for entry in std::fs::read_dir(project_root()).expect("the project's root is readable") {
        let path = entry.expect("an entry of the root").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
        // A worktree's link to its repository is nobody's text.
        if name != ".git" && path.is_file() && extensions.contains(&extension) {
            let text = std::fs::read_to_string(&path).expect("a file at the root is UTF-8");
            sources.push(Source::new(&name, &text));
        }
    }
    let scripts =
        ["debian-packages", "python-packages", "fuzz"].map(|name| format!("tools/{name}"));
    for script in scripts
        .iter()
        .map(String::as_str)
        .chain(["Makefile", ".ci/run"])
    {
        assert!(sources.iter().any(|s| s.path == script), "{script}");
    }
    assert_clean(rules::leftovers, &sources);
}

#[test]
fn every_dependency_comes_from_the_public_registry_and_none_brings_its_own_tls() {
    let lock = std::fs::read_to_string(project_root().join("Cargo.lock")).expect("Cargo.lock");
    let violations = rules::lockfile(&lock);
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

#[test]
fn the_code_map_names_every_room_and_nothing_that_is_not_there() {
    let map = std::fs::read_to_string(project_root().join("ARCHITECTURE.md")).expect("the map");
    let missing: Vec<String> = rules::code_map(&map)
        .into_iter()
        .filter(|path| !project_root().join(path).exists())
        .collect();
    assert_eq!(
        missing,
        Vec::<String>::new(),
        "named in ARCHITECTURE.md, not in the tree"
    );
    let unnamed: Vec<String> = floors::top_rooms()
        .filter(|room| !map.contains(&format!("- `src/{room}")))
        .map(str::to_string)
        .collect();
    assert_eq!(
        unnamed,
        Vec::<String>::new(),
        "rooms without a line in ARCHITECTURE.md"
    );
}
