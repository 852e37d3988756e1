//! One request to an endpoint, and what its answer means.
//!
//! Owns what counts as delivered, what is worth another attempt, and what an answer says of the
//! endpoint's health. It must not decide when: that is [`super::worker`]'s. However an answer goes
//! on, no more of it is read than the bound, and not for longer than one attempt may take.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, RETRY_AFTER};
use reqwest::{Response, StatusCode};

use super::breaker::Health;
use super::endpoint::Endpoint;
use crate::model::Timestamp;
use crate::store::Delivery;

/// Characters of an answer that are kept with a failure.
const EXCERPT_CHARS_MAX: usize = 200;

/// Answers about the one notification: whoever gives them is well.
const ABOUT_THIS_ONE: [StatusCode; 4] = [
    StatusCode::BAD_REQUEST,
    StatusCode::GONE,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::UNPROCESSABLE_ENTITY,
];

/// Why an attempt failed.
#[derive(Debug)]
pub(super) struct Failure {
    /// For the operator.
    pub error: String,
    /// The receiver's wish.
    pub retry_after: Duration,
    /// The receiver wants no more of this, or it can never be sent.
    pub is_final: bool,
    /// What it answered; `None` without an answer.
    status: Option<StatusCode>,
}

// === impl Failure ===

impl Failure {
    /// What it says of the endpoint.
    pub fn health(&self) -> Health {
        match self.status {
            None if self.is_final => Health::Unknown,
            Some(status) if ABOUT_THIS_ONE.contains(&status) => Health::Well,
            _ => Health::Unwell {
                retry_after: self.retry_after,
            },
        }
    }

    /// Nothing was sent, and it would be the same request the next time.
    fn never(error: String) -> Failure {
        Failure {
            is_final: true,
            ..Failure::unanswered(error)
        }
    }

    fn unanswered(error: String) -> Failure {
        Failure {
            error,
            retry_after: Duration::ZERO,
            is_final: false,
            status: None,
        }
    }
}

/// Makes one attempt.
///
/// # Errors
/// Why it failed.
pub(super) async fn send(
    client: &reqwest::Client,
    endpoint: &Endpoint,
    delivery: &Delivery,
    now: Timestamp,
    response_bytes_max: usize,
) -> Result<(), Failure> {
    let mut request = endpoint.prepare(delivery, now).map_err(Failure::never)?;
    if let Some(bearer) = endpoint.bearer().await {
        // A file that is being replaced is there the next time.
        let bearer = bearer.map_err(Failure::unanswered)?;
        request.headers.insert(AUTHORIZATION, bearer);
    }
    let response = client
        .request(request.method, request.url)
        .headers(request.headers)
        .body(request.body)
        .timeout(endpoint.timeout)
        .send()
        .await;
    let mut response =
        response.map_err(|error| Failure::unanswered(causes(&error.without_url())))?;
    let status = response.status();
    if status.is_success() {
        // Nobody asks what else it says.
        return Ok(());
    }
    let retry_after = response.headers().get(RETRY_AFTER);
    let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
    let said = excerpt(&mut response, response_bytes_max).await;
    let hint = if status.is_redirection() {
        " (redirects are not followed)"
    } else {
        ""
    };
    Err(Failure {
        error: format!("answered {status}{hint}: {said}"),
        retry_after: Duration::from_secs(retry_after.unwrap_or(0)),
        is_final: status == StatusCode::GONE,
        status: Some(status),
    })
}

/// The beginning of an answer, for the log.
async fn excerpt(response: &mut Response, bytes_max: usize) -> String {
    let mut said = Vec::new();
    while said.len() < bytes_max {
        match response.chunk().await {
            Ok(Some(chunk)) => said.extend_from_slice(&chunk),
            _ => break,
        }
    }
    said.truncate(bytes_max);
    let text = String::from_utf8_lossy(&said);
    text.trim().chars().take(EXCERPT_CHARS_MAX).collect()
}

/// An error with what caused it: reqwest's own text names only the outermost.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
