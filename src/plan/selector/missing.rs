//! Variables that a template needs and did not get.
//!
//! Owns what is said of them. Filling is [`super`]'s.

use super::VARIABLE_BYTES_MAX;

/// Why a template's variables could not be filled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MissingVariable {
    /// The plan's matchers name a variable that was not given.
    #[error("the plan's arm matchers need the variable `{name}`, which was not given")]
    Absent {
        /// The variable.
        name: String,
    },
    /// An empty value would match every series that lacks the label.
    #[error("the variable `{name}` is empty, which would match series without the label")]
    Empty {
        /// The variable.
        name: String,
    },
    /// A value over [`VARIABLE_BYTES_MAX`].
    #[error("the variable `{name}` is longer than {VARIABLE_BYTES_MAX} bytes")]
    TooLong {
        /// The variable.
        name: String,
    },
    /// A regex grew over [`super::REGEX_COMPILED_BYTES_MAX`] with the values in place, or all of them over
    /// [`super::REGEXES_COMPILED_BYTES_MAX`].
    #[error("the matcher on `{label}` is too large with its variables filled in")]
    RegexTooLarge {
        /// The matcher's label.
        label: String,
    },
}
