//! The checker, checked: each rule is shown a file that breaks it, and one that does not.

use super::floors;
use super::rules::{self, Rule};
use super::source::Source;

/// `(rule, path, text, what the one violation must say)`
const SAMPLES: &[(&str, Rule, &str, &str, &str)] = &[
    (
        "upward use",
        floors::upward_uses,
        "src/judge/mod.rs",
        "use crate::engine::apply;",
        "floor 3",
    ),
    (
        "upward group",
        floors::upward_uses,
        "src/model.rs",
        "use crate::{model::Arm, plan};",
        "floor 2",
    ),
    (
        "upward inline",
        floors::upward_uses,
        "src/plan/mod.rs",
        "fn f() { crate::app::run(); }",
        "floor 7",
    ),
    (
        "upward super",
        floors::upward_uses,
        "src/stats/rank.rs",
        "use super::super::judge::J;",
        "floor 2",
    ),
    (
        "port to adapter",
        floors::upward_uses,
        "src/store/mod.rs",
        "pub use memory::Memory;",
        "floor 5",
    ),
    (
        "unknown room",
        floors::upward_uses,
        "src/model.rs",
        "use crate::cellar::Wine;",
        "no module",
    ),
    (
        "no floor",
        floors::upward_uses,
        "src/cellar.rs",
        "",
        "has no floor",
    ),
    (
        "inline module",
        floors::upward_uses,
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
        "indicatif",
        rules::pure_crates,
        "src/stats/mod.rs",
        "fn f() { indicatif::style::x() }",
        "indicatif",
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
        "unfinished",
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
            floors::upward_uses,
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
fn the_code_map_is_read_from_backticks() {
    let map = "see `src/plan/` and `src/plan/mod.rs::Plan`, `engine::apply` and src/x.rs";
    assert_eq!(rules::code_map(map), ["src/plan/", "src/plan/mod.rs"]);
}

#[test]
fn a_room_missing_from_the_table_or_on_another_floor_is_flagged() {
    let lib = |text: &str| floors::table_matches_lib(&[Source::new("src/lib.rs", text)]);
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
