//! The short way through a line whose name and labels are known: what stands behind them.
//!
//! Owns where the labels end and the numbers begin, for lines without an exemplar. It must not say
//! what is wrong with a line: whatever it cannot read is left to `line`.

use super::Dialect;
use super::letters::{BLANK, find, skip_blanks};
use super::tail::read_tail;
use crate::codec::lines;
use crate::model::Timestamp;

/// Cuts a line behind its last brace: what stands before is its name and its labels, unless there
/// is an exemplar.
#[inline]
pub(super) fn split(line: &str) -> Option<(&str, &str)> {
    let brace = memchr::memrchr(b'}', line.as_bytes())?;
    Some(line.split_at(brace + 1))
}

/// What stood behind the value of a line, as text and as a time: mostly it is that of the line before.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tail<'t> {
    text: &'t str,
    ts: Option<Timestamp>,
}

/// The value and the time that stand behind a name and its labels; `None` where there is more than
/// those, or less.
#[inline]
pub(super) fn numbers<'t>(
    behind: &'t str,
    dialect: Dialect,
    before: &mut Tail<'t>,
) -> Option<(f64, Option<Timestamp>)> {
    let bytes = behind.as_bytes();
    let at = skip_blanks(bytes, 0);
    let end = find(bytes, at, BLANK);
    let value = lines::number(&behind[at..end])?;
    let at = skip_blanks(bytes, end);
    if before.text != &behind[at..] {
        let ts = read_tail(behind, at, dialect).ok()?;
        let text = &behind[at..];
        *before = Tail { text, ts };
    }
    Some((value, before.ts))
}
