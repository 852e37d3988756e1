//! The rules of the house, read from the sources: floors, purity, sizes, headers, leftovers.
//!
//! Each rule is a function from sources to violations. It is run on the crate, where it must find
//! nothing, and on a made-up file that breaks it, where it must find exactly that. `source` reads
//! Rust; what is not a rule about sources (what a plan means, what an answer holds) is tested
//! where it belongs.

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
    assert_clean(rules::table_matches_lib, &sources_of(&["src"]));
}

#[test]
fn a_file_uses_only_its_own_floor_or_a_lower_one() {
    assert_clean(rules::floors, &sources_of(&["src"]));
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
    let sources = sources_of(&["src", "tests", "benches"]);
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
        "config",
        "docs",
        "tools",
        ".ci",
        "dashboards",
    ];
    let extensions = [
        "rs", "md", "toml", "yaml", "yml", "sh", "py", "json", "sql", "html", "css", "js",
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
        if name == "Makefile" || extensions.contains(&extension) {
            let text = std::fs::read_to_string(&path).expect("a file at the root is UTF-8");
            sources.push(Source::new(&name, &text));
        }
    }
    assert!(sources.iter().any(|s| s.path == "Makefile"));
    assert_clean(rules::leftovers, &sources);
}

#[test]
fn every_dependency_comes_from_the_public_registry_and_none_brings_its_own_tls() {
    let lock = std::fs::read_to_string(project_root().join("Cargo.lock")).expect("Cargo.lock");
    let violations = rules::lockfile(&lock);
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

/// The checker, checked: each rule on a file that breaks it.
mod broken {
    use super::*;

    /// `(rule, path, text, what the one violation must say)`
    const SAMPLES: &[(&str, Rule, &str, &str, &str)] = &[
        (
            "upward use",
            rules::floors,
            "src/judge/mod.rs",
            "use crate::engine::apply;",
            "floor 3",
        ),
        (
            "upward group",
            rules::floors,
            "src/model.rs",
            "use crate::{model::Arm, plan};",
            "floor 2",
        ),
        (
            "upward inline",
            rules::floors,
            "src/plan/mod.rs",
            "fn f() { crate::app::run(); }",
            "floor 7",
        ),
        (
            "upward super",
            rules::floors,
            "src/stats/rank.rs",
            "use super::super::judge::J;",
            "floor 2",
        ),
        (
            "port to adapter",
            rules::floors,
            "src/store/mod.rs",
            "pub use memory::Memory;",
            "floor 5",
        ),
        (
            "unknown room",
            rules::floors,
            "src/model.rs",
            "use crate::cellar::Wine;",
            "no module",
        ),
        (
            "no floor",
            rules::floors,
            "src/cellar.rs",
            "",
            "has no floor",
        ),
        (
            "inline module",
            rules::floors,
            "src/model.rs",
            "mod inner { }",
            "inline",
        ),
        (
            "std::fs",
            rules::pure_words,
            "src/stats/mod.rs",
            "use std::{fmt, fs};",
            "std::fs",
        ),
        (
            "inline io",
            rules::pure_words,
            "src/codec/mod.rs",
            "fn f() { std::net::x() }",
            "std::net",
        ),
        (
            "clock",
            rules::pure_words,
            "src/engine/mod.rs",
            "fn f() { Instant::now(); }",
            "Instant",
        ),
        (
            "print",
            rules::pure_words,
            "src/backoff.rs",
            "fn f() { println!(); }",
            "println!",
        ),
        (
            "async",
            rules::pure_words,
            "src/window.rs",
            "async fn f() {}",
            "async",
        ),
        (
            "hash order",
            rules::pure_words,
            "src/judge/mod.rs",
            "use std::collections::HashMap;",
            "HashMap",
        ),
        (
            "tokio",
            rules::pure_crates,
            "src/engine/mod.rs",
            "use tokio::sync::mpsc;",
            "tokio",
        ),
        (
            "statrs",
            rules::pure_crates,
            "src/stats/mod.rs",
            "fn f() { statrs::function::x() }",
            "statrs",
        ),
        (
            "method",
            rules::pinned_arithmetic,
            "src/stats/mod.rs",
            "fn f(x: f64) { x.ln(); }",
            "ln",
        ),
        (
            "path",
            rules::pinned_arithmetic,
            "src/stats/mod.rs",
            "fn f(x: f64) { f64::exp(x); }",
            "exp",
        ),
        (
            "clock",
            rules::single_places,
            "src/app.rs",
            "fn f() { SystemTime::now(); }",
            "clock",
        ),
        (
            "print",
            rules::single_places,
            "src/http/mod.rs",
            "fn f() { eprintln!(); }",
            "eprintln!",
        ),
        (
            "anyhow",
            rules::single_places,
            "src/http/mod.rs",
            "use anyhow::Result;",
            "anyhow",
        ),
        (
            "orphan",
            rules::reachable,
            "src/plan/lost.rs",
            "//! lost",
            "src/plan/lost.rs",
        ),
        (
            "no header",
            rules::headers_and_lengths,
            "src/x.rs",
            "use std::fmt;",
            "//!",
        ),
        (
            "no header",
            rules::leftovers,
            "src/x.rs",
            "fn f() { todo!() }",
            "todo!",
        ),
    ];

    #[test]
    fn each_rule_flags_its_sample_once() {
        for (name, rule, path, text, says) in SAMPLES {
            let violations = rule(&[Source::new(path, text)]);
            assert_eq!(violations.len(), 1, "{name} in {path}: {violations:?}");
            assert!(violations[0].contains(says), "{name}: {violations:?}");
            assert!(violations[0].starts_with(path), "{name}: {violations:?}");
        }
    }

    #[test]
    fn what_is_allowed_is_not_flagged() {
        let fine = [
            (
                "src/judge/mod.rs",
                "use crate::{model::Arm, plan::Plan, stats::rank, window};",
            ),
            (
                "src/stats/mod.rs",
                "// x.ln() of std::fs\nfn f(x: f64) { libm::log(x.sqrt()); }",
            ),
            (
                "src/stats/rank.rs",
                "use super::special::normal_sf;\nuse super::super::model::Arm;",
            ),
            (
                "src/backoff.rs",
                "#[cfg(test)]\nmod tests { use std::fs; fn f() { 1.0_f64.ln(); } }",
            ),
            (
                "src/app.rs",
                "use crate::{cli, engine, http, store::memory::Memory};",
            ),
            ("src/clock.rs", "fn now() { std::time::SystemTime::now(); }"),
            (
                "src/cli/compare.rs",
                "use anyhow::Result;\nfn f() { println!(); }",
            ),
        ];
        for (path, text) in fine {
            let sources = [Source::new(path, text)];
            for rule in [
                rules::floors,
                rules::pure_words,
                rules::pure_crates,
                rules::pinned_arithmetic,
                rules::single_places,
                rules::leftovers,
            ] {
                assert_eq!(rule(&sources), Vec::<String>::new(), "{path}");
            }
        }
    }

    #[test]
    fn lengths_are_flagged_one_past_the_limit() {
        let file =
            |lines: usize| Source::new("src/x.rs", &format!("//! x\n{}", "\n".repeat(lines - 1)));
        assert_eq!(
            rules::headers_and_lengths(&[file(rules::FILE_LINES_MAX)]).len(),
            0
        );
        assert_eq!(
            rules::headers_and_lengths(&[file(rules::FILE_LINES_MAX + 1)]).len(),
            1
        );
        let function = |lines: usize| {
            Source::new(
                "src/x.rs",
                &format!("fn f() {{{}}}\n", "\n".repeat(lines - 1)),
            )
        };
        assert_eq!(
            rules::function_lengths(&[function(rules::FUNCTION_LINES_MAX)]).len(),
            0
        );
        assert_eq!(
            rules::function_lengths(&[function(rules::FUNCTION_LINES_MAX + 1)]).len(),
            1
        );
    }

    #[test]
    fn leftovers_are_flagged_in_text_too() {
        for word in [
            concat!("TO", "DO"),
            concat!("FIX", "ME"),
            concat!("/ro", "ot/x"),
        ] {
            let source = Source::new("docs/x.md", &format!("see {word}"));
            assert_eq!(rules::leftovers(&[source]).len(), 1, "{word}");
        }
    }

    #[test]
    fn a_foreign_registry_and_a_second_tls_are_flagged() {
        let package = |name: &str, source: &str| {
            format!("[[package]]\nname = \"{name}\"\nversion = \"1.0.0\"\nsource = \"{source}\"\n")
        };
        let public = "registry+https://github.com/rust-lang/crates.io-index";
        assert_eq!(rules::lockfile(&package("serde", public)).len(), 0);
        assert_eq!(rules::lockfile(&package("openssl-sys", public)).len(), 1);
        assert_eq!(
            rules::lockfile(&package("serde", "git+https://example.org/serde")).len(),
            1
        );
    }

    #[test]
    fn a_room_missing_from_the_table_or_on_another_floor_is_flagged() {
        let lib = |text: &str| rules::table_matches_lib(&[Source::new("src/lib.rs", text)]);
        let missing = lib("// Floor 1: words.\npub mod model;\npub mod cellar;\n");
        assert!(missing.iter().any(|v| v.contains("cellar")), "{missing:?}");
        let moved = lib("// Floor 2: judging.\npub mod model;\n");
        assert!(
            moved
                .iter()
                .any(|v| v.contains("model") && v.contains("floor 2")),
            "{moved:?}"
        );
    }
}
