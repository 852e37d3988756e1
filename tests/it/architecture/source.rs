//! Reading Rust by its surface: enough of the grammar to see paths, modules and functions.
//!
//! Owns the lexing. It knows no rule of the house: those are in `architecture`. It is no parser:
//! it relies on rustfmt's layout and on code that compiles.

use std::ops::Range;

use regex::Regex;

/// One source file.
pub struct Source {
    /// Path from the project's root, with `/`, such as `src/plan/mod.rs`.
    pub path: String,
    /// As it is in the file.
    pub text: String,
    /// The text with comments and literals blanked; lines stay where they were.
    pub code: String,
    /// `code` with `#[cfg(test)]` items blanked too.
    pub production: String,
}

/// A path in the code, groups of `use` expanded: `use a::{b, c::d}` gives `a::b` and `a::c::d`.
pub struct CodePath {
    /// Line, from 1.
    pub line: usize,
    /// `["crate", "model", "Arm"]`; the last may be `*`.
    pub segments: Vec<String>,
}

/// A function's place and length.
pub struct Function {
    /// Its name.
    pub name: String,
    /// Line of the `fn`, from 1.
    pub line: usize,
    /// Lines from the `fn` to the closing brace, both included.
    pub lines: usize,
}

impl Source {
    /// Lexes one file.
    pub fn new(path: &str, text: &str) -> Source {
        let code = blank_comments_and_literals(text);
        let only_tests = path.ends_with("/tests.rs") || path.contains("/tests/");
        let production = if only_tests {
            blank(&code, 0..code.len())
        } else {
            blank_tests(&code)
        };
        Source {
            path: path.to_string(),
            text: text.to_string(),
            code,
            production,
        }
    }

    /// The module this file is: `["plan", "selector"]`; empty for lib.rs and main.rs.
    pub fn module(&self) -> Vec<String> {
        let inner = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        let mut module: Vec<String> = inner.split('/').map(str::to_string).collect();
        if matches!(
            module.last().map(String::as_str),
            Some("mod" | "lib" | "main")
        ) {
            module.pop();
        }
        module
    }

    /// Every path of the code outside tests.
    pub fn paths(&self) -> Vec<CodePath> {
        let mut found = Vec::new();
        let mut rest = self.production.clone();
        for hit in regex(r"\buse\s+([^;]+);").captures_iter(&self.production) {
            let tree = &hit[1];
            let place = line_of(&self.production, hit.get_match().start());
            for segments in expand(tree) {
                found.push(CodePath {
                    line: place,
                    segments,
                });
            }
            rest = blank(&rest, hit.get_match().range());
        }
        let inline = regex(r"(?:^|[^\w.:])((?:[A-Za-z_]\w*)(?:::[A-Za-z_]\w*)+)");
        for hit in inline.captures_iter(&rest) {
            let segments = hit[1].split("::").map(str::to_string).collect();
            let line = line_of(&rest, hit.get(1).map_or(0, |m| m.start()));
            found.push(CodePath { line, segments });
        }
        found
    }

    /// Names of `mod name;` declarations, those of tests included.
    pub fn declared_modules(&self) -> Vec<String> {
        regex(r"\bmod\s+(\w+)\s*;")
            .captures_iter(&self.code)
            .map(|hit| hit[1].to_string())
            .collect()
    }

    /// Every function with a body, tests included.
    pub fn functions(&self) -> Vec<Function> {
        let mut found = Vec::new();
        for hit in regex(r"\bfn\s+(\w+)").captures_iter(&self.code) {
            let start = hit.get_match().start();
            if let Some(end) = end_of_item(&self.code, hit.get_match().end()) {
                let line = line_of(&self.code, start);
                found.push(Function {
                    name: hit[1].to_string(),
                    line,
                    lines: line_of(&self.code, end) - line + 1,
                });
            }
        }
        found
    }

    /// Lines (from 1) at which `pattern` matches `text`, with what matched.
    pub fn hits(text: &str, pattern: &str) -> Vec<(usize, String)> {
        regex(pattern)
            .find_iter(text)
            .map(|hit| (line_of(text, hit.start()), hit.as_str().trim().to_string()))
            .collect()
    }
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is written in this crate's tests")
}

fn line_of(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

/// The text with the bytes of `range` turned to spaces; newlines and offsets stay.
fn blank(text: &str, range: Range<usize>) -> String {
    let keep = |c: u8| if c == b'\n' { '\n' } else { ' ' };
    let inside: String = text[range.clone()].bytes().map(keep).collect();
    format!("{}{}{}", &text[..range.start], inside, &text[range.end..])
}

/// Offset of the last character of the item whose signature goes on at `from`: its closing brace.
/// `None` for a declaration that ends in a semicolon.
fn end_of_item(code: &str, from: usize) -> Option<usize> {
    let (mut braces, mut others) = (0_i32, 0_i32);
    for (at, c) in code[from..].char_indices() {
        match c {
            '(' | '[' => others += 1,
            ')' | ']' => others -= 1,
            ';' if braces == 0 && others == 0 => return None,
            '{' => braces += 1,
            '}' => {
                braces -= 1;
                if braces == 0 && others == 0 {
                    return Some(from + at);
                }
            }
            _ => {}
        }
    }
    None
}

fn blank_tests(code: &str) -> String {
    let mut out = code.to_string();
    for hit in regex(r"#\[cfg\(test\)\]").find_iter(code) {
        let end = end_of_item(code, hit.end()).unwrap_or_else(|| {
            let semicolon = code[hit.end()..].find(';').unwrap_or(0);
            hit.end() + semicolon
        });
        out = blank(&out, hit.start()..end + 1);
    }
    out
}

/// Expands a `use` tree: `a::{b as c, d::*}` gives `a::b` and `a::d::*`.
fn expand(tree: &str) -> Vec<Vec<String>> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let path = tree.split(" as ").next().unwrap_or(tree).trim();
        let segments = path.split("::").map(|s| s.trim().to_string());
        return vec![segments.filter(|s| !s.is_empty()).collect()];
    };
    let prefix: Vec<String> = expand(&tree[..open]).concat();
    let inside = &tree[open + 1..tree.rfind('}').unwrap_or(tree.len())];
    let mut found = Vec::new();
    for branch in split_at_commas(inside) {
        for tail in expand(branch) {
            let tail = tail.into_iter().filter(|segment| segment != "self");
            found.push(prefix.iter().cloned().chain(tail).collect());
        }
    }
    found
}

fn split_at_commas(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[start..]);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

/// Comments, strings and character literals become spaces; everything else stays in its place.
fn blank_comments_and_literals(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match literal_or_comment_end(&chars, at) {
            Some(end) => end.min(chars.len()),
            None => {
                out.push(chars[at]);
                at += 1;
                continue;
            }
        };
        out.extend(chars[at..end].iter().map(|&c| match c {
            '\n' => '\n',
            _ => ' ',
        }));
        at = end;
    }
    out
}

/// Where the comment or literal that starts at `at` ends, one past it.
fn literal_or_comment_end(chars: &[char], at: usize) -> Option<usize> {
    let next = |n: usize| chars.get(at + n).copied();
    match chars[at] {
        '/' if next(1) == Some('/') => {
            let length = chars[at..].iter().position(|&c| c == '\n');
            Some(length.map_or(chars.len(), |n| at + n))
        }
        '/' if next(1) == Some('*') => Some(block_comment_end(chars, at)),
        '"' => Some(string_end(chars, at)),
        'r' if !starts_inside_word(chars, at) => raw_string_end(chars, at),
        '\'' if next(1) == Some('\\') => {
            // An escape: the quote after the escaped character closes it.
            let close = chars[at + 3..].iter().position(|&c| c == '\'')?;
            Some(at + 3 + close + 1)
        }
        '\'' if next(2) == Some('\'') => Some(at + 3),
        _ => None,
    }
}

/// Whether the character before belongs to the same word, prefixes `b` and `c` of literals apart.
fn starts_inside_word(chars: &[char], at: usize) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    match at.checked_sub(1).map(|i| chars[i]) {
        Some('b' | 'c') => at >= 2 && word(chars[at - 2]),
        Some(c) => word(c),
        None => false,
    }
}

fn block_comment_end(chars: &[char], start: usize) -> usize {
    let (mut depth, mut at) = (0, start);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string_end(chars: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

fn raw_string_end(chars: &[char], start: usize) -> Option<usize> {
    let hashes = chars[start + 1..].iter().take_while(|&&c| c == '#').count();
    let open = start + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return None;
    }
    let mut at = open + 1;
    while at < chars.len() {
        let closing = chars[at] == '"' && chars[at + 1..].iter().take(hashes).all(|&c| c == '#');
        if closing {
            return Some(at + 1 + hashes);
        }
        at += 1;
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(source: &Source) -> Vec<String> {
        source
            .paths()
            .iter()
            .map(|p| format!("{} {}", p.line, p.segments.join("::")))
            .collect()
    }

    #[test]
    fn comments_and_literals_are_blank_and_lines_stay() {
        let text = "a // tokio::x\n/* b /* c */\n d */ e \"f\\\"::g\" 'h' b'\\'' r#\"i\"j\"# k<'l>";
        let code = blank_comments_and_literals(text);
        assert_eq!(code.matches('\n').count(), 2);
        let words: Vec<&str> = code.split_whitespace().collect();
        assert_eq!(words, ["a", "e", "b", "k<'l>"]);
    }

    #[test]
    fn use_groups_are_expanded_and_inline_paths_seen() {
        let source = Source::new(
            "src/x.rs",
            "use crate::{a, b::{self, c as d}, e::*};\nfn f() { std::fs::read(x.y::<u8>()) }\n\
             #[cfg(test)]\nmod tests { use crate::g; }\nuse std::net;",
        );
        assert_eq!(
            joined(&source),
            [
                "1 crate::a",
                "1 crate::b",
                "1 crate::b::c",
                "1 crate::e::*",
                "5 std::net",
                "2 std::fs::read",
            ]
        );
    }

    #[test]
    fn functions_are_measured_to_their_closing_brace() {
        let source = Source::new(
            "src/x.rs",
            "trait T { fn none(&self, x: [u8; 2]); }\nfn two(x: [u8; 2]) -> u8 {\n    x[0] }\n\
             fn four() {\n    let f = |x| { x };\n    let s = \"}\";\n}\n",
        );
        let measured: Vec<_> = source
            .functions()
            .into_iter()
            .map(|f| (f.name, f.line, f.lines))
            .collect();
        assert_eq!(measured, [("two".into(), 2, 2), ("four".into(), 4, 4)]);
    }

    #[test]
    fn a_file_knows_its_module() {
        let module = |path| Source::new(path, "").module().join("::");
        assert_eq!(module("src/lib.rs"), "");
        assert_eq!(module("src/backoff.rs"), "backoff");
        assert_eq!(module("src/plan/mod.rs"), "plan");
        assert_eq!(module("src/plan/selector.rs"), "plan::selector");
    }
}
