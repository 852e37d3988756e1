//! A selector of a plan file, within the plan's room for regexes.
//!
//! Owns the sum over a plan's regexes. What a selector is belongs to [`crate::plan`].

use crate::config::reader::{Field, Reader};
use crate::plan::{REGEXES_COMPILED_BYTES_MAX, REGEXES_HELP, SelectorError};

/// Reads one selector. Once the plan's regexes take more than [`REGEXES_COMPILED_BYTES_MAX`]
/// together, it says so and compiles no more of them.
pub(super) fn read<S>(
    reader: &mut Reader<'_>,
    field: &Field<'_>,
    parse: fn(&str) -> Result<S, SelectorError>,
    regex_bytes: fn(&S) -> usize,
) -> Option<S> {
    let text = reader.text(field)?;
    if reader.regex_bytes > REGEXES_COMPILED_BYTES_MAX {
        return None;
    }
    match parse(text) {
        Ok(selector) => {
            reader.regex_bytes += regex_bytes(&selector);
            if reader.regex_bytes <= REGEXES_COMPILED_BYTES_MAX {
                return Some(selector);
            }
            let mib = REGEXES_COMPILED_BYTES_MAX >> 20;
            let message = format!("the plan's regexes up to here take more than {mib} MiB");
            reader.bad(field, message, REGEXES_HELP);
            None
        }
        Err(error) => {
            let character = text[..error.offset].chars().count() + 1;
            let message = format!("{} (at character {character} of the text)", error.message);
            reader.bad(field, message, error.help.unwrap_or_default());
            None
        }
    }
}
