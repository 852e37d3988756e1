//! Samples as NDJSON, as a JSON array, or as `{"batch": [...]}`.
//!
//! Owns how items follow each other in a request, and how each is numbered. What an item may hold
//! is in `item`; where one ends inside an array is in `split`.

use super::collect::Collecting;
use super::heads::Heads;
use super::split::{BadArray, skip_space, split_array};
use super::{Decoded, Limits, Origin, Unreadable, UnreadableCode};

/// The forms a request may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One object a line.
    Lines,
    /// One JSON document: an array, `{"batch": [...]}`, or a single sample.
    Document,
    /// Whatever the first bytes look like.
    Sniff,
}

impl Form {
    /// The form a content type names (parameters are ignored).
    ///
    /// # Errors
    /// [`Unreadable`] for a type that is certainly something else.
    pub fn of_content_type(content_type: Option<&str>) -> Result<Form, Unreadable> {
        let Some(given) = content_type else {
            return Ok(Form::Sniff);
        };
        let essence = given
            .split(';')
            .next()
            .unwrap_or("")
            .trim()
            .to_ascii_lowercase();
        match essence.as_str() {
            "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/x-jsonlines"
            | "application/jsonlines" => Ok(Form::Lines),
            // `curl --data` says form-urlencoded unless told otherwise.
            ""
            | "application/json"
            | "text/plain"
            | "text/json"
            | "application/octet-stream"
            | "application/x-www-form-urlencoded" => Ok(Form::Sniff),
            _ => Err(Unreadable {
                code: UnreadableCode::UnsupportedMediaType,
                message: format!("samples of type {essence} cannot be read"),
                help: "send application/x-ndjson or application/json".into(),
            }),
        }
    }
}

/// Decodes a request.
///
/// # Errors
/// [`Unreadable`] when not even its items can be told apart, or there are too many of them.
pub fn decode(body: &[u8], form: Form, limits: &Limits) -> Result<Decoded, Unreadable> {
    decode_within(body, form, &mut Heads::new(0), limits, &mut |_| true)
}

/// Decodes a request. `room` is asked, while the samples grow, whether they may take so many bytes of
/// memory in all, about. `heads` knows labels from requests before.
///
/// # Errors
/// Those of [`decode`], and [`UnreadableCode::NoRoom`] when `room` says no.
pub fn decode_within(
    body: &[u8],
    form: Form,
    heads: &mut Heads,
    limits: &Limits,
    room: &mut dyn FnMut(u64) -> bool,
) -> Result<Decoded, Unreadable> {
    let mut result = Collecting::new(heads, limits, room);
    // A byte order mark is no sample.
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let start = skip_space(body, 0);
    if start == body.len() {
        return Err(Unreadable {
            code: UnreadableCode::EmptyBody,
            message: "the body is empty".into(),
            help: "send one sample a line, or a JSON array of samples".into(),
        });
    }
    if form == Form::Lines {
        return decode_lines(body, result, limits);
    }
    match body[start] {
        b'[' => {
            let (items, end) = cut_array(body, start, limits)?;
            decode_array(body, items, end, result)
        }
        b'{' => match batch_start(body, start) {
            Some(array) => {
                let (items, end) = cut_array(body, array, limits)?;
                let end = skip_space(body, end);
                if body.get(end) != Some(&b'}') {
                    return Err(malformed(body, end, "`batch` must be the only key"));
                }
                decode_array(body, items, end + 1, result)
            }
            None if form == Form::Document || is_single_document(body) => {
                let origin = Origin {
                    index: 0,
                    line: None,
                };
                result.push(body.trim_ascii(), origin)?;
                result.finish()
            }
            None => decode_lines(body, result, limits),
        },
        _ => decode_lines(body, result, limits),
    }
}

fn decode_lines(
    body: &[u8],
    mut result: Collecting<'_>,
    limits: &Limits,
) -> Result<Decoded, Unreadable> {
    let lines = Lines::of(body).enumerate();
    let items = lines
        .map(|(at, line)| (at + 1, line.trim_ascii()))
        .filter(|l| !l.1.is_empty());
    for (index, (line, text)) in items.enumerate() {
        if index == limits.samples_per_request_max {
            return Err(too_many(limits));
        }
        let line = Some(line);
        result.push(text, Origin { index, line })?;
    }
    let decoded = result.finish()?;
    let only_refusal = match decoded.refusals.as_slice() {
        [first, ..] if decoded.samples.is_empty() => Some(first),
        _ => None,
    };
    if let Some(first) = only_refusal
        && decoded
            .refusals
            .iter()
            .all(|r| matches!(r.code, "malformed_json" | "not_an_object"))
    {
        return Err(Unreadable {
            code: UnreadableCode::MalformedJson,
            message: format!(
                "no line of the body is a JSON object; line {}: {}",
                first.line.unwrap_or(1),
                first.message
            ),
            help: "send one JSON object a line, or a JSON array of samples".into(),
        });
    }
    Ok(decoded)
}

/// The lines of a body, without their ends.
struct Lines<'b> {
    left: Option<&'b [u8]>,
}

impl<'b> Lines<'b> {
    fn of(body: &'b [u8]) -> Lines<'b> {
        Lines { left: Some(body) }
    }
}

impl<'b> Iterator for Lines<'b> {
    type Item = &'b [u8];

    fn next(&mut self) -> Option<&'b [u8]> {
        let left = self.left?;
        let Some(feed) = memchr::memchr(b'\n', left) else {
            self.left = None;
            return Some(left);
        };
        self.left = Some(&left[feed + 1..]);
        Some(&left[..feed])
    }
}

type Items = Vec<std::ops::Range<usize>>;

fn cut_array(body: &[u8], start: usize, limits: &Limits) -> Result<(Items, usize), Unreadable> {
    split_array(body, start, limits.samples_per_request_max).map_err(|problem| match problem {
        BadArray::TooLong => too_many(limits),
        BadArray::Malformed { offset, message } => malformed(body, offset, message),
    })
}

fn decode_array(
    body: &[u8],
    items: Items,
    end: usize,
    mut result: Collecting<'_>,
) -> Result<Decoded, Unreadable> {
    let rest = skip_space(body, end);
    if rest < body.len() {
        return Err(malformed(
            body,
            rest,
            "something follows the end of the samples",
        ));
    }
    for (index, range) in items.into_iter().enumerate() {
        result.push(&body[range], Origin { index, line: None })?;
    }
    result.finish()
}

/// Offset of the `[` of `{"batch": [`, where the object at `start` begins so.
fn batch_start(body: &[u8], start: usize) -> Option<usize> {
    let key = skip_space(body, start + 1);
    let rest = body[key..].strip_prefix(b"\"batch\"")?;
    let colon = skip_space(body, body.len() - rest.len());
    (body.get(colon) == Some(&b':')).then_some(())?;
    let array = skip_space(body, colon + 1);
    (body.get(array) == Some(&b'[')).then_some(array)
}

/// Whether the body is one JSON value, perhaps over several lines, and not one object a line.
fn is_single_document(body: &[u8]) -> bool {
    serde_json::from_slice::<&serde_json::value::RawValue>(body).is_ok()
}

fn malformed(body: &[u8], offset: usize, message: &str) -> Unreadable {
    let before = &body[..offset.min(body.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before
        .iter()
        .rev()
        .take_while(|byte| **byte != b'\n')
        .count()
        + 1;
    Unreadable {
        code: UnreadableCode::MalformedJson,
        message: format!("{message}, at line {line} column {column}"),
        help: "nothing of the request was taken; as NDJSON, one object a line, only the bad line would be lost".into(),
    }
}

fn too_many(limits: &Limits) -> Unreadable {
    Unreadable {
        code: UnreadableCode::TooManySamples,
        message: format!(
            "more than {} samples in one request",
            limits.samples_per_request_max
        ),
        help: "send them in several requests".into(),
    }
}

#[cfg(test)]
mod tests;
