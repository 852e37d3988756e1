//! Regexes within bounds of memory.
//!
//! Owns how a matcher's pattern is anchored, and an upper bound of what it costs once compiled.
//! It must not know what a selector is. Next: the selectors' own file, which adds the costs up.

use regex::Regex;

/// Memory of one compiled regex, in bytes: `\w{1000}` and its like are refused.
pub const REGEX_COMPILED_BYTES_MAX: usize = 1 << 20;
/// Memory of all compiled regexes of one selector, and of one plan: compiling takes 10 ms a MiB.
pub const REGEXES_COMPILED_BYTES_MAX: usize = 4 << 20;
/// Bounds tried one after the other. The crate does not say how much a regex takes, only that it
/// takes no more than a bound; the first that holds counts. An attempt that fails ends early.
const BOUNDS: [usize; 4] = [1 << 14, 1 << 16, 1 << 18, REGEX_COMPILED_BYTES_MAX];

/// A regex that must match the whole value, `.` matching newlines too (Prometheus 3), and the
/// bytes it takes at most.
///
/// # Errors
/// The pattern does not parse, or takes more than [`REGEX_COMPILED_BYTES_MAX`].
pub(super) fn anchored(pattern: &str) -> Result<(Regex, usize), regex::Error> {
    // By itself first: `a)|(b` is valid only between the anchors' parentheses, and escapes them.
    bounded(pattern)?;
    bounded(&format!("^(?s:{pattern})$"))
}

fn bounded(pattern: &str) -> Result<(Regex, usize), regex::Error> {
    let mut result = Err(regex::Error::CompiledTooBig(0));
    for bytes in BOUNDS {
        result = regex::RegexBuilder::new(pattern)
            .size_limit(bytes)
            .build()
            .map(|regex| (regex, bytes));
        if !matches!(result, Err(regex::Error::CompiledTooBig(_))) {
            break;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_is_the_first_bound_that_holds() {
        let cost = |pattern: &str| anchored(pattern).map(|(_, bytes)| bytes);
        assert_eq!(cost("5.."), Ok(BOUNDS[0]));
        assert_eq!(cost("[a-z]{300}"), Ok(BOUNDS[1]));
        assert!(matches!(
            cost(r"\w{1000}"),
            Err(regex::Error::CompiledTooBig(_))
        ));
        assert!(matches!(cost("a)|(b"), Err(regex::Error::Syntax(_))));
    }
}
