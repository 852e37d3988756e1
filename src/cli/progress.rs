//! Progress bars: on a terminal only, and on standard error.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar over `length` items; silent where standard error is not a terminal.
pub fn bar(length: u64, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    if let Ok(style) =
        ProgressStyle::with_template("{bar:40} {pos}/{len} {msg} ({elapsed}, about {eta} left)")
    {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar
}

/// One line that is replaced whenever something new is to be said; cut at the terminal's width,
/// silent where standard error is not a terminal.
pub fn line() -> ProgressBar {
    let line = ProgressBar::no_length();
    if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
        line.set_style(style);
    }
    line
}
