//! One source that speaks Prometheus' HTTP API, and how it is asked.
//!
//! Owns the request, its limits and what a failure is. What an answer means is [`super::answer`]'s,
//! when it is asked [`super::scheduler`]'s. Redirects are not followed: a token goes to the address
//! it was given for, and nowhere else.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode, Url};

use super::answer::{self, Answer, NoAnswer, Range};
use super::certificates;
use super::credentials::Credentials;
use super::pace;
use super::rules::{self, SettingProblem};
use crate::clock::Clock;
use crate::config::sources::{PrometheusSource, TlsFiles};
use crate::webhook::attempt::causes;

/// Bytes read of an answer that is an error.
const ERROR_BYTES_MAX: usize = 16 << 10;
/// Room for the answer's first bytes.
const ANSWER_BYTES_FIRST: usize = 4 << 10;

/// A source.
pub struct Prometheus {
    client: reqwest::Client,
    url: Url,
    headers: HeaderMap,
    credentials: Arc<Credentials>,
    timeout: Duration,
    response_bytes_max: usize,
    series_max: usize,
    clock: Arc<dyn Clock>,
}

/// A query that was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unanswered {
    /// Why, for people, without secrets.
    pub message: String,
    /// Whom to blame.
    pub blame: Blame,
}

/// Whom a failure is put down to, and so what is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The source: it is left alone for a while, for as long at least as it asks for.
    Source {
        /// The word under which it is counted.
        outcome: &'static str,
        /// Its wish.
        retry_after: Option<Duration>,
    },
    /// The query: others may be answered.
    Query,
    /// A limit of davy's, by name.
    Limit(&'static str),
}

// === impl Blame ===

impl Blame {
    /// The word under which it is counted.
    pub fn outcome(&self) -> &'static str {
        match self {
            Blame::Source { outcome, .. } => outcome,
            Blame::Query => "refused",
            Blame::Limit(_) => "too_large",
        }
    }
}

// === impl Prometheus ===

impl Prometheus {
    /// A source of these settings, its secrets and certificates read.
    ///
    /// # Errors
    /// Every [`SettingProblem`] at once.
    pub fn build(
        settings: &PrometheusSource,
        clock: Arc<dyn Clock>,
    ) -> Result<Prometheus, Vec<SettingProblem>> {
        let checked = rules::settings(settings)?;
        let problem = |key: &str, message: String| {
            vec![SettingProblem {
                key: key.to_owned(),
                message,
                help: "check the name, the permissions and what it holds".to_owned(),
            }]
        };
        let key = match &settings.basic {
            Some(_) => "basic.password_file",
            None => "bearer_token_file",
        };
        let credentials = Credentials::read(settings).map_err(|error| problem(key, error))?;
        let client = client(&settings.tls).map_err(|error| problem("tls", error))?;
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Ok(Prometheus {
            client,
            url: checked.url,
            headers: checked.headers,
            credentials: Arc::new(credentials),
            timeout: Duration::from_millis(settings.timeout_ms),
            response_bytes_max: size(settings.response_bytes_max),
            series_max: size(settings.series_per_query_max),
            clock,
        })
    }

    /// Asks one range query.
    ///
    /// # Errors
    /// [`Unanswered`], for everything but a whole answer.
    pub async fn query_range(&self, query: &str, range: &Range) -> Result<Answer, Unanswered> {
        let form = form(query, range);
        let mut response = self.send(form.clone()).await?;
        if response.status() == StatusCode::UNAUTHORIZED && self.has_new_secret().await {
            response = self.send(form).await?;
        }
        let status = response.status();
        if !status.is_success() {
            return Err(self.refused(response).await);
        }
        let body = self.body(response, self.response_bytes_max).await?;
        let clear = |words: &str| self.credentials.cleared_words(words);
        answer::decode(&body, range, self.series_max, &clear).map_err(|error| {
            let blame = match &error {
                NoAnswer::Malformed(_) => source("malformed"),
                NoAnswer::Refused(_) => Blame::Query,
                NoAnswer::TooManySeries(_) => Blame::Limit("series_per_query"),
            };
            self.unanswered(error.to_string(), blame)
        })
    }

    async fn send(&self, form: String) -> Result<Response, Unanswered> {
        let mut request = self
            .client
            .post(self.url.clone())
            .headers(self.headers.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .timeout(self.timeout)
            .body(form);
        if let Some(header) = self.credentials.header() {
            request = request.header(AUTHORIZATION, header);
        }
        request.send().await.map_err(|error| self.no_reply(error))
    }

    /// Whether the file of the secret holds another one than that which was refused.
    async fn has_new_secret(&self) -> bool {
        let credentials = self.credentials.clone();
        let read = tokio::task::spawn_blocking(move || credentials.read_anew()).await;
        match read {
            Ok(Ok(is_other)) => is_other,
            Ok(Err(error)) => {
                tracing::warn!(error, "the secret of the source cannot be read anew");
                false
            }
            Err(_) => false,
        }
    }

    fn no_reply(&self, error: reqwest::Error) -> Unanswered {
        if error.is_timeout() {
            let message = format!(
                "no answer within {} ms (sources.prometheus.timeout_ms)",
                self.timeout.as_millis()
            );
            return self.unanswered(message, source("timeout"));
        }
        self.unanswered(causes(&error.without_url()), source("unreachable"))
    }

    /// The failure that an answer with another status than 2xx is.
    async fn refused(&self, response: Response) -> Unanswered {
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER);
        let retry_after = retry_after
            .and_then(|value| value.to_str().ok())
            .and_then(|text| pace::retry_after(text, self.clock.now()));
        let body = self.beginning(response).await;
        let said = answer::refused(&body, &|words| self.credentials.cleared_words(words));
        let said = said.map_or_else(String::new, |said| format!(": {said}"));
        let hint = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "; check the token or password",
            StatusCode::NOT_FOUND => "; is the address right? /api/v1/query_range is put behind it",
            _ if status.is_redirection() => "; redirects are not followed",
            _ => "",
        };
        let blame = match status {
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => Blame::Query,
            StatusCode::TOO_MANY_REQUESTS => Blame::Source {
                outcome: "throttled",
                retry_after,
            },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => source("unauthorized"),
            _ => Blame::Source {
                outcome: "unavailable",
                retry_after,
            },
        };
        self.unanswered(format!("answered {}{said}{hint}", status.as_u16()), blame)
    }

    async fn body(&self, mut response: Response, bytes_max: usize) -> Result<Vec<u8>, Unanswered> {
        let mut body = Vec::with_capacity(ANSWER_BYTES_FIRST.min(bytes_max));
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| self.no_reply(error))?
        {
            if body.len() + chunk.len() > bytes_max {
                let message = format!(
                    "the answer has more than {bytes_max} bytes, which is the limit; narrow the query's matchers, or raise sources.prometheus.response_bytes_max"
                );
                return Err(self.unanswered(message, Blame::Limit("pull_response_bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(self.without_secret(body))
    }

    /// The first bytes of an answer that is an error; what does not come is not missed.
    async fn beginning(&self, mut response: Response) -> Vec<u8> {
        let mut body = Vec::new();
        while body.len() < ERROR_BYTES_MAX {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                _ => break,
            }
        }
        self.without_secret(body)
    }

    /// What came, cleared of the secret: also where it stands in no word of the source's own.
    fn without_secret(&self, body: Vec<u8>) -> Vec<u8> {
        match std::str::from_utf8(&body) {
            Ok(text) if self.credentials.are_in(text) => {
                self.credentials.cleared(text).into_bytes()
            }
            _ => body,
        }
    }

    fn unanswered(&self, message: String, blame: Blame) -> Unanswered {
        Unanswered {
            message: self.credentials.cleared(&message),
            blame,
        }
    }
}

/// A failure that says nothing about when to come again.
fn source(outcome: &'static str) -> Blame {
    Blame::Source {
        outcome,
        retry_after: None,
    }
}

/// The form of a range query. What one source does not know it skips:
/// Thanos and VictoriaMetrics' cluster are not to leave out what they cannot reach;
/// VictoriaMetrics is neither to move the instants to round ones (`nocache`) nor to write earlier
/// values over the newest (`latency_offset`), for which davy waits itself.
fn form(query: &str, range: &Range) -> String {
    let secs = |millis: i64| format!("{}.{:03}", millis.div_euclid(1000), millis.rem_euclid(1000));
    let (start, end) = (secs(range.start.millis()), secs(range.end().millis()));
    let step = secs(range.step);
    let pairs = [
        ("query", query),
        ("start", &start),
        ("end", &end),
        ("step", &step),
        ("partial_response", "false"),
        ("deny_partial_response", "1"),
        ("nocache", "1"),
        ("latency_offset", "1ms"),
    ];
    let url = Url::parse_with_params("http://form", pairs);
    url.ok()
        .and_then(|url| url.query().map(str::to_owned))
        .unwrap_or_default()
}

fn client(tls: &TlsFiles) -> Result<reqwest::Client, String> {
    let builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("davy/", env!("CARGO_PKG_VERSION")));
    let builder = certificates::trust(builder, tls)?;
    builder.build().map_err(|error| causes(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn a_form_says_which_instants_and_that_no_part_is_wanted() {
        let range = Range {
            start: Timestamp(1_700_000_000_999),
            step: 500,
            points: 3,
        };
        assert_eq!(
            form("sum(m{a=\"b&c+d\"})", &range),
            "query=sum%28m%7Ba%3D%22b%26c%2Bd%22%7D%29&start=1700000000.999&end=1700000001.999\
             &step=0.500&partial_response=false&deny_partial_response=1&nocache=1\
             &latency_offset=1ms"
        );
    }
}
