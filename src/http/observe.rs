//! What happens around every request: an id, its route's rules, a time limit, a metric, a line in
//! the log; and what a panic becomes.
//!
//! Owns the outer layer. It must not know what a request asks.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;

use super::Shared;
use super::door::{Asks, Caller};
use super::origin;
use super::problem::{LimitReached, Problem};
use super::query;
use super::routes::{Route, routes};
use crate::model::Timestamp;

/// The header that carries a request's id both ways.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Bytes of an id that a caller may choose.
const REQUEST_ID_BYTES_MAX: usize = 64;
/// The route of requests that match none, so that addresses cannot become labels.
const NO_ROUTE: &str = "none";

/// Gives the request an id, counts and times it, and logs it.
#[expect(
    clippy::disallowed_methods,
    reason = "times a request for its metric; decides nothing"
)]
pub async fn observe(
    State(shared): State<Arc<Shared>>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = given_id(&request);
    let id = id.unwrap_or_else(|| shared.request_ids.next(shared.clock.now()));
    let method = request.method().clone();
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or(NO_ROUTE, |path| path.as_str());
    let begun = Instant::now();
    let rules = Rules::of(route, &method);
    let asked = origin::check(&request, shared.bounds.host_names.as_deref());
    let caller = match (asked, rules) {
        (Err(problem), _) => Err(problem),
        (Ok(()), None) => Ok(None),
        (Ok(()), Some(rules)) => {
            let (uri, headers) = (request.uri(), request.headers());
            rules.check(&shared, route, uri, headers).await
        }
    };
    let mut response = match caller {
        Err(problem) => problem.into_response(),
        Ok(caller) => {
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            let answering = AssertUnwindSafe(next.run(request)).catch_unwind();
            let answered = match rules {
                Some(Rules { is_timed: true, .. }) => in_time(&shared, answering).await,
                _ => Ok(answering.await),
            };
            answered.map_or_else(IntoResponse::into_response, |answered| {
                answered.unwrap_or_else(panicked)
            })
        }
    };
    let took = begun.elapsed();
    let status = response.status();
    let metrics = &shared.metrics;
    if let Some(LimitReached(limit)) = response.extensions().get() {
        metrics.limit(limit);
    }
    let labels = [route, method_label(&method), status.as_str()];
    metrics.http_requests.with_label_values(&labels).inc();
    metrics
        .http_duration
        .with_label_values(&[route])
        .observe(took.as_secs_f64());
    tracing::debug!(%method, route, status = status.as_u16(), took_ms = took.as_millis(), request = %id, "answered");
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    // Bodies hold text from outside; a browser must not guess that some of it is a page.
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    let cached = headers.entry(header::CACHE_CONTROL);
    cached.or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Names for requests: UUIDs of version 7 whose random part is drawn once and then counted on.
#[derive(Debug)]
pub struct RequestIds {
    random: [u8; 2],
    next: AtomicU64,
}

// === impl RequestIds ===

impl RequestIds {
    /// Begins somewhere by chance.
    pub fn new(seed: u64) -> RequestIds {
        RequestIds {
            random: (seed as u16).to_be_bytes(),
            next: AtomicU64::new(seed),
        }
    }

    fn next(&self, now: Timestamp) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut bytes = [0; 10];
        bytes[..2].copy_from_slice(&self.random);
        bytes[2..].copy_from_slice(&number.to_be_bytes());
        let millis = u64::try_from(now.millis()).unwrap_or(0);
        let id = uuid::Builder::from_unix_timestamp_millis(millis, &bytes);
        id.into_uuid().to_string()
    }
}

/// The caller's id if it is fit for a log.
fn given_id(request: &Request) -> Option<String> {
    let given = request
        .headers()
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok());
    let fit = |id: &&str| {
        (1..=REQUEST_ID_BYTES_MAX).contains(&id.len())
            && id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    given.filter(fit).map(str::to_string)
}

/// Methods are invented freely; labels are not.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "HEAD" => "HEAD",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        _ => "other",
    }
}

/// What a route asks of every request to it.
#[derive(Debug, Clone, Copy)]
struct Rules {
    /// Parameters that are known, where others are refused.
    query: Option<&'static [(&'static str, &'static str)]>,
    /// What it asks of who calls.
    asks: Asks,
    /// Whether its callers give up what is answered with 429.
    is_remote_write: bool,
    /// Whether a request that takes too long is ended. Not streams and long polls, which end
    /// themselves, nor requests that change something: what was handed over happens, whatever is
    /// answered. Those have [`time_to_read`].
    is_timed: bool,
}

// === impl Rules ===

impl Rules {
    fn of(path: &str, method: &Method) -> Option<Rules> {
        static ALL: LazyLock<BTreeMap<(&str, &str), Rules>> = LazyLock::new(|| {
            let rules = |route: Route| {
                let rules = Rules {
                    query: route.is_strict().then_some(route.query),
                    asks: route.asks,
                    is_remote_write: route.is_remote_write(),
                    is_timed: route.timed,
                };
                ((route.path, route.method), rules)
            };
            routes().into_iter().map(rules).collect()
        });
        // As the router has it: HEAD is a GET whose answer is left out.
        let method = match *method {
            Method::GET | Method::HEAD => "get",
            Method::POST => "post",
            Method::PUT => "put",
            Method::DELETE => "delete",
            _ => return None,
        };
        ALL.get(&(path, method)).copied()
    }

    /// Who asks, where the handler must know: first of all whether he may ask.
    async fn check(
        &self,
        shared: &Shared,
        route: &str,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Option<Caller>, Problem> {
        let admit = || shared.door.admit(self.asks, headers, shared.clock.now());
        let mut admitted = admit();
        // Of a key that is not known somebody else may have to be asked, once.
        if shared.door.is_in_doubt(&admitted) && shared.door.asks_anew().await {
            admitted = admit();
        }
        let caller = admitted.map_err(|refusal| {
            refusal.note(&shared.metrics, route);
            let problem = Problem::from(refusal);
            if self.is_remote_write {
                problem.to_remote_writer()
            } else {
                problem
            }
        })?;
        if let Some(known) = self.query {
            query::refuse_unknown(uri, known)?;
        }
        Ok(matches!(self.asks, Asks::Within(_)).then_some(caller))
    }
}

/// Ends what takes longer than a request may.
async fn in_time<T>(shared: &Shared, answering: impl Future<Output = T>) -> Result<T, Problem> {
    time_to_read(shared, async { Ok(answering.await) }).await
}

/// Waits for `reading`, which takes a request in and changes nothing, no longer than a request may
/// take.
///
/// # Errors
/// Those of `reading`, and `request_timeout`, after which nothing of the request is taken.
pub async fn time_to_read<T>(
    shared: &Shared,
    reading: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let limit = shared.bounds.request_timeout;
    let read = tokio::time::timeout(limit, reading).await;
    read.unwrap_or_else(|_| {
        shared.metrics.limit("request_timeout_secs");
        let detail = format!("the request took more than {limit:?}");
        Err(Problem::new("request_timeout", detail).help("send less at once, or faster"))
    })
}

/// What a panic becomes.
fn panicked(cause: Box<dyn Any + Send>) -> Response {
    let text = cause.downcast_ref::<String>().map(String::as_str);
    let text = text
        .or_else(|| cause.downcast_ref::<&str>().copied())
        .unwrap_or("no text");
    tracing::error!(panic = text, "a request panicked");
    Problem::new("internal", "this should not have happened")
        .help("please report it with the request's x-request-id")
        .into_response()
}
