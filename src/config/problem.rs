//! A located problem in what a person wrote, and how it is shown.
//!
//! Owns the shape and the rendering of problems. It must not know what was being read.

use std::fmt::{self, Write as _};

use serde::Serialize;

/// Problems reported for one text; one more says that there are others.
pub const PROBLEMS_MAX: usize = 100;
/// Longest excerpt of a source line, in characters.
const EXCERPT_CHARS_MAX: usize = 120;

/// What sort of problem: stable codes for machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemCode {
    /// The file cannot be read.
    Unreadable,
    /// The text is not YAML, JSON or TOML.
    Syntax,
    /// The text, its depth or a part of it is over a limit.
    TooLarge,
    /// A key nobody knows here.
    UnknownKey,
    /// A key written twice.
    DuplicateKey,
    /// A key that must be there.
    MissingKey,
    /// A list where a text is due, and the like.
    WrongType,
    /// The right type with a value that makes no sense.
    BadValue,
    /// Two values, each fine, that contradict each other.
    Conflict,
    /// Planned, and not in this version.
    NotAvailable,
    /// Fine, but hardly what was meant.
    Suspicious,
}

/// Whether it stops anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The text is refused.
    Error,
    /// The text is taken as it is.
    Warning,
}

/// One located problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Name of the source: a file, `environment`, `--set`.
    pub file: String,
    /// Line from 1; 0 where the source has no lines (JSON within a request, the environment).
    pub line: usize,
    /// Column from 1, in characters; 0 where the source has none.
    pub column: usize,
    /// Path of the value: `checks[1].tolerance`; empty for the whole text.
    pub path: String,
    /// Error or warning.
    pub severity: Severity,
    /// Stable code.
    pub code: ProblemCode,
    /// What is wrong: lowercase, without a full stop.
    pub message: String,
    /// How to put it right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The source line, for people.
    #[serde(skip)]
    pub excerpt: Option<String>,
}

/// All problems of one or more texts, in the order of their places. Never empty as an error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(transparent)]
pub struct Problems {
    /// The problems.
    pub items: Vec<Problem>,
}

// === impl Problem ===

impl Problem {
    /// A problem of a whole file.
    pub fn of_file(file: &str, code: ProblemCode, message: impl Into<String>) -> Problem {
        Problem {
            file: file.to_owned(),
            line: 0,
            column: 0,
            path: String::new(),
            severity: Severity::Error,
            code,
            message: message.into(),
            help: None,
            excerpt: None,
        }
    }

    /// The same with a way out.
    pub fn with_help(mut self, help: impl Into<String>) -> Problem {
        self.help = Some(help.into());
        self
    }

    /// The same with its source line, cut to a length that fits a terminal.
    pub fn with_excerpt_of(mut self, text: &str) -> Problem {
        let line = self
            .line
            .checked_sub(1)
            .and_then(|index| text.lines().nth(index));
        let shown = |char: char| if char.is_control() { ' ' } else { char };
        self.excerpt = line.map(|line| line.chars().take(EXCERPT_CHARS_MAX).map(shown).collect());
        self
    }
}

impl fmt::Display for Problem {
    /// `file:line:column: error: message`, the path, the source line with a caret, the help.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, ": {word}: ")?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        if let Some(excerpt) = self
            .excerpt
            .as_deref()
            .filter(|line| !line.trim().is_empty())
        {
            write!(f, "\n{:>5} | {excerpt}", self.line)?;
            if (1..=EXCERPT_CHARS_MAX).contains(&self.column) {
                write!(f, "\n      | {:>1$}", '^', self.column)?;
            }
        }
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

// === impl Problems ===

impl Problems {
    /// Sorted by place, each once, at most [`PROBLEMS_MAX`].
    pub fn sorted(mut items: Vec<Problem>) -> Problems {
        items.sort_by(|one, other| place(one).cmp(&place(other)));
        items.dedup();
        if items.len() > PROBLEMS_MAX {
            let file = items[0].file.clone();
            let more = items.len() - PROBLEMS_MAX;
            items.truncate(PROBLEMS_MAX);
            let message = format!("{more} more problems are not shown");
            items.push(Problem::of_file(&file, ProblemCode::TooLarge, message));
        }
        Problems { items }
    }
}

fn place(problem: &Problem) -> (&str, usize, usize, &str, &str) {
    (
        &problem.file,
        problem.line,
        problem.column,
        &problem.path,
        &problem.message,
    )
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Problems {
        Problems {
            items: vec![problem],
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.items.iter().enumerate() {
            if index > 0 {
                f.write_char('\n')?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

/// The known word nearest to what was written, where one is near enough to be meant.
pub fn nearest<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let distance = |word: &str| strsim::damerau_levenshtein(written, word);
    let (word, distance) = known
        .into_iter()
        .map(|word| (word, distance(word)))
        .min_by_key(|(_, distance)| *distance)?;
    // One slip in three letters; more is another word.
    let near = distance <= (word.chars().count().max(3) / 3).max(1);
    (near || (written.len() >= 3 && word.starts_with(written))).then_some(word)
}

/// `one, two or three`, for a message.
pub fn one_of<'k>(words: impl IntoIterator<Item = &'k str>) -> String {
    let words: Vec<&str> = words.into_iter().collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        Some((last, _)) => (*last).to_owned(),
        None => String::new(),
    }
}
