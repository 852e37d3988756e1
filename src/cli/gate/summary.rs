//! A verdict as Markdown, for the page of a pipeline's job.
//!
//! Owns its form. Whatever comes from a change or a plan is text of somebody else's, and cannot become
//! markup.

use std::fmt::Write as _;

use serde_json::Value;

use crate::cli::exit::Exit;

/// The summary of a gate.
pub(super) fn markdown(verdict: &Value, exit: Exit, is_late: bool) -> String {
    let sign = match exit {
        Exit::Pass => "✅ open",
        Exit::Fail => "❌ rollback",
        _ if is_late => "⏳ still waiting",
        _ => "⚠️ hold",
    };
    let text = |value: &Value| value.as_str().map(plain).unwrap_or_default();
    let mut page = format!("### davy: {sign}\n\n{}\n\n", text(&verdict["message"]));
    page.push_str("| | |\n|---|---|\n");
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(page, "| {name} | {value} |");
        }
    };
    row("plan", text(&verdict["plan"]));
    for name in ["service", "revision", "environment", "region", "owner"] {
        row(name, text(&verdict["change"][name]));
    }
    row("analysis", format!("`{}`", text(&verdict["analysis"])));
    row("gate", text(&verdict["gate"]["waiting_for"]));
    let guarantee = &verdict["guarantee"];
    let share = |value: &Value| {
        value
            .as_f64()
            .map(|share| format!("{:.2} %", share * 100.0))
    };
    if let (Some(alpha), Some(spent)) = (share(&guarantee["alpha"]), share(&guarantee["spent"])) {
        row(
            "a false fail",
            format!(
                "in at most {alpha} of healthy canaries; {spent} spent in {} looks",
                guarantee["looks"]
            ),
        );
    }
    page.push_str("\n| check | | estimate | interval | tolerance | samples | |\n|---|---|---|---|---|---|---|\n");
    for finding in verdict["checks"].as_array().into_iter().flatten() {
        let sign = match finding["verdict"].as_str() {
            Some("pass") => "✅",
            Some("fail") => "❌",
            _ => "…",
        };
        let shadow = if finding["gating"] == false {
            " (shadow)"
        } else {
            ""
        };
        let _ = writeln!(
            page,
            "| {}{shadow} | {sign} | {} | {} to {} | {} | {} / {} | {} |",
            text(&finding["check"]),
            number(&finding["estimate"]),
            number(&finding["interval"][0]),
            number(&finding["interval"][1]),
            number(&finding["tolerance"]),
            finding["samples"]["baseline"],
            finding["samples"]["canary"],
            text(&finding["message"]),
        );
    }
    page.push('\n');
    page
}

fn number(value: &Value) -> String {
    match value.as_f64() {
        Some(number) => format!("{number:.4}")
            .trim_end_matches('0')
            .trim_end_matches('.')
            .to_owned(),
        None => "–".to_owned(),
    }
}

/// Text in which nothing is markup.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' | '\r' => plain.push(' '),
            '&' => plain.push_str("&amp;"),
            '<' => plain.push_str("&lt;"),
            '>' => plain.push_str("&gt;"),
            '|' | '`' | '*' | '_' | '[' | ']' | '!' | '#' | '\\' | '~' => {
                plain.push('\\');
                plain.push(letter);
            }
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_verdict_is_told_and_nothing_in_it_is_markup() {
        let verdict = json!({
            "analysis": "an_1", "plan": "checkout", "message": "fail | <b>latency</b>\n# worse",
            "change": {"service": "check_out", "revision": "[x](http://y)"},
            "gate": {"waiting_for": null}, "guarantee": {"alpha": 0.05, "spent": 0.0123, "looks": 7},
            "checks": [{"check": "latency", "verdict": "fail", "gating": true, "estimate": 1.25,
                "interval": [1.1, null], "tolerance": 1.05, "message": "25 % worse",
                "samples": {"baseline": 10, "canary": 12}}],
        });
        let page = markdown(&verdict, Exit::Fail, false);
        assert!(page.starts_with(
            "### davy: ❌ rollback\n\nfail \\| &lt;b&gt;latency&lt;/b&gt; \\# worse\n"
        ));
        assert!(page.contains("| revision | \\[x\\](http://y) |"), "{page}");
        assert!(
            page.contains("| latency | ❌ | 1.25 | 1.1 to – | 1.05 | 10 / 12 | 25 % worse |"),
            "{page}"
        );
        assert!(
            page.contains("5.00 % of healthy canaries; 1.23 % spent in 7 looks"),
            "{page}"
        );
        assert!(!page.contains("| gate |"));
    }
}
