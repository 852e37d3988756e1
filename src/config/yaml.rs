//! YAML (and so JSON) text to a tree with places, strictly.
//!
//! Owns what is YAML's own: one document, no anchors, aliases, tags or merge keys, no key twice.
//! It walks the parser's events without recursion, so depth costs no stack, and aliases cannot
//! multiply a small text into a large tree. It must not know what the keys mean.

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use super::node::{DEPTH_MAX, Key, Kind, Node, Place, too_deep};
use super::problem::{Problem, ProblemCode};

/// Parses one document. Syntax errors end the reading; a key written twice does not, so that the
/// rest can be checked too: the first value counts and the problem is added to `problems`.
pub fn parse(file: &str, text: &str, problems: &mut Vec<Problem>) -> Option<Node> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder {
        file,
        text,
        problems,
        stack: Vec::new(),
        root: None,
        documents: 0,
    };
    let mut parser = Parser::new_from_str(text);
    loop {
        match parser.next_event() {
            None | Some(Ok((Event::StreamEnd, _))) => break,
            Some(Ok((event, span))) => {
                if let Err(problem) = builder.take(event, span) {
                    builder.problems.push(*problem);
                    return None;
                }
            }
            Some(Err(error)) => {
                let problem = syntax_problem(file, text, &error);
                builder.problems.push(problem);
                return None;
            }
        }
    }
    let root = builder.root.filter(|root| !root.is_null());
    if root.is_none() {
        problems.push(Problem::of_file(
            file,
            ProblemCode::Syntax,
            "the file is empty",
        ));
    }
    root
}

struct Builder<'t> {
    file: &'t str,
    text: &'t str,
    problems: &'t mut Vec<Problem>,
    stack: Vec<Open>,
    root: Option<Node>,
    documents: usize,
}

/// A collection whose end was not met yet.
struct Open {
    place: Place,
    kind: Kind,
    /// The key that waits for its value, in a mapping.
    key: Option<Key>,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Box<Problem>> {
        let place = Place {
            line: span.start.line(),
            column: span.start.col() + 1,
        };
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    let help = "write one document a file; remove the ---";
                    return Err(self.refuse(place, "a second document begins here", help));
                }
                Ok(())
            }
            Event::Alias(_) => Err(self.refuse_anchor(place)),
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_extras(place, anchor, tag.is_some())?;
                let quoted = style != ScalarStyle::Plain;
                // The parser's own stand-in for nothing.
                self.insert(Node {
                    place,
                    kind: Kind::Scalar {
                        text: text.into_owned(),
                        quoted,
                    },
                })
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_extras(place, anchor, tag.is_some())?;
                self.open(place, Kind::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_extras(place, anchor, tag.is_some())?;
                self.open(place, Kind::Map(Vec::new()))
            }
            Event::SequenceEnd | Event::MappingEnd => match self.stack.pop() {
                Some(Open { place, kind, .. }) => self.insert(Node { place, kind }),
                None => Ok(()),
            },
            Event::DocumentEnd | Event::Nothing | Event::StreamStart | Event::StreamEnd => Ok(()),
        }
    }

    fn open(&mut self, place: Place, kind: Kind) -> Result<(), Box<Problem>> {
        if self.stack.len() >= DEPTH_MAX {
            return Err(Box::new(too_deep(self.file, place)));
        }
        self.stack.push(Open {
            place,
            kind,
            key: None,
        });
        Ok(())
    }

    fn insert(&mut self, node: Node) -> Result<(), Box<Problem>> {
        let Some(open) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.kind {
            Kind::List(items) => items.push(node),
            Kind::Map(entries) => match open.key.take() {
                Some(key) if entries.iter().any(|(known, _)| known.text == key.text) => {
                    let message = format!("`{}` is written twice", key.text);
                    let problem = located(self.file, key.place, ProblemCode::DuplicateKey, message);
                    self.problems.push(problem.with_help("keep one of the two"));
                }
                Some(key) => entries.push((key, node)),
                None => {
                    let Node {
                        place,
                        kind: Kind::Scalar { text, .. },
                    } = node
                    else {
                        let help = "write a word before the colon";
                        return Err(self.refuse(node.place, "a key must be a text", help));
                    };
                    open.key = Some(Key { place, text });
                }
            },
            Kind::Scalar { .. } => {}
        }
        Ok(())
    }

    fn refuse_extras(&self, place: Place, anchor: usize, tag: bool) -> Result<(), Box<Problem>> {
        if anchor > 0 {
            return Err(self.refuse_anchor(self.anchor_before(place)));
        }
        if tag {
            return Err(self.refuse(place, "tags (!..) are not supported", "remove the tag"));
        }
        Ok(())
    }

    /// The parser gives the place of what an anchor names; the anchor itself stands before it.
    fn anchor_before(&self, named: Place) -> Place {
        let index = named.line.saturating_sub(1);
        let line = self.text.lines().nth(index).unwrap_or_default();
        let before = line.chars().take(named.column.saturating_sub(1));
        let signs = before.enumerate().filter(|(_, sign)| *sign == '&');
        signs.last().map_or(named, |(at, _)| Place {
            line: named.line,
            column: at + 1,
        })
    }

    fn refuse_anchor(&self, place: Place) -> Box<Problem> {
        let help = "write the value out; a plan should be readable where it stands";
        self.refuse(
            place,
            "anchors and aliases (& and *) are not supported",
            help,
        )
    }

    fn refuse(&self, place: Place, message: &str, help: &str) -> Box<Problem> {
        let problem = located(self.file, place, ProblemCode::Syntax, message.to_owned());
        Box::new(problem.with_help(help))
    }
}

fn located(file: &str, place: Place, code: ProblemCode, message: String) -> Problem {
    Problem {
        line: place.line,
        column: place.column,
        ..Problem::of_file(file, code, message)
    }
}

/// The parser's message, with the fix where the usual slips are recognised.
fn syntax_problem(file: &str, text: &str, error: &ScanError) -> Problem {
    let marker = error.marker();
    let place = Place {
        line: marker.line(),
        column: marker.col() + 1,
    };
    let form = match file.ends_with(".json") {
        true => "JSON",
        false => "YAML",
    };
    let message = format!("not valid {form}: {}", error.info());
    let mut problem = located(file, place, ProblemCode::Syntax, message);
    // The parser often stops on the line after the slip.
    let index = place.line.saturating_sub(1);
    let around = [
        text.lines().nth(index),
        index.checked_sub(1).and_then(|i| text.lines().nth(i)),
    ];
    let any = |test: &dyn Fn(&str) -> bool| around.iter().flatten().any(|line| test(line));
    let starts_block = |line: &str| {
        line.split_once(": ")
            .is_some_and(|(_, value)| value.trim_start().starts_with('>'))
    };
    if any(&starts_block) {
        return problem.with_help("quote a value that begins with >: limit: \"> 100\"");
    }
    let is_tabbed = |line: &str| line.trim_start_matches(' ').starts_with('\t');
    if any(&is_tabbed) {
        for at in [Some(index), index.checked_sub(1)].into_iter().flatten() {
            let line = text.lines().nth(at).filter(|line| is_tabbed(line));
            if let Some(tab) = line.and_then(|line| line.find('\t')) {
                (problem.line, problem.column) = (at + 1, tab + 1);
                break;
            }
        }
        return problem.with_help("indent with spaces; YAML does not allow tabs");
    }
    if any(&|line| line.contains("{{") || line.contains("%") || line.contains('@')) {
        return problem.with_help("quote values that hold { } % @ or other signs: '...'");
    }
    problem
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn problem_of(text: &str) -> (usize, usize, String) {
        let mut problems = Vec::new();
        let _ = parse("p.yaml", text, &mut problems);
        let first = problems.into_iter().next().expect("a problem");
        (
            first.line,
            first.column,
            format!("{} | {}", first.message, first.help.unwrap_or_default()),
        )
    }

    #[test]
    fn places_count_characters_from_one() {
        let mut problems = Vec::new();
        let root = parse("p", "é: {\"ü\": [1, 'x']}\nb:\n  - c: 2\n", &mut problems).unwrap();
        assert!(problems.is_empty());
        let Kind::Map(entries) = &root.kind else {
            panic!("a mapping")
        };
        let Kind::Map(inner) = &entries[0].1.kind else {
            panic!("a mapping")
        };
        let Kind::List(items) = &inner[0].1.kind else {
            panic!("a list")
        };
        assert_eq!(
            items[1].place,
            Place {
                line: 1,
                column: 14
            }
        );
        let Kind::List(items) = &entries[1].1.kind else {
            panic!("a list")
        };
        let Kind::Map(last) = &items[0].kind else {
            panic!("a mapping")
        };
        assert_eq!(last[0].0.place, Place { line: 3, column: 5 });
    }

    #[test]
    fn what_yaml_allows_and_we_do_not() {
        let (line, column, text) = problem_of("a: 1\n---\nb: 2\n");
        assert_eq!((line, column), (2, 1));
        assert!(text.contains("second document"), "{text}");
        let (line, column, text) = problem_of("a: &x 1\nb: *x\n");
        assert_eq!((line, column), (1, 4));
        assert!(text.contains("anchors"), "{text}");
        assert!(problem_of("a: !!str 1\n").2.contains("tags"));
        assert_eq!(problem_of("a: 1\nb: 2\na: 3\n").0, 3);
        assert!(problem_of("a: 1\na: 3\n").2.contains("written twice"));
        let (line, column, text) = problem_of("a:\n\tb: 1\n");
        assert_eq!((line, column), (2, 1));
        assert!(text.contains("tabs"), "{text}");
        assert!(problem_of("limit: > 100\nb: 1\n").2.contains("quote"));
        assert!(problem_of("").2.contains("empty"));
        assert!(problem_of("# only a comment\n").2.contains("empty"));
    }

    #[test]
    fn depth_is_limited_without_recursion() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let mut problems = Vec::new();
        assert!(parse("p", &deep(DEPTH_MAX), &mut problems).is_some());
        assert!(problem_of(&deep(DEPTH_MAX + 1)).2.contains("levels deep"));
        assert!(problem_of(&"- ".repeat(100_000)).2.contains("levels deep"));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let text = String::from_utf8_lossy(&bytes);
            let _ = parse("p", &text, &mut Vec::new());
        }

        #[test]
        fn yaml_like_texts_never_panic(text in "[a-c:\\-{}\\[\\] \n\t#&*!|>'\"%@,?~<0-9]{0,80}") {
            let _ = parse("p", &text, &mut Vec::new());
        }
    }
}
