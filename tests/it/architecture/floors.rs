//! The floors: which room stands on which, and that nothing reaches upward.
//!
//! Owns the table, and how a path in the code leads to a room. What a floor may name of std and of
//! other crates is in `rules`.

use super::source::Source;

/// Room or file -> floor; the longest entry that fits decides. The top rooms are those of lib.rs.
const FLOORS: &[(&str, u8)] = &[
    ("model", 1),
    ("stats", 1),
    ("plan", 2),
    ("window", 2),
    ("judge", 2),
    ("engine", 3),
    ("codec", 3),
    ("backoff", 3),
    ("config", 4),
    ("clock", 4),
    ("log", 4),
    ("log::local", 5),
    ("store", 4),
    ("store::memory", 5),
    ("store::sql", 5),
    ("webhook", 5),
    ("pull", 5),
    ("oidc", 5),
    ("telemetry", 5),
    ("tls", 5),
    ("tokens", 5),
    ("http", 6),
    ("app", 7),
    ("cli", 7),
];

/// The floor of a module, by the longest entry of the table that fits; main is composition.
pub fn floor_of(module: &[String]) -> Option<u8> {
    let whole = module.join("::");
    let fits = |room: &&(&str, u8)| {
        whole == room.0
            || whole
                .strip_prefix(room.0)
                .is_some_and(|r| r.starts_with("::"))
    };
    let room = FLOORS.iter().filter(fits).max_by_key(|room| room.0.len());
    room.map(|room| room.1)
}

/// The rooms of the table that are not inside another.
pub fn top_rooms() -> impl Iterator<Item = &'static str> {
    let names = FLOORS.iter().map(|(room, _)| *room);
    names.filter(|room| !room.contains("::"))
}

/// The crate's two roots, which stand on no floor of the table.
pub fn is_root(source: &Source) -> bool {
    matches!(source.path.as_str(), "src/lib.rs" | "src/main.rs")
}

/// The table here and the `// Floor N:` comments of lib.rs say the same.
pub fn table_matches_lib(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    let mut told: Vec<(String, u8)> = Vec::new();
    for lib in sources.iter().filter(|s| s.path == "src/lib.rs") {
        let mut floor = 0;
        for line in lib.text.lines() {
            if let Some(rest) = line.strip_prefix("// Floor ") {
                let digits = rest.split(':').next().unwrap_or("");
                floor = digits.parse().unwrap_or(0);
            } else if let Some(rest) = line.strip_prefix("pub mod ") {
                told.push((rest.trim_end_matches(';').to_string(), floor));
            }
        }
    }
    for (room, floor) in &told {
        if floor_of(std::slice::from_ref(room)) != Some(*floor) {
            violations.push(format!(
                "src/lib.rs: `{room}` is on floor {floor} there, not in the table of floors"
            ));
        }
    }
    for (room, floor) in FLOORS.iter().filter(|(room, _)| !room.contains("::")) {
        if !told.iter().any(|(name, _)| name == room) {
            violations.push(format!("src/lib.rs: floor {floor} holds no `{room}`"));
        }
    }
    violations
}

/// Every path to another room leads to the same floor or a lower one.
pub fn upward_uses(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources.iter().filter(|s| s.path != "src/lib.rs") {
        let own = match floor_of(&source.module()) {
            Some(floor) => floor,
            None if source.path == "src/main.rs" => 7,
            None => {
                let path = &source.path;
                violations.push(format!("{path}: has no floor; give its room one in FLOORS"));
                continue;
            }
        };
        for (line, _) in Source::hits(&source.production, r"\bmod\s+\w+\s*\{") {
            violations.push(format!(
                "{}:{line}: an inline module; give it a file",
                source.path
            ));
        }
        for path in source.paths() {
            let Some(target) = absolute(source, &path.segments) else {
                continue;
            };
            let place = format!("{}:{}", source.path, path.line);
            match floor_of(&target) {
                Some(floor) if floor > own => violations.push(format!(
                    "{place}: floor {own} uses `{}` of floor {floor}; turn the call round",
                    target.join("::")
                )),
                None if !target.is_empty() => violations.push(format!(
                    "{place}: `{}` is no module with a floor",
                    target.join("::")
                )),
                _ => {}
            }
        }
    }
    violations
}

/// The path from the crate's root, or `None` when it leads out of the crate.
fn absolute(source: &Source, segments: &[String]) -> Option<Vec<String>> {
    let mut module = source.module();
    let (first, rest) = segments.split_first()?;
    match first.as_str() {
        "crate" => return Some(rest.to_vec()),
        "davy" if source.path == "src/main.rs" => return Some(rest.to_vec()),
        "self" | "super" => {
            let mut rest = segments;
            while let Some((head, tail)) = rest.split_first() {
                match head.as_str() {
                    "self" => {}
                    "super" => drop(module.pop()),
                    _ => break,
                }
                rest = tail;
            }
            module.extend(rest.iter().cloned());
        }
        // A path that starts at a child of this module; other names lead out of the crate.
        child => {
            module.push(child.to_string());
            FLOORS
                .iter()
                .find(|room| room.0 == module.join("::") && module.len() > 1)?;
            module.extend(rest.iter().cloned());
        }
    }
    Some(module)
}
