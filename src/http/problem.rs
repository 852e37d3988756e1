//! Errors as callers read them: RFC 9457 problem bodies.
//!
//! Owns the table from codes to statuses, and the body. Every answer that is not what was asked
//! for comes from here, those of the framework included. It must not hold what only the operator
//! may read: that goes to the log where the problem is made.

use std::num::NonZeroU32;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::codec::{Unreadable, UnreadableCode};
use crate::config::problem::Problems;
use crate::engine::{Refusal, RefusalCode};
use crate::http::link::LinkError;
use crate::store::StoreError;

/// Seconds a caller should wait when davy is too busy.
pub const BUSY_RETRY_SECS: NonZeroU32 = NonZeroU32::MIN;
/// Seconds a caller should wait when a limit on running things is reached.
pub const LIMIT_RETRY_SECS: NonZeroU32 = NonZeroU32::MIN.saturating_add(29);

/// A problem body.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct Problem {
    /// `urn:davy:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: Urn,
    /// What the code means, the same for every occurrence.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong this time.
    pub detail: String,
    /// Stable code, snake_case.
    pub code: &'static str,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// For plans: everything that is wrong, each with its place.
    #[serde(skip_serializing_if = "no_problems")]
    #[schemars(default)]
    pub problems: Box<[PlacedProblem]>,
    #[serde(skip)]
    retry_after_secs: Option<NonZeroU32>,
}

/// The limit that turned a request away, as an extension of the answer:
/// [`super::observe::observe`] counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitReached(pub &'static str);

/// `urn:davy:problem:` and a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, schemars::JsonSchema)]
#[schemars(transparent)]
pub struct Urn(&'static str);

impl std::fmt::Display for Urn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "urn:davy:problem:{}", self.0)
    }
}

impl Serialize for Urn {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

// The signature is serde's.
#[expect(clippy::borrowed_box)]
fn no_problems(problems: &Box<[PlacedProblem]>) -> bool {
    problems.is_empty()
}

/// One thing wrong with a plan.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct PlacedProblem {
    /// Line, from 1; 0 where the plan was given as an object.
    pub line: usize,
    /// Column, from 1; 0 where the plan was given as an object.
    pub column: usize,
    /// Path, such as `checks[1].tolerance`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// Every code with its status and title: the one table.
pub const CODES: [(&str, u16, &str); 45] = [
    ("malformed_json", 400, "the body is not JSON"),
    (
        "malformed_text",
        400,
        "the body is not the text form it is said to be",
    ),
    ("empty_body", 400, "the body is empty"),
    (
        "invalid_parameter",
        400,
        "a parameter of the address cannot be used",
    ),
    ("invalid_header", 400, "a header cannot be used"),
    (
        "invalid_encoding",
        400,
        "the body is not what its content-encoding says",
    ),
    ("incomplete_body", 400, "the body ended early"),
    ("unauthenticated", 401, "who asks is not known"),
    ("forbidden", 403, "the token does not allow this"),
    ("cross_site", 403, "a page of another site asked"),
    (
        "unknown_host",
        403,
        "the address was reached under a strange name",
    ),
    ("analysis_not_found", 404, "no analysis has this id"),
    (
        "change_not_found",
        404,
        "no analysis is of a change of this id",
    ),
    ("plan_not_found", 404, "no plan has this name"),
    ("dead_letter_not_found", 404, "no dead letter has this id"),
    ("route_not_found", 404, "nothing is here"),
    (
        "method_not_allowed",
        405,
        "this address takes other methods",
    ),
    ("request_timeout", 408, "the request took too long"),
    ("analysis_final", 409, "the analysis is final"),
    (
        "idempotency_mismatch",
        409,
        "the idempotency key belongs to another request",
    ),
    (
        "webhook_not_configured",
        409,
        "no webhook of the configuration has this name",
    ),
    ("body_too_large", 413, "the body is too large"),
    (
        "too_many_samples",
        413,
        "the request holds too many samples",
    ),
    (
        "unsupported_media_type",
        415,
        "the content type is not accepted",
    ),
    (
        "unsupported_encoding",
        415,
        "the content encoding is not accepted",
    ),
    ("store_unavailable", 503, "what must last cannot be written"),
    (
        "invalid_request",
        422,
        "a field of the request does not fit",
    ),
    ("invalid_plan", 422, "the plan has problems"),
    (
        "change_incomplete",
        422,
        "a required field of the change is missing",
    ),
    (
        "arm_variable_missing",
        422,
        "a variable of the plan's arm selectors was not given",
    ),
    (
        "arm_variable_unknown",
        422,
        "the plan's arm selectors have no such variable",
    ),
    ("arms_alike", 422, "both arms would select the same series"),
    (
        "source_unfit",
        422,
        "the plan is pulled, and no source can answer in time",
    ),
    ("too_many_steps", 422, "the analysis has too many steps"),
    ("too_many_analyses", 429, "too many analyses run"),
    ("too_many_streams", 429, "too many event streams are open"),
    (
        "too_many_recordings",
        429,
        "too many recordings are being read",
    ),
    (
        "webhook_queue_full",
        429,
        "too many notifications wait for this webhook",
    ),
    ("busy", 429, "davy is too busy"),
    ("internal", 500, "davy failed"),
    (
        "outcome_unknown",
        503,
        "davy may have done it, but did not answer in time",
    ),
    ("stopping", 503, "davy is stopping"),
    ("write_busy", 503, "davy is too busy"),
    (
        "keys_unavailable",
        503,
        "the identity provider cannot be asked for its keys",
    ),
    ("store_failed", 503, "the store failed"),
];

/// Codes behind which stands one limit, which nobody has counted where they are made: the engine and
/// the codec count nothing.
const LIMITS: [(&str, LimitReached); 3] = [
    ("too_many_analyses", LimitReached("analyses")),
    ("too_many_steps", LimitReached("steps")),
    ("too_many_samples", LimitReached("samples_per_request")),
];

// === impl Problem ===

impl Problem {
    /// A problem of one of [`CODES`].
    pub fn new(code: &'static str, detail: impl Into<String>) -> Problem {
        let known = CODES.iter().find(|(known, ..)| *known == code);
        let (status, title) = known.map_or((500, "davy failed"), |(_, s, t)| (*s, *t));
        Problem {
            kind: Urn(code),
            title,
            status,
            detail: detail.into(),
            code,
            help: None,
            problems: Box::default(),
            retry_after_secs: None,
        }
    }

    /// The same with what to do about it.
    pub fn help(self, help: impl Into<String>) -> Problem {
        Problem {
            help: Some(help.into()),
            ..self
        }
    }

    /// The same with a `Retry-After`.
    pub fn retry_after(self, secs: NonZeroU32) -> Problem {
        Problem {
            retry_after_secs: Some(secs),
            ..self
        }
    }

    /// As a sender of remote-write needs it. Prometheus gives a request up upon 429, unless
    /// `retry_on_http_429` is set, and repeats it upon any 5xx: with 429 its samples would be lost.
    pub fn to_remote_writer(self) -> Problem {
        match self.code {
            "busy" => Problem {
                help: self.help,
                retry_after_secs: self.retry_after_secs,
                ..Problem::new("write_busy", self.detail)
            },
            _ => self,
        }
    }

    /// No analysis has this id.
    pub fn analysis_not_found(id: &str) -> Problem {
        let shown: String = id.chars().take(80).collect();
        Problem::new(
            "analysis_not_found",
            format!("no analysis has the id {shown:?}"),
        )
        .help("GET /v1/analyses lists those that are kept; the oldest final ones are forgotten")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after_secs = self.retry_after_secs;
        let limit = LIMITS.iter().find(|(code, _)| *code == self.code);
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        let problem_json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, problem_json);
        if let Some(secs) = retry_after_secs {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(secs.get()));
        }
        if status == StatusCode::UNAUTHORIZED {
            // Two headers: there are clients that read only the first challenge of one.
            for challenge in ["Bearer realm=\"davy\"", "Basic realm=\"davy\""] {
                let challenge = HeaderValue::from_static(challenge);
                headers.append(header::WWW_AUTHENTICATE, challenge);
            }
        }
        if let Some((_, limit)) = limit {
            response.extensions_mut().insert(*limit);
        }
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        let code = match refusal.code {
            RefusalCode::AnalysisNotFound => "analysis_not_found",
            RefusalCode::AnalysisFinal => "analysis_final",
            RefusalCode::IdempotencyMismatch => "idempotency_mismatch",
            RefusalCode::ChangeIncomplete => "change_incomplete",
            RefusalCode::ArmVariableMissing => "arm_variable_missing",
            RefusalCode::ArmsAlike => "arms_alike",
            RefusalCode::TooManyAnalyses => "too_many_analyses",
            RefusalCode::TooManySteps => "too_many_steps",
        };
        let problem = Problem {
            help: refusal.help,
            ..Problem::new(code, refusal.message)
        };
        match refusal.code {
            RefusalCode::TooManyAnalyses => problem.retry_after(LIMIT_RETRY_SECS),
            _ => problem,
        }
    }
}

impl From<Unreadable> for Problem {
    fn from(unreadable: Unreadable) -> Problem {
        let code = match unreadable.code {
            UnreadableCode::EmptyBody => "empty_body",
            UnreadableCode::MalformedJson => "malformed_json",
            UnreadableCode::MalformedText => "malformed_text",
            UnreadableCode::TooManySamples => "too_many_samples",
            UnreadableCode::UnsupportedMediaType => "unsupported_media_type",
            UnreadableCode::UnsupportedEncoding => "unsupported_encoding",
            UnreadableCode::InvalidEncoding | UnreadableCode::MalformedProtobuf => {
                "invalid_encoding"
            }
            UnreadableCode::BodyTooLarge => "body_too_large",
            UnreadableCode::NoRoom => "busy",
        };
        Problem::new(code, unreadable.message).help(unreadable.help)
    }
}

impl From<LinkError> for Problem {
    fn from(error: LinkError) -> Problem {
        match error {
            LinkError::Full => Problem::new("busy", "the queue of inputs is full")
                .help("send the same request again after the stated time")
                .retry_after(BUSY_RETRY_SECS),
            LinkError::NotWritable => Problem::new(
                "store_unavailable",
                "what must last cannot be written, so nothing is taken",
            )
            .help(
                "send the same request again after the stated time; GET /readyz says what is wrong",
            )
            .retry_after(LIMIT_RETRY_SECS),
            // No Retry-After: a repetition may count twice.
            LinkError::Unknown => Problem::new(
                "outcome_unknown",
                "the disk failed while it was written",
            )
            .help(
                "it may have been taken: repeat it only where it carries ids or an idempotency key",
            ),
            LinkError::Stopped => Problem::new("stopping", "davy takes no more inputs")
                .help("send the same request to the next instance")
                .retry_after(LIMIT_RETRY_SECS),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        tracing::error!(%error, "a request failed on the store");
        Problem::new("store_failed", "the store did not answer").retry_after(BUSY_RETRY_SECS)
    }
}

impl From<Problems> for Problem {
    fn from(problems: Problems) -> Problem {
        let placed: Box<[PlacedProblem]> = problems
            .items
            .into_iter()
            .map(|problem| PlacedProblem {
                line: problem.line,
                column: problem.column,
                path: problem.path,
                message: problem.message,
                help: problem.help,
            })
            .collect();
        let detail = match placed.first() {
            Some(first) => format!("{} problems; the first: {}", placed.len(), first.message),
            None => "the plan cannot be used".into(),
        };
        Problem {
            problems: placed,
            ..Problem::new("invalid_plan", detail)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_errors() {
        for (at, (code, status, _)) in CODES.iter().enumerate() {
            assert!((400..600).contains(status), "{code}");
            assert!(
                CODES[..at].iter().all(|(other, ..)| other != code),
                "{code} twice"
            );
        }
    }

    #[test]
    fn whoever_is_too_early_is_told_when_to_come_again_in_the_way_it_heeds() {
        let busy = Problem::from(LinkError::Full);
        let answers = [busy.clone(), busy.clone().to_remote_writer()].map(|problem| {
            assert_eq!((problem.title, &problem.help), (busy.title, &busy.help));
            let code = problem.code;
            let answer = problem.into_response();
            let after = answer.headers()[header::RETRY_AFTER].clone();
            (answer.status().as_u16(), code, after)
        });
        let after = HeaderValue::from_static("1");
        let expected = [(429, "busy", after.clone()), (503, "write_busy", after)];
        assert_eq!(answers, expected);
        let stopping = Problem::from(LinkError::Stopped);
        for problem in [stopping.clone(), stopping.to_remote_writer()] {
            assert_eq!((problem.status, problem.code), (503, "stopping"));
        }
    }

    #[test]
    fn every_code_in_the_sources_is_in_the_table() {
        let codes = [
            LinkError::Full.into(),
            LinkError::Stopped.into(),
            Problem::from(StoreError {
                message: "x".into(),
            }),
            Problem::analysis_not_found("x"),
            Problem::from(Problems::default()),
        ];
        for problem in codes {
            assert!(
                CODES.iter().any(|(code, ..)| *code == problem.code),
                "{}",
                problem.code
            );
            assert_eq!(
                problem.kind.to_string(),
                format!("urn:davy:problem:{}", problem.code)
            );
        }
    }
}
