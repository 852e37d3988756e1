//! JSON requests that are not samples: read strictly, refused in words.
//!
//! Owns what a caller is told of a body that does not fit: the field, what it holds, what is due.
//! It must not know what any request means. Samples are read by [`crate::codec`].

use std::fmt;
use std::marker::PhantomData;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::Shared;
use super::body::{self, BodyLimit, Packing, REQUEST_LIMIT};
use super::observe::time_to_read;
use super::problem::Problem;
use crate::config::problem::{nearest, one_of};

/// Reads a small JSON body; `empty` stands for one that is empty.
///
/// # Errors
/// `malformed_json`, `invalid_request`, `unsupported_media_type` and those of [`super::body`].
pub async fn read<T: DeserializeOwned>(
    shared: &Shared,
    headers: &HeaderMap,
    body: Body,
    empty: Option<T>,
) -> Result<T, Problem> {
    read_within(shared, headers, body, empty, REQUEST_LIMIT).await
}

/// As [`read`], up to another limit.
///
/// # Errors
/// As [`read`].
pub async fn read_within<T: DeserializeOwned>(
    shared: &Shared,
    headers: &HeaderMap,
    body: Body,
    empty: Option<T>,
    most: BodyLimit,
) -> Result<T, Problem> {
    let packing = Packing::of(headers)?;
    let mut unbudgeted = |_| Ok(());
    let reading = async {
        let packed = body::read(shared, headers, body, most, &mut unbudgeted).await?;
        body::unpack(shared, packing, packed, most, &mut unbudgeted).await
    };
    let plain = time_to_read(shared, reading).await?;
    if plain.trim_ascii().is_empty() {
        let problem = || Problem::new("empty_body", "the body is empty").help("send a JSON object");
        return empty.ok_or_else(problem);
    }
    check_content_type(headers)?;
    parse(&plain)
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(given) = headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let text = given.to_str().unwrap_or("?");
    let essence = text
        .split(';')
        .next()
        .unwrap_or("")
        .trim()
        .to_ascii_lowercase();
    if essence == "application/json" || essence.ends_with("+json") {
        return Ok(());
    }
    // A form or plain text could come from any web page a browser happens to show.
    let detail = format!("a body of type {essence:?} is not accepted here");
    Err(Problem::new("unsupported_media_type", detail)
        .help("send it with the header content-type: application/json"))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let mut track = serde_path_to_error::Track::new();
    let parsed = only_object(serde_path_to_error::Deserializer::new(
        &mut json, &mut track,
    ));
    let parsed = parsed.and_then(|value| json.end().map(|()| value));
    parsed.map_err(|error| match error.classify() {
        serde_json::error::Category::Data => in_words(&track.path(), &error),
        _ => Problem::new("malformed_json", error.to_string())
            .help("send one JSON object; a JSON parser shows where it breaks"),
    })
}

/// An object, and not the array of its values that a derived reader takes for one too.
///
/// # Errors
/// Those of the deserializer.
pub fn only_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    struct Objects<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Objects<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }
    from.deserialize_map(Objects(PhantomData))
}

/// serde's sentence, told of the caller's field and not of our types.
fn in_words(path: &serde_path_to_error::Path, error: &serde_json::Error) -> Problem {
    let told = error.to_string();
    let told = told
        .rsplit_once(" at line ")
        .map_or(&*told, |(said, _)| said);
    let path = path.to_string();
    let path = if path == "." { "" } else { &*path };
    let place = if path.is_empty() {
        "the body".to_owned()
    } else {
        format!("`{path}`")
    };
    let quoted: Vec<&str> = told.split('`').skip(1).step_by(2).collect();
    let (detail, help) = match (quoted.as_slice(), told.split_once(", expected ")) {
        ([field, known @ ..], _) if told.starts_with("unknown field") => {
            // Where the reader got as far as the key, the path ends with it.
            let parent = path.strip_suffix(field).unwrap_or(path);
            let parent = parent.trim_end_matches('.');
            let within = match parent {
                "" => "the body".to_owned(),
                parent => format!("`{parent}`"),
            };
            let help = match nearest(field, known.iter().copied()) {
                Some(word) => format!("did you mean `{word}`?"),
                None => format!("the fields are {}", one_of(known.iter().copied())),
            };
            (format!("{within} has no field `{field}`"), help)
        }
        ([field], _) if told.starts_with("missing field") => (
            format!("{place} lacks `{field}`"),
            format!("add the field `{field}`"),
        ),
        (_, Some((found, due))) => {
            let (_, found) = found.split_once(": ").unwrap_or(("", found));
            let found = found.replace("sequence", "array").replace("map", "object");
            let due = due.replace("a map", "an object");
            (
                format!("{place} is of the wrong type: {found}"),
                format!("give {due}"),
            )
        }
        _ => (format!("{place}: {told}"), String::new()),
    };
    let problem = Problem::new("invalid_request", detail);
    if help.is_empty() {
        return problem;
    }
    problem.help(help)
}

#[cfg(test)]
mod tests {
    use super::super::start::StartRequest;
    use super::*;

    fn refused(text: &str) -> (&'static str, String, String) {
        let problem = parse::<StartRequest>(text.as_bytes()).expect_err(text);
        (
            problem.code,
            problem.detail,
            problem.help.unwrap_or_default(),
        )
    }

    #[test]
    fn a_request_that_does_not_fit_is_told_the_field_and_the_fix() {
        let cases = [
            (r#"{}"#, "the body lacks `plan`", "add the field `plan`"),
            (
                r#"{"plan":"walk","arms":{"canary":2}}"#,
                "`arms.canary` is of the wrong type: integer `2`",
                "give a string",
            ),
            (
                r#"{"plan":"walk","chnge":{}}"#,
                "the body has no field `chnge`",
                "did you mean `change`?",
            ),
            (
                r#"{"plan":"walk","change":{"revison":"x"}}"#,
                "`change` has no field `revison`",
                "did you mean `revision`?",
            ),
            (
                r#"["walk",{},{}]"#,
                "the body is of the wrong type: array",
                "give an object",
            ),
            (
                r#"{"plan":"walk","change":["c-1"]}"#,
                "`change` is of the wrong type: array",
                "give an object",
            ),
            (
                r#"{"plan":"walk","arms":["v1"]}"#,
                "`arms` is of the wrong type: array",
                "give an object",
            ),
        ];
        for (text, detail, help) in cases {
            let expected = ("invalid_request", detail.to_owned(), help.to_owned());
            assert_eq!(refused(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_json_is_told_apart_from_what_does_not_fit() {
        assert_eq!(refused(r#"{"plan":"#).0, "malformed_json");
        assert_eq!(refused(r#"{"plan":"walk"} {}"#).0, "malformed_json");
        assert!(parse::<StartRequest>(br#"{"plan":"walk"}"#).is_ok());
    }
}
