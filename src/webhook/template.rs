//! Bodies and addresses with `{{path.to.field}}` in them.
//!
//! Owns the template language, which is nothing but placeholders: a path into the notification,
//! escaped for the place it stands in. In a body, `{{path}}` is the value as the inside of a JSON
//! string and `{{json path}}` is the value as JSON; in an address, it is percent-encoded. A field
//! that is absent gives nothing (`null` for `json`).

use serde_json::Value;

/// Bytes of one template.
pub const TEMPLATE_BYTES_MAX: usize = 64 * 1024;

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field { path: Vec<String>, raw_json: bool },
}

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadTemplate {
    /// Where, in bytes from the start.
    pub offset: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

/// How values are escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The body of a request.
    Body,
    /// Its address.
    Address,
}

// === impl Template ===

impl Template {
    /// Parses a template whose fields begin with one of `fields`.
    ///
    /// # Errors
    /// [`BadTemplate`] for a placeholder that is not closed, is empty or begins with another field.
    pub fn parse(text: &str, fields: &[&str]) -> Result<Template, BadTemplate> {
        if text.len() > TEMPLATE_BYTES_MAX {
            return Err(BadTemplate {
                offset: TEMPLATE_BYTES_MAX,
                message: format!("a template of {} bytes", text.len()),
                help: format!("at most {TEMPLATE_BYTES_MAX} bytes are allowed"),
            });
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find("{{") {
            let offset = text.len() - rest.len() + open;
            let inside = &rest[open + 2..];
            let Some(close) = inside.find("}}") else {
                return Err(BadTemplate {
                    offset,
                    message: "a placeholder is not closed".into(),
                    help: "write {{path.to.field}}".into(),
                });
            };
            if open > 0 {
                parts.push(Part::Text(rest[..open].to_string()));
            }
            parts.push(placeholder(&inside[..close], offset, fields)?);
            rest = &inside[close + 2..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_string()));
        }
        Ok(Template { parts })
    }

    /// Fills the placeholders from `data`.
    pub fn render(&self, data: &Value, place: Place) -> String {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Field { path, raw_json } => {
                    let value = find(data, path).unwrap_or(&Value::Null);
                    out.push_str(&escaped(value, *raw_json, place));
                }
            }
        }
        out
    }

    /// The text with the same in place of every placeholder.
    pub fn with_all(&self, value: &str) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Field { .. } => value.to_owned(),
        };
        self.parts.iter().map(part).collect()
    }
}

fn placeholder(inside: &str, offset: usize, fields: &[&str]) -> Result<Part, BadTemplate> {
    let words: Vec<&str> = inside.split_whitespace().collect();
    let (raw_json, path) = match words.as_slice() {
        ["json", path] => (true, *path),
        [path] => (false, *path),
        _ => {
            return Err(BadTemplate {
                offset,
                message: format!("{{{{{inside}}}}} is not a placeholder"),
                help: "write {{path.to.field}} or {{json path.to.field}}".into(),
            });
        }
    };
    let path: Vec<String> = path.split('.').map(str::to_string).collect();
    if fields.contains(&path[0].as_str()) && path.iter().all(|step| !step.is_empty()) {
        return Ok(Part::Field { path, raw_json });
    }
    let nearest = fields
        .iter()
        .min_by_key(|field| strsim::damerau_levenshtein(field, &path[0]));
    Err(BadTemplate {
        offset,
        message: format!("a notification has no field `{}`", path.join(".")),
        help: match nearest {
            Some(field) if strsim::damerau_levenshtein(field, &path[0]) <= 2 => {
                format!("did you mean `{field}`?")
            }
            _ => format!("the fields are {}", fields.join(", ")),
        },
    })
}

fn find<'v>(data: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(data, |value, step| match value {
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        other => other.get(step),
    })
}

fn escaped(value: &Value, raw_json: bool, place: Place) -> String {
    let plain = match value {
        _ if raw_json => value.to_string(),
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match place {
        Place::Body if raw_json => plain,
        Place::Body => {
            let quoted = Value::String(plain).to_string();
            quoted[1..quoted.len() - 1].to_string()
        }
        Place::Address => percent_encoded(&plain),
    }
}

/// Everything but RFC 3986's unreserved characters as `%XX`.
fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Whether a segment of an address' path is `.` or `..`, which would be resolved and so lead
/// elsewhere: dots need no percent-encoding and cannot be kept apart by it (WHATWG URL, section
/// 4.1, takes `%2e` for a dot too).
pub fn has_dot_segment(address: &str) -> bool {
    let path = address.split_once("://").map_or(address, |(_, rest)| rest);
    let path = path.split(['?', '#']).next().unwrap_or("");
    path.split(['/', '\\']).skip(1).any(|segment| {
        let plain = segment.to_ascii_lowercase().replace("%2e", ".");
        plain == "." || plain == ".."
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const FIELDS: [&str; 3] = ["verdict", "change", "checks"];

    fn render(text: &str, place: Place) -> String {
        let data = json!({
            "verdict": "fail",
            "change": {"id": "a/b?c&d", "owner": "say \"hi\"\n"},
            "checks": [{"check": "latency", "estimate": 1.5}],
        });
        Template::parse(text, &FIELDS)
            .expect("valid")
            .render(&data, place)
    }

    #[test]
    fn values_are_escaped_for_their_place() {
        assert_eq!(
            render("{\"t\":\"{{change.owner}}\"}", Place::Body),
            r#"{"t":"say \"hi\"\n"}"#
        );
        assert_eq!(
            render("/x/{{ change.id }}/y", Place::Address),
            "/x/a%2Fb%3Fc%26d/y"
        );
        assert_eq!(
            render("{{json change.owner}}", Place::Body),
            r#""say \"hi\"\n""#
        );
        assert_eq!(
            render("{{checks.0.estimate}} {{json checks.0}}", Place::Body),
            r#"1.5 {"check":"latency","estimate":1.5}"#
        );
        assert_eq!(
            render("[{{change.region}}{{json checks.7}}]", Place::Body),
            "[null]"
        );
    }

    #[test]
    fn dot_segments_are_seen_however_they_came_about() {
        for address in [
            "https://host/hooks/../admin",
            "https://host/hooks/.",
            "https://host/%2e%2E/x",
            "https://host/.%2e?x",
            "https://host/..#x",
            "https://host\\..",
        ] {
            assert!(has_dot_segment(address), "{address}");
        }
        for address in [
            "https://../x",
            "https://host/a..b/...",
            "https://host/x?y=/../",
        ] {
            assert!(!has_dot_segment(address), "{address}");
        }
    }

    #[test]
    fn a_value_is_never_read_as_a_template() {
        let data = json!({"verdict": "{{change.id}}"});
        let template = Template::parse("{{verdict}}", &FIELDS).expect("valid");
        assert_eq!(template.render(&data, Place::Body), "{{change.id}}");
    }

    #[test]
    fn mistakes_are_found_at_start() {
        let error = |text: &str| Template::parse(text, &FIELDS).expect_err(text);
        assert_eq!(error("ab {{verdict").offset, 3);
        assert_eq!(error("{{verdct}}").help, "did you mean `verdict`?");
        assert!(error("{{nonsense.x}}").help.contains("change"));
        assert!(error("{{}}").message.contains("not a placeholder"));
        assert!(error("{{change..id}}").message.contains("no field"));
        let long = "x".repeat(TEMPLATE_BYTES_MAX);
        assert!(Template::parse(&long, &FIELDS).is_ok());
        assert!(Template::parse(&format!("{long}x"), &FIELDS).is_err());
    }
}
