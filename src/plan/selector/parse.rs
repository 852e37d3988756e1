//! The grammar of selectors: text in, matchers with their places out.
//!
//! Owns the syntax (PromQL's, with quoted names as of Prometheus 3). It must not know what a
//! matcher means; that is the parent's.

use super::{
    MATCHERS_MAX, MatcherTemplate, NAME_LABEL, Operator, Piece, SELECTOR_BYTES_MAX, SelectorError,
};

/// Whether `{{name}}` may stand in a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Variables {
    Allowed,
    Refused,
}

/// A matcher and the byte at which its value begins.
pub(super) struct Found {
    pub matcher: MatcherTemplate,
    pub value_offset: usize,
}

/// Parses a whole selector.
pub(super) fn matchers(text: &str, variables: Variables) -> Result<Vec<Found>, SelectorError> {
    if text.len() > SELECTOR_BYTES_MAX {
        return Err(SelectorError {
            offset: 0,
            message: format!("the selector is longer than {SELECTOR_BYTES_MAX} bytes"),
            help: None,
        });
    }
    let mut cursor = Cursor {
        text,
        at: 0,
        variables,
        found: Vec::new(),
    };
    cursor.selector()?;
    if cursor.found.is_empty() {
        return Err(cursor.error(
            "the selector holds no matcher",
            "write label=\"value\", or a metric name",
        ));
    }
    Ok(cursor.found)
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`
pub(super) fn is_label_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

struct Cursor<'t> {
    text: &'t str,
    at: usize,
    variables: Variables,
    found: Vec<Found>,
}

impl<'t> Cursor<'t> {
    fn selector(&mut self) -> Result<(), SelectorError> {
        self.blanks();
        let start = self.at;
        let name = self.word(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
        self.blanks();
        if !name.is_empty() && matches!(self.peek(), Some('=' | '!')) {
            self.at = start;
            self.list(None)?;
        } else {
            if !name.is_empty() {
                if name.starts_with(|c: char| c.is_ascii_digit()) {
                    self.at = start;
                    return Err(self.error(
                        "a name starts with a letter or _",
                        "quote other names: {\"404_total\"}",
                    ));
                }
                self.push_name(name, start)?;
            }
            if self.peek() == Some('{') {
                self.at += 1;
                self.list(Some('}'))?;
                self.at += 1;
            } else if name.is_empty() && self.peek() == Some('"') {
                self.list(None)?;
            }
        }
        self.blanks();
        match self.peek() {
            None => Ok(()),
            Some('.' | '-' | '/') => Err(self.error(
                "this name needs quotes",
                "write {\"http.server.duration\"} for names with . - or /",
            )),
            Some('[') => Err(self.error("a range has no meaning here", "remove [..]")),
            Some(_) => Err(self.error(
                "expected the end of the selector",
                "write name{label=\"value\", other=~\"regex\"}; functions are not selectors",
            )),
        }
    }

    /// Matchers between commas, up to `close` (not consumed) or the end. A last comma is allowed.
    fn list(&mut self, close: Option<char>) -> Result<(), SelectorError> {
        loop {
            self.blanks();
            if self.peek() == close {
                return Ok(());
            }
            self.matcher()?;
            self.blanks();
            match self.peek() {
                Some(',') => self.at += 1,
                next if next == close => return Ok(()),
                None => return Err(self.error("the braces are not closed", "add }")),
                Some(_) => {
                    return Err(self.error("expected a comma", "separate matchers by commas"));
                }
            }
        }
    }

    fn matcher(&mut self) -> Result<(), SelectorError> {
        let start = self.at;
        let quoted = matches!(self.peek(), Some('"' | '\'' | '`'));
        let label = if quoted {
            let pieces = self.quoted(Variables::Refused)?;
            pieces
                .into_iter()
                .map(|piece| match piece {
                    Piece::Literal(text) | Piece::Variable(text) => text,
                })
                .collect()
        } else {
            self.word(|c| c.is_ascii_alphanumeric() || c == '_')
                .to_owned()
        };
        self.blanks();
        if quoted && matches!(self.peek(), None | Some(',' | '}')) {
            return self.push_name(&label, start);
        }
        if label.is_empty() || (!quoted && !is_label_name(&label)) {
            self.at = start;
            return Err(self.error(
                "expected a label name",
                "write label=\"value\"; names with other letters go in quotes",
            ));
        }
        let operator = self.operator()?;
        self.blanks();
        let value_offset = self.at;
        if !matches!(self.peek(), Some('"' | '\'' | '`')) {
            return Err(self.error("expected a quoted value", "put the value in quotes"));
        }
        let value = self.quoted(self.variables)?;
        if operator.is_regex() {
            check_variables_in_regex(&value, value_offset)?;
        }
        if label == NAME_LABEL && operator == Operator::Equal && self.has_name() {
            self.at = start;
            return Err(self.error("the metric name is given twice", "keep one of the two"));
        }
        self.push(
            MatcherTemplate {
                label,
                operator,
                value,
            },
            value_offset,
        )
    }

    fn operator(&mut self) -> Result<Operator, SelectorError> {
        let operators = [
            ("=~", Operator::Regex),
            ("!~", Operator::NotRegex),
            ("!=", Operator::NotEqual),
            ("=", Operator::Equal),
        ];
        for (sign, operator) in operators {
            if self.rest().starts_with(sign) {
                self.at += sign.len();
                if operator == Operator::Equal && self.peek() == Some('=') {
                    return Err(self.error("`==` is not a matcher", "write ="));
                }
                return Ok(operator);
            }
        }
        Err(self.error("expected =, !=, =~ or !~", "write label=\"value\""))
    }

    fn has_name(&self) -> bool {
        let is_name = |m: &MatcherTemplate| m.label == NAME_LABEL && m.operator == Operator::Equal;
        self.found.iter().any(|found| is_name(&found.matcher))
    }

    fn push_name(&mut self, name: &str, offset: usize) -> Result<(), SelectorError> {
        if self.has_name() {
            self.at = offset;
            return Err(self.error("the metric name is given twice", "keep one of the two"));
        }
        let value = vec![Piece::Literal(name.to_owned())];
        let label = NAME_LABEL.to_owned();
        self.push(
            MatcherTemplate {
                label,
                operator: Operator::Equal,
                value,
            },
            offset,
        )
    }

    fn push(&mut self, matcher: MatcherTemplate, value_offset: usize) -> Result<(), SelectorError> {
        if self.found.len() == MATCHERS_MAX {
            let message = format!("more than {MATCHERS_MAX} matchers");
            return Err(self.error(&message, "join alternatives in one regex: =~\"one|two\""));
        }
        self.found.push(Found {
            matcher,
            value_offset,
        });
        Ok(())
    }

    /// A quoted string, unescaped as Go does, cut at its variables.
    fn quoted(&mut self, variables: Variables) -> Result<Vec<Piece>, SelectorError> {
        let open = self.at;
        let quote = self.next().unwrap_or('"');
        let mut pieces = Vec::new();
        let mut literal = String::new();
        loop {
            if self.rest().starts_with("{{") {
                let name = self.variable(variables)?;
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                }
                pieces.push(Piece::Variable(name));
                continue;
            }
            match self.next() {
                None => {
                    self.at = open;
                    return Err(self.error("the quotes are not closed", "add the closing quote"));
                }
                Some(char) if char == quote => break,
                Some('\\') if quote != '`' => literal.push(self.escape()?),
                Some(char) => literal.push(char),
            }
        }
        if !literal.is_empty() || pieces.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(pieces)
    }

    fn variable(&mut self, variables: Variables) -> Result<String, SelectorError> {
        if variables == Variables::Refused {
            return Err(self.error(
                "variables stand only in the values of arm matchers",
                "write the value itself; {{..}} belongs under `arms`",
            ));
        }
        let inner = self.rest()[2..].split_once("}}").map(|(inner, _)| inner);
        let name = inner.map(str::trim).filter(|name| is_label_name(name));
        let (Some(inner), Some(name)) = (inner, name) else {
            return Err(self.error(
                "this is not a variable",
                "write {{name}} with letters, digits and _",
            ));
        };
        self.at += inner.len() + 4;
        Ok(name.to_owned())
    }

    /// The character after a backslash.
    fn escape(&mut self) -> Result<char, SelectorError> {
        let at = self.at - 1;
        let code = |cursor: &mut Self, digits: usize, radix: u32| {
            let text = cursor.text.get(cursor.at..cursor.at + digits)?;
            let plain = text.bytes().all(|b| b.is_ascii_hexdigit());
            let char = u32::from_str_radix(text, radix).ok().filter(|_| plain)?;
            // A byte above 7F alone is not a character.
            if digits < 4 && char > 0x7f {
                return None;
            }
            cursor.at += digits;
            char::from_u32(char)
        };
        let char = match self.next() {
            Some(same @ ('\\' | '"' | '\'' | '`')) => Some(same),
            Some('n') => Some('\n'),
            Some('t') => Some('\t'),
            Some('r') => Some('\r'),
            Some('a') => Some('\u{7}'),
            Some('b') => Some('\u{8}'),
            Some('f') => Some('\u{c}'),
            Some('v') => Some('\u{b}'),
            Some('x') => code(self, 2, 16),
            Some('u') => code(self, 4, 16),
            Some('U') => code(self, 8, 16),
            Some('0'..='7') => {
                self.at -= 1;
                code(self, 3, 8)
            }
            _ => None,
        };
        char.ok_or_else(|| {
            self.at = at;
            self.error(
                "unknown escape",
                "double the backslash of a regex: \\\\d, \\\\.",
            )
        })
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let char = self.peek()?;
        self.at += char.len_utf8();
        Some(char)
    }

    fn word(&mut self, is_part: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let word = &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())];
        self.at += word.len();
        word
    }

    fn blanks(&mut self) {
        self.word(|c| matches!(c, ' ' | '\t' | '\n' | '\r'));
    }

    fn error(&self, message: &str, help: &str) -> SelectorError {
        SelectorError {
            offset: self.at,
            message: message.to_owned(),
            help: Some(help.to_owned()),
        }
    }
}

/// Within `[..]` or after a backslash a value could not be taken literally.
fn check_variables_in_regex(value: &[Piece], offset: usize) -> Result<(), SelectorError> {
    let (mut class_depth, mut after_backslash) = (0_usize, false);
    for piece in value {
        match piece {
            Piece::Variable(_) if class_depth > 0 || after_backslash => {
                return Err(SelectorError {
                    offset,
                    message: "a variable cannot stand within [..] or after a backslash".to_owned(),
                    help: Some("put it outside: =~\"prefix-{{canary}}-.*\"".to_owned()),
                });
            }
            Piece::Variable(_) => {}
            Piece::Literal(text) => {
                for char in text.chars() {
                    match char {
                        _ if after_backslash => after_backslash = false,
                        '\\' => after_backslash = true,
                        '[' => class_depth += 1,
                        ']' => class_depth = class_depth.saturating_sub(1),
                        _ => {}
                    }
                }
            }
        }
    }
    Ok(())
}
