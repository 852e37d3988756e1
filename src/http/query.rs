//! Parameters of the address, read strictly.
//!
//! Owns how a value of the address becomes a typed one, with a problem that names the parameter.
//! A parameter nobody knows is refused: a filter with a typing error must not answer everything.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::Uri;
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::problem::Problem;
use crate::model::Timestamp;
use crate::store::{Cursor, PAGE_MAX};

/// The parameters that were given.
#[derive(Debug)]
pub struct Parameters(BTreeMap<String, String>);

/// Refuses parameters that are not in a route's table of names and meanings.
///
/// # Errors
/// `invalid_parameter`.
pub fn refuse_unknown(uri: &Uri, table: &[(&str, &str)]) -> Result<(), Problem> {
    let known: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
    Parameters::read(uri, &known).map(drop)
}

// === impl Parameters ===

impl Parameters {
    /// Reads the address; only `known` names may appear, each once.
    ///
    /// # Errors
    /// `invalid_parameter`.
    pub fn read(uri: &Uri, known: &[&str]) -> Result<Parameters, Problem> {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|error| Problem::new("invalid_parameter", error.to_string()))?;
        let mut found = BTreeMap::new();
        for (name, value) in pairs.0 {
            if !known.contains(&name.as_str()) {
                let shown: String = name.chars().take(60).collect();
                let help = match known {
                    [] => "this address takes no parameters".to_string(),
                    _ => format!("the parameters are {}", known.join(", ")),
                };
                let detail = format!("unknown parameter {shown:?}");
                return Err(Problem::new("invalid_parameter", detail).help(help));
            }
            if found.insert(name.clone(), value).is_some() {
                let detail = format!("the parameter {name} is given twice");
                return Err(Problem::new("invalid_parameter", detail));
            }
        }
        Ok(Parameters(found))
    }

    /// The text of a parameter.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A parameter as `read` understands it.
    ///
    /// # Errors
    /// `invalid_parameter` with `expected` when it does not.
    pub fn parse<T>(
        &self,
        name: &str,
        expected: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let shown: String = text.chars().take(60).collect();
        match read(text) {
            Some(value) => Ok(Some(value)),
            None => Err(Problem::new(
                "invalid_parameter",
                format!("{name}={shown:?} is not {expected}"),
            )
            .help(format!("give {expected}"))),
        }
    }
}

/// The parameter `limit` of a list.
///
/// # Errors
/// `invalid_parameter`.
pub fn limit(given: &Parameters) -> Result<Option<usize>, Problem> {
    given.parse("limit", &format!("a number from 1 to {PAGE_MAX}"), |text| {
        text.parse()
            .ok()
            .filter(|limit| (1..=PAGE_MAX).contains(limit))
    })
}

/// The one part of the path that names something.
#[derive(Debug, Clone)]
pub struct Named(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Named, Problem> {
        let named = Path::<String>::from_request_parts(parts, state).await;
        let Path(name) = named.map_err(|rejection| {
            Problem::new("invalid_parameter", rejection.body_text())
                .help("write the name or id as it was given, percent-encoded UTF-8")
        })?;
        Ok(Named(name))
    }
}

/// A duration such as `30s`, `500ms` or `1m`; a bare number is seconds.
pub fn duration(text: &str) -> Option<Duration> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let millis = match &text[digits..] {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(millis)?))
}

/// RFC 3339 or unix milliseconds.
pub fn instant(text: &str) -> Option<Timestamp> {
    if let Ok(millis) = text.parse() {
        return Some(Timestamp(millis));
    }
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp(time.as_millisecond()))
}

/// A cursor as callers carry it: opaque.
pub fn cursor_text(cursor: &Cursor) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}/{}", cursor.started_at, cursor.id))
}

/// The reverse of [`cursor_text`].
pub fn cursor(text: &str) -> Option<Cursor> {
    let plain = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let (started_at, id) = plain.split_once('/')?;
    Some(Cursor {
        started_at: started_at.parse().ok()?,
        id: id.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        let secs = |text| duration(text).map(|d| d.as_secs_f64());
        assert_eq!(secs("30s"), Some(30.0));
        assert_eq!(secs("1m"), Some(60.0));
        assert_eq!(secs("250ms"), Some(0.25));
        assert_eq!(secs("7"), Some(7.0));
        for bad in ["", "s", "-1s", "1.5s", "1 s", "9d", "18446744073709551615h"] {
            assert_eq!(secs(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_cursor_survives_the_way() {
        let place = Cursor {
            started_at: 1_764_000_000_000,
            id: "an_x/y".into(),
        };
        assert_eq!(cursor(&cursor_text(&place)), Some(place));
        for bad in ["", "%%", "YWJj", "eC95"] {
            assert_eq!(cursor(bad), None, "{bad}");
        }
    }

    #[test]
    fn unknown_and_repeated_parameters_are_refused() {
        let read = |uri: &str| Parameters::read(&uri.parse().expect("a URI"), &["plan", "limit"]);
        assert_eq!(
            read("/x?plan=a%20b").expect("known").text("plan"),
            Some("a b")
        );
        assert!(
            read("/x?plans=a")
                .expect_err("unknown")
                .help
                .expect("help")
                .contains("plan, limit")
        );
        assert!(read("/x?plan=a&plan=b").is_err());
        let given = read("/x?limit=ten").expect("known");
        let error = given.parse("limit", "a number", |text| text.parse::<u32>().ok());
        assert_eq!(error.expect_err("not a number").code, "invalid_parameter");
    }
}
